//! The counter-based generator: every draw is a function of its full key.
//!
//! Philox4x64-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2,
//! 3"), the generator that NumPy calls `Philox`. The key words are
//! (seed, epoch), the counter words are
//! (block, sample, copy · 2³² + purpose, 0), block = 1, 2, 3, …: no part of the
//! key is folded, so two keys never share a stream. The same numbers come from
//! `numpy.random.Philox(key=[seed, epoch], counter=[0, sample, (copy << 32) |
//! purpose, 0]).random_raw()`.
//!
//! A draw of 32 bits takes the low half of a 64-bit word, then its high half; a
//! draw of 64 bits takes a whole fresh word and forgets a half that was left (NumPy's
//! own methods keep it). About 2 ns a 64-bit word. Of these are made:
//! * `unit`, in [0, 1): the upper 53 bits of a word, times 2⁻⁵³.
//! * `below(n)`: x·n for a 32-bit x; its upper 32 bits, unless its lower 32 are
//!   below (2³² − n) mod n: then again with the next x (Lemire 2019).
//! * `shuffle_prefix(list, c)`: for i = 0, 1, …, c − 1 the items i and
//!   i + `below(length − i)` change places, and the first c are taken; where only one
//!   item is left there is nothing to draw. This is Fisher–Yates from the front.
//!
//! Purposes of the masks are 0 rate, 1 select, 2 predict, 3 replace; see [`Purpose`].

/// What a draw is for. One stream each, so that a change in how one purpose draws
/// leaves the others as they were. The numbers are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// The rates of a row.
    Rate = 0,
    /// Which tokens, units or spans are selected.
    Select = 1,
    /// Which of the selected tokens carry a label.
    Predict = 2,
    /// Mask, random or same, and the random ids.
    Replace = 3,
    /// Which of two overlapping n-grams becomes the unit.
    Resolve = 4,
    /// The order of rows in an epoch.
    Order = 5,
    /// The place of a document in the shards.
    Shuffle = 6,
    /// Dropout: the sample is the step, the copy is the site.
    Dropout = 7,
    /// Initial weights: the sample is the parameter.
    Initialize = 8,
    /// Resamples of a bootstrap: the sample is the resample.
    Bootstrap = 9,
    /// Fine-tuning: the sample is the epoch, or the parameter.
    Finetune = 10,
}

/// The full key of a stream but for its purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Key {
    /// The user's seed.
    pub seed: u64,
    /// The epoch, 0 where there is none.
    pub epoch: u64,
    /// The row, document or parameter.
    pub sample: u64,
    /// The copy of a row when m_pred > m_corr, else 0.
    pub copy: u32,
}

impl Key {
    /// The stream of this key for `purpose`.
    pub fn generator(self, purpose: Purpose) -> Generator {
        Generator {
            key: [self.seed, self.epoch],
            counter: [
                0,
                self.sample,
                u64::from(self.copy) << 32 | purpose as u64,
                0,
            ],
            words: [0; WORDS],
            next: 0,
            end: 0,
            half: None,
        }
    }
}

/// Blocks computed at a time, but for a stream's first: one after the other each waits
/// for the products of the round before, side by side they fill the multiplier.
const BLOCKS: usize = 4;
const WORDS: usize = 4 * BLOCKS;

/// A stream of draws.
#[derive(Debug, Clone)]
pub struct Generator {
    key: [u64; 2],
    /// The block computed last.
    counter: [u64; 4],
    words: [u64; WORDS],
    next: usize,
    end: usize,
    half: Option<u32>,
}

impl Generator {
    /// 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.half = None;
        self.word()
    }

    /// 32 random bits.
    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        if let Some(high) = self.half.take() {
            return high;
        }
        let word = self.word();
        self.half = Some((word >> 32) as u32);
        word as u32
    }

    #[inline]
    fn word(&mut self) -> u64 {
        if self.next == self.end {
            self.refill();
        }
        let word = self.words[self.next % WORDS];
        self.next += 1;
        word
    }

    #[inline(never)]
    fn refill(&mut self) {
        if self.counter[0] == 0 {
            self.fill::<1>();
        } else {
            self.fill::<BLOCKS>();
        }
    }

    #[inline(always)]
    fn fill<const N: usize>(&mut self) {
        let counters = std::array::from_fn(|block| {
            let [first, rest @ ..] = self.counter;
            [first + 1 + block as u64, rest[0], rest[1], rest[2]]
        });
        let blocks: [[u64; 4]; N] = philox4x64(self.key, counters);
        for (words, block) in self.words.chunks_exact_mut(4).zip(blocks) {
            words.copy_from_slice(&block);
        }
        self.counter[0] += N as u64;
        self.next = 0;
        self.end = 4 * N;
    }

    /// Uniform in [0, 1), 53 bits.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in 0..n without bias, n ≥ 1, from 32-bit draws (Lemire 2019,
    /// "Fast random integer generation in an interval").
    #[inline]
    pub fn below(&mut self, n: u32) -> u32 {
        debug_assert!(n > 0);
        let mut product = u64::from(self.next_u32()) * u64::from(n);
        if (product as u32) < n {
            let threshold = n.wrapping_neg() % n;
            while (product as u32) < threshold {
                product = u64::from(self.next_u32()) * u64::from(n);
            }
        }
        (product >> 32) as u32
    }

    /// Shuffles the first `count` places of `items` uniformly out of all of them
    /// (Fisher–Yates from the front); the rest keeps what was swapped back.
    #[inline]
    pub fn shuffle_prefix<T>(&mut self, items: &mut [T], count: usize) {
        let len = items.len();
        for index in 0..count.min(len.saturating_sub(1)) {
            let other = index + self.below((len - index) as u32) as usize;
            items.swap(index, other);
        }
    }

    /// Shuffles `items` uniformly.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        self.shuffle_prefix(items, items.len());
    }
}

/// Blocks side by side: ten rounds of Philox with 64-bit words. Constants of Salmon et
/// al. 2011, Table 2.
#[inline(always)]
fn philox4x64<const N: usize>(mut key: [u64; 2], mut blocks: [[u64; 4]; N]) -> [[u64; 4]; N] {
    const MULTIPLY: [u64; 2] = [0xD2E7_470E_E14C_6C93, 0xCA5A_8263_9512_1157];
    const BUMP: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xBB67_AE85_84CA_A73B];
    for round in 0..10 {
        if round > 0 {
            key[0] = key[0].wrapping_add(BUMP[0]);
            key[1] = key[1].wrapping_add(BUMP[1]);
        }
        for x in &mut blocks {
            let p0 = u128::from(MULTIPLY[0]) * u128::from(x[0]);
            let p1 = u128::from(MULTIPLY[1]) * u128::from(x[2]);
            *x = [
                (p1 >> 64) as u64 ^ x[1] ^ key[0],
                p1 as u64,
                (p0 >> 64) as u64 ^ x[3] ^ key[1],
                p0 as u64,
            ];
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known-answer vectors of Random123 1.14, `kat_vectors`, philox4x64-10.
    #[test]
    fn blocks_equal_the_authors_known_answers() {
        assert_eq!(
            philox4x64([0, 0], [[0; 4]])[0],
            [
                0x16554d9eca36314c,
                0xdb20fe9d672d0fdc,
                0xd7e772cee186176b,
                0x7e68b68aec7ba23b
            ]
        );
        assert_eq!(
            philox4x64([u64::MAX; 2], [[u64::MAX; 4]])[0],
            [
                0x87b092c3013fe90b,
                0x438c3c67be8d0224,
                0x9cc7d7c69cd777b6,
                0xa09caebf594f0ba0
            ]
        );
    }

    #[test]
    fn halves_come_low_first_and_words_are_whole() {
        let key = Key {
            seed: 7,
            epoch: 1,
            sample: 3,
            copy: 2,
        };
        let mut words = key.generator(Purpose::Select);
        let (a, b) = (words.next_u64(), words.next_u64());
        let mut halves = key.generator(Purpose::Select);
        assert_eq!(halves.next_u32(), a as u32);
        assert_eq!(halves.next_u32(), (a >> 32) as u32);
        assert_eq!(halves.next_u32(), b as u32);
    }

    #[test]
    fn blocks_side_by_side_are_those_one_by_one() {
        let key = Key {
            seed: 5,
            epoch: 6,
            sample: 7,
            copy: 0,
        };
        let mut stream = key.generator(Purpose::Replace);
        for block in 1..=40 {
            let counter = [block, 7, Purpose::Replace as u64, 0];
            let [words] = philox4x64([5, 6], [counter]);
            assert_eq!(words, std::array::from_fn(|_| stream.next_u64()));
        }
    }

    #[test]
    fn below_is_flat() {
        // χ² over 10 cells and 100 000 draws: 27.9 is passed with p = 0.001.
        let mut generator = Key::default().generator(Purpose::Order);
        let mut cells = [0f64; 10];
        for _ in 0..100_000 {
            cells[generator.below(10) as usize] += 1.0;
        }
        let chi: f64 = cells.iter().map(|c| (c - 1e4).powi(2) / 1e4).sum();
        assert!(chi < 27.9, "{chi}: {cells:?}");
    }
}

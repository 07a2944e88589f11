//! Words that were encoded before, and their ids: what one worker remembers. Words of up
//! to 15 bytes and three ids lie two to a cache line; longer ones have lines of their
//! own. Both tables are of fixed size, and a new word takes the place of an older one.
//!
//! Memory: 8 MiB and 1.5 MiB. A look-up costs 3 to 10 ns, as the processor's caches have
//! it.

use rustc_hash::FxHasher;
use std::hash::Hasher;

/// Two words of text and a length in the top byte.
pub(super) type Key = [u64; 2];

/// Bytes that are looked at together.
const WINDOW: usize = 16;

/// Two words of a text, low byte first.
pub(super) type Window = [u64; 2];

/// Longest word with a [`Key`], in bytes.
pub(super) const SHORT: usize = 15;

/// Ids of a short word, at most.
pub(super) const IDS: usize = 3;

/// The count of a short word with more ids, which is among the long ones.
const ELSEWHERE: u32 = u32::MAX;

/// Log₂ of the pairs of short words.
const PAIRS: u32 = 17;

/// Bytes and ids of a long word, at most.
const LONG: usize = 64;
const LONG_IDS: usize = 31;

/// Log₂ of the long words.
const LONGS: u32 = 13;

/// Words and their ids.
pub(super) struct Known {
    pairs: Box<[[Short; 2]]>,
    longs: Box<[Long]>,
}

/// A short word.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(32))]
pub(super) struct Short {
    key: Key,
    pub(super) ids: [u32; IDS],
    /// Of the ids; zero where no word is, or [`ELSEWHERE`].
    pub(super) count: u32,
}

/// A long word.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Long {
    word: [u8; LONG],
    ids: [u32; LONG_IDS],
    length: u8,
    count: u8,
}

impl Known {
    /// Nothing known.
    pub(super) fn new() -> Self {
        let long = Long {
            word: [0; LONG],
            ids: [0; LONG_IDS],
            length: 0,
            count: 0,
        };
        Self {
            pairs: vec![[Short::default(); 2]; 1 << PAIRS].into(),
            longs: vec![long; 1 << LONGS].into(),
        }
    }

    /// Fetches the places of `keys` into the processor's cache, all at a time.
    #[inline(always)]
    pub(super) fn touch(&self, keys: impl Iterator<Item = Key>) {
        let counts = keys.map(|key| self.pairs[pair(key)][0].count);
        std::hint::black_box(counts.fold(0, |all, count| all ^ count));
    }

    /// A short word, if it is known here.
    #[inline(always)]
    pub(super) fn short(&self, key: Key) -> Option<&Short> {
        let short = self.place(key)?;
        (short.count != ELSEWHERE).then_some(short)
    }

    /// Whether a short word is among the long ones.
    pub(super) fn is_elsewhere(&self, key: Key) -> bool {
        self.place(key)
            .is_some_and(|short| short.count == ELSEWHERE)
    }

    #[inline(always)]
    fn place(&self, key: Key) -> Option<&Short> {
        let pair = &self.pairs[pair(key)];
        // Both are looked at before it is asked which one it is.
        let is = |short: &Short| (short.key[0] ^ key[0]) | (short.key[1] ^ key[1]) == 0;
        let short = &pair[usize::from(is(&pair[1]))];
        (is(short) && short.count != 0).then_some(short)
    }

    /// Remembers the ids of a short word.
    pub(super) fn learn_short(&mut self, key: Key, word: &[u8], all: &[u32]) {
        let mut ids = [0; IDS];
        let mut count = ELSEWHERE;
        if all.len() <= IDS {
            ids[..all.len()].copy_from_slice(all);
            count = all.len() as u32;
        } else {
            self.learn_long(word, all);
        }
        let pair = &mut self.pairs[pair(key)];
        *pair = [Short { key, ids, count }, pair[0]];
    }

    /// The ids of any other word, if they are known.
    pub(super) fn long(&self, word: &[u8]) -> Option<&[u32]> {
        let long = &self.longs[long(word)];
        let known = long.word.get(..long.length.into())?;
        (known == word).then(|| &long.ids[..long.count.into()])
    }

    /// Remembers the ids of any other word, unless it or they are too long.
    pub(super) fn learn_long(&mut self, word: &[u8], ids: &[u32]) {
        if word.len() > LONG || ids.len() > LONG_IDS {
            return;
        }
        let long = &mut self.longs[long(word)];
        long.word[..word.len()].copy_from_slice(word);
        long.ids[..ids.len()].copy_from_slice(ids);
        long.length = word.len() as u8;
        long.count = ids.len() as u8;
    }
}

/// The 16 bytes at `at`, zeros behind the end.
#[inline(always)]
pub(super) fn window(bytes: &[u8], at: usize) -> Window {
    match bytes[at..].first_chunk() {
        Some(chunk) => halves(chunk),
        None => last(&bytes[at..]),
    }
}

#[inline(always)]
fn halves(chunk: &[u8; WINDOW]) -> Window {
    [0, 8].map(|at| u64::from_le_bytes(std::array::from_fn(|byte| chunk[at + byte])))
}

#[cold]
fn last(bytes: &[u8]) -> Window {
    let mut padded = [0; WINDOW];
    padded[..bytes.len()].copy_from_slice(bytes);
    halves(&padded)
}

/// The key of the first `length` bytes of a window, 15 at most. Keys of two words differ
/// where the words do.
#[inline(always)]
pub(super) fn key(window: Window, length: usize) -> Key {
    let masks = &MASKS[length];
    [
        window[0] & masks[0],
        window[1] & masks[1] | (length as u64) << 56,
    ]
}

/// By length, the bits of so many bytes.
const MASKS: [Window; WINDOW] = {
    let mut masks = [[0; 2]; WINDOW];
    let mut length = 1;
    while length < WINDOW {
        masks[length] = masks[length - 1];
        masks[length][(length - 1) / 8] |= 0xff << ((length - 1) % 8 * 8);
        length += 1;
    }
    masks
};

/// Place of a key's pair: the two halves of a product, folded.
#[inline(always)]
fn pair(key: Key) -> usize {
    let product =
        u128::from(key[0] ^ 0x243f_6a88_85a3_08d3) * u128::from(key[1] ^ 0x1319_8a2e_0370_7344);
    let folded = product as u64 ^ (product >> 64) as u64;
    (folded >> (64 - PAIRS)) as usize
}

/// Place of a long word.
fn long(word: &[u8]) -> usize {
    let mut hasher = FxHasher::default();
    hasher.write(word);
    (hasher.finish() >> (64 - LONGS)) as usize
}

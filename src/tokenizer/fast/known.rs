//! Words that were encoded before, and their ids: what one worker remembers. Words of up
//! to 15 bytes and three ids lie two to a cache line, the one that was asked for last
//! first, and a new word takes the place of the other; longer ones have lines of their own,
//! and the last one that came stays. Both tables are of fixed size.
//!
//! Memory: 2^PAIRS lines of 64 bytes and 2^LONGS of 192. A look-up costs 3 to 10 ns, as the
//! processor's caches have it.

use rustc_hash::FxHasher;
use std::hash::Hasher;

/// Two words of text and a length in the top byte.
pub(super) type Key = [u64; 2];

/// Bytes that are looked at together.
pub(super) const WINDOW: usize = 16;

/// Two words of a text, low byte first.
pub(super) type Window = [u64; 2];

/// Words that are cut before they are looked up: their places in the table are fetched
/// while others are on their way ([`Known::touch`]).
pub(super) const BATCH: usize = 64;

/// A word that was cut.
#[derive(Clone, Copy, Default)]
pub(super) struct Found {
    /// Its key, or one that no word has where it is too long for one.
    pub(super) key: Key,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Found {
    /// The word from `start` to `end`, of which `window` is the beginning.
    #[inline(always)]
    pub(super) fn new(window: Window, start: usize, end: usize) -> Self {
        let length = end - start;
        let key = if length <= SHORT {
            key(window, length)
        } else {
            LONG_KEY
        };
        Self { key, start, end }
    }

    /// Its key, if it has one.
    #[inline]
    pub(super) fn short(self) -> Option<Key> {
        (self.key != LONG_KEY).then_some(self.key)
    }
}

/// That of words that are too long for one; no other is like it.
const LONG_KEY: Key = [0; 2];

/// Longest word with a [`Key`], in bytes.
pub(super) const SHORT: usize = 15;

/// Ids of a short word, at most.
pub(super) const IDS: usize = 3;

/// The count of a short word with more ids, which is among the long ones.
const ELSEWHERE: u32 = u32::MAX;

/// Bytes and ids of a long word, at most.
const LONG: usize = 64;
const LONG_IDS: usize = 31;

/// Words and their ids.
pub(super) struct Known<const PAIRS: u32, const LONGS: u32> {
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

impl<const PAIRS: u32, const LONGS: u32> Known<PAIRS, LONGS> {
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
        let counts = keys.map(|key| self.pairs[pair::<PAIRS>(key)][0].count);
        std::hint::black_box(counts.fold(0, |all, count| all ^ count));
    }

    /// A short word, if it is known here.
    #[inline(always)]
    pub(super) fn short(&mut self, key: Key) -> Option<&Short> {
        let pair = &mut self.pairs[pair::<PAIRS>(key)];
        if pair[0].key != key {
            if pair[1].key != key {
                return None;
            }
            pair.swap(0, 1);
        }
        let short = &pair[0];
        (1..ELSEWHERE).contains(&short.count).then_some(short)
    }

    /// The ids of a word that is not among those of [`Known::short`], if they are known;
    /// one without a `key` is too long for it.
    pub(super) fn other(&self, word: &[u8], key: Option<Key>) -> Option<&[u32]> {
        if let Some(key) = key {
            let pair = &self.pairs[pair::<PAIRS>(key)];
            if !pair.iter().any(|short| short.key == key) {
                return None;
            }
        }
        let long = &self.longs[long::<LONGS>(word)];
        let known = long.word.get(..long.length.into())?;
        (known == word).then(|| &long.ids[..long.count.into()])
    }

    /// Remembers the ids of a word, unless it or they are too long.
    pub(super) fn learn(&mut self, word: &[u8], key: Option<Key>, all: &[u32]) {
        let few = all.len() <= IDS;
        if let Some(key) = key {
            let mut ids = [0; IDS];
            let mut count = ELSEWHERE;
            if few {
                ids[..all.len()].copy_from_slice(all);
                count = all.len() as u32;
            }
            let pair = &mut self.pairs[pair::<PAIRS>(key)];
            pair[usize::from(pair[0].count != 0)] = Short { key, ids, count };
        }
        if (key.is_none() || !few) && word.len() <= LONG && all.len() <= LONG_IDS {
            let long = &mut self.longs[long::<LONGS>(word)];
            long.word[..word.len()].copy_from_slice(word);
            long.ids[..all.len()].copy_from_slice(all);
            long.length = word.len() as u8;
            long.count = all.len() as u8;
        }
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
pub(super) fn halves(chunk: &[u8; WINDOW]) -> Window {
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
fn pair<const PAIRS: u32>(key: Key) -> usize {
    let product =
        u128::from(key[0] ^ 0x243f_6a88_85a3_08d3) * u128::from(key[1] ^ 0x1319_8a2e_0370_7344);
    let folded = product as u64 ^ (product >> 64) as u64;
    (folded >> (64 - PAIRS)) as usize
}

/// Place of a long word.
fn long<const LONGS: u32>(word: &[u8]) -> usize {
    let mut hasher = FxHasher::default();
    hasher.write(word);
    (hasher.finish() >> (64 - LONGS)) as usize
}

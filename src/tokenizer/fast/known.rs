//! Words that were encoded before, and their ids: what one worker remembers. Words of up
//! to 15 bytes and three ids lie in a table of fixed size, two to a cache line, and a new
//! one takes the place of the older of two; the others in a map that starts again when
//! it is full.
//!
//! Memory: 8 MiB for the table, at most about 2 MiB for the map. A look-up costs 3 to
//! 10 ns, as the processor's caches have it.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

/// Two words of text and a length: what [`key`] makes.
pub(super) type Key = [u64; 2];

/// Longest word with a [`Key`], in bytes.
pub(super) const SHORT: usize = 15;

/// Log₂ of the pairs of places in the table.
const PAIRS: u32 = 17;

/// Ids of a word in the table, at most.
const IDS: usize = 3;

/// Longest word in the map, in bytes, and the words in it, at most.
const LONG: usize = 64;
const MOST_LONG: usize = 1 << 14;

/// Words and their ids.
pub(super) struct Known {
    pairs: Box<[[Place; 2]]>,
    long: HashMap<Box<[u8]>, Box<[u32]>, FxBuildHasher>,
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(align(32))]
struct Place {
    key: Key,
    count: u32,
    ids: [u32; IDS],
}

impl Known {
    /// Nothing known.
    pub(super) fn new() -> Self {
        Self {
            pairs: vec![[Place::default(); 2]; 1 << PAIRS].into(),
            long: HashMap::default(),
        }
    }

    /// The ids of a short word, if they are known.
    #[inline]
    pub(super) fn short(&self, key: Key) -> Option<&[u32]> {
        let pair = &self.pairs[pair(key)];
        let place = if pair[0].key == key {
            &pair[0]
        } else if pair[1].key == key {
            &pair[1]
        } else {
            return None;
        };
        Some(&place.ids[..place.count as usize])
    }

    /// Remembers the ids of a short word, unless there are too many.
    pub(super) fn learn_short(&mut self, key: Key, word: &[u32]) {
        if word.len() > IDS {
            return;
        }
        let mut ids = [0; IDS];
        ids[..word.len()].copy_from_slice(word);
        let pair = &mut self.pairs[pair(key)];
        let count = word.len() as u32;
        *pair = [Place { key, count, ids }, pair[0]];
    }

    /// The ids of any other word, if they are known.
    pub(super) fn long(&self, word: &[u8]) -> Option<&[u32]> {
        self.long.get(word).map(AsRef::as_ref)
    }

    /// Remembers the ids of any other word, unless it is too long.
    pub(super) fn learn_long(&mut self, word: &[u8], ids: &[u32]) {
        if word.len() > LONG {
            return;
        }
        if self.long.len() >= MOST_LONG {
            self.long.clear();
        }
        self.long.insert(word.into(), ids.into());
    }
}

/// Place of a key's pair: the two halves of a product, folded.
#[inline]
fn pair(key: Key) -> usize {
    let product = u128::from(key[0] ^ 0x243f_6a88_85a3_08d3)
        * u128::from(key[1] ^ 0x1319_8a2e_0370_7344);
    let folded = product as u64 ^ (product >> 64) as u64;
    (folded >> (64 - PAIRS)) as usize
}

//! Words met before and their tokens, one cache for each worker. Direct-mapped: a word
//! has one place, and the last to come keeps it, so the size is fixed and frequent words
//! are there nearly always.
//!
//! Cost: 3 ns for a word of up to 16 bytes that is there. Memory: [`BYTES`].

use super::pieces::Heads;
use crate::base::token::TokenId;

/// A word of up to 16 bytes with up to three tokens: 32 bytes, half a cache line.
#[derive(Clone, Copy, Default)]
#[repr(align(32))]
pub(super) struct Short {
    pub key: [u64; 2],
    pub ids: [TokenId; SHORT_TOKENS],
    pub count: u32,
}

/// A word of up to 64 bytes with up to 14 tokens: two cache lines.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Long {
    key: [u8; LONG_BYTES],
    len: u32,
    count: u32,
    ids: [TokenId; LONG_TOKENS],
}

pub(super) const SHORT_BYTES: usize = 16;
const SHORT_TOKENS: usize = 3;
const LONG_BYTES: usize = 64;
const LONG_TOKENS: usize = 14;

const SHORT_BITS: u32 = 16;
const LONG_BITS: u32 = 12;

/// Memory of a cache.
pub(in super::super) const BYTES: usize =
    (size_of::<Short>() << SHORT_BITS) + (size_of::<Long>() << LONG_BITS);

/// The caches of one worker, and what it splits words with.
pub(super) struct Known {
    short: Box<[Short; 1 << SHORT_BITS]>,
    long: Box<[Long]>,
    pub heads: Heads,
    pub tokens: Vec<TokenId>,
}

/// Ones in the lowest `len` bytes of 16; none for more.
const MASKS: [[u64; 2]; 32] = {
    let mut masks = [[0; 2]; 32];
    let mut len = 1;
    while len <= 16 {
        masks[len] = match len {
            1..=8 => [u64::MAX >> (64 - 8 * len), 0],
            _ => [u64::MAX, u64::MAX >> (128 - 8 * len)],
        };
        len += 1;
    }
    masks
};

/// The first `len` of 16 bytes, up to 16.
#[inline]
pub(super) fn key(bytes: &[u8; 16], len: usize) -> [u64; 2] {
    let (eights, _) = bytes.as_chunks::<8>();
    let mask = MASKS[len & 31];
    [0, 1].map(|half| u64::from_le_bytes(eights[half]) & mask[half])
}

/// Odd multipliers for a sum of products, whose upper bits hash (Dietzfelbinger 1996).
const MULTIPLIERS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f];

#[inline]
fn place(key: [u64; 2]) -> usize {
    let sum = key[0]
        .wrapping_mul(MULTIPLIERS[0])
        .wrapping_add(key[1].wrapping_mul(MULTIPLIERS[1]));
    // The upper half of the first word only reaches the upper bits of its product.
    ((sum ^ key[0] >> 29).wrapping_mul(MULTIPLIERS[0]) >> (64 - SHORT_BITS)) as usize
}

impl Known {
    pub(super) fn new() -> Self {
        let short = vec![Short::default(); 1 << SHORT_BITS].into_boxed_slice();
        let empty = Long {
            key: [0; LONG_BYTES],
            len: 0,
            count: 0,
            ids: [0; LONG_TOKENS],
        };
        Self {
            short: match short.try_into() {
                Ok(short) => short,
                Err(_) => unreachable!("made of this length"),
            },
            long: vec![empty; 1 << LONG_BITS].into(),
            heads: Heads::new(),
            tokens: Vec::new(),
        }
    }

    /// The tokens of a word that is not among the short ones, if it is known.
    pub(super) fn long(&self, word: &[u8]) -> Option<&[TokenId]> {
        let entry = &self.long[long_place(word)];
        let known = entry.len as usize == word.len() && entry.key[..word.len()] == *word;
        known.then(|| &entry.ids[..entry.count as usize])
    }

    /// The entry where the word of `key` would be.
    #[inline]
    pub(super) fn short(&self, key: [u64; 2]) -> &Short {
        &self.short[place(key)]
    }

    /// Remembers the tokens of a word, `self.tokens`, if there is room for it.
    pub(super) fn keep(&mut self, word: &[u8], key: Option<[u64; 2]>) {
        let (tokens, count) = (&self.tokens, self.tokens.len());
        if let Some(key) = key
            && count <= SHORT_TOKENS
        {
            let entry = &mut self.short[place(key)];
            entry.key = key;
            entry.ids[..count].copy_from_slice(tokens);
            entry.count = count as u32;
        } else if word.len() <= LONG_BYTES && count <= LONG_TOKENS {
            let entry = &mut self.long[long_place(word)];
            entry.key[..word.len()].copy_from_slice(word);
            entry.len = word.len() as u32;
            entry.ids[..count].copy_from_slice(tokens);
            entry.count = count as u32;
        }
    }
}

fn long_place(word: &[u8]) -> usize {
    let mut sum = word.len() as u64;
    let (eights, rest) = word.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    for eight in eights.iter().chain([&last]) {
        sum = (sum.rotate_left(23) ^ u64::from_le_bytes(*eight)).wrapping_mul(MULTIPLIERS[1]);
    }
    (sum >> (64 - LONG_BITS)) as usize
}

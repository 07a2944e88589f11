//! The vocabulary of WordPiece as a hash table of its pieces, and the longest matches
//! in a word (Wu et al. 2016, greedy from the left, as the library does it).
//!
//! Cost: 50 to 150 ns a word, for the words that no cache holds; at most the longest
//! piece's length for each byte of the word. Memory: 12 bytes and its spelling a piece.

use crate::base::token::TokenId;
use crate::tokenizer::parsed::{self, Parsed};

/// The model, made once.
pub(super) struct Pieces {
    /// Upper half: of the hash; lower half: number of the piece and one, or 0.
    slots: Box<[u64]>,
    pieces: Vec<Piece>,
    spellings: Vec<u8>,
    /// By the hash of four bytes: the lengths of the pieces that begin with these, a bit
    /// for each; the last bit for all of 31 bytes and more.
    lengths: Box<[u32; 1 << LENGTHS_BITS]>,
    /// Bytes of the longest piece.
    longest: usize,
    max_chars: usize,
    pub unknown: TokenId,
}

struct Piece {
    start: u32,
    len: u32,
    id: TokenId,
}

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
/// Where hashes begin: for a piece that begins a word, and one that goes on.
const SEEDS: [u64; 2] = [0x2545_f491_4f6c_dd1d, 0xd6e8_feb8_6659_fd93];

fn step(hash: u64, byte: u8) -> u64 {
    (hash.rotate_left(5) ^ u64::from(byte)).wrapping_mul(MULTIPLIER)
}

/// Hashes of a word's heads, the shortest first; kept from word to word.
pub(super) type Heads = Vec<u64>;

/// Bytes of a piece whose hash leads to the lengths it may have.
const HEAD: usize = 4;
const LENGTHS_BITS: u32 = 13;

fn lengths_place(hash: u64) -> usize {
    (hash >> (64 - LENGTHS_BITS)) as usize
}

impl Pieces {
    /// The pieces of a WordPiece model; `Err` says what is strange about it.
    pub(super) fn of(tokenizer: &Parsed) -> Result<Self, String> {
        let model = tokenizer.model();
        let text = |key: &str| model[key].as_str().ok_or(format!("a model without {key}"));
        let parsed::Pieces::Ids(vocabulary) = &tokenizer.pieces else {
            return Err("a model without a vocabulary".into());
        };
        let unknown = vocabulary
            .id(text("unk_token")?)
            .ok_or("no unknown token in the vocabulary")?;
        let max_chars = model["max_input_chars_per_word"]
            .as_u64()
            .ok_or("a model without max_input_chars_per_word")?;
        let prefix = text("continuing_subword_prefix")?;
        let mut made = Self {
            slots: vec![0; (4 * vocabulary.len()).next_power_of_two()].into(),
            pieces: Vec::with_capacity(2 * vocabulary.len()),
            spellings: Vec::new(),
            lengths: Box::new([0; 1 << LENGTHS_BITS]),
            longest: 0,
            max_chars: max_chars as usize,
            unknown,
        };
        for (spelling, id) in vocabulary.iter() {
            // A piece with the prefix may stand at the head of a word too, where text
            // spells the prefix.
            made.insert(0, spelling, id);
            if let Some(rest) = spelling.strip_prefix(prefix) {
                made.insert(1, rest, id);
            }
        }
        Ok(made)
    }

    fn insert(&mut self, side: usize, spelling: &str, id: TokenId) {
        let mut hash = SEEDS[side];
        for (at, byte) in spelling.bytes().enumerate() {
            hash = step(hash, byte);
            if at + 1 == HEAD {
                self.lengths[lengths_place(hash)] |= 1 << spelling.len().min(31);
            }
        }
        let mut slot = self.slot(hash);
        while self.slots[slot] != 0 {
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        let start = self.spellings.len() as u32;
        self.spellings.extend_from_slice(spelling.as_bytes());
        self.pieces.push(Piece {
            start,
            len: spelling.len() as u32,
            id,
        });
        self.slots[slot] = hash >> 32 << 32 | self.pieces.len() as u64;
        self.longest = self.longest.max(spelling.len());
    }

    fn slot(&self, hash: u64) -> usize {
        // The upper bits are the best; the tag is of them too, but longer.
        (hash >> 20) as usize & (self.slots.len() - 1)
    }

    fn find(&self, hash: u64, spelling: &[u8]) -> Option<TokenId> {
        let mut slot = self.slot(hash);
        loop {
            let found = self.slots[slot];
            if found == 0 {
                return None;
            }
            if found >> 32 == hash >> 32 {
                let piece = &self.pieces[found as u32 as usize - 1];
                let start = piece.start as usize;
                if &self.spellings[start..start + piece.len as usize] == spelling {
                    return Some(piece.id);
                }
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    /// Appends the tokens of `word`, UTF-8, to `out`.
    pub(super) fn split(&self, word: &[u8], heads: &mut Heads, out: &mut Vec<TokenId>) {
        let before = out.len();
        let too_long = word.len() > self.max_chars
            && word.iter().filter(|&&byte| begins(byte)).count() > self.max_chars;
        let mut rest = word;
        while !rest.is_empty() && !too_long {
            let side = (out.len() > before).into();
            let Some((len, id)) = self.longest_head(side, rest, heads) else {
                break;
            };
            out.push(id);
            rest = &rest[len..];
        }
        if too_long || !rest.is_empty() {
            out.truncate(before);
            out.push(self.unknown);
        }
    }

    /// The longest piece that `rest` begins with.
    fn longest_head(
        &self,
        side: usize,
        rest: &[u8],
        heads: &mut Heads,
    ) -> Option<(usize, TokenId)> {
        heads.clear();
        let mut hash = SEEDS[side];
        // Of less than four bytes, any length may be there.
        let mut lengths = (1 << HEAD) - 1;
        let mut most = rest.len().min(self.longest);
        for (at, &byte) in rest.iter().enumerate() {
            if at == most {
                break;
            }
            hash = step(hash, byte);
            heads.push(hash);
            if at + 1 == HEAD {
                lengths |= self.lengths[lengths_place(hash)];
                if lengths >> 31 == 0 {
                    most = most.min(31 - lengths.leading_zeros() as usize);
                }
            }
        }
        for (at, &hash) in heads.iter().enumerate().rev() {
            let len = at + 1;
            if lengths >> len.min(31) & 1 == 1
                && rest.get(len).is_none_or(|&next| begins(next))
                && let Some(id) = self.find(hash, &rest[..len])
            {
                return Some((len, id));
            }
        }
        None
    }
}

/// Whether a byte begins a character.
fn begins(byte: u8) -> bool {
    byte & 0xc0 != 0x80
}

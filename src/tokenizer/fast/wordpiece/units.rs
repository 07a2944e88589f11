//! Text to words in one pass: normalised bytes in a buffer, with one bit where a word
//! starts and one where a word or a gap does, so that the length of a word is a count
//! of zeros. ASCII goes 64 bytes at a time, without a branch on what they are; other
//! characters by table ([`super::characters`]).
//!
//! Cost: about 1 ns for each byte of English. Memory: the buffer, 8 KiB, or twice the
//! longest word if that is more.

use super::characters::{Characters, Kind, Sign, Spelling};
use crate::tokenizer::fast::bits::gathered;
use crate::tokenizer::fast::known::{WINDOW, Window, halves};

/// Bytes behind the text: a block is looked at with what words that start in it need, and
/// written whole.
const SLACK: usize = 64 + BLOCK;

/// 64 bytes, and 16 behind the last.
const BLOCK: usize = 64 + 16;

/// Normalised bytes in the buffer, about.
const BUFFER: usize = 4 << 10;

/// A stretch of normalised text and its words.
pub(super) struct Units {
    bytes: Vec<u8>,
    /// A word starts at this byte.
    starts: Vec<u64>,
    /// A word or a gap starts at this byte.
    stops: Vec<u64>,
    len: usize,
    /// The last byte belongs to a word that may go on.
    open: bool,
}

/// The words of [`Units`], complete ones only.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    bytes: &'a [u8],
    starts: &'a [u64],
    stops: &'a [u64],
}

/// 64 bytes of text in which words start.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    bytes: &'a [u8; BLOCK],
    stops: [u64; 2],
}

impl<'a> View<'a> {
    /// Number of blocks.
    pub(super) fn blocks(&self) -> usize {
        self.starts.len()
    }

    /// A block, and a bit for each byte where a word starts.
    #[inline]
    pub(super) fn block(&self, index: usize) -> (u64, Block<'a>) {
        let bytes = self.bytes[index * 64..].first_chunk().unwrap_or(&[0; _]);
        let stops = [self.stops[index], self.stops[index + 1]];
        (self.starts[index], Block { bytes, stops })
    }

    /// The word that starts at byte `bit` of block `index`.
    pub(super) fn word(&self, index: usize, bit: usize) -> &'a [u8] {
        let start = index * 64 + bit;
        let mut stop = start + self.block(index).1.length(bit);
        if stop > start + 64 {
            // 64 bytes on there was no stop yet; the word is closed, so one follows.
            let mut at = index + 1;
            while self.stops[at] == 0 {
                at += 1;
            }
            stop = at * 64 + self.stops[at].trailing_zeros() as usize;
        }
        &self.bytes[start..stop]
    }
}

impl Block<'_> {
    /// Length of the word that starts at byte `bit`, up to 64; 65 where it is longer.
    #[inline]
    pub(super) fn length(&self, bit: usize) -> usize {
        let rest = self.stops[0] >> bit >> 1 | self.stops[1] << (63 - bit);
        rest.trailing_zeros() as usize + 1
    }

    /// The 16 bytes from byte `bit` on, below 64.
    #[inline]
    pub(super) fn head(&self, bit: usize) -> Window {
        let bit = bit % 64;
        let head = self.bytes[bit..bit + WINDOW].first_chunk();
        head.map_or([0; 2], halves)
    }
}

impl Units {
    pub(super) fn new() -> Self {
        let mut units = Self {
            bytes: Vec::new(),
            starts: Vec::new(),
            stops: Vec::new(),
            len: 0,
            open: false,
        };
        units.grow(BUFFER);
        units
    }

    fn grow(&mut self, bytes: usize) {
        self.bytes.resize(bytes + SLACK, 0);
        let words = self.bytes.len() / 64 + 3;
        self.starts.resize(words, 0);
        self.stops.resize(words, 0);
    }

    /// Cuts `text` and hands the words over, in stretches; stops at the first error.
    pub(super) fn cut<E>(
        &mut self,
        characters: &Characters,
        text: &str,
        mut each: impl FnMut(View<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.forget();
        let mut rest = text;
        while !rest.is_empty() {
            rest = self.fill(characters, rest);
            let kept = if rest.is_empty() {
                self.open = false;
                self.len
            } else {
                self.complete()
            };
            self.close(kept);
            each(View {
                bytes: &self.bytes,
                starts: &self.starts[..kept.div_ceil(64)],
                stops: &self.stops,
            })?;
            self.keep(kept);
        }
        Ok(())
    }

    fn forget(&mut self) {
        if self.bytes.len() > 16 * BUFFER {
            *self = Self::new();
        }
        self.len = 0;
        self.open = false;
        self.starts[0] = 0;
        self.stops[0] = 0;
    }

    /// Bytes up to the word that may go on.
    fn complete(&self) -> usize {
        if !self.open {
            return self.len;
        }
        let mut index = (self.len - 1) / 64;
        while self.starts[index] == 0 {
            index -= 1;
        }
        index * 64 + 63 - self.starts[index].leading_zeros() as usize
    }

    /// Takes the start at `kept` away, if there is one, and lets what is before end there.
    fn close(&mut self, kept: usize) {
        let (index, bit) = (kept / 64, kept % 64);
        let below = (1u64 << bit) - 1;
        self.starts[index] &= below;
        self.stops[index] = self.stops[index] & below | 1 << bit;
    }

    /// Goes on with what lies behind `kept`: one unfinished word, or nothing.
    fn keep(&mut self, kept: usize) {
        self.bytes.copy_within(kept..self.len, 0);
        self.len -= kept;
        self.starts[..=self.len / 64].fill(0);
        self.stops[..=self.len / 64].fill(0);
        if self.len == 0 {
            return;
        }
        self.starts[0] = 1;
        self.stops[0] = 1;
        if self.len > (self.bytes.len() - SLACK) / 2 {
            self.grow(2 * (self.bytes.len() - SLACK));
        }
    }

    /// Reads `text` until the buffer is full; what is left of it.
    fn fill<'t>(&mut self, characters: &Characters, text: &'t str) -> &'t str {
        let fold = if characters.rules.lowercase { 0x20 } else { 0 };
        let limit = self.bytes.len() - SLACK;
        let source = text.as_bytes();
        let mut at = 0;
        while at < source.len() && self.len < limit {
            let rest = &source[at..];
            let mut last = [b' '; 64];
            let block = match rest.first_chunk::<64>() {
                Some(block) => block,
                None => {
                    last[..rest.len()].copy_from_slice(rest);
                    &last
                }
            };
            let Some(room) = self.bytes[self.len..].first_chunk_mut::<64>() else {
                break;
            };
            let seen = ascii(block, fold, room);
            let plain = (seen.others.trailing_zeros() as usize).min(rest.len());
            self.extend(&seen, plain);
            at += plain;
            if plain < 64 && at < source.len() {
                at = self.others(characters, text, at);
            }
        }
        &text[at..]
    }

    /// Appends the first `plain` bytes of a block, whose text is in place.
    #[inline]
    fn extend(&mut self, seen: &Seen, plain: usize) {
        if plain == 0 {
            return;
        }
        let valid = u64::MAX >> (64 - plain);
        let letters = seen.letters & valid;
        let begins = letters & !(letters << 1 | u64::from(self.open));
        let gaps = seen.gaps & valid;
        let starts = valid & !letters & !gaps | begins;
        self.open = letters >> (plain - 1) & 1 == 1;
        self.push(starts, starts | gaps, plain);
    }

    /// Appends `len` bits, 1 to 64, to both planes.
    #[inline]
    fn push(&mut self, starts: u64, stops: u64, len: usize) {
        let (index, shift) = (self.len / 64, self.len % 64);
        // What lies behind the bits is zero: bits above `len` are, and the next word is
        // written anew.
        self.starts[index] |= starts << shift;
        self.stops[index] |= stops << shift;
        self.starts[index + 1] = starts >> 1 >> (63 - shift);
        self.stops[index + 1] = stops >> 1 >> (63 - shift);
        self.len += len;
    }

    /// Appends characters by table from byte `at` on, where one stands that is not plain,
    /// until eight plain bytes follow or the buffer is full; where it ended.
    fn others(&mut self, characters: &Characters, text: &str, mut at: usize) -> usize {
        let limit = self.bytes.len() - SLACK;
        while self.len < limit
            && let Some(c) = text[at..].chars().next()
        {
            let character = characters.of(c);
            if character.kind == Kind::Mixed {
                at = self.mixed(characters, text, at);
                continue;
            }
            at += c.len_utf8();
            self.append(character.kind, &character.text, character.len.into());
            let ahead = text.as_bytes()[at..].first_chunk::<8>();
            if ahead.is_some_and(|ahead| u64::from_le_bytes(*ahead) & 0x8080_8080_8080_8080 == 0) {
                break;
            }
        }
        at
    }

    #[inline]
    fn append(&mut self, kind: Kind, text: &[u8; 14], len: usize) {
        if len == 0 {
            return;
        }
        self.bytes[self.len..self.len + 14].copy_from_slice(text);
        let starts = kind == Kind::Single || kind == Kind::Letters && !self.open;
        let stops = starts || kind == Kind::Gap;
        self.open = kind == Kind::Letters;
        self.push(starts.into(), stops.into(), len);
    }

    /// Appends characters from byte `at` on whose place depends on their neighbours, up
    /// to the next ordinary one; where that is.
    #[cold]
    fn mixed(&mut self, characters: &Characters, text: &str, mut at: usize) -> usize {
        let rules = &characters.rules;
        let mut spelling = Spelling::default();
        for c in text[at..].chars() {
            if !matches!(characters.of(c).kind, Kind::Mixed | Kind::Dropped) {
                break;
            }
            rules.spell(c, &mut spelling, |sign| self.sign(sign));
            at += c.len_utf8();
        }
        rules.flush(&mut spelling, |sign| self.sign(sign));
        at
    }

    fn sign(&mut self, sign: Sign) {
        if self.len + SLACK > self.bytes.len() {
            self.grow(2 * self.bytes.len());
        }
        let (kind, c) = match sign {
            Sign::Gap => (Kind::Gap, ' '),
            Sign::Letter(c) => (Kind::Letters, c),
            Sign::Single(c) => (Kind::Single, c),
        };
        let mut text = [0; 14];
        let len = c.encode_utf8(&mut text).len();
        self.append(kind, &text, len);
    }
}

/// What 64 bytes are, a bit for each.
struct Seen {
    /// ASCII letters and digits.
    letters: u64,
    /// Space, tab, line feed and carriage return.
    gaps: u64,
    /// Controls and what is not ASCII. The rest is punctuation.
    others: u64,
}

/// Looks at 64 bytes and writes them with upper case folded by `fold`: 0x20, or 0.
#[inline]
fn ascii(block: &[u8; 64], fold: u8, out: &mut [u8; 64]) -> Seen {
    let mut letters = [0u8; 64];
    let mut gaps = [0u8; 64];
    let mut others = [0u8; 64];
    for i in 0..64 {
        let byte = block[i];
        let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        let digit = byte.wrapping_sub(b'0') < 10;
        let gap = byte == b' ' || byte == b'\t' || byte == b'\n' || byte == b'\r';
        letters[i] = u8::from(letter | digit);
        gaps[i] = u8::from(gap);
        others[i] = u8::from((byte.wrapping_sub(b' ') >= 0x5f) & !gap);
        out[i] = byte | if letter { fold } else { 0 };
    }
    Seen {
        letters: gathered(&letters),
        gaps: gathered(&gaps),
        others: gathered(&others),
    }
}

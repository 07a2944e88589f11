//! Where words start in ASCII, 64 bytes of text at a time and without a branch on what
//! they are. Words that another character has a say in are left to who knows it.
//!
//! Cost: about 0.5 ns a byte. Memory: none.

use super::scan::Scan;
use crate::tokenizer::fast::bits::gathered;

/// Bytes that are looked at together.
pub(super) const BLOCK: usize = 64;

/// 64 bytes of text, a bit for each: what they are.
pub(super) struct Block<'a> {
    bytes: &'a [u8; BLOCK],
    pub(super) letters: u64,
    pub(super) digits: u64,
    /// Spaces, and no other whitespace.
    pub(super) spaces: u64,
    /// Whitespace that is no space: tabs, ends of lines and the like.
    pub(super) breaks: u64,
    quotes: u64,
    /// What is not ASCII.
    pub(super) beyond: u64,
}

/// Where words start in a block that begins with one.
pub(super) struct Starts {
    /// A bit for each byte where a word starts.
    pub(super) bits: u64,
    /// Below this byte it is certain.
    pub(super) certain: u32,
}

impl<'a> Block<'a> {
    #[inline(always)]
    pub(super) fn of(bytes: &'a [u8; BLOCK]) -> Self {
        let mut planes = [[0u8; BLOCK]; 6];
        for (index, &byte) in bytes.iter().enumerate() {
            planes[0][index] = u8::from((byte | 0x20).wrapping_sub(b'a') < 26);
            planes[1][index] = u8::from(byte.wrapping_sub(b'0') < 10);
            planes[2][index] = u8::from(byte == b' ');
            planes[3][index] = u8::from(byte.wrapping_sub(b'\t') < 5);
            planes[4][index] = u8::from(byte == b'\'');
            planes[5][index] = byte >> 7;
        }
        let [letters, digits, spaces, breaks, quotes, beyond] = planes.each_ref().map(gathered);
        Self {
            bytes,
            letters,
            digits,
            spaces,
            breaks,
            quotes,
            beyond,
        }
    }

    /// ASCII that is neither letter nor digit nor whitespace.
    #[inline(always)]
    pub(super) fn others(&self) -> u64 {
        !(self.letters | self.digits | self.spaces | self.breaks | self.beyond)
    }

    /// Where runs of whitespace begin, and of longer ones the last of it, which does not
    /// belong to the rest where something else follows below byte `certain`.
    #[inline(always)]
    pub(super) fn whitespace(&self, certain: u32) -> u64 {
        let white = self.spaces | self.breaks;
        let begin = white & !(white << 1);
        begin | white & !begin & !(white >> 1) & below(certain.saturating_sub(1))
    }

    /// Bytes of `class` behind a byte that is neither of it nor a space.
    #[inline(always)]
    pub(super) fn begins(&self, class: u64) -> u64 {
        class & !(class << 1 | self.spaces << 1)
    }

    /// `bits` with contractions cut as they are: `length` is that of one by what stands
    /// behind its apostrophe, or 0. They are looked for wherever a word may start.
    #[inline(always)]
    pub(super) fn contracted(
        &self,
        mut bits: u64,
        mut certain: u32,
        length: impl Fn([u8; 2]) -> u32,
    ) -> Starts {
        let within = (self.others() | self.spaces) << 1;
        let mut left = self.quotes & !within & below(certain);
        while left != 0 {
            let at = left.trailing_zeros();
            left &= left - 1;
            if at + 3 > certain {
                certain = at + 1;
                break;
            }
            let (first, second) = (self.bytes[at as usize + 1], self.bytes[at as usize + 2]);
            let length = length([first, second]);
            if length > 0 {
                bits &= !(below(length - 1) << at << 1);
                bits |= 1 << at << length;
            }
        }
        Starts { bits, certain }
    }

    /// Hands every word that is certain to `each`, from and to. Where the first one starts
    /// that is not, and whether this is for the block's end alone.
    #[inline(always)]
    pub(super) fn words(
        &self,
        scan: &impl Scan,
        mut each: impl FnMut(usize, usize),
    ) -> (usize, bool) {
        let Starts { bits, certain } = scan.starts(self);
        let mut left = bits & below(certain) & !1;
        let mut from = 0;
        while left != 0 {
            let to = left.trailing_zeros() as usize;
            left &= left - 1;
            each(from, to);
            from = to;
        }
        (from, certain as usize == BLOCK)
    }
}

/// The lowest `count` bits, of up to 64.
#[inline(always)]
fn below(count: u32) -> u64 {
    !u64::MAX.checked_shl(count).unwrap_or(0)
}

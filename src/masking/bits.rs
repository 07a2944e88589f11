//! Planes of one row: a bit per position in words of 64, least significant first.

use crate::base::boundaries::BoundarySlice;

/// Number of words for `len` bits.
pub fn words(len: usize) -> usize {
    len.div_ceil(64)
}

/// Makes `plane` `words` zero words long.
pub fn reset(plane: &mut Vec<u64>, words: usize) {
    plane.clear();
    plane.resize(words, 0);
}

/// Sets bit `position`.
#[inline]
pub fn set(plane: &mut [u64], position: u32) {
    plane[position as usize / 64] |= 1 << (position % 64);
}

/// Number of set bits.
pub fn count(plane: &[u64]) -> u32 {
    plane.iter().map(|word| word.count_ones()).sum()
}

/// Appends the positions of the set bits, ascending.
#[inline]
pub fn append_ones(plane: impl Iterator<Item = u64>, out: &mut Vec<u32>) {
    for (index, mut word) in plane.enumerate() {
        let base = index as u32 * 64;
        while word != 0 {
            out.push(base + word.trailing_zeros());
            word &= word - 1;
        }
    }
}

/// Where runs of maskable positions open, given the bits that open a word or unit:
/// at such a bit, at the row's edge, and after a protected position.
pub fn openings(maskable: &[u64], start: BoundarySlice<'_>, out: &mut Vec<u64>) {
    out.clear();
    let mut before = 0;
    for (index, &word) in maskable.iter().enumerate() {
        out.push(word & (start.word(index) | !(word << 1 | before)));
        before = word >> 63;
    }
}

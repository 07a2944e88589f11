//! Uniform selection: single positions without replacement.
//!
//! The maskable positions are listed in ascending order; `shuffle_prefix` for
//! Σ n_j of them; the first n_0 are copy 0's, the next n_1 copy 1's, and so on: one
//! permutation cut into blocks. Under `bernoulli`, see [`crate::masking`].

use super::bits;
use crate::base::generator::Generator;

/// Sets `counts[j]` of `positions` in plane j of `selected` (planes of `words`
/// words each). Shuffles `positions`.
pub(super) fn select(
    positions: &mut [u32],
    counts: &[u32],
    draws: &mut Generator,
    words: usize,
    selected: &mut [u64],
) {
    let together: u32 = counts.iter().sum();
    draws.shuffle_prefix(positions, together as usize);
    let mut rest = &positions[..];
    for (plane, &count) in selected.chunks_exact_mut(words).zip(counts) {
        let (block, after) = rest.split_at(count as usize);
        for &position in block {
            bits::set(plane, position);
        }
        rest = after;
    }
}

/// The copy that one draw u falls to under `bernoulli`, of `copies` with `rate`
/// each; none above them.
#[inline]
pub(super) fn copy_of(u: f64, rate: f64, copies: usize) -> Option<usize> {
    (0..copies).find(|&copy| u < (copy + 1) as f64 * rate)
}

/// Sets each set bit of `from` in `chosen` with probability `rate`. Without a branch on
/// the draw, which no processor could foresee.
pub(super) fn each(
    from: impl Iterator<Item = u64>,
    rate: f64,
    draws: &mut Generator,
    chosen: &mut [u64],
) {
    for (mut rest, plane) in from.zip(chosen) {
        let mut word = 0;
        while rest != 0 {
            word |= u64::from(draws.unit() < rate) << rest.trailing_zeros();
            rest &= rest - 1;
        }
        *plane |= word;
    }
}

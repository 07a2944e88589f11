//! Dropout whose masks are recomputed, not stored: whether a number is dropped is a
//! function of (seed, step, site, row, column), so a resumed run drops the same.
//!
//! The key of a site comes from the keyed generator; rows and columns are hashed
//! into it with 32-bit multiply–xorshift rounds ("lowbias32", C. Wellons), which
//! become vector instructions.

use crate::base::generator::{Key, Purpose};
use crate::training::real::Real;

/// The mask of one dropout layer (a site) in one step.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    key: u64,
    /// Numbers whose hash is below are dropped: rate · 2³².
    threshold: u32,
    scale: f64,
}

impl Dropout {
    /// The mask of `site` in `step`; none where the rate is 0.
    pub fn new(rate: f64, seed: u64, step: u64, site: u32) -> Option<Self> {
        let key = Key {
            seed,
            epoch: 0,
            sample: step,
            copy: site,
        };
        (rate > 0.0).then(|| Self {
            key: key.generator(Purpose::Dropout).next_u64(),
            threshold: (rate * 2f64.powi(32)).min(f64::from(u32::MAX)) as u32,
            scale: if rate < 1.0 { 1.0 / (1.0 - rate) } else { 0.0 },
        })
    }

    /// The mask of the row called `row`.
    #[inline(always)]
    pub fn row<T: Real>(&self, row: u64) -> RowMask<T> {
        let mut key = self.key ^ row.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        // The finaliser of SplitMix64 (Steele et al. 2014).
        key = (key ^ key >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        key = (key ^ key >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        key ^= key >> 31;
        RowMask {
            low: key as u32,
            high: (key >> 32) as u32,
            threshold: self.threshold,
            scale: T::from_f64(self.scale),
        }
    }
}

/// The mask of one row.
#[derive(Debug, Clone, Copy)]
pub struct RowMask<T> {
    low: u32,
    high: u32,
    threshold: u32,
    scale: T,
}

impl<T: Real> RowMask<T> {
    /// What the number in `column` is multiplied by: 0, or 1 / (1 − rate).
    #[inline(always)]
    pub fn factor(&self, column: u32) -> T {
        let mut x = column.wrapping_mul(0x9E37_79B9) ^ self.low;
        x = (x ^ x >> 16).wrapping_mul(0x7FEB_352D);
        x = (x ^ x >> 15).wrapping_add(self.high);
        x = (x ^ x >> 15).wrapping_mul(0x846C_A68B);
        x ^= x >> 16;
        if x < self.threshold {
            T::zero()
        } else {
            self.scale
        }
    }

    /// Multiplies `row` by the mask.
    #[inline(always)]
    pub fn apply(&self, row: &mut [T]) {
        self.apply_from(0, row);
    }

    /// Multiplies `columns`, the part of a row that begins at column `first`, by the mask.
    #[inline(always)]
    pub fn apply_from(&self, first: usize, columns: &mut [T]) {
        for (column, value) in (first as u32..).zip(columns) {
            *value *= self.factor(column);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_and_neighbours_are_independent() {
        let rate = 0.1;
        let mask = Dropout::new(rate, 3, 17, 5).unwrap();
        let (rows, columns) = (400u64, 1000u32);
        let dropped = |row: u64, column: u32| mask.row::<f64>(row).factor(column) == 0.0;
        let (mut one, mut right, mut below) = (0f64, 0f64, 0f64);
        for row in 0..rows {
            for column in 0..columns {
                if dropped(row, column) {
                    one += 1.0;
                    right += f64::from(u8::from(dropped(row, column + 1)));
                    below += f64::from(u8::from(dropped(row + 1, column)));
                }
            }
        }
        // Standard deviation of a share of n draws: √(p (1 − p) / n).
        let n = rows as f64 * f64::from(columns);
        assert!((one / n - rate).abs() < 4.0 * (rate * 0.9 / n).sqrt());
        for next in [right, below] {
            assert!((next / one - rate).abs() < 4.0 * (rate * 0.9 / one).sqrt());
        }
    }

    #[test]
    fn another_seed_step_or_site_is_another_mask() {
        let masks = [(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2)].map(|(seed, step, site)| {
            let mask = Dropout::new(0.5, seed, step, site).unwrap().row::<f32>(9);
            (0..64).map(|c| mask.factor(c)).collect::<Vec<_>>()
        });
        for (index, mask) in masks.iter().enumerate() {
            assert!(!masks[..index].contains(mask));
        }
        assert!(Dropout::new(0.0, 1, 1, 1).is_none());
    }
}

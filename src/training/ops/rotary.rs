//! Rotary positions (Su et al. 2021): each pair of numbers of a query or key is turned
//! by an angle that grows with the token's place, so scores depend on distances. Pairs
//! are number i and number i + width / 2 of a head, as in Hugging Face's models.

use super::ROWS;
use crate::parallel::chunks;
use crate::training::lanes;
use crate::training::matrix::Matrix;
use crate::training::real::Real;

/// Cosines and sines of all places of a batch, `places × width / 2` each.
pub struct Angles<T> {
    half: usize,
    cos: Vec<T>,
    sin: Vec<T>,
}

impl<T: Real> Angles<T> {
    /// Angles of the places `0..places` for heads of `width` numbers: place ·
    /// theta^(−2i / width).
    pub fn new(places: usize, width: usize, theta: f64) -> Self {
        let half = width / 2;
        let frequencies: Vec<f64> = (0..half)
            .map(|pair| theta.powf(-2.0 * pair as f64 / width as f64))
            .collect();
        let angles = (0..places).flat_map(|p| frequencies.iter().map(move |f| p as f64 * f));
        let (sin, cos) = angles
            .map(|angle| (T::from_f64(angle.sin()), T::from_f64(angle.cos())))
            .unzip();
        Self { half, cos, sin }
    }

    fn of(&self, place: u32) -> (&[T], &[T]) {
        let start = place as usize * self.half;
        let range = start..start + self.half;
        (&self.cos[range.clone()], &self.sin[range])
    }
}

/// Which way queries and keys are turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// By their places.
    Forward,
    /// Back: what their gradients are turned by.
    Back,
}

/// Turns queries and keys of `qkv` (`tokens × 3 hidden`) in place; values stay.
pub fn apply<T: Real>(qkv: &mut Matrix<T>, places: &[u32], angles: &Angles<T>, turn: Turn) {
    let width = qkv.cols();
    let turned = 2 * width / 3;
    let half = angles.half;
    let sign = match turn {
        Turn::Forward => T::one(),
        Turn::Back => -T::one(),
    };
    let pieces = qkv
        .chunks_mut(ROWS * width)
        .zip(places.chunks(ROWS))
        .collect();
    chunks::each(pieces, |(qkv, places): (&mut [T], &[u32])| {
        lanes::wide(
            #[inline(always)]
            || {
                for (row, &place) in qkv.chunks_exact_mut(width).zip(places) {
                    let (cos, sin) = angles.of(place);
                    for head in row[..turned].chunks_exact_mut(2 * half) {
                        let (left, right) = head.split_at_mut(half);
                        let pairs = left.iter_mut().zip(right);
                        for ((a, b), (&cos, &sin)) in pairs.zip(cos.iter().zip(sin)) {
                            let sin = sign * sin;
                            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                        }
                    }
                }
            },
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_turned_vectors_depend_on_the_distance_and_turning_back_undoes_it() {
        let angles = Angles::<f64>::new(32, 6, 100.0);
        let turned = |at: u32| {
            // Query, key and value, two heads of 6.
            let values = (0..36).map(|i| (f64::from(i) * 0.7).sin()).collect();
            let mut qkv = Matrix::new(1, 36, values);
            apply(&mut qkv, &[at], &angles, Turn::Forward);
            qkv
        };
        let score = |query: u32, key: u32| -> f64 {
            let (q, k) = (turned(query), turned(key));
            (0..6).map(|i| q[i] * k[12 + i]).sum()
        };
        assert!((score(3, 8) - score(20, 25)).abs() < 1e-12);
        assert!((score(3, 8) - score(3, 9)).abs() > 1e-3);
        let start = turned(0);
        let mut back = turned(17);
        assert_eq!(start[24..], back[24..], "values stay");
        apply(&mut back, &[17], &angles, Turn::Back);
        for (a, b) in start.iter().zip(back.iter()) {
            assert!((a - b).abs() < 1e-12);
        }
    }
}

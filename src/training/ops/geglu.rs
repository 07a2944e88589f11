//! GeGLU (Shazeer 2020): GELU(a) · g, of a matrix that holds a and g side by side.

use super::ROWS;
use super::gelu::{cumulative, slope};
use crate::parallel::chunks;
use crate::training::lanes;
use crate::training::matrix::Matrix;
use crate::training::real::Real;

/// GELU of the left half of `u` (`n × 2 width`) times its right half: `n × width`.
pub fn forward<T: Real>(u: &Matrix<T>) -> Matrix<T> {
    let (rows, width) = (u.rows(), u.cols() / 2);
    let mut out = u.sibling(rows, width);
    let pieces = out
        .chunks_mut(ROWS * width)
        .zip(u.chunks(ROWS * 2 * width))
        .collect();
    chunks::each(pieces, |(out, u): (&mut [T], &[T])| {
        lanes::wide(
            #[inline(always)]
            || {
                let rows = out.chunks_exact_mut(width).zip(u.chunks_exact(2 * width));
                for (out, u) in rows {
                    let (activated, gate) = u.split_at(width);
                    for ((out, &a), &g) in out.iter_mut().zip(activated).zip(gate) {
                        *out = a * cumulative(a) * g;
                    }
                }
            },
        );
    });
    out
}

/// The gradient of `u`, given that of the output (`n × width`), which becomes the output
/// itself, as [`forward`] had it.
pub fn backward<T: Real>(dy: &mut Matrix<T>, u: &Matrix<T>) -> Matrix<T> {
    let width = dy.cols();
    let mut out = u.sibling(u.rows(), u.cols());
    let pieces = out
        .chunks_mut(ROWS * 2 * width)
        .zip(u.chunks(ROWS * 2 * width))
        .zip(dy.chunks_mut(ROWS * width))
        .collect();
    type Piece<'a, T> = ((&'a mut [T], &'a [T]), &'a mut [T]);
    chunks::each(pieces, |((out, u), dy): Piece<T>| {
        lanes::wide(
            #[inline(always)]
            || {
                let rows = out
                    .chunks_exact_mut(2 * width)
                    .zip(u.chunks_exact(2 * width))
                    .zip(dy.chunks_exact_mut(width));
                for ((out, u), dy) in rows {
                    let (activated, gate) = u.split_at(width);
                    let (d_activated, d_gate) = out.split_at_mut(width);
                    let inputs = activated.iter().zip(gate).zip(dy);
                    for (((&a, &g), dy), (da, dg)) in inputs.zip(d_activated.iter_mut().zip(d_gate))
                    {
                        let gelu = a * cumulative(a);
                        *da = *dy * g * slope(a);
                        *dg = *dy * gelu;
                        *dy = gelu * g;
                    }
                }
            },
        );
    });
    out
}

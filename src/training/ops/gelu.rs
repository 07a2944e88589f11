//! GELU with the exact error function (Hendrycks and Gimpel 2016): x · Φ(x).

use super::ROWS;
use crate::parallel::chunks;
use crate::training::lanes;
use crate::training::matrix::Matrix;
use crate::training::real::Real;
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// Φ(x).
#[inline(always)]
pub(super) fn cumulative<T: Real>(x: T) -> T {
    let half = T::from_f64(0.5);
    half + half * (x * T::from_f64(FRAC_1_SQRT_2)).erf()
}

/// The slope of GELU: Φ(x) + x · φ(x).
#[inline(always)]
pub(super) fn slope<T: Real>(x: T) -> T {
    let (minus_half, density) = (T::from_f64(-0.5), T::from_f64(1.0 / (2.0 * PI).sqrt()));
    cumulative(x) + x * density * (minus_half * x * x).exp()
}

/// Adds `bias` to `u` (`n × width`) in place and returns GELU of it.
pub fn forward<T: Real>(u: &mut Matrix<T>, bias: Option<&Matrix<T>>) -> Matrix<T> {
    let (rows, width) = (u.rows(), u.cols());
    let mut out = u.sibling(rows, width);
    let no_bias = super::no_bias(bias, width);
    let bias = bias.map_or(&no_bias[..], |bias| &bias[..]);
    let pieces = u
        .chunks_mut(ROWS * width)
        .zip(out.chunks_mut(ROWS * width))
        .collect();
    chunks::each(pieces, |(u, out): (&mut [T], &mut [T])| {
        lanes::wide(
            #[inline(always)]
            || {
                let rows = u.chunks_exact_mut(width).zip(out.chunks_exact_mut(width));
                for (u, out) in rows {
                    for ((u, out), &bias) in u.iter_mut().zip(out).zip(bias) {
                        *u += bias;
                        *out = *u * cumulative(*u);
                    }
                }
            },
        );
    });
    out
}

/// Turns the gradient `dy` of GELU(u) into that of u, in place.
pub fn backward<T: Real>(dy: &mut Matrix<T>, u: &Matrix<T>) {
    let width = u.cols();
    let pieces = dy
        .chunks_mut(ROWS * width)
        .zip(u.chunks(ROWS * width))
        .collect();
    chunks::each(pieces, |(dy, u): (&mut [T], &[T])| {
        lanes::wide(
            #[inline(always)]
            || {
                for (dy, &u) in dy.iter_mut().zip(u) {
                    *dy *= slope(u);
                }
            },
        );
    });
}

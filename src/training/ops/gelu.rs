//! GELU with the exact error function (Hendrycks and Gimpel 2016): x · Φ(x).

use super::ROWS;
use crate::base::error::Result;
use crate::parallel::chunks;
use crate::training::lanes;
use crate::training::matrix::Matrix;
use crate::training::parameters::Linear;
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

/// u = x · weightᵀ + bias, `n × width`, and GELU of it.
pub fn forward<T: Real>(x: &Matrix<T>, linear: &Linear<T>) -> Result<(Matrix<T>, Matrix<T>)> {
    let width = linear.weight.rows();
    let mut out = x.sibling(x.rows(), width);
    let no_bias = super::no_bias(linear.bias.as_ref(), width);
    let bias = linear.bias.as_ref().map_or(&no_bias[..], |bias| &bias[..]);
    let u = x.all().times_then(
        linear.weight.all().t(),
        |rows| out.chunks_mut(rows * width),
        |u, out| {
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
        },
    )?;
    Ok((u, out))
}

/// The gradient of u, given that of the output `y` of the linear layer `after` it, and u,
/// which becomes GELU(u), as [`forward`] had it.
pub fn backward<T: Real>(
    dy: &Matrix<T>,
    after: &Linear<T>,
    u: &mut Matrix<T>,
) -> Result<Matrix<T>> {
    let width = u.cols();
    dy.all().times_then(
        after.weight.all(),
        |rows| u.chunks_mut(rows * width),
        |dy, u| {
            lanes::wide(
                #[inline(always)]
                || {
                    for (dy, u) in dy.iter_mut().zip(u) {
                        *dy *= slope(*u);
                        *u = *u * cumulative(*u);
                    }
                },
            );
        },
    )
}

/// Turns the gradient `dy` of GELU(u) into that of u, in place.
pub fn backward_in_place<T: Real>(dy: &mut Matrix<T>, u: &Matrix<T>) {
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

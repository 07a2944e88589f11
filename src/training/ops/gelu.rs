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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::ops::geglu;

    fn matrix(rows: usize, cols: usize, by: f32) -> Matrix<f32> {
        let numbers = (0..rows * cols).map(|at| 3.0 * (by * at as f32).sin());
        Matrix::new(rows, cols, numbers.collect())
    }

    #[test]
    fn what_it_gave_is_made_again_to_the_bit() {
        let (rows, hidden, width) = (2 * ROWS + 7, 24, 37);
        let linear = |rows, cols, by| Linear {
            weight: matrix(rows, cols, by),
            bias: Some(matrix(1, rows, by)),
        };
        let (before, after) = (linear(width, hidden, 0.7), linear(hidden, width, 1.1));
        let (mut u, out) = forward(&matrix(rows, hidden, 1.3), &before).unwrap();
        assert!(u[..] != out[..]);
        backward(&matrix(rows, hidden, 0.2), &after, &mut u).unwrap();
        assert_eq!(u[..], out[..]);

        let u = matrix(rows, 2 * width, 0.9);
        let out = geglu::forward(&u);
        let mut dy = matrix(rows, width, 0.4);
        geglu::backward(&mut dy, &u);
        assert_eq!(dy[..], out[..]);
    }
}

//! A linear layer that joins a residual connection: x + drop(o + b), in one pass.

use super::ROWS;
use super::dropout::Dropout;
use crate::base::error::Result;
use crate::parallel::chunks;
use crate::training::lanes;
use crate::training::matrix::Matrix;
use crate::training::parameters::Linear;
use crate::training::real::Real;

/// x + drop(branch · weightᵀ + bias), `n × width`. `keys` name the rows to the dropout.
pub fn forward<T: Real>(
    branch: &Matrix<T>,
    linear: &Linear<T>,
    dropout: Option<Dropout>,
    keys: &[u64],
    x: &Matrix<T>,
) -> Result<Matrix<T>> {
    let width = x.cols();
    let bias = linear.bias.as_ref().map(|bias| &bias[..]);
    let product = branch.all();
    product.times_then(
        linear.weight.all().t(),
        |rows| x.chunks(rows * width).zip(keys.chunks(rows)),
        |o, (x, keys)| {
            lanes::wide(
                #[inline(always)]
                || {
                    let rows = o.chunks_exact_mut(width).zip(x.chunks_exact(width));
                    for ((o, x), &key) in rows.zip(keys) {
                        if let Some(bias) = bias {
                            lanes::add(o, bias);
                        }
                        if let Some(dropout) = &dropout {
                            dropout.row(key).apply(o);
                        }
                        lanes::add(o, x);
                    }
                },
            );
        },
    )
}

/// The gradient of the branch, given that of the sum: the mask once more.
pub fn backward<T: Real>(dy: &Matrix<T>, dropout: Option<Dropout>, keys: &[u64]) -> Matrix<T> {
    let width = dy.cols();
    let mut out = dy.sibling(dy.rows(), width);
    let pieces = out
        .chunks_mut(ROWS * width)
        .zip(dy.chunks(ROWS * width))
        .zip(keys.chunks(ROWS))
        .collect();
    chunks::each(pieces, |((out, dy), keys): ((&mut [T], &[T]), &[u64])| {
        out.copy_from_slice(dy);
        if let Some(dropout) = &dropout {
            lanes::wide(
                #[inline(always)]
                || {
                    for (row, &key) in out.chunks_exact_mut(width).zip(keys) {
                        dropout.row(key).apply(row);
                    }
                },
            );
        }
    });
    out
}

/// Multiplies every row of `x` by its dropout mask.
pub fn apply<T: Real>(x: &mut Matrix<T>, dropout: Option<Dropout>, keys: &[u64]) {
    let Some(dropout) = dropout else { return };
    let width = x.cols();
    let pieces = x.chunks_mut(ROWS * width).zip(keys.chunks(ROWS)).collect();
    chunks::each(pieces, |(x, keys): (&mut [T], &[u64])| {
        lanes::wide(
            #[inline(always)]
            || {
                for (row, &key) in x.chunks_exact_mut(width).zip(keys) {
                    dropout.row(key).apply(row);
                }
            },
        );
    });
}

/// Adds `bias` to every row of `x`.
pub fn add_bias<T: Real>(x: &mut Matrix<T>, bias: &Matrix<T>) {
    let width = x.cols();
    let bias = &bias[..];
    let pieces = x.chunks_mut(ROWS * width).collect();
    chunks::each(pieces, |x: &mut [T]| {
        lanes::wide(
            #[inline(always)]
            || {
                for row in x.chunks_exact_mut(width) {
                    lanes::add(row, bias);
                }
            },
        );
    });
}

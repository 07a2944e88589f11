//! Bias, dropout and residual connection in one pass: x + drop(o + b).

use super::ROWS;
use super::dropout::Dropout;
use crate::parallel::chunks;
use crate::training::lanes;
use crate::training::matrix::Matrix;
use crate::training::real::Real;

/// Turns the branch `o` (`n × width`) into x + drop(o + bias). `keys` name the rows
/// to the dropout.
pub fn forward<T: Real>(
    o: &mut Matrix<T>,
    bias: Option<&Matrix<T>>,
    dropout: Option<Dropout>,
    keys: &[u64],
    x: &Matrix<T>,
) {
    let width = o.cols();
    let bias = bias.map(|bias| &bias[..]);
    let pieces = o
        .chunks_mut(ROWS * width)
        .zip(x.chunks(ROWS * width))
        .zip(keys.chunks(ROWS))
        .collect();
    chunks::each(pieces, |((o, x), keys): ((&mut [T], &[T]), &[u64])| {
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
    });
}

/// The gradient of the branch, given that of the sum: the mask once more.
pub fn backward<T: Real>(dy: &Matrix<T>, dropout: Option<Dropout>, keys: &[u64]) -> Matrix<T> {
    let mut out = dy.clone();
    apply(&mut out, dropout, keys);
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

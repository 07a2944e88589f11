//! Multi-head self-attention (Vaswani et al. 2017) on packed queries, keys and
//! values, without a matrix of all weights: a block of queries at a time, and the
//! backward pass computes the weights again from the logarithm of their sums (Dao et
//! al. 2022). Each thread takes whole attention runs (rows, or the documents in them); it
//! needs (128 + 4 · width of a head) · length numbers.

use super::dropout::Dropout;
use super::tile::{Strided, product};
use crate::parallel::chunks;
use crate::training::lanes;
use crate::training::matrix::Matrix;
use crate::training::real::Real;

/// Queries worked on at a time; with 128 keys their weights fill 32 KiB.
const QUERIES: usize = 64;

/// What attention needs beside its input.
#[derive(Debug, Clone, Copy)]
pub struct Heads<'a> {
    /// Number of heads.
    pub heads: usize,
    /// Tokens of each attention run; the rows of the input are those of the runs, one
    /// after the other, without padding. No token attends to another run.
    pub lengths: &'a [usize],
    /// Dropout of the weights.
    pub dropout: Option<Dropout>,
    /// The name of each token to the dropout.
    pub keys: &'a [u64],
}

/// One attention run and one head: views into packed queries, keys and values.
struct Head<'a, T> {
    /// From this head's first query on.
    qkv: &'a [T],
    /// Distance of tokens in `qkv`.
    stride: usize,
    /// Tokens.
    length: usize,
    /// Width of a head.
    width: usize,
    /// 1 / √width.
    scale: T,
    /// Keys, transposed: `width × length`.
    keys: Vec<T>,
}

impl<'a, T: Real> Head<'a, T> {
    #[inline(always)]
    fn new(qkv: &'a [T], hidden: usize, heads: usize, head: usize, length: usize) -> Self {
        let width = hidden / heads;
        let qkv = &qkv[head * width..];
        let stride = 3 * hidden;
        Self {
            keys: transpose(&qkv[hidden..], stride, length, width),
            qkv,
            stride,
            length,
            width,
            scale: T::from_f64(1.0 / (width as f64).sqrt()),
        }
    }

    #[inline(always)]
    fn part(&self, which: usize, first: usize) -> &'a [T] {
        &self.qkv[first * self.stride + which * (self.stride / 3)..]
    }

    /// Scaled scores of the queries `first..first + count`.
    #[inline(always)]
    fn scores(&self, first: usize, count: usize, out: &mut [T]) {
        let queries = Strided {
            values: self.part(0, first),
            down: self.stride,
            across: 1,
        };
        let shape = (count, self.width, self.length);
        product(
            shape,
            queries,
            &self.keys,
            self.length,
            out,
            self.length,
            false,
        );
        for score in &mut out[..count * self.length] {
            *score *= self.scale;
        }
    }
}

#[inline(always)]
fn transpose<T: Real>(x: &[T], stride: usize, rows: usize, cols: usize) -> Vec<T> {
    let mut out = vec![T::zero(); rows * cols];
    for (row, x) in x.chunks(stride).take(rows).enumerate() {
        for (col, &value) in x[..cols].iter().enumerate() {
            out[col * rows + row] = value;
        }
    }
    out
}

/// Cuts `flat` (`width` numbers a token) into the attention runs.
fn split<'a, T>(mut flat: &'a [T], lengths: &[usize], width: usize) -> Vec<&'a [T]> {
    lengths
        .iter()
        .map(|length| {
            let (row, rest) = flat.split_at(length * width);
            flat = rest;
            row
        })
        .collect()
}

fn split_mut<'a, T>(mut flat: &'a mut [T], lengths: &[usize], width: usize) -> Vec<&'a mut [T]> {
    lengths
        .iter()
        .map(|length| {
            let (row, rest) = std::mem::take(&mut flat).split_at_mut(length * width);
            flat = rest;
            row
        })
        .collect()
}

/// The name of a query of `head` to the dropout.
#[inline(always)]
fn query_key(token: u64, head: usize) -> u64 {
    token ^ (head as u64 + 1) << 48
}

/// Attention over `qkv` (`tokens × 3 hidden`: queries, keys, values). Gives the
/// weighted values, `tokens × hidden`, and the logarithm of the sum of each query's
/// exponentiated scores, `heads` numbers a token.
pub fn forward<T: Real>(qkv: &Matrix<T>, shape: Heads<'_>) -> (Matrix<T>, Vec<T>) {
    let hidden = qkv.cols() / 3;
    let heads = shape.heads;
    let mut context = Matrix::zeros(qkv.rows(), hidden);
    let mut sums = vec![T::zero(); qkv.rows() * heads];
    let pieces = split(qkv, shape.lengths, 3 * hidden)
        .into_iter()
        .zip(split_mut(&mut context, shape.lengths, hidden))
        .zip(split_mut(&mut sums, shape.lengths, heads))
        .zip(split(shape.keys, shape.lengths, 1))
        .collect();
    type Piece<'a, T> = (((&'a [T], &'a mut [T]), &'a mut [T]), &'a [u64]);
    chunks::each(pieces, |(((qkv, context), sums), keys): Piece<T>| {
        lanes::wide(
            #[inline(always)]
            || {
                let heads_of_row = if keys.is_empty() { 0 } else { heads };
                for head in 0..heads_of_row {
                    forward_head(qkv, head, context, sums, keys, heads, shape.dropout);
                }
            },
        );
    });
    (context, sums)
}

#[inline(always)]
fn forward_head<T: Real>(
    qkv: &[T],
    head: usize,
    context: &mut [T],
    sums: &mut [T],
    keys: &[u64],
    heads: usize,
    dropout: Option<Dropout>,
) {
    let length = keys.len();
    let hidden = context.len() / length;
    let view = Head::new(qkv, hidden, heads, head, length);
    let mut weights = vec![T::zero(); QUERIES.min(length) * length];
    for first in (0..length).step_by(QUERIES) {
        let count = QUERIES.min(length - first);
        view.scores(first, count, &mut weights);
        for (row, weights) in weights.chunks_exact_mut(length).take(count).enumerate() {
            let largest = lanes::maximum(weights);
            for weight in weights.iter_mut() {
                *weight = (*weight - largest).exp();
            }
            let sum = lanes::sum(weights);
            let share = T::one() / sum;
            for weight in weights.iter_mut() {
                *weight *= share;
            }
            sums[(first + row) * heads + head] = largest + T::from_f64(sum.to_f64().ln());
            if let Some(dropout) = &dropout {
                dropout
                    .row(query_key(keys[first + row], head))
                    .apply(weights);
            }
        }
        let weights = Strided {
            values: &weights,
            down: length,
            across: 1,
        };
        let out = &mut context[first * hidden + head * view.width..];
        let shape = (count, length, view.width);
        product(
            shape,
            weights,
            view.part(2, 0),
            view.stride,
            out,
            hidden,
            false,
        );
    }
}

/// The gradient of `qkv`, given what `forward` took and the `sums` it gave, and the
/// gradient of its output.
pub fn backward<T: Real>(
    qkv: &Matrix<T>,
    sums: &[T],
    d_context: &Matrix<T>,
    shape: Heads<'_>,
) -> Matrix<T> {
    let hidden = qkv.cols() / 3;
    let heads = shape.heads;
    let mut gradient = Matrix::zeros(qkv.rows(), qkv.cols());
    let pieces = split(qkv, shape.lengths, 3 * hidden)
        .into_iter()
        .zip(split(d_context, shape.lengths, hidden))
        .zip(split_mut(&mut gradient, shape.lengths, 3 * hidden))
        .zip(split(sums, shape.lengths, heads))
        .zip(split(shape.keys, shape.lengths, 1))
        .collect();
    type Piece<'a, T> = ((((&'a [T], &'a [T]), &'a mut [T]), &'a [T]), &'a [u64]);
    chunks::each(
        pieces,
        |((((qkv, d_context), gradient), sums), keys): Piece<T>| {
            lanes::wide(
                #[inline(always)]
                || {
                    let heads_of_row = if keys.is_empty() { 0 } else { heads };
                    for head in 0..heads_of_row {
                        let saved = (qkv, sums);
                        backward_head(saved, head, d_context, gradient, keys, heads, shape.dropout);
                    }
                },
            );
        },
    );
    gradient
}

#[inline(always)]
fn backward_head<T: Real>(
    (qkv, sums): (&[T], &[T]),
    head: usize,
    d_context: &[T],
    gradient: &mut [T],
    keys: &[u64],
    heads: usize,
    dropout: Option<Dropout>,
) {
    let length = keys.len();
    let hidden = d_context.len() / length;
    let view = Head::new(qkv, hidden, heads, head, length);
    let (width, stride) = (view.width, view.stride);
    let values = transpose(view.part(2, 0), stride, length, width);
    let block = QUERIES.min(length) * length;
    let (mut weights, mut slopes) = (vec![T::zero(); block], vec![T::zero(); block]);
    for first in (0..length).step_by(QUERIES) {
        let count = QUERIES.min(length - first);
        let d_out = Strided {
            values: &d_context[first * hidden + head * width..],
            down: hidden,
            across: 1,
        };
        view.scores(first, count, &mut weights);
        product(
            (count, width, length),
            d_out,
            &values,
            length,
            &mut slopes,
            length,
            false,
        );
        let rows = weights
            .chunks_exact_mut(length)
            .zip(slopes.chunks_exact_mut(length));
        for (row, (weights, slopes)) in rows.take(count).enumerate() {
            let sum = sums[(first + row) * heads + head];
            for weight in weights.iter_mut() {
                *weight = (*weight - sum).exp();
            }
            let mask = dropout.map(|d| d.row::<T>(query_key(keys[first + row], head)));
            if let Some(mask) = &mask {
                mask.apply(slopes);
            }
            let average = lanes::dot(slopes, weights, T::zero());
            for (slope, &weight) in slopes.iter_mut().zip(weights.iter()) {
                *slope = (*slope - average) * weight * view.scale;
            }
            if let Some(mask) = &mask {
                mask.apply(weights);
            }
        }
        let (down, across) = (1, length);
        let transposed = |values| Strided {
            values,
            down,
            across,
        };
        // Values: weightsᵀ · d_out. Queries: slopes · keys. Keys: slopesᵀ · queries.
        let add = first > 0;
        let out = &mut gradient[2 * hidden + head * width..];
        let shape = (length, count, width);
        product(
            shape,
            transposed(&weights),
            d_out.values,
            hidden,
            out,
            stride,
            add,
        );
        let out = &mut gradient[hidden + head * width..];
        product(
            shape,
            transposed(&slopes),
            view.part(0, first),
            stride,
            out,
            stride,
            add,
        );
        let out = &mut gradient[first * stride + head * width..];
        let slopes = Strided {
            values: &slopes,
            down: length,
            across: 1,
        };
        product(
            (count, length, width),
            slopes,
            view.part(1, 0),
            stride,
            out,
            stride,
            false,
        );
    }
}

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
use std::ops::Range;

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
    /// The place of each token in its run, ascending in every run: 0, 1, 2, … where no
    /// token is missing.
    pub places: &'a [u32],
    /// Places on each side that a token sees; all of its run without.
    pub reach: Option<usize>,
}

impl Heads<'_> {
    /// Tokens that the tokens `queries` of a run see between them; `places` are those of
    /// the run.
    #[inline(always)]
    fn seen(&self, queries: Range<usize>, places: &[u32]) -> Range<usize> {
        let Some(reach) = self.reach else {
            return 0..places.len();
        };
        // Places ascend by 1 or more: what is seen lies within `reach` tokens.
        let from = queries.start.saturating_sub(reach);
        let to = queries.end.saturating_add(reach).min(places.len());
        let first = places[queries.start] as usize;
        let last = places[queries.end - 1] as usize;
        let near = |place: u32| place as usize + reach >= first;
        let start = places[from..queries.start].partition_point(|&place| !near(place));
        let near = |place: u32| place as usize <= last.saturating_add(reach);
        let end = places[queries.end..to].partition_point(|&place| near(place));
        from + start..queries.end + end
    }
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

    /// Scaled scores of `queries` against `keys`, places of the run both.
    #[inline(always)]
    fn scores(&self, queries: Range<usize>, keys: Range<usize>, out: &mut [T]) {
        let left = Strided {
            values: self.part(0, queries.start),
            down: self.stride,
            across: 1,
        };
        let (count, span) = (queries.len(), keys.len());
        let right = &self.keys[keys.start..];
        let shape = (count, self.width, span);
        product(shape, left, right, self.length, out, span, false);
        for score in &mut out[..count * span] {
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
        .zip(split(shape.places, shape.lengths, 1))
        .collect();
    type Piece<'a, T> = (
        (((&'a [T], &'a mut [T]), &'a mut [T]), &'a [u64]),
        &'a [u32],
    );
    chunks::each(
        pieces,
        |((((qkv, context), sums), keys), places): Piece<T>| {
            lanes::wide(
                #[inline(always)]
                || {
                    let heads_of_row = if keys.is_empty() { 0 } else { heads };
                    for head in 0..heads_of_row {
                        forward_head(qkv, head, context, sums, (keys, places), shape);
                    }
                },
            );
        },
    );
    (context, sums)
}

#[inline(always)]
fn forward_head<T: Real>(
    qkv: &[T],
    head: usize,
    context: &mut [T],
    sums: &mut [T],
    (keys, places): (&[u64], &[u32]),
    shape: Heads<'_>,
) {
    let length = keys.len();
    let hidden = context.len() / length;
    let view = Head::new(qkv, hidden, shape.heads, head, length);
    let mut weights = vec![T::zero(); QUERIES.min(length) * length];
    for first in (0..length).step_by(QUERIES) {
        let queries = first..(first + QUERIES).min(length);
        let block = shape.seen(queries.clone(), places);
        let span = block.len();
        view.scores(queries.clone(), block.clone(), &mut weights);
        for (query, weights) in queries.clone().zip(weights.chunks_exact_mut(span)) {
            let seen = shape.seen(query..query + 1, places);
            let (from, to) = (seen.start - block.start, seen.end - block.start);
            weights[..from].fill(T::zero());
            weights[to..].fill(T::zero());
            let weights = &mut weights[from..to];
            let largest = lanes::maximum(weights);
            for weight in weights.iter_mut() {
                *weight = (*weight - largest).exp();
            }
            let sum = lanes::sum(weights);
            let share = T::one() / sum;
            for weight in weights.iter_mut() {
                *weight *= share;
            }
            sums[query * shape.heads + head] = largest + T::from_f64(sum.to_f64().ln());
            if let Some(dropout) = &shape.dropout {
                let mask = dropout.row(query_key(keys[query], head));
                mask.apply_from(seen.start, weights);
            }
        }
        let weights = Strided {
            values: &weights,
            down: span,
            across: 1,
        };
        let out = &mut context[first * hidden + head * view.width..];
        let values = view.part(2, block.start);
        let product_shape = (queries.len(), span, view.width);
        product(
            product_shape,
            weights,
            values,
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
        .zip(split(shape.places, shape.lengths, 1))
        .collect();
    type Numbers<'a, T> = (((&'a [T], &'a [T]), &'a mut [T]), &'a [T]);
    type Piece<'a, T> = ((Numbers<'a, T>, &'a [u64]), &'a [u32]);
    chunks::each(
        pieces,
        |(((((qkv, d_context), gradient), sums), keys), places): Piece<T>| {
            let names = (keys, places);
            lanes::wide(
                #[inline(always)]
                || {
                    let heads_of_row = if keys.is_empty() { 0 } else { heads };
                    for head in 0..heads_of_row {
                        backward_head((qkv, sums), head, d_context, gradient, names, shape);
                    }
                },
            );
        },
    );
    gradient
}

/// Adds to `gradient`, whose queries are zeros before.
#[inline(always)]
fn backward_head<T: Real>(
    (qkv, sums): (&[T], &[T]),
    head: usize,
    d_context: &[T],
    gradient: &mut [T],
    (keys, places): (&[u64], &[u32]),
    shape: Heads<'_>,
) {
    let length = keys.len();
    let hidden = d_context.len() / length;
    let view = Head::new(qkv, hidden, shape.heads, head, length);
    let (width, stride) = (view.width, view.stride);
    let values = transpose(view.part(2, 0), stride, length, width);
    let most = QUERIES.min(length) * length;
    let (mut weights, mut slopes) = (vec![T::zero(); most], vec![T::zero(); most]);
    for first in (0..length).step_by(QUERIES) {
        let queries = first..(first + QUERIES).min(length);
        let count = queries.len();
        let block = shape.seen(queries.clone(), places);
        let span = block.len();
        let d_out = Strided {
            values: &d_context[first * hidden + head * width..],
            down: hidden,
            across: 1,
        };
        view.scores(queries.clone(), block.clone(), &mut weights);
        let of_values = &values[block.start..];
        let product_shape = (count, width, span);
        product(
            product_shape,
            d_out,
            of_values,
            length,
            &mut slopes,
            span,
            false,
        );
        let rows = weights
            .chunks_exact_mut(span)
            .zip(slopes.chunks_exact_mut(span));
        for (query, (weights, slopes)) in queries.zip(rows) {
            let seen = shape.seen(query..query + 1, places);
            let (from, to) = (seen.start - block.start, seen.end - block.start);
            for hidden in [&mut *weights, &mut *slopes] {
                hidden[..from].fill(T::zero());
                hidden[to..].fill(T::zero());
            }
            let (weights, slopes) = (&mut weights[from..to], &mut slopes[from..to]);
            let sum = sums[query * shape.heads + head];
            for weight in weights.iter_mut() {
                *weight = (*weight - sum).exp();
            }
            let mask = shape
                .dropout
                .map(|dropout| dropout.row::<T>(query_key(keys[query], head)));
            if let Some(mask) = &mask {
                mask.apply_from(seen.start, slopes);
            }
            let average = lanes::dot(slopes, weights, T::zero());
            for (slope, &weight) in slopes.iter_mut().zip(weights.iter()) {
                *slope = (*slope - average) * weight * view.scale;
            }
            if let Some(mask) = &mask {
                mask.apply_from(seen.start, weights);
            }
        }
        let transposed = |values| Strided {
            values,
            down: 1,
            across: span,
        };
        // Values: weightsᵀ · d_out. Queries: slopes · keys. Keys: slopesᵀ · queries.
        let at = block.start * stride + head * width;
        let product_shape = (span, count, width);
        let out = &mut gradient[at + 2 * hidden..];
        product(
            product_shape,
            transposed(&weights),
            d_out.values,
            hidden,
            out,
            stride,
            true,
        );
        let out = &mut gradient[at + hidden..];
        let queries = view.part(0, first);
        product(
            product_shape,
            transposed(&slopes),
            queries,
            stride,
            out,
            stride,
            true,
        );
        let out = &mut gradient[first * stride + head * width..];
        let slopes = Strided {
            values: &slopes,
            down: span,
            across: 1,
        };
        let keys = view.part(1, block.start);
        product(
            (count, span, width),
            slopes,
            keys,
            stride,
            out,
            stride,
            false,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: usize = 2;
    const HIDDEN: usize = 8;

    fn numbers(rows: usize, cols: usize, seed: f64) -> Matrix<f64> {
        let values = (0..rows * cols).map(|i| (i as f64 * 0.37 + seed).sin());
        Matrix::new(rows, cols, values.collect())
    }

    /// As the definition has it: one query, one head, all keys of the run in reach.
    fn plain(qkv: &Matrix<f64>, lengths: &[usize], places: &[u32], reach: usize) -> Vec<f64> {
        let width = HIDDEN / HEADS;
        let mut out = vec![0.0; qkv.rows() * HIDDEN];
        let mut first = 0;
        for &length in lengths {
            for query in first..first + length {
                for head in 0..HEADS {
                    let part = |token: usize, which: usize| {
                        &qkv.row(token)[which * HIDDEN + head * width..][..width]
                    };
                    let apart = |key: usize| places[key].abs_diff(places[query]) as usize;
                    let keys = (first..first + length).filter(|&key| apart(key) <= reach);
                    let weights: Vec<(usize, f64)> = keys
                        .map(|key| {
                            let pairs = part(query, 0).iter().zip(part(key, 1));
                            let score: f64 = pairs.map(|(q, k)| q * k).sum();
                            (key, (score / (width as f64).sqrt()).exp())
                        })
                        .collect();
                    let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
                    for (key, weight) in weights {
                        for (column, value) in part(key, 2).iter().enumerate() {
                            out[query * HIDDEN + head * width + column] += weight / sum * value;
                        }
                    }
                }
            }
            first += length;
        }
        out
    }

    /// Runs of several blocks of queries, a reach that ends inside of blocks; with all
    /// tokens of the runs there, and with some missing.
    #[test]
    fn whole_and_local_attention_are_those_of_the_definition_with_their_gradients() {
        let lengths = [150, 3, 64, 1];
        let tokens = lengths.iter().sum();
        let keys: Vec<u64> = (0..tokens as u64).collect();
        let qkv = numbers(tokens, 3 * HIDDEN, 0.5);
        let d_out = numbers(tokens, HIDDEN, 0.1);
        let runs = || lengths.iter().flat_map(|&length| 0..length as u32);
        let whole: Vec<u32> = runs().collect();
        let gaps: Vec<u32> = runs().map(|at| at * 3 / 2 + at / 40 * 30).collect();
        let reaches = [None, Some(0), Some(5), Some(70), Some(1000)];
        let of_gaps = reaches.map(|reach| (reach, &gaps));
        for (reach, places) in reaches
            .map(|reach| (reach, &whole))
            .into_iter()
            .chain(of_gaps)
        {
            let shape = Heads {
                heads: HEADS,
                lengths: &lengths,
                dropout: None,
                keys: &keys,
                places,
                reach,
            };
            let (context, sums) = forward(&qkv, shape);
            let expected = plain(&qkv, &lengths, places, reach.unwrap_or(usize::MAX));
            for (a, b) in context.iter().zip(&expected) {
                assert!((a - b).abs() < 1e-12, "{reach:?}: {a} {b}");
            }
            let gradient = backward(&qkv, &sums, &d_out, shape);
            for index in (0..qkv.len()).step_by(97) {
                let loss = |by: f64| -> f64 {
                    let mut moved = qkv.clone();
                    moved[index] += by;
                    let (context, _) = forward(&moved, shape);
                    context.iter().zip(d_out.iter()).map(|(c, d)| c * d).sum()
                };
                let slope = (loss(1e-5) - loss(-1e-5)) / 2e-5;
                assert!(
                    (slope - gradient[index]).abs() < 1e-8,
                    "{reach:?} [{index}]: {slope} {}",
                    gradient[index]
                );
            }
        }
    }
}

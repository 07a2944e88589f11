//! Multi-head self-attention (Vaswani et al. 2017) on packed queries, keys and
//! values, without a matrix of all weights: a block of queries at a time, and the
//! backward pass computes the weights again from the logarithm of their sums (Dao et
//! al. 2022). Each thread takes whole attention runs (rows, or the documents in them); it
//! needs (120 + 4 · width of a head) · length numbers.

use super::dropout::Dropout;
use super::tile::{Product, Right, Strided, Target, tile_columns};
use crate::parallel::chunks;
use crate::training::lanes;
use crate::training::matrix::Matrix;
use crate::training::real::Real;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Queries worked on at a time, whole tiles; with 128 keys their weights fill 30 KiB.
const QUERIES: usize = 60;

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

    /// The same, begun at a panel's first place.
    #[inline(always)]
    fn block(&self, queries: Range<usize>, places: &[u32], panel: usize) -> Range<usize> {
        let seen = self.seen(queries, places);
        seen.start / panel * panel..seen.end
    }
}

/// One attention run and one head: views into packed queries, keys and values.
#[derive(Clone, Copy)]
struct Head<'a, T> {
    /// From this head's first query on.
    qkv: &'a [T],
    /// Distance of tokens in `qkv`.
    stride: usize,
    /// Width of a head.
    width: usize,
    /// 1 / √width.
    scale: T,
}

impl<'a, T: Real> Head<'a, T> {
    #[inline(always)]
    fn new(qkv: &'a [T], hidden: usize, heads: usize, head: usize) -> Self {
        let width = hidden / heads;
        Self {
            qkv: &qkv[head * width..],
            stride: 3 * hidden,
            width,
            scale: T::from_f64(1.0 / (width as f64).sqrt()),
        }
    }

    /// Queries (0), keys (1) or values (2), `length × width`.
    #[inline(always)]
    fn part(&self, which: usize) -> Strided<'a, T> {
        Strided {
            values: &self.qkv[which * (self.stride / 3)..],
            down: self.stride,
            across: 1,
        }
    }
}

/// Operands and weights of one head, used again by the next.
struct Scratch<T> {
    keys: Right<T>,
    values: Right<T>,
    /// The same, not transposed where they are above, and the other way round.
    keys_across: Right<T>,
    block: Right<T>,
    weights: Vec<T>,
    slopes: Vec<T>,
}

impl<T: Real> Scratch<T> {
    fn new() -> Self {
        Self {
            keys: Right::empty(),
            values: Right::empty(),
            keys_across: Right::empty(),
            block: Right::empty(),
            weights: Vec::new(),
            slopes: Vec::new(),
        }
    }
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
    let mut context = qkv.sibling(qkv.rows(), hidden);
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
    chunks::each_with(
        pieces,
        Scratch::new,
        |scratch: &mut Scratch<T>, ((((qkv, context), sums), keys), places): Piece<T>| {
            pulp::Arch::new().dispatch(Forward {
                qkv,
                context,
                sums,
                keys,
                places,
                shape,
                scratch,
            });
        },
    );
    (context, sums)
}

/// All heads of one attention run.
struct Forward<'a, T> {
    qkv: &'a [T],
    context: &'a mut [T],
    sums: &'a mut [T],
    keys: &'a [u64],
    places: &'a [u32],
    shape: Heads<'a>,
    scratch: &'a mut Scratch<T>,
}

impl<T: Real> WithSimd for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let heads = if self.keys.is_empty() {
            0
        } else {
            self.shape.heads
        };
        for head in 0..heads {
            self.head(simd, head);
        }
    }
}

impl<T: Real> Forward<'_, T> {
    #[inline(always)]
    fn head<S: Simd>(&mut self, simd: S, head: usize) {
        let shape = self.shape;
        let length = self.keys.len();
        let hidden = self.context.len() / length;
        let view = Head::new(self.qkv, hidden, shape.heads, head);
        let width = view.width;
        let panel = tile_columns::<S, T>();
        let Scratch {
            keys,
            values,
            weights,
            ..
        } = &mut *self.scratch;
        keys.fill::<S>(view.part(1).t(), (width, length));
        values.fill::<S>(view.part(2), (length, width));
        weights.resize(QUERIES.min(length) * length, T::zero());
        for first in (0..length).step_by(QUERIES) {
            let queries = first..(first + QUERIES).min(length);
            let count = queries.len();
            let block = shape.block(queries.clone(), self.places, panel);
            let (start, span) = (block.start, block.len());
            let scores = Target {
                values: &mut *weights,
                down: span,
                add: false,
            };
            let all = view.part(0).from(first, 0);
            simd.vectorize(Product {
                shape: (count, width, span),
                a: all,
                b: keys.columns(start),
                c: scores,
            });
            let mut shares = [T::zero(); QUERIES];
            simd.vectorize(Softmax {
                shape,
                scale: view.scale,
                head,
                queries,
                block,
                keys: self.keys,
                places: self.places,
                weights,
                shares: &mut shares,
                sums: self.sums,
            });
            let weights = Strided {
                values: &weights[..],
                down: span,
                across: 1,
            };
            let out = &mut self.context[first * hidden + head * width..];
            let target = Target {
                values: &mut *out,
                down: hidden,
                add: false,
            };
            simd.vectorize(Product {
                shape: (count, span, width),
                a: weights,
                b: values.rows(start),
                c: target,
            });
            for (out, &share) in out.chunks_mut(hidden).zip(&shares[..count]) {
                for value in &mut out[..width] {
                    *value *= share;
                }
            }
        }
    }
}

/// Scores of a block of queries to their exponentials with dropout, what makes weights of
/// those, and the logarithms of their sums.
struct Softmax<'a, T> {
    shape: Heads<'a>,
    scale: T,
    head: usize,
    queries: Range<usize>,
    /// Places that the scores are of.
    block: Range<usize>,
    keys: &'a [u64],
    places: &'a [u32],
    weights: &'a mut [T],
    shares: &'a mut [T],
    sums: &'a mut [T],
}

impl<T: Real> WithSimd for Softmax<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (shape, scale) = (self.shape, self.scale);
        let rows = self.weights.chunks_exact_mut(self.block.len());
        for ((query, weights), share) in self.queries.zip(rows).zip(self.shares) {
            let seen = shape.seen(query..query + 1, self.places);
            let weights = hide_others(weights, &self.block, &seen);
            let largest = lanes::maximum(weights);
            let sum = lanes::map_and_sum(weights, |x| ((x - largest) * scale).exp());
            *share = T::one() / sum;
            self.sums[query * shape.heads + self.head] =
                largest * scale + T::from_f64(sum.to_f64().ln());
            if let Some(dropout) = &shape.dropout {
                let mask = dropout.row(query_key(self.keys[query], self.head));
                mask.apply_from(seen.start, weights);
            }
        }
    }
}

/// The part of a row over `block` that is `seen`; the rest becomes 0.
#[inline(always)]
fn hide_others<'a, T: Real>(
    row: &'a mut [T],
    block: &Range<usize>,
    seen: &Range<usize>,
) -> &'a mut [T] {
    let (from, to) = (seen.start - block.start, seen.end - block.start);
    row[..from].fill(T::zero());
    row[to..].fill(T::zero());
    &mut row[from..to]
}

/// Scores of a block of queries to their weights with dropout, and the gradients of those
/// to the gradients of the scores.
struct Slopes<'a, T> {
    shape: Heads<'a>,
    scale: T,
    head: usize,
    queries: Range<usize>,
    /// Places that the scores are of.
    block: Range<usize>,
    keys: &'a [u64],
    places: &'a [u32],
    weights: &'a mut [T],
    slopes: &'a mut [T],
    sums: &'a [T],
}

impl<T: Real> WithSimd for Slopes<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (shape, scale) = (self.shape, self.scale);
        let span = self.block.len();
        let weights = self.weights.chunks_exact_mut(span);
        let rows = weights.zip(self.slopes.chunks_exact_mut(span));
        for (query, (weights, slopes)) in self.queries.zip(rows) {
            let seen = shape.seen(query..query + 1, self.places);
            let weights = hide_others(weights, &self.block, &seen);
            let slopes = hide_others(slopes, &self.block, &seen);
            let sum = self.sums[query * shape.heads + self.head];
            for weight in weights.iter_mut() {
                *weight = (*weight * scale - sum).exp();
            }
            let mask = shape
                .dropout
                .map(|dropout| dropout.row::<T>(query_key(self.keys[query], self.head)));
            if let Some(mask) = &mask {
                mask.apply_from(seen.start, slopes);
            }
            let average = lanes::dot(slopes, weights, T::zero());
            for (slope, &weight) in slopes.iter_mut().zip(weights.iter()) {
                *slope = (*slope - average) * weight * scale;
            }
            if let Some(mask) = &mask {
                mask.apply_from(seen.start, weights);
            }
        }
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
    let mut gradient = qkv.sibling(qkv.rows(), qkv.cols());
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
    chunks::each_with(
        pieces,
        Scratch::new,
        |scratch: &mut Scratch<T>,
         (((((qkv, d_context), gradient), sums), keys), places): Piece<T>| {
            pulp::Arch::new().dispatch(Backward {
                qkv,
                sums,
                d_context,
                gradient,
                keys,
                places,
                shape,
                scratch,
            });
        },
    );
    gradient
}

/// The gradients of all heads of one attention run.
struct Backward<'a, T> {
    qkv: &'a [T],
    sums: &'a [T],
    d_context: &'a [T],
    gradient: &'a mut [T],
    keys: &'a [u64],
    places: &'a [u32],
    shape: Heads<'a>,
    scratch: &'a mut Scratch<T>,
}

impl<T: Real> WithSimd for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let length = self.keys.len();
        if length == 0 {
            return;
        }
        let hidden = self.d_context.len() / length;
        // Keys and values gather from all queries.
        for row in self.gradient.chunks_exact_mut(3 * hidden) {
            row[hidden..].fill(T::zero());
        }
        let heads = self.shape.heads;
        for head in 0..heads {
            self.head(simd, head);
        }
    }
}

impl<T: Real> Backward<'_, T> {
    #[inline(always)]
    fn head<S: Simd>(&mut self, simd: S, head: usize) {
        let shape = self.shape;
        let length = self.keys.len();
        let hidden = self.d_context.len() / length;
        let view = Head::new(self.qkv, hidden, shape.heads, head);
        let (width, stride) = (view.width, view.stride);
        let panel = tile_columns::<S, T>();
        let Scratch {
            keys,
            values,
            keys_across,
            block: of_block,
            weights,
            slopes,
        } = &mut *self.scratch;
        keys.fill::<S>(view.part(1).t(), (width, length));
        values.fill::<S>(view.part(2).t(), (width, length));
        keys_across.fill::<S>(view.part(1), (length, width));
        let most = QUERIES.min(length) * length;
        weights.resize(most, T::zero());
        slopes.resize(most, T::zero());
        for first in (0..length).step_by(QUERIES) {
            let queries = first..(first + QUERIES).min(length);
            let count = queries.len();
            let block = shape.block(queries.clone(), self.places, panel);
            let span = block.len();
            let all = view.part(0).from(first, 0);
            let d_out = Strided {
                values: &self.d_context[first * hidden + head * width..],
                down: hidden,
                across: 1,
            };
            for (left, right, out) in [
                (all, &*keys, &mut *weights),
                (d_out, &*values, &mut *slopes),
            ] {
                let target = Target {
                    values: &mut out[..],
                    down: span,
                    add: false,
                };
                simd.vectorize(Product {
                    shape: (count, width, span),
                    a: left,
                    b: right.columns(block.start),
                    c: target,
                });
            }
            simd.vectorize(Slopes {
                shape,
                scale: view.scale,
                head,
                queries,
                block: block.clone(),
                keys: self.keys,
                places: self.places,
                weights,
                slopes,
                sums: self.sums,
            });
            // Values: weightsᵀ · d_out. Keys: slopesᵀ · queries. Queries: slopes · keys.
            let at = block.start * stride + head * width;
            for (left, right, which) in [(&*weights, d_out, 2), (&*slopes, all, 1)] {
                of_block.fill::<S>(right, (count, width));
                let left = Strided {
                    values: &left[..],
                    down: 1,
                    across: span,
                };
                let target = Target {
                    values: &mut self.gradient[at + which * hidden..],
                    down: stride,
                    add: true,
                };
                simd.vectorize(Product {
                    shape: (span, count, width),
                    a: left,
                    b: of_block.rows(0),
                    c: target,
                });
            }
            let slopes = Strided {
                values: &slopes[..],
                down: span,
                across: 1,
            };
            let target = Target {
                values: &mut self.gradient[first * stride + head * width..],
                down: stride,
                add: false,
            };
            simd.vectorize(Product {
                shape: (count, span, width),
                a: slopes,
                b: keys_across.rows(block.start),
                c: target,
            });
        }
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

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
    /// The tokens that look at others, ascending; all without.
    pub queries: Option<&'a [u32]>,
}

/// One attention run.
#[derive(Clone, Copy)]
struct Run<'a> {
    /// Its first token.
    first: usize,
    /// Its tokens.
    length: usize,
    /// Those that look at others.
    queries: Option<&'a [u32]>,
    /// The place of each, ascending.
    places: &'a [u32],
}

impl Run<'_> {
    /// Number of queries.
    #[inline(always)]
    fn queries(&self) -> usize {
        self.queries.map_or(self.length, <[u32]>::len)
    }

    /// The place of a query in the run.
    #[inline(always)]
    fn place(&self, query: usize) -> usize {
        match self.queries {
            Some(queries) => queries[query] as usize - self.first,
            None => query,
        }
    }
}

impl<'a> Heads<'a> {
    /// The attention runs.
    fn runs(&self) -> Vec<Run<'a>> {
        let mut rest = self.queries;
        let mut first = 0;
        let runs = self.lengths.iter().map(|&length| {
            let queries = rest.map(|queries| {
                let end = queries.partition_point(|&token| (token as usize) < first + length);
                let (queries, later) = queries.split_at(end);
                rest = Some(later);
                queries
            });
            first += length;
            let from = first - length;
            Run {
                first: from,
                length,
                queries,
                places: &self.places[from..first],
            }
        });
        runs.collect()
    }

    /// Tokens that the tokens `from` of a run see between them; `places` are those of
    /// the run.
    #[inline(always)]
    fn seen(&self, from: Range<usize>, places: &[u32]) -> Range<usize> {
        let Some(reach) = self.reach else {
            return 0..places.len();
        };
        // Places ascend by 1 or more: what is seen lies within `reach` tokens.
        let earliest = from.start.saturating_sub(reach);
        let latest = from.end.saturating_add(reach).min(places.len());
        let first = places[from.start] as usize;
        let last = places[from.end - 1] as usize;
        let near = |place: u32| place as usize + reach >= first;
        let start = places[earliest..from.start].partition_point(|&place| !near(place));
        let near = |place: u32| place as usize <= last.saturating_add(reach);
        let end = places[from.end..latest].partition_point(|&place| near(place));
        earliest + start..from.end + end
    }

    /// Places that queries of `run` see between them, begun at a panel's first place.
    #[inline(always)]
    fn block(&self, queries: Range<usize>, run: Run<'_>, panel: usize) -> Range<usize> {
        let from = run.place(queries.start)..run.place(queries.end - 1) + 1;
        let seen = self.seen(from, run.places);
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

    /// The queries `queries` of `run`, gathered where they do not follow each other.
    #[inline(always)]
    fn queries<'b>(
        &self,
        run: Run<'_>,
        queries: Range<usize>,
        gathered: &'b mut Vec<T>,
    ) -> Strided<'b, T>
    where
        'a: 'b,
    {
        if run.queries.is_none() {
            return self.part(0).from(queries.start, 0);
        }
        gathered.clear();
        for query in queries {
            let row = self.part(0).from(run.place(query), 0);
            gathered.extend_from_slice(&row.values[..self.width]);
        }
        Strided {
            values: gathered,
            down: self.width,
            across: 1,
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
    /// Keys, transposed: `width × length`.
    keys: Right<T>,
    /// Values; for the backward pass transposed.
    values: Right<T>,
    /// Keys as they lie.
    keys_across: Right<T>,
    /// Queries of a block, or gradients of their context.
    block: Right<T>,
    /// Of a block, `queries × places`.
    weights: Vec<T>,
    slopes: Vec<T>,
    /// Queries that do not follow each other, or their gradients.
    gathered: Vec<T>,
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
            gathered: Vec::new(),
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
/// weighted values, `queries × hidden`, and the logarithm of the sum of each query's
/// exponentiated scores, `heads` numbers a query.
pub fn forward<T: Real>(qkv: &Matrix<T>, shape: Heads<'_>) -> (Matrix<T>, Vec<T>) {
    let hidden = qkv.cols() / 3;
    let heads = shape.heads;
    let runs = shape.runs();
    let asked: Vec<usize> = runs.iter().map(Run::queries).collect();
    let rows = asked.iter().sum();
    let mut context = qkv.sibling(rows, hidden);
    let mut sums = vec![T::zero(); rows * heads];
    let pieces = split(qkv, shape.lengths, 3 * hidden)
        .into_iter()
        .zip(split_mut(&mut context, &asked, hidden))
        .zip(split_mut(&mut sums, &asked, heads))
        .zip(split(shape.keys, shape.lengths, 1))
        .zip(runs)
        .collect();
    type Piece<'a, T> = ((((&'a [T], &'a mut [T]), &'a mut [T]), &'a [u64]), Run<'a>);
    chunks::each_with(
        pieces,
        Scratch::new,
        |scratch: &mut Scratch<T>, ((((qkv, context), sums), keys), run): Piece<T>| {
            pulp::Arch::new().dispatch(Forward {
                qkv,
                context,
                sums,
                keys,
                run,
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
    run: Run<'a>,
    shape: Heads<'a>,
    scratch: &'a mut Scratch<T>,
}

impl<T: Real> WithSimd for Forward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let heads = match self.run.queries() {
            0 => 0,
            _ => self.shape.heads,
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
        let run = self.run;
        let (length, count) = (run.length, run.queries());
        let hidden = self.context.len() / count;
        let view = Head::new(self.qkv, hidden, shape.heads, head);
        let width = view.width;
        let panel = tile_columns::<S, T>();
        let Scratch {
            keys,
            values,
            weights,
            gathered,
            ..
        } = &mut *self.scratch;
        keys.fill::<S>(view.part(1).t(), (width, length));
        values.fill::<S>(view.part(2), (length, width));
        weights.resize(QUERIES.min(count) * length, T::zero());
        for first in (0..count).step_by(QUERIES) {
            let queries = first..(first + QUERIES).min(count);
            let count = queries.len();
            let block = shape.block(queries.clone(), run, panel);
            let (start, span) = (block.start, block.len());
            let scores = Target {
                values: &mut *weights,
                down: span,
                add: false,
            };
            simd.vectorize(Product {
                shape: (count, width, span),
                a: view.queries(run, queries.clone(), gathered),
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
                run,
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
    run: Run<'a>,
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
            let place = self.run.place(query);
            let seen = shape.seen(place..place + 1, self.run.places);
            let weights = hide_others(weights, &self.block, &seen);
            let largest = lanes::maximum(weights);
            let sum = lanes::map_and_sum(weights, |x| ((x - largest) * scale).exp());
            *share = T::one() / sum;
            self.sums[query * shape.heads + self.head] =
                largest * scale + T::from_f64(sum.to_f64().ln());
            if let Some(dropout) = &shape.dropout {
                let mask = dropout.row(query_key(self.keys[place], self.head));
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
    run: Run<'a>,
    weights: &'a mut [T],
    slopes: &'a mut [T],
    sums: &'a [T],
    /// Of all heads, with its gradient.
    context: (&'a [T], &'a [T]),
}

impl<T: Real> WithSimd for Slopes<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (shape, scale) = (self.shape, self.scale);
        let span = self.block.len();
        let (context, d_context) = self.context;
        let width = context.len() / (self.run.queries() * shape.heads);
        let weights = self.weights.chunks_exact_mut(span);
        let rows = weights.zip(self.slopes.chunks_exact_mut(span));
        for (query, (weights, slopes)) in self.queries.zip(rows) {
            let place = self.run.place(query);
            let seen = shape.seen(place..place + 1, self.run.places);
            let weights = hide_others(weights, &self.block, &seen);
            let slopes = hide_others(slopes, &self.block, &seen);
            let sum = self.sums[query * shape.heads + self.head];
            // Σ weight · its gradient, which is Σ context · its gradient (Dao et al. 2022).
            let at = (query * shape.heads + self.head) * width;
            let average = lanes::dot(
                &context[at..at + width],
                &d_context[at..at + width],
                T::zero(),
            );
            let pairs = weights.iter_mut().zip(slopes.iter_mut());
            let Some(dropout) = &shape.dropout else {
                for (weight, slope) in pairs {
                    *weight = (*weight * scale - sum).exp();
                    *slope = (*slope - average) * *weight * scale;
                }
                continue;
            };
            let mask = dropout.row::<T>(query_key(self.keys[place], self.head));
            for (column, (weight, slope)) in (seen.start as u32..).zip(pairs) {
                let factor = mask.factor(column);
                let kept = (*weight * scale - sum).exp();
                *slope = (*slope * factor - average) * kept * scale;
                *weight = kept * factor;
            }
        }
    }
}

/// The gradient of `qkv`, given what `forward` took, the `context` and `sums` that it gave,
/// and the gradient of the context.
pub fn backward<T: Real>(
    qkv: &Matrix<T>,
    (context, sums): (&Matrix<T>, &[T]),
    d_context: &Matrix<T>,
    shape: Heads<'_>,
) -> Matrix<T> {
    let hidden = qkv.cols() / 3;
    let heads = shape.heads;
    let mut gradient = qkv.sibling(qkv.rows(), qkv.cols());
    let runs = shape.runs();
    let asked: Vec<usize> = runs.iter().map(Run::queries).collect();
    let pieces = split(qkv, shape.lengths, 3 * hidden)
        .into_iter()
        .zip(split(context, &asked, hidden))
        .zip(split(d_context, &asked, hidden))
        .zip(split_mut(&mut gradient, shape.lengths, 3 * hidden))
        .zip(split(sums, &asked, heads))
        .zip(split(shape.keys, shape.lengths, 1))
        .zip(runs)
        .collect();
    type Given<'a, T> = ((((&'a [T], &'a [T]), &'a [T]), &'a mut [T]), &'a [T]);
    type Piece<'a, T> = ((Given<'a, T>, &'a [u64]), Run<'a>);
    chunks::each_with(
        pieces,
        Scratch::new,
        |scratch: &mut Scratch<T>,
         ((((((qkv, context), d_context), gradient), sums), keys), run): Piece<T>| {
            pulp::Arch::new().dispatch(Backward {
                qkv,
                sums,
                context,
                d_context,
                gradient,
                keys,
                run,
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
    context: &'a [T],
    d_context: &'a [T],
    gradient: &'a mut [T],
    keys: &'a [u64],
    run: Run<'a>,
    shape: Heads<'a>,
    scratch: &'a mut Scratch<T>,
}

impl<T: Real> WithSimd for Backward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (length, count) = (self.run.length, self.run.queries());
        if count == 0 {
            self.gradient.fill(T::zero());
            return;
        }
        // Keys and values gather from all queries; what never asked stays 0.
        let stride = self.gradient.len() / length;
        let gathers = if count < length { 0 } else { stride / 3 };
        for row in self.gradient.chunks_exact_mut(stride) {
            row[gathers..].fill(T::zero());
        }
        for head in 0..self.shape.heads {
            self.head(simd, head);
        }
    }
}

impl<T: Real> Backward<'_, T> {
    #[inline(always)]
    fn head<S: Simd>(&mut self, simd: S, head: usize) {
        let shape = self.shape;
        let run = self.run;
        let (length, count) = (run.length, run.queries());
        let hidden = self.d_context.len() / count;
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
            gathered,
        } = &mut *self.scratch;
        keys.fill::<S>(view.part(1).t(), (width, length));
        values.fill::<S>(view.part(2).t(), (width, length));
        keys_across.fill::<S>(view.part(1), (length, width));
        let most = QUERIES.min(count) * length;
        weights.resize(most, T::zero());
        slopes.resize(most, T::zero());
        for first in (0..count).step_by(QUERIES) {
            let queries = first..(first + QUERIES).min(count);
            let count = queries.len();
            let block = shape.block(queries.clone(), run, panel);
            let span = block.len();
            let all = view.queries(run, queries.clone(), gathered);
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
                queries: queries.clone(),
                block: block.clone(),
                keys: self.keys,
                run,
                weights,
                slopes,
                sums: self.sums,
                context: (self.context, self.d_context),
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
            let shape = (count, span, width);
            let b = keys_across.rows(block.start);
            if run.queries.is_none() {
                let c = Target {
                    values: &mut self.gradient[first * stride + head * width..],
                    down: stride,
                    add: false,
                };
                simd.vectorize(Product {
                    shape,
                    a: slopes,
                    b,
                    c,
                });
            } else {
                gathered.resize(count * width, T::zero());
                let c = Target {
                    values: &mut gathered[..],
                    down: width,
                    add: false,
                };
                simd.vectorize(Product {
                    shape,
                    a: slopes,
                    b,
                    c,
                });
                for (query, row) in queries.zip(gathered.chunks_exact(width)) {
                    let at = run.place(query) * stride + head * width;
                    self.gradient[at..at + width].copy_from_slice(row);
                }
            }
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
                queries: None,
            };
            let (context, sums) = forward(&qkv, shape);
            let expected = plain(&qkv, &lengths, places, reach.unwrap_or(usize::MAX));
            for (a, b) in context.iter().zip(&expected) {
                assert!((a - b).abs() < 1e-12, "{reach:?}: {a} {b}");
            }
            let gradient = backward(&qkv, (&context, &sums), &d_out, shape);
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

    /// Some of the tokens look, none of the second run.
    #[test]
    fn queries_alone_have_the_context_and_the_gradients_that_they_have_among_all() {
        let lengths = [150, 3, 64, 1];
        let tokens: usize = lengths.iter().sum();
        let keys: Vec<u64> = (0..tokens as u64).collect();
        let queries: Vec<u32> = (0..tokens as u32)
            .filter(|token| token % 7 < 3 && !(150..153).contains(token))
            .collect();
        // Every second place is missing from the first run.
        let places: Vec<u32> = lengths
            .iter()
            .zip([2, 1, 1, 1])
            .flat_map(|(&length, step)| (0..length as u32).map(move |place| step * place))
            .collect();
        let qkv = numbers(tokens, 3 * HIDDEN, 0.5);
        let d_some = numbers(queries.len(), HIDDEN, 0.1);
        for (reach, rate) in [(None, 0.0), (None, 0.3), (Some(5), 0.3)] {
            let all = Heads {
                heads: HEADS,
                lengths: &lengths,
                dropout: Dropout::new(rate, 1, 2, 3),
                keys: &keys,
                places: &places,
                reach,
                queries: None,
            };
            let some = Heads {
                queries: Some(&queries),
                ..all
            };
            let (context, sums) = forward(&qkv, all);
            let (context_of_some, sums_of_some) = forward(&qkv, some);
            assert_eq!(context.gather(&queries)[..], context_of_some[..]);
            let d_all = d_some.scatter(&queries, tokens);
            let expected = backward(&qkv, (&context, &sums), &d_all, all);
            let of_some = (&context_of_some, &sums_of_some[..]);
            let found = backward(&qkv, of_some, &d_some, some);
            for (a, b) in found.iter().zip(expected.iter()) {
                assert!((a - b).abs() < 1e-12, "{reach:?}: {a} {b}");
            }
        }
    }
}

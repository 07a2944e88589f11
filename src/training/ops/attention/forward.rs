//! The weighted values of each query, and what the way back needs of its weights.

use super::super::tile::{Product, Strided, Target, tile_columns};
use super::{Head, Heads, QUERIES, Run, Scratch, hide_others, query_key, split, split_mut};
use crate::parallel::chunks;
use crate::training::lanes;
use crate::training::matrix::Matrix;
use crate::training::real::Real;
use pulp::{Simd, WithSimd};
use std::ops::Range;

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

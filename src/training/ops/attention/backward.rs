//! The gradients of queries, keys and values; weights are computed again, a block at a time.

use super::super::tile::{Product, Strided, Target, tile_columns};
use super::{Head, Heads, QUERIES, Run, Scratch, hide_others, query_key, split, split_mut};
use crate::parallel::chunks;
use crate::training::lanes;
use crate::training::matrix::Matrix;
use crate::training::real::Real;
use pulp::{Simd, WithSimd};
use std::ops::Range;

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

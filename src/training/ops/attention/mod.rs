//! Multi-head self-attention (Vaswani et al. 2017) on packed queries, keys and
//! values, without a matrix of all weights: a block of queries at a time, and the
//! backward pass computes the weights again from the logarithm of their sums (Dao et
//! al. 2022). Each thread takes whole attention runs (rows, or the documents in them); it
//! needs (120 + 4 · width of a head) · length numbers.

mod backward;
mod forward;
#[cfg(test)]
mod tests;

pub use backward::backward;
pub use forward::forward;

use super::dropout::Dropout;
use super::tile::{Right, Strided};
use crate::training::real::Real;
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

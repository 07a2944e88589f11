//! Word embeddings, plus those of positions and of the first token type where there are
//! any.

use super::ROWS;
use crate::base::token::TokenId;
use crate::parallel::chunks;
use crate::training::lanes;
use crate::training::matrix::Matrix;
use crate::training::pool::Pool;
use crate::training::real::Real;

/// `word[id] + position[place] + type[0]` for every token, in memory of `pool`.
pub fn forward<T: Real>(
    ids: &[TokenId],
    places: &[u32],
    words: &Matrix<T>,
    positions: Option<&Matrix<T>>,
    token_types: Option<&Matrix<T>>,
    pool: &Pool<T>,
) -> Matrix<T> {
    let width = words.cols();
    let mut out = Matrix::of(pool, ids.len(), width);
    let pieces = out
        .chunks_mut(ROWS * width)
        .zip(ids.chunks(ROWS))
        .zip(places.chunks(ROWS))
        .collect();
    type Piece<'a, T> = ((&'a mut [T], &'a [TokenId]), &'a [u32]);
    chunks::each(pieces, |((out, ids), places): Piece<T>| {
        for ((out, &id), &place) in out.chunks_exact_mut(width).zip(ids).zip(places) {
            out.copy_from_slice(words.row(id as usize));
            if let Some(positions) = positions {
                lanes::add(out, positions.row(place as usize));
            }
            if let Some(types) = token_types {
                lanes::add(out, types.row(0));
            }
        }
    });
    out
}

/// Adds the rows of `dx` to the rows `indices` of `table`. Each thread owns a range
/// of the table and takes its tokens in order.
pub fn backward<T: Real>(dx: &Matrix<T>, indices: &[u32], table: &mut Matrix<T>) {
    /// Enough to share among threads, few enough that reading all indices for each
    /// costs nothing beside the additions.
    const RANGES: usize = 32;
    let width = table.cols();
    let rows = table.rows().div_ceil(RANGES).max(1);
    let pieces = table.chunks_mut(rows * width).enumerate().collect();
    chunks::each(pieces, |(piece, table): (usize, &mut [T])| {
        let first = piece * rows;
        let end = first + table.len() / width;
        lanes::wide(
            #[inline(always)]
            || {
                for (&index, dx) in indices.iter().zip(dx.chunks_exact(width)) {
                    let index = index as usize;
                    if (first..end).contains(&index) {
                        lanes::add(&mut table[(index - first) * width..][..width], dx);
                    }
                }
            },
        );
    });
}

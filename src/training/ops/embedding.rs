//! Word embeddings, plus those of positions and of token types where there are any.

use super::ROWS;
use crate::parallel::chunks;
use crate::training::lanes;
use crate::training::matrix::Matrix;
use crate::training::parameters::Parameters;
use crate::training::pool::Pool;
use crate::training::real::Real;
use crate::training::tokens::Tokens;

/// `word[id] + position[place] + type[its type]` for every token, in memory of `pool`.
pub fn forward<T: Real>(tokens: &Tokens, parameters: &Parameters<T>, pool: &Pool<T>) -> Matrix<T> {
    let words = &parameters.words;
    let width = words.cols();
    let mut out = Matrix::of(pool, tokens.ids.len(), width);
    let pieces = out.chunks_mut(ROWS * width).enumerate().collect();
    chunks::each(pieces, |(piece, out): (usize, &mut [T])| {
        for (token, out) in (piece * ROWS..).zip(out.chunks_exact_mut(width)) {
            out.copy_from_slice(words.row(tokens.ids[token] as usize));
            if let Some(positions) = &parameters.positions {
                lanes::add(out, positions.row(tokens.places[token] as usize));
            }
            if let Some(types) = &parameters.token_types {
                let of_token = tokens.types.get(token).map_or(0, |&of_token| of_token);
                lanes::add(out, types.row(of_token as usize));
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

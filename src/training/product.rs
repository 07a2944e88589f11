//! Products of matrices on all threads. The right operand is laid out in panels first;
//! then each thread takes rows of the result, a block of the depth after the other, so
//! every number is summed in the same order whatever the threads and the processor.

use super::ops::tile::{self, Product, RightPart, Strided, Target};
use super::real::Real;
use crate::parallel::chunks;
use pulp::{Simd, WithSimd};
use std::marker::PhantomData;

/// Depth that is multiplied at a time: a panel of the right operand then takes 16 KiB
/// with AVX2 and 32 KiB with AVX-512, and stays in the first cache.
const DEPTH: usize = 256;

/// Most rows that a thread takes at a time; its part of the left operand, 96 KiB, stays
/// in the second cache. Of a transposed one twice as many, that reading it be more than a
/// few numbers here and there.
const ROWS: usize = 96;

/// A right operand, `depth × columns`, in panels.
#[derive(Clone, Copy)]
pub struct Panels<'a, T> {
    /// Its rows.
    pub depth: usize,
    /// Its columns.
    pub columns: usize,
    /// What `pack` wrote.
    pub values: &'a [T],
}

/// Numbers that a right operand takes in panels.
pub fn packed_length<T: Real>(depth: usize, columns: usize) -> usize {
    tile::packed_length((columns, depth), tile_sizes::<T>().1)
}

/// Lays out `from`, `depth × columns`, in panels: those of a block of the depth after
/// those of the block before.
pub fn pack<T: Real>(from: Strided<'_, T>, depth: usize, columns: usize, out: &mut [T]) {
    let width = tile_sizes::<T>().1;
    let mut pieces = Vec::new();
    for (block, out) in out
        .chunks_mut(DEPTH * columns.next_multiple_of(width))
        .enumerate()
    {
        let first = block * DEPTH;
        let depth = DEPTH.min(depth - first);
        for (panel, out) in out.chunks_mut(depth * width).enumerate() {
            let from = from.from(first, panel * width);
            let columns = width.min(columns - panel * width);
            pieces.push(Pack {
                from,
                depth,
                columns,
                out,
            });
        }
    }
    chunks::each(pieces, |piece: Pack<T>| pulp::Arch::new().dispatch(piece));
}

/// Rows of the result, out of `rows`, that make one piece of work. Numbers do not depend
/// on it.
pub fn rows_of_pieces<T: Real>(rows: usize, transposed: bool) -> usize {
    let most = if transposed { 2 * ROWS } else { ROWS };
    let threads = chunks::threads();
    let pieces = rows.div_ceil(most * threads).max(1) * threads;
    rows.div_ceil(pieces).next_multiple_of(tile_sizes::<T>().0)
}

/// Multiplies `left`, `rows × depth`, by `right` into `pieces` of `rows_of_pieces` rows;
/// with `add`, adds to what they hold. `then` goes over each piece while the cache has it.
pub fn multiply<T: Real, E: Send>(
    left: Strided<'_, T>,
    right: Panels<'_, T>,
    pieces: Vec<(&mut [T], E)>,
    rows_of_pieces: usize,
    add: bool,
    then: impl Fn(&mut [T], E) + Sync + Send,
) {
    let pieces = pieces.into_iter().enumerate().collect();
    chunks::each_with(
        pieces,
        Vec::new,
        |packed: &mut Vec<T>, (piece, (out, extra)): (usize, (&mut [T], E))| {
            pulp::Arch::new().dispatch(Piece {
                left: left.from(piece * rows_of_pieces, 0),
                right,
                packed,
                out: &mut *out,
                add,
            });
            then(out, extra);
        },
    );
}

/// Rows and columns of a tile on this machine.
fn tile_sizes<T: Real>() -> (usize, usize) {
    pulp::Arch::new().dispatch(Sizes(PhantomData::<T>))
}

struct Sizes<T>(PhantomData<T>);

impl<T: Real> WithSimd for Sizes<T> {
    type Output = (usize, usize);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> (usize, usize) {
        (tile::tile_rows::<S>(), tile::tile_columns::<S, T>())
    }
}

struct Pack<'a, T> {
    from: Strided<'a, T>,
    depth: usize,
    columns: usize,
    out: &'a mut [T],
}

impl<T: Real> WithSimd for Pack<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        tile::pack_right::<S, T>(self.from, (self.depth, self.columns), self.out);
    }
}

/// The left operand's rows one behind the other: as they lie in a wide matrix, they would
/// drive each other out of the cache, being powers of two apart.
#[inline(always)]
fn gather<'a, T: Real>(
    left: Strided<'a, T>,
    rows: usize,
    width: usize,
    out: &'a mut Vec<T>,
) -> Strided<'a, T> {
    if left.down == width {
        return left;
    }
    out.clear();
    for row in 0..rows {
        out.extend_from_slice(&left.values[row * left.down..][..width]);
    }
    Strided {
        values: out,
        down: width,
        across: 1,
    }
}

struct Piece<'a, T> {
    left: Strided<'a, T>,
    right: Panels<'a, T>,
    packed: &'a mut Vec<T>,
    out: &'a mut [T],
    add: bool,
}

impl<T: Real> WithSimd for Piece<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (depth, columns) = (self.right.depth, self.right.columns);
        let rows = self.out.len() / columns;
        let width = columns.next_multiple_of(tile::tile_columns::<S, T>());
        for first in (0..depth).step_by(DEPTH) {
            let block = DEPTH.min(depth - first);
            let right = &self.right.values[first * width..][..block * width];
            let right = RightPart::new(right, block);
            let left = self.left.from(0, first);
            let target = Target {
                values: &mut *self.out,
                down: columns,
                add: self.add || first > 0,
            };
            let shape = (rows, block, columns);
            if left.across == 1 {
                let left = gather(left, rows, block, self.packed);
                simd.vectorize(Product {
                    shape,
                    a: left,
                    b: right,
                    c: target,
                });
            } else {
                tile::transposed_product(simd, shape, left, self.packed, right, target);
            }
        }
    }
}

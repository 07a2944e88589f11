//! Matrices as plain row-major buffers, and their products. No gradient is recorded: the
//! backward pass is written by hand.

use super::lanes;
use super::ops::tile::Strided;
use super::pool::{Memory, Pool};
use super::product::{self, Panels};
use super::real::Real;
use crate::base::error::Result;
use crate::parallel::chunks;
use std::ops::{Deref, DerefMut, Range};

/// `rows × cols` numbers, row-major. Dereferences to the flat slice.
#[derive(Debug, Clone)]
pub struct Matrix<T> {
    rows: usize,
    cols: usize,
    memory: Memory<T>,
}

impl<T: Real> Matrix<T> {
    /// A matrix of `values`; panics unless there are `rows · cols`.
    pub fn new(rows: usize, cols: usize, values: Vec<T>) -> Self {
        assert_eq!(values.len(), rows * cols, "{rows} × {cols}");
        Self {
            rows,
            cols,
            memory: Memory::from(values),
        }
    }

    /// A matrix with memory of `pool`, which may hold anything.
    pub fn of(pool: &Pool<T>, rows: usize, cols: usize) -> Self {
        Self {
            rows,
            cols,
            memory: pool.take(rows * cols),
        }
    }

    /// Another matrix with memory of the pool of this one, which may hold anything.
    pub fn sibling(&self, rows: usize, cols: usize) -> Self {
        Self::of(self.pool(), rows, cols)
    }

    /// All zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self::new(rows, cols, vec![T::zero(); rows * cols])
    }

    /// A matrix of no rows; what is added to it becomes it.
    pub fn empty() -> Self {
        Self::zeros(0, 0)
    }

    /// Where its memory comes from.
    pub fn pool(&self) -> &Pool<T> {
        self.memory.pool()
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Row `index`.
    pub fn row(&self, index: usize) -> &[T] {
        &self[index * self.cols..][..self.cols]
    }

    /// Adds the product `left · right`; an empty matrix becomes it.
    pub fn accumulate_product(&mut self, left: Operand<'_, T>, right: &Packed<T>) {
        let add = self.rows > 0;
        if !add {
            *self = left.matrix.sibling(left.shape().0, right.cols);
        }
        left.times_packed(right, self, add);
    }

    /// Adds `other`; an empty matrix takes it over without a copy.
    pub fn accumulate(&mut self, other: Self) {
        if self.rows == 0 {
            *self = other;
            return;
        }
        assert_eq!((self.rows, self.cols), (other.rows, other.cols));
        let pieces = self.chunks_mut(PIECE).zip(other.chunks(PIECE)).collect();
        chunks::each(pieces, |(sum, part): (&mut [T], &[T])| {
            lanes::wide(
                #[inline(always)]
                || lanes::add(sum, part),
            );
        });
    }

    /// A copy of the rows `indices`.
    pub fn gather(&self, indices: &[u32]) -> Self {
        let mut out = self.sibling(indices.len(), self.cols);
        for (&index, out) in indices.iter().zip(out.chunks_exact_mut(self.cols)) {
            out.copy_from_slice(self.row(index as usize));
        }
        out
    }

    /// The reverse of `gather`: `rows` rows, zero but for `indices` (ascending,
    /// without repetition).
    pub fn scatter(&self, indices: &[u32], rows: usize) -> Self {
        let mut out = self.sibling(rows, self.cols);
        out.fill(T::zero());
        for (index, row) in indices.iter().zip(self.chunks_exact(self.cols)) {
            out[*index as usize * self.cols..][..self.cols].copy_from_slice(row);
        }
        out
    }

    /// Sum of each column, as one row. Sums of a fixed number of rows are added up in
    /// their order, so the same bits for any number of threads.
    pub fn column_sums(&self) -> Self {
        const ROWS: usize = 128;
        let cols = self.cols;
        let parts = self.chunks(ROWS * cols).collect();
        let parts = chunks::collect(parts, |rows: &[T]| {
            let mut sums = vec![T::zero(); cols];
            lanes::wide(
                #[inline(always)]
                || {
                    for row in rows.chunks_exact(cols) {
                        lanes::add(&mut sums, row);
                    }
                },
            );
            sums
        });
        let mut sums = Self::zeros(1, cols);
        for part in &parts {
            lanes::add(&mut sums, part);
        }
        sums
    }

    /// All rows as an operand.
    pub fn all(&self) -> Operand<'_, T> {
        self.part(0..self.rows)
    }

    /// Some rows as an operand.
    pub fn part(&self, rows: Range<usize>) -> Operand<'_, T> {
        Operand {
            matrix: self,
            rows,
            transposed: false,
        }
    }
}

/// Numbers that one thread works on at a time in loops without structure.
pub const PIECE: usize = 1 << 14;

/// Rows of a matrix, or their transpose, on one side of a product.
pub struct Operand<'a, T> {
    matrix: &'a Matrix<T>,
    rows: Range<usize>,
    transposed: bool,
}

impl<T: Real> Operand<'_, T> {
    /// Transposed; costs nothing.
    pub fn t(self) -> Self {
        Self {
            transposed: !self.transposed,
            ..self
        }
    }

    /// The matrix product `self · right`.
    pub fn times(self, right: Self) -> Result<Matrix<T>> {
        self.times_then(right, |_| std::iter::repeat(()), |_, ()| ())
    }

    /// The product, each piece of whose rows goes through `then` while the cache has it.
    /// `beside` cuts what belongs to the pieces; it is given their number of rows.
    pub fn times_then<E: Send, I: IntoIterator<Item = E>>(
        self,
        right: Self,
        beside: impl FnOnce(usize) -> I,
        then: impl Fn(&mut [T], E) + Sync + Send,
    ) -> Result<Matrix<T>> {
        let right = right.pack(self.matrix.pool());
        let mut out = self.matrix.sibling(self.shape().0, right.cols);
        self.multiply(&right, &mut out, false, beside, then);
        Ok(out)
    }

    /// The product with a packed operand, over `out` or added to it.
    pub fn times_packed(self, right: &Packed<T>, out: &mut [T], add: bool) {
        self.multiply(right, out, add, |_| std::iter::repeat(()), |_, ()| ());
    }

    fn multiply<E: Send, I: IntoIterator<Item = E>>(
        self,
        right: &Packed<T>,
        out: &mut [T],
        add: bool,
        beside: impl FnOnce(usize) -> I,
        then: impl Fn(&mut [T], E) + Sync + Send,
    ) {
        let (m, k) = self.shape();
        let n = right.cols;
        assert_eq!((k, out.len()), (right.rows, m * n), "product");
        if k == 0 && !add {
            out.fill(T::zero());
        }
        if m == 0 || n == 0 || k == 0 {
            return;
        }
        let rows = product::rows_of_pieces::<T>(m, self.transposed);
        let pieces = out.chunks_mut(rows * n).zip(beside(rows)).collect();
        product::multiply(self.strided(), right.panels(), pieces, rows, add, then);
    }

    /// Lays it out as the right side of products, in memory of `pool`.
    pub fn pack(self, pool: &Pool<T>) -> Packed<T> {
        let (rows, cols) = self.shape();
        let mut memory = pool.take(product::packed_length::<T>(rows, cols));
        if rows > 0 {
            product::pack(self.strided(), rows, cols, &mut memory);
        }
        Packed { rows, cols, memory }
    }

    fn shape(&self) -> (usize, usize) {
        if self.transposed {
            (self.matrix.cols, self.rows.len())
        } else {
            (self.rows.len(), self.matrix.cols)
        }
    }

    fn strided(&self) -> Strided<'_, T> {
        let cols = self.matrix.cols;
        let strided = Strided {
            values: &self.matrix[self.rows.start * cols..self.rows.end * cols],
            down: cols,
            across: 1,
        };
        if self.transposed {
            strided.t()
        } else {
            strided
        }
    }
}

/// The right side of products as they read it.
pub struct Packed<T> {
    rows: usize,
    cols: usize,
    memory: Memory<T>,
}

impl<T: Real> Packed<T> {
    fn panels(&self) -> Panels<'_, T> {
        Panels {
            depth: self.rows,
            columns: self.cols,
            values: &self.memory,
        }
    }
}

impl<T: Real> Deref for Matrix<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.memory
    }
}

impl<T: Real> DerefMut for Matrix<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_parts_and_transposes_are_those_of_the_definition() {
        let a = Matrix::new(3, 2, vec![1f64, 2., 3., 4., 5., 6.]);
        let b = Matrix::new(2, 2, vec![1f64, 10., 100., 1000.]);
        let c = a.part(1..3).times(b.all()).unwrap();
        assert_eq!(&c[..], &[403., 4030., 605., 6050.]);
        let c = a.part(1..3).times(b.all().t()).unwrap();
        assert_eq!(&c[..], &[43., 4300., 65., 6500.]);
        let c = a.part(0..2).t().times(a.part(1..3)).unwrap();
        assert_eq!(&c[..], &[18., 22., 26., 32.]);
        // One column, whose transpose is one row.
        let column = Matrix::new(3, 1, vec![1f64, 10., 100.]);
        let c = column.all().t().times(a.all()).unwrap();
        assert_eq!(&c[..], &[531., 642.]);
    }

    #[test]
    fn gather_scatter_and_column_sums_agree() {
        let a = Matrix::new(4, 3, (0..12).map(f64::from).collect());
        let picked = a.gather(&[1, 3]);
        assert_eq!(&picked[..], &[3., 4., 5., 9., 10., 11.]);
        let back = picked.scatter(&[1, 3], 4);
        assert_eq!(&back.column_sums()[..], &picked.column_sums()[..]);
        let mut sum = Matrix::empty();
        sum.accumulate(picked.clone());
        sum.accumulate(picked);
        assert_eq!(&sum[..3], &[6., 8., 10.]);
    }
}

//! Matrices as plain row-major buffers, and their products by candle (whose gemm
//! runs on all cores and uses AVX-512). No gradient is recorded: the backward pass
//! is written by hand, which saves candle's gradient store and its copies.

use super::lanes;
use super::real::Real;
use crate::base::error::{Error, Result};
use crate::parallel::chunks;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Layout, Shape};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};

/// `rows × cols` numbers, row-major. Dereferences to the flat slice.
#[derive(Debug, Clone)]
pub struct Matrix<T> {
    rows: usize,
    cols: usize,
    storage: CpuStorage,
    of: PhantomData<T>,
}

impl<T: Real> Matrix<T> {
    /// A matrix of `values`; panics unless there are `rows · cols`.
    pub fn new(rows: usize, cols: usize, values: Vec<T>) -> Self {
        assert_eq!(values.len(), rows * cols, "{rows} × {cols}");
        Self {
            rows,
            cols,
            storage: T::to_cpu_storage_owned(values),
            of: PhantomData,
        }
    }

    /// All zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self::new(rows, cols, vec![T::zero(); rows * cols])
    }

    /// A matrix of no rows; what is added to it becomes it.
    pub fn empty() -> Self {
        Self::zeros(0, 0)
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
        let mut values = Vec::with_capacity(indices.len() * self.cols);
        for &index in indices {
            values.extend_from_slice(self.row(index as usize));
        }
        Self::new(indices.len(), self.cols, values)
    }

    /// The reverse of `gather`: `rows` rows, zero but for `indices` (ascending,
    /// without repetition).
    pub fn scatter(&self, indices: &[u32], rows: usize) -> Self {
        let mut out = Self::zeros(rows, self.cols);
        for (index, row) in indices.iter().zip(self.chunks_exact(self.cols)) {
            out[*index as usize * self.cols..][..self.cols].copy_from_slice(row);
        }
        out
    }

    /// Sum of each column, as one row. Row after row within each column, so the same
    /// bits for any number of threads.
    pub fn column_sums(&self) -> Self {
        const COLUMNS: usize = 256;
        let mut sums = Self::zeros(1, self.cols);
        let cols = self.cols;
        let pieces = sums.chunks_mut(COLUMNS).enumerate().collect();
        chunks::each(pieces, |(piece, sums): (usize, &mut [T])| {
            lanes::wide(
                #[inline(always)]
                || {
                    for row in self.chunks_exact(cols) {
                        lanes::add(sums, &row[piece * COLUMNS..][..sums.len()]);
                    }
                },
            );
        });
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
        let (m, k) = self.shape();
        let (inner, n) = right.shape();
        assert_eq!(k, inner, "product of {m} × {k} and {inner} × {n}");
        if m == 0 || n == 0 || k == 0 {
            return Ok(Matrix::zeros(m, n));
        }
        let storage = self
            .matrix
            .storage
            .matmul(
                &right.matrix.storage,
                (1, m, n, k),
                &self.layout(),
                &right.layout(),
            )
            .map_err(|error| Error::library("matrix product", error))?;
        Ok(Matrix {
            rows: m,
            cols: n,
            storage,
            of: PhantomData,
        })
    }

    fn shape(&self) -> (usize, usize) {
        if self.transposed {
            (self.matrix.cols, self.rows.len())
        } else {
            (self.rows.len(), self.matrix.cols)
        }
    }

    fn layout(&self) -> Layout {
        let cols = self.matrix.cols;
        let stride = if self.transposed {
            vec![1, cols]
        } else {
            vec![cols, 1]
        };
        Layout::new(Shape::from(self.shape()), stride, self.rows.start * cols)
    }
}

impl<T: Real> Deref for Matrix<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        T::cpu_storage_as_slice(&self.storage).unwrap_or_default()
    }
}

impl<T: Real> DerefMut for Matrix<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        T::values_mut(&mut self.storage)
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

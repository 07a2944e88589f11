//! Matrix products inside one thread, summed in registers a tile at a time: a few rows
//! of the left operand by two registers' width of columns of the right one, which lies
//! in panels of that width (Goto and van de Geijn 2008). Attention multiplies with these
//! alone; `product.rs` shares larger products among threads.

use crate::training::real::Real;
use pulp::{Simd, WithSimd};

/// A strided matrix: element (i, j) is `values[i · down + j · across]`.
#[derive(Clone, Copy)]
pub struct Strided<'a, T> {
    /// All numbers.
    pub values: &'a [T],
    /// Distance between rows.
    pub down: usize,
    /// Distance between columns.
    pub across: usize,
}

impl<'a, T> Strided<'a, T> {
    /// Transposed; costs nothing.
    #[inline(always)]
    pub fn t(self) -> Self {
        Self {
            down: self.across,
            across: self.down,
            ..self
        }
    }

    /// Without its first `rows` rows and `columns` columns.
    #[inline(always)]
    pub fn from(self, rows: usize, columns: usize) -> Self {
        let start = rows * self.down + columns * self.across;
        Self {
            values: &self.values[start.min(self.values.len())..],
            ..self
        }
    }
}

/// Rows of a tile. Their sums leave four registers of 16, of 32 eight: with fewer, the
/// compiler keeps one of the sums in memory, which halves the speed, and with ten sums the
/// multipliers are busy already (two of them, four cycles each).
#[inline(always)]
pub const fn tile_rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 12 } else { 5 }
}

/// Columns of a tile, two registers wide.
#[inline(always)]
pub const fn tile_columns<S: Simd, T: Real>() -> usize {
    2 * size_of::<T::Vector<S>>() / size_of::<T>()
}

/// Lays out a right operand, `depth × columns`, in panels as wide as a tile, row after
/// row, with columns of zeros to fill the last one.
#[inline(always)]
pub fn pack_right<S: Simd, T: Real>(
    from: Strided<'_, T>,
    (depth, columns): (usize, usize),
    out: &mut [T],
) {
    let width = tile_columns::<S, T>();
    for (panel, out) in out.chunks_exact_mut(width * depth).enumerate() {
        let first = panel * width;
        let count = width.min(columns - first);
        let from = from.from(0, first);
        if count < width {
            out.fill(T::zero());
        }
        if from.across == 1 && count == width {
            for (p, out) in out.chunks_exact_mut(width).enumerate() {
                let from = T::vectors::<S>(&from.values[p * from.down..][..width]);
                T::vectors_mut::<S>(out).copy_from_slice(from);
            }
        } else if from.across == 1 {
            for (p, out) in out.chunks_exact_mut(width).enumerate() {
                out[..count].copy_from_slice(&from.values[p * from.down..][..count]);
            }
        } else {
            for (column, values) in from.values.chunks(from.across).take(count).enumerate() {
                let values = values[..depth].iter();
                for (out, &value) in out[column..].iter_mut().step_by(width).zip(values) {
                    *out = value;
                }
            }
        }
    }
}

/// Lays out the transpose of `from`, `depth × count`, in panels of `M` rows, column after
/// column, with rows of zeros to fill the last one.
#[inline(always)]
fn pack_left<T: Real, const M: usize>(
    from: Strided<'_, T>,
    (depth, count): (usize, usize),
    out: &mut [T],
) {
    let (out, _) = out.as_chunks_mut::<M>();
    for p in 0..depth {
        let row = &from.values[p * from.down..][..count];
        let (whole, rest) = row.as_chunks::<M>();
        let mut panels = out[p..].iter_mut().step_by(depth);
        // Zipped from this side, the panel of the rest is not taken away.
        for (&values, out) in whole.iter().zip(&mut panels) {
            *out = values;
        }
        if let Some(out) = panels.next().filter(|_| !rest.is_empty()) {
            *out = [T::zero(); M];
            out[..rest.len()].copy_from_slice(rest);
        }
    }
}

/// Numbers that `count` rows or columns of `depth` take in panels of `width`.
#[inline(always)]
pub fn packed_length((count, depth): (usize, usize), width: usize) -> usize {
    count.next_multiple_of(width) * depth
}

/// A right operand in panels, for one thread.
pub struct Right<T> {
    depth: usize,
    values: Vec<T>,
}

/// Columns of a right operand from some panel on, or rows of it.
#[derive(Clone, Copy)]
pub struct RightPart<'a, T> {
    /// Panels of all rows.
    values: &'a [T],
    /// Rows of a panel.
    depth: usize,
    /// The first row that is meant.
    first: usize,
}

impl<'a, T> RightPart<'a, T> {
    /// All rows of panels of `depth` rows.
    #[inline(always)]
    pub fn new(values: &'a [T], depth: usize) -> Self {
        Self {
            values,
            depth,
            first: 0,
        }
    }
}

impl<T: Real> Right<T> {
    /// Of nothing yet.
    pub fn empty() -> Self {
        Self {
            depth: 0,
            values: Vec::new(),
        }
    }

    /// Lays out `from`, `depth × columns`.
    #[inline(always)]
    pub fn fill<S: Simd>(&mut self, from: Strided<'_, T>, (depth, columns): (usize, usize)) {
        let width = tile_columns::<S, T>();
        self.depth = depth;
        let length = packed_length((columns, depth), width);
        self.values.resize(length, T::zero());
        pack_right::<S, T>(from, (depth, columns), &mut self.values);
    }

    /// The columns from `first` on, which begins a panel.
    #[inline(always)]
    pub fn columns(&self, first: usize) -> RightPart<'_, T> {
        RightPart {
            values: &self.values[first * self.depth..],
            depth: self.depth,
            first: 0,
        }
    }

    /// The rows from `first` on.
    #[inline(always)]
    pub fn rows(&self, first: usize) -> RightPart<'_, T> {
        RightPart {
            values: &self.values,
            depth: self.depth,
            first,
        }
    }
}

/// Where a product goes.
pub struct Target<'a, T> {
    /// From the first element on.
    pub values: &'a mut [T],
    /// Distance between rows.
    pub down: usize,
    /// Whether the product is added to what is there.
    pub add: bool,
}

/// c (+)= a · b for a: `m × k` as it lies, rows or columns contiguous, and b: `k × n`.
/// A function of its own, whose sums stay in registers whatever surrounds it.
pub struct Product<'a, T> {
    /// m, k and n.
    pub shape: (usize, usize, usize),
    /// The left operand.
    pub a: Strided<'a, T>,
    /// The right operand.
    pub b: RightPart<'a, T>,
    /// Where the product goes.
    pub c: Target<'a, T>,
}

impl<T: Real> WithSimd for Product<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (m, k, n) = self.shape;
        let a = self.a;
        each_panel::<S, T>((k, n), self.b, self.c, |b, c| {
            let mut row = 0;
            if S::REGISTER_COUNT >= 32 {
                row = rows::<S, T, 12>(simd, row, (m, k), a, b, c);
            }
            row = rows::<S, T, 5>(simd, row, (m, k), a, b, c);
            row = rows::<S, T, 3>(simd, row, (m, k), a, b, c);
            row = rows::<S, T, 2>(simd, row, (m, k), a, b, c);
            rows::<S, T, 1>(simd, row, (m, k), a, b, c);
        });
    }
}

/// c (+)= a · b for a: `m × k` with contiguous columns, which go to `packed` in panels
/// first, and b: `k × n`. For an a whose columns are far apart.
#[inline(always)]
pub fn transposed_product<S: Simd, T: Real>(
    simd: S,
    (m, k, n): (usize, usize, usize),
    a: Strided<'_, T>,
    packed: &mut Vec<T>,
    b: RightPart<'_, T>,
    c: Target<'_, T>,
) {
    packed.resize(packed_length((m, k), tile_rows::<S>()), T::zero());
    if S::REGISTER_COUNT >= 32 {
        pack_left::<T, 12>(a.t(), (k, m), packed);
    } else {
        pack_left::<T, 5>(a.t(), (k, m), packed);
    }
    each_panel::<S, T>((k, n), b, c, |b, c| {
        if S::REGISTER_COUNT >= 32 {
            panels::<S, T, 12>(simd, m, k, packed, b, c);
        } else {
            panels::<S, T, 5>(simd, m, k, packed, b, c);
        }
    });
}

/// Gives the panels of b: `k × n`, each with its columns of c.
#[inline(always)]
fn each_panel<S: Simd, T: Real>(
    (k, n): (usize, usize),
    b: RightPart<'_, T>,
    c: Target<'_, T>,
    mut work: impl FnMut(&[T], &mut Out<'_, T>),
) {
    let width = tile_columns::<S, T>();
    let panels = b.values.chunks_exact(width * b.depth);
    for (panel, values) in panels.take(n.div_ceil(width)).enumerate() {
        let mut out = Out {
            values: &mut *c.values,
            down: c.down,
            add: c.add,
            column: panel * width,
            columns: width.min(n - panel * width),
        };
        work(&values[b.first * width..][..k * width], &mut out);
    }
}

/// All panels of `M` rows.
#[inline(always)]
fn panels<S: Simd, T: Real, const M: usize>(
    simd: S,
    m: usize,
    k: usize,
    a: &[T],
    b: &[T],
    c: &mut Out<'_, T>,
) {
    for (panel, a) in a.chunks_exact(M * k).enumerate() {
        let columns = a.as_chunks::<M>().0.iter();
        let sums = tile::<S, T, M, _>(simd, columns.map(|column| |i: usize| column[i]), b);
        c.put(simd, panel * M, M.min(m - panel * M), &sums);
    }
}

/// The product for as many times `M` rows from `row` on as there are; gives the first
/// row that is left.
#[inline(always)]
fn rows<S: Simd, T: Real, const M: usize>(
    simd: S,
    mut row: usize,
    (m, k): (usize, usize),
    a: Strided<'_, T>,
    b: &[T],
    c: &mut Out<'_, T>,
) -> usize {
    while row + M <= m {
        let sums = if a.across == 1 {
            let rows: [&[T]; M] = std::array::from_fn(|i| &a.values[(row + i) * a.down..][..k]);
            let rows = &rows;
            tile::<S, T, M, _>(simd, (0..k).map(|p| move |i: usize| rows[i][p]), b)
        } else {
            let columns = a.values[row..].chunks(a.across).take(k);
            let columns = columns.map(|column| {
                let column = &column[..M];
                move |i: usize| column[i]
            });
            tile::<S, T, M, _>(simd, columns, b)
        };
        c.put(simd, row, M, &sums);
        row += M;
    }
    row
}

type Sums<S, T, const M: usize> = [[<T as Real>::Vector<S>; 2]; M];

/// The sum of the products of columns of `M` numbers of the left operand, each read where
/// it is needed (read before, they would take the registers of sums), with rows of a panel.
#[inline(always)]
fn tile<S: Simd, T: Real, const M: usize, F: Fn(usize) -> T>(
    simd: S,
    a: impl Iterator<Item = F>,
    b: &[T],
) -> Sums<S, T, M> {
    let mut sums = [[T::zero().splat(simd); 2]; M];
    let (b, _) = T::vectors::<S>(b).as_chunks::<2>();
    for (a, &[left, right]) in a.zip(b) {
        for (i, sums) in sums.iter_mut().enumerate() {
            let a = a(i).splat(simd);
            sums[0] = T::fused(simd, a, left, sums[0]);
            sums[1] = T::fused(simd, a, right, sums[1]);
        }
    }
    sums
}

/// The columns of a panel in the target.
struct Out<'a, T> {
    values: &'a mut [T],
    down: usize,
    add: bool,
    column: usize,
    columns: usize,
}

impl<T: Real> Out<'_, T> {
    /// Writes `rows` rows of `sums` from `row` on.
    #[inline(always)]
    fn put<S: Simd, const M: usize>(
        &mut self,
        simd: S,
        row: usize,
        rows: usize,
        sums: &Sums<S, T, M>,
    ) {
        for (i, sums) in sums.iter().enumerate().take(rows) {
            let c = &mut self.values[(row + i) * self.down + self.column..][..self.columns];
            if let [left, right, ..] = T::vectors_mut::<S>(c) {
                if self.add {
                    *left = T::plus(simd, *left, sums[0]);
                    *right = T::plus(simd, *right, sums[1]);
                } else {
                    [*left, *right] = *sums;
                }
            } else {
                let mut all = [T::zero(); 32];
                T::vectors_mut::<S>(&mut all)[..2].copy_from_slice(sums);
                for (c, &sum) in c.iter_mut().zip(&all) {
                    *c = if self.add { *c + sum } else { sum };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Checked<'a> {
        shape: (usize, usize, usize),
        a: Strided<'a, f64>,
        b: Strided<'a, f64>,
        c: &'a mut [f64],
    }

    impl WithSimd for Checked<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let (_, k, n) = self.shape;
            let mut right = Right::empty();
            right.fill::<S>(self.b, (k, n));
            let c = Target {
                values: self.c,
                down: n,
                add: true,
            };
            if self.a.across == 1 {
                let (shape, a, b) = (self.shape, self.a, right.rows(0));
                simd.vectorize(Product { shape, a, b, c });
            } else {
                let packed = &mut Vec::new();
                transposed_product(simd, self.shape, self.a, packed, right.rows(0), c);
            }
        }
    }

    #[test]
    fn tiles_of_any_size_are_the_product_of_the_definition() {
        for (m, k, n) in [(1, 1, 1), (7, 5, 43), (13, 33, 96), (6, 2, 31), (29, 3, 16)] {
            let a: Vec<f64> = (0..m * k).map(|x| (x as f64).sin()).collect();
            let b: Vec<f64> = (0..k * n).map(|x| (x as f64).cos()).collect();
            // Each once as it lies and once as the transpose of what lies.
            for a_strides in [(k, 1), (1, m)] {
                for b_strides in [(n, 1), (1, k)] {
                    let strided = |values, (down, across)| Strided {
                        values,
                        down,
                        across,
                    };
                    let (a, b) = (strided(&a[..], a_strides), strided(&b[..], b_strides));
                    let mut c = vec![1.0; m * n];
                    pulp::Arch::new().dispatch(Checked {
                        shape: (m, k, n),
                        a,
                        b,
                        c: &mut c,
                    });
                    for i in 0..m {
                        for j in 0..n {
                            let exact: f64 = (0..k)
                                .map(|p| {
                                    a.values[i * a.down + p * a.across]
                                        * b.values[p * b.down + j * b.across]
                                })
                                .sum();
                            assert!((c[i * n + j] - exact - 1.0).abs() < 1e-12);
                        }
                    }
                }
            }
        }
    }
}

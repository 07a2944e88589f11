//! Small matrix products inside one thread, for attention: candle's product would
//! wake all threads for each of thousands of tiny ones.

use crate::training::real::Real;

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

/// c (+)= a · b for a: `m × k`, b: `k × n` with rows `b_down` apart and c with rows
/// `c_down` apart. With `add`, adds to what c holds.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub fn product<T: Real>(
    (m, k, n): (usize, usize, usize),
    a: Strided<'_, T>,
    b: &[T],
    b_down: usize,
    c: &mut [T],
    c_down: usize,
    add: bool,
) {
    let mut j = 0;
    while j + 32 <= n {
        columns::<T, 32>((m, k), a, &b[j..], b_down, &mut c[j..], c_down, add);
        j += 32;
    }
    while j + 8 <= n {
        columns::<T, 8>((m, k), a, &b[j..], b_down, &mut c[j..], c_down, add);
        j += 8;
    }
    while j < n {
        columns::<T, 1>((m, k), a, &b[j..], b_down, &mut c[j..], c_down, add);
        j += 1;
    }
}

/// The product for `N` columns.
#[inline(always)]
fn columns<T: Real, const N: usize>(
    (m, k): (usize, usize),
    a: Strided<'_, T>,
    b: &[T],
    b_down: usize,
    c: &mut [T],
    c_down: usize,
    add: bool,
) {
    let mut i = 0;
    while i + 6 <= m {
        tile::<T, 6, N>(i, k, a, b, b_down, c, c_down, add);
        i += 6;
    }
    while i < m {
        tile::<T, 1, N>(i, k, a, b, b_down, c, c_down, add);
        i += 1;
    }
}

/// The product for `M` rows from `i` on and `N` columns, summed in registers.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn tile<T: Real, const M: usize, const N: usize>(
    i: usize,
    k: usize,
    a: Strided<'_, T>,
    b: &[T],
    b_down: usize,
    c: &mut [T],
    c_down: usize,
    add: bool,
) {
    let mut sums = [[T::zero(); N]; M];
    let a_values = &a.values[i * a.down..];
    for p in 0..k {
        let b: &[T; N] = match b[p * b_down..].first_chunk() {
            Some(b) => b,
            None => unreachable!("b has k rows of at least N numbers"),
        };
        for (row, sums) in sums.iter_mut().enumerate() {
            let a = a_values[row * a.down + p * a.across];
            for (sum, &b) in sums.iter_mut().zip(b) {
                *sum = a.mul_add(b, *sum);
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        let c = &mut c[(i + row) * c_down..][..N];
        for (c, &sum) in c.iter_mut().zip(sums) {
            *c = if add { *c + sum } else { sum };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_of_any_size_are_the_product_of_the_definition() {
        for (m, k, n) in [(1, 1, 1), (7, 5, 43), (13, 33, 96), (6, 2, 31)] {
            let a: Vec<f64> = (0..m * k).map(|x| (x as f64).sin()).collect();
            let b: Vec<f64> = (0..k * n).map(|x| (x as f64).cos()).collect();
            // a once as it lies and once as the transpose of what lies.
            for (down, across) in [(k, 1), (1, m)] {
                let a = Strided {
                    values: &a,
                    down,
                    across,
                };
                let mut c = vec![1.0; m * n];
                product((m, k, n), a, &b, n, &mut c, n, true);
                for i in 0..m {
                    for j in 0..n {
                        let exact: f64 = (0..k)
                            .map(|p| a.values[i * down + p * across] * b[p * n + j])
                            .sum();
                        assert!((c[i * n + j] - exact - 1.0).abs() < 1e-12);
                    }
                }
            }
        }
    }
}

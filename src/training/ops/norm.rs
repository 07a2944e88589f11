//! Layer normalisation (Ba et al. 2016) over the columns of each row.

use super::ROWS;
use crate::parallel::chunks;
use crate::training::lanes;
use crate::training::matrix::Matrix;
use crate::training::real::Real;

/// Mean and 1 / standard deviation of each row, kept for the backward pass.
pub type RowStatistics<T> = Vec<(T, T)>;

/// (x − mean) / √(variance + ε) · weight + bias, row by row; without a bias, 0.
pub fn forward<T: Real>(
    x: &Matrix<T>,
    weight: &Matrix<T>,
    bias: Option<&Matrix<T>>,
    epsilon: f64,
) -> (Matrix<T>, RowStatistics<T>) {
    let (rows, width) = (x.rows(), x.cols());
    let mut out = x.sibling(rows, width);
    let mut statistics = vec![(T::zero(), T::zero()); rows];
    let no_bias = super::no_bias(bias, width);
    let (weight, bias) = (&weight[..], bias.map_or(&no_bias[..], |bias| &bias[..]));
    let share = T::from_f64(1.0 / width as f64);
    let epsilon = T::from_f64(epsilon);
    let pieces = out
        .chunks_mut(ROWS * width)
        .zip(x.chunks(ROWS * width))
        .zip(statistics.chunks_mut(ROWS))
        .collect();
    type Piece<'a, T> = ((&'a mut [T], &'a [T]), &'a mut [(T, T)]);
    chunks::each(pieces, |((out, x), statistics): Piece<T>| {
        lanes::wide(
            #[inline(always)]
            || {
                let rows = out.chunks_exact_mut(width).zip(x.chunks_exact(width));
                for ((out, x), statistics) in rows.zip(statistics) {
                    let mean = lanes::sum(x) * share;
                    let squares = lanes::sum_of(x, |x| (x - mean) * (x - mean));
                    let inverse = T::one() / (squares * share + epsilon).sqrt();
                    *statistics = (mean, inverse);
                    scale(out, x, *statistics, weight, bias);
                }
            },
        );
    });
    (out, statistics)
}

/// What [`forward`] gave, to the bit, given the statistics that it returned.
pub fn again<T: Real>(
    x: &Matrix<T>,
    statistics: &RowStatistics<T>,
    weight: &Matrix<T>,
    bias: Option<&Matrix<T>>,
) -> Matrix<T> {
    let (rows, width) = (x.rows(), x.cols());
    let mut out = x.sibling(rows, width);
    let no_bias = super::no_bias(bias, width);
    let (weight, bias) = (&weight[..], bias.map_or(&no_bias[..], |bias| &bias[..]));
    let pieces = out
        .chunks_mut(ROWS * width)
        .zip(x.chunks(ROWS * width))
        .zip(statistics.chunks(ROWS))
        .collect();
    type Piece<'a, T> = ((&'a mut [T], &'a [T]), &'a [(T, T)]);
    chunks::each(pieces, |((out, x), statistics): Piece<T>| {
        lanes::wide(
            #[inline(always)]
            || {
                let rows = out.chunks_exact_mut(width).zip(x.chunks_exact(width));
                for ((out, x), &statistics) in rows.zip(statistics) {
                    scale(out, x, statistics, weight, bias);
                }
            },
        );
    });
    out
}

/// A row, normed.
#[inline(always)]
fn scale<T: Real>(out: &mut [T], x: &[T], (mean, inverse): (T, T), weight: &[T], bias: &[T]) {
    for (((out, &x), &weight), &bias) in out.iter_mut().zip(x).zip(weight).zip(bias) {
        *out = (x - mean) * inverse * weight + bias;
    }
}

/// Gradients of one layer norm.
pub struct Gradients<T> {
    /// Of the input, `n × width`.
    pub x: Matrix<T>,
    /// Of the weight, `1 × width`.
    pub weight: Matrix<T>,
    /// Of the bias if there is one, `1 × width`.
    pub bias: Matrix<T>,
}

/// Gradients, given that of the output; written over `dy`.
pub fn backward<T: Real>(
    x: &Matrix<T>,
    statistics: &RowStatistics<T>,
    weight: &Matrix<T>,
    mut dy: Matrix<T>,
) -> Gradients<T> {
    let width = x.cols();
    let share = T::from_f64(1.0 / width as f64);
    let weight = &weight[..];
    let pieces = dy
        .chunks_mut(ROWS * width)
        .zip(x.chunks(ROWS * width))
        .zip(statistics.chunks(ROWS))
        .collect();
    type Piece<'a, T> = ((&'a mut [T], &'a [T]), &'a [(T, T)]);
    let partial = chunks::collect(pieces, |((dy, x), statistics): Piece<T>| {
        // Weight's gradient, then bias's.
        let mut sums = vec![T::zero(); 2 * width];
        let (weight_sum, bias_sum) = sums.split_at_mut(width);
        lanes::wide(
            #[inline(always)]
            || {
                let rows = dy.chunks_exact_mut(width).zip(x.chunks_exact(width));
                for ((dy, x), &(mean, inverse)) in rows.zip(statistics) {
                    for ((((dy, &x), &weight), ws), bs) in dy
                        .iter_mut()
                        .zip(x)
                        .zip(weight)
                        .zip(weight_sum.iter_mut())
                        .zip(bias_sum.iter_mut())
                    {
                        *ws += *dy * (x - mean) * inverse;
                        *bs += *dy;
                        *dy *= weight;
                    }
                    let average = lanes::sum(dy) * share;
                    let slope = lanes::dot(dy, x, mean) * inverse * inverse * share;
                    for (dy, &x) in dy.iter_mut().zip(x) {
                        *dy = (*dy - average - (x - mean) * slope) * inverse;
                    }
                }
            },
        );
        sums
    });
    let mut sums = vec![T::zero(); 2 * width];
    for part in &partial {
        lanes::add(&mut sums, part);
    }
    let bias = sums.split_off(width);
    Gradients {
        x: dy,
        weight: Matrix::new(1, width, sums),
        bias: Matrix::new(1, width, bias),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_gave_is_made_again_to_the_bit() {
        let (rows, width) = (3 * ROWS + 5, 23);
        let numbers = |count: usize, by: f32| -> Vec<f32> {
            (0..count).map(|at| (by * at as f32).sin()).collect()
        };
        let x = Matrix::new(rows, width, numbers(rows * width, 1.7));
        let weight = Matrix::new(1, width, numbers(width, 0.3));
        let some = Matrix::new(1, width, numbers(width, 2.9));
        for bias in [None, Some(&some)] {
            let (out, statistics) = forward(&x, &weight, bias, 1e-5);
            assert!(out.iter().any(|&value| value != 0.0));
            assert_eq!(again(&x, &statistics, &weight, bias)[..], out[..]);
        }
    }
}

//! The operations of the encoder beside matrix products, each with its backward
//! pass written out. All run over fixed pieces of rows, so that their bits do not
//! depend on the number of threads.

pub mod attention;
pub mod cross_entropy;
pub mod dropout;
pub mod embedding;
pub mod geglu;
pub mod gelu;
pub mod norm;
pub mod residual;
pub mod rotary;
pub mod tanh;
pub mod tile;

use super::matrix::Matrix;
use super::real::Real;

/// Rows that one thread works on at a time.
const ROWS: usize = 32;

/// What stands in for a bias that is not there: zeros, or nothing where it is.
fn no_bias<T: Real>(bias: Option<&Matrix<T>>, width: usize) -> Vec<T> {
    match bias {
        Some(_) => Vec::new(),
        None => vec![T::zero(); width],
    }
}

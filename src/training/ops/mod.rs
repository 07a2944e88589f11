//! The operations of the encoder beside matrix products, each with its backward
//! pass written out. All run over fixed pieces of rows, so that their bits do not
//! depend on the number of threads.

pub mod attention;
pub mod cross_entropy;
pub mod dropout;
pub mod embedding;
pub mod gelu;
pub mod norm;
pub mod residual;
mod tile;

/// Rows that one thread works on at a time.
const ROWS: usize = 32;

//! Layer 6, evaluation: what a trained model can do, in numbers that come with their
//! spread. Not for reading shards or files of tasks: examples come in ready.

mod examples;
mod predictions;
mod spread;

pub use examples::{Example, Examples};
pub use predictions::Predictions;
pub use spread::{Spread, difference, mean_and_deviation, spread, spread_of};

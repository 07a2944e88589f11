//! Layer 6, evaluation: what a trained model can do, in numbers that come with their
//! spread. Not for reading shards or files of tasks: examples come in ready.
//!
//! * [`masked`]: loss and accuracy on masked rows, by what [`labels`] are told apart by.
//! * [`likelihood`]: how likely a sentence is to a masked language model; [`pairs`]: which
//!   of two is likelier.
//! * [`report`]: what is written of it; [`Examples`] what each figure is a mean of.

mod examples;
pub mod labels;
pub mod likelihood;
pub mod masked;
pub mod pairs;
mod predictions;
pub mod report;
mod spread;
mod sums;
mod table;

pub use examples::{Example, Examples};
pub use predictions::Predictions;
pub use report::{Evaluation, measure};
pub use spread::{Spread, difference, mean_and_deviation, spread, spread_of};

//! Layer 6, training: model, optimiser, loop, evaluation, checkpoint, export. The
//! only place that names candle and safetensors.
//!
//! candle multiplies the matrices; everything else of the step is here and written
//! by hand with its backward pass, over plain buffers: no gradient store, no copies,
//! and the same bits for any number of threads.

pub mod checkpoint;
pub mod engine;
pub mod hugging_face;
pub mod lanes;
pub mod matrix;
pub mod metrics;
pub mod model;
mod neighbours;
pub mod ops;
pub mod optimizer;
pub mod parameters;
pub mod real;
pub mod run;
pub mod tensors;
pub mod tokens;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

pub use hugging_face::{export, import, weight_files};
pub use model::{Model, Noise};
pub use ops::cross_entropy::Tally;
pub use parameters::Parameters;
pub use run::{Event, Outcome, Run, train};

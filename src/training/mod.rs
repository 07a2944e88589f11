//! Layer 6, training: model, optimiser, loop, evaluation, checkpoint, export. The
//! only place that names candle and safetensors.
//!
//! The step is written by hand with its backward pass, over plain buffers: no gradient
//! store, no copies, and the same bits for any number of threads. Tests hold it to
//! candle's gradients.

pub mod checkpoint;
pub mod classifier;
pub mod device;
pub mod engine;
pub mod event_file;
mod exact;
pub mod hugging_face;
pub mod lanes;
pub mod matrix;
pub mod metrics;
pub mod model;
mod neighbours;
pub mod ops;
pub mod optimizer;
pub mod parameters;
pub mod pool;
pub mod predictor;
mod product;
pub mod real;
pub mod run;
pub mod schedule;
pub mod spikes;
pub mod tensors;
pub mod tokens;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

pub use classifier::{Classifier, FineTuning, Targets};
pub use hugging_face::{encoder, export, export_classifier, files, import};
pub use metrics::{Trained, Validated};
pub use model::{Model, Noise};
pub use ops::cross_entropy::{Prediction, Tally};
pub use parameters::Parameters;
pub use predictor::Predictor;
pub use run::{Event, Outcome, Run, train};
pub use spikes::{Spike, SpikeFile};
pub use tokens::SentenceRow;

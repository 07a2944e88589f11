//! Layer 5, batches: rows from documents, their order, masks on them, prefetch and
//! resume.

pub mod batch;

pub use crate::masking::Realised;
pub use batch::{Batch, Position};

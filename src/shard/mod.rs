//! Layer 4, shards: mapped files of documents, opened as one set.

pub mod map;
pub mod place;
pub mod set;

pub use map::MappedSource;
pub use set::{BatchPlace, ShardSet};

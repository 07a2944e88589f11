//! The pipeline and trainer for masked language models.
//!
//! Raw text is tokenised, counted, ranked and written to memory-mapped shards;
//! masks are made on the fly. `ARCHITECTURE.md` walks through the layers; each
//! folder here is one, and imports from lower ones only.

pub mod base;
pub mod batches;
pub mod cli;
pub mod columnar;
pub mod config;
pub mod evaluation;
pub mod exchange;
pub mod masking;
pub mod parallel;
pub mod pipeline;
pub mod progress;
pub mod segment;
pub mod shard;
pub mod statistics;
pub mod storage;
pub mod text;
pub mod tokenizer;
pub mod training;

//! Layer 2, text in: from files as people keep them to documents with a place and
//! a text. Knows plain text, JSON lines, WikiExtractor's form, Parquet and Arrow,
//! and reads through gzip, Zstandard, bzip2 and xz. What is no usable document is
//! handed on with its place and the reason; reading goes on behind it.
//!
//! `table.rs` reads labelled sentences: no documents, but rows of columns.
//!
//! Work is cut into chunks that depend on the inputs alone, so that any number of
//! threads and parts reads the same documents. Memory of a chunk: its text, about
//! 8 MiB, and one document of up to three times `max_document`.

pub mod chunks;
pub mod compression;
mod decompress;
pub mod document;
pub mod format;
pub mod frames;
pub mod inputs;
mod json;
pub mod mds;
mod members;
mod scan;
pub mod table;

pub use chunks::{Chunk, Corpus, Cursor};
pub use document::{Outcome, Place, Rejection};
pub use frames::Fault;

//! Layer 1, storage: files that appear whole or not at all, sources of bytes,
//! object stores and a cache of local copies, manifests, what a stage finds of its earlier work, and scratch space.

pub mod artefact;
pub mod atomic;
pub mod cache;
pub mod input;
pub mod manifest;
pub mod place;
pub mod remote;
pub mod scratch;
pub mod source;
pub mod standing;

pub use artefact::Artefact;
pub use atomic::{AtomicFile, Written};
pub use input::{Input, Lost};
pub use manifest::{ArtefactKind, FileRecord, InputRecord, Manifest, TokenizerRecord};
pub use scratch::Buckets;
pub use source::{ByteSource, FileSource};
pub use standing::{Standing, standing};

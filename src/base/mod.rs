//! Layer 0, plain data: errors, tokens, boundaries, the keyed generator, sizes, times,
//! parts and fingerprints. Knows no file and no library but serde and xxh3.

pub mod boundaries;
pub mod error;
pub mod fingerprint;
pub mod generator;
pub mod part;
pub mod size;
pub mod time_span;
pub mod token;

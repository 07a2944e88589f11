//! What our document files keep in the Arrow footer's metadata under the key
//! `cloze`: where each record batch lies and its hash, and a note of the stage.
//! About 100 bytes a record batch.

use serde::{Deserialize, Serialize};

/// The metadata key.
pub const KEY: &str = "cloze";

/// One record batch: the unit of random access, compression and checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchRecord {
    /// Where its message begins in the file.
    pub offset: u64,
    /// Length of message and body in bytes.
    pub length: u64,
    /// Documents in it.
    pub rows: u64,
    /// Tokens in it.
    pub tokens: u64,
    /// xxh3-64 of those bytes.
    pub hash: u64,
}

/// The footer's metadata.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Footer {
    /// Version of the file format.
    pub format: u32,
    /// All record batches, in order.
    pub batches: Vec<BatchRecord>,
    /// What the stage that wrote the file needs to go on after it.
    pub note: serde_json::Value,
}

impl Footer {
    /// Documents in the file.
    pub fn rows(&self) -> u64 {
        self.batches.iter().map(|batch| batch.rows).sum()
    }

    /// Tokens in the file.
    pub fn tokens(&self) -> u64 {
        self.batches.iter().map(|batch| batch.tokens).sum()
    }
}

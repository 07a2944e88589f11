//! Fingerprints: 128-bit xxh3 in hexadecimal. They tell versions apart and find
//! damage; they are no protection against somebody who forges.

use crate::base::error::{Error, Result};
use serde::Serialize;
use xxhash_rust::xxh3::Xxh3;

/// Hash of `bytes`, 32 hexadecimal digits.
pub fn of_bytes(bytes: &[u8]) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(bytes))
}

/// 64-bit hash of `bytes`, for one record batch.
pub fn of_batch(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// Fingerprint of a value by its JSON. Fields count in the order of declaration.
pub fn of_value(value: &impl Serialize) -> Result<String> {
    serde_json::to_vec(value)
        .map(|json| of_bytes(&json))
        .map_err(|error| Error::library("fingerprint of a configuration", error))
}

/// A running hash over bytes as they are written.
#[derive(Clone, Default)]
pub struct Hasher {
    state: Xxh3,
}

impl Hasher {
    /// A hash over nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes `bytes` in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }

    /// The 128-bit hash so far, 32 hexadecimal digits.
    pub fn digest(&self) -> String {
        format!("{:032x}", self.state.digest128())
    }

    /// The 64-bit hash so far.
    pub fn digest64(&self) -> u64 {
        self.state.digest()
    }
}

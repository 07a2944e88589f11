//! Ranges of a file that are read mostly in order: a window of 1 MiB moves along.

use crate::base::error::Result;
use crate::storage::{ByteSource, FileSource};
use bytes::Bytes;
use std::path::Path;

/// Bytes read at once.
const WINDOW: usize = 1 << 20;

/// A file and the part of it that is at hand.
pub(super) struct Window {
    source: FileSource,
    start: u64,
    bytes: Bytes,
}

impl Window {
    pub(super) fn open(path: &Path) -> Result<Self> {
        Ok(Self {
            source: FileSource::open(path)?,
            start: 0,
            bytes: Bytes::new(),
        })
    }

    /// Length of the file.
    pub(super) fn len(&self) -> u64 {
        self.source.len()
    }

    pub(super) fn path(&self) -> &Path {
        self.source.path()
    }

    /// The bytes `offset .. offset + length`; an error where the file ends before.
    pub(super) fn range(&mut self, offset: u64, length: usize) -> Result<&[u8]> {
        let inside = offset >= self.start
            && offset - self.start <= self.bytes.len() as u64
            && length as u64 <= self.bytes.len() as u64 - (offset - self.start);
        if !inside {
            let left = self.len().saturating_sub(offset).min(WINDOW as u64) as usize;
            self.bytes = self.source.read(offset, length.max(left))?;
            self.start = offset;
        }
        let at = (offset - self.start) as usize;
        Ok(&self.bytes[at..at + length])
    }

    /// The little-endian number of 8 bytes at `offset`.
    pub(super) fn number(&mut self, offset: u64) -> Result<u64> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.range(offset, 8)?);
        Ok(u64::from_le_bytes(bytes))
    }
}

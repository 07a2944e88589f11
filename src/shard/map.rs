//! Maps a shard into memory: the one place of the crate with `unsafe`, and the only
//! one that names memmap2. Costs address space; pages come and go with use.
#![allow(unsafe_code)]

use crate::base::error::{Error, Result};
use crate::storage::source::{ByteSource, check_range};
use bytes::Bytes;
use memmap2::Mmap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A file mapped read-only. Reads are slices of the map, nothing is copied.
pub struct MappedSource {
    path: PathBuf,
    bytes: Bytes,
}

impl MappedSource {
    /// Maps the file at `path`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let file = File::open(&path).map_err(|e| Error::io("read", &path, e))?;
        // SAFETY: a map is sound while nobody writes to the file or cuts it short. We
        // map only finished artefacts; our writers never open one again, they write a
        // sibling and rename it, which leaves a mapped file as it is. What remains is
        // another program that edits the file in place: then the bytes we see change
        // (no reference to a type with invalid values is made from them: Arrow decodes
        // and validates, and its zstd frames are copied out), or, where it was cut, the
        // kernel ends the process with SIGBUS. Both are said in the documentation.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io("map", &path, e))?;
        Ok(Self {
            path,
            bytes: Bytes::from_owner(map),
        })
    }
}

impl ByteSource for MappedSource {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, offset: u64, length: usize) -> Result<Bytes> {
        check_range(&self.path, self.len(), offset, length)?;
        let offset = offset as usize;
        Ok(self.bytes.slice(offset..offset + length))
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

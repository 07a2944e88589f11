//! Bytes by offset: what a reader of a format needs, whether the bytes are read
//! from a file here or mapped by the shard layer.

use crate::base::error::{Error, Result};
use crate::base::fingerprint;
use crate::storage::remote::{Remote, is_remote};
use bytes::Bytes;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Random access to the bytes of one file.
pub trait ByteSource: Send + Sync {
    /// Number of bytes.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes `offset .. offset + length`; an error where the file ends before.
    fn read(&self, offset: u64, length: usize) -> Result<Bytes>;

    /// The file's name, for messages.
    fn path(&self) -> &Path;
}

impl<S: ByteSource + ?Sized> ByteSource for Box<S> {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read(&self, offset: u64, length: usize) -> Result<Bytes> {
        (**self).read(offset, length)
    }

    fn path(&self) -> &Path {
        (**self).path()
    }
}

/// A file read with `pread`, or an object read in ranges: each read copies into fresh
/// memory.
pub struct FileSource {
    path: PathBuf,
    file: Opened,
    len: u64,
}

enum Opened {
    File(File),
    Object(Remote),
}

impl FileSource {
    /// Opens `path`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let failed = |error| Error::io("read", &path, error);
        let (file, len) = if is_remote(&path) {
            let remote = Remote::new(&path)?;
            let found = remote.object()?.map(|object| object.bytes);
            let missing = || failed(std::io::ErrorKind::NotFound.into());
            (Opened::Object(remote), found.ok_or_else(missing)?)
        } else {
            let file = File::open(&path).map_err(failed)?;
            let len = file.metadata().map_err(failed)?.len();
            (Opened::File(file), len)
        };
        Ok(Self { path, file, len })
    }
}

impl ByteSource for FileSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, offset: u64, length: usize) -> Result<Bytes> {
        check_range(&self.path, self.len, offset, length)?;
        match &self.file {
            Opened::Object(remote) => remote.range(offset, length as u64),
            Opened::File(file) => {
                let mut bytes = vec![0; length];
                match file.read_exact_at(&mut bytes, offset) {
                    Ok(()) => Ok(bytes.into()),
                    // Shorter than it was when it was opened.
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                        let len = file.metadata().map_or(0, |found| found.len());
                        Err(cut_short(&self.path, len, offset, length))
                    }
                    Err(error) => Err(Error::io("read", &self.path, error)),
                }
            }
        }
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

/// Refuses a range that the file does not have.
pub fn check_range(path: &Path, len: u64, offset: u64, length: usize) -> Result<()> {
    if offset
        .checked_add(length as u64)
        .is_some_and(|end| end <= len)
    {
        return Ok(());
    }
    Err(cut_short(path, len, offset, length))
}

fn cut_short(path: &Path, len: u64, offset: u64, length: usize) -> Error {
    Error::corrupt(
        path.display().to_string(),
        format!("{len} bytes"),
        format!("{length} bytes at offset {offset}"),
        "the file is cut short: write it again with the stage that made it",
    )
}

/// Fingerprint of a whole file, read in pieces of 1 MiB; of an object that cloze wrote,
/// as it was written with it.
pub fn hash_file(path: &Path) -> Result<String> {
    if is_remote(path) {
        let remote = Remote::new(path)?;
        if let Some(object) = remote.object()? {
            return remote.hash(&object);
        }
    }
    let source = FileSource::open(path)?;
    let mut hasher = fingerprint::Hasher::new();
    let mut offset = 0;
    while offset < source.len {
        let length = (source.len - offset).min(1 << 20) as usize;
        hasher.update(&source.read(offset, length)?);
        offset += length as u64;
    }
    Ok(hasher.digest())
}

/// Fingerprint of an input by its length and content: all of it up to 4 MiB, beyond
/// that 64 pieces of 64 KiB spread evenly, first and last included. Cheap on a
/// terabyte, the same wherever the file is copied to; an edit between the pieces
/// that keeps the length goes unnoticed.
pub fn sample_fingerprint(path: &Path) -> Result<(u64, String)> {
    const PIECE: u64 = 64 << 10;
    const PIECES: u64 = 64;
    let source = FileSource::open(path)?;
    let len = source.len;
    if len <= PIECE * PIECES {
        return Ok((len, hash_file(path)?));
    }
    let mut hasher = fingerprint::Hasher::new();
    hasher.update(&len.to_le_bytes());
    let pieces = (0..PIECES).map(|piece| {
        let offset = (len - PIECE) as u128 * u128::from(piece) / u128::from(PIECES - 1);
        offset as u64..offset as u64 + PIECE
    });
    match &source.file {
        Opened::Object(remote) => {
            let pieces: Vec<_> = pieces.collect();
            for bytes in remote.ranges(&pieces)? {
                hasher.update(&bytes);
            }
        }
        Opened::File(_) => {
            for piece in pieces {
                hasher.update(&source.read(piece.start, PIECE as usize)?);
            }
        }
    }
    Ok((len, hasher.digest()))
}

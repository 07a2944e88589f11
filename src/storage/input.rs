//! A raw input, read through from some place on: a file here, or an object that is
//! streamed. No copy is kept. Memory: nothing, or five parts of 4 MiB of an object.

use crate::base::error::{Error, Result};
use crate::storage::remote::{Remote, Stream, is_remote};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Where it is written down that an object could not be read to its end: what a reader
/// takes for a damaged document may be a store that is gone, and that ends a stage.
#[derive(Debug, Clone, Default)]
pub struct Lost(Arc<OnceLock<String>>);

impl Lost {
    /// An error once an object was lost.
    pub fn check(&self) -> Result<()> {
        match self.0.get() {
            None => Ok(()),
            Some(said) => Err(Error::resource(
                "inputs in an object store",
                said.clone(),
                "all of every input",
                "run the same command again: finished files are kept",
            )),
        }
    }

    /// Writes `error` down if it is a store's.
    pub fn note(&self, error: &io::Error) {
        let store = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>());
        if let Some(store) = store {
            let _ = self.0.set(store.to_string());
        }
    }
}

/// An open input.
pub struct Input {
    bytes: Bytes,
    lost: Lost,
}

enum Bytes {
    File(File),
    Object(Box<Stream>),
}

impl Input {
    /// Opens the file or object at `path`; what is lost of it is noted in `lost`.
    pub fn open(path: &Path, lost: &Lost) -> io::Result<Self> {
        let bytes = match is_remote(path) {
            false => Bytes::File(File::open(path)?),
            true => match open(path) {
                Ok(stream) => Bytes::Object(Box::new(stream)),
                Err(error) => {
                    let error = io::Error::other(error);
                    lost.note(&error);
                    return Err(error);
                }
            },
        };
        let lost = lost.clone();
        Ok(Self { bytes, lost })
    }

    /// Its length in bytes; `None` where it is no file.
    pub fn length(&self) -> io::Result<Option<u64>> {
        match &self.bytes {
            Bytes::File(file) => {
                let found = file.metadata()?;
                Ok(found.is_file().then_some(found.len()))
            }
            Bytes::Object(stream) => Ok(Some(stream.length())),
        }
    }

    /// Says that reading will hardly go beyond `offset`: of an object, nothing more is
    /// fetched ahead.
    pub fn expect_until(&mut self, offset: u64) {
        if let Bytes::Object(stream) = &mut self.bytes {
            stream.expect_until(offset);
        }
    }

    /// Fills `out` with the bytes at `offset`.
    pub fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        match &self.bytes {
            Bytes::File(file) => file.read_exact_at(out, offset),
            Bytes::Object(stream) => {
                let length = out.len() as u64;
                if offset
                    .checked_add(length)
                    .is_none_or(|end| end > stream.length())
                {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let bytes = self.noted(stream.read_at(offset, length).map_err(io::Error::other))?;
                out.copy_from_slice(&bytes);
                Ok(())
            }
        }
    }

    fn noted<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        outcome.inspect_err(|error| self.lost.note(error))
    }
}

fn open(path: &Path) -> Result<Stream> {
    let remote = Remote::new(path)?;
    match remote.object()? {
        Some(object) => Ok(Stream::new(remote, object.bytes)),
        None => Err(Error::input(
            path.display().to_string(),
            "nothing there (404)",
            "an object to read",
            "check the URL",
        )),
    }
}

impl Read for Input {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let outcome = match &mut self.bytes {
            Bytes::File(file) => file.read(out),
            Bytes::Object(stream) => stream.read(out),
        };
        self.noted(outcome)
    }
}

impl Seek for Input {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match &mut self.bytes {
            Bytes::File(file) => file.seek(to),
            Bytes::Object(stream) => stream.seek(to),
        }
    }
}

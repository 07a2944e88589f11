//! A file appears whole or not at all: it is written beside its place as
//! `.NAME.partial`, hashed as it goes, synced, and renamed. Costs one sync a file. A file
//! of an object store is written to a local folder first, and uploaded when it is whole.

use crate::base::error::{Error, Result};
use crate::base::fingerprint::Hasher;
use crate::storage::cache;
use crate::storage::remote::{is_remote, upload};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What was written: hash what was written, not what was offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Length of the file.
    pub bytes: u64,
    /// Fingerprint of its bytes.
    pub hash: String,
}

/// A file on its way to its place.
pub struct AtomicFile {
    path: PathBuf,
    partial: PathBuf,
    file: Option<BufWriter<File>>,
    hasher: Hasher,
    bytes: u64,
}

impl AtomicFile {
    /// Begins the file that will be `path`; makes its folder where there is none.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        if is_remote(&path) {
            return Self::outgoing(path);
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|e| Error::io("create folder", folder, e))?;
        }
        let partial = partial_of(&path);
        Self::begin(path, partial)
    }

    /// Begins a file of an object store in a folder of this machine.
    fn outgoing(path: PathBuf) -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}.partial", std::process::id());
        let partial = cache::outgoing()?.join(name);
        Self::begin(path, partial)
    }

    fn begin(path: PathBuf, partial: PathBuf) -> Result<Self> {
        let file = File::create(&partial).map_err(|e| Error::io("write", &partial, e))?;
        Ok(Self {
            path,
            partial,
            file: Some(BufWriter::with_capacity(1 << 20, file)),
            hasher: Hasher::new(),
            bytes: 0,
        })
    }

    /// Where the file will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `bytes`; as `Write::write_all` with an error that names the file.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes)
            .map_err(|e| Error::io("write", &self.path, e))
    }

    /// Syncs the file and puts it in its place.
    pub fn finish(mut self) -> Result<Written> {
        let place = |e: io::Error| Error::io("write", &self.path, e);
        if let Some(buffered) = self.file.take() {
            let file = buffered.into_inner().map_err(|e| place(e.into_error()))?;
            if !is_remote(&self.path) {
                file.sync_all().map_err(place)?;
            }
        }
        let written = Written {
            bytes: self.bytes,
            hash: self.hasher.digest(),
        };
        if is_remote(&self.path) {
            let uploaded = upload(&self.partial, &self.path, &written.hash);
            fs::remove_file(&self.partial).map_err(place)?;
            uploaded?;
            return Ok(written);
        }
        fs::rename(&self.partial, &self.path).map_err(place)?;
        sync_folder(&self.path)?;
        Ok(written)
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(file) = &mut self.file else {
            return Err(io::Error::other("the file is finished"));
        };
        let written = file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // Given up before it was finished. What cannot be removed is overwritten
            // by the next attempt, so a failure here changes nothing.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Writes a whole small file atomically.
pub fn write(path: impl AsRef<Path>, bytes: &[u8]) -> Result<Written> {
    let mut file = AtomicFile::create(path)?;
    file.append(bytes)?;
    file.finish()
}

/// Where a file lies while it is written.
pub fn partial_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.partial"))
}

/// Makes a rename in the folder of `path` survive a power cut.
pub fn sync_folder(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|e| Error::io("sync folder", folder, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/file");
        let mut file = AtomicFile::create(&path).unwrap();
        file.append(b"half").unwrap();
        assert!(!path.exists());
        drop(file);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn a_finished_file_is_hashed_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let written = write(&path, b"whole").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(written.bytes, 5);
        assert_eq!(written.hash, crate::base::fingerprint::of_bytes(b"whole"));
    }
}

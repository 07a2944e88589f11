//! `rejected.jsonl`: a line for every document that was left out. Appended to while
//! the stage runs and synced before each token file appears, whose footer holds its
//! length then; what is longer belongs to work that is done again. The log of an object
//! store is a file of this machine that is uploaded whenever it is synced.

use crate::base::error::{Error, Result};
use crate::base::fingerprint;
use crate::storage::remote::{is_remote, upload};
use crate::storage::source::hash_file;
use crate::storage::{Input, Lost, cache, place};
use crate::text::Rejection;
use serde::Deserialize;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

/// The log being written; the file is there once it has a line.
pub(in crate::pipeline) struct RejectedLog {
    path: PathBuf,
    /// The file that is written to.
    local: PathBuf,
    file: Option<BufWriter<File>>,
    bytes: u64,
}

impl Drop for RejectedLog {
    fn drop(&mut self) {
        if self.local != self.path {
            // The object is what counts; a file left here is written over.
            let _ = fs::remove_file(&self.local);
        }
    }
}

impl RejectedLog {
    /// Goes on after the first `bytes` bytes of the log at `path`.
    pub(in crate::pipeline) fn resume(path: &Path, bytes: u64) -> Result<Self> {
        let place = |error| Error::io("write", path, error);
        let local = match is_remote(path) {
            true => {
                let name = fingerprint::of_bytes(path.as_os_str().as_encoded_bytes());
                let local = cache::outgoing()?.join(format!("{name}.rejected.jsonl"));
                let kept = if bytes > 0 {
                    place::read(path)?
                } else {
                    Vec::new()
                };
                fs::write(&local, kept).map_err(place)?;
                local
            }
            false => path.to_owned(),
        };
        if bytes == 0 {
            place::remove(path)?;
        }
        let mut log = Self {
            path: path.to_owned(),
            local,
            file: None,
            bytes,
        };
        if bytes > 0 {
            log.open()?.get_ref().set_len(bytes).map_err(place)?;
        }
        Ok(log)
    }

    fn open(&mut self) -> Result<&mut BufWriter<File>> {
        if self.file.is_none() {
            if let Some(folder) = self.local.parent() {
                fs::create_dir_all(folder)
                    .map_err(|error| Error::io("create folder", folder, error))?;
            }
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&self.local)
                .map_err(|error| Error::io("write", &self.local, error))?;
            self.file = Some(BufWriter::new(file));
        }
        self.file
            .as_mut()
            .ok_or_else(|| Error::library("opening the log of rejections", "it is closed"))
    }

    pub(in crate::pipeline) fn path(&self) -> &Path {
        &self.path
    }

    pub(in crate::pipeline) fn write(&mut self, rejection: &Rejection) -> Result<()> {
        let mut line = serde_json::to_vec(rejection)
            .map_err(|error| Error::library("writing a rejection", error))?;
        line.push(b'\n');
        let written = self.open()?.write_all(&line);
        written.map_err(|error| Error::io("write", &self.path, error))?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Brings all lines to the disk; the length of the log.
    pub(in crate::pipeline) fn sync(&mut self) -> Result<u64> {
        if let Some(file) = &mut self.file {
            file.flush()
                .and_then(|()| file.get_ref().sync_all())
                .map_err(|error| Error::io("write", &self.path, error))?;
            if is_remote(&self.path) {
                upload(&self.local, &self.path, &hash_file(&self.local)?)?;
            }
        }
        Ok(self.bytes)
    }
}

/// The first three rejections of the log at `path`, in words.
pub(in crate::pipeline) fn first_reasons(path: &Path) -> Result<String> {
    #[derive(Deserialize)]
    struct Line {
        file: String,
        place: String,
        reason: String,
    }
    let failed = |error| Error::io("read", path, error);
    let file = Input::open(path, &Lost::default()).map_err(failed)?;
    let mut reasons = Vec::new();
    for line in BufReader::new(file).lines().take(3) {
        let line = line.map_err(|error| Error::io("read", path, error))?;
        if let Ok(line) = serde_json::from_str::<Line>(&line) {
            reasons.push(format!("{}, {}: {}", line.file, line.place, line.reason));
        }
    }
    Ok(reasons.join("; "))
}

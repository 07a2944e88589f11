//! Paths that are files here or URLs of an object store: what is there, how long it is,
//! its bytes. Everything that a stage asks of a path beside reading it through.

use crate::base::error::{Error, Result};
use crate::storage::remote::{Object, Remote, is_remote};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Refuses a URL for what has to lie in a folder of this machine; `what` names it.
pub fn check_local(path: &Path, what: &str) -> Result<()> {
    match is_remote(path) {
        false => Ok(()),
        true => Err(Error::usage(
            path.display().to_string(),
            "a URL",
            format!("a folder of this machine for {what}"),
            "write it here and copy it when it is done; every other stage writes to URLs",
        )),
    }
}

/// The object at `path`; `None` for a place of this machine, and where there is none.
fn object(path: &Path) -> Result<Option<Object>> {
    match is_remote(path) {
        true => Remote::new(path)?.object(),
        false => Ok(None),
    }
}

/// Whether there is a file, or a folder of this machine.
pub fn exists(path: &Path) -> Result<bool> {
    match is_remote(path) {
        true => Ok(object(path)?.is_some()),
        false => Ok(path.exists()),
    }
}

/// Whether `path` is a file or an object.
pub fn is_file(path: &Path) -> Result<bool> {
    match is_remote(path) {
        true => Ok(object(path)?.is_some()),
        false => Ok(path.is_file()),
    }
}

/// Whether `path` is a folder: of a store, one that something lies in.
pub fn is_folder(path: &Path) -> Result<bool> {
    match is_remote(path) {
        true => Remote::new(path)?.is_folder(),
        false => Ok(path.is_dir()),
    }
}

/// Length of the file in bytes; `None` where there is none.
pub fn length(path: &Path) -> Result<Option<u64>> {
    if is_remote(path) {
        return Ok(object(path)?.map(|object| object.bytes));
    }
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found.len())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path, error)),
    }
}

/// All bytes of a small file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    match is_remote(path) {
        true => Remote::new(path)?.read().map(Vec::from),
        false => fs::read(path).map_err(|error| Error::io("read", path, error)),
    }
}

/// Removes the file; one that is not there is removed already.
pub fn remove(path: &Path) -> Result<()> {
    if is_remote(path) {
        return Remote::new(path)?.remove();
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path, error)),
        _ => Ok(()),
    }
}

/// The files of a folder with their lengths, sorted by path. A folder of this machine has
/// to be there; one of a store has what lies in it, folders below left out.
pub fn files(folder: &Path) -> Result<Vec<(PathBuf, u64)>> {
    if is_remote(folder) {
        let objects = Remote::new(folder)?.folder()?;
        return Ok(objects
            .into_iter()
            .map(|object| (object.url, object.bytes))
            .collect());
    }
    let mut files = Vec::new();
    let failed = |error| Error::io("read folder", folder, error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let found = entry.metadata().map_err(failed)?;
        if found.is_file() {
            files.push((entry.path(), found.len()));
        }
    }
    files.sort();
    Ok(files)
}

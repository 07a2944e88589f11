//! What a stage finds of its earlier work: done, to do, or made otherwise. Old and
//! new parts are never mixed.

use crate::base::error::{Error, Result};
use crate::base::part::Part;
use crate::storage::artefact::read_all;
use crate::storage::manifest::{ArtefactKind, Manifest};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Whether a part has to be made.
#[derive(Debug)]
pub enum Standing {
    /// Its manifest and all its files are there.
    Done(Box<Manifest>),
    /// It is not there, or not whole.
    ToDo,
}

/// Looks in `folder` for `part` of a stage with this `fingerprint`.
///
/// Work made with another configuration, other inputs or another number of parts is
/// refused, naming the keys that differ; with `overwrite` it is removed.
pub fn standing(
    folder: &Path,
    kind: ArtefactKind,
    part: Part,
    fingerprint: &str,
    configuration: &Value,
    overwrite: bool,
) -> Result<Standing> {
    if !folder.exists() {
        return Ok(Standing::ToDo);
    }
    for earlier in read_all(folder)? {
        let path = folder.join(Manifest::file_name(earlier.part));
        let same = same_stage(&earlier, kind, fingerprint) && earlier.part.of == part.of;
        if !same && !overwrite {
            return Err(made_otherwise(&path, &earlier, kind, part, configuration));
        }
        if !same {
            remove(folder, &path, &earlier)?;
        } else if earlier.part == part {
            if files_are_whole(folder, &earlier) {
                return Ok(Standing::Done(Box::new(earlier)));
            }
            remove_file(&path)?;
        }
    }
    Ok(Standing::ToDo)
}

/// As [`standing`] for an artefact of a single file with its manifest beside it.
pub fn standing_of_file(
    file: &Path,
    kind: ArtefactKind,
    fingerprint: &str,
    configuration: &Value,
    overwrite: bool,
) -> Result<Standing> {
    let path = Manifest::beside(file);
    if !path.exists() {
        return Ok(Standing::ToDo);
    }
    let earlier = Manifest::read(&path)?;
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    if !same_stage(&earlier, kind, fingerprint) {
        if !overwrite {
            return Err(made_otherwise(
                &path,
                &earlier,
                kind,
                Part::WHOLE,
                configuration,
            ));
        }
        remove(&folder, &path, &earlier)?;
        return Ok(Standing::ToDo);
    }
    if files_are_whole(&folder, &earlier) {
        return Ok(Standing::Done(Box::new(earlier)));
    }
    remove_file(&path)?;
    Ok(Standing::ToDo)
}

fn same_stage(earlier: &Manifest, kind: ArtefactKind, fingerprint: &str) -> bool {
    earlier.artefact == kind && earlier.fingerprint == fingerprint
}

fn files_are_whole(folder: &Path, manifest: &Manifest) -> bool {
    manifest.files.iter().all(|file| {
        fs::metadata(folder.join(&file.name)).is_ok_and(|found| found.len() == file.bytes)
    })
}

fn made_otherwise(
    path: &Path,
    earlier: &Manifest,
    kind: ArtefactKind,
    part: Part,
    configuration: &Value,
) -> Error {
    let found = if earlier.artefact != kind {
        earlier.artefact.name().to_owned()
    } else if earlier.part.of != part.of {
        format!("parts of {}", earlier.part.of)
    } else {
        let mut changed = Vec::new();
        differences("", &earlier.configuration, configuration, &mut changed);
        if changed.is_empty() {
            "work made from other inputs".into()
        } else {
            format!("work made with {}", changed.join(", "))
        }
    };
    Error::mismatch(
        path.display().to_string(),
        found,
        format!("{}, {part}, of this configuration", kind.name()),
        "write to another folder, or redo it with --overwrite",
    )
}

/// Keys whose values differ, as `key = old (now new)`.
fn differences(path: &str, old: &Value, new: &Value, out: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let full = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                let none = Value::Null;
                differences(
                    &full,
                    a.get(key).unwrap_or(&none),
                    b.get(key).unwrap_or(&none),
                    out,
                );
            }
        }
        _ if old != new => out.push(format!("{path} = {old} (now {new})")),
        _ => {}
    }
}

fn remove(folder: &Path, manifest_path: &Path, manifest: &Manifest) -> Result<()> {
    // The manifest goes first: without it the part counts as not done.
    remove_file(manifest_path)?;
    for file in &manifest.files {
        remove_file(&folder.join(&file.name))?;
    }
    Ok(())
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
        _ => Ok(()),
    }
}

//! What a stage finds of its earlier work: done, to do, or made otherwise. Old and
//! new parts are never mixed.

use crate::base::error::{Error, Result};
use crate::storage::artefact::read_all;
use crate::storage::manifest::{InputRecord, Manifest};
use crate::storage::place;
use serde_json::Value;
use std::path::Path;

/// Whether a part has to be made.
#[derive(Debug)]
pub enum Standing {
    /// Its manifest and all its files are there.
    Done(Box<Manifest>),
    /// It is not there, or not whole.
    ToDo,
}

/// Looks in `folder` for what `wanted` describes: its kind, part and fingerprint.
///
/// Work made with another configuration, other inputs or another number of parts is
/// refused, naming keys and inputs that differ; with `overwrite` it is removed.
pub fn standing(folder: &Path, wanted: &Manifest, overwrite: bool) -> Result<Standing> {
    if !place::is_folder(folder)? {
        return Ok(Standing::ToDo);
    }
    for earlier in read_all(folder)? {
        let path = folder.join(Manifest::file_name(earlier.part));
        let same = same_stage(&earlier, wanted) && earlier.part.of == wanted.part.of;
        if !same && !overwrite {
            return Err(made_otherwise(&path, &earlier, wanted));
        }
        if !same {
            remove(folder, &path, &earlier)?;
        } else if earlier.part == wanted.part {
            if files_are_whole(folder, &earlier)? {
                return Ok(Standing::Done(Box::new(earlier)));
            }
            place::remove(&path)?;
        }
    }
    Ok(Standing::ToDo)
}

/// As [`standing`] for an artefact of a single file with its manifest beside it.
pub fn standing_of_file(file: &Path, wanted: &Manifest, overwrite: bool) -> Result<Standing> {
    let path = Manifest::beside(file);
    if !place::exists(&path)? {
        return Ok(Standing::ToDo);
    }
    let earlier = Manifest::read(&path)?;
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    if !same_stage(&earlier, wanted) {
        if !overwrite {
            return Err(made_otherwise(&path, &earlier, wanted));
        }
        remove(&folder, &path, &earlier)?;
        return Ok(Standing::ToDo);
    }
    if files_are_whole(&folder, &earlier)? {
        return Ok(Standing::Done(Box::new(earlier)));
    }
    place::remove(&path)?;
    Ok(Standing::ToDo)
}

fn same_stage(earlier: &Manifest, wanted: &Manifest) -> bool {
    earlier.artefact == wanted.artefact && earlier.fingerprint == wanted.fingerprint
}

fn files_are_whole(folder: &Path, manifest: &Manifest) -> Result<bool> {
    for file in &manifest.files {
        if place::length(&folder.join(&file.name))? != Some(file.bytes) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn made_otherwise(path: &Path, earlier: &Manifest, wanted: &Manifest) -> Error {
    let found = if earlier.artefact != wanted.artefact {
        earlier.artefact.name().to_owned()
    } else if earlier.part.of != wanted.part.of {
        format!("parts of {}", earlier.part.of)
    } else {
        let mut changed = Vec::new();
        differences(
            "",
            &earlier.configuration,
            &wanted.configuration,
            &mut changed,
        );
        if changed.is_empty() {
            other_inputs(&earlier.inputs, &wanted.inputs)
        } else {
            format!("work made with {}", changed.join(", "))
        }
    };
    let (kind, part) = (wanted.artefact.name(), wanted.part);
    Error::mismatch(
        path.display().to_string(),
        found,
        format!("{kind}, {part}, of this configuration"),
        "write to another folder, or redo it with --overwrite",
    )
}

/// How the inputs of earlier work differ from those of now: the first that does.
fn other_inputs(earlier: &[InputRecord], now: &[InputRecord]) -> String {
    let differs = earlier
        .iter()
        .zip(now)
        .find(|(old, new)| old.fingerprint != new.fingerprint);
    match differs {
        Some((old, new)) if old.path == new.path => {
            format!(
                "work made from other inputs: {} has changed since",
                new.path
            )
        }
        Some((old, new)) => {
            format!(
                "work made from other inputs: {}, now {}",
                old.path, new.path
            )
        }
        None if earlier.len() == now.len() => "work of another format".into(),
        None => format!(
            "work made from other inputs: {} of them, now {}",
            earlier.len(),
            now.len()
        ),
    }
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
    place::remove(manifest_path)?;
    for file in &manifest.files {
        place::remove(&folder.join(&file.name))?;
    }
    Ok(())
}

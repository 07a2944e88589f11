//! An artefact on disk: its manifests, all parts of it, and where its files are.
//! Opening reads manifests only; `verify` of the pipeline reads every byte.

use crate::base::error::{Error, Result};
use crate::base::fingerprint;
use crate::storage::manifest::{ArtefactKind, FileRecord, InputRecord, Manifest, TokenizerRecord};
use crate::storage::{cache, place};
use std::path::{Path, PathBuf};

/// A complete artefact: every part's manifest, in order.
#[derive(Debug, Clone)]
pub struct Artefact {
    /// The folder, or the one file.
    pub path: PathBuf,
    in_folder: bool,
    /// The manifests of all parts.
    pub manifests: Vec<Manifest>,
}

impl Artefact {
    /// Opens the artefact at `path`, of whatever kind. A folder holds its manifests;
    /// a single file has its manifest beside it.
    pub fn open_any(path: &Path) -> Result<Self> {
        let in_folder = place::is_folder(path)?;
        let manifests = if in_folder {
            read_all(path)?
        } else {
            let beside = Manifest::beside(path);
            let has_manifest = place::exists(&beside)?;
            if !has_manifest && !place::exists(path)? {
                return Err(Error::missing(
                    path.display().to_string(),
                    "no such file or folder",
                    "an artefact of cloze",
                    "check the path",
                ));
            }
            if !has_manifest {
                return Err(Error::input(
                    path.display().to_string(),
                    "no manifest beside it",
                    format!("{}", beside.display()),
                    "its stage did not finish: run it again",
                ));
            }
            vec![Manifest::read(&beside)?]
        };
        let artefact = Self {
            path: path.to_owned(),
            in_folder,
            manifests,
        };
        artefact.check_parts()?;
        Ok(artefact)
    }

    /// Opens the artefact at `path` and refuses any other kind than `kind`.
    pub fn open(path: &Path, kind: ArtefactKind) -> Result<Self> {
        let artefact = Self::open_any(path)?;
        if artefact.kind() != kind {
            return Err(Error::mismatch(
                path.display().to_string(),
                artefact.kind().name(),
                kind.name(),
                format!("give what `cloze {}` wrote", kind.stage()),
            ));
        }
        Ok(artefact)
    }

    fn check_parts(&self) -> Result<()> {
        let Some(first) = self.manifests.first() else {
            return Err(Error::input(
                self.path.display().to_string(),
                "no manifest",
                "a finished artefact of cloze",
                "its stage did not finish, or this is another folder: run the stage again",
            ));
        };
        let of = first.part.of;
        let missing: Vec<String> = (0..of)
            .filter(|&index| !self.manifests.iter().any(|m| m.part.index == index))
            .map(|index| index.to_string())
            .collect();
        if !missing.is_empty() {
            return Err(Error::input(
                self.path.display().to_string(),
                format!("{} of {of} parts", self.manifests.len()),
                "all of them",
                format!(
                    "run `cloze {} … --of {of}` for --part {}",
                    first.artefact.stage(),
                    missing.join(", ")
                ),
            ));
        }
        for other in &self.manifests {
            if (other.artefact, other.part.of, &other.fingerprint)
                != (first.artefact, of, &first.fingerprint)
            {
                return Err(Error::mismatch(
                    self.path.display().to_string(),
                    format!(
                        "{} made with another configuration, inputs or number of parts than {}",
                        other.part, first.part
                    ),
                    "parts of one run",
                    "write each configuration to a folder of its own",
                ));
            }
        }
        Ok(())
    }

    /// What it is.
    pub fn kind(&self) -> ArtefactKind {
        self.manifests[0].artefact
    }

    /// The folder that its files are in.
    pub fn folder(&self) -> &Path {
        if self.in_folder {
            &self.path
        } else {
            self.path.parent().unwrap_or(Path::new(""))
        }
    }

    /// All files by name, with their paths: the same order for any number of parts.
    pub fn files(&self) -> impl Iterator<Item = (PathBuf, &FileRecord)> {
        let mut files: Vec<&FileRecord> = self.manifests.iter().flat_map(|m| &m.files).collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        files
            .into_iter()
            .map(|file| (self.folder().join(&file.name), file))
    }

    /// As [`files`](Self::files), each as a file of this machine: its own path, or that of
    /// a copy of the object, fetched when it is asked for and checked by its hash.
    pub fn copies(&self) -> impl Iterator<Item = Result<(PathBuf, &FileRecord)>> {
        self.files().map(|(path, file)| {
            let copy = cache::copy_of(&path, file.bytes, &file.hash)?;
            Ok((copy, file))
        })
    }

    /// The tokenizer behind the ids; an error where the artefact has none.
    pub fn tokenizer(&self) -> Result<&TokenizerRecord> {
        self.manifests[0].tokenizer.as_ref().ok_or_else(|| {
            Error::mismatch(
                self.path.display().to_string(),
                format!("{} without a tokenizer", self.kind().name()),
                "token files or shards",
                "give the folder that `cloze tokenize` or `cloze shard` wrote",
            )
        })
    }

    /// Fingerprint of the content: the hashes of all files, in order.
    pub fn content_fingerprint(&self) -> String {
        let hashes: Vec<&str> = self.files().map(|(_, file)| file.hash.as_str()).collect();
        fingerprint::of_bytes(hashes.join("\n").as_bytes())
    }

    /// This artefact as an input of the next stage.
    pub fn as_input(&self) -> InputRecord {
        InputRecord {
            path: self.path.display().to_string(),
            bytes: self.files().map(|(_, file)| file.bytes).sum(),
            fingerprint: self.content_fingerprint(),
        }
    }

    /// Sum of a total over all parts.
    pub fn total(&self, name: &str) -> u64 {
        self.manifests.iter().map(|m| m.total(name)).sum()
    }
}

/// All manifests in `folder`, by part.
pub fn read_all(folder: &Path) -> Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for (path, _) in place::files(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name == "manifest.json" || (name.starts_with("manifest-") && name.ends_with(".json")) {
            manifests.push(Manifest::read(&path)?);
        }
    }
    manifests.sort_by_key(|manifest| (manifest.part.of, manifest.part.index));
    Ok(manifests)
}

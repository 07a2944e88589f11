//! Checkpoints: a folder a step with weights, moments and where the run stands. It
//! appears whole or not at all (written beside its place, synced, renamed), the last
//! few are kept, and a damaged one is refused. Costs 12 bytes a parameter on disk.

use super::exact;
use super::metrics::{Checked, Done, Window};
use super::model::Model;
use super::optimizer::AdamW;
use super::parameters::Parameters;
use super::spikes::Running;
use super::tensors::{self, Tensor, damaged};
use crate::base::error::{Error, Result};
use crate::batches::Position;
use crate::storage::atomic::{self, Written};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// Version of the checkpoint's format.
const FORMAT: u32 = 3;
const MANIFEST: &str = "manifest.json";
const STATE: &str = "state.json";
const MODEL: &str = "model.safetensors";
const MOMENTS: &str = "optimizer.safetensors";

/// Where a run stands, beside its weights and moments.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Steps done.
    pub step: u64,
    /// Updates of the weights among them: not those without a label, nor those that were
    /// passed over.
    pub updates: u64,
    /// Seconds that a run with a budget of time took so far, in all its starts.
    #[serde(with = "exact")]
    pub elapsed: f64,
    /// The next row of the stream of batches.
    pub position: Position,
    /// Tokens that went through the model so far, padding left out.
    pub tokens: u64,
    /// Seed of the dropout.
    pub seed: u64,
    /// Fingerprint of the configuration and the shards.
    pub fingerprint: String,
    /// What was summed since the last line of metrics.
    pub window: Window,
    /// What is usual for a step, to tell spikes by.
    pub running: Running,
    /// Spikes so far.
    pub spikes: u64,
    /// Steps passed over since the last one that was taken.
    pub skipped: u64,
    /// The last validation.
    pub last: Option<Checked>,
    /// The validation with the lowest loss.
    pub best: Option<Checked>,
}

impl State {
    /// What is done, and stays in logs.
    pub fn done(&self) -> Done {
        Done {
            steps: self.step,
            validated: self.last.map_or(0, |last| last.step),
        }
    }
}

/// `manifest.json`: what makes a checkpoint whole.
#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    files: BTreeMap<String, FileState>,
}

#[derive(Clone, Serialize, Deserialize)]
struct FileState {
    bytes: u64,
    hash: String,
}

/// The checkpoints of a run, in one folder.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
    keep: usize,
}

impl Checkpoints {
    /// The checkpoints in `folder`, of which the last `keep` stay.
    pub fn new(folder: PathBuf, keep: usize) -> Self {
        Self { folder, keep }
    }

    /// Writes the checkpoint of `state`, then removes old ones. Gives its folder.
    pub fn save(&self, state: &State, model: &Model, optimizer: &AdamW) -> Result<PathBuf> {
        let folder = self.folder.join(format!("step-{:09}", state.step));
        let partial = atomic::partial_of(&folder);
        self.clear()?;
        remove(&folder)?;
        let mut moments = named(&optimizer.first, "first.");
        moments.extend(named(&optimizer.second, "second."));
        let place = |name| partial.join(name);
        let files = [
            (STATE, atomic::write(place(STATE), &json(state)?)?),
            (
                MODEL,
                tensors::write(&place(MODEL), &named(&model.parameters, ""))?,
            ),
            (MOMENTS, tensors::write(&place(MOMENTS), &moments)?),
        ];
        let files = files
            .map(|(name, Written { bytes, hash })| (name.to_owned(), FileState { bytes, hash }));
        let manifest = Manifest {
            format: FORMAT,
            files: files.into(),
        };
        atomic::write(place(MANIFEST), &json(&manifest)?)?;
        fs::rename(&partial, &folder).map_err(|e| Error::io("rename", &partial, e))?;
        atomic::sync_folder(&folder)?;
        self.prune()?;
        Ok(folder)
    }

    /// The folders of all complete checkpoints, oldest first.
    pub fn list(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        if !self.folder.exists() {
            return Ok(found);
        }
        let read = |e| Error::io("read", &self.folder, e);
        for entry in fs::read_dir(&self.folder).map_err(read)? {
            let path = entry.map_err(read)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("step-") {
                found.push(path.clone());
            }
        }
        found.sort();
        Ok(found)
    }

    /// Reads the newest checkpoint into `model` and `optimizer`; `None` where there is
    /// none. A damaged one, or one of another run, is refused.
    pub fn resume(
        &self,
        fingerprint: &str,
        model: &mut Model,
        optimizer: &mut AdamW,
    ) -> Result<Option<State>> {
        self.prune()?;
        let Some(folder) = self.list()?.pop() else {
            return Ok(None);
        };
        let manifest = read_manifest(&folder.join(MANIFEST))?;
        let written = |name: &str| match manifest.files.get(name) {
            Some(FileState { bytes, hash }) => Ok(Written {
                bytes: *bytes,
                hash: hash.clone(),
            }),
            None => Err(damaged(
                &folder.join(MANIFEST),
                format!("no hash of {name}"),
                "one for each file".into(),
            )),
        };
        let path = folder.join(STATE);
        let bytes = tensors::read_whole(&path, &written(STATE)?)?;
        let state: State = parse(&path, &bytes)?;
        if state.fingerprint != fingerprint {
            return Err(Error::mismatch(
                folder.display().to_string(),
                format!(
                    "a checkpoint of a run with fingerprint {}",
                    state.fingerprint
                ),
                format!("fingerprint {fingerprint} of this configuration and these shards"),
                "train into another folder, or remove the checkpoints to begin anew",
            ));
        }
        load(
            &folder.join(MODEL),
            &written(MODEL)?,
            [("", &mut model.parameters)],
        )?;
        load(
            &folder.join(MOMENTS),
            &written(MOMENTS)?,
            [
                ("first.", &mut optimizer.first),
                ("second.", &mut optimizer.second),
            ],
        )?;
        Ok(Some(state))
    }

    fn prune(&self) -> Result<()> {
        let all = self.list()?;
        for old in &all[..all.len().saturating_sub(self.keep)] {
            remove(old)?;
        }
        self.clear()
    }

    /// Removes what a kill left half written or half removed.
    fn clear(&self) -> Result<()> {
        if !self.folder.exists() {
            return Ok(());
        }
        let read = |e| Error::io("read", &self.folder, e);
        for entry in fs::read_dir(&self.folder).map_err(read)? {
            let path = entry.map_err(read)?.path();
            if path.extension().is_some_and(|e| e == "partial") {
                fs::remove_dir_all(&path).map_err(|e| Error::io("remove", &path, e))?;
            }
        }
        Ok(())
    }
}

/// Removes a checkpoint by way of its partial name: killed on the way it is none.
fn remove(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    let partial = atomic::partial_of(folder);
    let failed = |e| Error::io("remove", folder, e);
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(failed)?;
    }
    fs::rename(folder, &partial).map_err(failed)?;
    fs::remove_dir_all(&partial).map_err(failed)
}

fn named<'a>(parameters: &'a Parameters<f32>, prefix: &str) -> Vec<Tensor<'a>> {
    let all = parameters.named().into_iter();
    all.map(|(name, matrix)| Tensor {
        name: format!("{prefix}{name}"),
        shape: vec![matrix.rows(), matrix.cols()],
        values: Cow::Borrowed(matrix),
    })
    .collect()
}

/// Fills parameters, named in the file with a prefix, from `path`.
fn load<const N: usize>(
    path: &Path,
    written: &Written,
    targets: [(&str, &mut Parameters<f32>); N],
) -> Result<()> {
    let mut wanted = HashMap::new();
    for (prefix, parameters) in targets {
        for (name, matrix) in parameters.named_mut() {
            wanted.insert(format!("{prefix}{name}"), matrix);
        }
    }
    let other = |found: String| {
        Error::mismatch(
            path.display().to_string(),
            found,
            "the parameters of this model",
            "train into another folder, or remove the checkpoints to begin anew",
        )
    };
    tensors::read(path, written, |name, values| {
        let Some(matrix) = wanted.remove(name) else {
            return Err(other(format!("a parameter called {name}")));
        };
        if matrix.len() != values.len() {
            return Err(other(format!("{name} with {} numbers", values.len())));
        }
        matrix.copy_from_slice(&values);
        Ok(())
    })?;
    match wanted.keys().next() {
        Some(name) => Err(other(format!("no parameter called {name}"))),
        None => Ok(()),
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value).map_err(|error| Error::library("a checkpoint's JSON", error))
}

fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|e| damaged(path, e.to_string(), "what a checkpoint says there".into()))
}

fn read_manifest(path: &Path) -> Result<Manifest> {
    let bytes = fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let manifest: Manifest = parse(path, &bytes)?;
    if manifest.format != FORMAT {
        return Err(Error::mismatch(
            path.display().to_string(),
            format!("checkpoint format {}", manifest.format),
            format!("format {FORMAT}"),
            "use the version of cloze that wrote it",
        ));
    }
    Ok(manifest)
}

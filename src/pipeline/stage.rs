//! What every stage is given beside its own configuration, and the frame around it:
//! skip what is done, refuse what was made otherwise, write the manifest last.

use crate::base::error::Result;
use crate::base::fingerprint;
use crate::base::part::Part;
use crate::base::size::ByteSize;
use crate::progress::Progress;
use crate::storage::manifest::{ArtefactKind, FORMAT, FileRecord, InputRecord, Manifest};
use crate::storage::remote::is_remote;
use crate::storage::{Standing, cache, standing};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is the same for every stage. None of it changes what is written, but for
/// `part` and, where a stage draws anything, `seed`.
#[derive(Debug, Clone)]
pub struct StageOptions {
    /// Which part of how many.
    pub part: Part,
    /// Number of threads, at least 1.
    pub threads: usize,
    /// Bound on memory.
    pub memory: ByteSize,
    /// Where temporary files go; without it, beside the output.
    pub scratch: Option<PathBuf>,
    /// Seed of everything random.
    pub seed: u64,
    /// Redo work that was made with another configuration.
    pub overwrite: bool,
    /// Where progress is told.
    pub progress: Progress,
    /// Set by a signal: the stage ends at the next safe place.
    pub stop: Arc<AtomicBool>,
}

impl StageOptions {
    /// The whole stage, on all cores, within 4 GiB, telling nothing.
    pub fn new() -> Self {
        Self {
            part: Part::WHOLE,
            threads: crate::parallel::threads(0),
            memory: ByteSize::mib(4096),
            scratch: None,
            seed: 1,
            overwrite: false,
            progress: Progress::silent(),
            stop: Arc::new(AtomicBool::new(false)),
        }
    }

    /// An error once the user asked to stop.
    pub fn check_stop(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(crate::base::error::Error::Interrupted);
        }
        Ok(())
    }

    /// The folder for temporary files of an output at `output`.
    pub fn scratch_beside(&self, output: &Path) -> PathBuf {
        match &self.scratch {
            Some(scratch) => scratch.clone(),
            None if is_remote(output) => {
                cache::outgoing().unwrap_or_else(|_| std::env::temp_dir().join("cloze"))
            }
            None => output.parent().unwrap_or(Path::new(".")).join(".scratch"),
        }
    }

    /// Removes the folder of [`scratch_beside`](Self::scratch_beside), unless the user
    /// named it. What lay in it is gone already; a folder that another stage still
    /// uses, or that cannot be removed, stays.
    pub fn clear_scratch(&self, output: &Path) {
        if self.scratch.is_none() {
            let _ = std::fs::remove_dir(self.scratch_beside(output));
        }
    }
}

impl Default for StageOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// A stage about to run: its output folder, and what its manifest will say.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The folder that everything goes to.
    pub output: PathBuf,
    /// Fingerprint of stage, configuration and inputs.
    pub fingerprint: String,
    manifest: Manifest,
}

impl Frame {
    /// Describes a stage. `configuration` holds every key that changes the output, the
    /// seed included where the stage draws anything; `inputs` are fingerprinted.
    pub fn new(
        kind: ArtefactKind,
        output: &Path,
        configuration: &impl Serialize,
        inputs: Vec<InputRecord>,
        options: &StageOptions,
    ) -> Result<Self> {
        let configuration = serde_json::to_value(configuration)
            .map_err(|e| crate::base::error::Error::library("configuration", e))?;
        let contents: Vec<&str> = inputs.iter().map(|i| i.fingerprint.as_str()).collect();
        let fingerprint =
            fingerprint::of_value(&(kind, FORMAT, configuration.to_string(), contents))?;
        let manifest = Manifest {
            part: options.part,
            fingerprint: fingerprint.clone(),
            configuration,
            memory: options.memory,
            inputs,
            ..Manifest::new(kind)
        };
        Ok(Self {
            output: output.to_owned(),
            fingerprint,
            manifest,
        })
    }

    /// What is there of this part: done, or to do. Refuses work made otherwise, or
    /// removes it when told to overwrite.
    pub fn standing(&self, options: &StageOptions) -> Result<Standing> {
        standing(&self.output, &self.manifest, options.overwrite)
    }

    /// As [`standing`](Self::standing) where the output is one file.
    pub fn standing_of_file(&self, options: &StageOptions) -> Result<Standing> {
        crate::storage::standing::standing_of_file(&self.output, &self.manifest, options.overwrite)
    }

    /// The manifest so far, to add tokenizer, vocabulary and totals to.
    pub fn manifest(&mut self) -> &mut Manifest {
        &mut self.manifest
    }

    /// Adds a number to the manifest's totals.
    pub fn total(&mut self, name: &str, value: impl Into<serde_json::Value>) {
        self.manifest.totals.insert(name.to_owned(), value.into());
    }

    /// Adds a written file to the manifest.
    pub fn file(&mut self, file: FileRecord) {
        self.manifest.files.push(file);
    }

    /// Writes the manifest: the part is done.
    pub fn finish(self) -> Result<Manifest> {
        let path = self.output.join(Manifest::file_name(self.manifest.part));
        self.manifest.write(&path)?;
        Ok(self.manifest)
    }

    /// Writes the manifest beside the one output file: it is done.
    pub fn finish_file(self) -> Result<Manifest> {
        self.manifest.write(&Manifest::beside(&self.output))?;
        Ok(self.manifest)
    }
}

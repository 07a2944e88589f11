//! The manifest: JSON beside each artefact that says what it is, made from what,
//! with which configuration, and the hash of every file. No time, no thread count:
//! the same inputs give the same manifest.

use crate::base::error::{Error, Result};
use crate::base::part::Part;
use crate::base::size::ByteSize;
use crate::base::token::SpecialTokens;
use crate::storage::source::{ByteSource, FileSource, hash_file, sample_fingerprint};
use crate::storage::{atomic, place};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Version of all our file formats; a reader refuses a newer one.
pub const FORMAT: u32 = 1;

/// What an artefact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ArtefactKind {
    /// Token files.
    Tokens,
    /// Sorted runs of counted windows, to be joined to n-gram counts.
    Runs,
    /// N-gram counts.
    Counts,
    /// A masking vocabulary.
    Vocabulary,
    /// Shards.
    Shards,
    /// A training run.
    Run,
    /// Files for other programs.
    Export,
    /// What a model was measured to do.
    Evaluation,
    /// What models fine-tuned on a task do.
    Finetuning,
    /// A grid of runs and their tables.
    Experiment,
}

impl ArtefactKind {
    /// The stage that writes it, as one types it.
    pub fn stage(self) -> &'static str {
        match self {
            Self::Tokens => "tokenize",
            Self::Runs | Self::Counts => "count",
            Self::Vocabulary => "vocabulary",
            Self::Shards => "shard",
            Self::Run => "train",
            Self::Export => "export",
            Self::Evaluation => "evaluate",
            Self::Finetuning => "finetune",
            Self::Experiment => "experiment",
        }
    }

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tokens => "token files",
            Self::Runs => "sorted runs",
            Self::Counts => "n-gram counts",
            Self::Vocabulary => "a masking vocabulary",
            Self::Shards => "shards",
            Self::Run => "a training run",
            Self::Export => "exported files",
            Self::Evaluation => "an evaluation",
            Self::Finetuning => "fine-tuned models",
            Self::Experiment => "an experiment",
        }
    }
}

/// A file of the artefact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// Name, relative to the manifest's folder.
    pub name: String,
    /// Length in bytes.
    pub bytes: u64,
    /// xxh3-128 of the bytes, 32 hexadecimal digits.
    pub hash: String,
    /// Rows: documents, or n-grams.
    pub rows: u64,
    /// Tokens, where the file holds any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
}

impl FileRecord {
    /// Refuses the file at `path`, this one or a copy of it, if its bytes are others than
    /// those written. Reads all of it.
    pub fn check(&self, path: &Path) -> Result<()> {
        let source = FileSource::open(path)?;
        if source.len() != self.bytes {
            return Err(Error::corrupt(
                path.display().to_string(),
                format!("{} bytes", source.len()),
                format!("{} bytes, as its manifest says", self.bytes),
                "the file was cut short or replaced: copy it again, or write it again",
            ));
        }
        let hash = hash_file(path)?;
        if hash != self.hash {
            return Err(Error::corrupt(
                path.display().to_string(),
                format!("hash {hash}"),
                format!("hash {}, as its manifest says", self.hash),
                "the file is damaged: copy it again, or write it again",
            ));
        }
        Ok(())
    }
}

/// Something that the artefact was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputRecord {
    /// Path as it was given.
    pub path: String,
    /// Length in bytes.
    pub bytes: u64,
    /// Fingerprint of the content.
    pub fingerprint: String,
}

impl InputRecord {
    /// That of the file at `path`; of a large one, pieces are hashed.
    pub fn of(path: &Path) -> Result<Self> {
        let (bytes, fingerprint) = sample_fingerprint(path)?;
        Ok(Self {
            path: path.display().to_string(),
            bytes,
            fingerprint,
        })
    }
}

/// The tokenizer behind the ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenizerRecord {
    /// File beside the manifest.
    pub file: String,
    /// Fingerprint of that file.
    pub fingerprint: String,
    /// Ids are below this.
    pub vocabulary_size: u64,
    /// Special tokens by role.
    pub special_tokens: SpecialTokens,
    /// What tokenised: `library` is the tokenizers crate.
    pub tokenizer_path: String,
}

/// What an artefact, or a part of one, is and was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the file formats.
    pub format: u32,
    /// Version of cloze that wrote it.
    pub cloze: String,
    /// What this is.
    pub artefact: ArtefactKind,
    /// Which part of it.
    pub part: Part,
    /// Fingerprint of stage, configuration and inputs; the same for all parts.
    pub fingerprint: String,
    /// The stage's configuration.
    pub configuration: serde_json::Value,
    /// Bound on the stage's memory, in bytes.
    pub memory: ByteSize,
    /// What it was made from.
    pub inputs: Vec<InputRecord>,
    /// The tokenizer behind the ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<TokenizerRecord>,
    /// Fingerprint of the masking vocabulary behind the units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<String>,
    /// The files of this part.
    pub files: Vec<FileRecord>,
    /// Documents, tokens, words, n-grams, rejects, coverage: what the stage counted.
    pub totals: BTreeMap<String, serde_json::Value>,
}

impl Manifest {
    /// Of a whole artefact of this version, made from nothing and holding nothing yet.
    pub fn new(artefact: ArtefactKind) -> Self {
        Self {
            format: FORMAT,
            cloze: env!("CARGO_PKG_VERSION").into(),
            artefact,
            part: Part::WHOLE,
            fingerprint: String::new(),
            configuration: Value::Null,
            memory: ByteSize::mib(0),
            inputs: Vec::new(),
            tokenizer: None,
            vocabulary: None,
            files: Vec::new(),
            totals: BTreeMap::new(),
        }
    }

    /// `manifest.json`, or `manifest-00001-of-00004.json` for a part.
    pub fn file_name(part: Part) -> String {
        part.file_name("manifest", "json")
    }

    /// Where the manifest of a single-file artefact lies: `FILE.manifest.json`.
    pub fn beside(file: &Path) -> PathBuf {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        file.with_file_name(format!("{name}.manifest.json"))
    }

    /// Writes it to `path`, atomically. The last thing a part does.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::library("writing a manifest", error))?;
        json.push(b'\n');
        atomic::write(path, &json).map(|_| ())
    }

    /// Reads the manifest at `path`; refuses a newer format and damaged JSON.
    pub fn read(path: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let json = place::read(path)?;
        let damaged = |error: serde_json::Error| {
            Error::corrupt(
                path.display().to_string(),
                error.to_string(),
                "the manifest as it was written",
                "delete it and run the stage that made it again",
            )
        };
        let version: Version = serde_json::from_slice(&json).map_err(damaged)?;
        if version.format > FORMAT {
            return Err(Error::mismatch(
                path.display().to_string(),
                format!("format version {}", version.format),
                format!("version {FORMAT} or older"),
                "install a newer cloze, or write the artefact again with this one",
            ));
        }
        serde_json::from_slice(&json).map_err(damaged)
    }

    /// A whole number among the totals; 0 where it is missing.
    pub fn total(&self, name: &str) -> u64 {
        self.totals
            .get(name)
            .and_then(serde_json::Value::as_u64)
            .unwrap_or(0)
    }
}

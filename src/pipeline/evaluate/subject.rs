//! The model that is evaluated: a training run, of which more is known, or any Hugging Face
//! folder of a masked language model.

use crate::base::error::{Error, Result};
use crate::config::{ModelConfig, TrainConfig};
use crate::evaluation::likelihood::Around;
use crate::pipeline::start;
use crate::shard::ShardSet;
use crate::storage::{Artefact, ArtefactKind, InputRecord};
use crate::tokenizer::{Tokenizer, read_written};
use crate::training::{Model, files, import};
use std::path::{Path, PathBuf};

/// A model, before it is read.
pub struct Subject {
    /// As it was named.
    path: PathBuf,
    /// The Hugging Face folder.
    folder: PathBuf,
    run: Option<Trained>,
}

/// What a run tells of its model.
struct Trained {
    config: TrainConfig,
    artefact: Artefact,
}

impl Subject {
    /// Looks at what `path` is. Refuses a run that has not ended.
    pub fn open(path: &Path) -> Result<Self> {
        if path.join("config.json").is_file() {
            return Ok(Self {
                path: path.to_owned(),
                folder: path.to_owned(),
                run: None,
            });
        }
        let begun = path.join("configuration.json").is_file();
        if begun && !path.join("manifest.json").is_file() {
            return Err(Error::input(
                path.display().to_string(),
                "a training run that has not ended",
                "one with its trained model",
                "run the same `cloze train` again: it goes on from its last checkpoint",
            ));
        }
        if !begun && path.is_dir() {
            return Err(Error::input(
                path.display().to_string(),
                "neither config.json nor configuration.json",
                "a Hugging Face folder of a masked language model, or what `cloze train` wrote",
                "name the folder that the model lies in",
            ));
        }
        let artefact = Artefact::open(path, ArtefactKind::Run)?;
        Ok(Self {
            path: path.to_owned(),
            folder: path.join("export"),
            run: Some(Trained {
                config: configuration(&artefact)?,
                artefact,
            }),
        })
    }

    /// What it is made of, as inputs of a stage.
    pub fn inputs(&self) -> Result<Vec<InputRecord>> {
        match &self.run {
            Some(run) => Ok(vec![run.artefact.as_input()]),
            None => {
                let tokenizers = ["tokenizer.json", "vocab.txt", "vocab.json"];
                let beside = tokenizers.map(|name| self.folder.join(name));
                let beside = beside.into_iter().filter(|file| file.is_file());
                let all = files(&self.folder)?.into_iter().chain(beside);
                all.map(|file| InputRecord::of(&file)).collect()
            }
        }
    }

    /// How it was trained, if a run tells.
    pub fn config(&self) -> Option<&TrainConfig> {
        self.run.as_ref().map(|run| &run.config)
    }

    /// The share of tokens that its training corrupted, to four digits; the mean of one
    /// that moves or is drawn.
    pub fn training_rate(&self) -> Option<f64> {
        let config = self.config()?;
        let steps = config.last_step().unwrap_or(1);
        let masking = &config.masking;
        let weights = masking.mixture.iter().map(|component| component.weight);
        let weights = weights.chain(masking.mixture.is_empty().then_some(1.0));
        let (mut sum, mut all) = (0.0, 0.0);
        for (one, weight) in masking.components().zip(weights) {
            let steps = one.schedule_steps.unwrap_or(steps);
            sum += weight * one.corruption_rate.mean(steps);
            all += weight;
        }
        Some((1e4 * sum / all).round() / 1e4)
    }

    /// Reads the model.
    pub fn model(&self) -> Result<Model> {
        let config = self
            .config()
            .map_or(ModelConfig::default(), TrainConfig::model);
        import(&self.folder, &config, 0)
    }

    /// Reads its tokenizer, if it has one.
    pub fn tokenizer(&self) -> Result<Option<Tokenizer>> {
        match &self.run {
            Some(run) => {
                let record = run.artefact.tokenizer()?;
                read_written(&self.path, record).map(Some)
            }
            None => start::tokenizer_of(&self.folder),
        }
    }

    /// Whether it is a run on other shards than `shards`.
    pub fn is_of_other(&self, shards: &ShardSet) -> bool {
        let fingerprint = shards.artefact().content_fingerprint();
        let trained_on = |run: &Trained| {
            let mut inputs = run.artefact.manifests[0].inputs.iter();
            inputs.any(|input| input.fingerprint == fingerprint)
        };
        self.run.as_ref().is_some_and(|run| !trained_on(run))
    }

    /// Refuses a model for other ids than those of `tokenizer`, of the shards.
    pub fn check_ids(
        &self,
        model: &Model,
        theirs: Option<&Tokenizer>,
        tokenizer: &Tokenizer,
    ) -> Result<()> {
        if let Some(theirs) = theirs {
            start::check_same_ids(&self.path, theirs, tokenizer)?;
        }
        let (ids, known) = (tokenizer.vocabulary_size(), model.vocabulary());
        if ids <= known {
            return Ok(());
        }
        Err(Error::mismatch(
            self.path.display().to_string(),
            format!("a model of {known} token ids"),
            format!("at least the {ids} of the tokenizer of the shards"),
            "give shards of the model's own tokenizer",
        ))
    }

    /// What stands around a sentence for this model.
    pub fn around(&self, tokenizer: &Tokenizer) -> Result<Around> {
        let special = tokenizer.special();
        let wanting = |role: &str, found: Option<u32>| {
            found.ok_or_else(|| {
                Error::input(
                    self.path.display().to_string(),
                    format!("a tokenizer without a {role} token"),
                    "the tokenizer of a masked language model",
                    "name its special tokens in the tokenizer_config.json beside it",
                )
            })
        };
        let sep = wanting("separator", special.sep)?;
        Ok(Around {
            cls: special.cls,
            sep,
            mask: wanting("mask", special.mask)?,
            pad: special.pad.unwrap_or(sep),
        })
    }

    /// The tokenizer, where one is needed.
    pub fn require_tokenizer(&self, tokenizer: Option<Tokenizer>) -> Result<Tokenizer> {
        tokenizer.ok_or_else(|| {
            Error::missing(
                self.folder.display().to_string(),
                "no tokenizer",
                "tokenizer.json, vocab.txt, or vocab.json with merges.txt",
                "put the tokenizer's files beside the model's",
            )
        })
    }
}

/// The configuration of the run `artefact`.
fn configuration(artefact: &Artefact) -> Result<TrainConfig> {
    let mut keys = artefact.manifests[0].configuration.clone();
    if let Some(keys) = keys.as_object_mut() {
        keys.remove("seed");
    }
    serde_json::from_value(keys).map_err(|error| {
        Error::mismatch(
            artefact.path.display().to_string(),
            format!("a configuration with {error}"),
            "the keys of [train]",
            "evaluate it with the version of cloze that trained it, or name its folder export",
        )
    })
}

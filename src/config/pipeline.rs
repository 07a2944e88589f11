//! A pipeline's TOML: one table per stage, and what all stages share.

use super::{
    CountConfig, EvaluateConfig, MaskingConfig, Rate, ShardConfig, Strategy, TokenizeConfig,
    TrainConfig, VocabularyConfig,
};
use crate::base::error::Result;
use crate::base::size::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What `cloze run` shows of masked text between sharding and training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PreviewConfig {
    /// Rows shown.
    pub rows: u32,
    /// Tokens in a row.
    pub length: u32,
    /// Corruption rates or laws shown one under the other, besides the training's own.
    pub rates: Vec<Rate>,
    /// Strategies shown side by side; without any uniform, span, pmi or word, and the
    /// training's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub strategies: Vec<Strategy>,
}

impl Default for PreviewConfig {
    fn default() -> Self {
        Self {
            rows: 1,
            length: 48,
            rates: [0.15, 0.4, 0.8].map(Rate::from).to_vec(),
            strategies: Vec::new(),
        }
    }
}

/// All stages from raw text to a trained model. Paths are relative to the TOML file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PipelineConfig {
    /// What the pipeline is called; names the default work folder, runs/NAME.
    pub name: String,
    /// Seed of everything random.
    pub seed: u64,
    /// Bound on the memory of a stage.
    pub memory: ByteSize,
    /// Threads; 0 takes all cores.
    pub threads: u32,
    /// Where everything is written; without it runs/NAME in the current folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work: Option<PathBuf>,
    /// Raw text to token files.
    pub tokenize: TokenizeConfig,
    /// Token files to n-gram counts; without it (and without an imported
    /// vocabulary) shards have words only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<CountConfig>,
    /// Counts to a masking vocabulary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<VocabularyConfig>,
    /// Token files and masking vocabulary to shards.
    pub shard: ShardConfig,
    /// What is shown of masked text; without it nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview: Option<PreviewConfig>,
    /// Shards to a trained model; without it the pipeline ends with shards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<TrainConfig>,
    /// The trained model to figures of what it can do; without it none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluate: Option<EvaluateConfig>,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        Self {
            name: "cloze".into(),
            seed: 1,
            memory: ByteSize::mib(4096),
            threads: 0,
            work: None,
            tokenize: TokenizeConfig::default(),
            count: None,
            vocabulary: None,
            shard: ShardConfig::default(),
            preview: None,
            train: None,
            evaluate: None,
        }
    }
}

impl PipelineConfig {
    /// The masking of the training, or the default one.
    pub fn masking(&self) -> MaskingConfig {
        self.train
            .as_ref()
            .map(|train| train.masking.clone())
            .unwrap_or_default()
    }

    /// Makes its paths relative to `folder`, that of its TOML.
    pub fn relative_to(&mut self, folder: &Path) {
        self.tokenize.relative_to(folder);
        if let Some(vocabulary) = &mut self.vocabulary {
            vocabulary.relative_to(folder);
        }
        if let Some(train) = &mut self.train {
            train.relative_to(folder);
        }
        if let Some(evaluate) = &mut self.evaluate {
            evaluate.relative_to(folder);
        }
        if let Some(work) = &mut self.work {
            *work = folder.join(&*work);
        }
    }

    /// Refuses what cannot work, before any stage runs.
    pub fn check(&self) -> Result<()> {
        use crate::base::error::Error;
        self.tokenize.check()?;
        if let Some(count) = &self.count {
            count.check()?;
        }
        if let Some(vocabulary) = &self.vocabulary {
            vocabulary.check()?;
            if vocabulary.import.is_none() && self.count.is_none() {
                return Err(Error::usage(
                    "vocabulary",
                    "neither a [count] table nor vocabulary.import",
                    "one of them",
                    "add [count] to count n-grams of this corpus",
                ));
            }
        }
        self.shard.check()?;
        if let Some(preview) = &self.preview {
            for rate in &preview.rates {
                rate.check("preview.rates")?;
            }
            let needs_units = preview.strategies.contains(&Strategy::Pmi);
            if needs_units && self.vocabulary.is_none() {
                return Err(Error::usage(
                    "preview.strategies",
                    "pmi without a masking vocabulary",
                    "a [vocabulary] table",
                    "add [count] and [vocabulary], or take pmi out",
                ));
            }
        }
        if let Some(train) = &self.train {
            train.check()?;
            if train
                .masking
                .components()
                .any(|one| one.strategy == Strategy::Pmi)
                && self.vocabulary.is_none()
            {
                return Err(Error::usage(
                    "train.masking.strategy",
                    "pmi without a masking vocabulary",
                    "a [vocabulary] table",
                    "add [count] and [vocabulary], or mask whole words: strategy = \"word\"",
                ));
            }
        }
        if let Some(evaluate) = &self.evaluate {
            evaluate.check()?;
            if self.train.is_none() {
                return Err(Error::usage(
                    "evaluate",
                    "no [train] table",
                    "a model to evaluate",
                    "add [train], or run `cloze evaluate` on a model that is there",
                ));
            }
            if evaluate.strategies.contains(&Strategy::Pmi) && self.vocabulary.is_none() {
                return Err(Error::usage(
                    "evaluate.strategies",
                    "pmi without a masking vocabulary",
                    "a [vocabulary] table",
                    "add [count] and [vocabulary], or take pmi out",
                ));
            }
        }
        Ok(())
    }
}

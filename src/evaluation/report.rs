//! What an evaluation found, as it is written to `evaluation.json`. Every mean comes with
//! its 95 % interval over the examples: rows, or pairs of sentences.

use super::Spread;
use crate::base::error::{Error, Result};
use crate::config::{Architecture, RowLayout, Strategy};
use crate::storage::atomic::{self, Written};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a model was measured to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// The model.
    pub model: EvaluatedModel,
    /// The rows that were masked; none without shards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<EvaluatedRows>,
    /// What it makes of masked rows, by strategy, then by rate.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub masked: Vec<Masked>,
    /// What it makes of minimal pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blimp: Option<Pairs>,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvaluatedModel {
    /// Its architecture.
    pub architecture: Architecture,
    /// Numbers in it.
    pub parameters: u64,
    /// Token ids that it knows.
    pub vocabulary: u64,
}

/// Held-out rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvaluatedRows {
    /// How documents became rows.
    pub layout: RowLayout,
    /// Tokens in a row.
    pub length: u32,
    /// Rows held out.
    pub held_out: u64,
    /// Rows of these that were masked.
    pub evaluated: u64,
}

/// Rows masked by one strategy at one rate, all by the mask token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Masked {
    /// What was masked as one.
    pub strategy: Strategy,
    /// Share of the tokens that was to be masked.
    pub rate: f64,
    /// Share that was.
    pub realised: f64,
    /// Tokens that were predicted.
    pub labels: u64,
    /// Nats a label.
    pub loss: Spread,
    /// The exponential of the loss.
    pub perplexity: Spread,
    /// Share of labels that the model ranks first.
    pub accuracy: Spread,
    /// By words of the masking unit that the label lies in; none without units.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub by_unit_words: Vec<Bin>,
    /// By tokens of the word that it lies in.
    pub by_word_tokens: Vec<Bin>,
    /// By how frequent its token is in the training rows: by rank, 0 for one that never
    /// occurs there.
    pub by_frequency_rank: Vec<Bin>,
    /// What the masks left to go by, where it was asked for and they are uniform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
}

/// Labels that are alike in one thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bin {
    /// The least of them.
    pub from: u64,
    /// The most of them; none where there is no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// Labels.
    pub labels: u64,
    /// Nats a label.
    pub loss: Spread,
    /// Share of labels that the model ranks first.
    pub accuracy: Spread,
}

/// What uniform masks leave to go by (Wettig et al. 2023).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// N-grams of the masking vocabulary that are hidden whole, by their words; none
    /// without units.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub hidden_whole: Vec<HiddenWhole>,
    /// By tokens from the label to the nearest visible token of its row.
    pub by_distance: Vec<Bin>,
    /// By what the model gives its first choice.
    pub by_confidence: Vec<ConfidenceBin>,
    /// Expected calibration error: what accuracy and mean confidence differ by in a bin,
    /// in the mean over labels (Guo et al. 2017).
    pub calibration_error: f64,
}

/// N-grams of some number of words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HiddenWhole {
    /// n, words.
    pub words: u64,
    /// So many of them in the rows.
    pub ngrams: u64,
    /// Share of them that the masks hide whole, counted.
    pub counted: Spread,
    /// m^n: the chance if each word were one token.
    pub by_words: f64,
    /// The mean of m^t, for the t tokens that each of them has.
    pub by_tokens: f64,
}

/// Labels whose first choice the model gives so much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfidenceBin {
    /// Probability from here
    pub from: f64,
    /// to here.
    pub to: f64,
    /// Labels.
    pub labels: u64,
    /// Probability of the first choice, in the mean.
    pub confidence: Spread,
    /// Share of labels that is the first choice.
    pub accuracy: Spread,
}

/// Minimal pairs judged by pseudo-log-likelihood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pairs {
    /// Share of pairs whose good sentence is the likelier one.
    pub accuracy: Spread,
    /// Pairs that are equally likely; they count as wrong.
    pub ties: u64,
    /// Labels in all sentences.
    pub labels: u64,
    /// By field of linguistics, as the file names it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub by_field: Vec<PairGroup>,
    /// By phenomenon, as the file names it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub by_phenomenon: Vec<PairGroup>,
    /// By paradigm.
    pub by_paradigm: Vec<PairGroup>,
}

/// Pairs of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PairGroup {
    /// What they have in common.
    pub name: String,
    /// Share of them whose good sentence is the likelier one.
    pub accuracy: Spread,
}

impl Evaluation {
    /// Writes it to `path`, as JSON.
    pub fn write(&self, path: &Path) -> Result<Written> {
        let json = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::library("JSON of an evaluation", error))?;
        atomic::write(path, &json)
    }

    /// Reads what [`write`](Self::write) wrote.
    pub fn read(path: &Path) -> Result<Self> {
        let json = std::fs::read(path).map_err(|error| Error::io("read", path, error))?;
        serde_json::from_slice(&json).map_err(|error| {
            Error::corrupt(
                path.display().to_string(),
                error.to_string(),
                "an evaluation, as `cloze evaluate` writes it",
                "remove the folder it lies in, and evaluate again",
            )
        })
    }
}

/// What `measure` (loss, accuracy) is called under masks of `strategy` at `rate`: uniform
/// masks go without saying, as in `loss@0.15`; others are named, as in `loss@pmi:0.4`.
pub fn measure(measure: &str, strategy: Strategy, rate: f64) -> String {
    match strategy {
        Strategy::Uniform => format!("{measure}@{rate}"),
        other => format!("{measure}@{}:{rate}", other.name()),
    }
}

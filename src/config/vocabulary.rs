//! Keys of `cloze vocabulary` (spec 8).

use super::count::WordRules;
use crate::base::error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How n-grams are ranked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Score {
    /// PMI_n of Levine et al. 2021, equation 3: the minimum over all segmentations.
    #[default]
    Pmi,
    /// As `pmi` with 2·log p(g) for log p(g): what the published lists were made with.
    Pmi2,
    /// Against the segmentation into single words only.
    Naive,
    /// `pmi` divided by −log p(g).
    Npmi,
    /// The count.
    Frequency,
}

/// N-gram counts, or a published list, to a masking vocabulary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VocabularyConfig {
    /// How many n-grams to take.
    pub size: u64,
    /// How n-grams are ranked.
    pub score: Score,
    /// Shares of the size for lengths 2, 3, 4 and 5; they sum to 1.
    pub shares: Vec<f64>,
    /// Take n-grams from this list, one a line, best first, instead of from counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<PathBuf>,
    /// What a word is, for an imported list; counts bring their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import_rules: Option<WordRules>,
}

impl Default for VocabularyConfig {
    fn default() -> Self {
        Self {
            size: 800_000,
            score: Score::Pmi,
            shares: vec![0.5, 0.25, 0.125, 0.125],
            import: None,
            import_rules: None,
        }
    }
}

impl VocabularyConfig {
    /// Makes its paths relative to `folder`.
    pub fn relative_to(&mut self, folder: &Path) {
        if let Some(import) = &mut self.import {
            *import = folder.join(&*import);
        }
    }

    /// Refuses what cannot work.
    pub fn check(&self) -> Result<()> {
        let sum: f64 = self.shares.iter().sum();
        let fits = (1..=4).contains(&self.shares.len())
            && self.shares.iter().all(|share| (0.0..=1.0).contains(share))
            && (sum - 1.0).abs() < 1e-9;
        if !fits {
            return Err(Error::usage(
                "vocabulary.shares",
                format!("{:?}", self.shares),
                "one to four shares, for lengths 2 to 5, that sum to 1",
                "Levine et al. use [0.5, 0.25, 0.125, 0.125]",
            ));
        }
        if self.size == 0 {
            return Err(Error::usage(
                "vocabulary.size",
                "0",
                "at least 1",
                "Levine et al. use 800000",
            ));
        }
        if self.import_rules.is_some() && self.import.is_none() {
            return Err(Error::usage(
                "vocabulary.import_rules",
                "rules without an imported list",
                "import as well",
                "counts carry their own rules; leave import_rules out",
            ));
        }
        Ok(())
    }
}

/// Questions to n-gram counts and masking vocabularies: keys of `cloze inspect`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QueryConfig {
    /// N-grams to look up: count, probability, rank, and the score of every
    /// segmentation.
    pub ngram: Vec<String>,
    /// Show this many of the best n-grams of a length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top: Option<u64>,
    /// Show n-grams drawn at random from around this rank.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub near: Option<u64>,
    /// How many are drawn with --near.
    pub sample: u64,
    /// Words in the n-grams of --top and --near.
    pub length: u32,
    /// How counts are ranked; a masking vocabulary has its own score.
    pub score: Score,
    /// Another masking vocabulary: how much of it is shared, at several sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compare: Option<PathBuf>,
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            ngram: Vec::new(),
            top: None,
            near: None,
            sample: 20,
            length: 2,
            score: Score::Pmi,
            compare: None,
        }
    }
}

impl QueryConfig {
    /// Whether anything is asked.
    pub fn asks(&self) -> bool {
        !self.ngram.is_empty()
            || self.top.is_some()
            || self.near.is_some()
            || self.compare.is_some()
    }

    /// Refuses what cannot work.
    pub fn check(&self) -> Result<()> {
        if !(2..=5).contains(&self.length) {
            return Err(Error::usage(
                "--length",
                self.length.to_string(),
                "2 to 5",
                "single words have no score",
            ));
        }
        if self.near == Some(0) {
            return Err(Error::usage(
                "--near",
                "0",
                "a rank from 1",
                "1 is the best n-gram",
            ));
        }
        Ok(())
    }
}

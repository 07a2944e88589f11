//! Keys of `cloze vocabulary` (spec 8).

use super::count::WordRules;
use crate::base::error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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

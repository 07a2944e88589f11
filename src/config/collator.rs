//! Keys of a collator: masks on rows of ids that were cut elsewhere (the Python package's
//! `DataCollator`).

use super::{MaskingConfig, Overlap};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Rows of ids to masked batches.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CollatorConfig {
    /// A vocab.txt, a tokenizer.json, or a folder with one of them or with
    /// vocab.json and merges.txt: what wrote the ids.
    pub tokenizer: PathBuf,
    /// What is masked and predicted.
    pub masking: MaskingConfig,
    /// A masking vocabulary, for strategies that mask its units.
    pub vocabulary: Option<PathBuf>,
    /// Which of two overlapping n-grams becomes the unit.
    pub overlap: Overlap,
    /// Seed of units that are drawn.
    pub seed: u64,
}

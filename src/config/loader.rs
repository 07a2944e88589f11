//! Keys of a loader for trainings elsewhere (the Python package's `Loader`).

use super::{MaskingConfig, RowLayout, RowsConfig, ShardRead};
use crate::base::error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Shards to masked batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoaderConfig {
    /// Folders of shards, one a source.
    pub shards: Vec<PathBuf>,
    /// Shares of the rows that come from each source; without them, every row once in an
    /// epoch.
    pub weights: Option<Vec<f64>>,
    /// What is masked and predicted.
    pub masking: MaskingConfig,
    /// How documents become rows.
    pub layout: RowLayout,
    /// Tokens in a row, special tokens included.
    pub length: u32,
    /// Seed of order and masks.
    pub seed: u64,
    /// Share of each source's rows that is held out, the last ones; 0 reads all.
    pub held_out: f64,
    /// How shards are read.
    pub read: ShardRead,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        let rows = RowsConfig::default();
        Self {
            shards: Vec::new(),
            weights: None,
            masking: MaskingConfig::default(),
            layout: rows.layout,
            length: rows.length,
            seed: 1,
            held_out: 0.0,
            read: ShardRead::default(),
        }
    }
}

impl LoaderConfig {
    /// How documents become rows.
    pub fn rows(&self) -> RowsConfig {
        RowsConfig {
            layout: self.layout,
            length: self.length,
        }
    }

    /// Refuses what cannot work.
    pub fn check(&self) -> Result<()> {
        self.rows().check()?;
        self.masking.check()?;
        self.masking.check_rows(self.length)?;
        super::keys::check_share("held_out", self.held_out)?;
        let sources = self.shards.len();
        if sources == 0 {
            return Err(Error::usage(
                "shards",
                "no folder",
                "one or more",
                "name the folders that `cloze shard` wrote",
            ));
        }
        match &self.weights {
            Some(weights) if weights.len() != sources => Err(Error::usage(
                "weights",
                format!("{} for {sources} sources", weights.len()),
                "one for each source",
                "give as many weights as folders, or none to read every row once in an epoch",
            )),
            _ => Ok(()),
        }
    }
}

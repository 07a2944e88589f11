//! Keys of `cloze evaluate`.

use super::{Device, Precision, RowLayout, Strategy};
use crate::base::error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A model to what it can do: loss, perplexity and accuracy on held-out rows under fixed
/// masks, and minimal pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluateConfig {
    /// Shares of the tokens that are masked, one after the other, whatever the model was
    /// trained at.
    pub rates: Vec<f64>,
    /// Also the share that the run was trained at, the mean of one that moves.
    pub training_rate: bool,
    /// What is masked as one, each strategy at every rate; pmi needs shards with units.
    pub strategies: Vec<Strategy>,
    /// Also how much a uniform mask of each rate leaves to go by: n-grams hidden whole,
    /// accuracy by the distance to the nearest visible token, and calibration.
    pub profile: bool,
    /// Share of the rows held out, the last ones of the shards; without it the run's, or
    /// 0.01.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// At most this many of the rows held out, evenly.
    pub max_rows: u64,
    /// Tokens in a row; without it the run's, or 128 if the model has as many positions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u32>,
    /// How documents become rows; without it as in the run, or packed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<RowLayout>,
    /// Seed of the masks: the same tokens of the same rows for every model.
    pub mask_seed: u64,
    /// Rows a pass.
    pub batch_size: u32,
    /// What predicts: `cpu`, `cuda`, `cuda:1`, or `reference`, as for a training.
    #[serde(skip_serializing_if = "Device::is_cpu")]
    pub device: Device,
    /// Numbers that matrices are multiplied in: `f32`, or `bf16` on a GPU.
    #[serde(skip_serializing_if = "Precision::is_single")]
    pub precision: Precision,
    /// Minimal pairs in the form of BLiMP (Warstadt et al. 2020), as JSON lines, plain or
    /// compressed; judged by pseudo-log-likelihood (Salazar et al. 2020).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blimp: Option<PathBuf>,
    /// At most so many pairs of each paradigm, the first ones; without it all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blimp_pairs: Option<u32>,
}

impl Default for EvaluateConfig {
    fn default() -> Self {
        Self {
            rates: vec![0.15, 0.4, 0.8],
            training_rate: true,
            strategies: vec![Strategy::Uniform],
            profile: false,
            share: None,
            max_rows: 2048,
            length: None,
            layout: None,
            mask_seed: 15,
            batch_size: 32,
            device: Device::default(),
            precision: Precision::default(),
            blimp: None,
            blimp_pairs: None,
        }
    }
}

impl EvaluateConfig {
    /// Refuses what cannot work.
    pub fn check(&self) -> Result<()> {
        self.device.check()?;
        self.precision.check(self.device)?;
        for (key, value) in [
            ("evaluate.max_rows", self.max_rows),
            ("evaluate.batch_size", self.batch_size.into()),
            ("evaluate.blimp_pairs", self.blimp_pairs.unwrap_or(1).into()),
        ] {
            if value == 0 {
                return Err(Error::usage(key, "0", "at least 1", "see --help"));
            }
        }
        for &rate in &self.rates {
            super::keys::check_share("evaluate.rates", rate)?;
        }
        if self.rates.contains(&0.0) {
            return Err(Error::usage(
                "evaluate.rates",
                "0",
                "shares above 0",
                "nothing is predicted where nothing is masked",
            ));
        }
        if let Some(share) = self.share {
            super::keys::check_share("evaluate.share", share)?;
        }
        if self.profile && !self.strategies.contains(&Strategy::Uniform) {
            return Err(Error::usage(
                "evaluate.profile",
                "no uniform among evaluate.strategies",
                "uniform masks, which a profile is of",
                "add uniform to the strategies, or leave the profile out",
            ));
        }
        Ok(())
    }

    /// Makes its paths relative to `folder`.
    pub fn relative_to(&mut self, folder: &Path) {
        if let Some(file) = &mut self.blimp {
            *file = folder.join(&*file);
        }
    }
}

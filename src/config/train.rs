//! Keys of `cloze train`.

use super::{Device, Layout, MaskingConfig, ModelConfig, ModelShape, Precision, RowsConfig};
use crate::base::error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// AdamW and its schedule. Defaults: Wettig et al. 2023, appendix A.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// The highest learning rate, reached when the warm-up ends.
    pub learning_rate: f64,
    /// Share of the steps in which the learning rate rises from 0, 0 to 1; it falls
    /// linearly to 0 after.
    pub warmup: f64,
    /// β₁ of AdamW.
    pub beta1: f64,
    /// β₂ of AdamW.
    pub beta2: f64,
    /// ε of AdamW.
    pub epsilon: f64,
    /// Weight decay; biases and norms have none.
    pub weight_decay: f64,
    /// Gradients are scaled down to this norm at most; 0 never scales.
    pub clip: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            learning_rate: 2e-3,
            warmup: 0.06,
            beta1: 0.9,
            beta2: 0.98,
            epsilon: 1e-6,
            weight_decay: 0.01,
            clip: 0.0,
        }
    }
}

/// Validation: its own rate and seed, whatever the training masks are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ValidationConfig {
    /// Steps between validations; 0 validates only at the end.
    pub every: u64,
    /// Share of the rows held out, the last ones of the shards.
    pub share: f64,
    /// At most this many rows are validated on.
    pub max_rows: u64,
    /// Share of tokens masked, uniformly, all by the mask token.
    pub rate: f64,
    /// Seed of the validation masks.
    pub seed: u64,
}

impl Default for ValidationConfig {
    fn default() -> Self {
        Self {
            every: 1000,
            share: 0.01,
            max_rows: 2048,
            rate: 0.15,
            seed: 15,
        }
    }
}

/// How shards are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ShardRead {
    /// Mapped into memory: nothing is copied, but a file that another program cuts short
    /// meanwhile ends the process.
    #[default]
    Mmap,
    /// Read with `pread` into memory of their own: a file cut short is an error. For
    /// network file systems, and where address space is bounded.
    Pread,
}

/// Runs that map their shards are described as they always were.
fn is_mmap(read: &ShardRead) -> bool {
    *read == ShardRead::Mmap
}

/// Runs on the CPU are described as they always were.
fn is_cpu(device: &Device) -> bool {
    *device == Device::Cpu
}

fn is_single(precision: &Precision) -> bool {
    *precision == Precision::F32
}

/// Shards to a trained model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Optimiser steps.
    pub steps: u64,
    /// Rows a step, before copies (a row emitted twice counts once).
    pub batch_size: u32,
    /// Forward and backward passes that one step's rows are split into; divides
    /// batch_size.
    pub accumulation: u32,
    /// Steps between checkpoints; 0 keeps only the last.
    pub checkpoint_every: u64,
    /// How many checkpoints are kept.
    pub keep_checkpoints: u32,
    /// Steps between lines in metrics.jsonl and on the terminal.
    pub log_every: u64,
    /// How shards are read; the same rows either way.
    #[serde(skip_serializing_if = "is_mmap")]
    pub read: ShardRead,
    /// What trains: `cpu`, `cuda`, `cuda:1`, or `reference`, which does on the CPU what a
    /// GPU would be told to do, to check it. A run may go on from its checkpoint on
    /// another device.
    #[serde(skip_serializing_if = "is_cpu")]
    pub device: Device,
    /// Numbers that matrices are multiplied in: `f32`, or `bf16` on a GPU.
    #[serde(skip_serializing_if = "is_single")]
    pub precision: Precision,
    /// The model.
    pub model: ModelConfig,
    /// How documents become rows.
    pub rows: RowsConfig,
    /// What is masked and predicted.
    pub masking: MaskingConfig,
    /// AdamW and its schedule.
    pub optimizer: OptimizerConfig,
    /// Validation.
    pub validation: ValidationConfig,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 10_000,
            batch_size: 32,
            accumulation: 1,
            checkpoint_every: 1000,
            keep_checkpoints: 2,
            log_every: 50,
            read: ShardRead::default(),
            device: Device::default(),
            precision: Precision::default(),
            model: ModelConfig::default(),
            rows: RowsConfig::default(),
            masking: MaskingConfig::default(),
            optimizer: OptimizerConfig::default(),
            validation: ValidationConfig::default(),
        }
    }
}

impl TrainConfig {
    /// Refuses what cannot work.
    pub fn check(&self) -> Result<()> {
        self.device.check()?;
        self.precision.check(self.device)?;
        self.check_layout()?;
        self.model().check()?;
        self.rows.check()?;
        self.masking.check()?;
        self.masking.check_rows(self.rows.length)?;
        for (key, value) in [
            ("train.steps", self.steps),
            ("train.batch_size", self.batch_size.into()),
            ("train.accumulation", self.accumulation.into()),
            ("train.keep_checkpoints", self.keep_checkpoints.into()),
            ("train.log_every", self.log_every),
            ("train.validation.max_rows", self.validation.max_rows),
        ] {
            if value == 0 {
                return Err(Error::usage(key, "0", "at least 1", "see --help"));
            }
        }
        if !self.batch_size.is_multiple_of(self.accumulation) {
            return Err(Error::usage(
                "train.accumulation",
                format!("{} passes for {} rows", self.accumulation, self.batch_size),
                "a number that divides train.batch_size",
                "every pass of a step takes the same number of rows",
            ));
        }
        if self.model.from.is_none() {
            self.check_row_length(&self.model().shape())?;
        }
        super::keys::check_share("train.optimizer.warmup", self.optimizer.warmup)?;
        super::keys::check_share("train.validation.share", self.validation.share)?;
        super::keys::check_share("train.validation.rate", self.validation.rate)
    }

    /// The model that is trained: one with a decoder for rows of the layout removed,
    /// whether the decoder's keys are set or not.
    pub fn model(&self) -> ModelConfig {
        let mut model = self.model.clone();
        if self.masking.layout == Layout::Removed {
            model.decoder.get_or_insert_default();
        }
        model
    }

    /// Refuses a layout that no model of ours is for, and a decoder that nothing would
    /// go through.
    fn check_layout(&self) -> Result<()> {
        match (self.masking.layout, &self.model.decoder) {
            (Layout::InPlace, None) | (Layout::Removed, _) => Ok(()),
            (Layout::InPlace, Some(_)) => Err(Error::usage(
                "train.model.decoder",
                "a decoder for rows of the layout in_place, which an encoder alone predicts",
                "train.masking.layout = \"removed\"",
                "leave model.decoder out, or set that layout",
            )),
            (Layout::Sentinel, _) => Err(Error::usage(
                "train.masking.layout",
                "sentinel, whose targets a model has to generate token by token",
                "in_place or removed: there is no sentinel encoder-decoder yet",
                "set one of these; `cloze mask` and the batches for other trainers know all three",
            )),
        }
    }

    /// Refuses rows that are longer than the positions of the model.
    pub fn check_row_length(&self, shape: &ModelShape) -> Result<()> {
        if self.rows.length <= shape.positions {
            return Ok(());
        }
        Err(Error::usage(
            "train.rows.length",
            format!(
                "{} with {} positions in the model",
                self.rows.length, shape.positions
            ),
            "rows no longer than the model's positions",
            "raise model.positions or shorten the rows",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DecoderConfig;

    fn with(layout: Layout, decoder: Option<DecoderConfig>) -> TrainConfig {
        TrainConfig {
            masking: MaskingConfig::default().with_layout(layout),
            model: ModelConfig {
                decoder,
                ..ModelConfig::default()
            },
            ..TrainConfig::default()
        }
    }

    #[test]
    fn the_layout_decides_whether_a_model_has_a_decoder() {
        let in_place = with(Layout::InPlace, None);
        in_place.check().unwrap();
        assert_eq!(in_place.model().shape().decoder, None);
        for decoder in [None, Some(DecoderConfig::default())] {
            let removed = with(Layout::Removed, decoder);
            removed.check().unwrap();
            let shape = removed.model().shape();
            assert_eq!(shape.decoder.unwrap().layers, shape.layers.div_ceil(3));
        }
        let idle = with(Layout::InPlace, Some(DecoderConfig::default()));
        let message = idle.check().unwrap_err().to_string();
        assert!(message.starts_with("train.model.decoder"), "{message}");
        let sentinel = with(Layout::Sentinel, None)
            .check()
            .unwrap_err()
            .to_string();
        assert!(sentinel.starts_with("train.masking.layout"), "{sentinel}");
        assert!(
            sentinel.contains("no sentinel encoder-decoder yet"),
            "{sentinel}"
        );
    }
}

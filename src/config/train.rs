//! Keys of `cloze train`.

pub use super::optimizer::OptimizerConfig;
use super::{Device, Layout, MaskingConfig, ModelConfig, ModelShape, Precision, RowsConfig};
use crate::base::error::{Error, Result};
use crate::base::time_span::TimeSpan;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

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

/// What `batch_size` and `batch_tokens` count where a row is emitted several times, since
/// its prediction rate is above its corruption rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BatchCounts {
    /// Rows as they are read, each once however often it is emitted: runs of different
    /// rates see the same text.
    #[default]
    Rows,
    /// Rows as the model gets them, every copy: runs of different rates take the same
    /// work. All copies of a row are in one step, so that a step may have some more.
    Copies,
}

/// What is done about a step whose loss or gradient is far above those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SpikePolicy {
    /// Its batch is written out and the step is taken; numbers that are not finite end
    /// the run.
    #[default]
    Continue,
    /// Its batch is written out and nothing is learnt from it.
    Skip,
    /// Its batch is written out and the run ends; the last checkpoint is kept.
    Stop,
}

/// Losses and gradients that are far above those before them, or not finite. A run may go
/// on with other keys of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SpikesConfig {
    /// What is done about such a step.
    pub policy: SpikePolicy,
    /// A loss of more than so many times its running mean is a spike; 0 looks only for
    /// losses that are not finite.
    pub loss_factor: f64,
    /// A norm of the gradient of more than so many times its running mean is a spike; 0
    /// looks only for norms that are not finite.
    pub gradient_factor: f64,
    /// Steps that the running means look back on; before so many are done nothing is a
    /// spike.
    pub window: u64,
    /// At most so many batches are written to the folder spikes.
    pub keep: u64,
}

impl Default for SpikesConfig {
    fn default() -> Self {
        Self {
            policy: SpikePolicy::Continue,
            loss_factor: 2.0,
            gradient_factor: 10.0,
            window: 100,
            keep: 20,
        }
    }
}

impl SpikesConfig {
    fn check(&self) -> Result<()> {
        for (name, factor) in [
            ("loss_factor", self.loss_factor),
            ("gradient_factor", self.gradient_factor),
        ] {
            if factor != 0.0 && !(factor.is_finite() && factor > 1.0) {
                return Err(Error::usage(
                    format!("train.spikes.{name}"),
                    factor.to_string(),
                    "a number above 1, or 0",
                    "2 is twice the running mean; 0 looks for nothing but infinite ones",
                ));
            }
        }
        Ok(())
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

fn is_false(value: &bool) -> bool {
    !value
}

/// Runs that map their shards are described as they always were.
fn is_mmap(read: &ShardRead) -> bool {
    *read == ShardRead::Mmap
}

/// Steps of a run that names neither steps nor a budget.
const DEFAULT_STEPS: u64 = 10_000;

/// Shards to a trained model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Optimiser steps; without it 10000, or as many as the budget has time for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Time that the training may take, as 24h or 1h30m, however often it is stopped;
    /// the schedule goes by what is used of it, or of the steps, whichever is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<TimeSpan>,
    /// Rows a step.
    pub batch_size: u32,
    /// Tokens a step, padding left out, in place of batch_size: rows are taken until
    /// there are so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_tokens: Option<u64>,
    /// What batch_size and batch_tokens count where a row is emitted several times.
    pub batch_counts: BatchCounts,
    /// Forward and backward passes that one step's rows are split into; divides
    /// batch_size.
    pub accumulation: u32,
    /// Steps between checkpoints; 0 keeps only the last.
    pub checkpoint_every: u64,
    /// How many checkpoints are kept.
    pub keep_checkpoints: u32,
    /// Steps between lines in metrics.jsonl and on the terminal.
    pub log_every: u64,
    /// Write what metrics.jsonl has to the folder tensorboard as well, for TensorBoard.
    #[serde(skip_serializing_if = "is_false")]
    pub tensorboard: bool,
    /// How shards are read; the same rows either way.
    #[serde(skip_serializing_if = "is_mmap")]
    pub read: ShardRead,
    /// What trains: `cpu`, `cuda`, `cuda:1`, or `reference`, which does on the CPU what a
    /// GPU would be told to do, to check it. A run may go on from its checkpoint on
    /// another device.
    #[serde(skip_serializing_if = "Device::is_cpu")]
    pub device: Device,
    /// Numbers that matrices are multiplied in: `f32`, or `bf16` on a GPU.
    #[serde(skip_serializing_if = "Precision::is_single")]
    pub precision: Precision,
    /// The model.
    pub model: ModelConfig,
    /// How documents become rows.
    pub rows: RowsConfig,
    /// What is masked and predicted.
    pub masking: MaskingConfig,
    /// AdamW and its schedule.
    pub optimizer: OptimizerConfig,
    /// Losses and gradients far above those before them.
    pub spikes: SpikesConfig,
    /// Validation.
    pub validation: ValidationConfig,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: None,
            budget: None,
            batch_size: 32,
            batch_tokens: None,
            batch_counts: BatchCounts::Rows,
            accumulation: 1,
            checkpoint_every: 1000,
            keep_checkpoints: 2,
            log_every: 50,
            tensorboard: false,
            read: ShardRead::default(),
            device: Device::default(),
            precision: Precision::default(),
            model: ModelConfig::default(),
            rows: RowsConfig::default(),
            masking: MaskingConfig::default(),
            optimizer: OptimizerConfig::default(),
            spikes: SpikesConfig::default(),
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
            ("train.steps", self.steps.unwrap_or(1)),
            ("train.batch_tokens", self.batch_tokens.unwrap_or(1)),
            ("train.spikes.window", self.spikes.window),
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
        if self.budget.is_some_and(|budget| budget.seconds() <= 0.0) {
            return Err(Error::usage(
                "train.budget",
                "no time",
                "a span above 0",
                "write for example 24h",
            ));
        }
        if self.last_step().is_none() {
            // Nobody knows yet how many steps there will be.
            self.masking.check_steps()?;
        }
        self.check_batch()?;
        self.optimizer.check()?;
        self.spikes.check()?;
        if self.model.from.is_none() {
            self.check_row_length(&self.model().shape())?;
        }
        super::keys::check_share("train.validation.share", self.validation.share)?;
        super::keys::check_share("train.validation.rate", self.validation.rate)
    }

    fn check_batch(&self) -> Result<()> {
        if self.has_fixed_rows() {
            if self.batch_size.is_multiple_of(self.accumulation) {
                return Ok(());
            }
            return Err(Error::usage(
                "train.accumulation",
                format!("{} passes for {} rows", self.accumulation, self.batch_size),
                "a number that divides train.batch_size",
                "every pass of a step takes the same number of rows",
            ));
        }
        if self.masking.is_antithetic() {
            return Err(Error::usage(
                "train.masking.corruption_rate",
                "antithetic rates in steps that have no fixed number of rows",
                "batch_size without batch_tokens, and batch_counts = \"rows\"",
                "antithetic rates share the rows of a step out; diffusion draws each by itself",
            ));
        }
        // A pass then never takes the rows of two.
        let copies = match self.batch_counts {
            BatchCounts::Rows => 1,
            BatchCounts::Copies => self.masking.most_copies(),
        };
        let (key, target, row) = match self.batch_tokens {
            Some(tokens) => ("train.batch_tokens", tokens, self.rows.length),
            None => ("train.batch_size", self.batch_size.into(), 1),
        };
        let least = u64::from(self.accumulation) * u64::from(copies) * u64::from(row);
        if target >= least {
            return Ok(());
        }
        Err(Error::usage(
            key,
            target.to_string(),
            format!("at least {least}: a row and its copies in each pass of train.accumulation"),
            "raise it, or lower train.accumulation",
        ))
    }

    /// Whether every step has batch_size rows before copies.
    pub fn has_fixed_rows(&self) -> bool {
        self.batch_tokens.is_none()
            && (self.batch_counts == BatchCounts::Rows || self.masking.most_copies() == 1)
    }

    /// Steps after which the run ends whatever time is left; none where only a budget
    /// ends it.
    pub fn last_step(&self) -> Option<u64> {
        match self.budget {
            None => Some(self.steps.unwrap_or(DEFAULT_STEPS)),
            Some(_) => self.steps,
        }
    }

    /// What a run keeps to its end. It goes on with another way to read shards, which
    /// changes nothing, on another device, and with another answer to spikes, which would
    /// otherwise end it for good.
    pub fn lasting(&self) -> Self {
        Self {
            steps: self.last_step(),
            read: ShardRead::default(),
            device: Device::default(),
            tensorboard: false,
            spikes: SpikesConfig::default(),
            ..self.clone()
        }
    }

    /// Makes its paths relative to `folder`.
    pub fn relative_to(&mut self, folder: &Path) {
        self.masking.relative_to(folder);
        if let Some(from) = &mut self.model.from {
            *from = folder.join(&*from);
        }
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

    fn refused(config: &TrainConfig) -> String {
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn a_pass_has_room_for_a_row_and_all_its_copies() {
        let mut config = TrainConfig {
            batch_tokens: Some(511),
            accumulation: 4,
            ..TrainConfig::default()
        };
        assert!(refused(&config).contains("at least 512"));
        config.batch_tokens = Some(512);
        config.check().unwrap();
        config.masking.corruption_rate = 0.2.into();
        config.masking.prediction_rate = Some(0.4.into());
        config.check().unwrap();
        config.batch_counts = BatchCounts::Copies;
        assert!(refused(&config).contains("at least 1024"));
        config.batch_tokens = None;
        config.batch_size = 6;
        assert!(refused(&config).starts_with("train.batch_size"));
        config.batch_size = 9;
        config.check().unwrap();
        config.batch_counts = BatchCounts::Rows;
        assert!(refused(&config).starts_with("train.accumulation"));
    }

    #[test]
    fn a_run_ends_after_its_steps_or_with_its_budget() {
        let mut config = TrainConfig::default();
        assert_eq!(config.last_step(), Some(10_000));
        config.budget = Some(TimeSpan(60.0));
        assert_eq!(config.last_step(), None);
        config.steps = Some(7);
        assert_eq!(config.last_step(), Some(7));
        config.budget = Some(TimeSpan(0.0));
        assert!(refused(&config).starts_with("train.budget"));
    }

    #[test]
    fn antithetic_rates_need_a_fixed_number_of_rows() {
        let mut config = TrainConfig {
            batch_tokens: Some(4096),
            ..TrainConfig::default()
        };
        config.masking.corruption_rate = "antithetic(0.01)".parse().unwrap();
        assert!(refused(&config).contains("antithetic"));
        config.masking.corruption_rate = "diffusion(0.01)".parse().unwrap();
        config.check().unwrap();
    }

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

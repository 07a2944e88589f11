//! Steps whose loss or gradient is far above those before them, or not finite: found by
//! running means, and written to a file with everything that makes their batch again.
//! Two numbers of state; the batches of the step in flight are kept until it is judged.

use super::exact;
use crate::base::error::{Error, Result};
use crate::base::generator::Key;
use crate::base::token::TokenId;
use crate::batches::{Batch, Position};
use crate::config::SpikesConfig;
use crate::storage::atomic;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How the name of a file of a written batch ends.
pub const ENDING: &str = ".batch.json";

/// Steps passed over one after the other, after which a run ends: the weights themselves
/// are broken then.
pub const MOST_SKIPPED: u64 = 20;

/// Running means of the loss and of the gradient's norm: exponential ones over about
/// `window` steps, the plain ones of the first steps. Part of a checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// Steps taken in.
    pub steps: u64,
    /// Nats a label.
    #[serde(with = "exact")]
    pub loss: f64,
    /// Norm of the gradient before clipping.
    #[serde(with = "exact")]
    pub gradient_norm: f64,
}

impl Running {
    /// Whether a step with this loss and norm is a spike, or not finite.
    pub fn is_spike(&self, config: &SpikesConfig, loss: f64, gradient_norm: f64) -> bool {
        let above = |value: f64, factor: f64, mean: f64| {
            factor > 0.0 && self.steps >= config.window && value > factor * mean
        };
        !(loss.is_finite() && gradient_norm.is_finite())
            || above(loss, config.loss_factor, self.loss)
            || above(gradient_norm, config.gradient_factor, self.gradient_norm)
    }

    /// Takes a step in; of a spike, as much as is none.
    pub fn take(&mut self, config: &SpikesConfig, loss: f64, gradient_norm: f64) {
        let known = self.steps >= config.window;
        self.steps += 1;
        let over = self.steps.min(config.window) as f64;
        for (mean, value, factor) in [
            (&mut self.loss, loss, config.loss_factor),
            (
                &mut self.gradient_norm,
                gradient_norm,
                config.gradient_factor,
            ),
        ] {
            let most = match known && factor > 0.0 {
                true => factor * *mean,
                false => f64::INFINITY,
            };
            // Of a step that is passed over for its other number, this one may be none.
            if value.is_finite() {
                *mean += (value.min(most) - *mean) / over;
            }
        }
    }
}

/// What became of the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It was taken.
    Taken,
    /// Nothing was learnt from it.
    Skipped,
    /// The run ended with it.
    Stopped,
}

/// A step that stands out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spike {
    /// The step, from 1.
    pub step: u64,
    /// Nats a label; none where it is not finite.
    pub loss: Option<f64>,
    /// Norm of the gradient before clipping; none where it is not finite.
    pub gradient_norm: Option<f64>,
    /// The running mean of the loss before it.
    pub running_loss: f64,
    /// The running mean of the norm before it.
    pub running_gradient_norm: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// What became of it.
    pub verdict: Verdict,
    /// The file that its batch is in, within the run's folder; none once there are
    /// `spikes.keep`.
    pub file: Option<String>,
}

impl Spike {
    /// What stands out, in words.
    pub fn told(&self) -> String {
        let number = |value: Option<f64>| match value {
            Some(value) => format!("{value:.3}"),
            None => "that is not finite".into(),
        };
        format!(
            "a loss of {} and a gradient of norm {}, after {:.3} and {:.3} in the mean",
            number(self.loss),
            number(self.gradient_norm),
            self.running_loss,
            self.running_gradient_norm
        )
    }
}

/// A row of a written batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpikeRow {
    /// Epoch of its key.
    pub epoch: u64,
    /// Its number among the canonical rows: the sample of its key.
    pub row: u64,
    /// Its copy, 0 where a row is emitted once.
    pub copy: u32,
    /// Ids after corruption, without padding.
    pub input: Vec<TokenId>,
    /// Where labels are, from the row's start.
    pub predicted: Vec<u32>,
    /// The id at each of them.
    pub labels: Vec<TokenId>,
}

/// What a file of a written batch holds. The rows come again from the shards by their
/// keys, with the seed of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpikeFile {
    /// What stood out.
    pub spike: Spike,
    /// Seed of order, masks and dropout.
    pub seed: u64,
    /// Where the stream of rows stood before the step.
    pub position: Position,
    /// The step's rows, in all its passes.
    pub rows: Vec<SpikeRow>,
}

impl SpikeFile {
    /// Of the batches of the step that began at `position`.
    pub fn new(spike: Spike, seed: u64, position: Position, batches: &[Batch]) -> Self {
        Self {
            spike,
            seed,
            position,
            rows: batches.iter().flat_map(rows_of).collect(),
        }
    }

    /// Where the batch of step `step` is written, within the folder of the run.
    pub fn name(step: u64) -> String {
        format!("spikes/step-{step:09}{ENDING}")
    }

    /// Writes it into the folder of the run.
    pub fn write(&self, run: &Path) -> Result<PathBuf> {
        let path = run.join(Self::name(self.spike.step));
        let json = serde_json::to_vec(self)
            .map_err(|error| Error::library("writing the batch of a spike", error))?;
        atomic::write(&path, &json)?;
        Ok(path)
    }

    /// Reads what [`SpikeFile::write`] wrote.
    pub fn read(path: &Path) -> Result<Self> {
        let json = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
        serde_json::from_slice(&json).map_err(|error| {
            Error::corrupt(
                path.display().to_string(),
                error.to_string(),
                "the batch of a step, as training wrote it",
                "the run writes it again when it comes by",
            )
        })
    }
}

/// The rows of a batch in place.
fn rows_of(batch: &Batch) -> Vec<SpikeRow> {
    let labels = batch.predicted.iter().zip(&batch.labels);
    let mut labels = labels.peekable();
    (0..batch.rows)
        .map(|row| {
            let Key {
                epoch,
                sample,
                copy,
                ..
            } = batch.keys.get(row).copied().unwrap_or_default();
            let mut out = SpikeRow {
                epoch,
                row: sample,
                copy,
                input: batch.input[row * batch.length..][..batch.lengths[row] as usize].to_vec(),
                predicted: Vec::new(),
                labels: Vec::new(),
            };
            let width = batch.row_length.max(batch.length);
            let (first, end) = (row * width, (row + 1) * width);
            while let Some((&place, &label)) = labels.next_if(|(place, _)| (**place as usize) < end)
            {
                out.predicted.push(place - first as u32);
                out.labels.push(label);
            }
            out
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> SpikesConfig {
        SpikesConfig {
            window: 10,
            ..SpikesConfig::default()
        }
    }

    fn after(losses: impl IntoIterator<Item = f64>) -> Running {
        let mut running = Running::default();
        for loss in losses {
            running.take(&config(), loss, 1.0);
        }
        running
    }

    #[test]
    fn nothing_is_a_spike_before_the_window_is_full_but_what_is_not_finite() {
        let running = after([10.0; 9]);
        assert!(!running.is_spike(&config(), 1000.0, 1000.0));
        assert!(running.is_spike(&config(), f64::NAN, 1.0));
        assert!(running.is_spike(&config(), 1.0, f64::INFINITY));
        let running = after([10.0; 10]);
        assert!(!running.is_spike(&config(), 20.0, 10.0));
        assert!(running.is_spike(&config(), 20.1, 1.0));
        assert!(running.is_spike(&config(), 10.0, 10.1));
        let off = SpikesConfig {
            loss_factor: 0.0,
            gradient_factor: 0.0,
            ..config()
        };
        assert!(!running.is_spike(&off, 1e9, 1e9));
        assert!(running.is_spike(&off, f64::NAN, 1.0));
    }

    #[test]
    fn the_mean_follows_the_losses_and_a_spike_moves_it_little() {
        let falling = after((0..200).map(|step| 10.0 - 0.04 * f64::from(step)));
        assert!((falling.loss - 2.04).abs() < 0.5, "{falling:?}");
        let mut running = after([1.0; 20]);
        running.take(&config(), 1e6, 1.0);
        assert!((running.loss - 1.1).abs() < 1e-12, "{running:?}");
        running.take(&config(), f64::NAN, 1.0);
        assert!((running.loss - 1.1).abs() < 1e-12);
    }
}

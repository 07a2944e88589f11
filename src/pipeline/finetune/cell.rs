//! One run of the grid: a learning rate, a batch size and a seed. Epochs in an order of the
//! seed, dev after each, the best one kept.

use super::sentences::{Labels, Sentences, TaskData};
use crate::base::error::{Error, Result};
use crate::base::generator::{Key, Purpose};
use crate::config::FinetuneConfig;
use crate::evaluation::Predictions;
use crate::pipeline::stage::StageOptions;
use crate::progress::Meter;
use crate::storage::atomic;
use crate::training::schedule::{self, Horizon};
use crate::training::{Classifier, FineTuning, SentenceRow};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Rows that are judged at a time.
const JUDGED: usize = 64;

/// Which run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The highest learning rate.
    pub learning_rate: f64,
    /// Sentences in a step.
    pub batch_size: u32,
    /// Its seed.
    pub seed: u64,
}

/// What an epoch came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Mean loss of its steps.
    pub loss: f64,
    /// The metric on dev behind it.
    pub dev: f64,
}

/// What a run came to: a file of `cells/`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellResult {
    /// Tells this grid on these inputs from others.
    pub fingerprint: String,
    /// Which run.
    pub cell: Cell,
    /// Its epochs.
    pub epochs: Vec<Epoch>,
    /// Epochs behind which it was best on dev, from 1.
    pub best: u32,
    /// What its best epoch makes of the sentences that are reported of, one after the other:
    /// a logit for each class, or a number.
    pub outputs: Vec<f32>,
}

impl Cell {
    /// The runs of `config`, all seeds of a setting one after the other.
    pub fn all(config: &FinetuneConfig) -> Vec<Self> {
        let mut cells = Vec::new();
        for &learning_rate in &config.learning_rates {
            for &batch_size in &config.batch_sizes {
                cells.extend(config.seeds.iter().map(|&seed| Self {
                    learning_rate,
                    batch_size,
                    seed,
                }));
            }
        }
        cells
    }

    /// What its files are called.
    pub fn name(&self) -> String {
        format!(
            "rate-{:e}-batch-{}-seed-{}",
            self.learning_rate, self.batch_size, self.seed
        )
    }

    /// Steps of it, if it goes on to its last epoch.
    pub fn steps(&self, config: &FinetuneConfig, data: &TaskData) -> u64 {
        let of_epoch = data.train.rows.len().div_ceil(self.batch_size as usize);
        of_epoch as u64 * u64::from(config.epochs)
    }

    /// Trains `classifier`, which leaves with the weights of its best epoch.
    ///
    /// # Errors
    /// A loss that is not finite; `Interrupted` once the user asked to stop.
    pub fn train(
        &self,
        config: &FinetuneConfig,
        data: &TaskData,
        classifier: Classifier,
        meter: &Meter,
        options: &StageOptions,
    ) -> Result<(Classifier, CellResult)> {
        let optimizer = config.optimizer(self.learning_rate);
        let horizon = Horizon {
            steps: Some(self.steps(config, data)),
            seconds: None,
        };
        let mut tuning = FineTuning::new(classifier);
        let mut best = tuning.classifier.clone();
        let mut result = CellResult {
            fingerprint: String::new(),
            cell: *self,
            epochs: Vec::new(),
            best: 0,
            outputs: Vec::new(),
        };
        let mut step = 0;
        let mut buffers = (Vec::new(), Vec::new());
        for epoch in 1..=config.epochs {
            let mut order: Vec<u32> = (0..data.train.rows.len() as u32).collect();
            let key = Key {
                seed: self.seed,
                sample: epoch.into(),
                ..Key::default()
            };
            key.generator(Purpose::Finetune).shuffle(&mut order);
            let mut loss = 0.0;
            for places in order.chunks(self.batch_size as usize) {
                options.check_stop()?;
                let rows: Vec<&SentenceRow> = places
                    .iter()
                    .map(|&place| &data.train.rows[place as usize])
                    .collect();
                let targets = data.train.targets(places, &mut buffers);
                let rate = schedule::learning_rate(&optimizer, horizon, step, 0.0);
                let found = tuning
                    .step(&optimizer, &rows, targets, self.seed, rate)
                    .map_err(|error| self.named(error))?;
                loss += found * rows.len() as f64 / order.len() as f64;
                step += 1;
                meter.add(1);
            }
            let outputs = outputs(&tuning.classifier, &data.dev, options)?;
            let dev = predictions(&data.dev, data.classes.len(), &outputs).score(config.metric());
            result.epochs.push(Epoch { loss, dev });
            let before = result
                .best
                .checked_sub(1)
                .map(|best| result.epochs[best as usize].dev);
            if before.is_none_or(|before| dev > before) {
                result.best = epoch;
                best.clone_from(&tuning.classifier);
            }
            if epoch - result.best >= config.patience {
                break;
            }
        }
        let judged = data.test.as_ref().unwrap_or(&data.dev);
        result.outputs = outputs(&best, judged, options)?;
        Ok((best, result))
    }

    /// Which run an error is of.
    fn named(&self, error: Error) -> Error {
        match error {
            Error::Diverged(mut finding) => {
                finding.place = format!("{}, {}", self.name(), finding.place);
                Error::Diverged(finding)
            }
            other => other,
        }
    }
}

impl CellResult {
    /// The metric on dev of its best epoch.
    pub fn dev(&self) -> f64 {
        let best = self.epochs.get((self.best as usize).saturating_sub(1));
        best.map_or(f64::NAN, |epoch| epoch.dev)
    }

    /// Writes it to `path`.
    pub fn write(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_vec(self)
            .map_err(|error| Error::library("JSON of a run of the grid", error))?;
        atomic::write(path, &json).map(|_| ())
    }

    /// Reads what [`write`](Self::write) wrote.
    pub fn read(path: &Path) -> Result<Self> {
        let json = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
        serde_json::from_slice(&json).map_err(|error| {
            Error::corrupt(
                path.display().to_string(),
                error.to_string(),
                "a run of the grid as it was written",
                "remove the file, and run the same command again",
            )
        })
    }
}

/// What `classifier` makes of `sentences`, one after the other.
pub fn outputs(
    classifier: &Classifier,
    sentences: &Sentences,
    options: &StageOptions,
) -> Result<Vec<f32>> {
    let rows: Vec<&SentenceRow> = sentences.rows.iter().collect();
    let mut all = Vec::new();
    for rows in rows.chunks(JUDGED) {
        options.check_stop()?;
        all.extend_from_slice(&classifier.outputs(rows)?);
    }
    Ok(all)
}

/// The predictions that `outputs` of `sentences` come to, of so many classes; of several
/// that are equal, the first.
pub fn predictions(sentences: &Sentences, classes: usize, outputs: &[f32]) -> Predictions {
    match &sentences.labels {
        Labels::Numbers(labels) => Predictions::Numbers {
            labels: labels.clone(),
            predicted: outputs.to_vec(),
        },
        Labels::Classes(labels) => Predictions::Classes {
            count: classes,
            labels: labels.clone(),
            predicted: outputs.chunks(classes.max(1)).map(largest).collect(),
        },
    }
}

fn largest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (place, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = place;
        }
    }
    best as u32
}

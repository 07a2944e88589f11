//! `metrics.jsonl`: one line every so many steps and one for each validation. A
//! resumed run cuts it back to its checkpoint, so that it ends up as that of an
//! undisturbed run but for `tokens_per_second` and `seconds`, which stand last.

use super::ops::cross_entropy::Tally;
use crate::base::error::{Error, Result};
use crate::batches::Realised;
use crate::storage::atomic;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What was summed over the steps since the last line. Part of a checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Loss.
    pub tally: Tally,
    /// Rates.
    pub realised: Realised,
}

impl Window {
    /// Takes a step in.
    pub fn add(&mut self, tally: &Tally, realised: &Realised) {
        self.tally.add(tally);
        self.realised.add(realised);
    }
}

/// A validation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Validated {
    /// Steps done before it.
    pub step: u64,
    /// Nats a label.
    pub loss: f64,
    /// Share of labels that the model ranks first.
    pub accuracy: f64,
    /// Labels.
    pub labels: u64,
}

impl Validated {
    /// The validation after `step` steps that summed up to `tally`.
    pub fn new(step: u64, tally: &Tally) -> Self {
        Self {
            step,
            loss: tally.mean(),
            accuracy: tally.accuracy(),
            labels: tally.labels,
        }
    }
}

/// A line on the training.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trained {
    /// Steps done.
    pub step: u64,
    /// Nats a label, over all labels since the last line.
    pub loss: f64,
    /// Share of labels that the model ranks first, with dropout on.
    pub accuracy: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Norm of the last step's gradient, before clipping.
    pub gradient_norm: f64,
    /// Epoch, from 0.
    pub epoch: u64,
    /// Labels since the last line.
    pub labels: u64,
    /// Share of maskable tokens selected and replaced, by the mask or at random.
    pub corrupted: f64,
    /// Share replaced by the mask.
    pub masked: f64,
    /// Share replaced at random.
    pub random: f64,
    /// Share selected and left.
    pub same: f64,
    /// Share with a label.
    pub predicted: f64,
    /// Tokens of rows, removed ones included, without padding, through forward, backward and update, a second.
    pub tokens_per_second: f64,
    /// Seconds since the run was started or resumed.
    pub seconds: f64,
}

impl Trained {
    /// Fills the shares of `realised` and the sums of `window` in.
    pub fn of_window(window: &Window) -> Self {
        let realised = &window.realised;
        let share = |n: u64| n as f64 / realised.maskable.max(1) as f64;
        let tally = &window.tally;
        Self {
            step: 0,
            loss: tally.mean(),
            accuracy: tally.accuracy(),
            learning_rate: 0.0,
            gradient_norm: 0.0,
            epoch: 0,
            labels: tally.labels,
            corrupted: share(realised.corrupted()),
            masked: share(realised.masked),
            random: share(realised.random),
            same: share(realised.same),
            predicted: share(realised.predicted),
            tokens_per_second: 0.0,
            seconds: 0.0,
        }
    }
}

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Line {
    /// On the training.
    Train(Trained),
    /// On a validation.
    Validation(Validated),
}

/// The file, open at its end.
pub struct Metrics {
    path: PathBuf,
    file: File,
}

impl Metrics {
    /// Opens `path`, cut back to the lines of the first `step` steps.
    pub fn resume(path: &Path, step: u64) -> Result<Self> {
        #[derive(Deserialize)]
        struct Step {
            step: u64,
        }
        let text = if step > 0 && path.exists() {
            fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?
        } else {
            String::new()
        };
        // A line that a kill cut short does not parse, and is younger than the
        // checkpoint, before which the file is synced.
        let kept: String = text
            .split_inclusive('\n')
            .filter(|line| serde_json::from_str::<Step>(line).is_ok_and(|line| line.step <= step))
            .collect();
        atomic::write(path, kept.as_bytes())?;
        let file = OpenOptions::new().append(true).open(path);
        Ok(Self {
            path: path.to_owned(),
            file: file.map_err(|e| Error::io("write", path, e))?,
        })
    }

    /// Appends a line.
    pub fn append(&mut self, line: &Line) -> Result<()> {
        let mut json =
            serde_json::to_vec(line).map_err(|error| Error::library("a line of metrics", error))?;
        json.push(b'\n');
        let written = self.file.write_all(&json);
        written.map_err(|e| Error::io("write", &self.path, e))
    }

    /// Makes all lines survive a power cut.
    pub fn sync(&self) -> Result<()> {
        let synced = self.file.sync_data();
        synced.map_err(|e| Error::io("sync", &self.path, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_file_keeps_the_lines_up_to_its_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let line = |step| {
            Line::Validation(Validated {
                step,
                loss: 2.5,
                accuracy: 0.5,
                labels: 8,
            })
        };
        let mut metrics = Metrics::resume(&path, 0).unwrap();
        for step in 1..=3 {
            metrics.append(&line(step)).unwrap();
        }
        metrics
            .file
            .write_all(b"{\"kind\":\"validation\",\"st")
            .unwrap();
        let mut metrics = Metrics::resume(&path, 2).unwrap();
        metrics.append(&line(3)).unwrap();
        metrics.sync().unwrap();
        let lines = fs::read_to_string(&path).unwrap();
        assert_eq!(lines.lines().count(), 3);
        assert!(lines.starts_with("{\"kind\":\"validation\",\"step\":1,\"loss\":2.5"));
        Metrics::resume(&path, 0).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }
}

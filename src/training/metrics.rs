//! `metrics.jsonl`: one line every so many steps, one for each validation and each spike.
//! A resumed run cuts it back to its checkpoint, so that it ends up as that of an
//! undisturbed run but for what a clock says, which stands last: `tokens_per_second`,
//! `stalled` and `seconds`. The same numbers go to TensorBoard's file where asked for.

use super::event_file::EventFile;
use super::ops::cross_entropy::Tally;
use super::spikes::Spike;
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
    /// Tokens that went through the model before it, padding left out.
    pub tokens: u64,
}

/// What a validation summed up to. Part of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// Steps done before it.
    pub step: u64,
    /// Tokens that went through the model before it.
    pub tokens: u64,
    /// Its sums.
    pub tally: Tally,
}

impl From<Checked> for Validated {
    fn from(checked: Checked) -> Self {
        Self {
            step: checked.step,
            loss: checked.tally.mean(),
            accuracy: checked.tally.accuracy(),
            labels: checked.tally.labels,
            tokens: checked.tokens,
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
    /// Tokens that went through the model so far, padding left out.
    pub tokens: u64,
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
    /// Share of that time that steps waited for their next batch.
    pub stalled: f64,
    /// Seconds since the run was started or resumed.
    pub seconds: f64,
    /// Seconds left, at the rate since the last line; not in the file.
    #[serde(skip)]
    pub seconds_left: f64,
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
            tokens: 0,
            labels: tally.labels,
            corrupted: share(realised.corrupted()),
            masked: share(realised.masked),
            random: share(realised.random),
            same: share(realised.same),
            predicted: share(realised.predicted),
            tokens_per_second: 0.0,
            stalled: 0.0,
            seconds: 0.0,
            seconds_left: 0.0,
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
    /// On a step that stands out.
    Spike(Spike),
}

impl Line {
    /// Steps done, and numbers for TensorBoard by their tags.
    fn scalars(&self) -> (u64, Vec<(&'static str, f64)>) {
        match self {
            Self::Train(line) => (
                line.step,
                vec![
                    ("train/loss", line.loss),
                    ("train/accuracy", line.accuracy),
                    ("train/learning_rate", line.learning_rate),
                    ("train/gradient_norm", line.gradient_norm),
                    ("train/epoch", line.epoch as f64),
                    ("train/tokens", line.tokens as f64),
                    ("rates/corrupted", line.corrupted),
                    ("rates/masked", line.masked),
                    ("rates/random", line.random),
                    ("rates/same", line.same),
                    ("rates/predicted", line.predicted),
                    ("speed/tokens_per_second", line.tokens_per_second),
                    ("speed/stalled", line.stalled),
                ],
            ),
            Self::Validation(line) => (
                line.step,
                vec![
                    ("validation/loss", line.loss),
                    ("validation/accuracy", line.accuracy),
                ],
            ),
            Self::Spike(spike) => (
                spike.step,
                vec![("train/spike", spike.loss.unwrap_or(f64::NAN))],
            ),
        }
    }
}

/// What a run has done that goes on: lines of it stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    /// Steps.
    pub steps: u64,
    /// The steps of the last validation; a stop may have come between them and another.
    pub validated: u64,
}

/// The files, open at their ends.
pub struct Metrics {
    path: PathBuf,
    file: File,
    events: Option<EventFile>,
}

impl Metrics {
    /// Opens `path`, cut back to the lines of what is done, and the file of events in the
    /// folder `events`, if any.
    pub fn resume(path: &Path, done: Done, events: Option<&Path>) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            kind: String,
            step: u64,
        }
        let stays = |line: &str| {
            serde_json::from_str::<Head>(line).is_ok_and(|line| match &line.kind[..] {
                "validation" => line.step <= done.validated,
                _ => line.step <= done.steps,
            })
        };
        let text = if done.steps > 0 && path.exists() {
            fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?
        } else {
            String::new()
        };
        // A line that a kill cut short does not parse, and is younger than the
        // checkpoint, before which the file is synced.
        let kept: String = text
            .split_inclusive('\n')
            .filter(|line| stays(line))
            .collect();
        atomic::write(path, kept.as_bytes())?;
        let file = OpenOptions::new().append(true).open(path);
        Ok(Self {
            path: path.to_owned(),
            file: file.map_err(|e| Error::io("write", path, e))?,
            events: events
                .map(|folder| EventFile::resume(folder, done))
                .transpose()?,
        })
    }

    /// Appends a line.
    pub fn append(&mut self, line: &Line) -> Result<()> {
        let mut json =
            serde_json::to_vec(line).map_err(|error| Error::library("a line of metrics", error))?;
        json.push(b'\n');
        let written = self.file.write_all(&json);
        written.map_err(|e| Error::io("write", &self.path, e))?;
        if let Some(events) = &mut self.events {
            let (step, scalars) = line.scalars();
            events.append(step, &scalars)?;
        }
        Ok(())
    }

    /// Makes all lines survive a power cut.
    pub fn sync(&self) -> Result<()> {
        let synced = self.file.sync_data();
        synced.map_err(|e| Error::io("sync", &self.path, e))?;
        self.events.as_ref().map_or(Ok(()), EventFile::sync)
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
                tokens: 100,
            })
        };
        let mut metrics = Metrics::resume(&path, Done::default(), None).unwrap();
        for step in 1..=3 {
            metrics.append(&line(step)).unwrap();
        }
        let two = Done {
            steps: 2,
            validated: 2,
        };
        metrics
            .file
            .write_all(b"{\"kind\":\"validation\",\"st")
            .unwrap();
        let mut metrics = Metrics::resume(&path, two, None).unwrap();
        metrics.append(&line(3)).unwrap();
        metrics.sync().unwrap();
        let lines = fs::read_to_string(&path).unwrap();
        assert_eq!(lines.lines().count(), 3);
        assert!(lines.starts_with("{\"kind\":\"validation\",\"step\":1,\"loss\":2.5"));
        // Stopped before the validation that is due.
        let one = Done {
            validated: 1,
            ..two
        };
        Metrics::resume(&path, one, None).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
        Metrics::resume(&path, Done::default(), None).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }
}

//! `finetuning.json`: what a grid came to, with its spread.

use super::cell::{Cell, CellResult, predictions};
use super::sentences::{Labels, Sentences, TaskData};
use crate::base::error::{Error, Result};
use crate::config::{FinetuneConfig, Metric, Task};
use crate::evaluation::{Example, Examples, Predictions, Spread, mean_and_deviation, spread_of};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fmt;
use std::path::Path;

/// A run of a setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeedResult {
    /// Its seed.
    pub seed: u64,
    /// Its best epoch on dev, from 1.
    pub epoch: u32,
    /// The metric on dev behind that.
    pub dev: f64,
}

/// A learning rate and a batch size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// The highest learning rate.
    pub learning_rate: f64,
    /// Sentences in a step.
    pub batch_size: u32,
    /// Mean over its runs of the metric on dev.
    pub dev_mean: f64,
    /// Its standard deviation, of several runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev_deviation: Option<f64>,
    /// Its runs.
    pub runs: Vec<SeedResult>,
}

/// Which sentences a result is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Judged {
    /// Those that nothing was chosen by.
    Test,
    /// Those that epochs and setting were chosen by: too good by that much.
    Dev,
}

/// What a grid came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// What was asked.
    pub task: Task,
    /// The classes in the order of the model's outputs; none of numbers.
    pub classes: Vec<String>,
    /// Sentences, or pairs, to train on.
    pub train: u64,
    /// Those to choose by.
    pub dev: u64,
    /// Those to report of; 0 where there are none.
    pub test: u64,
    /// Rows that lost tokens at their end.
    pub truncated: u64,
    /// What predictions are measured by.
    pub metric: Metric,
    /// The settings, in the order in which they were tried.
    pub settings: Vec<Setting>,
    /// The best of them by its mean on dev, from 0; of equal ones the first.
    pub best: u32,
    /// Which sentences the result is of.
    pub judged: Judged,
    /// The metric of the best setting on them.
    pub result: Spread,
    /// The run of the best setting that is in `export/`: the best one on dev.
    pub exported_seed: u64,
}

impl Report {
    /// The report of the runs `results`, which are all of `config`, in order. The interval is
    /// drawn by `seed`.
    pub fn new(
        config: &FinetuneConfig,
        data: &TaskData,
        results: &[CellResult],
        seed: u64,
    ) -> Self {
        let of_settings: Vec<&[CellResult]> = results.chunks(config.seeds.len().max(1)).collect();
        let best = best_setting(&of_settings);
        let chosen = of_settings[best];
        let (judged, sentences) = judged(data);
        let predictions: Vec<Predictions> = chosen
            .iter()
            .map(|run| predictions(sentences, data.classes.len(), &run.outputs))
            .collect();
        let metric = config.metric();
        let sizes = [predictions.len(), sentences.rows.len()];
        let result = spread_of(sizes, seed, |run, times| {
            predictions[run].score_of(metric, times)
        });
        Self {
            task: config.task,
            classes: data.classes.clone(),
            train: data.train.rows.len() as u64,
            dev: data.dev.rows.len() as u64,
            test: data.test.as_ref().map_or(0, |test| test.rows.len() as u64),
            truncated: data.truncated,
            metric,
            settings: of_settings.iter().map(|runs| Setting::of(runs)).collect(),
            best: best as u32,
            judged,
            result,
            exported_seed: best_run(chosen).seed,
        }
    }

    /// The best setting.
    pub fn chosen(&self) -> Option<&Setting> {
        self.settings.get(self.best as usize)
    }

    /// Reads the report that lies in `folder`.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let json = std::fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
        serde_json::from_slice(&json).map_err(|error| {
            Error::corrupt(
                path.display().to_string(),
                error.to_string(),
                "a report as `cloze finetune` wrote it",
                "remove the folder, and fine-tune again",
            )
        })
    }
}

/// The file of a report.
pub const FILE: &str = "finetuning.json";

impl Setting {
    fn of(runs: &[CellResult]) -> Self {
        let devs: Vec<f64> = runs.iter().map(CellResult::dev).collect();
        let (dev_mean, dev_deviation) = mean_and_deviation(&devs);
        let cell = runs[0].cell;
        Self {
            learning_rate: cell.learning_rate,
            batch_size: cell.batch_size,
            dev_mean,
            dev_deviation,
            runs: runs
                .iter()
                .map(|run| SeedResult {
                    seed: run.cell.seed,
                    epoch: run.best,
                    dev: run.dev(),
                })
                .collect(),
        }
    }
}

/// The sentences that a result is of.
pub fn judged(data: &TaskData) -> (Judged, &Sentences) {
    match &data.test {
        Some(test) => (Judged::Test, test),
        None => (Judged::Dev, &data.dev),
    }
}

/// The number of the setting with the highest mean on dev; of equal ones the first.
pub fn best_setting(settings: &[&[CellResult]]) -> usize {
    let means = settings.iter().map(|runs| {
        let devs: Vec<f64> = runs.iter().map(CellResult::dev).collect();
        mean_and_deviation(&devs).0
    });
    first_highest(means)
}

/// The run of a setting that is the best on dev; of equal ones the first.
pub fn best_run(runs: &[CellResult]) -> Cell {
    runs[first_highest(runs.iter().map(CellResult::dev))].cell
}

fn first_highest(values: impl Iterator<Item = f64>) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (place, value) in values.enumerate() {
        if value > best.1 {
            best = (place, value);
        }
    }
    best.0
}

/// Of each judged sentence: of classes (`accuracy`) the share of the runs that are right; of
/// numbers (`squared_error`) the mean over the runs of the squared error.
pub fn examples(data: &TaskData, runs: &[CellResult]) -> Examples {
    let (_, sentences) = judged(data);
    let mut examples = Examples::default();
    let all: Vec<Predictions> = runs
        .iter()
        .map(|run| predictions(sentences, data.classes.len(), &run.outputs))
        .collect();
    for place in 0..sentences.rows.len() {
        let of_run = |run: &Predictions| match run {
            Predictions::Classes {
                labels, predicted, ..
            } => f32::from(u8::from(labels[place] == predicted[place])),
            Predictions::Numbers { labels, predicted } => {
                (labels[place] - predicted[place]).powi(2)
            }
        };
        let name = match data.classes.is_empty() {
            true => "squared_error",
            false => "accuracy",
        };
        let value = all.iter().map(of_run).sum::<f32>() / all.len() as f32;
        examples.push(name, Example { value, weight: 1.0 });
    }
    examples
}

/// `predictions.jsonl`: a line for each run and judged sentence. `id` is the row in its file,
/// from 0, `scores` are logits in the order of the classes.
pub fn lines(data: &TaskData, runs: &[CellResult]) -> String {
    let (_, sentences) = judged(data);
    let mut out = String::new();
    for run in runs {
        let said = predictions(sentences, data.classes.len(), &run.outputs);
        for (place, id) in sentences.ids.iter().enumerate() {
            let head = json!({"seed": run.cell.seed, "id": id});
            let rest = match (&sentences.labels, &said) {
                (Labels::Classes(labels), Predictions::Classes { predicted, .. }) => {
                    let count = data.classes.len();
                    json!({
                        "label": data.classes[labels[place] as usize],
                        "predicted": data.classes[predicted[place] as usize],
                        "scores": run.outputs[place * count..][..count],
                    })
                }
                (Labels::Numbers(labels), _) => {
                    json!({"label": labels[place], "predicted": run.outputs[place]})
                }
                _ => json!({}),
            };
            let mut line = head;
            if let (Some(line), Some(rest)) = (line.as_object_mut(), rest.as_object()) {
                line.extend(rest.clone());
            }
            out += &line.to_string();
            out.push('\n');
        }
    }
    out
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spread = |mean: f64, deviation: Option<f64>| match deviation {
            Some(deviation) => format!("{mean:.4} ± {deviation:.4}"),
            None => format!("{mean:.4}"),
        };
        let metric = serde_json::to_value(self.metric).unwrap_or_default();
        let metric = metric.as_str().unwrap_or_default().replace('_', " ");
        writeln!(
            f,
            "learning rate  batch  {metric} on dev   by seed (best epoch)"
        )?;
        for (place, setting) in self.settings.iter().enumerate() {
            let runs = setting.runs.iter();
            let runs: Vec<String> = runs
                .map(|run| format!("{:.4} ({})", run.dev, run.epoch))
                .collect();
            writeln!(
                f,
                "{:>13}  {:>5}  {:<17}  {}{}",
                format!("{:e}", setting.learning_rate),
                setting.batch_size,
                spread(setting.dev_mean, setting.dev_deviation),
                runs.join(", "),
                if place == self.best as usize {
                    "  ← best"
                } else {
                    ""
                },
            )?;
        }
        let (name, count) = match self.judged {
            Judged::Test => ("test", self.test),
            Judged::Dev => ("dev, which it was chosen on", self.dev),
        };
        let result = &self.result;
        writeln!(
            f,
            "\n{metric} on {name}: {} [{:.4}, {:.4}], {} runs on {count} examples",
            spread(result.mean, result.deviation),
            result.low,
            result.high,
            result.runs,
        )
    }
}

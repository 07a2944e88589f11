//! Keys of `cloze finetune`: the files of a task, and the grid of runs on it. Defaults of the
//! grid and its optimiser are those of RoBERTa on GLUE (Liu et al. 2019, table 10).

use super::keys::check_share;
use super::optimizer::not_negative;
use crate::base::error::{Error, Result};
use crate::config::OptimizerConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What is asked of a sentence, or of a pair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// One of the classes that the training file's labels name.
    #[default]
    Classification,
    /// A number.
    Regression,
}

/// What predictions are measured by; greater is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of examples whose class is right.
    Accuracy,
    /// Harmonic mean of precision and recall of the last class, of two (MRPC, QQP).
    BinaryF1,
    /// Mean over the classes of each one's F1.
    MacroF1,
    /// Matthews correlation coefficient (CoLA); of more than two classes, Gorodkin's (2004).
    Matthews,
    /// Pearson correlation of numbers (STS-B).
    Pearson,
    /// Spearman rank correlation of numbers.
    Spearman,
}

impl Metric {
    /// Whether it is one of numbers.
    pub fn is_of_numbers(self) -> bool {
        matches!(self, Self::Pearson | Self::Spearman)
    }
}

/// A model to classifiers of sentences or pairs, over a grid of learning rates, batch sizes
/// and seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FinetuneConfig {
    /// File to train on: .jsonl, .parquet, .arrow, or tab-separated values; .gz, .zst, .bz2
    /// and .xz are seen by content.
    #[serde(skip_serializing_if = "no_path")]
    pub train: PathBuf,
    /// File that the best epoch and the best setting are chosen on; without it, a share of
    /// the training file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev: Option<PathBuf>,
    /// File that the result is of; without it and its share, it is that of dev.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// Share of the training file that is held out in place of a dev file, drawn by the seed;
    /// without either, 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev_share: Option<f64>,
    /// Share of the training file that is held out in place of a test file, drawn by the
    /// seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_share: Option<f64>,
    /// Tab-separated files begin with a line of names; where not (CoLA), columns are named by
    /// their number, from 0.
    pub header: bool,
    /// Column or field of the sentence.
    pub sentence: String,
    /// That of the second sentence of a pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentence2: Option<String>,
    /// That of the label: text or a number.
    pub label: String,
    /// What is asked.
    pub task: Task,
    /// What predictions are measured by; without it accuracy, of numbers Pearson's
    /// correlation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// The highest learning rate of a run, reached when the warm-up ends; from there it falls
    /// linearly to 0.
    pub learning_rates: Vec<f64>,
    /// Sentences, or pairs, in a step.
    pub batch_sizes: Vec<u32>,
    /// Seeds of the runs of each learning rate and batch size: of the new head, the order of
    /// the sentences and the dropout.
    pub seeds: Vec<u64>,
    /// Most times through the training sentences.
    pub epochs: u32,
    /// Epochs without a better one on dev after which a run ends; the best one is kept.
    pub patience: u32,
    /// Share of all steps in which the learning rate rises from 0.
    pub warmup: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Gradients are scaled down to this norm at most; 0 never scales.
    pub clip: f64,
    /// Dropout on embeddings, attention and feed-forward outputs, and in the head; without
    /// it, the model's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Dropout on attention weights; without it, the model's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention_dropout: Option<f64>,
    /// Tokens of a row, special ones included; what is longer loses its end, of a pair the
    /// longer sentence first.
    pub max_length: u32,
}

fn no_path(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

impl Default for FinetuneConfig {
    fn default() -> Self {
        Self {
            train: PathBuf::new(),
            dev: None,
            test: None,
            dev_share: None,
            test_share: None,
            header: true,
            sentence: "sentence".into(),
            sentence2: None,
            label: "label".into(),
            task: Task::Classification,
            metric: None,
            learning_rates: vec![1e-5, 2e-5, 3e-5],
            batch_sizes: vec![16, 32],
            seeds: vec![1, 2, 3, 4, 5],
            epochs: 10,
            patience: 3,
            warmup: 0.06,
            weight_decay: 0.1,
            clip: 0.0,
            dropout: None,
            attention_dropout: None,
            max_length: 128,
        }
    }
}

impl FinetuneConfig {
    /// Makes its paths relative to `folder`.
    pub fn relative_to(&mut self, folder: &Path) {
        let others = [&mut self.dev, &mut self.test];
        for path in others.into_iter().flatten().chain([&mut self.train]) {
            *path = folder.join(&*path);
        }
    }

    /// What predictions are measured by.
    pub fn metric(&self) -> Metric {
        self.metric.unwrap_or(match self.task {
            Task::Classification => Metric::Accuracy,
            Task::Regression => Metric::Pearson,
        })
    }

    /// The share of the training file that is held out for dev, and that for test.
    pub fn shares(&self) -> [f64; 2] {
        let of_dev = if self.dev.is_some() { 0.0 } else { 0.1 };
        [
            self.dev_share.unwrap_or(of_dev),
            self.test_share.unwrap_or(0.0),
        ]
    }

    /// The optimiser of a run.
    pub fn optimizer(&self, learning_rate: f64) -> OptimizerConfig {
        OptimizerConfig {
            learning_rate,
            warmup: self.warmup,
            weight_decay: self.weight_decay,
            clip: self.clip,
            ..OptimizerConfig::default()
        }
    }

    /// Refuses what cannot work.
    pub fn check(&self) -> Result<()> {
        let refuse = |key: &str, found: String, expected: &str, remedy: &str| {
            Err(Error::usage(
                format!("finetune.{key}"),
                found,
                expected,
                remedy,
            ))
        };
        if no_path(&self.train) {
            let expected = "a file of sentences with labels";
            return refuse("train", "nothing".into(), expected, "write --train FILE");
        }
        for (key, share, file) in [
            ("dev", self.dev_share, &self.dev),
            ("test", self.test_share, &self.test),
        ] {
            check_share(&format!("finetune.{key}_share"), share.unwrap_or(0.0))?;
            if let (Some(share), Some(file)) = (share, file) {
                return refuse(
                    &format!("{key}_share"),
                    format!("{share} beside the file {}", file.display()),
                    "one of them",
                    "leave one out",
                );
            }
        }
        let [dev, test] = self.shares();
        if dev + test >= 1.0 || (self.dev.is_none() && dev == 0.0) {
            return refuse(
                "dev_share",
                format!("{dev}, and {test} for test"),
                "a share for dev, and something left to train on",
                "the usual ones are 0.1",
            );
        }
        let metric = self.metric();
        if metric.is_of_numbers() != (self.task == Task::Regression) {
            return refuse(
                "metric",
                format!("{metric:?} of {:?}", self.task),
                "accuracy, binary_f1, macro_f1 or matthews of classes, pearson or spearman of \
                 numbers",
                "set task and metric alike",
            );
        }
        for (key, empty) in [
            ("learning_rates", self.learning_rates.is_empty()),
            ("batch_sizes", self.batch_sizes.is_empty()),
            ("seeds", self.seeds.is_empty()),
        ] {
            if empty {
                return refuse(key, "none".into(), "at least one", "see --help");
            }
        }
        self.check_cells()?;
        for (key, value) in [
            ("epochs", self.epochs),
            ("patience", self.patience),
            ("max_length", self.max_length.saturating_sub(2)),
        ] {
            if value == 0 {
                let expected = "a number above 0, of max_length above 2";
                return refuse(key, "too little".into(), expected, "see --help");
            }
        }
        check_share("finetune.dropout", self.dropout.unwrap_or(0.0))?;
        check_share(
            "finetune.attention_dropout",
            self.attention_dropout.unwrap_or(0.0),
        )?;
        check_share("finetune.warmup", self.warmup)?;
        not_negative("finetune.weight_decay", self.weight_decay)?;
        not_negative("finetune.clip", self.clip)
    }

    fn check_cells(&self) -> Result<()> {
        let twice = |key: &str, value: String| {
            Err(Error::usage(
                format!("finetune.{key}"),
                format!("{value} twice"),
                "each value once",
                "take one of them out",
            ))
        };
        for (place, &rate) in self.learning_rates.iter().enumerate() {
            if !(rate.is_finite() && rate > 0.0) {
                return Err(Error::usage(
                    "finetune.learning_rates",
                    rate.to_string(),
                    "numbers above 0",
                    "the usual ones are 1e-5 to 5e-5, for tiny models 1e-4 to 1e-3",
                ));
            }
            if self.learning_rates[..place].contains(&rate) {
                return twice("learning_rates", rate.to_string());
            }
        }
        for (place, &size) in self.batch_sizes.iter().enumerate() {
            if size == 0 {
                return Err(Error::usage(
                    "finetune.batch_sizes",
                    "0",
                    "at least 1",
                    "the usual ones are 16 and 32",
                ));
            }
            if self.batch_sizes[..place].contains(&size) {
                return twice("batch_sizes", size.to_string());
            }
        }
        for (place, seed) in self.seeds.iter().enumerate() {
            if self.seeds[..place].contains(seed) {
                return twice("seeds", seed.to_string());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl Fn(&mut FinetuneConfig)) -> String {
        let mut config = FinetuneConfig {
            train: "train.tsv".into(),
            ..FinetuneConfig::default()
        };
        config.check().unwrap();
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_key() {
        type Change = fn(&mut FinetuneConfig);
        let changes: [(&str, Change); 10] = [
            ("train", |c| c.train = PathBuf::new()),
            ("dev_share", |c| c.dev_share = Some(0.0)),
            ("dev_share", |c| c.test_share = Some(0.95)),
            ("metric", |c| c.metric = Some(Metric::Pearson)),
            ("metric", |c| {
                c.task = Task::Regression;
                c.metric = Some(Metric::Accuracy);
            }),
            ("learning_rates", |c| c.learning_rates = vec![0.0]),
            ("batch_sizes", |c| c.batch_sizes = vec![8, 8]),
            ("seeds", |c| c.seeds.clear()),
            ("max_length", |c| c.max_length = 2),
            ("test_share", |c| {
                c.test = Some("test.tsv".into());
                c.test_share = Some(0.1);
            }),
        ];
        for (key, change) in changes {
            let message = refused(change);
            assert!(
                message.starts_with(&format!("finetune.{key}: ")),
                "{message}"
            );
        }
    }
}

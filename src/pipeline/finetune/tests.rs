//! What fine-tuning learns and does not learn, and that kills and threads change nothing.

use super::*;
use crate::base::generator::{Generator, Key, Purpose};
use crate::base::token::SpecialTokens;
use crate::config::{Architecture, Metric, ModelConfig};
use crate::evaluation::Examples;
use crate::training::{Model, export};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A folder with a tiny model.
struct Ground {
    folder: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        let vocabulary = Path::new("tests/data/tokenizers/wordpiece-4096/vocab.txt");
        let config = ModelConfig {
            architecture: Architecture::Bert,
            layers: Some(1),
            hidden: Some(16),
            heads: Some(2),
            feed_forward: Some(32),
            positions: Some(32),
            initializer_range: 0.1,
            ..ModelConfig::default()
        };
        let tokenizer = Tokenizer::load(&TokenizeConfig {
            tokenizer: vocabulary.into(),
            ..TokenizeConfig::default()
        })
        .unwrap();
        let size = tokenizer.vocabulary_size();
        let special: &SpecialTokens = tokenizer.special();
        export(&Model::initial(&config, size, 3), special, &model).unwrap();
        fs::copy(vocabulary, model.join("vocab.txt")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn run(&self, config: &FinetuneConfig, output: &str, threads: usize) -> Result<Report> {
        let options = StageOptions {
            threads,
            ..StageOptions::new()
        };
        self.run_with(config, output, &options)
    }

    fn run_with(
        &self,
        config: &FinetuneConfig,
        output: &str,
        options: &StageOptions,
    ) -> Result<Report> {
        let output = self.path(output);
        finetune(config, &self.path("model"), &output, options)?;
        Report::read(&output)
    }
}

const WORDS: [&str; 12] = [
    "the", "house", "was", "in", "water", "for", "man", "with", "night", "old", "time", "hand",
];

fn words(generator: &mut Generator, count: u32) -> Vec<&'static str> {
    (0..count)
        .map(|_| WORDS[generator.below(WORDS.len() as u32) as usize])
        .collect()
}

/// Sentences of a few words; those of the class `good` have the word "light" in them, the
/// others "dark". With `shuffled`, labels say nothing.
fn separable(count: usize, shuffled: bool) -> String {
    let mut generator = Key::default().generator(Purpose::Order);
    let mut out = "sentence\tlabel\n".to_owned();
    for _ in 0..count {
        let good = generator.below(2) == 1;
        let length = 3 + generator.below(5);
        let mut sentence = words(&mut generator, length);
        let place = generator.below(sentence.len() as u32) as usize;
        sentence[place] = if good { "light" } else { "dark" };
        let label = if shuffled {
            generator.below(2) == 1
        } else {
            good
        };
        let label = if label { "good" } else { "bad" };
        let _ = writeln!(out, "{}\t{label}", sentence.join(" "));
    }
    out
}

fn config(train: PathBuf) -> FinetuneConfig {
    FinetuneConfig {
        train,
        dev_share: Some(0.15),
        test_share: Some(0.3),
        learning_rates: vec![3e-3],
        batch_sizes: vec![16],
        seeds: vec![1, 2],
        epochs: 6,
        max_length: 16,
        ..FinetuneConfig::default()
    }
}

#[test]
fn a_separable_task_is_learnt_and_predictions_say_so() {
    let ground = Ground::new();
    let config = config(ground.file("task.tsv", &separable(400, false)));
    let report = ground.run(&config, "out", 2).unwrap();
    assert!(report.result.mean > 0.95, "{report}");
    assert_eq!((report.train, report.dev, report.test), (220, 60, 120));
    assert_eq!(report.classes, ["bad", "good"]);
    assert_eq!((report.judged, report.result.runs), (Judged::Test, 2));
    assert!(report.result.low <= report.result.mean && report.result.mean <= report.result.high);
    assert!(
        report.to_string().contains("accuracy on test: "),
        "{report}"
    );
    // The examples and the predictions are the result.
    let examples = Examples::read(&ground.path("out/examples.json")).unwrap();
    let examples = examples.of("accuracy");
    let mean: f32 = examples.iter().map(|example| example.value).sum::<f32>() / 120.0;
    assert_eq!(examples.len(), 120);
    assert!((f64::from(mean) - report.result.mean).abs() < 1e-6);
    let lines = fs::read_to_string(ground.path("out/predictions.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 240);
    let right = lines
        .iter()
        .filter(|line| line["label"] == line["predicted"]);
    assert!((right.count() as f64 / 240.0 - report.result.mean).abs() < 1e-9);
    let task = fs::read_to_string(&config.train).unwrap();
    let first = task
        .lines()
        .nth(1 + lines[0]["id"].as_u64().unwrap() as usize)
        .unwrap();
    assert!(first.ends_with(lines[0]["label"].as_str().unwrap()));
    // Done is done.
    let manifest = ground.path("out/manifest.json");
    let before = fs::metadata(&manifest).unwrap().modified().unwrap();
    ground.run(&config, "out", 2).unwrap();
    assert_eq!(fs::metadata(&manifest).unwrap().modified().unwrap(), before);
}

#[test]
fn shuffled_labels_give_chance() {
    let ground = Ground::new();
    let config = FinetuneConfig {
        seeds: vec![1],
        ..config(ground.file("task.tsv", &separable(700, true)))
    };
    let report = ground.run(&config, "out", 2).unwrap();
    // Four standard deviations of a share of 210.
    let error = (report.result.mean - 0.5).abs();
    assert!(error < 4.0 * (0.25f64 / 210.0).sqrt(), "{report}");
}

/// Every file below a folder, by its name.
fn bytes(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = PathBuf::from(path.file_name().unwrap());
            let inner = bytes(&path).into_iter();
            found.extend(inner.map(|(file, bytes)| (name.join(file), bytes)));
        } else {
            let name = PathBuf::from(path.file_name().unwrap());
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn a_grid_that_was_stopped_goes_on_with_the_same_bytes_on_any_number_of_threads() {
    let ground = Ground::new();
    let config = FinetuneConfig {
        learning_rates: vec![1e-3, 3e-3],
        epochs: 2,
        ..config(ground.file("task.tsv", &separable(200, false)))
    };
    ground.run(&config, "whole", 1).unwrap();
    let whole = bytes(&ground.path("whole"));
    assert!(
        whole
            .keys()
            .all(|name| !name.starts_with("cells")
                || name.extension() != Some("safetensors".as_ref()))
    );
    assert!(whole.contains_key(Path::new("cells/rate-3e-3-batch-16-seed-2.json")));

    let options = StageOptions {
        threads: 2,
        ..StageOptions::new()
    };
    let second = ground.path("stopped/cells/rate-1e-3-batch-16-seed-2.json");
    let stop = options.stop.clone();
    let stopper = std::thread::spawn(move || {
        while !second.exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let error = ground.run_with(&config, "stopped", &options).unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
    stopper.join().unwrap();
    assert!(!ground.path("stopped/manifest.json").exists());
    // Weights that a kill left nothing of are made again.
    for entry in fs::read_dir(ground.path("stopped/cells")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() == Some("safetensors".as_ref()) {
            fs::remove_file(path).unwrap();
        }
    }
    ground.run(&config, "stopped", 2).unwrap();
    assert_eq!(
        bytes(&ground.path("stopped")).keys().collect::<Vec<_>>(),
        whole.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in bytes(&ground.path("stopped")) {
        assert!(bytes == whole[&name], "{}", name.display());
    }

    // Runs of another grid are not gone on with, nor is their result taken.
    let other = FinetuneConfig {
        epochs: 3,
        ..config.clone()
    };
    let refused = ground.run(&other, "stopped", 2).unwrap_err().to_string();
    assert!(refused.contains("epochs = 2 (now 3)"), "{refused}");
    fs::remove_file(ground.path("stopped/manifest.json")).unwrap();
    let refused = ground.run(&other, "stopped", 2).unwrap_err().to_string();
    assert!(
        refused.contains("a run of another configuration"),
        "{refused}"
    );
}

#[test]
fn numbers_and_pairs_are_learnt() {
    let ground = Ground::new();
    let mut generator = Key::default().generator(Purpose::Resolve);
    let mut lines = String::new();
    for _ in 0..500 {
        let lights = generator.below(5);
        let mut first = words(&mut generator, 3);
        first.extend(std::iter::repeat_n("light", lights as usize));
        let second = words(&mut generator, 3);
        let row = serde_json::json!({
            "a": first.join(" "), "b": second.join(" "), "score": f64::from(lights) / 2.0,
        });
        let _ = writeln!(lines, "{row}");
    }
    let config = FinetuneConfig {
        sentence: "a".into(),
        sentence2: Some("b".into()),
        label: "score".into(),
        task: Task::Regression,
        seeds: vec![1],
        epochs: 8,
        ..config(ground.file("task.jsonl", &lines))
    };
    let report = ground.run(&config, "out", 2).unwrap();
    assert_eq!(report.metric, Metric::Pearson);
    assert!(report.result.mean > 0.9, "{report}");
    let examples = Examples::read(&ground.path("out/examples.json")).unwrap();
    let errors = examples.of("squared_error");
    let error = errors.iter().map(|example| example.value).sum::<f32>() / errors.len() as f32;
    // Half of what the answer 0 would give: the best epoch is chosen by correlation, which scale
    // and offset follow later.
    assert!(error < 0.75, "{error}");
}

#[test]
fn what_cannot_be_used_is_refused_with_file_and_line() {
    let ground = Ground::new();
    let good = ground.file("good.tsv", &separable(40, false));
    let plain = FinetuneConfig {
        dev: Some(good.clone()),
        dev_share: None,
        test_share: None,
        ..config(good)
    };
    let refused = |change: &dyn Fn(&mut FinetuneConfig), wanted: &str| {
        let mut config = plain.clone();
        change(&mut config);
        let message = ground.run(&config, "out", 1).unwrap_err().to_string();
        assert!(message.contains(wanted), "{message}");
    };
    let odd = ground.file(
        "odd.tsv",
        "sentence\tlabel\nthe man\tgood\nthe house\tugly\n",
    );
    refused(
        &|c| c.dev = Some(odd.clone()),
        "odd.tsv, line 3: found the label \"ugly\"",
    );
    refused(
        &|c| c.label = "class".into(),
        "good.tsv, line 1: found columns sentence, label",
    );
    let empty = ground.file("empty.tsv", "sentence\tlabel\n");
    refused(&|c| c.train = empty.clone(), "empty.tsv: found no row");
    let one = ground.file("one.tsv", "sentence\tlabel\na\tgood\nb\tgood\n");
    refused(
        &|c| c.train = one.clone(),
        "one.tsv, column label: found 1 class",
    );
    let numbers = |c: &mut FinetuneConfig| c.task = Task::Regression;
    refused(&numbers, "good.tsv, line 2: found the label");
    let three = ground.file("three.tsv", "sentence\tlabel\na\t1\nb\t2\nc\t3\n");
    refused(
        &|c| {
            c.train = three.clone();
            c.metric = Some(Metric::BinaryF1);
        },
        "found 3 classes, expected two, for binary_f1",
    );
    refused(&|c| c.max_length = 64, "at most the model's 32 positions");
    refused(&|c| c.train = ground.path("none.tsv"), "none.tsv");
}

#[test]
fn rows_are_cut_to_their_length_the_longer_sentence_first() {
    let ground = Ground::new();
    let text = "a\tb\tlabel\nthe man\tthe old house in the water\t10\nman\thouse\t9\nman\t\t10\n";
    let config = FinetuneConfig {
        sentence: "a".into(),
        sentence2: Some("b".into()),
        max_length: 8,
        ..config(ground.file("pairs.tsv", text))
    };
    let config = FinetuneConfig {
        dev: Some(config.train.clone()),
        dev_share: None,
        test_share: None,
        ..config
    };
    let tokenizer = Tokenizer::load(&TokenizeConfig {
        tokenizer: ground.path("model"),
        ..TokenizeConfig::default()
    })
    .unwrap();
    let data = sentences::read(&config, &tokenizer, 1).unwrap();
    // As numbers, not as text.
    assert_eq!(data.classes, ["9", "10"]);
    // The first row, of train and of dev.
    assert_eq!((data.truncated, &data.train.ids[..]), (2, &[0, 1, 2][..]));
    let spelled = |row: usize| {
        let ids = data.train.rows[row].ids.iter();
        let spelled: Vec<&str> = ids.map(|&id| tokenizer.spelling(id)).collect();
        (spelled.join(" "), data.train.rows[row].second)
    };
    assert_eq!(
        spelled(0),
        ("[CLS] the man [SEP] the old house [SEP]".into(), 4)
    );
    assert_eq!(spelled(1), ("[CLS] man [SEP] house [SEP]".into(), 3));
    assert_eq!(spelled(2), ("[CLS] man [SEP] [SEP]".into(), 3));
}

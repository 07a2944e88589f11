//! The stage `finetune`: a model to classifiers of sentences or pairs, over a grid of
//! learning rates, batch sizes and seeds. The setting is chosen by its mean on dev; what it
//! does is told on test. Each run of the grid is a file as soon as it is done, so a grid that
//! was stopped goes on from there with the same bytes.
//!
//! Memory: the sentences; six times the model (weights as they were, are and were at their
//! best, gradients, moments), and the activations of a batch. Disk: two models beside the one
//! that is exported.

mod cell;
mod grid;
mod report;
mod sentences;
#[cfg(test)]
mod tests;

pub use report::{Judged, Report, SeedResult, Setting};

use crate::base::error::{Error, Result};
use crate::config::{FinetuneConfig, Task, TokenizeConfig};
use crate::parallel::chunks;
use crate::pipeline::stage::{Frame, StageOptions};
use crate::pipeline::tokenizer_files;
use crate::storage::source::hash_file;
use crate::storage::{ArtefactKind, FileRecord, InputRecord, Manifest, Standing, atomic, place};
use crate::tokenizer::Tokenizer;
use crate::training::{Classifier, encoder, export_classifier, files};
use grid::{Grid, Runs};
use sentences::TaskData;
use serde::Serialize;
use std::path::{Path, PathBuf};

const STAGE: &str = "finetune";

/// What changes the output; which files, their fingerprints say.
#[derive(Serialize)]
struct Configuration {
    #[serde(flatten)]
    config: FinetuneConfig,
    seed: u64,
}

/// Fine-tunes the model in `model`, a Hugging Face folder or that of a training run, and
/// writes the report `finetuning.json`, `predictions.jsonl`, `examples.json`, the runs of the
/// grid in `cells/` and the best one's model, a Hugging Face folder, in `export/` to `output`.
///
/// The seed of `options` draws the rows that are held out and the intervals; the runs have
/// those of `config`.
///
/// # Errors
/// What [`encoder`] refuses of the model; a file without a row or a column that is named, a
/// label that is no number or of no class of the training file; a run whose loss is not
/// finite; `Interrupted` once the user asked to stop.
pub fn finetune(
    config: &FinetuneConfig,
    model: &Path,
    output: &Path,
    options: &StageOptions,
) -> Result<Manifest> {
    config.check()?;
    place::check_local(output, "runs of the grid, which are renamed")?;
    let folder = model_folder(model);
    let tokenizer = Tokenizer::load(&TokenizeConfig {
        tokenizer: folder.clone(),
        ..TokenizeConfig::default()
    })?;
    let inputs = inputs(config, &folder, &tokenizer)?;
    let [dev_share, test_share] = config.shares();
    let configuration = Configuration {
        config: FinetuneConfig {
            train: PathBuf::new(),
            dev: None,
            test: None,
            dev_share: Some(dev_share),
            test_share: Some(test_share),
            ..config.clone()
        },
        seed: options.seed,
    };
    let kind = ArtefactKind::Finetuning;
    let mut frame = Frame::new(kind, output, &configuration, inputs, options)?;
    if let Standing::Done(manifest) = frame.standing(options)? {
        options.progress.note(STAGE, "done before");
        Runs::of(config, output).remove_weights(&[])?;
        return Ok(*manifest);
    }
    let (model, inherited) = encoder(&folder, [config.dropout, config.attention_dropout])?;
    let positions = model.shape.positions;
    if config.max_length > positions {
        return Err(Error::usage(
            "finetune.max_length",
            config.max_length.to_string(),
            format!("at most the model's {positions} positions"),
            "lower it",
        ));
    }
    let data = sentences::read(config, &tokenizer, options.seed)?;
    tell(config, &data, options);
    let outputs = match config.task {
        Task::Classification => data.classes.len(),
        Task::Regression => 1,
    };
    let fresh = |seed| {
        let mut classifier = Classifier::new(model.clone(), outputs, seed);
        classifier.inherit(&inherited);
        classifier
    };
    let runs = Runs::of(config, output);
    let grid = Grid {
        config,
        data: &data,
        runs: &runs,
        fingerprint: &frame.fingerprint,
        options,
    };
    let results = chunks::with_threads(options.threads, || grid.run(fresh))??;

    let report = Report::new(config, &data, &results, options.seed);
    let from = report.best as usize * config.seeds.len();
    let chosen = &results[from..from + config.seeds.len()];
    let best = report::best_run(chosen);
    let mut classifier = fresh(best.seed);
    classifier.read(&runs.weights(&best))?;
    let export = output.join("export");
    let mut names = export_classifier(&classifier, tokenizer.special(), &data.classes, &export)?;
    let types = model.parameters.token_types.as_ref();
    names.extend(tokenizer_files::write(
        &tokenizer,
        config.max_length,
        types.is_some_and(|types| types.rows() > 1),
        &export,
    )?);
    write(
        &mut frame,
        "predictions.jsonl",
        report::lines(&data, chosen).as_bytes(),
    )?;
    let examples = report::examples(&data, chosen);
    examples.write(&output.join("examples.json"))?;
    enter(&mut frame, "examples.json")?;
    let json = serde_json::to_vec_pretty(&report)
        .map_err(|error| Error::library("JSON of a report", error))?;
    write(&mut frame, report::FILE, &json)?;
    for cell in &runs.cells {
        enter(&mut frame, &format!("cells/{}.json", cell.name()))?;
    }
    for name in names {
        enter(&mut frame, &format!("export/{name}"))?;
    }
    totals(&mut frame, &report);
    let manifest = frame.finish()?;
    // Until here, whoever goes on after a kill needs them.
    runs.remove_weights(&[])?;
    Ok(manifest)
}

/// The Hugging Face folder that `model` is, or that the training run there exported.
fn model_folder(model: &Path) -> PathBuf {
    let export = model.join("export");
    match !model.join("config.json").exists() && export.join("config.json").exists() {
        true => export,
        false => model.to_owned(),
    }
}

fn inputs(
    config: &FinetuneConfig,
    folder: &Path,
    tokenizer: &Tokenizer,
) -> Result<Vec<InputRecord>> {
    let mut inputs = Vec::new();
    let files_of_task = [
        Some(&config.train),
        config.dev.as_ref(),
        config.test.as_ref(),
    ];
    for path in files_of_task.into_iter().flatten().chain(&files(folder)?) {
        inputs.push(InputRecord::of(path)?);
    }
    inputs.push(InputRecord {
        path: format!("tokenizer of {}", folder.display()),
        bytes: tokenizer.to_json().len() as u64,
        fingerprint: tokenizer.fingerprint().to_owned(),
    });
    Ok(inputs)
}

fn tell(config: &FinetuneConfig, data: &TaskData, options: &StageOptions) {
    let count = |sentences: &sentences::Sentences| sentences.rows.len();
    let test = data.test.as_ref().map_or(0, count);
    let (train, dev) = (count(&data.train), count(&data.dev));
    let text = format!("{train} examples to train on, {dev} of dev, {test} of test");
    options.progress.note(STAGE, &text);
    if data.truncated > 0 {
        let text = format!(
            "{} rows were cut to max_length = {} tokens",
            data.truncated, config.max_length
        );
        options.progress.warn(STAGE, &text);
    }
}

fn totals(frame: &mut Frame, report: &Report) {
    for (name, count) in [
        ("train_examples", report.train),
        ("dev_examples", report.dev),
        ("test_examples", report.test),
        ("truncated", report.truncated),
        ("runs", report.result.runs),
    ] {
        frame.total(name, count);
    }
    if let Some(chosen) = report.chosen() {
        frame.total("learning_rate", chosen.learning_rate);
        frame.total("batch_size", chosen.batch_size);
        frame.total("dev_mean", chosen.dev_mean);
    }
    let of = match report.judged {
        Judged::Test => "test",
        Judged::Dev => "dev",
    };
    let result = &report.result;
    frame.total(&format!("{of}_mean"), result.mean);
    if let Some(deviation) = result.deviation {
        frame.total(&format!("{of}_deviation"), deviation);
    }
    frame.total(&format!("{of}_low"), result.low);
    frame.total(&format!("{of}_high"), result.high);
}

fn write(frame: &mut Frame, name: &str, bytes: &[u8]) -> Result<()> {
    atomic::write(frame.output.join(name), bytes)?;
    enter(frame, name)
}

/// Enters the written file `name` into the manifest.
fn enter(frame: &mut Frame, name: &str) -> Result<()> {
    let path = frame.output.join(name);
    let found = std::fs::metadata(&path).map_err(|e| Error::io("read", &path, e))?;
    frame.file(FileRecord {
        name: name.to_owned(),
        bytes: found.len(),
        hash: hash_file(&path)?,
        rows: 0,
        tokens: None,
    });
    Ok(())
}

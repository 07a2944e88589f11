//! `cloze experiment`: trains every setting with every seed over one shard set, measures each
//! model, and makes tables and plots of all.
//!
//! ```text
//! WORK/shards …                         as a pipeline has them
//! WORK/runs/SETTING/seed-N/model        a training run
//!                          /evaluation  what `cloze evaluate` says of it
//!                          /TASK        what `cloze finetune` makes of it
//!                          /examples.json, manifest.json: measured
//! WORK/report/results.json …            tables and plots
//! ```
//!
//! All settings of the first seed come first, then those of the second: an experiment that
//! is ended early has whole seeds. Whatever ends it, started again it goes on with the run
//! and the step where it was, to the same bytes. Runs share nothing but the shards, so
//! `--part I --of N` does every N-th of them on a machine of its own. Costs what its
//! trainings and evaluations cost; the report holds the examples of all runs in memory, 8
//! bytes each and measure.

mod plots;
mod results;
mod tables;
#[cfg(test)]
mod tests;

pub use results::{Compared, Measured, Results};

use crate::base::error::{Error, Result};
use crate::base::part::Part;
use crate::config::{
    Device, EvaluateConfig, ExperimentConfig, FinetuneConfig, Setting, TrainConfig, keys,
};
use crate::evaluation::{Example, Examples};
use crate::pipeline::evaluate::evaluate;
use crate::pipeline::finetune::finetune;
use crate::pipeline::run::{Layout, Pipeline};
use crate::pipeline::stage::{Frame, StageOptions};
use crate::pipeline::train::train;
use crate::shard::ShardSet;
use crate::storage::source::hash_file;
use crate::storage::{ArtefactKind, FileRecord, InputRecord, Manifest, Standing, atomic, place};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What an experiment is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Do {
    /// Runs what is not done, then the report.
    All,
    /// Only the report, of the runs that are done.
    Report,
}

/// An experiment as its file has it.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// Its keys.
    pub config: ExperimentConfig,
    settings: Vec<Setting>,
}

impl Experiment {
    /// Reads the TOML `file`, whose paths are relative to it, with `set` of the form
    /// `table.key=value` on top.
    ///
    /// # Errors
    /// A file that cannot be read; keys and values that are not an experiment's.
    pub fn read(file: &Path, set: &[String]) -> Result<Self> {
        let text = std::fs::read_to_string(file).map_err(|e| Error::io("read", file, e))?;
        let place = file.display().to_string();
        let mut config: ExperimentConfig = keys::from_toml(&place, &text, set)?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let settings = config.settings(&place, folder)?;
        config.relative_to(folder);
        config.check(&settings)?;
        Ok(Self { config, settings })
    }

    /// Runs it in the folder `work`. Gives the results, unless only a part of the runs was to
    /// be done and others are missing.
    ///
    /// # Errors
    /// What a stage refuses; work in `work` that was made with other keys.
    pub fn run(&self, work: &Path, what: Do, options: &StageOptions) -> Result<Option<Results>> {
        let Self { config, settings } = self;
        place::check_local(work, "an experiment's work")?;
        let part = options.part;
        let options = StageOptions {
            part: Part::WHOLE,
            seed: config.seed,
            ..options.clone()
        };
        // Files that are not there are told of before hours of training.
        let files = config.files().into_iter().map(InputRecord::of);
        let mut inputs: Vec<InputRecord> = files.collect::<Result<_>>()?;
        let shards = match &config.shards {
            Some(shards) => shards.clone(),
            None => Layout::new(work).shards,
        };
        if let Some(config) = config.pipeline().filter(|_| what == Do::All) {
            let work = work.to_owned();
            Pipeline { config, work }.run(&[], &options, |_| {})?;
        }
        inputs.push(ShardSet::open(&shards)?.artefact().as_input());
        let cells = cells(config, settings, [work, &shards], &inputs, &options)?;
        if what == Do::All {
            for (number, cell) in (0..).zip(&cells).filter(|(number, _)| part.has(*number)) {
                let which = format!("{} of {}: {}", number + 1, cells.len(), cell.told());
                cell.run(&which, &options)?;
            }
        }
        let mut done = BTreeMap::new();
        for cell in &cells {
            if let Some(examples) = cell.examples(&options)? {
                done.insert((cell.setting.name.as_str(), cell.seed), examples);
            }
        }
        if part != Part::WHOLE && done.len() < cells.len() {
            return Ok(None);
        }
        let results = Results::of(config, settings, &done)?;
        report(config, settings, &results, &work.join("report"), &options)?;
        Ok(Some(results))
    }
}

/// A setting with a seed: one model and all that is measured of it.
struct Cell<'a> {
    config: &'a ExperimentConfig,
    setting: &'a Setting,
    seed: u64,
    folder: PathBuf,
    shards: PathBuf,
    frame: Frame,
}

/// What changes what is measured; which files, their fingerprints say.
#[derive(Serialize)]
struct Configuration<'a> {
    train: TrainConfig,
    evaluate: Option<EvaluateConfig>,
    finetune: BTreeMap<&'a str, FinetuneConfig>,
    seed: u64,
}

impl<'a> Configuration<'a> {
    fn of(config: &'a ExperimentConfig, setting: &Setting, seed: u64) -> Self {
        let without_files = |task: &FinetuneConfig| {
            let [dev_share, test_share] = task.shares();
            FinetuneConfig {
                train: PathBuf::new(),
                dev: None,
                test: None,
                dev_share: Some(dev_share),
                test_share: Some(test_share),
                ..task.clone()
            }
        };
        Self {
            train: setting.train.lasting(),
            evaluate: config.evaluate.clone().map(|evaluate| EvaluateConfig {
                blimp: None,
                device: Device::default(),
                ..evaluate
            }),
            finetune: config
                .finetune
                .iter()
                .map(|(name, task)| (name.as_str(), without_files(task)))
                .collect(),
            seed,
        }
    }
}

fn cells<'a>(
    config: &'a ExperimentConfig,
    settings: &'a [Setting],
    [work, shards]: [&Path; 2],
    inputs: &[InputRecord],
    options: &StageOptions,
) -> Result<Vec<Cell<'a>>> {
    let mut cells = Vec::with_capacity(config.seeds.len() * settings.len());
    for &seed in &config.seeds {
        for setting in settings {
            let folder = work.join("runs").join(&setting.name);
            let folder = folder.join(format!("seed-{seed}"));
            let configuration = Configuration::of(config, setting, seed);
            let kind = ArtefactKind::Experiment;
            cells.push(Cell {
                config,
                setting,
                seed,
                frame: Frame::new(kind, &folder, &configuration, inputs.to_vec(), options)?,
                folder,
                shards: shards.to_owned(),
            });
        }
    }
    Ok(cells)
}

impl Cell<'_> {
    fn told(&self) -> String {
        format!("{}, seed {}", self.setting.name, self.seed)
    }

    /// Trains and measures the model, unless that is done.
    fn run(&self, which: &str, options: &StageOptions) -> Result<()> {
        options.check_stop()?;
        if let Standing::Done(_) = self.frame.standing(options)? {
            let note = format!("run {which}: done before");
            options.progress.note("experiment", &note);
            return Ok(());
        }
        options.progress.note("experiment", &format!("run {which}"));
        let model = self.folder.join("model");
        let seeded = StageOptions {
            seed: self.seed,
            ..options.clone()
        };
        let run = train(&self.setting.train, &self.shards, &model, &seeded)?;
        let mut examples = Examples::default();
        if let Some(validated) = validated(&run) {
            examples.push("validation_loss", validated);
        }
        if let Some(keys) = &self.config.evaluate {
            let folder = self.folder.join("evaluation");
            evaluate(keys, &model, Some(&self.shards), &folder, options)?;
            let measured = Examples::read(&folder.join("examples.json"))?;
            for name in measured.names() {
                for example in measured.of(name) {
                    examples.push(name, example);
                }
            }
        }
        for (name, task) in &self.config.finetune {
            let folder = self.folder.join(name);
            let task = FinetuneConfig {
                seeds: vec![self.seed],
                ..task.clone()
            };
            finetune(&task, &model, &folder, options)?;
            let measured = Examples::read(&folder.join("examples.json"))?;
            for measure in measured.names() {
                let name = match measure {
                    "accuracy" => name.clone(),
                    other => format!("{name}:{other}"),
                };
                for example in measured.of(measure) {
                    examples.push(&name, example);
                }
            }
        }
        let written = examples.write(&self.folder.join(EXAMPLES))?;
        let mut frame = self.frame.clone();
        frame.file(FileRecord {
            name: EXAMPLES.into(),
            bytes: written.bytes,
            hash: written.hash,
            rows: 0,
            tokens: None,
        });
        frame.finish()?;
        Ok(())
    }

    /// What was measured; none where that is not done.
    fn examples(&self, options: &StageOptions) -> Result<Option<Examples>> {
        // What was made otherwise is refused, not removed, by who only looks.
        let looking = StageOptions {
            overwrite: false,
            ..options.clone()
        };
        match self.frame.standing(&looking)? {
            Standing::Done(manifest) => {
                let path = self.folder.join(EXAMPLES);
                // A flipped digit would be another result.
                for record in &manifest.files {
                    record.check(&path)?;
                }
                Examples::read(&path).map(Some)
            }
            Standing::ToDo => Ok(None),
        }
    }
}

const EXAMPLES: &str = "examples.json";

/// The last validation of a training, over its labels taken together.
fn validated(run: &Manifest) -> Option<Example> {
    let loss = run.totals.get("validation_loss")?.as_f64()?;
    Some(Example {
        value: loss as f32,
        weight: 1.0,
    })
}

/// Writes tables and plots. They are made anew each time, of the runs that are there.
fn report(
    config: &ExperimentConfig,
    settings: &[Setting],
    results: &Results,
    folder: &Path,
    options: &StageOptions,
) -> Result<()> {
    let mut frame = Frame::new(
        ArtefactKind::Experiment,
        folder,
        config,
        Vec::new(),
        options,
    )?;
    let json = serde_json::to_vec_pretty(results)
        .map_err(|error| Error::library("JSON of the results", error))?;
    let mut files = vec![
        ("results.json".to_owned(), json),
        ("results.csv".to_owned(), tables::csv(results).into_bytes()),
        (
            "results.md".to_owned(),
            tables::markdown(config, settings, results)?.into_bytes(),
        ),
    ];
    for plot in &config.plot {
        let page = plots::draw(plot, settings, results)?;
        files.push((format!("{}.svg", plot.name), page));
    }
    for (name, bytes) in files {
        atomic::write(folder.join(&name), &bytes)?;
        frame.file(FileRecord {
            hash: hash_file(&folder.join(&name))?,
            bytes: bytes.len() as u64,
            name,
            rows: 0,
            tokens: None,
        });
    }
    frame.total("runs", results.runs);
    frame.total("runs_wanted", results.wanted);
    frame.finish()?;
    Ok(())
}

//! Stages by name, from paths and keys: `cloze.stages` has the functions around these. A
//! stage runs on a thread of its own; the interpreter's waits for it, shows how far it is, and
//! looks for Ctrl-C.

use crate::error::OrException;
use cloze::base::error::{Error, Result};
use cloze::base::part::Part;
use cloze::base::size::ByteSize;
use cloze::config::keys::{from_table, names, overlay, parted, table_of_json, table_of_toml};
use cloze::config::{
    CountConfig, EvaluateConfig, FinetuneConfig, PipelineConfig, QueryConfig, ShardConfig,
    TokenizeConfig, TrainConfig, VocabularyConfig,
};
use cloze::parallel;
use cloze::pipeline::count::{NOT_OF_TEXT, Source, count};
use cloze::pipeline::evaluate::evaluate;
use cloze::pipeline::experiment::{Do, Experiment};
use cloze::pipeline::finetune::finetune;
use cloze::pipeline::merge::{counted_with, merge, merge_to_run};
use cloze::pipeline::run::Pipeline;
use cloze::pipeline::runs::count_run;
use cloze::pipeline::shard::shard;
use cloze::pipeline::stage::StageOptions;
use cloze::pipeline::tokenize::tokenize;
use cloze::pipeline::train::train;
use cloze::pipeline::vocabulary::vocabulary;
use cloze::pipeline::{inspect, plot, query, verify};
use cloze::progress::{Progress, Told};
use cloze::storage::cache;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Between two looks for Ctrl-C.
const PATIENCE: Duration = Duration::from_millis(100);

/// Runs stage `name` on `paths` with `keys`, both JSON objects; what it says, as text. `bars`
/// is told how far it is.
#[pyfunction]
pub fn stage(
    py: Python<'_>,
    name: &str,
    paths: &str,
    keys: &str,
    bars: &Bound<'_, PyAny>,
) -> PyResult<String> {
    let call = Call::read(name, paths, keys).or_exception()?;
    let (sender, told) = channel();
    let mut options = call.options().or_exception()?;
    options.progress = Progress::told_to(sender);
    let stop = options.stop.clone();
    let work = thread::spawn(move || call.run(&options));
    let told = Mutex::new(told);
    let mut meters = Meters(Vec::new());
    let mut broken_off = None;
    loop {
        let next = py.detach(|| next(&told));
        let shown = match next {
            Ok(told) => meters.tell(bars, told),
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let looked = shown
            .and_then(|()| meters.look(bars))
            .and_then(|()| py.check_signals());
        if let Err(error) = looked {
            // The stage ends at its next safe place, and what it finished is kept.
            stop.store(true, Relaxed);
            broken_off.get_or_insert(error);
        }
    }
    let ended = py.detach(|| work.join());
    meters.end(bars)?;
    match (broken_off, ended) {
        (Some(error), _) => Err(error),
        (None, Ok(ended)) => ended.or_exception(),
        (None, Err(_)) => Err(PyRuntimeError::new_err(format!(
            "{name} ended by a panic: please report it with what standard error says"
        ))),
    }
}

fn next(told: &Mutex<Receiver<Told>>) -> std::result::Result<Told, RecvTimeoutError> {
    let told = told.lock().unwrap_or_else(PoisonError::into_inner);
    told.recv_timeout(PATIENCE)
}

/// What is measured at the moment, with the number that the bar has.
struct Meters(Vec<(usize, Arc<AtomicU64>)>);

impl Meters {
    fn tell(&mut self, bars: &Bound<'_, PyAny>, told: Told) -> PyResult<()> {
        match told {
            Told::Note(text) => bars.call_method1("note", (text,))?,
            Told::Warning(text) => bars.call_method1("warning", (text,))?,
            Told::Begins {
                stage,
                unit,
                total,
                done,
            } => {
                let number = bars.call_method1("begins", (stage, unit, total))?;
                self.0.push((number.extract()?, done));
                return Ok(());
            }
        };
        Ok(())
    }

    /// Says how far each is, and forgets those that are over.
    fn look(&mut self, bars: &Bound<'_, PyAny>) -> PyResult<()> {
        for (number, done) in &self.0 {
            bars.call_method1("at", (number, done.load(Relaxed)))?;
            if Arc::strong_count(done) == 1 {
                bars.call_method1("ends", (number,))?;
            }
        }
        self.0.retain(|(_, done)| Arc::strong_count(done) > 1);
        Ok(())
    }

    fn end(&mut self, bars: &Bound<'_, PyAny>) -> PyResult<()> {
        self.look(bars)?;
        for (number, _) in self.0.drain(..) {
            bars.call_method1("ends", (number,))?;
        }
        Ok(())
    }
}

/// What a stage reads and writes.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Paths {
    inputs: Vec<String>,
    source: Option<PathBuf>,
    merge: Vec<PathBuf>,
    runs: bool,
    tokens: Option<PathBuf>,
    vocabulary: Option<PathBuf>,
    shards: Option<PathBuf>,
    plot: Option<PathBuf>,
    config: Option<PathBuf>,
    report: bool,
    only: Vec<String>,
    output: PathBuf,
}

impl Paths {
    fn source(&self) -> &Path {
        self.source.as_deref().unwrap_or(Path::new(""))
    }
}

/// Options of every stage.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct OptionKeys {
    threads: Option<u32>,
    memory: Option<ByteSize>,
    seed: Option<u64>,
    scratch: Option<PathBuf>,
    cache: Option<PathBuf>,
    cache_size: Option<ByteSize>,
    overwrite: bool,
    part: Option<u32>,
    of: Option<u32>,
}

impl OptionKeys {
    /// What is given of them; `defaults` stand for what is not.
    fn options(&self, defaults: StageOptions) -> Result<StageOptions> {
        cache::configure(self.cache.clone(), self.cache_size)?;
        let part = match (self.part, self.of) {
            (Some(index), Some(of)) => Part::new(index, of)?,
            (None, None) => Part::WHOLE,
            _ => {
                let found = "one of part and of";
                return Err(Error::usage("part", found, "both", "say part=0, of=4"));
            }
        };
        Ok(StageOptions {
            part,
            threads: self.threads.map_or(defaults.threads, parallel::threads),
            memory: self.memory.unwrap_or(defaults.memory),
            scratch: self.scratch.clone(),
            seed: self.seed.unwrap_or(defaults.seed),
            overwrite: self.overwrite,
            ..defaults
        })
    }
}

/// A stage with its configuration.
enum Stage {
    Tokenize(TokenizeConfig),
    Count(CountConfig, Source),
    CountRun(CountConfig, Source),
    Merge(CountConfig),
    MergeToRun,
    Vocabulary(VocabularyConfig),
    Shard(ShardConfig),
    Train(Box<TrainConfig>),
    Evaluate(EvaluateConfig),
    Finetune(Box<FinetuneConfig>),
    Experiment(Box<Experiment>),
    Run(Box<Pipeline>),
    Verify,
    Inspect(QueryConfig),
}

/// All that a stage needs.
struct Call {
    stage: Stage,
    paths: Paths,
    options: OptionKeys,
}

impl Call {
    fn read(name: &str, paths: &str, keys: &str) -> Result<Self> {
        let paths: Paths = serde_json::from_str(paths)
            .map_err(|error| Error::usage(name, error.to_string(), "paths", "see its help"))?;
        let own = match name {
            "tokenize" => names::<TokenizeConfig>()?,
            "count" => names::<CountConfig>()?,
            "vocabulary" => names::<VocabularyConfig>()?,
            "shard" => names::<ShardConfig>()?,
            "train" => names::<TrainConfig>()?,
            "evaluate" => names::<EvaluateConfig>()?,
            "finetune" => names::<FinetuneConfig>()?,
            "inspect" => names::<QueryConfig>()?,
            "run" => names::<PipelineConfig>()?,
            _ => Vec::new(),
        };
        let mut text = Vec::new();
        if name == "count" {
            text = names::<TokenizeConfig>()?;
            text.retain(|key| !NOT_OF_TEXT.contains(&key.as_str()));
        }
        let mut all = names::<OptionKeys>()?;
        // Those that a pipeline says itself.
        all.retain(|key| !own.contains(key));
        if !matches!(name, "tokenize" | "count" | "shard" | "experiment") {
            all.retain(|key| key != "part" && key != "of");
        }
        let table = table_of_json(name, keys)?;
        let [mut keys, text, options] = parted(name, table, [&own, &text, &all])?;
        let options: OptionKeys = from_table(name, options)?;
        let stage = match name {
            "tokenize" => {
                keys.insert("inputs".into(), paths.inputs.clone().into());
                Stage::Tokenize(from_table(name, keys)?)
            }
            "count" => counting(keys, text, &paths, &options)?,
            "vocabulary" => Stage::Vocabulary(from_table(name, keys)?),
            "shard" => Stage::Shard(from_table(name, keys)?),
            "train" => Stage::Train(Box::new(training(keys, &paths)?)),
            "evaluate" => Stage::Evaluate(from_table(name, keys)?),
            "finetune" => Stage::Finetune(Box::new(from_table(name, keys)?)),
            "experiment" => {
                let mut experiment = Experiment::read(paths.source(), &[])?;
                experiment.config.seed = options.seed.unwrap_or(experiment.config.seed);
                Stage::Experiment(Box::new(experiment))
            }
            "run" => {
                let over = |table: &mut toml::Table| {
                    overlay(table, keys);
                    Ok(())
                };
                let mut pipeline = Pipeline::read(paths.source(), over)?;
                if !paths.output.as_os_str().is_empty() {
                    pipeline.work = paths.output.clone();
                }
                Stage::Run(Box::new(pipeline))
            }
            "inspect" => Stage::Inspect(from_table(name, keys)?),
            _ => Stage::Verify,
        };
        Ok(Self {
            stage,
            paths,
            options,
        })
    }

    fn options(&self) -> Result<StageOptions> {
        let defaults = match &self.stage {
            Stage::Run(pipeline) => pipeline.options(),
            _ => StageOptions::new(),
        };
        self.options.options(defaults)
    }

    fn run(self, options: &StageOptions) -> Result<String> {
        let Self { stage, paths, .. } = self;
        let (source, output) = (paths.source(), paths.output.as_path());
        match stage {
            Stage::Tokenize(config) => tokenize(&config, output, options)?,
            Stage::Count(config, source) => count(&config, source, output, options)?,
            Stage::CountRun(config, source) => count_run(&config, source, output, options)?,
            Stage::Merge(config) => merge(&config, &paths.merge, output, options)?,
            Stage::MergeToRun => merge_to_run(&paths.merge, output, options)?,
            Stage::Vocabulary(config) => {
                let counts = paths.source.as_deref();
                let tokens = paths.tokens.as_deref();
                let manifest = vocabulary(&config, counts, tokens, output, options)?;
                if let (Some(counts), Some(file)) = (counts, &paths.plot) {
                    plot::plot(&config, counts, file, options)?;
                }
                manifest
            }
            Stage::Shard(config) => {
                let vocabulary = paths.vocabulary.as_deref();
                shard(&config, source, vocabulary, output, options)?
            }
            Stage::Train(config) => train(&config, source, output, options)?,
            Stage::Evaluate(config) => {
                evaluate(&config, source, paths.shards.as_deref(), output, options)?
            }
            Stage::Finetune(config) => finetune(&config, source, output, options)?,
            Stage::Experiment(experiment) => {
                let what = if paths.report { Do::Report } else { Do::All };
                let results = experiment.run(output, what, options)?;
                return Ok(json!(results).to_string());
            }
            Stage::Run(pipeline) => {
                let summary = pipeline.run(&paths.only, options, |_| {})?;
                return Ok(json!([pipeline.work, summary.to_string()]).to_string());
            }
            Stage::Verify => {
                let verified = verify::verify(source, options)?;
                return Ok(json!([verified.files, verified.bytes, verified.rows]).to_string());
            }
            Stage::Inspect(config) if config.asks() => {
                return query::query(source, &config, options);
            }
            Stage::Inspect(_) => return inspect::inspect(source),
        };
        Ok(String::new())
    }
}

/// Counting in one of its ways, by what there is to count.
fn counting(
    keys: toml::Table,
    mut text: toml::Table,
    paths: &Paths,
    options: &OptionKeys,
) -> Result<Stage> {
    let given = [
        paths.source.is_some(),
        !paths.inputs.is_empty(),
        !paths.merge.is_empty(),
    ];
    if given.iter().filter(|&&one| one).count() != 1 {
        return Err(Error::usage(
            "count",
            "none or several of tokens, input and merge",
            "one of them",
            "say what is counted: token files, raw text, or runs to be joined",
        ));
    }
    if paths.inputs.is_empty()
        && let Some(key) = text.keys().next()
    {
        return Err(Error::usage(
            format!("count, key {key}"),
            "a key for raw text, but no input",
            "input with the text to count",
            "leave the key out to count token files",
        ));
    }
    if !paths.merge.is_empty() {
        if paths.runs {
            return Ok(Stage::MergeToRun);
        }
        let mut table = toml::Table::try_from(counted_with(&paths.merge)?)
            .map_err(|error| Error::library("configuration of runs", error))?;
        overlay(&mut table, keys);
        return Ok(Stage::Merge(from_table("count", table)?));
    }
    let config = from_table("count", keys)?;
    let source = match &paths.source {
        Some(tokens) => Source::from(tokens),
        None => {
            text.insert("inputs".into(), paths.inputs.clone().into());
            from_table::<TokenizeConfig>("count", text)?.into()
        }
    };
    Ok(match paths.runs || options.part.is_some() {
        true => Stage::CountRun(config, source),
        false => Stage::Count(config, source),
    })
}

/// What a file says of training, and keys on top.
fn training(keys: toml::Table, paths: &Paths) -> Result<TrainConfig> {
    let Some(file) = &paths.config else {
        return from_table("train", keys);
    };
    let place = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| Error::io("read", file, error))?;
    let mut table = table_of_toml(&place, &text, "train")?;
    overlay(&mut table, keys);
    from_table(&place, table)
}

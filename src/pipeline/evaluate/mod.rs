//! The stage `evaluate`: a trained model to figures of what it can do, each with its
//! interval.
//!
//! Costs a forward pass over the held-out rows for each strategy and rate
//! (the default three rates of 2 048 rows of 128 tokens: 0.8 M tokens), and for minimal pairs
//! what [`crate::evaluation::likelihood`] says. Memory: the model, one pass, and some 2 kB
//! a row. On the CPU the figures are a function of model, shards and keys, not of threads.

mod blimp;
mod rows;
mod subject;

use crate::base::error::{Error, Result};
use crate::config::{Device, EvaluateConfig, Strategy};
use crate::evaluation::report::{EvaluatedModel, Evaluation};
use crate::evaluation::{Examples, measure, pairs};
use crate::parallel::chunks;
use crate::pipeline::stage::{Frame, StageOptions};
use crate::shard::ShardSet;
use crate::storage::atomic::{self, Written};
use crate::storage::{ArtefactKind, FileRecord, InputRecord, Manifest, Standing, place};
use crate::tokenizer::read_written;
use crate::training::Predictor;
use blimp::PairFile;
use rows::Rows;
use serde::Serialize;
use std::path::Path;
use subject::Subject;

const STAGE: &str = "evaluate";

/// What was found, in the folder of an evaluation.
pub const REPORT: &str = "evaluation.json";
/// What each figure is a mean of.
pub const EXAMPLES: &str = "examples.json";
/// How likely the sentences of each pair are.
const PAIRS: &str = "blimp.jsonl";

/// What changes the output: all keys but the device, whose figures differ by rounding; of the
/// file of pairs what is in it, which its fingerprint among the inputs says.
#[derive(Serialize)]
struct Configuration {
    #[serde(flatten)]
    config: EvaluateConfig,
    /// Of the bootstrap.
    seed: u64,
}

/// Evaluates `model`, a folder that `cloze train` wrote or any Hugging Face folder of a
/// masked language model, on the rows that `shards` hold out and on the pairs that `config`
/// names. Writes `evaluation.json` ([`Evaluation`]), `examples.json` ([`Examples`]) and for
/// pairs `blimp.jsonl` to `output`.
///
/// # Errors
/// A run that has not ended, shards of another tokenizer than the model's, rows or sentences
/// longer than its positions, strategy pmi on shards without units, a file of pairs with a
/// line that is none; and `Interrupted`.
pub fn evaluate(
    config: &EvaluateConfig,
    model: &Path,
    shards: Option<&Path>,
    output: &Path,
    options: &StageOptions,
) -> Result<Manifest> {
    config.check()?;
    place::check_local(output, "an evaluation")?;
    if shards.is_none() && (config.profile || config.blimp.is_none()) {
        return Err(Error::usage(
            "--shards",
            "no shards",
            "the folder that `cloze shard` wrote",
            "name it; without shards there are only minimal pairs: --blimp FILE",
        ));
    }
    let subject = Subject::open(model)?;
    let set = shards.map(ShardSet::open).transpose()?;
    let mut inputs = subject.inputs()?;
    inputs.extend(set.as_ref().map(|set| set.artefact().as_input()));
    if let Some(file) = &config.blimp {
        inputs.push(InputRecord::of(file)?);
    }
    let configuration = Configuration {
        config: EvaluateConfig {
            blimp: None,
            device: Device::default(),
            ..config.clone()
        },
        seed: options.seed,
    };
    let kind = ArtefactKind::Evaluation;
    let mut frame = Frame::new(kind, output, &configuration, inputs, options)?;
    if let Standing::Done(manifest) = frame.standing(options)? {
        options.progress.note(STAGE, "done before");
        return Ok(*manifest);
    }
    if let Some(set) = &set
        && subject.is_of_other(set)
    {
        options.progress.note(
            STAGE,
            "the shards are not those that the run was trained on",
        );
    }
    let threads = options.threads;
    let Measured {
        evaluation,
        examples,
        pairs,
    } = chunks::with_threads(threads, || measured(config, &subject, set, options))??;
    for masked in &evaluation.masked {
        let (strategy, rate) = (masked.strategy, masked.rate);
        frame.total(&measure("loss", strategy, rate), masked.loss.mean);
        frame.total(&measure("accuracy", strategy, rate), masked.accuracy.mean);
    }
    let mut labels: u64 = evaluation.masked.iter().map(|masked| masked.labels).sum();
    if let Some(pairs) = &evaluation.blimp {
        frame.total("blimp", pairs.accuracy.mean);
        labels += pairs.labels;
    }
    frame.total("labels", labels);
    if let Some(pairs) = pairs {
        enter(
            &mut frame,
            PAIRS,
            atomic::write(output.join(PAIRS), &pairs)?,
        );
    }
    let written = examples.write(&output.join(EXAMPLES))?;
    enter(&mut frame, EXAMPLES, written);
    let written = evaluation.write(&output.join(REPORT))?;
    enter(&mut frame, REPORT, written);
    frame.finish()
}

fn enter(frame: &mut Frame, name: &str, written: Written) {
    frame.file(FileRecord {
        name: name.into(),
        bytes: written.bytes,
        hash: written.hash,
        rows: 0,
        tokens: None,
    });
}

/// What is written.
struct Measured {
    evaluation: Evaluation,
    examples: Examples,
    /// Lines of JSON, one a pair.
    pairs: Option<Vec<u8>>,
}

fn measured(
    config: &EvaluateConfig,
    subject: &Subject,
    set: Option<ShardSet>,
    options: &StageOptions,
) -> Result<Measured> {
    let predictor = Predictor::new(subject.model()?, config.device, config.precision)?;
    let model = predictor.model();
    let tokenizer = subject.tokenizer()?;
    if let Some(set) = &set {
        let record = set.tokenizer()?;
        let of_shards = read_written(set.artefact().folder(), record)?;
        subject.check_ids(model, tokenizer.as_ref(), &of_shards)?;
    }
    // Before the long work, so that a wrong file is told of at once.
    let file = match &config.blimp {
        None => None,
        Some(file) => {
            let tokenizer = subject.require_tokenizer(tokenizer)?;
            let read = PairFile::read(file, config, subject, (model, &tokenizer))?;
            Some(read)
        }
    };
    let named = model.parameters.named();
    let mut measured = Measured {
        evaluation: Evaluation {
            model: EvaluatedModel {
                architecture: model.shape.architecture,
                parameters: named.iter().map(|(_, matrix)| matrix.len() as u64).sum(),
                vocabulary: model.vocabulary() as u64,
            },
            rows: None,
            masked: Vec::new(),
            blimp: None,
        },
        examples: Examples::default(),
        pairs: None,
    };
    if let Some(set) = set {
        let rows = Rows::open(config, subject, model, set)?;
        measured.rows(config, subject, &predictor, &rows, options)?;
    }
    if let Some(file) = file {
        measured.pairs(&predictor, file, options)?;
    }
    Ok(measured)
}

impl Measured {
    fn rows(
        &mut self,
        config: &EvaluateConfig,
        subject: &Subject,
        predictor: &Predictor,
        rows: &Rows<'_>,
        options: &StageOptions,
    ) -> Result<()> {
        let mut rates = config.rates.clone();
        rates.extend(subject.training_rate().filter(|_| config.training_rate));
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        let mut strategies = Strategy::ALL.to_vec();
        strategies.retain(|strategy| config.strategies.contains(strategy));
        let passes = rates.len() * strategies.len();
        let total = rows.count() * passes as u64;
        let meter = options.progress.meter(STAGE, "rows", Some(total));
        for &strategy in &strategies {
            for &rate in &rates {
                let (sums, maskable) = rows.masked(predictor, strategy, rate, |rows| {
                    meter.add(rows);
                    options.check_stop()
                })?;
                let profile = config.profile && strategy == Strategy::Uniform;
                let units = rows.has_units();
                let found = sums.report(maskable, units, profile, options.seed);
                if found.is_some() {
                    sums.enter(&mut self.examples);
                }
                self.evaluation.masked.extend(found);
            }
        }
        self.evaluation.rows = Some(rows.report());
        meter.finish(&format!("held-out rows, masked in {passes} ways"));
        Ok(())
    }

    fn pairs(
        &mut self,
        predictor: &Predictor,
        file: PairFile,
        options: &StageOptions,
    ) -> Result<()> {
        let (count, labels) = (file.len() as u64, file.labels());
        let meter = options.progress.meter(STAGE, "pairs", Some(count));
        let judged = file.judge(predictor, |done| {
            meter.add((done as u64).saturating_sub(meter.done()));
            options.check_stop()
        })?;
        pairs::enter(&judged, &mut self.examples);
        self.evaluation.blimp = pairs::report(&judged, labels, options.seed);
        let mut lines = Vec::new();
        for pair in &judged {
            serde_json::to_writer(&mut lines, pair)
                .map_err(|error| Error::library("JSON of a pair", error))?;
            lines.push(b'\n');
        }
        self.pairs = Some(lines);
        meter.finish(&format!("{count} minimal pairs"));
        Ok(())
    }
}

//! The stage `train`: shards to a trained model. Opens the rows, holds the last ones
//! out, trains on the others, and exports a Hugging Face folder.
//!
//! Memory: the model, its gradients and two moments (16 bytes a parameter), the
//! activations of one pass, a window of the shards and the validation rows.

use crate::base::error::{Error, Result};
use crate::base::time_span::TimeSpan;
use crate::batches::reader::{Fill, WINDOW_TOKENS};
use crate::batches::{Corpus, Order, Realised, Stream, Unigram, unigram, validation};
use crate::config::{BatchCounts, TrainConfig};
use crate::pipeline::stage::{Frame, StageOptions};
use crate::pipeline::{masks, start, tokenizer_files};
use crate::progress::short;
use crate::shard::ShardSet;
use crate::storage::place;
use crate::storage::source::hash_file;
use crate::storage::{ArtefactKind, FileRecord, Manifest, Standing, atomic};
use crate::tokenizer::{Role, Tokenizer, read_written, require};
use crate::training::spikes::Verdict;
use crate::training::{Event, Outcome, Run, Trained, export, train as train_model};
use serde::Serialize;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

#[derive(Serialize)]
struct Configuration<'a> {
    #[serde(flatten)]
    train: &'a TrainConfig,
    seed: u64,
}

/// Trains on the shards in `shards` and writes `checkpoints/`, `metrics.jsonl`, the
/// batches of steps that stand out and the Hugging Face folder `export/` to `output`. A
/// run that was stopped goes on from its newest checkpoint with the same losses.
pub fn train(
    config: &TrainConfig,
    shards: &Path,
    output: &Path,
    options: &StageOptions,
) -> Result<Manifest> {
    config.check()?;
    place::check_local(output, "checkpoints, which are renamed")?;
    let set = ShardSet::open_by(shards, config.read)?;
    let record = set.tokenizer()?.clone();
    for role in [Role::Mask, Role::Sep, Role::Pad] {
        require(&record.special_tokens, role)?;
    }
    let fixed = config.lasting();
    let seed = options.seed;
    let configuration = Configuration {
        train: &fixed,
        seed,
    };
    let mut inputs = vec![set.artefact().as_input()];
    inputs.extend(masks::inputs(&config.masking)?);
    inputs.extend(start::inputs(config)?);
    let mut frame = Frame::new(ArtefactKind::Run, output, &configuration, inputs, options)?;
    if let Standing::Done(manifest) = frame.standing(options)? {
        options.progress.note("train", "done before");
        return Ok(*manifest);
    }
    if options.overwrite {
        for folder in ["checkpoints", "spikes", "tensorboard"] {
            remove(&output.join(folder))?;
        }
    }
    let tokenizer = read_written(set.artefact().folder(), &record)?;
    let configuration = as_json(&Configuration {
        train: &TrainConfig {
            spikes: config.spikes.clone(),
            ..fixed.clone()
        },
        seed,
    })?;
    frame.manifest().configuration = configuration.clone();
    // Beside the metrics from the first step on, for those who look at a run on its way.
    let text = format!("{configuration:#}");
    atomic::write(output.join("configuration.json"), text.as_bytes())?;
    // The manifest will name it as well.
    let json = tokenizer.to_json().as_bytes();
    atomic::write(output.join("tokenizer.json"), json)?;

    let corpus = Arc::new(Corpus::open(set, &config.rows)?);
    let split = corpus.split(&config.validation)?;
    let entropy = unigram(&corpus, split)?;
    let pass_rows = pass_rows(config);
    let layout = config.masking.layout;
    let held_out = validation(&corpus, split, &config.validation, layout, pass_rows)?;
    options.progress.note(
        "train",
        &format!(
            "{} rows to train on, {} held out; unigram entropy {:.3} nats",
            split.training, split.held_out, entropy.entropy
        ),
    );
    let run = Run {
        config,
        seed: options.seed,
        fingerprint: &frame.fingerprint,
        output,
        threads: options.threads,
        stop: &options.stop,
    };
    let counts = masks::needs_counts(&config.masking).then_some(&entropy.counts[..]);
    let mut masking = config.masking.clone();
    if let Some(steps) = config.last_step() {
        masking = masking.with_steps(steps);
    }
    let masker = masks::masker(&masking, &tokenizer, counts)?;
    let order = Order {
        seed: options.seed,
        batch_rows: pass_rows,
        step_rows: config.batch_size,
        fill: None,
        training: split.training,
        window_tokens: WINDOW_TOKENS,
    };
    let outcome = train_model(
        run,
        start::model(config, &tokenizer, &entropy.counts, options.seed)?,
        |position, first_step| {
            let fill = fill(config, first_step);
            let order = Order { fill, ..order };
            let mut stream = Stream::open(corpus.clone(), masker, order, position)?;
            let mut warned = false;
            Ok(move || {
                let batch = stream.read()?;
                if batch.realised.capped > 0 && !warned {
                    warned = true;
                    options.progress.warn("train", &capped(&batch.realised));
                }
                Ok(batch)
            })
        },
        &held_out,
        |event| tell(config, options, &event),
    )?;
    finish(&mut frame, &outcome, &entropy, &tokenizer)?;
    frame.manifest().tokenizer = Some(record);
    frame.finish()
}

/// Exports the model and its tokenizer and enters files and totals into the manifest.
fn finish(
    frame: &mut Frame,
    outcome: &Outcome,
    entropy: &Unigram,
    tokenizer: &Tokenizer,
) -> Result<()> {
    let folder = frame.output.join("export");
    let special = tokenizer.special();
    let mut files = export(&outcome.model, special, &folder)?;
    let positions = outcome.model.shape.positions;
    files.extend(tokenizer_files::write(
        tokenizer, positions, false, &folder,
    )?);
    for name in files {
        let path = folder.join(name);
        let bytes = std::fs::metadata(&path)
            .map_err(|e| Error::io("read", &path, e))?
            .len();
        frame.file(FileRecord {
            name: format!("export/{name}"),
            bytes,
            hash: hash_file(&path)?,
            rows: 0,
            tokens: None,
        });
    }
    frame.total("steps", outcome.steps);
    frame.total("tokens_trained", outcome.tokens);
    frame.total("unigram_entropy", entropy.entropy);
    if let Some(last) = outcome.last {
        frame.total("validation_loss", last.loss);
        frame.total("validation_accuracy", last.accuracy);
    }
    if let Some(best) = outcome.best {
        frame.total("best_validation_loss", best.loss);
        frame.total("best_validation_step", best.step);
    }
    Ok(())
}

/// A cap that binds changes the rate that was asked for: never in silence.
fn capped(realised: &Realised) -> String {
    format!(
        "max_predictions binds: {} labels of this batch are left out, and {:.1} % of its \
         maskable tokens carry one; raise it, or lower the rate",
        realised.capped,
        100.0 * realised.predicted as f64 / realised.maskable.max(1) as f64,
    )
}

/// What belongs to a run of another configuration, which the user asked to have redone.
fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", folder, e)),
        _ => Ok(()),
    }
}

fn as_json(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::library("JSON of a run", error))
}

/// Rows of a pass before copies; about so many where they are not fixed.
fn pass_rows(config: &TrainConfig) -> usize {
    let rows = match config.batch_tokens {
        Some(tokens) => tokens / u64::from(config.rows.length),
        None => config.batch_size.into(),
    };
    (rows / u64::from(config.accumulation)).max(1) as usize
}

/// What fills steps from `first_step` on, where their rows are not fixed.
fn fill(config: &TrainConfig, first_step: u64) -> Option<Fill> {
    (!config.has_fixed_rows()).then(|| Fill {
        target: config.batch_tokens.unwrap_or(config.batch_size.into()),
        tokens: config.batch_tokens.is_some(),
        copies: config.batch_counts == BatchCounts::Copies,
        passes: config.accumulation,
        first_step,
    })
}

fn tell(config: &TrainConfig, options: &StageOptions, event: &Event) {
    let told = &options.progress;
    match event {
        Event::Resumed(step) => told.note("train", &format!("goes on from step {step}")),
        Event::Trained(line) => {
            // A line of numbers always has its JSON.
            let figures = as_json(line).unwrap_or_default();
            told.figures("train", &progress(config, line), figures);
        }
        Event::Validated(line) => told.figures(
            "train",
            &format!(
                "step {}: validation loss {:.3}, {:.1} % of {} masked tokens right",
                line.step,
                line.loss,
                100.0 * line.accuracy,
                line.labels
            ),
            as_json(line).unwrap_or_default(),
        ),
        Event::Spiked(spike) => {
            let file = spike.file.as_ref().map_or(String::new(), |file| {
                format!("; its batch is in {file}, for `cloze inspect`")
            });
            let became = match spike.verdict {
                Verdict::Taken => "the step was taken",
                Verdict::Skipped => "the step was passed over",
                Verdict::Stopped => "the run ends",
            };
            let (step, what) = (spike.step, spike.told());
            told.warn("train", &format!("step {step}: {what}; {became}{file}"));
        }
        Event::Saved(_) => {}
        Event::Stopped(0) => told.note("train", "stopped before the first step"),
        Event::Stopped(step) => told.note(
            "train",
            &format!("stopped; a checkpoint of all {step} steps is written"),
        ),
    }
}

/// A line of progress: where the run is, its loss and rates, and what is left.
fn progress(config: &TrainConfig, line: &Trained) -> String {
    let of = config
        .last_step()
        .map_or(String::new(), |steps| format!(" of {steps}"));
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let mut rates = format!("corrupted {}", percent(line.corrupted));
    if line.random > 0.0 {
        let (masked, random) = (percent(line.masked), percent(line.random));
        rates += &format!(" (masked {masked}, random {random})");
    }
    if line.same > 0.0 {
        rates += &format!(", same {}", percent(line.same));
    }
    format!(
        "step {}{of}: loss {:.3}, {} tokens a second, {rates}, predicted {}, {} left",
        line.step,
        line.loss,
        short(line.tokens_per_second),
        percent(line.predicted),
        TimeSpan(line.seconds_left).rough(),
    )
}

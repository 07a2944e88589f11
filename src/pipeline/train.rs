//! The stage `train`: shards to a trained model. Opens the rows, holds the last ones
//! out, trains on the others, and exports a Hugging Face folder.
//!
//! Memory: the model, its gradients and two moments (16 bytes a parameter), the
//! activations of one pass, a window of the shards and the validation rows.

use crate::base::error::{Error, Result};
use crate::batches::{Corpus, Order, Realised, Stream, Unigram, reader, unigram, validation};
use crate::config::{Device, ShardRead, TrainConfig};
use crate::pipeline::stage::{Frame, StageOptions};
use crate::pipeline::{masks, start};
use crate::progress::short;
use crate::shard::ShardSet;
use crate::storage::place;
use crate::storage::source::hash_file;
use crate::storage::{ArtefactKind, FileRecord, Manifest, Standing, atomic};
use crate::tokenizer::{Role, Tokenizer, read_written, require};
use crate::training::{Event, Outcome, Run, export, train as train_model};
use serde::Serialize;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

#[derive(Serialize)]
struct Configuration<'a> {
    #[serde(flatten)]
    train: &'a TrainConfig,
    seed: u64,
}

/// Trains on the shards in `shards` and writes `checkpoints/`, `metrics.jsonl` and the
/// Hugging Face folder `export/` to `output`. A run that was stopped goes on from its
/// newest checkpoint with the same losses.
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
    // How shards are read changes nothing, and a run may move to another device: it goes
    // on either way.
    let configuration = Configuration {
        train: &TrainConfig {
            read: ShardRead::default(),
            device: Device::default(),
            ..config.clone()
        },
        seed: options.seed,
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
        remove_checkpoints(output)?;
    }
    let tokenizer = read_written(set.artefact().folder(), &record)?;

    let corpus = Arc::new(Corpus::open(set, &config.rows)?);
    let split = corpus.split(&config.validation)?;
    let entropy = unigram(&corpus, split)?;
    let pass_rows = (config.batch_size / config.accumulation) as usize;
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
    let masking = config.masking.clone().with_steps(config.steps);
    let masker = masks::masker(&masking, &tokenizer, counts)?;
    let order = Order {
        seed: options.seed,
        batch_rows: pass_rows,
        step_rows: config.batch_size,
        training: split.training,
        window_tokens: reader::WINDOW_TOKENS,
    };
    let outcome = train_model(
        run,
        start::model(config, &tokenizer, &entropy.counts, options.seed)?,
        |position| {
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
    finish(&mut frame, config, &outcome, &entropy, &tokenizer)?;
    frame.manifest().tokenizer = Some(record);
    frame.finish()
}

/// Exports the model and its tokenizer and enters files and totals into the manifest.
fn finish(
    frame: &mut Frame,
    config: &TrainConfig,
    outcome: &Outcome,
    entropy: &Unigram,
    tokenizer: &Tokenizer,
) -> Result<()> {
    let folder = frame.output.join("export");
    let special = tokenizer.special();
    let mut files = export(&outcome.model, special, &folder)?;
    // The manifest names the tokenizer's file beside it; transformers wants it beside
    // the model.
    let json = tokenizer.to_json().as_bytes();
    atomic::write(frame.output.join("tokenizer.json"), json)?;
    atomic::write(folder.join("tokenizer.json"), json)?;
    let spelling = |id: Option<u32>| id.map(|id| tokenizer.spelling(id));
    let tokenizer_config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": outcome.model.shape.positions,
        "mask_token": spelling(special.mask),
        "cls_token": spelling(special.cls),
        "sep_token": spelling(special.sep),
        "pad_token": spelling(special.pad),
        "unk_token": spelling(special.unk),
    });
    let text = serde_json::to_vec_pretty(&tokenizer_config)
        .map_err(|e| Error::library("tokenizer_config.json", e))?;
    atomic::write(folder.join("tokenizer_config.json"), &text)?;
    files.extend(["tokenizer.json", "tokenizer_config.json"]);
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
    frame.total("steps", config.steps);
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

/// Checkpoints of another configuration, which the user asked to have redone.
fn remove_checkpoints(output: &Path) -> Result<()> {
    let folder = output.join("checkpoints");
    match std::fs::remove_dir_all(&folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &folder, e)),
        _ => Ok(()),
    }
}

fn tell(config: &TrainConfig, options: &StageOptions, event: &Event) {
    let text = match event {
        Event::Resumed(step) => format!("goes on from step {step}"),
        Event::Trained(line) => {
            let step_tokens = f64::from(config.batch_size)
                * config.masking.mean_copies(config.steps)
                * f64::from(config.rows.length);
            let left = (config.steps - line.step) as f64 * step_tokens / line.tokens_per_second;
            format!(
                "step {} of {}: loss {:.3}, {} tokens a second, {left:.0} s left",
                line.step,
                config.steps,
                line.loss,
                short(line.tokens_per_second)
            )
        }
        Event::Validated(line) => format!(
            "step {}: validation loss {:.3}, {:.1} % of {} masked tokens right",
            line.step,
            line.loss,
            100.0 * line.accuracy,
            line.labels
        ),
        Event::Saved(_) => return,
    };
    options.progress.note("train", &text);
}

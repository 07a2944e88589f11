//! The training loop: schedule, passes, clip, step, log, validate, checkpoint.

use super::checkpoint::{Checkpoints, State};
use super::engine::{ByHand, Engine};
use super::metrics::{self, Line, Metrics, Trained, Validated};
use super::model::{Model, Noise};
use super::ops::cross_entropy::Tally;
use super::optimizer::{self, AdamW};
use crate::base::error::{Error, Result};
use crate::batches::{Batch, Position, Realised};
use crate::config::TrainConfig;
use crate::parallel::chunks;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A training run.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// What to do.
    pub config: &'a TrainConfig,
    /// Seed of the dropout.
    pub seed: u64,
    /// Tells this configuration and these shards from others; a checkpoint of another
    /// fingerprint is refused.
    pub fingerprint: &'a str,
    /// Where `metrics.jsonl` and `checkpoints/` go.
    pub output: &'a Path,
    /// Threads of the model's arithmetic.
    pub threads: usize,
    /// Set to end the run at the next step, with a checkpoint.
    pub stop: &'a AtomicBool,
}

/// What happens in a run, for whoever watches.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It goes on from the checkpoint of a step.
    Resumed(u64),
    /// A line of metrics on the training.
    Trained(Trained),
    /// A validation.
    Validated(Validated),
    /// A checkpoint was written here.
    Saved(PathBuf),
}

/// A finished run.
#[derive(Debug)]
pub struct Outcome {
    /// The model after the last step.
    pub model: Model,
    /// Its validation; none without validation rows.
    pub last: Option<Validated>,
    /// The validation with the lowest loss on the way.
    pub best: Option<Validated>,
    /// Tokens that went through the model in all steps, padding left out.
    pub tokens: u64,
}

/// Trains `model`, from the newest checkpoint if there is one.
///
/// `open` gives the stream of batches from a position on; a step takes
/// `config.accumulation` of them. The result is a function of the configuration, the
/// seed and the batches: not of threads, and not of how often the run was stopped.
///
/// # Errors
/// A loss that is not finite, a damaged or foreign checkpoint, a batch that the model
/// has no room for, whatever the stream returns, and `Interrupted` once `stop` is set.
pub fn train<N>(
    run: Run<'_>,
    model: Model,
    open: impl FnOnce(Position) -> Result<N> + Send,
    validation: &[Batch],
    watch: impl FnMut(Event) + Send,
) -> Result<Outcome>
where
    N: FnMut() -> Result<Batch> + Send,
{
    chunks::with_threads(run.threads, || steps(run, model, open, validation, watch))?
}

fn steps<N: FnMut() -> Result<Batch>>(
    run: Run<'_>,
    mut model: Model,
    open: impl FnOnce(Position) -> Result<N>,
    validation: &[Batch],
    mut watch: impl FnMut(Event),
) -> Result<Outcome> {
    let config = run.config;
    let keep = config.keep_checkpoints as usize;
    let checkpoints = Checkpoints::new(run.output.join("checkpoints"), keep);
    let mut moments = AdamW::new(&model.parameters);
    let mut state = match checkpoints.resume(run.fingerprint, &mut model, &mut moments)? {
        Some(state) => {
            watch(Event::Resumed(state.step));
            state
        }
        None => State {
            seed: run.seed,
            fingerprint: run.fingerprint.to_owned(),
            ..State::default()
        },
    };
    let mut engine: Box<dyn Engine> = Box::new(ByHand::new(model, moments));
    let mut metrics = Metrics::resume(&run.output.join("metrics.jsonl"), state.step)?;
    let mut next_batch = open(state.position)?;
    let started = Instant::now();
    let (mut logged, mut since) = (state.tokens, Instant::now());

    while state.step < config.steps {
        let learning_rate = optimizer::learning_rate(&config.optimizer, state.step, config.steps);

        let mut tally = Tally::default();
        let mut realised = Realised::default();
        let mut noise = Noise {
            seed: run.seed,
            step: state.step,
            first_row: 0,
        };
        for _ in 0..config.accumulation {
            let batch = next_batch()?;
            tally.add(&engine.backward(&batch, noise)?);
            realised.add(&batch.realised);
            noise.first_row += batch.rows as u64;
            state.tokens += metrics::tokens(&batch);
            state.position = batch.after;
        }
        refuse_infinite(&tally, state.step + 1)?;

        let logs = (state.step + 1).is_multiple_of(config.log_every);
        let mut gradient_norm = 0.0;
        // Without a label there is no gradient, and nothing moves.
        if tally.labels > 0 {
            let mut scale = 1.0 / tally.over as f64;
            let clip = config.optimizer.clip;
            if logs || clip > 0.0 {
                gradient_norm = engine.gradient_norm(scale)?;
            }
            if clip > 0.0 && gradient_norm > clip {
                scale *= clip / gradient_norm;
            }
            engine.update(&config.optimizer, scale, state.step, learning_rate)?;
        }
        state.step += 1;
        state.window.add(&tally, &realised);

        if logs {
            let line = Trained {
                step: state.step,
                learning_rate,
                gradient_norm,
                epoch: state.position.epoch,
                tokens_per_second: (state.tokens - logged) as f64 / since.elapsed().as_secs_f64(),
                seconds: started.elapsed().as_secs_f64(),
                ..Trained::of_window(&state.window)
            };
            metrics.append(&Line::Train(line.clone()))?;
            watch(Event::Trained(line));
            state.window = metrics::Window::default();
            (logged, since) = (state.tokens, Instant::now());
        }

        let last = state.step == config.steps;
        let due = |every: u64| last || (every > 0 && state.step.is_multiple_of(every));
        let saves = due(config.checkpoint_every);
        if due(config.validation.every) && !validation.is_empty() {
            let paused = Instant::now();
            let tally = validate(&*engine, validation)?;
            let line = Validated::new(state.step, &tally);
            metrics.append(&Line::Validation(line))?;
            state.last = Some((state.step, tally));
            if state
                .best
                .is_none_or(|(_, best)| tally.mean() < best.mean())
            {
                state.best = state.last;
            }
            watch(Event::Validated(line));
            since += paused.elapsed();
        }

        let stopped = run.stop.load(Ordering::Relaxed);
        if saves || stopped {
            let paused = Instant::now();
            metrics.sync()?;
            let (model, moments) = engine.state()?;
            watch(Event::Saved(checkpoints.save(&state, model, moments)?));
            since += paused.elapsed();
        }
        if stopped && !last {
            return Err(Error::Interrupted);
        }
    }
    Ok(Outcome {
        model: engine.finish()?,
        last: state.last.map(|(step, tally)| Validated::new(step, &tally)),
        best: state.best.map(|(step, tally)| Validated::new(step, &tally)),
        tokens: state.tokens,
    })
}

/// Loss over all of `batches`, without dropout.
fn validate(engine: &dyn Engine, batches: &[Batch]) -> Result<Tally> {
    let mut tally = Tally::default();
    for batch in batches {
        tally.add(&engine.evaluate(batch)?);
    }
    Ok(tally)
}

fn refuse_infinite(tally: &Tally, step: u64) -> Result<()> {
    if tally.loss.is_finite() {
        return Ok(());
    }
    Err(Error::diverged(
        format!("step {step}"),
        format!("a loss of {}", tally.loss),
        "a finite loss",
        "lower optimizer.learning_rate, lengthen optimizer.warmup or set optimizer.clip = 1; \
         the last checkpoint is kept",
    ))
}

//! The training loop: schedule, passes, clip, step, log, validate, checkpoint.

use super::checkpoint::{Checkpoints, State};
use super::engine::{Engine, engine};
use super::metrics::{self, Checked, Line, Metrics, Trained, Validated};
use super::model::{Model, Noise};
use super::ops::cross_entropy::Tally;
use super::optimizer::AdamW;
use super::schedule::{self, Horizon};
use super::spikes::{MOST_SKIPPED, Spike, SpikeFile, Verdict};
use crate::base::error::{Error, Result};
use crate::batches::{Batch, Position, Realised};
use crate::config::{SpikePolicy, TrainConfig};
use crate::parallel::chunks;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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
    /// Where `metrics.jsonl`, `checkpoints/`, `spikes/` and `tensorboard/` go.
    pub output: &'a Path,
    /// Threads of the model's arithmetic.
    pub threads: usize,
    /// Set to end the run after the pass in flight, with a checkpoint of the last whole
    /// step.
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
    /// A step that stands out.
    Spiked(Spike),
    /// A checkpoint was written here.
    Saved(PathBuf),
    /// Told to stop, it ends after so many steps.
    Stopped(u64),
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
    /// Steps taken.
    pub steps: u64,
    /// Tokens that went through the model in all steps, padding left out.
    pub tokens: u64,
}

/// Trains `model`, from the newest checkpoint if there is one.
///
/// `open` gives the stream of batches from a position on, which begins a step; a step takes
/// `config.accumulation` of them. The result is a function of the configuration, the
/// seed and the batches: not of threads, and not of how often the run was stopped; with a
/// budget of time, also of when each step began.
///
/// # Errors
/// A loss or gradient that is not finite, unless such steps are skipped; names in the
/// configuration that no parameter has; a damaged or foreign checkpoint, a batch that the model
/// has no room for, whatever the stream returns, and `Interrupted` once `stop` is set.
pub fn train<N>(
    run: Run<'_>,
    model: Model,
    open: impl FnOnce(Position, u64) -> Result<N> + Send,
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
    open: impl FnOnce(Position, u64) -> Result<N>,
    validation: &[Batch],
    mut watch: impl FnMut(Event),
) -> Result<Outcome> {
    let config = run.config;
    let names: Vec<String> = model.parameters.named().into_iter().map(|p| p.0).collect();
    config.optimizer.check_names(&names)?;
    let horizon = Horizon::of(config);
    let keep = config.keep_checkpoints as usize;
    let checkpoints = Checkpoints::new(run.output.join("checkpoints"), keep);
    let mut moments = AdamW::new(&model.parameters);
    let mut saved = None;
    let mut state = match checkpoints.resume(run.fingerprint, &mut model, &mut moments)? {
        Some(state) => {
            watch(Event::Resumed(state.step));
            saved = Some(state.step);
            state
        }
        None => State {
            seed: run.seed,
            fingerprint: run.fingerprint.to_owned(),
            ..State::default()
        },
    };
    let mut engine = engine(config, model, moments)?;
    let events = run.output.join("tensorboard");
    let events = config.tensorboard.then_some(&*events);
    let mut metrics = Metrics::resume(&run.output.join("metrics.jsonl"), state.done(), events)?;
    let mut next_batch = open(state.position, state.step)?;
    let mut pace = Pace::new(&state);
    let stopped = || run.stop.load(Ordering::Relaxed);
    let mut over = horizon.is_over(state.step, state.elapsed);

    loop {
        // What is due after so many steps.
        let due =
            |step: u64, every: u64| step > 0 && (over || every > 0 && step.is_multiple_of(every));
        let validated = state.last.is_some_and(|last| last.step == state.step);
        if due(state.step, config.validation.every) && !validation.is_empty() && !validated {
            let paused = Instant::now();
            // Stopped on the way, it is done by who resumes.
            if let Some(tally) = validate(&*engine, validation, stopped)? {
                let (step, tokens) = (state.step, state.tokens);
                let checked = Checked {
                    step,
                    tokens,
                    tally,
                };
                metrics.append(&Line::Validation(checked.into()))?;
                state.last = Some(checked);
                let best = state.best.map(|best| best.tally.mean());
                if best.is_none_or(|best| tally.mean() < best) {
                    state.best = state.last;
                }
                watch(Event::Validated(checked.into()));
            }
            pace.since += paused.elapsed();
        }
        let saves = due(state.step, config.checkpoint_every) || state.step > 0 && stopped();
        if saves && saved != Some(state.step) {
            let paused = Instant::now();
            metrics.sync()?;
            // Where only steps end a run, its checkpoints do not depend on a clock.
            state.elapsed = horizon.seconds.map_or(0.0, |_| pace.elapsed());
            let (model, moments) = engine.state()?;
            watch(Event::Saved(checkpoints.save(&state, model, moments)?));
            saved = Some(state.step);
            pace.since += paused.elapsed();
        }
        let validated = state.last.is_some_and(|last| last.step == state.step);
        if over && (validated || validation.is_empty()) {
            break;
        }
        if stopped() {
            watch(Event::Stopped(state.step));
            return Err(Error::Interrupted);
        }

        // The next step.
        let elapsed = pace.elapsed();
        let learning_rate =
            schedule::learning_rate(&config.optimizer, horizon, state.step, elapsed);
        let read = || pace.wait(&mut next_batch);
        let Some(step) = passes(run, &mut *engine, state.step, read)? else {
            continue;
        };
        let logs = (state.step + 1).is_multiple_of(config.log_every);
        let mut gradient_norm = 0.0;
        let mut learns = step.tally.labels > 0;
        // Without a label there is no gradient, and nothing moves.
        if learns {
            let loss = step.tally.mean();
            let mut scale = 1.0 / step.tally.over as f64;
            let clip = config.optimizer.clip;
            if logs || clip > 0.0 || config.spikes.gradient_factor > 0.0 {
                gradient_norm = engine.gradient_norm(scale)?;
            }
            if state.running.is_spike(&config.spikes, loss, gradient_norm) {
                let spike = spike(run, &mut state, &step, learning_rate, gradient_norm)?;
                metrics.append(&Line::Spike(spike.clone()))?;
                watch(Event::Spiked(spike.clone()));
                learns = spike.verdict == Verdict::Taken;
                if spike.verdict == Verdict::Stopped || state.skipped > MOST_SKIPPED {
                    metrics.sync()?;
                    return Err(diverged(run.output, &spike, state.skipped));
                }
            }
            state.running.take(&config.spikes, loss, gradient_norm);
            if learns {
                if clip > 0.0 && gradient_norm > clip {
                    scale *= clip / gradient_norm;
                }
                engine.update(&config.optimizer, scale, state.updates, learning_rate)?;
                state.updates += 1;
                state.skipped = 0;
            } else {
                engine.drop_gradients()?;
            }
        }
        state.step += 1;
        state.position = step.after;
        state.tokens += step.tokens;
        if learns || step.tally.labels == 0 {
            state.window.add(&step.tally, &step.realised);
        }
        over = horizon.is_over(state.step, pace.elapsed());

        if logs {
            let line = Trained {
                step: state.step,
                learning_rate,
                gradient_norm,
                epoch: state.position.epoch,
                tokens: state.tokens,
                ..Trained::of_window(&state.window)
            };
            let line = pace.enter(&state, horizon, line);
            metrics.append(&Line::Train(line.clone()))?;
            watch(Event::Trained(line));
            state.window = metrics::Window::default();
        }
    }
    Ok(Outcome {
        model: engine.finish()?,
        last: state.last.map(Validated::from),
        best: state.best.map(Validated::from),
        steps: state.step,
        tokens: state.tokens,
    })
}

/// What the passes of a step came to.
struct Step {
    tally: Tally,
    realised: Realised,
    tokens: u64,
    /// Where the stream stands after them.
    after: Position,
    /// Kept until the step is judged.
    batches: Vec<Batch>,
}

/// Forward and backward passes over the batches of step `step`. Told to stop, it gives up
/// before the next pass: the step is taken anew by who resumes.
fn passes(
    run: Run<'_>,
    engine: &mut dyn Engine,
    step: u64,
    mut read: impl FnMut() -> Result<Batch>,
) -> Result<Option<Step>> {
    let mut out = Step {
        tally: Tally::default(),
        realised: Realised::default(),
        tokens: 0,
        after: Position::default(),
        batches: Vec::new(),
    };
    let mut noise = Noise {
        seed: run.seed,
        step,
        first_row: 0,
    };
    for _ in 0..run.config.accumulation {
        if run.stop.load(Ordering::Relaxed) {
            engine.drop_gradients()?;
            return Ok(None);
        }
        let batch = read()?;
        out.tally.add(&engine.backward(&batch, noise)?);
        out.realised.add(&batch.realised);
        out.tokens += batch.tokens();
        out.after = batch.after;
        noise.first_row += batch.rows as u64;
        out.batches.push(batch);
    }
    Ok(Some(out))
}

/// Judges a step that stands out, and writes its batch.
fn spike(
    run: Run<'_>,
    state: &mut State,
    step: &Step,
    learning_rate: f64,
    gradient_norm: f64,
) -> Result<Spike> {
    let config = &run.config.spikes;
    let loss = step.tally.mean();
    let finite = loss.is_finite() && gradient_norm.is_finite();
    let verdict = match config.policy {
        SpikePolicy::Skip => Verdict::Skipped,
        SpikePolicy::Continue if finite => Verdict::Taken,
        SpikePolicy::Continue | SpikePolicy::Stop => Verdict::Stopped,
    };
    state.spikes += 1;
    state.skipped += u64::from(verdict == Verdict::Skipped);
    let number = |value: f64| Some(value).filter(|value| value.is_finite());
    let written = state.spikes <= config.keep;
    let spike = Spike {
        step: state.step + 1,
        loss: number(loss),
        gradient_norm: number(gradient_norm),
        running_loss: state.running.loss,
        running_gradient_norm: state.running.gradient_norm,
        learning_rate,
        verdict,
        file: written.then(|| SpikeFile::name(state.step + 1)),
    };
    if written {
        let (seed, position) = (run.seed, state.position);
        SpikeFile::new(spike.clone(), seed, position, &step.batches).write(run.output)?;
    }
    Ok(spike)
}

fn diverged(output: &Path, spike: &Spike, skipped: u64) -> Error {
    let look = match &spike.file {
        Some(file) => format!(
            "`cloze inspect {}` shows its batch; ",
            output.join(file).display()
        ),
        None => String::new(),
    };
    let passed_over = match skipped {
        0 => String::new(),
        steps => format!("; {steps} steps were passed over one after the other"),
    };
    Error::diverged(
        format!("step {}", spike.step),
        format!("{}{passed_over}", spike.told()),
        "finite numbers, near those of the steps before",
        format!(
            "{look}lower optimizer.learning_rate, lengthen optimizer.warmup, set optimizer.clip \
             = 1, or pass such steps over: spikes.policy = \"skip\"; the last checkpoint is kept"
        ),
    )
}

/// The clocks of a run.
struct Pace {
    started: Instant,
    /// Seconds of earlier starts.
    before: f64,
    /// When the last line was entered, moved by pauses for validations and checkpoints.
    since: Instant,
    /// Time since then that steps waited for batches.
    waited: Duration,
    /// Steps and tokens then.
    steps: u64,
    tokens: u64,
}

impl Pace {
    fn new(state: &State) -> Self {
        Self {
            started: Instant::now(),
            before: state.elapsed,
            since: Instant::now(),
            waited: Duration::ZERO,
            steps: state.step,
            tokens: state.tokens,
        }
    }

    /// Seconds of the run in all its starts.
    fn elapsed(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }

    /// The next batch, waited for.
    fn wait(&mut self, next: &mut impl FnMut() -> Result<Batch>) -> Result<Batch> {
        let asked = Instant::now();
        let batch = next();
        self.waited += asked.elapsed();
        batch
    }

    /// Completes a line with the rates since the last one.
    fn enter(&mut self, state: &State, horizon: Horizon, line: Trained) -> Trained {
        let seconds = self.since.elapsed().as_secs_f64().max(1e-9);
        let a_step = seconds / (state.step - self.steps).max(1) as f64;
        let line = Trained {
            tokens_per_second: (state.tokens - self.tokens) as f64 / seconds,
            stalled: self.waited.as_secs_f64() / seconds,
            seconds: self.started.elapsed().as_secs_f64(),
            seconds_left: horizon.left(state.step, self.elapsed(), a_step),
            ..line
        };
        self.since = Instant::now();
        self.waited = Duration::ZERO;
        (self.steps, self.tokens) = (state.step, state.tokens);
        line
    }
}

/// Loss over all of `batches`, without dropout; none once `stopped` says so.
fn validate(
    engine: &dyn Engine,
    batches: &[Batch],
    stopped: impl Fn() -> bool,
) -> Result<Option<Tally>> {
    let mut tally = Tally::default();
    for batch in batches {
        if stopped() {
            return Ok(None);
        }
        tally.add(&engine.evaluate(batch)?);
    }
    Ok(Some(tally))
}

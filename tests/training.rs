//! Training runs as a whole: they learn, they resume with the same bits, and they
//! refuse what is broken.

use cloze::base::error::{Error, Result};
use cloze::base::generator::{Key, Purpose};
use cloze::base::time_span::TimeSpan;
use cloze::base::token::SpecialTokens;
use cloze::batches::{Batch, Position, Realised};
use cloze::config::train::{OptimizerConfig, ValidationConfig};
use cloze::config::{
    Architecture, DecoderConfig, Device, Layout, MaskingConfig, ModelConfig, ParameterGroup,
    Precision, RotaryShape, Schedule, SpikePolicy, SpikesConfig, TrainConfig,
};
use cloze::training::matrix::Matrix;
use cloze::training::spikes::{MOST_SKIPPED, Verdict};
use cloze::training::{Event, Model, Noise, Outcome, Run, Spike, SpikeFile};
use cloze::training::{Trained, export, import, train};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

const VOCABULARY: u32 = 40;
const MASK: u32 = 1;
const ROWS: usize = 8;
const LENGTH: usize = 14;

/// Rows that repeat one token, a quarter of it masked: any other place of the row tells
/// what is missing, and attention alone can bring it. Lengths vary.
fn batch(seed: u64, number: u64) -> Batch {
    let key = Key {
        seed,
        sample: number,
        ..Key::default()
    };
    let mut generator = key.generator(Purpose::Select);
    let mut batch = Batch {
        rows: ROWS,
        length: LENGTH,
        after: Position {
            epoch: 0,
            row: (number + 1) * ROWS as u64,
        },
        ..Batch::default()
    };
    for row in 0..ROWS {
        let length = LENGTH - generator.below(6) as usize;
        batch.lengths.push(length as u32);
        batch.push_runs(&[length as u32], 0);
        let token = 4 + generator.below(VOCABULARY - 4);
        for place in 0..LENGTH {
            let masked = place < length && generator.below(4) == 0;
            if masked {
                batch.predicted.push((row * LENGTH + place) as u32);
                batch.labels.push(token);
            }
            batch.input.push(match (place < length, masked) {
                (false, _) => 0,
                (true, true) => MASK,
                (true, false) => token,
            });
        }
    }
    let labels = batch.labels.len() as u64;
    batch.realised = Realised {
        maskable: batch.lengths.iter().map(|&n| u64::from(n)).sum(),
        masked: labels,
        predicted: labels,
        ..Realised::default()
    };
    batch
}

/// The rows of `whole` without their masked tokens. Every second row is two documents,
/// the second from place 6 on.
fn removed(whole: Batch) -> Batch {
    let mut batch = Batch {
        layout: Layout::Removed,
        row_length: whole.length,
        input: Vec::new(),
        lengths: Vec::new(),
        cu_seqlens: Vec::new(),
        ..whole.clone()
    };
    for (row, &length) in whole.lengths.iter().enumerate() {
        let from = batch.places.len();
        let ids = &whole.input[row * LENGTH..][..length as usize];
        for (place, &id) in (0..).zip(ids).filter(|(_, id)| **id != MASK) {
            batch.input.push(id);
            batch.places.push(place);
        }
        batch.lengths.push((batch.places.len() - from) as u32);
        let ends = [6, length];
        batch.push_runs(&ends[usize::from(row % 2 == 0)..], from);
    }
    batch.length = batch.lengths.iter().copied().max().unwrap() as usize;
    for values in [&mut batch.input, &mut batch.places] {
        let mut rest = std::mem::take(values).into_iter();
        for (row, &length) in (1..).zip(&batch.lengths) {
            values.extend(rest.by_ref().take(length as usize));
            values.resize(row * batch.length, 0);
        }
    }
    batch
}

/// What PyTorch needs of a batch.
fn as_json(batch: &Batch) -> serde_json::Value {
    let mut json = serde_json::json!({
        "length": batch.length,
        "input": batch.input,
        "lengths": batch.lengths,
        "predicted": batch.predicted,
        "labels": batch.labels,
    });
    if batch.layout == Layout::Removed {
        let more = serde_json::json!({
            "row_length": batch.row_length,
            "row_lengths": batch.row_lengths,
            "places": batch.places,
            "cu_seqlens": batch.cu_seqlens,
            "run_starts": batch.run_starts,
        });
        let fields = json.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
    }
    json
}

fn config(architecture: Architecture) -> TrainConfig {
    TrainConfig {
        steps: Some(20),
        batch_size: 16,
        accumulation: 2,
        checkpoint_every: 4,
        keep_checkpoints: 2,
        log_every: 3,
        model: ModelConfig {
            architecture,
            layers: Some(2),
            hidden: Some(32),
            heads: Some(2),
            feed_forward: Some(48),
            positions: Some(20),
            rotary: match architecture {
                // The second layer sees three tokens on each side.
                Architecture::Modernbert => RotaryShape {
                    local_attention: 6,
                    ..RotaryShape::default()
                },
                _ => RotaryShape::default(),
            },
            ..ModelConfig::default()
        },
        optimizer: OptimizerConfig {
            learning_rate: 5e-3,
            clip: 1.0,
            ..OptimizerConfig::default()
        },
        validation: ValidationConfig {
            every: 5,
            ..ValidationConfig::default()
        },
        ..TrainConfig::default()
    }
}

/// For rows that lost their masked tokens; the decoder is narrower than the encoder, or of
/// BERT and ModernBERT as wide.
fn config_removed(architecture: Architecture) -> TrainConfig {
    let mut config = config(architecture);
    config.masking = MaskingConfig::default().with_layout(Layout::Removed);
    let narrow = !matches!(architecture, Architecture::Bert | Architecture::Modernbert);
    config.model.decoder = Some(DecoderConfig {
        layers: Some(2),
        hidden: narrow.then_some(24),
        heads: Some(2),
        feed_forward: None,
    });
    config
}

/// Every architecture, in place and for rows that lost their masked tokens, by name.
fn all_kinds() -> Vec<(String, TrainConfig)> {
    let mut kinds = Vec::new();
    for architecture in Architecture::ALL {
        let name = architecture.name();
        kinds.push((name.to_owned(), config(architecture)));
        kinds.push((format!("{name}-removed"), config_removed(architecture)));
    }
    kinds
}

struct Trial {
    config: TrainConfig,
    folder: tempfile::TempDir,
    threads: usize,
    stop: AtomicBool,
}

impl Trial {
    fn new(config: TrainConfig) -> Self {
        Self {
            config,
            folder: tempfile::tempdir().unwrap(),
            threads: 2,
            stop: AtomicBool::new(false),
        }
    }

    fn run(&self) -> Run<'_> {
        Run {
            config: &self.config,
            seed: 7,
            fingerprint: "these shards",
            output: self.folder.path(),
            threads: self.threads,
            stop: &self.stop,
        }
    }

    fn model(&self) -> Model {
        Model::initial(&self.config.model, VOCABULARY as usize, 7)
    }

    /// Batch `number` of those of `seed`, in the layout of the trial.
    fn batch(&self, seed: u64, number: u64) -> Batch {
        match self.config.masking.layout {
            Layout::Removed => removed(batch(seed, number)),
            _ => batch(seed, number),
        }
    }

    fn stream(&self, position: Position, step: u64) -> Result<impl FnMut() -> Result<Batch>> {
        let mut number = position.row / ROWS as u64;
        assert_eq!(number, 2 * step);
        Ok(move || {
            number += 1;
            Ok(self.batch(1, number - 1))
        })
    }

    fn validation(&self) -> [Batch; 2] {
        [0, 1].map(|number| self.batch(2, number))
    }

    fn train(&self) -> Result<Outcome> {
        let open = |position, step| self.stream(position, step);
        train(self.run(), self.model(), open, &self.validation(), |_| ())
    }

    /// Trains until the stream breaks at batch `number`, as after a kill.
    fn train_until_batch(&self, number: u64) {
        let broken = |position: Position, step| {
            let mut next = self.stream(position, step)?;
            let mut at = position.row / ROWS as u64;
            Ok(move || {
                at += 1;
                if at > number {
                    return Err(Error::Interrupted);
                }
                next()
            })
        };
        let validation = self.validation();
        assert!(train(self.run(), self.model(), broken, &validation, |_| ()).is_err());
    }

    /// Lines of metrics without what time there was.
    fn metrics(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("metrics.jsonl")).unwrap();
        text.lines()
            .map(|line| {
                let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
                let fields = line.as_object_mut().unwrap();
                fields.remove("tokens_per_second");
                fields.remove("stalled");
                fields.remove("seconds");
                line.to_string()
            })
            .collect()
    }

    fn checkpoints(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path().join("checkpoints")).unwrap();
        let mut all: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        all.sort();
        all
    }

    fn weights(&self) -> Vec<u8> {
        let last = self.checkpoints().pop().unwrap();
        let mut bytes = fs::read(last.join("model.safetensors")).unwrap();
        bytes.extend(fs::read(last.join("optimizer.safetensors")).unwrap());
        bytes
    }
}

#[test]
fn the_loss_falls_where_there_is_something_to_learn() {
    for (name, config) in all_kinds() {
        let trial = Trial::new(TrainConfig {
            steps: Some(200),
            ..config
        });
        let outcome = trial.train().unwrap();
        let last = outcome.last.unwrap();
        let chance = f64::from(VOCABULARY - 4).ln();
        assert!(last.loss < 0.3 * chance, "{name}: {last:?}");
        assert!(last.accuracy > 0.8, "{name}: {last:?}");
        assert_eq!(last.step, 200);
        assert!(outcome.best.unwrap().loss <= last.loss);
    }
}

#[test]
fn a_run_stopped_or_killed_and_resumed_is_the_undisturbed_run_bit_for_bit() {
    resumed_is_undisturbed(&config(Architecture::RobertaPrelayernorm));
}

#[test]
fn a_run_with_a_decoder_stopped_or_killed_is_the_undisturbed_run_bit_for_bit() {
    resumed_is_undisturbed(&config_removed(Architecture::RobertaPrelayernorm));
}

fn resumed_is_undisturbed(config: &TrainConfig) {
    let whole = Trial::new(config.clone());
    whole.train().unwrap();
    let kinds: Vec<bool> = whole
        .metrics()
        .iter()
        .map(|l| l.contains("train"))
        .collect();
    // Training lines at 3, 6, 9, 12, 15, 18; validation at 5, 10, 15, 20.
    assert_eq!(kinds.iter().filter(|&&train| train).count(), 6);
    assert_eq!(kinds.len(), 10);

    let mut disturbed = Trial::new(config.clone());
    // Killed before any checkpoint, between checkpoints, between the passes of a step.
    for batch in [5, 13, 22, 31] {
        disturbed.train_until_batch(batch);
    }
    // Stopped in the middle of a window of metrics; and with another thread count.
    disturbed.threads = 1;
    disturbed.stop.store(true, Ordering::Relaxed);
    assert!(matches!(disturbed.train(), Err(Error::Interrupted)));
    disturbed.stop.store(false, Ordering::Relaxed);
    disturbed.train().unwrap();
    assert_eq!(disturbed.metrics(), whole.metrics());
    assert_eq!(disturbed.weights(), whole.weights());

    // Once more changes nothing.
    let outcome = disturbed.train().unwrap();
    assert_eq!(outcome.last.unwrap().step, 20);
    assert_eq!(disturbed.metrics(), whole.metrics());
}

#[test]
fn the_last_checkpoints_are_kept_and_what_a_kill_left_is_cleared() {
    let trial = Trial::new(config(Architecture::RobertaPrelayernorm));
    let left = trial
        .folder
        .path()
        .join("checkpoints/.step-000000004.partial");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("model.safetensors"), "half").unwrap();
    trial.train().unwrap();
    let names: Vec<_> = trial.checkpoints();
    let names: Vec<_> = names.iter().map(|p| p.file_name().unwrap()).collect();
    assert_eq!(names, ["step-000000016", "step-000000020"]);
}

#[test]
fn a_damaged_checkpoint_is_refused_with_its_name() {
    let trial = Trial::new(config(Architecture::RobertaPrelayernorm));
    trial.train().unwrap();
    let last = trial.checkpoints().pop().unwrap();
    for name in [
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
        "manifest.json",
    ] {
        let path = last.join(name);
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        let digit = flipped.iter().rposition(u8::is_ascii_digit).unwrap();
        flipped[digit] ^= 1;
        for broken in [&flipped[..], &whole[..whole.len() - 1], &[]] {
            fs::write(&path, broken).unwrap();
            let error = trial.train().unwrap_err();
            assert!(matches!(error, Error::Corrupt(_)), "{name}: {error}");
            assert!(error.to_string().contains("step-000000020"), "{error}");
            assert!(error.to_string().contains("remove"), "{error}");
        }
        fs::write(&path, whole).unwrap();
    }
    // The one before it still works.
    fs::remove_dir_all(&last).unwrap();
    assert_eq!(trial.train().unwrap().last.unwrap().step, 20);
}

#[test]
fn a_checkpoint_of_another_run_is_refused() {
    let trial = Trial::new(config(Architecture::RobertaPrelayernorm));
    trial.train().unwrap();
    let other = Run {
        fingerprint: "other shards",
        ..trial.run()
    };
    let error = train(
        other,
        trial.model(),
        |at, step| trial.stream(at, step),
        &[],
        |_| (),
    )
    .unwrap_err();
    assert!(matches!(error, Error::Mismatch(_)), "{error}");
    assert!(error.to_string().contains("other shards"), "{error}");
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run() {
    let mut config = config(Architecture::RobertaPrelayernorm);
    config.optimizer.learning_rate = 1e35;
    config.optimizer.weight_decay = 1e30;
    let error = Trial::new(config).train().unwrap_err();
    assert!(matches!(error, Error::Diverged(_)), "{error}");
    assert!(error.to_string().contains("learning_rate"), "{error}");
}

/// A run with one bad batch: the labels of batch 160 are not what stands around them, or
/// its loss is no number. All that stood out, and how it ended.
fn with_a_bad_batch(policy: SpikePolicy, finite: bool) -> (Trial, Vec<Spike>, Result<Outcome>) {
    let trial = Trial::new(TrainConfig {
        steps: Some(90),
        checkpoint_every: 40,
        spikes: SpikesConfig {
            policy,
            window: 10,
            loss_factor: 1.4,
            gradient_factor: 0.0,
            ..SpikesConfig::default()
        },
        optimizer: OptimizerConfig {
            learning_rate: 1e-2,
            schedule: Schedule::Constant,
            ..OptimizerConfig::default()
        },
        ..config(Architecture::RobertaPrelayernorm)
    });
    let bad = |position: Position, step| {
        let mut next = trial.stream(position, step)?;
        let mut at = position.row / ROWS as u64;
        Ok(move || {
            at += 1;
            let mut batch = next()?;
            if at == 160 && finite {
                batch.labels.fill(0);
            } else if at == 160 {
                batch.weights = vec![f32::NAN; ROWS];
            }
            Ok(batch)
        })
    };
    let mut spikes = Vec::new();
    let watch = |event| {
        if let Event::Spiked(spike) = event {
            spikes.push(spike);
        }
    };
    let ended = train(trial.run(), trial.model(), bad, &[], watch);
    (trial, spikes, ended)
}

#[test]
fn a_spike_is_written_with_what_makes_its_batch_again_and_the_run_goes_on() {
    for (policy, finite, verdict) in [
        (SpikePolicy::Continue, true, Verdict::Taken),
        (SpikePolicy::Skip, true, Verdict::Skipped),
        (SpikePolicy::Skip, false, Verdict::Skipped),
    ] {
        let (trial, spikes, ended) = with_a_bad_batch(policy, finite);
        assert_eq!(ended.unwrap().steps, 90);
        assert_eq!(spikes.len(), 1, "{policy:?}: {spikes:?}");
        let spike = &spikes[0];
        assert_eq!((spike.step, spike.verdict), (80, verdict));
        assert_eq!(spike.loss.is_some(), finite);
        let file = trial.folder.path().join(spike.file.as_ref().unwrap());
        let file = SpikeFile::read(&file).unwrap();
        assert_eq!(file.spike, *spike);
        assert_eq!((file.seed, file.position.row), (7, 158 * ROWS as u64));
        assert_eq!(file.rows.len(), 2 * ROWS);
        let good = batch(1, 158);
        let length = good.lengths[3] as usize;
        assert_eq!(file.rows[3].input, good.input[3 * LENGTH..][..length]);
        let labels: usize = file.rows.iter().map(|row| row.labels.len()).sum();
        assert_eq!(labels, good.labels.len() + batch(1, 159).labels.len());
        for (place, label) in file.rows[3].predicted.iter().zip(&file.rows[3].labels) {
            assert_eq!(good.input[3 * LENGTH + *place as usize], MASK);
            assert!(*label >= 4);
        }
        let lines = trial.metrics();
        let told: Vec<&String> = lines.iter().filter(|l| l.contains("\"spike\"")).collect();
        assert_eq!(told.len(), 1);
        assert!(
            !lines
                .iter()
                .any(|line| line.contains("null") && !line.contains("spike"))
        );
    }
}

#[test]
fn a_spike_ends_the_run_where_that_is_asked_for_and_numbers_that_are_none_always_do() {
    for (policy, finite) in [
        (SpikePolicy::Stop, true),
        (SpikePolicy::Stop, false),
        (SpikePolicy::Continue, false),
    ] {
        let (trial, spikes, ended) = with_a_bad_batch(policy, finite);
        let Err(error) = ended else {
            panic!("{policy:?} went on");
        };
        assert!(matches!(error, Error::Diverged(_)), "{error}");
        let message = error.to_string();
        assert!(message.starts_with("step 80: "), "{message}");
        assert!(message.contains("step-000000080.batch.json"), "{message}");
        assert_eq!(spikes[0].verdict, Verdict::Stopped);
        // Nothing of the step is kept.
        let last = trial.checkpoints().pop().unwrap();
        assert!(last.ends_with("step-000000040"), "{last:?}");
    }
}

#[test]
fn weights_that_are_broken_end_the_run_whatever_is_skipped() {
    let mut config = config(Architecture::RobertaPrelayernorm);
    config.steps = Some(1000);
    config.checkpoint_every = 0;
    config.optimizer.learning_rate = 1e35;
    config.optimizer.weight_decay = 1e30;
    config.spikes.policy = SpikePolicy::Skip;
    config.spikes.keep = 3;
    let trial = Trial::new(config);
    let message = trial.train().unwrap_err().to_string();
    let told = format!("{} steps were passed over", MOST_SKIPPED + 1);
    assert!(message.contains(&told), "{message}");
    let written = fs::read_dir(trial.folder.path().join("spikes")).unwrap();
    assert_eq!(written.count(), 3);
}

#[test]
fn a_budget_of_time_ends_the_run_however_often_it_is_stopped() {
    let mut trial = Trial::new(TrainConfig {
        steps: None,
        budget: Some(TimeSpan(3.0)),
        log_every: 1,
        validation: ValidationConfig {
            every: 0,
            ..ValidationConfig::default()
        },
        ..config(Architecture::RobertaPrelayernorm)
    });
    trial.config.checkpoint_every = 1;
    let began = std::time::Instant::now();
    // Stopped twice on the way, with time passing between that does not count.
    for part in [1.0, 2.0] {
        trial.stop.store(false, Ordering::Relaxed);
        let stop = |event| {
            if let Event::Trained(line) = event {
                let used = 3.0 - line.seconds_left;
                trial.stop.store(used >= part, Ordering::Relaxed);
            }
        };
        let open = |position, step| trial.stream(position, step);
        let ended = train(trial.run(), trial.model(), open, &[batch(2, 0)], stop);
        assert!(matches!(ended, Err(Error::Interrupted)));
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    trial.stop.store(false, Ordering::Relaxed);
    let outcome = trial.train().unwrap();
    assert!(began.elapsed().as_secs_f64() > 3.6);
    assert_eq!(outcome.last.unwrap().step, outcome.steps);
    let text = fs::read_to_string(trial.folder.path().join("metrics.jsonl")).unwrap();
    let rates: Vec<f64> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["kind"] == "train")
        .map(|line| line["learning_rate"].as_f64().unwrap())
        .collect();
    assert_eq!(rates.len() as u64, outcome.steps);
    let peak = rates.iter().fold(0.0, |most: f64, &rate| most.max(rate));
    let highest = rates.iter().position(|&rate| rate == peak).unwrap();
    assert!(rates[..highest].is_sorted() && rates[highest..].is_sorted_by(|a, b| a >= b));
    // How many steps there are, and so how near the peak one begins, is the machine's.
    assert!(peak <= 5e-3 && rates[rates.len() - 1] < peak, "{rates:?}");
    // Once more changes nothing: its time is up.
    assert_eq!(trial.train().unwrap().steps, outcome.steps);
}

#[test]
fn a_stop_gives_up_the_step_in_flight_and_a_validation_and_both_are_done_by_who_resumes() {
    let whole = Trial::new(config(Architecture::RobertaPrelayernorm));
    whole.train().unwrap();
    let stopped = Trial::new(config(Architecture::RobertaPrelayernorm));
    for passes in [9, 4, 11] {
        // In the first pass of a step or between its two.
        let stopping = |position: Position, step| {
            let mut next = stopped.stream(position, step)?;
            let (mut left, stop) = (passes, &stopped.stop);
            Ok(move || {
                left -= 1;
                stop.store(left == 0, Ordering::Relaxed);
                next()
            })
        };
        let ended = train(
            stopped.run(),
            stopped.model(),
            stopping,
            &stopped.validation(),
            |_| (),
        );
        assert!(matches!(ended, Err(Error::Interrupted)));
    }
    let stop = |event| {
        if let Event::Trained(Trained { step: 15, .. }) = event {
            stopped.stop.store(true, Ordering::Relaxed);
        }
    };
    stopped.stop.store(false, Ordering::Relaxed);
    let open = |position, step| stopped.stream(position, step);
    let held_out = stopped.validation();
    let ended = train(stopped.run(), stopped.model(), open, &held_out, stop);
    assert!(matches!(ended, Err(Error::Interrupted)));
    let last = stopped.checkpoints().pop().unwrap();
    assert!(last.ends_with("step-000000015"), "{last:?}");
    assert!(!stopped.metrics().last().unwrap().contains("validation"));
    stopped.stop.store(false, Ordering::Relaxed);
    stopped.train().unwrap();
    assert_eq!(stopped.metrics(), whole.metrics());
    assert_eq!(stopped.weights(), whole.weights());
}

#[test]
fn names_of_groups_that_no_parameter_has_are_refused() {
    let mut config = config(Architecture::Modernbert);
    config.optimizer.groups.push(ParameterGroup {
        parameters: vec!["layers.*.positions".into()],
        ..ParameterGroup::default()
    });
    let error = Trial::new(config).train().unwrap_err();
    assert!(matches!(error, Error::Usage(_)), "{error}");
    assert!(error.to_string().contains("layers.0.qkv.weight"), "{error}");
}

/// For `tests/python/test_tensorboard.py`, which reads the events with TensorBoard.
#[test]
fn events_of_a_run_that_was_stopped_and_killed_are_left_for_tensorboard() {
    let trial = Trial::new(TrainConfig {
        tensorboard: true,
        ..config(Architecture::RobertaPrelayernorm)
    });
    for batch in [13, 30] {
        trial.train_until_batch(batch);
    }
    trial.train().unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tensorboard");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    for from in [
        trial.folder.path(),
        &trial.folder.path().join("tensorboard"),
    ] {
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
            }
        }
    }
}

#[test]
fn steps_without_labels_change_nothing_and_are_no_nan() {
    let trial = Trial::new(config(Architecture::RobertaPrelayernorm));
    let unlabelled = |_, _| {
        Ok(|| {
            let mut batch = batch(1, 1);
            batch.labels.clear();
            batch.predicted.clear();
            Ok(batch)
        })
    };
    let mut losses = Vec::new();
    let watch = |event| match event {
        Event::Trained(line) => losses.push(line.loss),
        Event::Validated(line) => assert!(line.loss.is_finite()),
        _ => (),
    };
    let validation = [batch(2, 0)];
    let outcome = train(trial.run(), trial.model(), unlabelled, &validation, watch).unwrap();
    assert!(losses.iter().all(|&loss| loss == 0.0));
    let first = trial.model();
    assert_eq!(
        outcome.model.parameters.words[..],
        first.parameters.words[..]
    );
}

/// A run of 50 steps on `device`, a line for each.
fn fifty_steps(config: &TrainConfig, device: Device, precision: Precision) -> Trial {
    let mut config = TrainConfig {
        steps: Some(50),
        log_every: 1,
        checkpoint_every: 25,
        device,
        precision,
        ..config.clone()
    };
    config.optimizer.learning_rate = 1e-3;
    Trial::new(config)
}

fn furthest_apart(one: &Trial, other: &Trial) -> f64 {
    let losses = |trial: &Trial| {
        let lines = trial.metrics().into_iter();
        let lines = lines.map(|line| serde_json::from_str::<serde_json::Value>(&line).unwrap());
        let losses: Vec<f64> = lines.map(|line| line["loss"].as_f64().unwrap()).collect();
        losses
    };
    let (one, other) = (losses(one), losses(other));
    assert_eq!(one.len(), 60, "50 steps and 10 validations");
    assert_eq!(one.len(), other.len());
    let apart = one.iter().zip(&other).map(|(a, b)| (a - b).abs());
    apart.fold(0.0, f64::max)
}

/// Dropout is on: on the CPU both draw the same.
#[test]
fn what_a_gpu_would_do_has_the_losses_of_the_passes_by_hand() {
    for architecture in Architecture::ALL {
        let config = config(architecture);
        let by_hand = fifty_steps(&config, Device::Cpu, Precision::F32);
        by_hand.train().unwrap();
        let apart = |precision| {
            let reference = fifty_steps(&config, Device::Reference, precision);
            reference.train().unwrap();
            furthest_apart(&by_hand, &reference)
        };
        let single = apart(Precision::F32);
        assert!(single < 1e-3, "{architecture:?}: {single}");
        // One that adds to what it is given, and one that norms it.
        if matches!(architecture, Architecture::Modernbert | Architecture::Bert) {
            let half = apart(Precision::Bf16);
            println!("{architecture:?}: f32 {single:.1e}, bf16 {half:.1e}");
            assert!(half > 1e-5, "{architecture:?}: bf16 rounds nothing");
            assert!(half < 3e-2, "{architecture:?}: {half}");
        }
    }
}

#[test]
fn a_run_moves_between_devices_at_a_checkpoint() {
    let config = config_removed(Architecture::Roberta);
    let whole = fifty_steps(&config, Device::Cpu, Precision::F32);
    whole.train().unwrap();
    for (from, to) in [
        (Device::Cpu, Device::Reference),
        (Device::Reference, Device::Cpu),
    ] {
        let mut moved = fifty_steps(&config, from, Precision::F32);
        // Past the checkpoint of step 25: two batches a step.
        moved.train_until_batch(60);
        moved.config.device = to;
        let outcome = moved.train().unwrap();
        assert_eq!(outcome.last.unwrap().step, 50);
        let apart = furthest_apart(&whole, &moved);
        assert!(apart < 1e-3, "{from} to {to}: {apart}");
    }
}

/// For `tests/python/test_export.py`, which loads the folder with transformers.
#[test]
fn exported_models_and_their_losses_are_left_for_transformers() {
    let special = |pad| SpecialTokens {
        mask: Some(MASK),
        cls: Some(2),
        sep: Some(3),
        pad,
        unk: None,
        reserved: vec![0, 1, 2, 3],
        sentinels: Vec::new(),
    };
    let mut kinds: Vec<(String, TrainConfig, Option<u32>)> = Vec::new();
    for (name, config) in all_kinds() {
        if config.model.architecture == Architecture::RobertaPrelayernorm {
            let without = name.replace("roberta-prelayernorm", "without-padding");
            kinds.push((without, config.clone(), None));
        }
        kinds.push((name, config, Some(0)));
    }
    for (name, config, pad) in kinds {
        let trial = Trial::new(config);
        let outcome = trial.train().unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("export")
            .join(&name);
        export(&outcome.model, &special(pad), &folder).unwrap();
        let mut batch = trial.batch(3, 0);
        if pad.is_none() && batch.layout == Layout::InPlace {
            // Whole rows only.
            batch = Batch {
                lengths: vec![LENGTH as u32; ROWS],
                cu_seqlens: (0..=ROWS).map(|row| (row * LENGTH) as u32).collect(),
                input: batch.input.iter().map(|&id| id.max(4)).collect(),
                ..batch
            };
        }
        let tally = outcome.model.evaluate(&batch).unwrap();
        let logits = outcome.model.logits(&batch).unwrap();

        // Read back, it is the same model, but for a row that pads the vocabulary.
        let keys = ModelConfig {
            decoder: outcome
                .model
                .shape
                .decoder
                .map(|_| DecoderConfig::default()),
            ..ModelConfig::default()
        };
        let again = import(&folder, &keys, 0).unwrap();
        assert_eq!(again.shape.rotary, outcome.model.shape.rotary);
        assert_eq!(again.shape.decoder, outcome.model.shape.decoder);
        let known = again.logits(&batch).unwrap();
        for row in 0..logits.rows() {
            assert_eq!(logits.row(row), &known.row(row)[..logits.cols()], "{name}");
        }

        let mut expected = as_json(&batch);
        let fields = expected.as_object_mut().unwrap();
        let more = serde_json::json!({
            "rows": batch.rows,
            "loss": tally.mean(),
            "accuracy": tally.accuracy(),
            "logits": logits.to_vec(),
            "parameters": outcome.model.parameters.count(),
        });
        fields.extend(more.as_object().unwrap().clone());
        fs::write(folder.join("expected.json"), expected.to_string()).unwrap();
    }
}

#[test]
fn an_export_in_place_of_one_with_a_decoder_is_a_model_without() {
    let folder = tempfile::tempdir().unwrap();
    let special = SpecialTokens {
        pad: Some(0),
        ..SpecialTokens::default()
    };
    let keys = ModelConfig::default();
    let with = Trial::new(config_removed(Architecture::Bert)).model();
    export(&with, &special, folder.path()).unwrap();
    let refused = import(folder.path(), &keys, 0).unwrap_err().to_string();
    assert!(refused.contains("decoder.json"), "{refused}");
    let without = Trial::new(config(Architecture::Bert)).model();
    export(&without, &special, folder.path()).unwrap();
    assert!(import(folder.path(), &keys, 0).is_ok());
}

/// For `tests/python/test_pytorch.py`, which takes the same 200 steps: initial weights,
/// the gradients of the first batch, all batches, and the loss of each step.
#[test]
fn two_hundred_steps_are_left_for_pytorch_to_repeat() {
    const STEPS: u64 = 200;
    let special = SpecialTokens {
        pad: Some(0),
        ..SpecialTokens::default()
    };
    for (name, config) in all_kinds() {
        let mut config = TrainConfig {
            steps: Some(STEPS),
            log_every: 1,
            ..config
        };
        config.model.dropout = Some(0.0);
        config.model.attention_dropout = Some(0.0);
        config.optimizer.learning_rate = 1e-3;
        let trial = Trial::new(config);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("pytorch")
            .join(name);
        let model = trial.model();
        export(&model, &special, &folder.join("start")).unwrap();
        let mut gradients = model.parameters.map(|_| Matrix::empty());
        let noise = Noise {
            seed: 7,
            step: 0,
            first_row: 0,
        };
        let first = trial.batch(1, 0);
        model.backward(&first, noise, &mut gradients).unwrap();
        let gradients = Model::new(model.shape, gradients);
        export(&gradients, &special, &folder.join("gradients")).unwrap();

        trial.train().unwrap();
        let batches = (0..2 * STEPS).map(|number| as_json(&trial.batch(1, number)));
        let lines = trial.metrics();
        let lines = lines.iter().map(|line| serde_json::from_str(line).unwrap());
        let lines: Vec<serde_json::Value> = lines.collect();
        let run = serde_json::json!({
            "rows": ROWS,
            "config": trial.config,
            "batches": batches.collect::<Vec<_>>(),
            "lines": lines,
        });
        fs::write(folder.join("run.json"), run.to_string()).unwrap();
    }
}

#[test]
fn a_folder_that_is_no_model_of_ours_is_refused_by_name() {
    let trial = Trial::new(config(Architecture::Bert));
    let special = SpecialTokens {
        pad: Some(0),
        ..SpecialTokens::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    export(&trial.model(), &special, folder.path()).unwrap();
    let text = fs::read_to_string(at("config.json")).unwrap();
    let weights = fs::read(at("model.safetensors")).unwrap();
    let refused = || {
        let error = import(folder.path(), &ModelConfig::default(), 0);
        error.unwrap_err().to_string()
    };
    for (from, to, told) in [
        ("\"bert\"", "\"gpt2\"", "model_type \"gpt2\""),
        ("\"gelu\"", "\"gelu_new\"", "hidden_act = \"gelu_new\""),
        (
            "\"intermediate_size\": 48",
            "\"intermediate_size\": 40",
            "as config.json has it",
        ),
        (
            "\"num_hidden_layers\": 2",
            "\"num_hidden_layers\": 3",
            "no tensor called bert.encoder.layer.2",
        ),
        (
            "\"num_hidden_layers\": 2",
            "\"num_hidden_layers\": 1",
            "a tensor called bert.encoder.layer.1",
        ),
        ("\"vocab_size\"", "\"vocabulary\"", "vocab_size"),
    ] {
        assert!(text.contains(from), "{from}: {text}");
        fs::write(at("config.json"), text.replace(from, to)).unwrap();
        let message = refused();
        assert!(message.contains(told), "{told}: {message}");
        let place = folder.path().display().to_string();
        assert!(message.starts_with(&place), "{message}");
    }
    fs::write(at("config.json"), &text).unwrap();
    fs::write(at("model.safetensors"), &weights[..weights.len() / 2]).unwrap();
    assert!(refused().contains("model.safetensors"));
    fs::rename(at("model.safetensors"), at("pytorch_model.bin")).unwrap();
    assert!(refused().contains("safe_serialization"));
    fs::remove_file(at("config.json")).unwrap();
    assert!(refused().contains("config.json"));
}

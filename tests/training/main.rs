//! Training runs as a whole: they learn, on any device alike; in the other files they are stopped
//! and resumed, meet bad losses, and are exported.

mod exported;
mod resumed;
mod spiked;

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

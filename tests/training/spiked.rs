//! Losses that jump and numbers that are none: skipped, told of, or the end of a run.

use super::*;

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

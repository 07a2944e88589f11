//! Stopped, killed and resumed, within a budget or out of turn, a run is the undisturbed one bit for bit.

use super::*;

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

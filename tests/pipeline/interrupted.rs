//! Killed, stopped or out of room at any moment, a stage goes on and ends with the same bytes.

use super::*;

#[test]
fn every_stage_killed_at_many_points_ends_with_the_same_bytes() {
    const POINTS: u32 = 10;
    let dir = tempfile::tempdir().unwrap();
    undisturbed(dir.path());
    for stage in stages(dir.path()) {
        let began = Instant::now();
        stage.run(&dir.path().join("timed"), &[]);
        let whole = began.elapsed();
        let mut killed = 0;
        for point in 1..=POINTS {
            let folder = dir.path().join(format!("{}-{point}", stage.output));
            // A second kill while it goes on; then it is let to its end.
            for _ in 0..2 {
                let mut child = stage.command(&folder, &[]).spawn().unwrap();
                std::thread::sleep(whole * point / (POINTS + 1));
                child.kill().unwrap();
                let status = child.wait().unwrap();
                killed += u32::from(status.signal() == Some(9));
            }
            stage.run(&folder, &[]);
            let when = format!("after kills {point}/{} of the way", POINTS + 1);
            assert_same(
                &dir.path().join(stage.output),
                &folder.join(stage.output),
                &when,
            );
            fs::remove_dir_all(&folder).unwrap();
        }
        assert!(
            killed >= POINTS / 2,
            "{}: only {killed} kills hit",
            stage.output
        );
    }
}

#[test]
fn a_full_disk_is_a_clear_error_and_what_was_done_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    done(&[
        "tokenize",
        NOVEL,
        "--tokenizer",
        TOKENIZER,
        "--document",
        "paragraph",
        "-o",
        &at(folder, "tokens"),
    ]);
    // A file system of 96 KiB in a mount namespace of its own.
    let small = folder.join("small");
    fs::create_dir(&small).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=96k tmpfs {small} && \
         {cloze} shard {tokens} -o {small}/shards --scratch {scratch} --shard-tokens 16384 \
         --batch-tokens 2048; code=$?; ls {small}/shards; exit $code",
        small = small.display(),
        cloze = env!("CARGO_BIN_EXE_cloze"),
        tokens = at(folder, "tokens"),
        scratch = at(folder, "scratch"),
    );
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("no space left on the disk"), "{message}");
    assert!(message.contains("finished files are kept"), "{message}");
    let left = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        left.contains("shard-00000.arrow"),
        "nothing was kept: {left}"
    );
    assert!(!left.contains("manifest.json"), "{left}");
}

#[test]
fn scratch_is_cleared_but_a_folder_that_the_user_named_stays() {
    let dir = tempfile::tempdir().unwrap();
    undisturbed(dir.path());
    assert!(!dir.path().join(".scratch").exists());
    let named = dir.path().join("named");
    let stages = stages(dir.path());
    for stage in [&stages[1], &stages[3]] {
        let scratch = named.display().to_string();
        stage.run(&dir.path().join("again"), &["--scratch", &scratch]);
        assert_eq!(fs::read_dir(&named).unwrap().count(), 0);
    }
}

#[test]
fn an_interrupted_stage_says_so_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    undisturbed(dir.path());
    let stage = training(dir.path());
    let folder = dir.path().join("interrupted");
    let child = stage.command(&folder, &[]).spawn().unwrap();
    let metrics = folder.join("model/metrics.jsonl");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !fs::metadata(&metrics).is_ok_and(|m| m.len() > 0) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    let signalled = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    // It may have finished between the look and the signal.
    if signalled.success() && !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains("run the same command again"), "{message}");
    }
    stage.run(&folder, &[]);
    assert_same(
        &dir.path().join("model"),
        &folder.join("model"),
        "after SIGTERM",
    );
}

/// All that a checkpoint has to carry at once: a schedule with a decay in it, passes, rates
/// that move and with them the copies, steps filled by tokens of copies, packed documents.
#[test]
fn a_training_with_everything_in_flight_is_killed_and_stopped_at_random_and_ends_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    for stage in &stages(folder)[..4] {
        stage.run(folder, &[]);
    }
    let stage = Stage {
        output: "model",
        arguments: [
            "train",
            &at(folder, "shards"),
            "--steps=60",
            "--batch-tokens=700",
            "--batch-counts=copies",
            "--accumulation=3",
            "--checkpoint-every=7",
            "--keep-checkpoints=1",
            "--log-every=4",
            "--tensorboard",
            "--rows.layout=best_fit",
            "--rows.length=48",
            "--masking.corruption-rate=linear(0.5, 0.2)",
            "--masking.prediction-rate=cosine(0.5, 0.6)",
            "--masking.random-share=0.1",
            "--masking.mask-share=0.9",
            "--optimizer.schedule=warmup_stable_decay",
            "--optimizer.warmup-steps=10",
            "--optimizer.decay=0.5",
            "--optimizer.decay-shape=one_minus_sqrt",
            "--optimizer.clip=1",
            "--optimizer.groups={parameters = [\"words\"], learning_rate_factor = 0.5}",
            "--spikes.window=5",
            "--spikes.loss-factor=1.001",
            "--spikes.gradient-factor=1.05",
            "--model.layers=1",
            "--model.hidden=32",
            "--model.heads=2",
            "--model.feed-forward=64",
            "--model.positions=64",
            "--validation.every=9",
            "--validation.max-rows=8",
        ]
        .map(str::to_owned)
        .to_vec(),
    };
    let began = Instant::now();
    stage.run(&folder.join("whole"), &[]);
    let whole = began.elapsed();
    let disturbed = folder.join("disturbed");
    let mut draws = Key::default().generator(Purpose::Select);
    let mut ended = 0;
    for round in 0..12 {
        let threads = (1 + round % 2).to_string();
        let child = stage
            .command(&disturbed, &["--threads", &threads])
            .spawn()
            .unwrap();
        std::thread::sleep(whole.mul_f64(0.05 + 0.3 * draws.unit()));
        let signal = ["-KILL", "-TERM", "-INT"][round % 3];
        let pid = child.id().to_string();
        let _ = Command::new("kill").args([signal, &pid]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        ended += usize::from(!output.status.success());
        if output.status.code() == Some(1) {
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(message.contains("run the same command again"), "{message}");
        }
    }
    assert!(ended > 3, "only {ended} were still at work");
    stage.run(&disturbed, &[]);
    let spikes = fs::read_dir(folder.join("whole/model/spikes"))
        .unwrap()
        .count();
    assert!(spikes > 0);
    assert_same(
        &folder.join("whole/model"),
        &disturbed.join("model"),
        "after kills and stops",
    );
}

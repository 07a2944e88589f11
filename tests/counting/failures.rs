//! Flipped bytes, stops, kills and a full disk: never another count, never half a file
//! taken for a whole one.

use crate::{Novel, parquet_files, part, runs_of, tokens_of, usual};
use cloze::base::error::Error;
use cloze::pipeline::merge::merge;
use cloze::pipeline::runs::count_run;
use cloze::pipeline::stage::StageOptions;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::Instant;

#[test]
fn a_flipped_byte_in_a_run_never_changes_a_count() {
    let Novel {
        dir,
        tokens,
        config,
    } = Novel::tokenised();
    let runs = dir.path().join("runs");
    count_run(&config, &tokens, &runs, &usual()).unwrap();
    let folder = std::slice::from_ref(&runs);
    let reference = dir.path().join("reference");
    merge(&config, folder, &reference, &usual()).unwrap();
    let expected = parquet_files(&reference);
    let mut refused = 0;
    for name in ["words.parquet", "windows.arrow", "manifest.json"] {
        let path = runs.join(name);
        let good = fs::read(&path).unwrap();
        for n in 0..20 {
            let mut bad = good.clone();
            bad[good.len() * n / 20 + n] ^= 0x04;
            fs::write(&path, &bad).unwrap();
            let output = dir.path().join("merged");
            match merge(&config, folder, &output, &usual()) {
                Ok(_) => assert_eq!(parquet_files(&output), expected, "{name}, {n}"),
                Err(error) => {
                    assert_eq!(error.exit_code(), 1, "{error}");
                    assert!(!output.join("manifest.json").exists());
                    refused += 1;
                }
            }
            let _ = fs::remove_dir_all(&output);
        }
        // Cut short.
        fs::write(&path, &good[..good.len() / 2]).unwrap();
        merge(&config, folder, &dir.path().join("merged"), &usual()).unwrap_err();
        fs::write(&path, &good).unwrap();
    }
    assert!(refused > 45, "{refused} of 60 refused");
    let output = dir.path().join("merged");
    merge(&config, folder, &output, &usual()).unwrap();
    assert_eq!(parquet_files(&output), expected);
}

/// Asked to stop before they begin.
fn stopped(options: StageOptions) -> StageOptions {
    options.stop.store(true, Ordering::Relaxed);
    options
}

#[test]
fn a_run_or_a_merge_that_was_stopped_goes_on_to_the_same_bytes() {
    let Novel {
        dir,
        tokens,
        config,
    } = Novel::tokenised();
    let runs = dir.path().join("runs");
    runs_of(&config, &tokens, &runs, 3);
    let reference = dir.path().join("reference");
    merge(&config, std::slice::from_ref(&runs), &reference, &usual()).unwrap();
    // As a kill leaves it: a part without its manifest, a half-written file.
    let bytes = fs::read(runs.join("windows-00001-of-00003.arrow")).unwrap();
    fs::remove_file(runs.join("manifest-00001-of-00003.json")).unwrap();
    fs::remove_file(runs.join("words-00001-of-00003.parquet")).unwrap();
    fs::write(runs.join(".words-00001-of-00003.parquet.partial"), "half").unwrap();
    let error = count_run(&config, &tokens, &runs, &stopped(part(1, 3))).unwrap_err();
    assert!(matches!(error, Error::Interrupted));
    runs_of(&config, &tokens, &runs, 3);
    assert_eq!(
        fs::read(runs.join("windows-00001-of-00003.arrow")).unwrap(),
        bytes
    );

    let output = dir.path().join("counts");
    let folder = std::slice::from_ref(&runs);
    let error = merge(&config, folder, &output, &stopped(usual())).unwrap_err();
    assert!(matches!(error, Error::Interrupted));
    merge(&config, folder, &output, &usual()).unwrap();
    assert_eq!(parquet_files(&output), parquet_files(&reference));
    assert!(!output.join(".counts-1.parquet.partial").exists());
}

/// The binary with these arguments.
fn cloze(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloze"));
    command.args(arguments).args(["--log-format", "silent"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn a_part_a_merge_or_a_count_killed_at_many_points_ends_with_the_same_bytes() {
    const POINTS: u32 = 6;
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let tokens = tokens_of(dir.path(), "tokens", &["wikipedia-en.jsonl.zst"]);
    let tokens = tokens.display().to_string();
    let parts = |output: &str| -> Vec<Vec<String>> {
        let part = |index: &str| {
            ["count", &tokens, "-o", output, "--part", index, "--of", "2"].map(str::to_owned)
        };
        vec![part("0").to_vec(), part("1").to_vec()]
    };
    let run = |arguments: &[String]| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        assert!(
            cloze(&arguments).status().unwrap().success(),
            "{arguments:?}"
        );
    };
    parts(&at("runs")).iter().for_each(|part| run(part));
    let merge = |output: &str| -> Vec<String> {
        let arguments = [
            "count",
            "--merge",
            &at("runs"),
            "-o",
            output,
            "--min-count",
            "3",
        ];
        arguments.map(str::to_owned).to_vec()
    };
    run(&merge(&at("counts")));
    let whole = |output: &str| -> Vec<String> {
        let arguments = [
            "count",
            &tokens,
            "-o",
            output,
            "--min-count",
            "3",
            "--memory",
            "16MiB",
        ];
        arguments.map(str::to_owned).to_vec()
    };
    run(&whole(&at("whole")));
    type Arguments<'a> = &'a dyn Fn(&str) -> Vec<String>;
    let stages: [(&str, Arguments<'_>, &str); 3] = [
        ("part", &|output| parts(output)[1].clone(), "runs"),
        ("merge", &merge, "counts"),
        ("count", &whole, "whole"),
    ];
    for (name, arguments, reference) in stages {
        let began = Instant::now();
        run(&arguments(&at(&format!("{name}-timed"))));
        let time = began.elapsed();
        let mut killed = 0;
        for point in 1..=POINTS {
            let output = at(&format!("{name}-{point}"));
            let typed = arguments(&output);
            let typed: Vec<&str> = typed.iter().map(String::as_str).collect();
            let mut child = cloze(&typed).spawn().unwrap();
            std::thread::sleep(time * point / (POINTS + 1));
            child.kill().unwrap();
            killed += u32::from(child.wait().unwrap().signal() == Some(9));
            run(&arguments(&output));
            for entry in fs::read_dir(&output).unwrap() {
                let file = entry.unwrap().file_name();
                let expected = fs::read(dir.path().join(reference).join(&file)).unwrap();
                assert!(
                    fs::read(Path::new(&output).join(&file)).unwrap() == expected,
                    "{file:?}"
                );
            }
        }
        assert!(killed >= POINTS / 2, "{name}: only {killed} kills hit");
    }
}

#[test]
fn a_full_disk_ends_a_run_or_a_count_with_a_way_out() {
    let Novel { dir, tokens, .. } = Novel::tokenised();
    let small = dir.path().join("small");
    fs::create_dir(&small).unwrap();
    // A file system of 64 KiB in a mount namespace of its own, for what is written or for
    // scratch.
    for (kind, output, scratch) in [
        ("--runs --memory 4MiB", "small/runs", "scratch"),
        ("--runs --memory 4MiB", "runs", "small/scratch"),
        ("--memory 2MiB --min-count 2", "small/counts", "scratch"),
        ("--memory 2MiB --min-count 2", "counts", "small/scratch"),
    ] {
        let script = format!(
            "mount -t tmpfs -o size=64k tmpfs {small} && \
             {cloze} count {tokens} {kind} -o {output} --scratch {scratch}; \
             code=$?; ls {output} 2>/dev/null; exit $code",
            small = small.display(),
            cloze = env!("CARGO_BIN_EXE_cloze"),
            tokens = tokens.display(),
            output = dir.path().join(output).display(),
            scratch = dir.path().join(scratch).display(),
        );
        let done = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(1), "{message}");
        assert!(message.contains("no space left on the disk"), "{message}");
        let left = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(!left.contains("manifest.json"), "{left}");
    }
}

//! The command as people run it: the same bytes on any number of threads and in parts, skipping
//! what is done; in the other files stages that are interrupted, what is refused, evaluations and
//! experiments.

mod evaluate;
mod experiment;
mod interrupted;
mod refused;

use cloze::base::generator::{Key, Purpose};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const TOKENIZER: &str = "tests/data/tokenizers/bert-base-uncased/vocab.txt";
const NOVEL: &str = "tests/data/quickstart/Doyle_Hound_1902.txt";

fn cloze(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloze"));
    command
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn done(arguments: &[&str]) -> Output {
    let output = cloze(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "cloze {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Runs a command that must fail with `code`; its last line of complaint.
fn fails(code: i32, arguments: &[&str]) -> String {
    let output = cloze(arguments).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        output.status.code(),
        Some(code),
        "cloze {}: {message}",
        arguments.join(" ")
    );
    message
}

fn at(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

/// Every file below `folder` but logs of time, by relative path.
fn bytes_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, folder: &Path, out: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if path.is_dir() {
                walk(root, &path, out);
            } else if name.ends_with("metrics.jsonl") {
                out.insert(name, without_times(&fs::read_to_string(&path).unwrap()));
            } else if name.contains("tfevents") {
                // Its name and its points have their times.
                let size = fs::metadata(&path).unwrap().len();
                out.insert("events".into(), size.to_string().into_bytes());
            } else if !name.ends_with("figures.json") {
                out.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(folder, folder, &mut out);
    out
}

/// Metrics without what a clock measured.
fn without_times(metrics: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for line in metrics.lines() {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        let fields = value.as_object_mut().unwrap();
        fields.remove("tokens_per_second");
        fields.remove("stalled");
        fields.remove("seconds");
        out.extend(value.to_string().bytes());
        out.push(b'\n');
    }
    out
}

fn assert_same(expected: &Path, found: &Path, when: &str) {
    let (expected, found) = (bytes_of(expected), bytes_of(found));
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&expected), names(&found), "{when}");
    for (name, bytes) in &expected {
        assert!(&found[name] == bytes, "{name} differs {when}");
    }
}

/// A stage: what it is called with, after `cloze`, but for its output.
struct Stage {
    arguments: Vec<String>,
    output: &'static str,
}

fn stages(input: &Path) -> Vec<Stage> {
    let stage = |output, arguments: &[&str]| Stage {
        output,
        arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
    };
    let vocabulary = at(input, "vocabulary/v.parquet");
    vec![
        stage(
            "tokens",
            &[
                "tokenize",
                NOVEL,
                "--tokenizer",
                TOKENIZER,
                "--document",
                "paragraph",
                "--file-bytes",
                "32KiB",
                "--batch-tokens",
                "2048",
            ],
        ),
        stage(
            "counts",
            &["count", &at(input, "tokens"), "--min-count", "2"],
        ),
        stage(
            "vocabulary",
            &["vocabulary", &at(input, "counts"), "--size", "2000"],
        ),
        stage(
            "shards",
            &[
                "shard",
                &at(input, "tokens"),
                "--vocabulary",
                &vocabulary,
                "--shard-tokens",
                "8192",
                "--batch-tokens",
                "2048",
            ],
        ),
        stage(
            "model",
            &[
                "train",
                &at(input, "shards"),
                "--steps",
                "12",
                "--batch-size",
                "4",
                "--accumulation",
                "2",
                "--checkpoint-every",
                "3",
                "--log-every",
                "2",
                "--model.layers",
                "1",
                "--model.hidden",
                "32",
                "--model.heads",
                "2",
                "--model.feed-forward",
                "64",
                "--model.positions",
                "64",
                "--rows.length",
                "64",
                "--masking.strategy",
                "pmi",
                "--masking.corruption-rate",
                "0.2",
                "--masking.prediction-rate",
                "0.4",
                "--validation.every",
                "5",
                "--validation.max-rows",
                "8",
            ],
        ),
        stage(
            "evaluation",
            &[
                "evaluate",
                &at(input, "model"),
                "--shards",
                &at(input, "shards"),
                "--strategies",
                "uniform,pmi",
                "--profile",
                "--max-rows",
                "8",
                "--batch-size",
                "4",
                "--blimp",
                &evaluate::pairs(input),
            ],
        ),
    ]
}

/// The stage that trains.
fn training(input: &Path) -> Stage {
    let mut stages = stages(input).into_iter();
    stages.find(|stage| stage.output == "model").unwrap()
}

impl Stage {
    fn command(&self, folder: &Path, more: &[&str]) -> Command {
        let output = match self.output {
            "vocabulary" => folder.join("vocabulary/v.parquet"),
            other => folder.join(other),
        };
        let mut arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let output = output.display().to_string();
        arguments.extend(["--output", &output, "--log-format", "silent"]);
        arguments.extend(more);
        cloze(&arguments)
    }

    fn run(&self, folder: &Path, more: &[&str]) {
        let output = self.command(folder, more).output().unwrap();
        assert!(
            output.status.success(),
            "{}: {}",
            self.output,
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Runs every stage once into `folder`, each on the one before.
fn undisturbed(folder: &Path) {
    for stage in stages(folder) {
        stage.run(folder, &[]);
    }
}

#[test]
fn one_two_and_eight_threads_write_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    undisturbed(dir.path());
    for threads in ["1", "2", "8"] {
        let folder = dir.path().join(threads);
        for stage in stages(dir.path()) {
            stage.run(&folder, &["--threads", threads]);
            assert_same(
                &dir.path().join(stage.output),
                &folder.join(stage.output),
                &format!("on {threads} threads"),
            );
        }
    }
}

#[test]
fn parts_of_tokenising_and_sharding_come_to_the_same_shards() {
    let dir = tempfile::tempdir().unwrap();
    undisturbed(dir.path());
    let parts = dir.path().join("parts");
    let [tokenize, _, _, shard, _, _] = <[Stage; 6]>::try_from(stages(dir.path())).ok().unwrap();
    for part in ["2", "0", "1"] {
        tokenize.run(&parts, &["--part", part, "--of", "3"]);
    }
    let mut shard = shard;
    shard.arguments[1] = at(&parts, "tokens");
    for part in ["1", "0"] {
        shard.run(&parts, &["--part", part, "--of", "2"]);
    }
    let whole = bytes_of(&dir.path().join("shards"));
    let found = bytes_of(&parts.join("shards"));
    let documents = |files: &BTreeMap<String, Vec<u8>>| {
        let names: Vec<_> = files
            .keys()
            .filter(|n| n.ends_with(".arrow"))
            .cloned()
            .collect();
        names
    };
    assert_eq!(documents(&whole), documents(&found));
    assert!(documents(&whole).len() > 3);
    // The footers name the fingerprints of different inputs; the text is the same.
    let folders = [dir.path().join("shards"), parts.join("shards")];
    let [a, b] = folders.map(|folder| {
        let set = cloze::shard::ShardSet::open(&folder).unwrap();
        let mut all = Vec::new();
        for index in 0..set.batches().len() {
            let batch = set.read(index, cloze::columnar::Projection::ALL).unwrap();
            for document in batch.documents() {
                let units: Vec<bool> = document.span_start.unwrap().iter().collect();
                all.push((document.id, document.tokens.to_vec(), units));
            }
        }
        all
    });
    assert!(a == b, "documents of shards made in parts differ");
    done(&["verify", &at(&parts, "shards")]);
    done(&["verify", &at(&parts, "tokens")]);
}

#[test]
fn shards_know_nothing_of_how_a_model_will_be_trained() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = |name: &str, train: &str| -> PathBuf {
        let root = env!("CARGO_MANIFEST_DIR");
        let text = format!(
            "name = \"{name}\"\n[tokenize]\ninputs = [\"{root}/{NOVEL}\"]\n\
             tokenizer = \"{root}/{TOKENIZER}\"\n[count]\nmin_count = 3\n[vocabulary]\nsize = 500\n\
             [shard]\n[train]\n{train}"
        );
        let file = dir.path().join(format!("{name}.toml"));
        fs::write(&file, text).unwrap();
        let work = dir.path().join(name);
        let stages = "tokenize,count,vocabulary,shard";
        done(&[
            "run",
            &file.display().to_string(),
            "--work",
            &work.display().to_string(),
            "--only",
            stages,
        ]);
        work.join("shards")
    };
    let a = pipeline(
        "a",
        "steps = 10\n[train.masking]\nstrategy = \"pmi\"\ncorruption_rate = 0.15",
    );
    let b = pipeline(
        "b",
        "steps = 99\n[train.masking]\nstrategy = \"span\"\ncorruption_rate = 0.8\n\
         [train.rows]\nlength = 512\nlayout = \"document\"",
    );
    let shards = |folder: &Path| {
        let mut files = bytes_of(folder);
        // The manifest names where the token files lay.
        files.remove("manifest.json");
        files
    };
    assert!(shards(&a) == shards(&b));
}

#[test]
fn a_pipeline_skips_what_is_done_and_redoes_only_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let work = at(dir.path(), "work");
    let only = "tokenize,count,vocabulary,shard";
    let base = [
        "run",
        "pipelines/quickstart.toml",
        "--work",
        &work,
        "--only",
        only,
        "--set",
        &format!("tokenize.inputs=[\"../{NOVEL}\"]"),
    ]
    .map(str::to_owned);
    let run = |more: &[&str]| {
        let mut arguments: Vec<&str> = base.iter().map(String::as_str).collect();
        arguments.extend(more);
        cloze(&arguments).output().unwrap()
    };
    assert!(run(&[]).status.success());
    let first = bytes_of(Path::new(&work));
    let again = run(&[]);
    assert!(again.status.success());
    assert!(String::from_utf8_lossy(&again.stdout).contains("done before"));
    assert!(bytes_of(Path::new(&work)) == first);

    let changed = run(&["--set", "count.min_count=7"]);
    assert_eq!(changed.status.code(), Some(1));
    let message = String::from_utf8_lossy(&changed.stderr).into_owned();
    assert!(message.contains("min_count = 5 (now 7)"), "{message}");
    assert!(message.contains("--overwrite"), "{message}");
    assert!(
        bytes_of(Path::new(&work)) == first,
        "a refused run changed something"
    );

    assert!(
        run(&["--set", "count.min_count=7", "--overwrite"])
            .status
            .success()
    );
    assert!(bytes_of(Path::new(&work)) != first);
    done(&["verify", &at(Path::new(&work), "shards")]);
}

#[test]
fn inspect_tells_what_each_artefact_is_and_shows_some_of_it() {
    let dir = tempfile::tempdir().unwrap();
    undisturbed(dir.path());
    for (artefact, told) in [
        (
            "tokens",
            vec!["token files", "sample: document", "tokenizer of 30 522"],
        ),
        ("counts", vec!["n-gram counts", "most frequent", "of the"]),
        (
            "vocabulary/v.parquet",
            vec!["a masking vocabulary", "best of length 2"],
        ),
        (
            "shards",
            vec!["shards", "coverage", "bytes a token", "sample: document"],
        ),
        (
            "model",
            vec!["a training run", "validation loss", "unigram entropy"],
        ),
    ] {
        let output = done(&["inspect", &at(dir.path(), artefact)]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        for part in told {
            assert!(text.contains(part), "{artefact}: no {part:?} in\n{text}");
        }
    }
}

#[test]
fn a_written_batch_is_shown_with_its_keys_and_text() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    for stage in &stages(folder)[..4] {
        stage.run(folder, &[]);
    }
    let mut stage = training(folder);
    let more = [
        "--spikes.window",
        "1",
        "--spikes.loss-factor",
        "1.0001",
        "--spikes.keep",
        "2",
    ];
    stage.arguments.extend(more.map(str::to_owned));
    stage.run(folder, &[]);
    let spikes = folder.join("model/spikes");
    let files: Vec<PathBuf> = fs::read_dir(&spikes)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!((1..=2).contains(&files.len()), "{files:?}");
    let output = done(&["inspect", &files[0].display().to_string()]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in [
        "a loss of",
        "learning rate",
        "seed 1",
        "[MASK]→",
        "\n0/",
        "[CLS] ",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    // Another answer to spikes does not make it another run.
    stage
        .arguments
        .extend(["--spikes.policy", "skip"].map(str::to_owned));
    let output = stage.command(folder, &[]).output().unwrap();
    assert!(output.status.success());

    let picture = at(folder, "runs.svg");
    let run = at(folder, "model");
    done(&["plot", &run, &run, "-o", &picture, "--against", "tokens"]);
    let svg = fs::read_to_string(&picture).unwrap();
    assert!(svg.matches("stroke-width=\"1.5\"").count() == 10, "{svg}");
    let message = fails(1, &["plot", &at(folder, "shards"), "-o", &picture]);
    assert!(message.contains("no metrics.jsonl"), "{message}");
}

/// T5's kind: nothing opens a row, sentinels, and a mask token only when it is named.
#[test]
fn a_tokenizer_without_a_token_that_opens_rows_goes_from_text_to_a_model_by_best_fit() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let unigram = "tests/data/tokenizers/unigram";
    let [tokens, shards] = ["tokens", "shards"].map(|name| at(folder, name));
    let tokenize = [
        &["tokenize", NOVEL, "-o", &tokens, "--document", "paragraph"][..],
        &["--tokenizer", unigram, "--mask-token", "<mask>"],
        &["--add-special-tokens"],
    ];
    done(&tokenize.concat());
    done(&["shard", &tokens, "-o", &shards]);
    let text = String::from_utf8(done(&["inspect", &shards]).stdout).unwrap();
    let roles = "(mask 1200, sep 1, pad 0, unk 2, 3 sentinels)";
    assert!(text.contains(roles), "{text}");

    // Rows of shards and of text: tokens and </s>, nothing before them.
    let raw = [
        &["mask", "--text", "A hound it was", "--format", "json"][..],
        &["--tokenizer", unigram, "--mask-token", "<mask>"],
    ];
    for arguments in [vec!["mask", &shards, "--format", "json"], raw.concat()] {
        let json: serde_json::Value = serde_json::from_slice(&done(&arguments).stdout).unwrap();
        let row = &json["rows"][0];
        let ids: Vec<u64> = serde_json::from_value(row["ids"].clone()).unwrap();
        let (last, text) = ids.split_last().unwrap();
        assert_eq!(*last, 1);
        assert!(text[0] > 5, "{ids:?}");
        assert_eq!(row["mask"], 1200);
    }

    let model = |name: &str, threads: &str, masking: &str| {
        let output = at(folder, name);
        let arguments = [
            &["train", &shards, "-o", &output, "--steps", "8"][..],
            &["--rows.layout", "best_fit", "--rows.length", "64"],
            &["--masking.layout", masking],
            &["--batch-size", "4", "--checkpoint-every", "3"],
            &["--model.layers", "1", "--model.hidden", "32"],
            &["--model.heads", "2", "--model.feed-forward", "64"],
            &["--model.positions", "64", "--threads", threads],
        ];
        done(&arguments.concat());
        folder.join(name)
    };
    for masking in ["in_place", "removed"] {
        let named = |name: &str| format!("{masking}-{name}");
        let one = model(&named("one"), "1", masking);
        assert_same(&one, &model(&named("two"), "2", masking), "by best fit");
        // From what a kill after step 6 leaves.
        let step = "checkpoints/step-000000006";
        let resumed = folder.join(named("resumed"));
        fs::create_dir_all(resumed.join(step)).unwrap();
        for (name, bytes) in bytes_of(&one.join(step)) {
            fs::write(resumed.join(step).join(name), bytes).unwrap();
        }
        fs::copy(one.join("metrics.jsonl"), resumed.join("metrics.jsonl")).unwrap();
        let resumed = model(&named("resumed"), "2", masking);
        assert_same(&one, &resumed, "gone on with by best fit");
        let metrics = fs::read_to_string(one.join("metrics.jsonl")).unwrap();
        assert!(metrics.contains("validation"), "{metrics}");
        done(&["verify", &at(folder, &named("one"))]);
        let beside = one.join("export/decoder.safetensors").exists();
        assert_eq!(beside, masking == "removed");
    }
    let message = fails(
        2,
        &["train", &shards, "-o", "x", "--masking.layout", "sentinel"],
    );
    assert!(
        message.contains("no sentinel encoder-decoder yet"),
        "{message}"
    );
}

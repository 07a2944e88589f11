//! `cloze experiment` as people run it: a grid from text to tables, killed at random, in
//! parts, and with another seed added later.

use super::{NOVEL, at, bytes_of, cloze, done, fails};
use cloze::base::generator::{Key, Purpose};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const VOCABULARY: &str = "tests/data/tokenizers/wordpiece-4096/vocab.txt";

/// An experiment of two settings and two seeds that takes a second or two, in `folder`.
fn write(folder: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pair = |number: u32| {
        format!(
            "{{\"sentence_good\": \"The man {number} walked away.\", \"sentence_bad\": \
             \"The man {number} walk away.\", \"UID\": \"agreement\", \"field\": \"syntax\", \
             \"linguistics_term\": \"agreement\"}}\n"
        )
    };
    let pairs: String = (0..6).map(pair).collect();
    fs::write(folder.join("blimp.jsonl"), pairs).unwrap();
    let sentence = |number: u32| match number % 2 {
        0 => format!("a good and happy day {number}\tgood\n"),
        _ => format!("a bad and dark night {number}\tbad\n"),
    };
    let sentences: String = (0..40).map(sentence).collect();
    fs::write(
        folder.join("sentences.tsv"),
        format!("sentence\tlabel\n{sentences}"),
    )
    .unwrap();
    let toml = format!(
        r#"
name = "small"
seeds = [1, 2]
measures = ["loss@0.15", "blimp", "sentences"]

[tokenize]
inputs = ["{}"]
tokenizer = "{}"

[train]
steps = 6
batch_size = 4
checkpoint_every = 2
log_every = 2
[train.rows]
length = 32
[train.model]
layers = 1
hidden = 16
heads = 2
feed_forward = 32
positions = 32
[train.validation]
max_rows = 16

[[grid]]
name = "rates"
train.masking.corruption_rate = [0.15, 0.4]

[evaluate]
rates = [0.15]
max_rows = 16
blimp = "blimp.jsonl"

[finetune.sentences]
train = "sentences.tsv"
test_share = 0.3
learning_rates = [1e-3]
batch_sizes = [8]
epochs = 2
max_length = 32

[[plot]]
name = "by-rate"
"#,
        root.join(NOVEL).display(),
        root.join(VOCABULARY).display()
    );
    let path = folder.join("small.toml");
    fs::write(&path, toml).unwrap();
    path.display().to_string()
}

#[test]
fn an_experiment_killed_at_random_ends_with_the_same_tables() {
    let folder = tempfile::tempdir().unwrap();
    let toml = write(folder.path());
    let (whole, work) = (at(folder.path(), "whole"), at(folder.path(), "work"));
    let began = Instant::now();
    let output = done(&["experiment", &toml, "--work", &whole]);
    let took = began.elapsed();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("| rates-0.15 "), "{told}");
    assert!(told.contains("| rates-0.4 − rates-0.15 "), "{told}");
    let key = Key {
        seed: 3,
        ..Key::default()
    };
    let mut generator = key.generator(Purpose::Order);
    for _ in 0..8 {
        let mut child = cloze(&["experiment", &toml, "--work", &work])
            .spawn()
            .unwrap();
        let wait = took.mul_f64(generator.unit()) + Duration::from_millis(5);
        std::thread::sleep(wait);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    done(&["experiment", &toml, "--work", &work]);
    let report = |work: &str| bytes_of(&Path::new(work).join("report"));
    let expected = report(&whole);
    assert!(expected.contains_key("results.md") && expected.contains_key("by-rate.svg"));
    assert_eq!(report(&work), expected);
    let examples = "runs/rates-0.4/seed-2/examples.json";
    let bytes = |work: &str| fs::read(Path::new(work).join(examples)).unwrap();
    assert_eq!(bytes(&work), bytes(&whole));
    done(&["verify", &at(Path::new(&work), "report")]);
    done(&["verify", &at(Path::new(&work), "runs/rates-0.15/seed-1")]);
}

#[test]
fn an_experiment_in_parts_is_that_of_one_machine_and_grows_by_seeds() {
    let folder = tempfile::tempdir().unwrap();
    let toml = write(folder.path());
    let (whole, work) = (at(folder.path(), "whole"), at(folder.path(), "work"));
    let first = ["--set", "seeds=[1]"];
    let run = |work: &str, more: &[&str]| {
        let mut arguments = vec!["experiment", &toml, "--work", work, "--threads", "1"];
        arguments.extend(more);
        String::from_utf8(done(&arguments).stdout).unwrap()
    };
    let told = run(&work, &["--part", "1", "--of", "3"]);
    assert!(told.contains("this part is done"), "{told}");
    let told = run(&work, &["--report"]);
    assert!(
        told.contains("rates-0.4") && !told.contains("rates-0.15 "),
        "{told}"
    );
    run(&work, &["--part", "0", "--of", "3"]);
    let told = run(&work, &["--part", "2", "--of", "3"]);
    assert!(
        told.contains("| rates-0.15 "),
        "the last part reports: {told}"
    );
    // One seed, then both: what is done stays.
    run(&whole, &first);
    run(&whole, &[]);
    let report = |work: &str| fs::read(Path::new(work).join("report/results.csv")).unwrap();
    assert_eq!(report(&work), report(&whole));
    // What was measured is checked before it is told of.
    let examples = Path::new(&whole).join("runs/rates-0.4/seed-1/examples.json");
    let mut bytes = fs::read(&examples).unwrap();
    let digit = bytes.iter().position(u8::is_ascii_digit).unwrap();
    bytes[digit] ^= 1;
    fs::write(&examples, &bytes).unwrap();
    let told = fails(1, &["experiment", &toml, "--work", &whole, "--report"]);
    assert!(
        told.contains("examples.json") && told.contains("hash"),
        "{told}"
    );
    // Another configuration is not mixed with what is there.
    let other = [
        "experiment",
        &toml,
        "--work",
        &work,
        "--set",
        "train.steps=7",
    ];
    let told = fails(1, &other);
    assert!(
        told.contains("steps") && told.contains("--overwrite"),
        "{told}"
    );
    let missing = [
        "experiment",
        &toml,
        "--work",
        &work,
        "--set",
        "evaluate.blimp=none.jsonl",
    ];
    assert!(fails(1, &missing).contains("none.jsonl"));
    let unknown = [
        "experiment",
        &toml,
        "--work",
        &work,
        "--set",
        "trian.steps=7",
    ];
    let told = fails(2, &unknown);
    assert!(told.contains("did you mean train?"), "{told}");
}

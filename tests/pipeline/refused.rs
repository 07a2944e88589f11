//! What does not fit, or is not as it was written, is refused with what to do.

use super::*;

#[test]
fn wrong_use_exits_with_2_and_says_what_to_do() {
    let message = fails(
        2,
        &["run", "pipelines/quickstart.toml", "--set", "train.stesp=5"],
    );
    assert!(message.contains("did you mean steps?"), "{message}");
    let message = fails(2, &["count", "x", "--output", "y", "--min-cuont", "3"]);
    assert!(message.contains("--min-count"), "{message}");
    let message = fails(
        2,
        &["train", "x", "-o", "y", "--masking.corruption-rate", "1.5"],
    );
    assert!(message.contains("masking.corruption_rate"), "{message}");
    let message = fails(
        2,
        &[
            "tokenize",
            "/nowhere/*.txt",
            "--tokenizer",
            TOKENIZER,
            "-o",
            "y",
        ],
    );
    assert!(message.contains("/nowhere/*.txt"), "{message}");
    let message = fails(
        2,
        &[
            "tokenize",
            NOVEL,
            "--tokenizer",
            TOKENIZER,
            "-o",
            "y",
            "--part",
            "4",
            "--of",
            "4",
        ],
    );
    assert!(message.contains("number the parts from 0"), "{message}");
    assert!(!Path::new(env!("CARGO_MANIFEST_DIR")).join("y").exists());
}

#[test]
fn artefacts_that_do_not_belong_together_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    done(&[
        "tokenize",
        NOVEL,
        "--tokenizer",
        TOKENIZER,
        "-o",
        &at(folder, "tokens"),
    ]);
    let message = fails(
        1,
        &["count", &at(folder, "nothing"), "-o", &at(folder, "counts")],
    );
    assert!(message.contains("no such file"), "{message}");
    let message = fails(
        1,
        &[
            "vocabulary",
            &at(folder, "tokens"),
            "-o",
            &at(folder, "v.parquet"),
        ],
    );
    assert!(
        message.contains("found token files, expected n-gram counts"),
        "{message}"
    );

    // PMI units asked of shards without them.
    done(&[
        "shard",
        &at(folder, "tokens"),
        "-o",
        &at(folder, "shards"),
        "--batch-tokens",
        "4096",
    ]);
    let message = fails(
        1,
        &[
            "train",
            &at(folder, "shards"),
            "-o",
            &at(folder, "model"),
            "--masking.strategy",
            "pmi",
        ],
    );
    assert!(message.contains("--vocabulary"), "{message}");

    // Another tokenizer put in the place of the one that wrote the ids.
    let record = folder.join("shards/tokenizer.json");
    let other = "tests/data/tokenizers/unigram/tokenizer.json";
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(other), &record).unwrap();
    for command in [
        vec!["verify", &at(folder, "shards")],
        vec!["mask", &at(folder, "shards")],
        vec!["train", &at(folder, "shards"), "-o", &at(folder, "model")],
    ] {
        let message = fails(1, &command);
        assert!(message.contains("put that tokenizer back"), "{message}");
    }

    // A newer format.
    let manifest = folder.join("tokens/manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"format\": 1", "\"format\": 9")).unwrap();
    let message = fails(
        1,
        &["count", &at(folder, "tokens"), "-o", &at(folder, "counts")],
    );
    assert!(
        message.contains("format version 9") && message.contains("newer cloze"),
        "{message}"
    );
}

#[test]
fn a_flipped_byte_or_a_cut_file_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    undisturbed(dir.path());
    for artefact in [
        "tokens",
        "counts",
        "vocabulary/v.parquet",
        "shards",
        "model",
    ] {
        let path = dir.path().join(artefact);
        done(&["verify", &path.display().to_string()]);
        let folder = if path.is_dir() {
            path.clone()
        } else {
            path.parent().unwrap().into()
        };
        let mut checked = 0;
        for (name, bytes) in bytes_of(&folder) {
            let is_file_of_artefact = name.ends_with(".arrow")
                || name.ends_with(".parquet")
                || name.ends_with("tokenizer.json")
                || name == "export/model.safetensors";
            if !is_file_of_artefact {
                continue;
            }
            let file = folder.join(&name);
            for place in [bytes.len() / 3, bytes.len() - 20] {
                let mut damaged = bytes.clone();
                damaged[place] ^= 0x40;
                fs::write(&file, &damaged).unwrap();
                let message = fails(1, &["verify", &path.display().to_string()]);
                assert!(message.contains(&name), "{name} at {place}: {message}");
            }
            fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
            let message = fails(1, &["verify", &path.display().to_string()]);
            assert!(message.contains(&name), "{name} cut short: {message}");
            fs::write(&file, &bytes).unwrap();
            checked += 1;
            if checked == 3 {
                break;
            }
        }
        assert!(checked > 0, "{artefact}");
        done(&["verify", &path.display().to_string()]);
    }
    // Training notices by itself, at the record batch.
    let shard = dir.path().join("shards/shard-00000.arrow");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[2000] ^= 1;
    fs::write(&shard, &bytes).unwrap();
    let stage = training(dir.path());
    let output = stage
        .command(&dir.path().join("again"), &[])
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        message.contains("shard-00000.arrow, record batch"),
        "{message}"
    );
}

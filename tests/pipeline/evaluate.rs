//! `cloze evaluate`: known answers, and what it refuses.

use super::{TOKENIZER, at, done, fails, stages};
use cloze::base::token::SpecialTokens;
use cloze::config::ModelConfig;
use cloze::evaluation::{Evaluation, Examples};
use cloze::storage::Manifest;
use cloze::training::{Model, export};
use std::fs;
use std::path::Path;

const PAIRS: &str = r#"{"sentence_good": "The hounds were barking.", "sentence_bad": "The hounds was barking.", "field": "morphology", "linguistics_term": "agreement", "UID": "hounds"}
{"sentence_good": "Nobody had ever seen it.", "sentence_bad": "Everybody had ever seen it.", "field": "semantics", "linguistics_term": "npi", "UID": "ever"}

{"sentence_good": "A man on the moor sees her.", "sentence_bad": "A man on the moor see her.", "field": "morphology", "linguistics_term": "agreement", "UID": "hounds"}
{"sentence_good": "The same.", "sentence_bad": "The same.", "field": "semantics", "linguistics_term": "npi", "UID": "ever"}
"#;

/// A file of minimal pairs in `folder`.
pub fn pairs(folder: &Path) -> String {
    let path = at(folder, "pairs.jsonl");
    fs::write(&path, PAIRS).unwrap();
    path
}

/// The first `count` stages: four come to shards of one novel with units, five to a run.
fn after(count: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for stage in stages(dir.path()).iter().take(count) {
        stage.run(dir.path(), &[]);
    }
    dir
}

fn found(folder: &Path) -> Evaluation {
    Evaluation::read(&folder.join("evaluation.json")).unwrap()
}

fn total(folder: &Path, name: &str) -> f64 {
    let manifest = Manifest::read(&folder.join("manifest.json")).unwrap();
    manifest.totals[name].as_f64().unwrap()
}

/// A model whose logits are all 0, as a Hugging Face folder.
fn knows_nothing(folder: &Path, positions: u32) -> String {
    let tokens = fs::read_to_string(TOKENIZER).unwrap();
    let config = ModelConfig {
        layers: Some(1),
        hidden: Some(8),
        heads: Some(1),
        feed_forward: Some(8),
        positions: Some(positions),
        ..ModelConfig::default()
    };
    let mut model = Model::initial(&config, tokens.lines().count(), 1);
    for (_, matrix) in model.parameters.named_mut() {
        matrix.fill(0.0);
    }
    let path = folder.join("nothing");
    fs::create_dir_all(&path).unwrap();
    let special = SpecialTokens {
        pad: Some(0),
        ..SpecialTokens::default()
    };
    export(&model, &special, &path).unwrap();
    fs::write(path.join("vocab.txt"), tokens).unwrap();
    path.display().to_string()
}

#[test]
fn a_run_is_found_to_have_its_own_validation_loss() {
    let dir = after(5);
    let shards = at(dir.path(), "shards");
    let mut train = stages(dir.path()).swap_remove(4);
    let more = ["--masking.layout", "removed"].map(str::to_owned);
    train.arguments.extend(more);
    train.run(&dir.path().join("without"), &[]);
    // The operations of a GPU come to the same figures, but for rounding.
    let judged = |device: &str| {
        let output = dir.path().join(device);
        done(&[
            "evaluate",
            &at(dir.path(), "model"),
            "--shards",
            &shards,
            "--output",
            &output.display().to_string(),
            "--max-rows",
            "8",
            "--device",
            device,
            "--blimp",
            &pairs(dir.path()),
        ]);
        let lines = fs::read_to_string(output.join("blimp.jsonl")).unwrap();
        let pairs = lines.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["good"].as_f64().unwrap()
        });
        let mut figures: Vec<f64> = pairs.collect();
        figures.push(total(&output, "loss@0.4"));
        figures.push(total(&output, "accuracy@0.4"));
        figures
    };
    for (ours, theirs) in judged("cpu").iter().zip(judged("reference")) {
        assert!((ours - theirs).abs() < 1e-3, "{ours}, {theirs}");
    }
    for run in [dir.path().join("model"), dir.path().join("without/model")] {
        let output = run.with_file_name("found");
        done(&[
            "evaluate",
            &run.display().to_string(),
            "--shards",
            &shards,
            "--output",
            &output.display().to_string(),
            "--max-rows",
            "8",
            "--batch-size",
            "3",
            "--blimp",
            &pairs(dir.path()),
        ]);
        for (ours, theirs) in [
            ("loss@0.15", "validation_loss"),
            ("accuracy@0.15", "validation_accuracy"),
        ] {
            let (ours, theirs) = (total(&output, ours), total(&run, theirs));
            assert!((ours - theirs).abs() < 1e-6, "{run:?}: {ours}, {theirs}");
        }
        // The rate of its training, too.
        let rates: Vec<f64> = found(&output).masked.iter().map(|one| one.rate).collect();
        assert_eq!(rates, [0.15, 0.2, 0.4, 0.8]);
        let examples = Examples::read(&output.join("examples.json")).unwrap();
        assert_eq!(examples.of("loss@0.15").len(), 8);
        assert_eq!(examples.of("blimp").len(), 4);
        assert_eq!(examples.of("blimp/ever").len(), 2);
        let pairs = found(&output).blimp.unwrap();
        assert_eq!((pairs.ties, pairs.accuracy.examples), (1, 4));
        assert_eq!(pairs.by_phenomenon.len(), 2);
        // All of it lies in the units of one to five words, and in some decade.
        for one in found(&output).masked {
            for bins in [one.by_unit_words, one.by_word_tokens, one.by_frequency_rank] {
                let labels: u64 = bins.iter().map(|bin| bin.labels).sum();
                assert_eq!(labels, one.labels);
            }
        }
    }
}

#[test]
fn a_model_that_knows_nothing_has_the_perplexity_of_its_vocabulary() {
    let dir = after(4);
    let model = knows_nothing(dir.path(), 512);
    let output = dir.path().join("found");
    done(&[
        "evaluate",
        &model,
        "--shards",
        &at(dir.path(), "shards"),
        "--output",
        &output.display().to_string(),
        "--length",
        "512",
        "--share",
        "0.9",
        "--max-rows",
        "48",
        "--rates",
        "0.4,0.7",
        "--profile",
        "--blimp",
        &pairs(dir.path()),
    ]);
    let found = found(&output);
    let vocabulary = found.model.vocabulary as f64;
    assert_eq!(vocabulary, 30_522.0);
    for one in &found.masked {
        let apart = one.perplexity.mean / vocabulary - 1.0;
        assert!(apart.abs() < 1e-5, "{apart}");
        let profile = one.profile.as_ref().unwrap();
        assert_eq!(profile.by_confidence.len(), 1);
        let error = (one.accuracy.mean - 1.0 / vocabulary).abs();
        assert!((profile.calibration_error - error).abs() < 1e-6);
        assert!(profile.by_distance.len() > 4);
        // Uniform masks hide n-grams whole as often as theory has it.
        assert!(profile.hidden_whole.len() >= 2);
        for ngrams in profile.hidden_whole.iter().filter(|one| one.ngrams > 100) {
            let chance = ngrams.by_tokens;
            let deviation = (chance * (1.0 - chance) / ngrams.ngrams as f64).sqrt();
            let apart = (ngrams.counted.mean - chance) / deviation;
            assert!(apart.abs() < 4.0, "{ngrams:?}: {apart} standard deviations");
            assert!(chance <= ngrams.by_words + 1e-12);
        }
    }
    // Sentences are as likely as they are short, and pairs of one length are ties.
    let lines = fs::read_to_string(output.join("blimp.jsonl")).unwrap();
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let expected = -5.0 * vocabulary.ln();
    assert!((first["good"].as_f64().unwrap() - expected).abs() < 1e-4);
    assert_eq!(found.blimp.unwrap().accuracy.mean, 0.0);
    let shown =
        String::from_utf8(done(&["inspect", &output.display().to_string()]).stdout).unwrap();
    for word in ["an evaluation", "perplexity", "hidden whole", "hounds"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    done(&["verify", &output.display().to_string()]);
}

#[test]
fn what_cannot_be_evaluated_is_refused_with_the_way_out() {
    let dir = after(1);
    let (tokens, shards) = (at(dir.path(), "tokens"), at(dir.path(), "words"));
    done(&["shard", &tokens, "--output", &shards]);
    let model = knows_nothing(dir.path(), 16);
    let output = at(dir.path(), "found");
    let refused = |code, model: &str, more: &[&str]| {
        let mut arguments = vec!["evaluate", model, "--output", &output];
        arguments.extend(more);
        let message = fails(code, &arguments);
        assert!(!Path::new(&output).join("manifest.json").exists());
        message
    };
    let message = refused(2, &model, &[]);
    assert!(message.contains("--blimp"), "{message}");
    let message = refused(1, &model, &["--shards", &shards, "--strategies", "pmi"]);
    assert!(message.contains("without masking units"), "{message}");
    let message = refused(2, &model, &["--shards", &shards, "--length", "17"]);
    assert!(message.contains("16 positions"), "{message}");
    let message = refused(
        2,
        &model,
        &["--shards", &shards, "--strategies", "word", "--profile"],
    );
    assert!(message.contains("uniform"), "{message}");
    let message = refused(2, &model, &["--shards", &shards, "--strategies", "words"]);
    assert!(
        message.contains("word, pmi") || message.contains("pmi"),
        "{message}"
    );

    // Files of pairs.
    let file = at(dir.path(), "broken.jsonl");
    let long = "moor ".repeat(15);
    for (text, place, what) in [
        ("\n", "broken.jsonl: ", "no line"),
        (
            "\n{\"sentence_good\": \"a\"}\n",
            ", line 2",
            "missing field `sentence_bad`",
        ),
        (
            "{\"sentence_good\": \"a\", \"sentence_bad\": \"\", \"UID\": \"x\"}",
            ", line 1",
            "0 tokens",
        ),
        (
            &format!(
                "{PAIRS}{{\"sentence_good\": \"{long}\", \"sentence_bad\": \"a\", \"UID\": \"x\"}}"
            ),
            ", line 6",
            "1 to 14 tokens",
        ),
    ] {
        fs::write(&file, text).unwrap();
        let message = refused(1, &model, &["--blimp", &file]);
        assert!(
            message.contains(place) && message.contains(what),
            "{message}"
        );
    }

    // Models.
    let tokenizer = fs::read_to_string(TOKENIZER).unwrap();
    let beside = Path::new(&model).join("vocab.txt");
    fs::write(&beside, tokenizer.replace("\nthe\n", "\n[THE]\n")).unwrap();
    let message = refused(1, &model, &["--shards", &shards]);
    assert!(message.contains("\"[THE]\""), "{message}");
    fs::write(&beside, tokenizer.replace("\n[MASK]\n", "\n[HIDDEN]\n")).unwrap();
    let message = refused(1, &model, &["--blimp", &pairs(dir.path())]);
    assert!(message.contains("without a mask token"), "{message}");
    fs::remove_file(&beside).unwrap();
    let message = refused(1, &model, &["--blimp", &pairs(dir.path())]);
    assert!(message.contains("no tokenizer"), "{message}");
    let message = refused(1, &tokens, &["--shards", &shards]);
    assert!(message.contains("config.json"), "{message}");
    let run = dir.path().join("begun");
    fs::create_dir(&run).unwrap();
    fs::write(run.join("configuration.json"), "{}").unwrap();
    let message = refused(1, &run.display().to_string(), &["--shards", &shards]);
    assert!(message.contains("has not ended"), "{message}");
}

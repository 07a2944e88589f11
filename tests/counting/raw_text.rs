//! Counts straight from raw text: the words of token files or of Unicode, in parts,
//! under any bound, and what is refused.

use crate::{
    NOVEL, Novel, data, low_threshold, options, parquet_files, part, text, tokens_of, usual,
};
use cloze::base::size::ByteSize;
use cloze::columnar::CountsFile;
use cloze::config::CountConfig;
use cloze::config::TokenizeConfig;
use cloze::config::Unit;
use cloze::pipeline::count::count;
use cloze::pipeline::merge::merge;
use cloze::pipeline::runs::count_run;
use cloze::pipeline::tokenize::tokenize;
use std::fs;

#[test]
fn raw_text_cut_by_a_tokenizer_counts_as_its_token_files_do() {
    let Novel {
        dir,
        tokens,
        config,
    } = Novel::tokenised();
    let expected = dir.path().join("of-tokens");
    let of_tokens = count(&config, &tokens, &expected, &usual()).unwrap();
    let output = dir.path().join("of-text");
    let tokenizer = Some("tokenizers/bert-base-uncased/vocab.txt");
    let of_text = count(&config, text(tokenizer), &output, &usual()).unwrap();
    // The novel has no word that is unknown to the vocabulary.
    assert_eq!(parquet_files(&output), parquet_files(&expected));
    assert_eq!(of_text.total("words"), of_tokens.total("words"));
    assert_eq!(of_text.total("rejected"), 0);
}

#[test]
fn raw_text_needs_no_tokenizer_and_may_be_counted_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let config = low_threshold();
    let reference = dir.path().join("reference");
    let manifest = count(&config, text(None), &reference, &usual()).unwrap();
    assert!(manifest.total("ngrams_3") > 100);
    let read = fs::read_to_string(data("quickstart/Doyle_Hound_1902.txt")).unwrap();
    let apart = |c: char| !c.is_alphanumeric() && !"'’".contains(c);
    let holmes = read
        .split(apart)
        .filter(|word| word.eq_ignore_ascii_case("holmes"));
    let counts = CountsFile::open(&reference.join("counts-1.parquet")).unwrap();
    let mut found = 0;
    counts
        .read(|_, word, count| {
            found += if word == "holmes" { count } else { 0 };
            Ok(())
        })
        .unwrap();
    assert_eq!(found, holmes.count() as u64);

    // 64 KiB a chunk: some for every part.
    let small = TokenizeConfig {
        file_bytes: ByteSize(1 << 16),
        ..text(None)
    };
    let runs = dir.path().join("runs");
    for index in 0..3 {
        let part = count_run(&config, small.clone(), &runs, &part(index, 3)).unwrap();
        assert!(part.total("words") > 1000);
    }
    let merged = dir.path().join("merged");
    merge(&config, std::slice::from_ref(&runs), &merged, &usual()).unwrap();
    assert_eq!(parquet_files(&merged), parquet_files(&reference));
    // Runs of token files have other words.
    let of_tokens = dir.path().join("of-tokens");
    count_run(
        &config,
        &tokens_of(dir.path(), "tokens", &[NOVEL]),
        &of_tokens,
        &usual(),
    )
    .unwrap();
    let message = merge(
        &config,
        &[runs, of_tokens],
        &dir.path().join("both"),
        &usual(),
    )
    .unwrap_err()
    .to_string();
    assert!(message.contains("cut by Unicode"), "{message}");
}

#[test]
fn raw_text_under_any_bound_leaves_the_bytes_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let config = low_threshold();
    for (name, tokenizer) in [
        ("unicode", None),
        ("bert", Some("tokenizers/bert-base-uncased/vocab.txt")),
    ] {
        let of = |threads: usize, memory: u64| {
            let output = dir.path().join(format!("{name}-{threads}-{memory}"));
            let options = options(threads, ByteSize::mib(memory));
            count(&config, text(tokenizer), &output, &options).unwrap();
            parquet_files(&output)
        };
        let expected = of(2, 1024);
        assert_eq!(expected.len(), 5);
        // As much as there must be, so that nothing is remembered; less than eight
        // threads need.
        for (threads, memory) in [(1, 112), (2, 128), (8, 128)] {
            assert!(
                of(threads, memory) == expected,
                "{name}, {threads} threads, {memory} MiB"
            );
        }
    }
}

#[test]
fn a_bound_that_raw_text_cannot_keep_is_refused_with_the_least() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |config: &CountConfig, tokenizer, memory| {
        let output = dir.path().join("counts");
        let small = options(2, ByteSize::mib(memory));
        let error = count(config, text(tokenizer), &output, &small).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    };
    let message = refused(&low_threshold(), None, 79);
    assert!(message.contains("--memory: found 79MiB"), "{message}");
    assert!(message.contains("at least 80MiB"), "{message}");
    let bert = Some("tokenizers/bert-base-uncased/vocab.txt");
    let message = refused(&low_threshold(), bert, 100);
    assert!(message.contains("at least 110MiB"), "{message}");
    // Shorter n-grams have fewer files.
    let words = CountConfig {
        max_length: 1,
        ..low_threshold()
    };
    let output = dir.path().join("words");
    count(&words, text(None), &output, &options(2, ByteSize::mib(64))).unwrap();
}

#[test]
fn raw_text_that_cannot_be_used_is_counted_and_too_much_of_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let lines = dir.path().join("lines.jsonl");
    let mut jsonl = "{\"text\": \"new york city\"}\n".repeat(3);
    jsonl.push_str("{\"body\": 1}\n");
    fs::write(&lines, jsonl).unwrap();
    let input = |max_rejected: f64| TokenizeConfig {
        inputs: vec![lines.display().to_string()],
        max_rejected,
        ..TokenizeConfig::default()
    };
    let output = dir.path().join("counts");
    let message = count(&low_threshold(), input(0.1), &output, &usual())
        .unwrap_err()
        .to_string();
    assert!(message.contains("1 of 4 documents"), "{message}");
    assert!(message.contains("lines.jsonl, byte 78"), "{message}");
    let manifest = count(&low_threshold(), input(0.5), &output, &usual()).unwrap();
    assert_eq!(manifest.total("rejected"), 1);
    assert_eq!(manifest.total("ngrams"), 6);
    let tokens = CountConfig {
        unit: Unit::Token,
        ..low_threshold()
    };
    let error = count(&tokens, input(0.5), &output, &usual()).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let missing = TokenizeConfig {
        inputs: vec!["no-such-file".into()],
        ..input(0.5)
    };
    let error = count(&low_threshold(), missing, &output, &usual()).unwrap_err();
    assert!(error.to_string().starts_with("--input: "), "{error}");
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn an_empty_corpus_is_refused_as_tokenising_refuses_it() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.jsonl");
    fs::write(&empty, "").unwrap();
    let input = TokenizeConfig {
        inputs: vec![empty.display().to_string()],
        tokenizer: data("tokenizers/bert-base-uncased/vocab.txt"),
        ..TokenizeConfig::default()
    };
    let output = dir.path().join("counts");
    let counted = count(&low_threshold(), input.clone(), &output, &usual()).unwrap_err();
    assert!(
        !output.exists(),
        "it was refused before anything was written"
    );
    let tokens = dir.path().join("tokens");
    let tokenised = tokenize(&input, &tokens, &usual()).unwrap_err();
    let tokenised = tokenised.to_string();
    let said = tokenised.replace("tokenize.inputs: ", "--input: ");
    assert_eq!(counted.to_string(), said);
    assert!(said.contains("no document in any input"), "{said}");
    // A part may have none.
    let of_part = count_run(&low_threshold(), input, &output, &part(0, 2)).unwrap();
    assert_eq!(of_part.total("words"), 0);
}

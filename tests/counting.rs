//! The stages `count` and `vocabulary` on a novel: the same bytes whatever the
//! threads, the memory and the number of parts, merged in whatever way; what does not
//! fit is refused.

use cloze::base::error::Error;
use cloze::base::part::Part;
use cloze::base::size::ByteSize;
use cloze::columnar::CountsFile;
use cloze::config::{CountConfig, DocumentRule, Score, TokenizeConfig, Unit, VocabularyConfig};
use cloze::pipeline::count::count;
use cloze::pipeline::merge::{merge, merge_to_run};
use cloze::pipeline::runs::count_run;
use cloze::pipeline::stage::StageOptions;
use cloze::pipeline::tokenize::tokenize;
use cloze::pipeline::verify::verify;
use cloze::pipeline::vocabulary::vocabulary;
use cloze::statistics::MaskingVocabulary;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Instant;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn options(threads: usize, memory: ByteSize) -> StageOptions {
    StageOptions {
        threads,
        memory,
        ..StageOptions::new()
    }
}

fn usual() -> StageOptions {
    options(2, ByteSize::mib(1024))
}

/// Tokenises the novel into `folder`/tokens, in small record batches.
fn tokens(folder: &Path) -> PathBuf {
    tokens_of(folder, "tokens", &["Doyle_Hound_1902.txt"])
}

fn tokens_of(folder: &Path, name: &str, texts: &[&str]) -> PathBuf {
    let output = folder.join(name);
    let quickstart = data("quickstart");
    let config = TokenizeConfig {
        inputs: texts
            .iter()
            .map(|text| quickstart.join(text).display().to_string())
            .collect(),
        tokenizer: data("tokenizers/bert-base-uncased/vocab.txt"),
        document: DocumentRule::Paragraph,
        batch_tokens: 4096,
        ..TokenizeConfig::default()
    };
    tokenize(&config, &output, &options(2, ByteSize::mib(4096))).unwrap();
    output
}

fn low_threshold() -> CountConfig {
    CountConfig {
        min_count: 3,
        ..CountConfig::default()
    }
}

/// Names and bytes of all Parquet files.
fn parquet_files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .filter(|(name, _)| name.ends_with(".parquet"))
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect()
}

#[test]
fn threads_memory_and_parts_leave_the_bytes_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokens(dir.path());
    let config = low_threshold();
    let reference = dir.path().join("reference");
    let manifest = count(&config, &tokens, &reference, &usual()).unwrap();
    let expected = parquet_files(&reference);
    assert_eq!(expected.len(), 5);
    assert!(manifest.total("ngrams_2") > 1000);
    assert!(manifest.total("ngrams_5") > 0);
    for (threads, memory) in [(1, 1024), (8, 1024), (1, 2), (2, 2), (8, 2)] {
        let output = dir.path().join(format!("{threads}-{memory}"));
        let options = options(threads, ByteSize::mib(memory));
        let found = count(&config, &tokens, &output, &options).unwrap();
        assert_eq!(
            parquet_files(&output),
            expected,
            "{threads} threads, {memory} MiB"
        );
        assert_eq!(found.totals, manifest.totals);
        assert!(!dir.path().join(".scratch").exists());
    }
}

fn part(index: u32, of: u32) -> StageOptions {
    StageOptions {
        part: Part::new(index, of).unwrap(),
        ..usual()
    }
}

/// Counts `tokens` to the runs of `of` parts, last part first.
fn runs_of(config: &CountConfig, tokens: &Path, output: &Path, of: u32) {
    for index in (0..of).rev() {
        count_run(config, tokens, output, &part(index, of)).unwrap();
    }
}

#[test]
fn one_three_and_eight_parts_merge_to_the_bytes_of_a_count_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokens(dir.path());
    let config = low_threshold();
    let reference = dir.path().join("reference");
    let manifest = count(&config, &tokens, &reference, &usual()).unwrap();
    let expected = parquet_files(&reference);
    for of in [1, 3, 8] {
        let runs = dir.path().join(format!("runs-{of}"));
        runs_of(&config, &tokens, &runs, of);
        verify(&runs).unwrap();
        let merged = dir.path().join(format!("merged-{of}"));
        let found = merge(&config, std::slice::from_ref(&runs), &merged, &usual()).unwrap();
        assert_eq!(parquet_files(&merged), expected, "{of} parts");
        assert_eq!(found.totals, manifest.totals);
        // Key ranges joined one machine each: there is one range here.
        let shared = dir.path().join(format!("shared-{of}"));
        for index in 0..2 {
            merge(
                &config,
                std::slice::from_ref(&runs),
                &shared,
                &part(index, 2),
            )
            .unwrap();
        }
        assert_eq!(
            parquet_files(&shared),
            expected,
            "{of} parts, merged in two"
        );
    }
    assert!(!dir.path().join(".scratch").exists());
}

#[test]
fn threads_and_memory_leave_the_bytes_of_a_run_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokens(dir.path());
    let config = low_threshold();
    let mut expected = None;
    for (threads, memory) in [(1, 1024), (8, 1024), (1, 4), (2, 4)] {
        let output = dir.path().join(format!("{threads}-{memory}"));
        let options = options(threads, ByteSize::mib(memory));
        count_run(&config, &tokens, &output, &options).unwrap();
        let found = [
            fs::read(output.join("words.parquet")),
            fs::read(output.join("windows.arrow")),
        ]
        .map(|bytes| bytes.unwrap());
        let expected = expected.get_or_insert_with(|| found.clone());
        assert!(found == *expected, "{threads} threads, {memory} MiB");
    }
}

#[test]
fn text_that_comes_later_is_merged_without_counting_again() {
    let dir = tempfile::tempdir().unwrap();
    let config = low_threshold();
    let october = tokens_of(dir.path(), "october", &["Doyle_Hound_1902.txt"]);
    let november = tokens_of(dir.path(), "november", &["wikipedia-en.jsonl.zst"]);
    let both = tokens_of(
        dir.path(),
        "both",
        &["Doyle_Hound_1902.txt", "wikipedia-en.jsonl.zst"],
    );
    let reference = dir.path().join("reference");
    count(&config, &both, &reference, &usual()).unwrap();
    let runs: Vec<PathBuf> = [october, november]
        .iter()
        .zip(["runs-october", "runs-november"])
        .map(|(tokens, name)| {
            let runs = dir.path().join(name);
            count_run(&config, tokens, &runs, &usual()).unwrap();
            runs
        })
        .collect();
    let merged = dir.path().join("merged");
    merge(&config, &runs, &merged, &usual()).unwrap();
    assert_eq!(parquet_files(&merged), parquet_files(&reference));
    // One run of both, to go on from: of other token files, but of the same counts.
    let joined = dir.path().join("runs-joined");
    merge_to_run(&runs, &joined, &usual()).unwrap();
    verify(&joined).unwrap();
    let again = dir.path().join("again");
    merge(&config, std::slice::from_ref(&joined), &again, &usual()).unwrap();
    assert_eq!(parquet_files(&again), parquet_files(&reference));
    // A higher threshold and shorter n-grams need no new count.
    let stricter = CountConfig {
        min_count: 9,
        max_length: 3,
        ..config
    };
    let (at_once, later) = (dir.path().join("at-once"), dir.path().join("later"));
    count(&stricter, &both, &at_once, &usual()).unwrap();
    merge(&stricter, &runs, &later, &usual()).unwrap();
    assert_eq!(parquet_files(&later), parquet_files(&at_once));
}

#[test]
fn runs_that_do_not_belong_together_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokens(dir.path());
    let config = low_threshold();
    let runs = dir.path().join("runs");
    let cased = dir.path().join("cased");
    count_run(&config, &tokens, &runs, &usual()).unwrap();
    let other = CountConfig {
        cased: true,
        ..config.clone()
    };
    count_run(&other, &tokens, &cased, &usual()).unwrap();
    let output = dir.path().join("counts");
    let refused = |config: &CountConfig, runs: &[&PathBuf]| {
        let runs: Vec<PathBuf> = runs.iter().map(|&run| run.clone()).collect();
        merge(config, &runs, &output, &usual())
            .unwrap_err()
            .to_string()
    };
    let message = refused(&config, &[&runs, &cased]);
    assert!(message.contains("\"cased\":true"), "{message}");
    let message = refused(&config, &[&runs, &runs]);
    assert!(message.contains("the same runs"), "{message}");
    let message = refused(&other, &[&runs]);
    assert!(message.contains("leave the flags out"), "{message}");
    let message = refused(&config, &[&tokens]);
    assert!(message.contains("sorted runs"), "{message}");
    // A part that is missing is named.
    let parts = dir.path().join("parts");
    count_run(&config, &tokens, &parts, &part(1, 2)).unwrap();
    let message = refused(&config, &[&parts]);
    assert!(message.contains("--part 0"), "{message}");
    assert!(!output.exists());
}

#[test]
fn a_flipped_byte_in_a_run_never_changes_a_count() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokens(dir.path());
    let config = low_threshold();
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

#[test]
fn a_run_or_a_merge_that_was_stopped_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokens(dir.path());
    let config = low_threshold();
    let runs = dir.path().join("runs");
    runs_of(&config, &tokens, &runs, 3);
    let reference = dir.path().join("reference");
    merge(&config, std::slice::from_ref(&runs), &reference, &usual()).unwrap();
    // As a kill leaves it: a part without its manifest, a half-written file.
    let bytes = fs::read(runs.join("windows-00001-of-00003.arrow")).unwrap();
    fs::remove_file(runs.join("manifest-00001-of-00003.json")).unwrap();
    fs::remove_file(runs.join("words-00001-of-00003.parquet")).unwrap();
    fs::write(runs.join(".words-00001-of-00003.parquet.partial"), "half").unwrap();
    let stopped = part(1, 3);
    stopped.stop.store(true, Ordering::Relaxed);
    let error = count_run(&config, &tokens, &runs, &stopped).unwrap_err();
    assert!(matches!(error, Error::Interrupted));
    runs_of(&config, &tokens, &runs, 3);
    assert_eq!(
        fs::read(runs.join("windows-00001-of-00003.arrow")).unwrap(),
        bytes
    );

    let output = dir.path().join("counts");
    let folder = std::slice::from_ref(&runs);
    let error = merge(&config, folder, &output, &stopped_whole()).unwrap_err();
    assert!(matches!(error, Error::Interrupted));
    merge(&config, folder, &output, &usual()).unwrap();
    assert_eq!(parquet_files(&output), parquet_files(&reference));
    assert!(!output.join(".counts-1.parquet.partial").exists());
}

fn stopped_whole() -> StageOptions {
    let options = usual();
    options.stop.store(true, Ordering::Relaxed);
    options
}

#[test]
fn counts_become_a_vocabulary_and_its_coverage() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokens(dir.path());
    let counts = dir.path().join("counts");
    count(&low_threshold(), &tokens, &counts, &usual()).unwrap();
    let output = dir.path().join("vocabulary.parquet");
    let config = VocabularyConfig {
        size: 200,
        shares: vec![0.75, 0.25],
        score: Score::Pmi2,
        ..VocabularyConfig::default()
    };
    let make = |config: &VocabularyConfig, options: &StageOptions| {
        vocabulary(config, Some(&counts), Some(&tokens), &output, options)
    };
    let manifest = make(&config, &usual()).unwrap();
    assert_eq!(manifest.total("ngrams"), 200);
    assert_eq!(manifest.total("ngrams_2"), 150);
    let coverage = manifest.totals["coverage"].as_f64().unwrap();
    assert!((0.01..0.5).contains(&coverage), "{coverage}");
    let read = MaskingVocabulary::read(&output).unwrap();
    assert_eq!(read.provenance.score, "pmi2");
    assert_eq!(read.provenance.min_count, Some(3));
    let ngrams: Vec<&str> = read.iter().map(|entry| entry.ngram).collect();
    assert!(ngrams.contains(&"sir henry"), "{ngrams:?}");
    assert!(ngrams.contains(&"baker street"), "{ngrams:?}");

    // Made once, it is left as it is; made otherwise, it is refused.
    let written = fs::metadata(&output).unwrap().modified().unwrap();
    make(&config, &options(1, ByteSize::mib(512))).unwrap();
    assert_eq!(fs::metadata(&output).unwrap().modified().unwrap(), written);
    let other = VocabularyConfig {
        size: 300,
        ..config
    };
    let message = make(&other, &usual()).unwrap_err().to_string();
    assert!(message.contains("size = 200 (now 300)"), "{message}");
}

#[test]
fn too_little_memory_for_counts_is_told_with_the_need() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokens(dir.path());
    let counts = dir.path().join("counts");
    count(&low_threshold(), &tokens, &counts, &usual()).unwrap();
    let error = vocabulary(
        &VocabularyConfig::default(),
        Some(&counts),
        None,
        &dir.path().join("vocabulary.parquet"),
        &options(1, ByteSize(1000)),
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("found 1000B, expected"),
        "{error}"
    );
    assert_eq!(error.exit_code(), 1);
}

#[test]
fn counts_with_a_part_missing_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokens(dir.path());
    let counts = dir.path().join("counts");
    let runs = dir.path().join("runs");
    count_run(&low_threshold(), &tokens, &runs, &usual()).unwrap();
    merge(&low_threshold(), &[runs], &counts, &part(0, 2)).unwrap();
    let output = dir.path().join("vocabulary.parquet");
    let config = VocabularyConfig::default();
    let message = vocabulary(&config, Some(&counts), None, &output, &usual())
        .unwrap_err()
        .to_string();
    assert!(message.contains("--part 1"), "{message}");
}

#[test]
fn a_published_list_is_imported_with_its_oddities_counted() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list.txt");
    fs::write(&list, "Baker Street\nsir henry\n\nalone\nsir  henry\n").unwrap();
    let output = dir.path().join("vocabulary.parquet");
    let config = VocabularyConfig {
        import: Some(list),
        ..VocabularyConfig::default()
    };
    let manifest = vocabulary(&config, None, None, &output, &usual()).unwrap();
    assert_eq!(manifest.total("ngrams"), 2);
    assert_eq!(manifest.total("lines_blank"), 1);
    assert_eq!(manifest.total("lines_duplicate"), 1);
    assert_eq!(manifest.total("lines_of_one_word"), 1);
    let read = MaskingVocabulary::read(&output).unwrap();
    let entries: Vec<(&str, f64)> = read.iter().map(|e| (e.ngram, e.score)).collect();
    assert_eq!(entries, [("baker street", 5.0), ("sir henry", 4.0)]);
    let both = vocabulary(&config, Some(dir.path()), None, &output, &usual()).unwrap_err();
    assert_eq!(both.exit_code(), 2);
}

/// Raw text as it is read by `tokens_of`.
fn text(tokenizer: Option<&str>) -> TokenizeConfig {
    let novel = data("quickstart/Doyle_Hound_1902.txt");
    TokenizeConfig {
        inputs: vec![novel.display().to_string()],
        tokenizer: tokenizer.map(data).unwrap_or_default(),
        document: DocumentRule::Paragraph,
        ..TokenizeConfig::default()
    }
}

#[test]
fn raw_text_cut_by_a_tokenizer_counts_as_its_token_files_do() {
    let dir = tempfile::tempdir().unwrap();
    let config = low_threshold();
    let tokens = tokens(dir.path());
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
    count_run(&config, &tokens(dir.path()), &of_tokens, &usual()).unwrap();
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
}

/// The binary with these arguments.
fn cloze(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloze"));
    command.args(arguments).args(["--log-format", "silent"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn a_part_or_a_merge_killed_at_many_points_ends_with_the_same_bytes() {
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
    type Arguments<'a> = &'a dyn Fn(&str) -> Vec<String>;
    let stages: [(&str, Arguments<'_>, &str); 2] = [
        ("part", &|output| parts(output)[1].clone(), "runs"),
        ("merge", &merge, "counts"),
    ];
    for (name, arguments, reference) in stages {
        let began = Instant::now();
        run(&arguments(&at(&format!("{name}-timed"))));
        let whole = began.elapsed();
        let mut killed = 0;
        for point in 1..=POINTS {
            let output = at(&format!("{name}-{point}"));
            let typed = arguments(&output);
            let typed: Vec<&str> = typed.iter().map(String::as_str).collect();
            let mut child = cloze(&typed).spawn().unwrap();
            std::thread::sleep(whole * point / (POINTS + 1));
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
fn a_full_disk_ends_a_run_with_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokens(dir.path());
    let small = dir.path().join("small");
    fs::create_dir(&small).unwrap();
    // A file system of 64 KiB in a mount namespace of its own, for the run or its scratch.
    for (output, scratch) in [("small/runs", "scratch"), ("runs", "small/scratch")] {
        let script = format!(
            "mount -t tmpfs -o size=64k tmpfs {small} && \
             {cloze} count {tokens} --runs --memory 4MiB -o {output} --scratch {scratch}; \
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

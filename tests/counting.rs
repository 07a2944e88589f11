//! The stages `count` and `vocabulary` on a novel: the same bytes whatever the
//! threads, the memory and the number of parts; what does not fit is refused.

use cloze::base::part::Part;
use cloze::base::size::ByteSize;
use cloze::config::{CountConfig, Score, TokenizeConfig, VocabularyConfig};
use cloze::pipeline::count::count;
use cloze::pipeline::stage::StageOptions;
use cloze::pipeline::tokenize::tokenize;
use cloze::pipeline::vocabulary::vocabulary;
use cloze::statistics::MaskingVocabulary;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

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
    let output = folder.join("tokens");
    let novel = data("quickstart/Doyle_Hound_1902.txt");
    let config = TokenizeConfig {
        inputs: vec![novel.display().to_string()],
        tokenizer: data("tokenizers/bert-base-uncased/vocab.txt"),
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
    for of in [2, 3] {
        let output = dir.path().join(format!("parts-{of}"));
        for index in (0..of).rev() {
            let part = StageOptions {
                part: Part::new(index, of).unwrap(),
                ..usual()
            };
            count(&config, &tokens, &output, &part).unwrap();
        }
        assert_eq!(parquet_files(&output), expected, "{of} parts");
    }
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
    let first = StageOptions {
        part: Part::new(0, 2).unwrap(),
        ..usual()
    };
    count(&low_threshold(), &tokens, &counts, &first).unwrap();
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

//! From counts, or a published list, to a masking vocabulary.

use crate::{Novel, counted, low_threshold, options, usual};
use cloze::base::size::ByteSize;
use cloze::config::Score;
use cloze::config::VocabularyConfig;
use cloze::pipeline::stage::StageOptions;
use cloze::pipeline::vocabulary::vocabulary;
use cloze::statistics::MaskingVocabulary;
use std::fs;

#[test]
fn counts_become_a_vocabulary_and_its_coverage() {
    let Novel { dir, tokens, .. } = Novel::tokenised();
    let counts = dir.path().join("counts");
    counted(&low_threshold(), &tokens, &counts);
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
    let Novel { dir, tokens, .. } = Novel::tokenised();
    let counts = dir.path().join("counts");
    counted(&low_threshold(), &tokens, &counts);
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

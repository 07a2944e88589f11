//! Sorted runs of parts, and of text that came later, merged to the bytes of a count at
//! once; what does not belong together is refused.

use crate::{NOVEL, Novel, counted, low_threshold, parquet_files, part, runs_of, tokens_of, usual};
use cloze::config::CountConfig;
use cloze::config::VocabularyConfig;
use cloze::pipeline::count::count;
use cloze::pipeline::merge::merge;
use cloze::pipeline::merge::merge_to_run;
use cloze::pipeline::runs::count_run;
use cloze::pipeline::stage::StageOptions;
use cloze::pipeline::verify::verify;
use cloze::pipeline::vocabulary::vocabulary;
use std::path::PathBuf;

#[test]
fn one_three_and_eight_parts_merge_to_the_bytes_of_a_count_at_once() {
    let Novel {
        dir,
        tokens,
        config,
    } = Novel::tokenised();
    let (manifest, expected) = counted(&config, &tokens, &dir.path().join("reference"));
    for of in [1, 3, 8] {
        let runs = dir.path().join(format!("runs-{of}"));
        runs_of(&config, &tokens, &runs, of);
        verify(&runs, &StageOptions::new()).unwrap();
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
fn text_that_comes_later_is_merged_without_counting_again() {
    let dir = tempfile::tempdir().unwrap();
    let config = low_threshold();
    let october = tokens_of(dir.path(), "october", &[NOVEL]);
    let november = tokens_of(dir.path(), "november", &["wikipedia-en.jsonl.zst"]);
    let both = tokens_of(dir.path(), "both", &[NOVEL, "wikipedia-en.jsonl.zst"]);
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
    verify(&joined, &StageOptions::new()).unwrap();
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
    let Novel {
        dir,
        tokens,
        config,
    } = Novel::tokenised();
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
fn counts_with_a_part_missing_are_refused() {
    let Novel { dir, tokens, .. } = Novel::tokenised();
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

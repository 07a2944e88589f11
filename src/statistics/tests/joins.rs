//! Runs of parts, joined, are the counts of the whole; whatever the parts.

use super::counts::{Documents, Kept, config, documents, tokenizer};
use crate::base::error::Result;
use crate::base::part::Part;
use crate::base::size::ByteSize;
use crate::columnar::{CountsWriter, RunFile, RunWriter};
use crate::config::{CountConfig, Punctuation, Unknown};
use crate::statistics::tally::Totals;
use crate::statistics::{Counting, Counts, Join, Run, RunSink, WordSource};
use crate::tokenizer::WordTexts;
use proptest::prelude::*;
use std::fs::File;
use std::path::Path;

/// Writes a run to two files.
struct Files {
    words: std::path::PathBuf,
    windows: RunWriter<File>,
}

impl Files {
    fn new(folder: &Path, number: usize, length: u32) -> Self {
        let windows = folder.join(format!("windows-{number}.arrow"));
        let out = File::create(windows).unwrap();
        Self {
            words: folder.join(format!("words-{number}.parquet")),
            windows: RunWriter::new(out, "test", length as usize).unwrap(),
        }
    }

    fn finish(self, length: u32) -> Run {
        self.windows.finish().unwrap();
        let windows = self.words.display().to_string();
        let windows = windows
            .replace("words", "windows")
            .replace("parquet", "arrow");
        Run {
            words: self.words,
            windows: RunFile::open(Path::new(&windows), length as usize).unwrap(),
        }
    }
}

impl RunSink for Files {
    fn begin(&mut self, counts: &Counts) -> Result<()> {
        let mut words = CountsWriter::new(File::create(&self.words).unwrap(), "test", 1)?;
        for (id, count) in (0..).zip(&counts.dictionary.counts) {
            words.push(&[id], counts.dictionary.words.text(id), *count)?;
        }
        words.finish(&serde_json::json!({})).map(drop)
    }

    fn window(&mut self, window: &[u32], count: u64) -> Result<()> {
        self.windows.push(window, count)
    }
}

/// A run of each of `parts`, and what they come to together.
fn runs(
    folder: &Path,
    parts: &[Documents],
    config: &CountConfig,
    memory: u64,
) -> (Vec<Run>, Totals) {
    let tokenizer = tokenizer();
    let texts = WordTexts::new(&tokenizer, config.rules());
    let mut totals = Totals::default();
    let mut runs = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let mut files = Files::new(folder, number, config.max_length);
        let counting = Counting {
            memory: ByteSize(memory),
            ..Counting::new(config, WordSource::Tokens(&texts), folder)
        };
        let counts = counting.sorted_run(part, &mut files).unwrap();
        totals.add(&counts.totals);
        runs.push(files.finish(config.max_length));
    }
    (runs, totals)
}

fn whole(documents: &Documents, config: &CountConfig, range_words: u64) -> (Counts, Kept) {
    let tokenizer = tokenizer();
    let texts = WordTexts::new(&tokenizer, config.rules());
    let scratch = tempfile::tempdir().unwrap();
    let mut counting = Counting::new(config, WordSource::Tokens(&texts), scratch.path());
    counting.range_words = range_words;
    let mut kept = Kept::default();
    let counts = counting.run(documents, &mut kept).unwrap();
    (counts, kept)
}

/// Document k goes to part k mod `of`.
fn divided(documents: &Documents, of: usize) -> Vec<Documents> {
    (0..of)
        .map(|part| Documents(documents.0.iter().skip(part).step_by(of).cloned().collect()))
        .collect()
}

fn nothing_to_check() -> Result<()> {
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn runs_of_parts_joined_are_the_whole(
        documents in documents(),
        config in config(),
        of in 1usize..5,
        threads in prop::sample::select(vec![1usize, 3]),
        range_words in 1u64..60,
        merges in 1u32..4,
        shorter in 0u32..3,
        memory in 20_000u64..24_000,
    ) {
        let config = CountConfig { max_length: config.max_length.max(1), ..config };
        let wanted = CountConfig { max_length: config.max_length.saturating_sub(shorter).max(1), ..config.clone() };
        let (expected_counts, expected) = whole(&documents, &wanted, range_words);
        let folder = tempfile::tempdir().unwrap();
        let (runs, totals) = runs(folder.path(), &divided(&documents, of), &config, memory);
        let mut found = Kept::default();
        for index in 0..merges {
            let mut kept = Kept::default();
            let join = Join {
                max_length: wanted.max_length as usize,
                min_count: wanted.min_count,
                part: Part::new(index, merges).unwrap(),
                threads,
                range_words,
                ..Join::new(&runs, totals, config.max_length as usize, &nothing_to_check)
            };
            let counts = join.counts(&mut kept).unwrap();
            prop_assert_eq!(counts.totals, expected_counts.totals);
            prop_assert_eq!(counts.distinct_words, expected_counts.distinct_words);
            prop_assert_eq!(&counts.dictionary.counts, &expected_counts.dictionary.counts);
            prop_assert_eq!(counts.ranges, expected_counts.ranges);
            found.rows.extend(kept.rows);
        }
        for length in 1..=5 {
            let mut rows = found.of_length(length);
            rows.sort_by_key(|row| row.0);
            prop_assert_eq!(rows, expected.of_length(length));
        }
    }

    #[test]
    fn runs_joined_to_one_run_are_that_of_the_whole(
        documents in documents(),
        config in config(),
        of in 1usize..4,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (parts, totals) = runs(folder.path(), &divided(&documents, of), &config, 1 << 20);
        let mut joined = Files::new(folder.path(), 98, config.max_length);
        Join::new(&parts, totals, config.max_length as usize, &nothing_to_check)
            .run(&mut joined)
            .unwrap();
        joined.finish(config.max_length);
        let mut at_once = Files::new(folder.path(), 99, config.max_length);
        let tokenizer = tokenizer();
        let texts = WordTexts::new(&tokenizer, config.rules());
        Counting::new(&config, WordSource::Tokens(&texts), folder.path()).sorted_run(&documents, &mut at_once).unwrap();
        at_once.finish(config.max_length);
        let bytes = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        prop_assert_eq!(bytes("words-98.parquet"), bytes("words-99.parquet"));
        prop_assert_eq!(bytes("windows-98.arrow"), bytes("windows-99.arrow"));
    }
}

#[test]
fn runs_of_many_record_batches_are_joined_in_pieces() {
    use crate::base::generator::{Key, Purpose};
    let mut draw = Key::default().generator(Purpose::Order);
    let documents = Documents(
        (0..40)
            .map(|_| {
                let tokens = (0..8000).map(|_| draw.below(8)).collect();
                let bits = (0..8000).map(|_| draw.below(2) > 0).collect();
                (tokens, bits)
            })
            .collect(),
    );
    let config = CountConfig {
        min_count: 20,
        punctuation: Punctuation::Word,
        unknown: Unknown::Word,
        ..CountConfig::default()
    };
    let (_, expected) = whole(&documents, &config, 1 << 26);
    assert!(expected.rows.len() > 1000, "{}", expected.rows.len());
    let folder = tempfile::tempdir().unwrap();
    let (runs, totals) = runs(folder.path(), &divided(&documents, 3), &config, 1 << 20);
    let batches: usize = runs.iter().map(|run| run.windows.batches().len()).sum();
    assert!(batches > 8, "{batches} batches");
    // Too little for more than the smallest pieces.
    for threads in [1, 2] {
        let mut kept = Kept::default();
        let join = Join {
            min_count: 20,
            memory: ByteSize::mib(12),
            threads,
            ..Join::new(&runs, totals, 5, &nothing_to_check)
        };
        join.counts(&mut kept).unwrap();
        for length in 1..=5 {
            assert_eq!(kept.of_length(length), expected.of_length(length));
        }
    }
    let mut join = Join::new(&runs, totals, 5, &nothing_to_check);
    join.memory = ByteSize::mib(1);
    let message = join.counts(&mut Kept::default()).unwrap_err().to_string();
    assert!(message.contains("raise --memory"), "{message}");
}

#[test]
fn sums_that_do_not_fit_the_windows_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let documents = Documents::of_words(&[&[1, 2, 3, 1, 2, 3]]);
    let config = CountConfig::default();
    let (runs, totals) = runs(folder.path(), &[documents], &config, 1 << 20);
    for (length, place) in [(1, "words-0"), (3, "windows-0")] {
        let mut wrong = totals;
        wrong.windows[length - 1] += 1;
        let error = Join::new(&runs, wrong, 5, &nothing_to_check)
            .counts(&mut Kept::default())
            .unwrap_err();
        assert!(error.to_string().contains(place), "{error}");
    }
}

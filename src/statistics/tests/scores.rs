//! Scores against every segmentation, one by one, and against what is published.

use super::counts::{Documents, Kept, documents, tokenizer};
use crate::config::{CountConfig, Punctuation, Score, Unknown, VocabularyConfig};
use crate::statistics::count::Counting;
use crate::statistics::ranking::rank;
use crate::statistics::scores::Scorer;
use crate::statistics::trie::{Row, Trie, TrieBuilder};
use crate::statistics::words::WordSource;
use crate::tokenizer::WordTexts;
use proptest::prelude::*;
use std::collections::BTreeMap;

const SCORES: [Score; 5] = [
    Score::Pmi,
    Score::Pmi2,
    Score::Naive,
    Score::Npmi,
    Score::Frequency,
];

/// A trie of n-grams given by text and count; `words` of the corpus make the T_n.
fn trie_of(windows: &[u64], counts: &[(&str, u64)]) -> Trie {
    let mut words: Vec<&str> = counts
        .iter()
        .map(|(text, _)| *text)
        .filter(|text| !text.contains(' '))
        .collect();
    words.sort_unstable();
    let id = |word: &str| words.binary_search(&word).unwrap() as u32;
    let mut rows: Vec<(Vec<u32>, &str, u64)> = counts
        .iter()
        .map(|(text, count)| (text.split(' ').map(id).collect(), *text, *count))
        .collect();
    rows.sort_by(|a, b| (a.0.len(), &a.0).cmp(&(b.0.len(), &b.0)));
    let mut trie = TrieBuilder::new(windows);
    for (ids, text, count) in rows {
        trie.push("test", &ids, text, count).unwrap();
    }
    trie.finish()
}

/// Counts documents of the test's tokenizer, everything a word.
fn trie_of_documents(documents: &Documents, min_count: u64) -> Trie {
    let config = CountConfig {
        min_count,
        punctuation: Punctuation::Word,
        unknown: Unknown::Word,
        ..CountConfig::default()
    };
    let tokenizer = tokenizer();
    let texts = WordTexts::new(&tokenizer, config.rules());
    let scratch = tempfile::tempdir().unwrap();
    let mut kept = Kept::default();
    let counts = Counting::new(&config, WordSource::Tokens(&texts), scratch.path())
        .run(documents, &mut kept)
        .unwrap();
    kept.rows.sort_by_key(|(_, words, _, _)| words.len());
    let mut trie = TrieBuilder::new(&counts.totals.windows);
    for (_, words, text, count) in &kept.rows {
        trie.push("test", words, text, *count).unwrap();
    }
    trie.finish()
}

fn scores(trie: &Trie, score: Score) -> BTreeMap<String, f64> {
    let mut scorer = Scorer::new(trie, score);
    let mut all = BTreeMap::new();
    for length in 2..=trie.lengths() {
        for (row, score) in (0..).zip(scorer.next_length()) {
            let mut text = String::new();
            trie.words()
                .join(&trie.ngram(length, row)[..length], &mut text);
            all.insert(text, score);
        }
    }
    all
}

/// log p of part of an n-gram, by look-up.
fn log_p(trie: &Trie, words: &[u32]) -> f64 {
    let row = trie.find(words).unwrap();
    trie.level(words.len()).log_p(row)
}

/// The score by trying all 2^(n−1) − 1 segmentations, each summed left to right.
fn brute_force(trie: &Trie, words: &[u32], score: Score) -> f64 {
    let whole = log_p(trie, words);
    let cuts = words.len() - 1;
    let sum_of = |mask: u32| {
        let mut sum: Option<f64> = None;
        let mut start = 0;
        for end in 1..=words.len() {
            if end == words.len() || mask >> (end - 1) & 1 == 1 {
                let part = log_p(trie, &words[start..end]);
                sum = Some(sum.map_or(part, |sum| sum + part));
                start = end;
            }
        }
        sum.unwrap()
    };
    let pmi = |first: f64| {
        (1..1u32 << cuts)
            .map(|mask| first - sum_of(mask))
            .fold(f64::INFINITY, f64::min)
    };
    match score {
        Score::Pmi => pmi(whole),
        Score::Pmi2 => pmi(2.0 * whole),
        Score::Naive => whole - sum_of((1 << cuts) - 1),
        Score::Npmi if whole == 0.0 => 1.0,
        Score::Npmi => pmi(whole) / -whole,
        Score::Frequency => trie.level(words.len()).count(trie.find(words).unwrap()) as f64,
    }
}

proptest! {
    #[test]
    fn the_fast_scorer_equals_all_segmentations_to_the_last_bit(
        documents in documents(),
        min_count in 1u64..4,
    ) {
        let trie = trie_of_documents(&documents, min_count);
        for score in SCORES {
            let mut scorer = Scorer::new(&trie, score);
            for length in 2..=trie.lengths() {
                for (row, found) in (0 as Row..).zip(scorer.next_length()) {
                    let words = trie.ngram(length, row);
                    let expected = brute_force(&trie, &words[..length], score);
                    prop_assert_eq!(found.to_bits(), expected.to_bits(), "{:?} {:?}", score, words);
                }
            }
        }
    }

    #[test]
    fn pmi_is_at_most_naive_and_equal_for_two_words(documents in documents()) {
        let trie = trie_of_documents(&documents, 1);
        let (pmi, naive) = (scores(&trie, Score::Pmi), scores(&trie, Score::Naive));
        for (ngram, score) in &pmi {
            prop_assert!(*score <= naive[ngram], "{}", ngram);
            if ngram.split(' ').count() == 2 {
                prop_assert_eq!(*score, naive[ngram], "{}", ngram);
            }
        }
    }
}

/// The small published example, as one run of ten tokens.
#[test]
fn the_published_example_has_its_score() {
    let documents = Documents::of_words(&[&[1, 1, 1, 0, 1, 0, 2, 0, 2, 1]]);
    let trie = trie_of_documents(&documents, 1);
    let found = scores(&trie, Score::Pmi2)["a a"];
    let expected = ((2.0f64 / 9.0).powi(2) / (5.0f64 / 10.0).powi(2)).ln();
    assert!((found - expected).abs() < 1e-12, "{found} {expected}");
}

/// Levine et al. 2021, section 3: a strong pair followed by a common word fools
/// the naive score; PMI_n compares with the pair and the word.
#[test]
fn kuala_lumpur_is_ranks_above_editor_in_chief_only_naively() {
    let counts = [
        ("kuala", 100),
        ("lumpur", 100),
        ("is", 20_000),
        ("editor", 1000),
        ("in", 30_000),
        ("chief", 800),
        ("kuala lumpur", 100),
        ("lumpur is", 12),
        ("editor in", 300),
        ("in chief", 200),
        ("kuala lumpur is", 12),
        ("editor in chief", 150),
    ];
    let trie = trie_of(&[1_000_000; 5], &counts);
    let naive = scores(&trie, Score::Naive);
    assert!(naive["kuala lumpur is"] > naive["editor in chief"]);
    let pmi = scores(&trie, Score::Pmi);
    assert!(pmi["kuala lumpur is"] < pmi["editor in chief"]);
    assert!((pmi["kuala lumpur is"] - 6f64.ln()).abs() < 1e-9);
}

#[test]
fn ties_go_to_the_higher_count_and_then_to_text_order() {
    let counts = [
        ("a", 100),
        ("b", 100),
        ("c", 50),
        ("d", 50),
        ("a c", 20),
        ("a d", 20),
        // p(b d) / (p(b) p(d)) is half of the others'.
        ("b d", 10),
        // The same score as "a c" at another count: 100 · 100 against 100 · 50.
        ("a b", 40),
        ("a b d", 5),
    ];
    let trie = trie_of(&[1000; 3], &counts);
    let config = VocabularyConfig {
        size: 4,
        shares: vec![0.75, 0.25],
        ..VocabularyConfig::default()
    };
    let (vocabulary, report) = rank(&trie, &config);
    let ngrams: Vec<&str> = vocabulary.iter().map(|entry| entry.ngram).collect();
    assert_eq!(ngrams, ["a b", "a c", "a d", "a b d"]);
    assert_eq!(
        (report[0].quota, report[0].candidates, report[0].taken),
        (3, 4, 3)
    );
    assert_eq!(
        (report[1].quota, report[1].candidates, report[1].taken),
        (1, 1, 1)
    );
}

#[test]
fn fewer_candidates_than_the_quota_are_taken_and_told() {
    let trie = trie_of(&[10, 9], &[("a", 5), ("b", 5), ("a b", 4)]);
    let config = VocabularyConfig {
        size: 100,
        ..VocabularyConfig::default()
    };
    let (vocabulary, report) = rank(&trie, &config);
    assert_eq!(vocabulary.len(), 1);
    let told: Vec<(usize, u64, u64)> = report
        .iter()
        .map(|taken| (taken.length, taken.quota, taken.taken))
        .collect();
    assert_eq!(told, [(2, 50, 1), (3, 25, 0), (4, 13, 0), (5, 12, 0)]);
}

#[test]
fn counts_with_a_part_missing_are_refused() {
    let mut trie = TrieBuilder::new(&[10, 9, 8]);
    for (id, word) in (0..).zip(["a", "b", "c"]) {
        trie.push("counts", &[id], word, 5).unwrap();
    }
    trie.push("counts", &[0, 1], "a b", 4).unwrap();
    let error = trie.push("counts", &[0, 1, 2], "a b c", 3).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("\"a b c\""), "{message}");
    assert!(message.contains("without its first word"), "{message}");
}

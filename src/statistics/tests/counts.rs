//! Counts against brute force: every window of every run, in a map.

use crate::base::boundaries::Boundaries;
use crate::base::error::{Error, Result};
use crate::base::generator::{Key, Purpose};
use crate::base::size::ByteSize;
use crate::base::token::{SpecialTokens, TokenId, TokenSlice};
use crate::config::{CountConfig, Punctuation, Unit, Unknown, WordRules};
use crate::statistics::count::{Corpus, CountSink, Counting, Counts};
use crate::statistics::dictionary::WordId;
use crate::statistics::words::{Document, WordSource};
use crate::tokenizer::{Tokenizer, WordTexts};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Spelling, text and kind of each token of the test's tokenizer.
const SPELLINGS: [&str; 8] = ["[UNK]", "a", "b", "c", ".", "##a", "##b", "A"];

pub(super) fn tokenizer() -> Tokenizer {
    let vocabulary: BTreeMap<&str, usize> = SPELLINGS
        .iter()
        .enumerate()
        .map(|(id, &spelling)| (spelling, id))
        .collect();
    let json = serde_json::json!({
        "version": "1.0",
        "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": null,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": false},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        }
    });
    let special = SpecialTokens {
        unk: Some(0),
        reserved: vec![0],
        ..SpecialTokens::default()
    };
    Tokenizer::from_json("test", &json.to_string(), special).unwrap()
}

/// Documents in memory, two to a piece.
#[derive(Debug)]
pub(super) struct Documents(pub Vec<(Vec<TokenId>, Boundaries)>);

impl Documents {
    /// Every token a word of its own.
    pub(super) fn of_words(documents: &[&[TokenId]]) -> Self {
        let whole = |tokens: &&[TokenId]| (tokens.to_vec(), Boundaries::filled(tokens.len(), true));
        Self(documents.iter().map(whole).collect())
    }
}

impl Corpus for Documents {
    type Piece = usize;

    fn pieces(&self) -> impl Iterator<Item = Result<usize>> + Send {
        (0..self.0.len().div_ceil(2)).map(Ok)
    }

    fn known_pieces(&self) -> Option<u64> {
        None
    }

    fn visit(&self, piece: usize, each: &mut dyn FnMut(Document<'_>) -> Result<()>) -> Result<()> {
        for (tokens, word_start) in self.0.iter().skip(2 * piece).take(2) {
            each(Document::Tokens(
                TokenSlice::Wide(tokens),
                word_start.as_slice(),
            ))?;
        }
        Ok(())
    }
}

pub(super) type Row = (u32, Vec<WordId>, String, u64);

/// Keeps all that it is handed.
#[derive(Default, Debug, PartialEq)]
pub(super) struct Kept {
    range: u32,
    pub rows: Vec<Row>,
}

impl CountSink for Kept {
    fn begin(&mut self, range: u32, _: &Counts) -> Result<()> {
        self.range = range;
        Ok(())
    }

    fn ngram(&mut self, words: &[WordId], text: &str, count: u64) -> Result<()> {
        self.rows
            .push((self.range, words.to_vec(), text.to_owned(), count));
        Ok(())
    }
}

impl Kept {
    /// Rows of one length in the order they came.
    pub(super) fn of_length(&self, length: usize) -> Vec<&Row> {
        let has_length = |row: &&Row| row.1.len() == length;
        self.rows.iter().filter(has_length).collect()
    }
}

/// Every run of word texts, by the rules as spec 7 has them.
fn runs(documents: &Documents, rules: WordRules) -> Vec<Vec<String>> {
    let piece = |token: TokenId| SPELLINGS[token as usize].trim_start_matches("##");
    let mut runs = Vec::new();
    for (tokens, word_start) in &documents.0 {
        let mut run = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let mut end = at + 1;
            let whole_words = rules.unit == Unit::Word;
            while whole_words && end < tokens.len() && !word_start.as_slice().get(end) {
                end += 1;
            }
            let word = &tokens[at..end];
            at = end;
            let joined: String = word.iter().map(|&token| piece(token)).collect();
            let text = match rules.unit {
                Unit::Token => SPELLINGS[word[0] as usize].to_owned(),
                Unit::Word if rules.cased => joined.clone(),
                Unit::Word => joined.to_lowercase(),
            };
            let barrier = if word.contains(&0) {
                if rules.unknown == Unknown::Word {
                    run.push("[UNK]".to_owned());
                    continue;
                }
                true
            } else if joined.chars().all(|c| c == '.') {
                match rules.punctuation {
                    Punctuation::Skip => continue,
                    Punctuation::Barrier => true,
                    Punctuation::Word => false,
                }
            } else {
                false
            };
            if barrier {
                runs.push(std::mem::take(&mut run));
            } else {
                run.push(text);
            }
        }
        runs.push(run);
    }
    runs
}

/// T_n and the n-grams that occur often enough, in order.
fn brute_force(
    runs: &[Vec<String>],
    length: usize,
    min_count: u64,
) -> (u64, Vec<(Vec<String>, u64)>) {
    let mut counts: BTreeMap<Vec<String>, u64> = BTreeMap::new();
    for window in runs.iter().flat_map(|run| run.windows(length)) {
        *counts.entry(window.to_vec()).or_default() += 1;
    }
    let total = counts.values().sum();
    counts.retain(|_, count| *count >= min_count);
    (total, counts.into_iter().collect())
}

fn count(documents: &Documents, config: &CountConfig, set_up: &SetUp) -> (Counts, Kept) {
    let tokenizer = tokenizer();
    let texts = WordTexts::new(&tokenizer, config.rules());
    let scratch = tempfile::tempdir().unwrap();
    let mut counting = Counting::new(config, WordSource::Tokens(&texts), scratch.path());
    counting.memory = ByteSize(set_up.memory);
    counting.threads = set_up.threads;
    counting.range_words = set_up.range_words;
    counting.passes = set_up.passes;
    let mut kept = Kept::default();
    let counts = counting.run(documents, &mut kept).unwrap();
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    (counts, kept)
}

struct SetUp {
    memory: u64,
    threads: usize,
    range_words: u64,
    passes: Option<u64>,
}

impl Default for SetUp {
    fn default() -> Self {
        Self {
            memory: 1 << 20,
            threads: 1,
            range_words: 1 << 26,
            passes: None,
        }
    }
}

pub(super) fn documents() -> impl Strategy<Value = Documents> {
    let token = (0..SPELLINGS.len() as TokenId, any::<bool>());
    // Long stretches of one word, beside words drawn at random.
    let stretch = (token, 1usize..12).prop_map(|(token, times)| vec![token; times]);
    let document = prop::collection::vec(stretch, 0..12).prop_map(|stretches| {
        let pairs = stretches.concat();
        let tokens = pairs.iter().map(|&(token, _)| token).collect();
        let bits = pairs.iter().map(|&(_, bit)| bit).collect();
        (tokens, bits)
    });
    prop::collection::vec(document, 0..8).prop_map(Documents)
}

pub(super) fn config() -> impl Strategy<Value = CountConfig> {
    (
        1u32..=5,
        1u64..4,
        prop::sample::select(vec![Unit::Word, Unit::Token]),
        prop::sample::select(vec![
            Punctuation::Barrier,
            Punctuation::Skip,
            Punctuation::Word,
        ]),
        prop::sample::select(vec![Unknown::Barrier, Unknown::Word]),
        any::<bool>(),
    )
        .prop_map(
            |(max_length, min_count, unit, punctuation, unknown, cased)| CountConfig {
                max_length,
                min_count,
                unit,
                punctuation,
                unknown,
                cased,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn counts_equal_brute_force(documents in documents(), config in config()) {
        let (counts, kept) = count(&documents, &config, &SetUp::default());
        let runs = runs(&documents, config.rules());
        for length in 1..=5 {
            let (total, expected) = brute_force(&runs, length, config.min_count);
            let found: Vec<(Vec<String>, u64)> = kept
                .of_length(length)
                .into_iter()
                .map(|(_, _, text, count)| (text.split(' ').map(str::to_owned).collect(), *count))
                .collect();
            if length <= config.max_length as usize {
                prop_assert_eq!(counts.totals.windows[length - 1], total, "length {}", length);
                prop_assert_eq!(found, expected, "length {}", length);
            } else {
                prop_assert_eq!(counts.totals.windows[length - 1], 0);
                prop_assert!(found.is_empty());
            }
        }
        prop_assert_eq!(counts.totals.documents, documents.0.len() as u64);
    }

    #[test]
    fn neither_memory_nor_threads_nor_passes_change_the_counts(
        documents in documents(),
        config in config(),
        spare in 0u64..4000,
        threads in prop::sample::select(vec![1usize, 2, 8]),
        range_words in 1u64..60,
        passes in prop::option::of(1u64..7),
    ) {
        let whole = SetUp { range_words, ..SetUp::default() };
        let (_, expected) = count(&documents, &config, &whole);
        // Enough for the dictionary, next to nothing for all else.
        let set_up = SetUp { memory: 20_000 + spare, threads, range_words, passes };
        let (_, found) = count(&documents, &config, &set_up);
        for length in 1..=5 {
            prop_assert_eq!(found.of_length(length), expected.of_length(length));
        }
    }
}

#[test]
fn a_repeated_word_is_counted_in_every_window() {
    let documents = Documents::of_words(&[&[1; 7]]);
    let config = CountConfig {
        min_count: 1,
        ..CountConfig::default()
    };
    let (counts, kept) = count(&documents, &config, &SetUp::default());
    assert_eq!(counts.totals.windows, [7, 6, 5, 4, 3]);
    let found: Vec<(&str, u64)> = kept
        .rows
        .iter()
        .map(|row| (row.2.as_str(), row.3))
        .collect();
    assert_eq!(
        found,
        [
            ("a", 7),
            ("a a", 6),
            ("a a a", 5),
            ("a a a a", 4),
            ("a a a a a", 3)
        ]
    );
}

#[test]
fn words_that_do_not_fit_in_memory_are_refused_with_a_way_out() {
    let documents = Documents::of_words(&[&[1, 2, 3]]);
    let config = CountConfig {
        min_count: 1,
        ..CountConfig::default()
    };
    let tokenizer = tokenizer();
    let texts = WordTexts::new(&tokenizer, config.rules());
    let scratch = tempfile::tempdir().unwrap();
    let mut counting = Counting::new(&config, WordSource::Tokens(&texts), scratch.path());
    counting.memory = ByteSize(64);
    let error = counting.run(&documents, &mut Kept::default()).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("raise --memory or count.min_count"),
        "{message}"
    );
    assert_eq!(error.exit_code(), 1);
}

/// Documents of which no piece is read to its end.
struct Damaged(Documents);

impl Corpus for Damaged {
    type Piece = usize;

    fn pieces(&self) -> impl Iterator<Item = Result<usize>> + Send {
        self.0.pieces()
    }

    fn known_pieces(&self) -> Option<u64> {
        None
    }

    fn visit(&self, piece: usize, each: &mut dyn FnMut(Document<'_>) -> Result<()>) -> Result<()> {
        self.0.visit(piece, each)?;
        Err(Error::corrupt(
            format!("piece {piece}"),
            "half of it",
            "a whole one",
            "write it again",
        ))
    }
}

#[test]
fn damage_that_several_threads_meet_is_an_error_and_no_more() {
    let documents = Damaged(Documents::of_words(&[&[1, 2, 3][..]; 400]));
    let config = CountConfig::default();
    let tokenizer = tokenizer();
    let texts = WordTexts::new(&tokenizer, config.rules());
    for _ in 0..20 {
        let scratch = tempfile::tempdir().unwrap();
        let mut counting = Counting::new(&config, WordSource::Tokens(&texts), scratch.path());
        counting.threads = 2;
        let error = counting.run(&documents, &mut Kept::default()).unwrap_err();
        assert!(error.to_string().contains("write it again"), "{error}");
    }
}

#[test]
fn a_count_that_spills_everything_is_the_same() {
    // 60 000 tokens, words of one to many pieces; 16 KiB is less than the windows,
    // the distinct words and the largest bucket each take.
    let key = Key::default();
    let mut draw = key.generator(Purpose::Order);
    let documents = Documents(
        (0..20)
            .map(|_| {
                let tokens = (0..3000).map(|_| draw.below(8).min(6) as TokenId).collect();
                let bits = (0..3000).map(|_| draw.below(5) > 0).collect();
                (tokens, bits)
            })
            .collect(),
    );
    let config = CountConfig {
        min_count: 30,
        punctuation: Punctuation::Word,
        ..CountConfig::default()
    };
    let (_, expected) = count(&documents, &config, &SetUp::default());
    assert!(expected.rows.len() > 400, "{}", expected.rows.len());
    for (threads, passes) in [(1, None), (3, None), (1, Some(1)), (2, Some(5))] {
        let set_up = SetUp {
            memory: 16 << 10,
            threads,
            passes,
            ..SetUp::default()
        };
        let (_, found) = count(&documents, &config, &set_up);
        for length in 1..=5 {
            assert_eq!(found.of_length(length), expected.of_length(length));
        }
    }
}

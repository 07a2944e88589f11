//! Words per second of counting all lengths, from token documents in memory to
//! n-grams handed over, on one thread and on two, in memory and with everything
//! spilled; from text; through sorted runs; and of finding the units of a vocabulary.
//! Every run asserts its answer.
//!
//! `cargo bench --bench counting`

use cloze::base::boundaries::Boundaries;
use cloze::base::error::Result;
use cloze::base::generator::{Generator, Key, Purpose};
use cloze::base::size::ByteSize;
use cloze::base::token::{SpecialTokens, TokenId, TokenSlice};
use cloze::columnar::{CountsWriter, RunFile, RunWriter};
use cloze::config::{CountConfig, Overlap, VocabularyConfig};
use cloze::segment::Units;
use cloze::statistics::ranking::rank;
use cloze::statistics::tally::Totals;
use cloze::statistics::trie::TrieBuilder;
use cloze::statistics::{
    Corpus, CountSink, Counting, Counts, Document, Join, MaskingVocabulary, Run, RunSink, WordId,
    WordSource,
};
use cloze::tokenizer::{Tokenizer, WordCutter, WordTexts};
use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use std::fs::File;
use std::path::Path;

/// Words of the bench's corpus, and in each of its documents.
const WORDS: usize = 1 << 20;
const DOCUMENT: usize = 1 << 14;
/// Distinct words.
const VOCABULARY: u32 = 20_000;

/// Documents of words by Zipf's law, each a word of one token.
struct Documents(Vec<(Vec<TokenId>, Boundaries)>);

impl Documents {
    fn zipf() -> Self {
        let mut draw = Key::default().generator(Purpose::Order);
        let document = |draw: &mut Generator| {
            let tokens: Vec<TokenId> = (0..DOCUMENT).map(|_| zipf(draw)).collect();
            (tokens, Boundaries::filled(DOCUMENT, true))
        };
        Self((0..WORDS / DOCUMENT).map(|_| document(&mut draw)).collect())
    }
}

/// A rank with probability about 1 / rank: exp of a uniform draw, behind [UNK].
fn zipf(draw: &mut Generator) -> TokenId {
    let rank = f64::from(VOCABULARY).powf(draw.unit());
    (rank as TokenId).clamp(1, VOCABULARY - 1)
}

impl Corpus for Documents {
    type Piece = usize;

    fn pieces(&self) -> impl Iterator<Item = Result<usize>> + Send {
        (0..self.0.len()).map(Ok)
    }

    fn known_pieces(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }

    fn visit(&self, piece: usize, each: &mut dyn FnMut(Document<'_>) -> Result<()>) -> Result<()> {
        let (tokens, word_start) = &self.0[piece];
        each(Document::Tokens(
            TokenSlice::Wide(tokens),
            word_start.as_slice(),
        ))
    }
}

/// Number of n-grams and sum of counts, by length less one.
#[derive(Default, PartialEq, Debug, Clone, Copy)]
struct Answer([(u64, u64); 5]);

impl CountSink for Answer {
    fn begin(&mut self, _: u32, _: &Counts) -> Result<()> {
        Ok(())
    }

    fn ngram(&mut self, words: &[WordId], _: &str, count: u64) -> Result<()> {
        let (ngrams, sum) = &mut self.0[words.len() - 1];
        *ngrams += 1;
        *sum += count;
        Ok(())
    }
}

/// Keeps all n-grams, for a vocabulary.
#[derive(Default)]
struct Kept(Vec<(Vec<WordId>, String, u64)>);

impl CountSink for Kept {
    fn begin(&mut self, _: u32, _: &Counts) -> Result<()> {
        Ok(())
    }

    fn ngram(&mut self, words: &[WordId], text: &str, count: u64) -> Result<()> {
        self.0.push((words.to_vec(), text.to_owned(), count));
        Ok(())
    }
}

fn tokenizer() -> Tokenizer {
    let mut vocabulary = serde_json::Map::new();
    vocabulary.insert("[UNK]".into(), 0.into());
    for word in 1..VOCABULARY {
        vocabulary.insert(format!("word{word}"), word.into());
    }
    let json = serde_json::json!({
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"}
    });
    let special = SpecialTokens {
        unk: Some(0),
        reserved: vec![0],
        ..SpecialTokens::default()
    };
    Tokenizer::from_json("bench", &json.to_string(), special).expect("a tokenizer")
}

/// A map of every window, once: what all runs must come to.
fn brute_force(documents: &Documents, min_count: u64) -> Answer {
    let mut answer = Answer::default();
    for length in 1..=5 {
        let mut counts = std::collections::HashMap::new();
        for (tokens, _) in &documents.0 {
            for window in tokens.windows(length) {
                *counts.entry(window).or_insert(0u64) += 1;
            }
        }
        let kept = counts.values().filter(|&&count| count >= min_count);
        let (ngrams, sum) = &mut answer.0[length - 1];
        kept.for_each(|count| {
            *ngrams += 1;
            *sum += count;
        });
    }
    answer
}

/// What every bench works on, and what it must come to.
struct Setup {
    documents: Documents,
    config: CountConfig,
    texts: WordTexts,
    expected: Answer,
}

impl Setup {
    fn new() -> Self {
        let documents = Documents::zipf();
        let config = CountConfig {
            min_count: 10,
            ..CountConfig::default()
        };
        Self {
            texts: WordTexts::new(&tokenizer(), config.rules()),
            expected: brute_force(&documents, config.min_count),
            documents,
            config,
        }
    }
}

/// A group that is measured in words a second.
fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .throughput(Throughput::Elements(WORDS as u64))
        .sample_size(10);
    group
}

fn counting(criterion: &mut Criterion) {
    let Setup {
        documents,
        config,
        texts,
        expected,
    } = Setup::new();
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let mut group = group(criterion, "counting");
    for (name, threads, memory) in [
        ("1 thread", 1, ByteSize::mib(512)),
        ("2 threads", 2, ByteSize::mib(512)),
        ("1 thread, 8 MiB", 1, ByteSize::mib(8)),
    ] {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                let counting = Counting {
                    threads,
                    memory,
                    ..Counting::new(&config, WordSource::Tokens(&texts), scratch.path())
                };
                let mut answer = Answer::default();
                counting.run(&documents, &mut answer).expect("counts");
                assert_eq!(answer, expected);
            });
        });
    }
    group.finish();
}

/// Documents as text, one word after the other.
struct Texts(Vec<String>);

impl Texts {
    fn of(documents: &Documents) -> Self {
        let text = |tokens: &[TokenId]| {
            let words: Vec<String> = tokens.iter().map(|token| format!("word{token}")).collect();
            words.join(" ")
        };
        Self(documents.0.iter().map(|(tokens, _)| text(tokens)).collect())
    }
}

impl Corpus for Texts {
    type Piece = usize;

    fn pieces(&self) -> impl Iterator<Item = Result<usize>> + Send {
        (0..self.0.len()).map(Ok)
    }

    fn known_pieces(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }

    fn visit(&self, piece: usize, each: &mut dyn FnMut(Document<'_>) -> Result<()>) -> Result<()> {
        each(Document::Text(&self.0[piece]))
    }
}

/// Cut at Unicode's word boundaries, the words are those of the token documents.
fn text(criterion: &mut Criterion) {
    let Setup {
        documents,
        config,
        expected,
        ..
    } = Setup::new();
    let texts = Texts::of(&documents);
    let cutter = WordCutter::unicode(config.cased);
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let mut group = group(criterion, "counting text");
    group.bench_function("1 thread", |bencher| {
        bencher.iter(|| {
            let source = WordSource::Text(&cutter, config.rules());
            let mut answer = Answer::default();
            Counting::new(&config, source, scratch.path())
                .run(&texts, &mut answer)
                .expect("counts");
            assert_eq!(answer, expected);
        });
    });
    group.finish();
}

/// Writes a run to two files in `folder`.
struct RunFiles<'a> {
    folder: &'a Path,
    windows: RunWriter<File>,
}

impl RunSink for RunFiles<'_> {
    fn begin(&mut self, counts: &Counts) -> Result<()> {
        let out = File::create(self.folder.join("words.parquet")).expect("a file");
        let mut words = CountsWriter::new(out, "bench", 1)?;
        for (id, count) in (0..).zip(&counts.dictionary.counts) {
            words.push(&[id], counts.dictionary.words.text(id), *count)?;
        }
        words.finish(&serde_json::json!({})).map(drop)
    }

    fn window(&mut self, window: &[u32], count: u64) -> Result<()> {
        self.windows.push(window, count)
    }
}

/// A part of the documents as a sorted run in `folder`.
fn run(part: &Documents, texts: &WordTexts, config: &CountConfig, folder: &Path) -> (Run, Totals) {
    std::fs::create_dir_all(folder).expect("a folder");
    let path = folder.join("windows.arrow");
    let out = File::create(&path).expect("a file");
    let mut files = RunFiles {
        folder,
        windows: RunWriter::new(out, "bench", 5).expect("a run"),
    };
    let counts = Counting::new(config, WordSource::Tokens(texts), folder)
        .sorted_run(part, &mut files)
        .expect("a run");
    files.windows.finish().expect("a run");
    let run = Run {
        words: folder.join("words.parquet"),
        windows: RunFile::open(&path, 5).expect("a run"),
    };
    (run, counts.totals)
}

/// To a sorted run on disk, and from the runs of four parts to n-grams.
fn runs(criterion: &mut Criterion) {
    let Setup {
        documents,
        config,
        texts,
        expected,
    } = Setup::new();
    let folder = tempfile::tempdir().expect("a folder");
    let mut group = group(criterion, "runs");
    let whole = folder.path().join("whole");
    group.bench_function("write one, 1 thread", |bencher| {
        bencher.iter(|| {
            let (_, totals) = run(&documents, &texts, &config, &whole);
            assert_eq!(totals.windows[0], WORDS as u64);
        });
    });
    let mut totals = Totals::default();
    let parts: Vec<Run> = documents
        .0
        .chunks(documents.0.len() / 4)
        .enumerate()
        .map(|(number, part)| {
            let folder = folder.path().join(number.to_string());
            let (run, of_part) = run(&Documents(part.to_vec()), &texts, &config, &folder);
            totals.add(&of_part);
            run
        })
        .collect();
    group.bench_function("join four, 1 thread", |bencher| {
        bencher.iter(|| {
            let mut answer = Answer::default();
            let join = Join {
                min_count: config.min_count,
                ..Join::new(&parts, totals, 5, &|| Ok(()))
            };
            join.counts(&mut answer).expect("counts");
            assert_eq!(answer, expected);
        });
    });
    group.finish();
}

fn vocabulary(documents: &Documents, texts: &WordTexts, config: &CountConfig) -> MaskingVocabulary {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let mut kept = Kept::default();
    let counts = Counting::new(config, WordSource::Tokens(texts), scratch.path())
        .run(documents, &mut kept)
        .expect("counts");
    kept.0.sort_by_key(|(words, _, _)| words.len());
    let mut trie = TrieBuilder::new(&counts.totals.windows);
    for (words, text, count) in &kept.0 {
        trie.push("bench", words, text, *count).expect("an n-gram");
    }
    let config = VocabularyConfig {
        size: 20_000,
        ..VocabularyConfig::default()
    };
    rank(&trie.finish(), &config).0
}

fn segmentation(criterion: &mut Criterion) {
    let Setup {
        documents,
        config,
        texts,
        ..
    } = Setup::new();
    let vocabulary = vocabulary(&documents, &texts, &config);
    let mut group = group(criterion, "segmentation");
    for overlap in [Overlap::Random, Overlap::Longest, Overlap::Best] {
        let units = Units::new(&vocabulary, texts.clone(), overlap, 1);
        let mut segmenter = units.segmenter();
        let mut spans = Boundaries::new();
        group.bench_function(
            BenchmarkId::from_parameter(format!("{overlap:?}")),
            |bencher| {
                bencher.iter(|| {
                    let mut covered = 0;
                    for (id, (tokens, word_start)) in (0..).zip(&documents.0) {
                        let tokens = TokenSlice::Wide(tokens);
                        covered += segmenter.segment(id, tokens, word_start.as_slice(), &mut spans);
                        // What a unit covers and does not start is no unit's start.
                        assert!(spans.len() as u64 >= spans.as_slice().count() as u64);
                    }
                    assert!(
                        (WORDS as u64 / 10..WORDS as u64).contains(&covered),
                        "{covered}"
                    );
                });
            },
        );
    }
    group.finish();
}

criterion_group!(benches, counting, text, runs, segmentation);
criterion_main!(benches);

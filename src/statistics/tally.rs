//! The first pass: which words occur often enough, and how many windows of each
//! length there are. Every thread counts into a table of its own; a table over its
//! share of memory goes to scratch buckets by hash, where the tables of all threads
//! and times meet. What is kept in the end must fit in memory.

use crate::base::boundaries::BoundarySlice;
use crate::base::error::{Error, Result};
use crate::base::size::ByteSize;
use crate::base::token::{TokenId, TokenSlice};
use crate::config::{Punctuation, Unit};
use crate::parallel;
use crate::statistics::dictionary::{Dictionary, MAX_WORDS, WordSet, hash};
use crate::statistics::stream::{StreamWriter, WordStream};
use crate::statistics::texts::{Batch, TextCounts};
use crate::statistics::words::{Counted, Document, WordSource, counted};
use crate::storage::Buckets;
use crate::tokenizer::{CutWord, WordCutter, WordTexts};

/// The longest n-gram that is ever counted.
pub const MAX_LENGTH: usize = 5;

/// Buckets that distinct words are spread over by hash: each is 0.4 % of them.
pub const WORD_BUCKETS: usize = 256;

/// What the first pass found beside the words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Documents.
    pub documents: u64,
    /// Tokens.
    pub tokens: u64,
    /// T_1 … T_5: windows of each length that cross no barrier. T_1 is the number
    /// of words.
    pub windows: [u64; MAX_LENGTH],
}

impl Totals {
    /// Adds `other`.
    pub fn add(&mut self, other: &Totals) {
        self.documents += other.documents;
        self.tokens += other.tokens;
        for (sum, windows) in self.windows.iter_mut().zip(other.windows) {
            *sum += windows;
        }
    }

    /// Adds the windows of a run of `words` words between barriers: words − n + 1 of
    /// length n.
    #[inline]
    pub fn add_run(&mut self, words: u64) {
        for (n, windows) in self.windows.iter_mut().enumerate() {
            *windows += words.saturating_sub(n as u64);
        }
    }
}

/// What a token is alone, the rules applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Skipped,
    Barrier,
}

/// Counts words for one thread.
pub struct WordTally<'a> {
    source: WordSource<'a>,
    stream: StreamWriter<'a>,
    table: TextCounts,
    batch: Batch,
    /// By token id: what it is alone.
    kinds: Vec<Kind>,
    /// By token id: how often it was a word alone.
    alone: Vec<u64>,
    totals: Totals,
    share: usize,
}

impl<'a> WordTally<'a> {
    /// Nothing counted yet; spills beyond `share` bytes, and hands words to `stream`.
    pub fn new(source: WordSource<'a>, stream: &'a WordStream, share: usize) -> Self {
        let tokens = source.vocabulary_size();
        let kind = |id| match counted(source.of_token(id), source.rules().punctuation) {
            Counted::Word(_) => Kind::Word,
            Counted::Skipped => Kind::Skipped,
            Counted::Barrier => Kind::Barrier,
        };
        Self {
            kinds: (0..tokens as TokenId).map(kind).collect(),
            source,
            stream: stream.writer(tokens),
            table: TextCounts::default(),
            batch: Batch::default(),
            alone: vec![0; tokens],
            totals: Totals::default(),
            share,
        }
    }

    /// Counts one document.
    pub fn document(&mut self, document: Document<'_>, spill: &Buckets) -> Result<()> {
        let run = match (self.source, document) {
            (WordSource::Tokens(texts), Document::Tokens(tokens, word_start)) => {
                self.tokens(texts, tokens, word_start)
            }
            (WordSource::Text(cutter, rules), Document::Text(text)) => {
                self.text(cutter, rules.punctuation, text)?
            }
            _ => {
                return Err(Error::library(
                    "counting words",
                    "a document that is not what its words are made of",
                ));
            }
        };
        self.stream.end_document()?;
        self.totals.add_run(run);
        self.totals.documents += 1;
        if self.table.memory() > self.share {
            self.spill(spill)?;
        }
        Ok(())
    }

    /// Counts tokens; returns the words behind the last barrier.
    fn tokens(
        &mut self,
        texts: &WordTexts,
        tokens: TokenSlice<'_>,
        word_start: BoundarySlice<'_>,
    ) -> u64 {
        self.totals.tokens += tokens.len() as u64;
        if texts.rules().unit == Unit::Token {
            return match tokens {
                TokenSlice::Narrow(tokens) => self.alone(tokens.iter().map(|&id| id.into())),
                TokenSlice::Wide(tokens) => self.alone(tokens.iter().copied()),
            };
        }
        let punctuation = texts.rules().punctuation;
        let mut run = 0;
        let mut words = texts.words(tokens, word_start);
        while let Some(word) = words.next_word() {
            match counted(word.kind, punctuation) {
                Counted::Word(text) => {
                    run += 1;
                    let alone = (word.tokens.len() == 1).then(|| tokens.get(word.tokens.start));
                    match alone.and_then(|id| Some((id, self.alone.get_mut(id as usize)?))) {
                        Some((id, count)) => {
                            *count += 1;
                            self.stream.alone(id);
                        }
                        None => self.stream.other(self.table.add(text.as_bytes(), 1)),
                    }
                }
                Counted::Skipped => {}
                Counted::Barrier => {
                    self.totals.add_run(run);
                    run = 0;
                    self.stream.barrier();
                }
            }
        }
        run
    }

    /// Counts tokens that are words alone; returns the words behind the last barrier.
    fn alone(&mut self, tokens: impl Iterator<Item = TokenId>) -> u64 {
        let mut run = 0;
        for id in tokens {
            match self.kinds.get(id as usize).unwrap_or(&Kind::Barrier) {
                Kind::Word => {
                    run += 1;
                    self.alone[id as usize] += 1;
                    self.stream.alone(id);
                }
                Kind::Skipped => {}
                Kind::Barrier => {
                    self.totals.add_run(run);
                    run = 0;
                    self.stream.barrier();
                }
            }
        }
        run
    }

    /// Counts raw text; returns the words behind the last barrier.
    fn text(&mut self, cutter: &WordCutter, punctuation: Punctuation, text: &str) -> Result<u64> {
        let Self {
            stream,
            table,
            batch,
            totals,
            ..
        } = self;
        let mut run = 0;
        let mut add = |batch: &mut Batch| {
            table.add_all(batch, |place| match place {
                Some(place) => {
                    run += 1;
                    stream.other(place);
                }
                None => {
                    totals.add_run(run);
                    run = 0;
                    stream.barrier();
                }
            });
        };
        cutter
            .each(text, |word| {
                match word {
                    CutWord::Short(text) => batch.push_short(text),
                    CutWord::ShortPunctuation(text) => match punctuation {
                        Punctuation::Word => batch.push_short(text),
                        Punctuation::Skip => {}
                        Punctuation::Barrier => batch.push_break(),
                    },
                    CutWord::Other(kind) => match counted(kind, punctuation) {
                        Counted::Word(text) => batch.push(text.as_bytes()),
                        Counted::Skipped => {}
                        Counted::Barrier => batch.push_break(),
                    },
                }
                if batch.is_full() {
                    add(batch);
                }
            })
            .map_err(|error| Error::library("cutting text into words", error))?;
        add(batch);
        Ok(run)
    }

    fn spill(&mut self, spill: &Buckets) -> Result<()> {
        self.stream
            .end_generation(self.table.iter().map(|(text, _)| text))?;
        let mut parts = vec![Vec::new(); WORD_BUCKETS];
        for (text, count) in self.table.iter() {
            let bucket = (hash(text) >> 32) as usize % WORD_BUCKETS;
            let part: &mut Vec<u8> = &mut parts[bucket];
            part.extend_from_slice(&(text.len() as u32).to_le_bytes());
            part.extend_from_slice(&count.to_le_bytes());
            part.extend_from_slice(text);
            if part.len() >= 1 << 12 {
                spill.append(bucket, part)?;
                part.clear();
            }
        }
        for (bucket, part) in parts.iter().enumerate() {
            spill.append(bucket, part)?;
        }
        self.table.clear();
        Ok(())
    }

    /// Hands everything over to `spill`.
    pub fn finish(mut self, spill: &Buckets) -> Result<Totals> {
        let alone = std::mem::take(&mut self.alone);
        for (id, &count) in alone.iter().enumerate().filter(|&(_, &count)| count > 0) {
            let kind = self.source.of_token(id as TokenId);
            if let Counted::Word(text) = counted(kind, self.source.rules().punctuation) {
                self.table.add(text.as_bytes(), count);
            }
        }
        self.spill(spill)?;
        Ok(self.totals)
    }
}

/// Sums what all threads handed to `spill` and keeps the words with at least
/// `min_count` occurrences. Returns them and the number of distinct words before.
///
/// Fails where the words that are kept need more than `memory`.
pub fn kept_words(
    spill: &Buckets,
    min_count: u64,
    memory: ByteSize,
    unit: Unit,
    threads: usize,
) -> Result<(Dictionary, u64)> {
    let mut distinct = 0;
    let mut kept: Vec<(Box<str>, u64)> = Vec::new();
    let mut need = 0;
    parallel::ordered(
        threads,
        (0..spill.buckets()).map(Ok),
        || |bucket| sum_bucket(spill, bucket, min_count),
        |Sums {
             kept: words,
             distinct: all,
         }| {
            distinct += all;
            // While sorting: the text and its place here; then the dictionary's.
            need += words
                .iter()
                .map(|(text, _)| 2 * text.len() + 16 + 24 + 8 + 8 + 10)
                .sum::<usize>();
            kept.extend(words);
            check_room(need, kept.len(), memory, min_count, unit)
        },
    )?;
    kept.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let dictionary = Dictionary {
        words: WordSet::from_sorted(kept.iter().map(|(text, _)| &**text)),
        counts: kept.iter().map(|&(_, count)| count).collect(),
    };
    Ok((dictionary, distinct))
}

fn check_room(
    need: usize,
    words: usize,
    memory: ByteSize,
    min_count: u64,
    unit: Unit,
) -> Result<()> {
    if need as u64 <= memory.0 && words <= MAX_WORDS {
        return Ok(());
    }
    let name = match unit {
        Unit::Word => "words",
        Unit::Token => "tokens",
    };
    Err(Error::resource(
        "--memory",
        format!("more than {words} {name} with at least {min_count} occurrences"),
        format!("words that fit in {memory}, the part of it that is theirs"),
        "raise --memory or count.min_count",
    ))
}

/// What one bucket comes to.
struct Sums {
    /// Words with enough occurrences, in no order.
    kept: Vec<(Box<str>, u64)>,
    /// Number of all distinct words.
    distinct: u64,
}

fn sum_bucket(spill: &Buckets, bucket: usize, min_count: u64) -> Result<Sums> {
    let mut sums = TextCounts::default();
    for piece in spill.drain(bucket) {
        let piece = piece?;
        let mut rest = &piece[..];
        while let Some((len, count, after)) = head(rest) {
            let (text, after) = after.split_at(len);
            sums.add(text, count);
            rest = after;
        }
    }
    let kept = sums
        .iter()
        .filter(|&(_, count)| count >= min_count)
        .map(|(text, count)| (String::from_utf8_lossy(text).into(), count))
        .collect();
    Ok(Sums {
        kept,
        distinct: sums.len() as u64,
    })
}

/// A record's text length and count, and the bytes after them.
fn head(bytes: &[u8]) -> Option<(usize, u64, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (count, rest) = rest.split_first_chunk::<8>()?;
    Some((
        u32::from_le_bytes(*len) as usize,
        u64::from_le_bytes(*count),
        rest,
    ))
}

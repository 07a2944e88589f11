//! Exact n-gram counts of a corpus of any size in bounded memory (spec 8, 1 and 2):
//! the two passes, with threads around them.
//!
//! Cost: the corpus is decoded twice; 57 ns a word and core for lengths 1 to 5 in
//! `benches/counting.rs`, twice that when everything spills. Scratch takes up to 11
//! bytes a word before compression (80 000 words), and none while the windows fit in
//! half of the memory.

use crate::base::boundaries::BoundarySlice;
use crate::base::error::Result;
use crate::base::part::Part;
use crate::base::size::ByteSize;
use crate::base::token::TokenSlice;
use crate::config::{CountConfig, Unit};
use crate::parallel;
use crate::progress::{Progress, short};
use crate::statistics::dictionary::{Dictionary, WordId};
use crate::statistics::groups::{Rows, count_bucket, count_large_bucket};
use crate::statistics::plan::{Plan, RANGE_WORDS, ranges};
use crate::statistics::tally::{MAX_LENGTH, Totals, WORD_BUCKETS, WordTally, kept_words};
use crate::statistics::windows::{Scatter, Shape, Window};
use crate::statistics::words::{BARRIER, SKIPPED, WordCodes};
use crate::storage::Buckets;
use crate::tokenizer::WordTexts;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Token documents in pieces that threads take one by one; gone over twice.
pub trait Corpus: Sync {
    /// Number of pieces.
    fn pieces(&self) -> usize;

    /// Hands tokens and word starts of every document of a piece to `each`.
    fn visit(
        &self,
        piece: usize,
        each: &mut dyn FnMut(TokenSlice<'_>, BoundarySlice<'_>) -> Result<()>,
    ) -> Result<()>;
}

/// What takes n-grams: key range by key range, and within one every length in order.
pub trait CountSink {
    /// Begins key range `range` of `ranges`. What was begun before is complete.
    fn begin(&mut self, range: u32, counts: &Counts) -> Result<()>;

    /// Takes one n-gram, its words joined by one space, and its count.
    fn ngram(&mut self, words: &[WordId], text: &str, count: u64) -> Result<()>;
}

/// What is known before n-grams are handed over.
#[derive(Debug, Clone)]
pub struct Counts {
    /// Documents, tokens, and windows of each length, of the whole corpus.
    pub totals: Totals,
    /// Distinct words before the threshold.
    pub distinct_words: u64,
    /// The words that are kept.
    pub dictionary: Dictionary,
    /// Number of key ranges.
    pub ranges: u32,
}

/// One count, set up.
pub struct Counting<'a> {
    /// Thresholds and rules.
    pub config: &'a CountConfig,
    /// Texts of words under these rules.
    pub texts: &'a WordTexts,
    /// Which key ranges are counted: those whose number belongs to the part.
    pub part: Part,
    /// Bound on memory, scratch buckets included.
    pub memory: ByteSize,
    /// Where scratch goes.
    pub scratch: &'a Path,
    /// Number of threads.
    pub threads: usize,
    /// Where progress is told.
    pub progress: Progress,
    /// Words to a key range; [`RANGE_WORDS`] outside of tests.
    pub range_words: u64,
}

const STAGE: &str = "count";

impl<'a> Counting<'a> {
    /// A count of everything with key ranges of the usual size.
    pub fn new(config: &'a CountConfig, texts: &'a WordTexts, scratch: &'a Path) -> Self {
        Self {
            config,
            texts,
            part: Part::WHOLE,
            memory: ByteSize::mib(4096),
            scratch,
            threads: 1,
            progress: Progress::silent(),
            range_words: RANGE_WORDS,
        }
    }

    /// Counts `corpus`, hands the n-grams of this part to `sink`, and returns totals
    /// and dictionary.
    pub fn run(&self, corpus: &impl Corpus, sink: &mut impl CountSink) -> Result<Counts> {
        let counts = self.words(corpus)?;
        self.progress.note(STAGE, &self.describe(&counts));
        let shape = Shape::new(
            self.config.max_length as usize,
            counts.dictionary.words.len(),
        );
        if shape.is_packed() {
            self.windows::<u128>(corpus, &counts, shape, sink)?;
        } else {
            self.windows::<[u32; MAX_LENGTH]>(corpus, &counts, shape, sink)?;
        }
        Ok(counts)
    }

    /// The first pass.
    fn words(&self, corpus: &impl Corpus) -> Result<Counts> {
        let spill = Buckets::new(self.scratch, WORD_BUCKETS, ByteSize(self.memory.0 / 4))?;
        let share = self.memory.bytes() / 4 / self.threads;
        let tallies = Pool::default();
        self.pass(corpus, "words", |piece| {
            let mut tally = tallies
                .take()
                .unwrap_or_else(|| WordTally::new(self.texts, share));
            corpus.visit(piece, &mut |tokens, word_start| {
                tally.document(tokens, word_start, &spill)
            })?;
            tallies.put(tally);
            Ok(())
        })?;
        let mut totals = Totals::default();
        for tally in tallies.into_all() {
            totals.add(&tally.finish(&spill)?);
        }
        totals.windows[self.config.max_length as usize..].fill(0);
        let (dictionary, distinct_words) = kept_words(
            &spill,
            self.config.min_count,
            ByteSize(self.memory.0 / 2),
            self.config.unit,
            self.threads,
        )?;
        Ok(Counts {
            ranges: ranges(totals.windows[0], self.range_words),
            totals,
            distinct_words,
            dictionary,
        })
    }

    fn describe(&self, counts: &Counts) -> String {
        let unit = match self.config.unit {
            Unit::Word => "words",
            Unit::Token => "tokens",
        };
        format!(
            "{} {unit} counted, {} of {} distinct ones occur {} times or more",
            short(counts.totals.windows[0] as f64),
            counts.dictionary.words.len(),
            counts.distinct_words,
            self.config.min_count
        )
    }

    /// The second pass, and what comes of it.
    fn windows<W: Window>(
        &self,
        corpus: &impl Corpus,
        counts: &Counts,
        shape: Shape,
        sink: &mut impl CountSink,
    ) -> Result<()> {
        let words = &counts.dictionary.words;
        // What the dictionary and the open output files take is not there any more.
        let taken = words.memory() + 12 * words.len() + 4 * self.texts.vocabulary_size();
        let memory = ByteSize(self.memory.0.saturating_sub(taken as u64));
        let plan = Plan::new(
            &counts.dictionary.counts,
            counts.ranges,
            self.part,
            shape,
            self.config.min_count,
            memory,
            self.threads,
        );
        if plan.scratch > plan.bucket_memory {
            self.progress.note(
                STAGE,
                &format!(
                    "windows take up to {} of scratch in {}",
                    plan.scratch,
                    self.scratch.display()
                ),
            );
        }
        let buckets = Buckets::new(self.scratch, plan.buckets(), plan.bucket_memory)?;
        if shape.length > 1 && !plan.ranges.is_empty() {
            self.scatter::<W>(corpus, counts, shape, &plan, &buckets)?;
        }
        self.gather::<W>(counts, shape, &plan, &buckets, sink)
    }

    fn scatter<W: Window>(
        &self,
        corpus: &impl Corpus,
        counts: &Counts,
        shape: Shape,
        plan: &Plan,
        buckets: &Buckets,
    ) -> Result<()> {
        let words = (self.texts, &counts.dictionary.words);
        let codes = WordCodes::new(words.0, words.1);
        let scatters = Pool::default();
        self.pass(corpus, "windows", |piece| {
            let (mut scatter, mut ids) = scatters.take().unwrap_or_else(|| {
                let scatter = Scatter::new(shape, &plan.bucket_of, buckets, plan.piece);
                (scatter, Vec::new())
            });
            corpus.visit(piece, &mut |tokens, word_start| {
                ids.clear();
                codes.each(words, tokens, word_start, |code, _| {
                    if code != SKIPPED {
                        ids.push(code);
                    }
                });
                // One barrier at the end lets documents follow each other.
                ids.push(BARRIER);
                scatter.document::<W>(&ids)
            })?;
            scatters.put((scatter, ids));
            Ok(())
        })?;
        for (scatter, _) in scatters.into_all() {
            scatter.finish()?;
        }
        Ok(())
    }

    fn gather<W: Window>(
        &self,
        counts: &Counts,
        shape: Shape,
        plan: &Plan,
        buckets: &Buckets,
        sink: &mut impl CountSink,
    ) -> Result<()> {
        let min_count = self.config.min_count;
        let meter = self
            .progress
            .meter(STAGE, "buckets", Some(buckets.buckets() as u64));
        let mut output = Output::new(counts, plan, sink);
        parallel::ordered(
            self.threads,
            (0..buckets.buckets()).map(Ok),
            || {
                |bucket| {
                    let windows = buckets.len(bucket) / shape.width.max(1) as u64;
                    if windows > plan.most_windows {
                        return Ok((bucket, None));
                    }
                    count_bucket::<W>(buckets, bucket, shape, min_count)
                        .map(|rows| (bucket, Some(rows)))
                }
            },
            |(bucket, rows): (usize, Option<Rows>)| {
                output.reach(bucket)?;
                meter.add(1);
                match rows {
                    Some(rows) => rows
                        .iter()
                        .try_for_each(|(words, count)| output.ngram(words, count)),
                    None => count_large_bucket::<W>(
                        buckets,
                        bucket,
                        shape,
                        min_count,
                        plan.run_memory,
                        self.scratch,
                        &mut |words, count| output.ngram(words, count),
                    ),
                }
            },
        )?;
        meter.finish(&format!(
            "{} n-grams of {} key ranges",
            output.ngrams,
            plan.ranges.len()
        ));
        Ok(())
    }

    /// Goes over the corpus once on all threads.
    fn pass(
        &self,
        corpus: &impl Corpus,
        unit: &'static str,
        work: impl Fn(usize) -> Result<()> + Sync,
    ) -> Result<()> {
        let pieces = corpus.pieces();
        let meter = self
            .progress
            .meter(STAGE, "record batches", Some(pieces as u64));
        parallel::ordered(
            self.threads,
            (0..pieces).map(Ok),
            || &work,
            |()| {
                meter.add(1);
                Ok(())
            },
        )?;
        meter.finish(&format!("{unit} of {pieces} record batches"));
        Ok(())
    }
}

/// Hands n-grams to the sink with their texts, and single words at the start of each
/// key range.
struct Output<'a, S> {
    counts: &'a Counts,
    plan: &'a Plan,
    sink: &'a mut S,
    /// Ranges begun so far.
    begun: usize,
    ngrams: u64,
    text: String,
}

impl<'a, S: CountSink> Output<'a, S> {
    fn new(counts: &'a Counts, plan: &'a Plan, sink: &'a mut S) -> Self {
        Self {
            counts,
            plan,
            sink,
            begun: 0,
            ngrams: 0,
            text: String::new(),
        }
    }

    /// Begins the ranges up to that of `bucket`.
    fn reach(&mut self, bucket: usize) -> Result<()> {
        while self.begun <= bucket / self.plan.buckets_per_range {
            let (range, words) = &self.plan.ranges[self.begun];
            self.sink.begin(*range, self.counts)?;
            for word in words.clone() {
                let count = self.counts.dictionary.counts[word as usize];
                self.ngram(&[word], count)?;
            }
            self.begun += 1;
        }
        Ok(())
    }

    fn ngram(&mut self, words: &[WordId], count: u64) -> Result<()> {
        self.text.clear();
        self.counts.dictionary.words.join(words, &mut self.text);
        self.ngrams += 1;
        self.sink.ngram(words, &self.text, count)
    }
}

/// What threads count with, between two pieces of the corpus.
struct Pool<T>(Mutex<Vec<T>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T> Pool<T> {
    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<T> {
        self.lock().pop()
    }

    fn put(&self, one: T) {
        self.lock().push(one);
    }

    fn into_all(self) -> Vec<T> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

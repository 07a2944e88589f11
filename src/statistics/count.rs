//! Exact n-gram counts of a corpus of any size in bounded memory (spec 8, 1 and 2): the
//! corpus is read once, and its words are gone through once or several times
//! ([`passes`](mod@crate::statistics::passes)), with threads around it.
//!
//! Cost: 72 ns of CPU a word for lengths 1 to 5 of 87 million words from token files, 117 ns
//! a word of raw text (docs/benchmarks.md). Scratch takes 2 to 3 bytes a word before
//! compression, where the words do not fit in memory, and up to 12 where so little memory
//! is given that the windows of a dozen passes would not fit either.

use crate::base::error::Result;
use crate::base::size::ByteSize;
use crate::config::{CountConfig, Unit};
use crate::parallel;
use crate::progress::{Progress, short};
use crate::statistics::dictionary::{Dictionary, WordId};
use crate::statistics::frequent::{self, CountRoom, Prefixes, count_bucket};
use crate::statistics::groups::{Groups, Rows, each_of_large_bucket, unpacked_bucket};
use crate::statistics::passes::Passes;
use crate::statistics::plan::{Pass, Plan, RANGE_WORDS, ranges};
use crate::statistics::sort;
use crate::statistics::stream::WordStream;
use crate::statistics::tally::{MAX_LENGTH, Totals, WORD_BUCKETS, WordTally, kept_words};
use crate::statistics::windows::{Shape, Window};
use crate::statistics::words::{Document, WordSource};
use crate::storage::Buckets;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Documents in pieces that threads take one by one.
pub trait Corpus: Sync {
    /// What a thread takes.
    type Piece: Send;

    /// All pieces, drawn one after the other.
    fn pieces(&self) -> impl Iterator<Item = Result<Self::Piece>> + Send;

    /// How many there are, where that is known.
    fn known_pieces(&self) -> Option<u64>;

    /// Hands every document of a piece to `each`.
    fn visit(
        &self,
        piece: Self::Piece,
        each: &mut dyn FnMut(Document<'_>) -> Result<()>,
    ) -> Result<()>;

    /// Refuses what turned out not to be worth counting, once all pieces were visited.
    fn check_visited(&self) -> Result<()> {
        Ok(())
    }
}

/// What takes n-grams: key range by key range, and within one every length in order.
pub trait CountSink {
    /// Begins key range `range` of `ranges`. What was begun before is complete.
    fn begin(&mut self, range: u32, counts: &Counts) -> Result<()>;

    /// Takes one n-gram, its words joined by one space, and its count.
    fn ngram(&mut self, words: &[WordId], text: &str, count: u64) -> Result<()>;
}

/// What takes a sorted run.
pub trait RunSink {
    /// Takes the words, all of them, before any window.
    fn begin(&mut self, counts: &Counts) -> Result<()>;

    /// Takes a window of two words or more and how often it occurs: ids plus one, 0
    /// where it has ended. They come in ascending order, each once.
    fn window(&mut self, window: &[u32], count: u64) -> Result<()>;
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
    /// What makes words under these rules.
    pub source: WordSource<'a>,
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
    /// How many passes make the windows, where that is not left to the plan.
    pub passes: Option<u64>,
    /// Asked between pieces of the work: an error ends the count.
    pub check: &'a (dyn Fn() -> Result<()> + Sync),
}

pub(super) const STAGE: &str = "count";

impl<'a> Counting<'a> {
    /// A count of everything with key ranges of the usual size.
    pub fn new(config: &'a CountConfig, source: WordSource<'a>, scratch: &'a Path) -> Self {
        Self {
            config,
            source,
            memory: ByteSize::mib(4096),
            scratch,
            threads: 1,
            progress: Progress::silent(),
            range_words: RANGE_WORDS,
            passes: None,
            check: &|| Ok(()),
        }
    }

    /// Counts `corpus`, hands its n-grams to `sink`, and returns totals and dictionary.
    pub fn run(&self, corpus: &impl Corpus, sink: &mut impl CountSink) -> Result<Counts> {
        let (counts, stream) = self.words(corpus, self.config.min_count)?;
        let shape = self.shape(&counts);
        if shape.is_packed() {
            self.count_windows::<u128>(stream, &counts, shape, sink)?;
        } else {
            self.count_windows::<[u32; MAX_LENGTH]>(stream, &counts, shape, sink)?;
        }
        Ok(counts)
    }

    /// Counts the windows of `corpus`, nothing left out, and hands them to `sink` in
    /// order: a sorted run, to be joined with those of other parts.
    pub fn sorted_run(&self, corpus: &impl Corpus, sink: &mut impl RunSink) -> Result<Counts> {
        let (counts, stream) = self.words(corpus, 1)?;
        let shape = self.shape(&counts);
        if shape.is_packed() {
            self.keep_windows::<u128>(stream, &counts, shape, sink)?;
        } else {
            self.keep_windows::<[u32; MAX_LENGTH]>(stream, &counts, shape, sink)?;
        }
        Ok(counts)
    }

    fn shape(&self, counts: &Counts) -> Shape {
        let length = self.config.max_length as usize;
        Shape::new(length, counts.dictionary.words.len())
    }

    /// The first pass.
    fn words(&self, corpus: &impl Corpus, min_count: u64) -> Result<(Counts, WordStream)> {
        let quarter = ByteSize(self.memory.0 / 4);
        let spill = Buckets::new(self.scratch, WORD_BUCKETS, quarter)?;
        let stream = WordStream::new(self.scratch, self.threads, quarter)?;
        let share = quarter.bytes() / self.threads;
        let tallies = Pool::default();
        let meter = self
            .progress
            .meter(STAGE, "pieces of text", corpus.known_pieces());
        let mut pieces = 0;
        parallel::ordered(
            self.threads,
            corpus.pieces(),
            || {
                |piece| {
                    let mut tally = tallies
                        .take()
                        .unwrap_or_else(|| WordTally::new(self.source, &stream, share));
                    let done =
                        corpus.visit(piece, &mut |document| tally.document(document, &spill));
                    // Also after an error, which other threads do not know of yet: there is
                    // room for the words of so many tallies, and no more.
                    tallies.put(tally);
                    done
                }
            },
            |()| {
                meter.add(1);
                pieces += 1;
                Ok(())
            },
        )?;
        meter.finish(&format!("words of {pieces} pieces of text"));
        corpus.check_visited()?;
        let mut totals = Totals::default();
        for tally in tallies.into_all() {
            totals.add(&tally.finish(&spill)?);
        }
        totals.windows[self.config.max_length as usize..].fill(0);
        let (dictionary, distinct_words) = kept_words(
            &spill,
            min_count,
            ByteSize(self.memory.0 / 2),
            self.config.unit,
            self.threads,
        )?;
        let counts = Counts {
            ranges: ranges(totals.windows[0], self.range_words),
            totals,
            distinct_words,
            dictionary,
        };
        let text = self.describe(&counts, min_count);
        self.progress.note(STAGE, &text);
        Ok((counts, stream))
    }

    fn describe(&self, counts: &Counts, min_count: u64) -> String {
        let unit = match self.config.unit {
            Unit::Word => "words",
            Unit::Token => "tokens",
        };
        format!(
            "{} {unit} counted, {} of {} distinct ones occur {} times or more",
            short(counts.totals.windows[0] as f64),
            counts.dictionary.words.len(),
            counts.distinct_words,
            min_count
        )
    }

    /// All passes over the words, to n-grams.
    fn count_windows<W: Prefixes>(
        &self,
        stream: WordStream,
        counts: &Counts,
        shape: Shape,
        sink: &mut impl CountSink,
    ) -> Result<()> {
        let min_count = self.config.min_count;
        let passes = Passes::new(
            self,
            counts,
            shape,
            frequent::bytes_in_work(shape, min_count),
        )?;
        let Passes { plan, buckets, .. } = &passes;
        let own: Vec<(u32, Range<WordId>)> = (0..).zip(plan.ranges.iter().cloned()).collect();
        let mut output = Output::new(counts, &own, sink);
        let rooms: Pool<CountRoom<W>> = Pool::default();
        passes.each::<W>(stream, |pass| {
            self.gather(
                (plan, pass, buckets),
                shape,
                |bucket| {
                    let mut room = rooms.take().unwrap_or_default();
                    let rows = count_bucket(buckets, bucket, (shape, min_count), &mut room)?;
                    rooms.put(room);
                    Ok(rows)
                },
                |bucket, rows: Option<Rows>| {
                    output.reach((pass.buckets.start + bucket) / plan.buckets_per_range)?;
                    let mut each = |words: &[WordId], count| output.ngram(words, count);
                    if let Some(rows) = rows {
                        return rows
                            .iter()
                            .try_for_each(|(words, count)| each(words, count));
                    }
                    let mut groups = Groups::new(shape, min_count);
                    self.each_of_large(plan, buckets, bucket, shape, &mut |window: W, count| {
                        groups.push(window, count, &mut each)
                    })?;
                    groups.finish(&mut each)
                },
            )
        })
    }

    /// All passes over the words, to a sorted run.
    fn keep_windows<W: Window>(
        &self,
        stream: WordStream,
        counts: &Counts,
        shape: Shape,
        sink: &mut impl RunSink,
    ) -> Result<()> {
        let passes = Passes::new(self, counts, shape, sort::bytes_in_work(shape))?;
        let Passes { plan, buckets, .. } = &passes;
        sink.begin(counts)?;
        let mut values = [0; MAX_LENGTH];
        let mut hand = |window: W, count| {
            for (place, value) in values[..shape.length].iter_mut().enumerate() {
                *value = window.word(place, shape).map_or(0, |word| word + 1);
            }
            sink.window(&values[..shape.length], count)
        };
        let spares: Pool<Vec<W>> = Pool::default();
        passes.each::<W>(stream, |pass| {
            self.gather(
                (plan, pass, buckets),
                shape,
                |bucket| {
                    let (mut windows, mut spare) = (Vec::new(), spares.take().unwrap_or_default());
                    unpacked_bucket(buckets, bucket, shape, &mut windows)?;
                    W::sort(&mut windows, &mut spare);
                    spares.put(spare);
                    Ok(windows)
                },
                |bucket, windows: Option<Vec<W>>| {
                    if let Some(windows) = windows {
                        return windows
                            .chunk_by(|a, b| a == b)
                            .try_for_each(|equal| hand(equal[0], equal.len() as u64));
                    }
                    let mut open: Option<(W, u64)> = None;
                    self.each_of_large(plan, buckets, bucket, shape, &mut |window, count| {
                        match &mut open {
                            Some((last, sum)) if *last == window => {
                                *sum += count;
                                Ok(())
                            }
                            open => match open.replace((window, count)) {
                                Some((last, sum)) => hand(last, sum),
                                None => Ok(()),
                            },
                        }
                    })?;
                    open.map_or(Ok(()), |(last, sum)| hand(last, sum))
                },
            )
        })
    }

    /// Runs every bucket of a pass through `work` on all threads, and hands what comes of
    /// it to `each` in order; `None` stands for a bucket that is too large to be worked on
    /// in memory.
    fn gather<T: Send>(
        &self,
        (plan, pass, buckets): (&Plan, &Pass, &Buckets),
        shape: Shape,
        work: impl Fn(usize) -> Result<T> + Sync,
        mut each: impl FnMut(usize, Option<T>) -> Result<()>,
    ) -> Result<()> {
        let all = pass.buckets.len();
        let meter = self.progress.meter(STAGE, "buckets", Some(all as u64));
        parallel::ordered(
            self.threads,
            (0..all).map(Ok),
            || {
                |bucket| {
                    (self.check)()?;
                    let windows = buckets.len(bucket) / shape.width.max(1) as u64;
                    let fits = windows <= plan.most_windows;
                    Ok((bucket, fits.then(|| work(bucket)).transpose()?))
                }
            },
            |(bucket, done)| {
                meter.add(1);
                each(bucket, done)
            },
        )?;
        meter.finish(&format!("{all} buckets counted"));
        Ok(())
    }

    fn each_of_large<W: Window>(
        &self,
        plan: &Plan,
        buckets: &Buckets,
        bucket: usize,
        shape: Shape,
        each: &mut impl FnMut(W, u64) -> Result<()>,
    ) -> Result<()> {
        each_of_large_bucket(buckets, bucket, shape, plan.run_memory, self.scratch, each)
    }
}

/// Hands n-grams to the sink with their texts, and single words at the start of each
/// key range.
pub struct Output<'a, S> {
    counts: &'a Counts,
    /// The ranges that are handed over, ascending, with their words.
    ranges: &'a [(u32, Range<WordId>)],
    sink: &'a mut S,
    /// Ranges begun so far.
    begun: usize,
    ngrams: u64,
    text: String,
}

impl<'a, S: CountSink> Output<'a, S> {
    /// Nothing handed over yet.
    pub fn new(counts: &'a Counts, ranges: &'a [(u32, Range<WordId>)], sink: &'a mut S) -> Self {
        Self {
            counts,
            ranges,
            sink,
            begun: 0,
            ngrams: 0,
            text: String::new(),
        }
    }

    /// Begins the ranges up to the one at `place` of the list.
    pub fn reach(&mut self, place: usize) -> Result<()> {
        while self.begun <= place {
            let (range, words) = &self.ranges[self.begun];
            self.sink.begin(*range, self.counts)?;
            for word in words.clone() {
                let count = self.counts.dictionary.counts[word as usize];
                self.ngram(&[word], count)?;
            }
            self.begun += 1;
        }
        Ok(())
    }

    /// Hands over one n-gram of the range begun last.
    pub fn ngram(&mut self, words: &[WordId], count: u64) -> Result<()> {
        self.text.clear();
        self.counts.dictionary.words.join(words, &mut self.text);
        self.ngrams += 1;
        self.sink.ngram(words, &self.text, count)
    }

    /// How many were handed over.
    pub fn ngrams(&self) -> u64 {
        self.ngrams
    }
}

/// What threads count with, between two pieces of the corpus.
pub(super) struct Pool<T>(Mutex<Vec<T>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T> Pool<T> {
    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self) -> Option<T> {
        self.lock().pop()
    }

    pub(super) fn put(&self, one: T) {
        self.lock().push(one);
    }

    pub(super) fn into_all(self) -> Vec<T> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Joins sorted runs of counted windows, of parts of a corpus or of texts that came
//! later, into the counts of all of them (spec 8, 1: nothing is left out before the
//! sum).
//!
//! A run names a word by its rank in text order among the run's own words, all of
//! them. Ranks keep their order when the words of all runs are merged, so a run stays
//! sorted when its words are numbered anew, whatever words other runs have: keys need
//! no agreement between parts, no hash that could collide, and no sort here. Words
//! below the threshold are known by then; a window ends at the first of them. Key
//! ranges are cut by the joined counts of words and found in each run through its
//! index, so they are even, and the same for any division into runs.
//!
//! Cost: every window of every run is read once, and up to two record batches of each
//! run for each piece of the work in vain. Memory: the distinct words of all runs, 4
//! bytes each, a record batch of each run and thread, and what is kept of a piece.

use crate::base::error::{Error, Result};
use crate::base::part::Part;
use crate::base::size::ByteSize;
use crate::columnar::counts::Texts;
use crate::columnar::runs::{BATCH, Windows};
use crate::columnar::{CountsFile, RunFile};
use crate::parallel;
use crate::progress::Progress;
use crate::statistics::count::{CountSink, Counts, Output, RunSink};
use crate::statistics::dictionary::{Dictionary, MAX_WORDS, WordId, WordSet};
use crate::statistics::groups::{Piece, PieceGroups, Seam, bytes_in_work};
use crate::statistics::plan::{RANGE_WORDS, range_words, ranges};
use crate::statistics::tally::{MAX_LENGTH, Totals};
use crate::statistics::windows::{Keys, Shape, Window};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::path::PathBuf;

/// Memory of a run while it is read, for each thread: a record batch, compressed and
/// decoded.
const READER_MEMORY: u64 = 48 * BATCH as u64;

const STAGE: &str = "count";

/// One sorted run.
pub struct Run {
    /// All its words with their counts, in text order.
    pub words: PathBuf,
    /// Its windows.
    pub windows: RunFile,
}

/// A join, set up.
pub struct Join<'a> {
    /// The runs.
    pub runs: &'a [Run],
    /// Sums over all runs.
    pub totals: Totals,
    /// The longest window in the runs.
    pub run_length: usize,
    /// The longest n-gram wanted, at most as long.
    pub max_length: usize,
    /// N-grams that occur less often are left out.
    pub min_count: u64,
    /// Which key ranges are joined: those whose number belongs to the part.
    pub part: Part,
    /// Bound on memory.
    pub memory: ByteSize,
    /// Number of threads.
    pub threads: usize,
    /// Where progress is told.
    pub progress: Progress,
    /// Words to a key range; [`RANGE_WORDS`] outside of tests.
    pub range_words: u64,
    /// Asked between pieces: an error ends the join.
    pub check: &'a (dyn Fn() -> Result<()> + Sync),
}

/// Words joined: what is kept, and the key of every word of every run.
struct Words {
    dictionary: Dictionary,
    distinct: u64,
    /// By run, and by the word's value in the run: its key. Kept words have even keys
    /// from 2 on, 0 is no word, and a word that is left out has the odd key between
    /// those of its neighbours.
    keys: Vec<Vec<u32>>,
}

impl<'a> Join<'a> {
    /// A join of all of `runs` with nothing left out and key ranges of the usual size.
    pub fn new(
        runs: &'a [Run],
        totals: Totals,
        run_length: usize,
        check: &'a (dyn Fn() -> Result<()> + Sync),
    ) -> Self {
        Self {
            runs,
            totals,
            run_length,
            max_length: run_length,
            min_count: 1,
            part: Part::WHOLE,
            memory: ByteSize::mib(4096),
            threads: 1,
            progress: Progress::silent(),
            range_words: RANGE_WORDS,
            check,
        }
    }

    /// Hands the n-grams of this part to `sink`, and returns totals and dictionary.
    pub fn counts(&self, sink: &mut impl CountSink) -> Result<Counts> {
        let (counts, keys) = self.joined_words()?;
        let shape = self.shape(&counts);
        if shape.is_packed() {
            self.join_counts::<u128>(&counts, &keys, shape, sink)?;
        } else {
            self.join_counts::<[u32; MAX_LENGTH]>(&counts, &keys, shape, sink)?;
        }
        Ok(counts)
    }

    /// Joins the runs to one run; for that nothing may be left out.
    pub fn run(&self, sink: &mut impl RunSink) -> Result<Counts> {
        debug_assert_eq!(self.min_count, 1);
        let (counts, keys) = self.joined_words()?;
        let shape = self.shape(&counts);
        if shape.is_packed() {
            self.join_windows::<u128>(&counts, &keys, shape, sink)?;
        } else {
            self.join_windows::<[u32; MAX_LENGTH]>(&counts, &keys, shape, sink)?;
        }
        Ok(counts)
    }

    fn shape(&self, counts: &Counts) -> Shape {
        // Keys go up to twice the number of words, and one.
        Shape::new(self.max_length, 2 * counts.dictionary.words.len() + 1)
    }

    fn joined_words(&self) -> Result<(Counts, Vec<Vec<u32>>)> {
        let words = self.merge_words()?;
        let mut totals = self.totals;
        totals.windows[self.max_length..].fill(0);
        let counts = Counts {
            totals,
            distinct_words: words.distinct,
            dictionary: words.dictionary,
            ranges: ranges(totals.windows[0], self.range_words),
        };
        Ok((counts, words.keys))
    }

    fn merge_words(&self) -> Result<Words> {
        let mut readers = Vec::with_capacity(self.runs.len());
        for run in self.runs {
            readers.push(CountsFile::open(&run.words)?.into_texts()?);
        }
        let mut heads = BinaryHeap::with_capacity(readers.len());
        for (run, reader) in readers.iter_mut().enumerate() {
            heads.extend(Head::of(run, reader)?);
        }
        let mut keys: Vec<Vec<u32>> = vec![vec![0]; self.runs.len()];
        let mut kept: Vec<(Box<str>, u64)> = Vec::new();
        let (mut distinct, mut all, mut need) = (0u64, 0u64, 0u64);
        // Runs that hold the word at hand.
        let mut holders = Vec::new();
        while let Some(Head { text, count, run }) = heads.pop() {
            let mut sum = count;
            holders.clear();
            holders.push(run);
            while let Some(next) = heads.peek_mut().filter(|next| next.text == text) {
                let next = PeekMut::pop(next);
                sum += next.count;
                holders.push(next.run);
            }
            distinct += 1;
            all += sum;
            let is_kept = sum >= self.min_count;
            let key = 2 * (kept.len() as u32 + 1) - u32::from(!is_kept);
            for &run in &holders {
                keys[run].push(key);
                let next = Head::of(run, &mut readers[run])?;
                if next.as_ref().is_some_and(|next| next.text <= text) {
                    return Err(self.wrong_words(run, "words out of order".into()));
                }
                heads.extend(next);
            }
            // Its key in each run; twice its text and what the dictionary adds to it.
            need += 4 * holders.len() as u64;
            if is_kept {
                need += 2 * text.len() as u64 + 66;
                kept.push((text, sum));
            }
            if need > self.memory.0 / 2 || kept.len() > MAX_WORDS / 2 {
                return Err(Error::resource(
                    "--memory",
                    format!("more than {distinct} distinct words in all runs"),
                    format!("words that fit in half of {}", self.memory),
                    "raise --memory or count.min_count",
                ));
            }
        }
        if all != self.totals.windows[0] {
            let found = format!("{all} words in all runs");
            return Err(self.wrong_words(0, found));
        }
        Ok(Words {
            dictionary: Dictionary {
                words: WordSet::from_sorted(kept.iter().map(|(text, _)| &**text)),
                counts: kept.iter().map(|&(_, count)| count).collect(),
            },
            distinct,
            keys,
        })
    }

    fn wrong_words(&self, run: usize, found: String) -> Error {
        Error::corrupt(
            self.runs[run].words.display().to_string(),
            found,
            format!("{} words in text order", self.totals.windows[0]),
            "run `cloze verify` on the runs, and count the damaged part again",
        )
    }

    /// Threads that the memory is enough for.
    fn threads(&self) -> Result<usize> {
        let reading = READER_MEMORY * self.runs.len() as u64;
        let threads = self.memory.0 / 4 / reading.max(1);
        if threads == 0 {
            return Err(Error::resource(
                "--memory",
                self.memory.to_string(),
                format!("{} for {} runs", ByteSize(4 * reading), self.runs.len()),
                "raise --memory, or join fewer runs at a time to one run, with --runs",
            ));
        }
        Ok(usize::try_from(threads).map_or(self.threads, |most| most.min(self.threads)))
    }

    /// Windows in a piece of the work: what is kept of it fits in the memory, with
    /// others in work on every thread and waiting. Below four batches of every run most
    /// of the reading would be in vain.
    fn piece_windows(&self, shape: Shape) -> u64 {
        let per_piece = self.memory.0 / 4 / (3 * self.threads as u64);
        let fits = per_piece / bytes_in_work(shape, self.min_count);
        let wanted = 4 * (self.runs.len() * BATCH) as u64;
        fits.clamp(BATCH as u64, wanted.max(1 << 18))
    }

    fn join_counts<W: Window + Sync>(
        &self,
        counts: &Counts,
        keys: &[Vec<u32>],
        shape: Shape,
        sink: &mut impl CountSink,
    ) -> Result<()> {
        let own: Vec<(u32, std::ops::Range<WordId>)> = (0..)
            .zip(range_words(&counts.dictionary.counts, counts.ranges))
            .filter(|&(range, _)| self.part.has(range.into()))
            .collect();
        let places: Vec<usize> = own.iter().map(|&(range, _)| range as usize).collect();
        let pieces = self.pieces::<W>(counts, keys, shape, &places);
        let meter = self
            .progress
            .meter(STAGE, "pieces", Some(pieces.len() as u64));
        let mut output = Output::new(counts, &own, sink);
        let mut seam = Seam::<Keys<W>>::new(shape, self.min_count);
        let mut seen = [0u64; MAX_LENGTH + 1];
        let mut last = 0;
        parallel::ordered(
            self.threads()?,
            pieces.iter().map(Ok),
            || {
                |span: &Span<W>| {
                    let mut groups = PieceGroups::new(shape, self.min_count);
                    let seen = self.each_window(span, keys, shape, |window, count| {
                        groups.push(Keys(window), count)
                    })?;
                    Ok((span.range, groups.finish(), seen))
                }
            },
            |(range, piece, windows): (usize, Option<Piece<Keys<W>>>, _)| {
                if range != last {
                    seam.finish(&mut |words, count| output.ngram(words, count))?;
                    last = range;
                }
                output.reach(range)?;
                add(&mut seen, &windows);
                meter.add(1);
                match piece {
                    Some(piece) => {
                        seam.join(&piece, &mut |words, count| output.ngram(words, count))
                    }
                    None => Ok(()),
                }
            },
        )?;
        seam.finish(&mut |words, count| output.ngram(words, count))?;
        if self.part == Part::WHOLE {
            self.check_windows(&seen)?;
        }
        meter.finish(&format!(
            "{} n-grams of {} runs",
            output.ngrams(),
            self.runs.len()
        ));
        Ok(())
    }

    fn join_windows<W: Window + Sync>(
        &self,
        counts: &Counts,
        keys: &[Vec<u32>],
        shape: Shape,
        sink: &mut impl RunSink,
    ) -> Result<()> {
        let all: Vec<usize> = (0..counts.ranges as usize).collect();
        let pieces = self.pieces::<W>(counts, keys, shape, &all);
        let meter = self
            .progress
            .meter(STAGE, "pieces", Some(pieces.len() as u64));
        sink.begin(counts)?;
        let mut seen = [0u64; MAX_LENGTH + 1];
        parallel::ordered(
            self.threads()?,
            pieces.iter().map(Ok),
            || {
                |span: &Span<W>| {
                    let mut windows: Vec<(W, u64)> = Vec::new();
                    let seen = self.each_window(span, keys, shape, |window, count| {
                        match windows.last_mut() {
                            Some((last, sum)) if *last == window => *sum += count,
                            _ => windows.push((window, count)),
                        }
                        Ok(())
                    })?;
                    Ok((windows, seen))
                }
            },
            |(windows, part): (Vec<(W, u64)>, _)| {
                add(&mut seen, &part);
                meter.add(1);
                let mut values = [0; MAX_LENGTH];
                for (window, count) in windows {
                    for (place, value) in values[..shape.length].iter_mut().enumerate() {
                        // Nothing is left out: every key is twice the value.
                        *value = window.word(place, shape).map_or(0, |odd| odd.div_ceil(2));
                    }
                    sink.window(&values[..shape.length], count)?;
                }
                Ok(())
            },
        )?;
        self.check_windows(&seen)?;
        meter.finish(&format!("{} runs joined to one", self.runs.len()));
        Ok(())
    }

    /// Refuses runs whose windows are not as many as were counted. `seen` holds the
    /// windows by number of words.
    fn check_windows(&self, seen: &[u64; MAX_LENGTH + 1]) -> Result<()> {
        for length in 2..=self.run_length {
            let found: u64 = seen[length..].iter().sum();
            let expected = self.totals.windows[length - 1];
            if found != expected {
                return Err(Error::corrupt(
                    self.runs[0].windows.path().display().to_string(),
                    format!("{found} windows of {length} words in all runs"),
                    format!("{expected}, as their manifests say"),
                    "run `cloze verify` on the runs, and count the damaged part again",
                ));
            }
        }
        Ok(())
    }

    /// Cuts the key ranges `own` into pieces at first windows of record batches.
    fn pieces<W: Window>(
        &self,
        counts: &Counts,
        keys: &[Vec<u32>],
        shape: Shape,
        own: &[usize],
    ) -> Vec<Span<W>> {
        let firsts: Vec<Vec<W>> = self
            .runs
            .iter()
            .zip(keys)
            .map(|(run, keys)| {
                let batches = run.windows.batches().iter();
                batches
                    .map(|batch| pack(batch.first.iter().copied(), keys, shape))
                    .collect()
            })
            .collect();
        let mut all: Vec<W> = firsts.iter().flatten().copied().collect();
        all.sort_unstable();
        let stride = self.piece_windows(shape).div_ceil(BATCH as u64) as usize;
        let bounds = range_words(&counts.dictionary.counts, counts.ranges);
        let mut pieces = Vec::new();
        for (place, &range) in own.iter().enumerate() {
            // A range begins behind the last word before it that is kept.
            let begin = |range: usize| match bounds.get(range) {
                Some(words) if range > 0 => Some(W::pack(&[2 * words.start], shape)),
                _ => None,
            };
            let (from, to) = (begin(range), begin(range + 1));
            let start = all.partition_point(|first| from.is_some_and(|from| *first <= from));
            let end = all.partition_point(|first| to.is_none_or(|to| *first < to));
            // A range without words begins where it ends.
            let inside = &all[start.min(end)..end];
            let mut cuts: Vec<W> = inside
                .iter()
                .copied()
                .skip(stride)
                .step_by(stride)
                .collect();
            cuts.dedup();
            let mut from = from;
            for cut in cuts.into_iter().map(Some).chain([to]) {
                let batches = firsts.iter().map(|firsts| {
                    let start =
                        firsts.partition_point(|first| from.is_some_and(|from| *first < from));
                    let end = firsts.partition_point(|first| cut.is_none_or(|to| *first < to));
                    start.saturating_sub(1)..end
                });
                pieces.push(Span {
                    range: place,
                    from,
                    to: cut,
                    batches: batches.collect(),
                });
                from = cut;
            }
        }
        pieces
    }

    /// Hands the windows of a piece to `each` in order, with their counts; one that is
    /// in several runs comes several times. Returns the windows by number of words.
    fn each_window<W: Window>(
        &self,
        span: &Span<W>,
        keys: &[Vec<u32>],
        shape: Shape,
        mut each: impl FnMut(W, u64) -> Result<()>,
    ) -> Result<[u64; MAX_LENGTH + 1]> {
        (self.check)()?;
        let mut readers: Vec<Reader<W>> = Vec::with_capacity(self.runs.len());
        let mut heads = BinaryHeap::with_capacity(self.runs.len());
        for ((run, keys), batches) in self.runs.iter().zip(keys).zip(&span.batches) {
            let mut reader = Reader {
                run: &run.windows,
                keys,
                shape,
                batches: batches.clone(),
                windows: None,
                row: 0,
                to: span.to,
                seen: [0; MAX_LENGTH + 1],
            };
            if let Some((window, count)) = reader.begin(span.from)? {
                heads.push(std::cmp::Reverse((window, readers.len(), count)));
            }
            readers.push(reader);
        }
        while let Some(mut head) = heads.peek_mut() {
            let std::cmp::Reverse((window, run, count)) = *head;
            each(window, count)?;
            match readers[run].next()? {
                Some((window, count)) => head.0 = (window, run, count),
                None => {
                    PeekMut::pop(head);
                }
            }
        }
        let mut seen = [0; MAX_LENGTH + 1];
        for reader in &readers {
            add(&mut seen, &reader.seen);
        }
        Ok(seen)
    }
}

fn add(sums: &mut [u64; MAX_LENGTH + 1], more: &[u64; MAX_LENGTH + 1]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}

/// A piece of the work: windows with keys from `from` on and before `to`.
struct Span<W> {
    /// Which of this part's key ranges it is in.
    range: usize,
    from: Option<W>,
    to: Option<W>,
    /// By run: record batches that may hold some of them.
    batches: Vec<std::ops::Range<usize>>,
}

/// The next word of a run, first in text order at the top of the heap.
#[derive(PartialEq, Eq)]
struct Head {
    text: Box<str>,
    count: u64,
    run: usize,
}

impl Head {
    fn of(run: usize, reader: &mut Texts) -> Result<Option<Self>> {
        Ok(reader.advance()?.then(|| Self {
            text: reader.text().into(),
            count: reader.count(),
            run,
        }))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (&other.text, other.run).cmp(&(&self.text, self.run))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Packs the keys of a window, up to the first word that is left out.
#[inline]
fn pack<W: Window>(values: impl Iterator<Item = u32>, keys: &[u32], shape: Shape) -> W {
    let mut places = [0; MAX_LENGTH];
    let mut length = 0;
    for value in values.take(shape.length) {
        let key = keys.get(value as usize).copied().unwrap_or(0);
        if key == 0 {
            break;
        }
        places[length] = key - 1;
        length += 1;
        if !key.is_multiple_of(2) {
            break;
        }
    }
    W::pack(&places[..length], shape)
}

/// Reads the windows of one run in one piece.
struct Reader<'a, W> {
    run: &'a RunFile,
    keys: &'a [u32],
    shape: Shape,
    batches: std::ops::Range<usize>,
    windows: Option<Windows>,
    row: usize,
    to: Option<W>,
    seen: [u64; MAX_LENGTH + 1],
}

impl<W: Window> Reader<'_, W> {
    /// The first window from `from` on.
    fn begin(&mut self, from: Option<W>) -> Result<Option<(W, u64)>> {
        let Some(from) = from else {
            return self.next();
        };
        while self.load()? {
            let Some(windows) = &self.windows else { break };
            let rows: Vec<usize> = (0..windows.len()).collect();
            self.row = rows.partition_point(|&row| self.at(windows, row) < from);
            if self.row < windows.len() {
                break;
            }
            self.windows = None;
        }
        self.next()
    }

    /// Reads the next record batch, if there is none at hand.
    fn load(&mut self) -> Result<bool> {
        if self.windows.is_none() {
            let Some(batch) = self.batches.next() else {
                return Ok(false);
            };
            self.windows = Some(self.run.batch(batch)?);
            self.row = 0;
        }
        Ok(true)
    }

    #[inline]
    fn at(&self, windows: &Windows, row: usize) -> W {
        let values = (0..windows.length()).map(|place| windows.column(place)[row]);
        pack(values, self.keys, self.shape)
    }

    #[inline]
    fn next(&mut self) -> Result<Option<(W, u64)>> {
        loop {
            if !self.load()? {
                return Ok(None);
            }
            let Some(windows) = &self.windows else {
                return Ok(None);
            };
            let row = self.row;
            if row == windows.len() {
                self.windows = None;
                continue;
            }
            let window = self.at(windows, row);
            if self.to.is_some_and(|to| window >= to) {
                return Ok(None);
            }
            let count = windows.counts()[row];
            let words = (0..windows.length())
                .position(|place| windows.column(place)[row] == 0)
                .unwrap_or(windows.length());
            self.seen[words] += count;
            self.row += 1;
            return Ok(Some((window, count)));
        }
    }
}

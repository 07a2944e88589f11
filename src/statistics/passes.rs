//! What follows the reading of a corpus: its words are gone through once, or several
//! times, and each time the windows of a part of the buckets are made and counted, in
//! memory that is used again ([`plan`](mod@crate::statistics::plan) says in how many
//! passes, and what that costs). The order of what comes out is that of the buckets,
//! however many passes there are.

use crate::base::error::Result;
use crate::base::size::ByteSize;
use crate::parallel;
use crate::progress::short;
use crate::statistics::count::{Counting, Counts, Pool, STAGE};
use crate::statistics::plan::{Pass, Placed, Plan};
use crate::statistics::ranked::{KeptWords, RankedWords, RankedWriter, Units, most_bytes};
use crate::statistics::stream::{Codes, WordStream};
use crate::statistics::windows::{Scatter, Shape, Window};
use crate::statistics::words::{BARRIER, codes_alone};
use crate::storage::Buckets;

/// Words that are looked at together, at least: few enough for the first cache.
const RUN: usize = 1 << 11;

/// All passes over the words of a corpus.
pub struct Passes<'a> {
    counting: &'a Counting<'a>,
    counts: &'a Counts,
    shape: Shape,
    /// How the windows are divided.
    pub plan: Plan,
    /// Holds the windows of one pass.
    pub buckets: Buckets,
}

impl<'a> Passes<'a> {
    /// Plans the passes that count windows of `shape`, each of which needs `in_work` bytes
    /// of memory while its bucket is worked on.
    pub fn new(
        counting: &'a Counting<'a>,
        counts: &'a Counts,
        shape: Shape,
        in_work: u64,
    ) -> Result<Self> {
        let words = &counts.dictionary.words;
        // What the dictionary takes is not there any more: its own memory and counts, its
        // codes by token, and what the plan knows of each word, by id and by rank.
        let taken = words.memory() + 48 * words.len() + 20 * counting.source.vocabulary_size();
        let memory = ByteSize(counting.memory.0.saturating_sub(taken as u64));
        let plan = Plan::new(
            &counts.dictionary.counts,
            counts.ranges,
            shape,
            in_work,
            (memory, counting.threads, counting.passes),
        );
        Ok(Self {
            buckets: Buckets::new(counting.scratch, plan.buckets(), plan.bucket_memory)?,
            counting,
            counts,
            shape,
            plan,
        })
    }

    /// Runs them all over `stream`; after each, `gather` takes what is in the buckets.
    pub fn each<W: Window>(
        &self,
        stream: WordStream,
        mut gather: impl FnMut(&Pass) -> Result<()>,
    ) -> Result<()> {
        self.tell(&stream);
        let mut passes = self.plan.passes.iter();
        if self.shape.length == 1 {
            return passes.try_for_each(gather);
        }
        if let [only] = &self.plan.passes[..] {
            self.read::<W>(stream, only)?;
            return gather(only);
        }
        let words = self.ranked(stream)?;
        passes.try_for_each(|pass| {
            self.pass::<W>(&words, pass)?;
            gather(pass)
        })
    }

    /// Says beforehand how much scratch it may take, before compression.
    fn tell(&self, stream: &WordStream) {
        let Self { plan, counts, .. } = self;
        let over = |bytes: u64, memory: ByteSize| if bytes > memory.0 { bytes } else { 0 };
        let windows = over(plan.scratch.0, plan.bucket_memory);
        let words = match plan.passes.len() {
            1 => 0,
            _ => over(most_bytes(counts), plan.word_memory),
        };
        if windows + words > 0 {
            self.counting.progress.note(
                STAGE,
                &format!(
                    "up to {} of scratch in {} for windows and {} for words, which took {} so far",
                    ByteSize(windows),
                    self.counting.scratch.display(),
                    ByteSize(words),
                    stream.spilled()
                ),
            );
        }
    }

    /// All windows of the words of `stream` to their buckets.
    fn read<W: Window>(&self, stream: WordStream, pass: &Pass) -> Result<()> {
        let words = &self.counts.dictionary.words;
        let alone = codes_alone(self.counting.source, words);
        let workers = Pool::default();
        self.go_through(
            "windows",
            stream.pieces(&alone, words, |id| self.plan.place(id)),
            |codes: Codes<Placed>| {
                let (mut scatter, mut run) = workers.take().unwrap_or_else(|| {
                    let scatter = Scatter::new(self.shape, &self.plan, pass, &self.buckets);
                    (scatter, Vec::with_capacity(RUN))
                });
                let mut emitted = 0;
                for word in codes.iter() {
                    run.push(word);
                    if word.id == BARRIER && run.len() >= RUN {
                        emitted += run.len() as u64;
                        scatter.document::<W>(&run)?;
                        run.clear();
                    }
                }
                emitted += run.len() as u64;
                scatter.document::<W>(&run)?;
                run.clear();
                workers.put((scatter, run));
                Ok(emitted)
            },
        )?;
        let mut workers = workers.into_all().into_iter();
        workers.try_for_each(|(scatter, _)| scatter.finish())
    }

    /// The words of `stream`, to be gone through several times.
    fn ranked(&self, stream: WordStream) -> Result<KeptWords> {
        let Counting {
            source,
            scratch,
            threads,
            ..
        } = *self.counting;
        let ranked = RankedWords::new(scratch, threads, self.plan.word_memory)?;
        let words = &self.counts.dictionary.words;
        let alone = codes_alone(source, words);
        let writers: Pool<RankedWriter<'_>> = Pool::default();
        self.go_through(
            "words",
            stream.pieces(&alone, words, |id| self.plan.place(id).units),
            |codes: Codes<Units>| {
                let mut writer = writers.take().unwrap_or_else(|| ranked.writer());
                let written = writer.extend(codes.iter());
                // Also after an error: there is room for so many writers, and no more.
                writers.put(writer);
                written
            },
        )?;
        let mut writers = writers.into_all().into_iter();
        writers.try_for_each(RankedWriter::finish)?;
        Ok(ranked.keep(&self.plan))
    }

    /// The windows of one of several passes to their buckets.
    fn pass<W: Window>(&self, words: &KeptWords, pass: &Pass) -> Result<()> {
        let begins = words.begins(pass);
        let scatters = Pool::default();
        self.go_through("words gone through", (0..words.pieces()).map(Ok), |piece| {
            let mut scatter = scatters
                .take()
                .unwrap_or_else(|| Scatter::new(self.shape, &self.plan, pass, &self.buckets));
            let units = words.each_window(piece, &begins, |window| scatter.window::<W>(&window))?;
            scatters.put(scatter);
            Ok(units)
        })?;
        let mut scatters = scatters.into_all().into_iter();
        scatters.try_for_each(Scatter::finish)
    }

    /// Goes through `pieces` of the words on all threads; `work` returns how many they
    /// were.
    fn go_through<T: Send>(
        &self,
        name: &'static str,
        pieces: impl Iterator<Item = Result<T>> + Send,
        work: impl Fn(T) -> Result<u64> + Sync,
    ) -> Result<()> {
        let all = self.counts.totals.windows[0];
        let meter = self.counting.progress.meter(STAGE, name, Some(all));
        parallel::ordered(
            self.counting.threads,
            pieces,
            || {
                |piece| {
                    (self.counting.check)()?;
                    work(piece)
                }
            },
            |done| {
                meter.add(done);
                Ok(())
            },
        )?;
        meter.finish(&format!("{name} of {} words", short(all as f64)));
        Ok(())
    }
}

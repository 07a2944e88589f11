//! How a count is divided: key ranges, which are files, and buckets, which are what
//! is counted at a time. Ranges depend on the counts of words alone, so they are the
//! same however the corpus was divided, for any thread count and memory; buckets
//! divide ranges and may depend on all of these, since their results are joined again.
//! A word that fills more than one bucket is divided by the word behind it.

use crate::base::size::ByteSize;
use crate::statistics::dictionary::WordId;
use crate::statistics::ranked::{MOST_RANKED, Numbering, Units};
use crate::statistics::tally::MAX_LENGTH;
use crate::statistics::windows::Shape;
use crate::statistics::words::BARRIER;
use std::ops::Range;

/// Words (T_1) a key range has about: one range up to 67 million words. At most four
/// times as many n-grams leave a range, 2 GB at 8 bytes each, if none is rare.
pub const RANGE_WORDS: u64 = 1 << 26;

/// The most buckets of a pass: each costs every thread a buffer, which should stay in the
/// second cache.
const MOST_BUCKETS: u64 = 1024;

/// So many times as many where fewer would be too large to be counted in memory, and where
/// a thread can still gather [`MOST_PIECE`] for each.
const MORE_BUCKETS: u64 = 4;

/// The fewest buckets, so that threads share the work evenly.
const FEWEST_BUCKETS: u64 = 64;

/// Windows in a bucket, where there is memory for more: counted within a core's second
/// cache (1 MiB).
const NEAR_WINDOWS: u64 = 1 << 16;

/// Bytes that a thread gathers for a bucket at most: with as many buckets as there may
/// be, all of them stay in the second cache.
const MOST_PIECE: u64 = 1 << 10;

/// What passes over the words cost, in nanoseconds of a core for each word, from what was
/// measured of 90 to 640 million words (docs/benchmarks.md); READ is estimated. Only their
/// ratios matter.
mod cost {
    /// Writing a word anew, where there is more than one pass, and looking up all words of
    /// a window.
    pub const RANK: f64 = 7.0;
    /// Looking at a word in a pass.
    pub const LOOK: f64 = 1.0;
    /// Reading a word back from disk in a pass.
    pub const READ: f64 = 2.0;
    /// Writing a window to disk and reading it back.
    pub const SPILL: f64 = 35.0;
    /// A byte of memory that is touched for the first time: between 0.15 and 3 s a GB.
    pub const TOUCH: f64 = 0.65;
    /// Counting, for each doubling of a bucket over what the second cache holds: with it
    /// goes what memory costs more that is touched by the gigabyte.
    pub const FAR: f64 = 2.5;
}

/// Passes that are thought of.
const MOST_PASSES: u64 = 64;

/// Bytes of windows, and the memory for them and for the words between passes.
#[derive(Debug, Clone, Copy)]
struct Room {
    windows: u64,
    bytes: u64,
    memory: u64,
}

impl Room {
    /// Bytes of windows in one of `passes`, the unused ends of blocks and what passes
    /// differ by included.
    fn in_pass(self, passes: u64) -> u64 {
        let bytes = self.bytes / passes;
        bytes + bytes / 6
    }

    /// Memory for windows: half of all.
    fn for_windows(self, passes: u64) -> u64 {
        match passes {
            1 => self.memory / 2,
            _ => self.in_pass(passes).min(self.memory / 2),
        }
    }

    /// Memory for the words between passes: with windows and what counting takes, all.
    fn for_words(self, passes: u64) -> u64 {
        match passes {
            1 => 0,
            _ => (self.memory / 8 * 5).saturating_sub(self.for_windows(passes)),
        }
    }

    /// Nanoseconds a word.
    fn cost(self, passes: u64) -> f64 {
        let words = self.windows.max(1) as f64;
        let over = |bytes: u64, memory: u64| 1.0 - (memory as f64 / bytes.max(1) as f64).min(1.0);
        let touched = self.in_pass(passes).min(self.memory / 2);
        let bucket = words / passes as f64 / MOST_BUCKETS as f64 / NEAR_WINDOWS as f64;
        let again = match passes {
            1 => 0.0,
            _ => {
                cost::RANK
                    + passes as f64
                        * (cost::LOOK + cost::READ * over(2 * self.windows, self.for_words(passes)))
            }
        };
        again
            + cost::SPILL * over(self.in_pass(passes), self.memory / 2)
            + cost::TOUCH * touched as f64 / words
            + cost::FAR * bucket.log2().max(0.0)
    }

    /// The number of passes that costs least: one up to some 200 million words, then about
    /// five, and more where the memory would not hold the windows of so few.
    fn passes(self) -> u64 {
        let costs = (1..=MOST_PASSES).map(|passes| (passes, self.cost(passes)));
        let least = costs.reduce(|least, next| if next.1 < least.1 { next } else { least });
        least.map_or(1, |(passes, _)| passes)
    }
}

/// Words by number: the common ones first, the most frequent before others, then the
/// rest by id.
fn by_number(counts: &[u64], numbering: Numbering) -> Vec<WordId> {
    let mut words: Vec<WordId> = (0..counts.len() as WordId).collect();
    words.sort_by_key(|&word| std::cmp::Reverse(counts[word as usize]));
    if let Some(rare) = words.get_mut(numbering.common()..) {
        rare.sort_unstable();
    }
    words
}

/// The number of key ranges of a corpus of `words` words.
pub fn ranges(words: u64, range_words: u64) -> u32 {
    u32::try_from(words.div_ceil(range_words).max(1)).unwrap_or(u32::MAX)
}

/// Which of `pieces` equal shares of the corpus each word's windows fall in, by the
/// words before it in order. Not decreasing. `k · pieces` pieces divide `pieces`.
fn piece(before: u64, total: u64, pieces: u64) -> u64 {
    (u128::from(before) * u128::from(pieces) / u128::from(total.max(1))) as u64
}

/// The words of each key range, in order; together all words.
pub fn range_words(counts: &[u64], ranges: u32) -> Vec<Range<WordId>> {
    let total: u64 = counts.iter().sum();
    let mut bounds = vec![0 as WordId; ranges as usize + 1];
    let mut before = 0;
    for (id, count) in counts.iter().enumerate() {
        let range = piece(before, total, ranges.into()) as usize;
        bounds[range + 1] = id as WordId + 1;
        before += count;
    }
    for range in 0..ranges as usize {
        bounds[range + 1] = bounds[range + 1].max(bounds[range]);
    }
    bounds.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

/// Second words are told apart by which of so many equal shares of the corpus they
/// fall in.
const SLOTS: u64 = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 10;

/// A word, and where windows go that it begins or goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The word, or [`BARRIER`].
    pub id: WordId,
    /// Its first bucket, and how many it has. Frequent words have several, by second
    /// word.
    base: u32,
    own: u16,
    /// As a second word.
    slot: u16,
    /// Its number as [`Numbering::units`] writes it, where there are several passes.
    pub units: Units,
}

/// What no window crosses.
pub const NOWHERE: Placed = Placed {
    id: BARRIER,
    base: 0,
    own: 0,
    slot: 0,
    units: [0; 2],
};

impl Placed {
    /// The bucket of windows that begin with this word and `second`. Ascends with them.
    #[inline]
    pub fn bucket(self, second: Self) -> usize {
        self.bucket_of(second.slot)
    }

    /// As [`bucket`](Self::bucket), of a second word with this [`slot`](Self::slot).
    #[inline]
    pub fn bucket_of(self, slot: u16) -> usize {
        let inside = (u32::from(slot) * u32::from(self.own)) >> SLOT_BITS;
        (self.base + inside) as usize
    }

    /// What a bucket depends on of a window's second word.
    pub fn slot(self) -> u16 {
        self.slot
    }
}

/// The words of a window that may be of a pass.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// The first.
    pub first: Placed,
    /// The second, as [`Placed::bucket_of`] asks for it.
    pub slot: u16,
    /// Ids and one; 0 stands for a barrier and what is behind it.
    pub places: [u32; MAX_LENGTH],
}

/// The buckets whose windows are made in one pass over the words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// Buckets of the plan.
    pub buckets: Range<usize>,
    /// Whether it is the only pass.
    pub is_all: bool,
}

impl Pass {
    /// Whether a window of this pass may begin with `word`.
    #[inline]
    pub fn may_begin(&self, word: Placed) -> bool {
        let (first, behind) = (
            word.base as usize,
            word.base as usize + usize::from(word.own),
        );
        (first < self.buckets.end) & (behind > self.buckets.start)
    }

    /// Which bucket of this pass a window goes to, `None` if it is of another pass or
    /// ends behind the first word.
    #[inline]
    pub fn bucket(&self, window: &Candidate) -> Option<usize> {
        let bucket = window.first.bucket_of(window.slot);
        (window.places[1] > 0 && self.buckets.contains(&bucket))
            .then(|| bucket - self.buckets.start)
    }
}

/// The buckets of a count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The words of each key range, ascending.
    pub ranges: Vec<Range<WordId>>,
    /// Buckets in each range.
    pub buckets_per_range: usize,
    /// What each pass over the words makes the windows of, in order.
    pub passes: Vec<Pass>,
    /// By word.
    placed: Vec<Placed>,
    /// How the words are numbered, where there are several passes.
    pub numbering: Numbering,
    /// A bucket of more windows is counted in sorted runs.
    pub most_windows: u64,
    /// Memory for windows before they spill.
    pub bucket_memory: ByteSize,
    /// Memory for the words between passes before they spill.
    pub word_memory: ByteSize,
    /// Bytes that a thread gathers for a bucket at a time.
    pub piece: usize,
    /// Memory for the runs of a bucket that is too large.
    pub run_memory: ByteSize,
    /// Bytes that windows take before compression, at most: all of them once, and the
    /// largest bucket that is counted in runs again, with counts.
    pub scratch: ByteSize,
}

impl Plan {
    /// Divides the windows of kept words with these `counts`, each of which needs `in_work`
    /// bytes of memory while its bucket is worked on, in as few passes as is good
    /// or in `passes`, so that all stays within `memory`: half for windows on their way,
    /// an eighth for what threads gather and then for the words between passes, a quarter
    /// for counting buckets, an eighth for a large bucket's runs.
    pub fn new(
        counts: &[u64],
        ranges: u32,
        shape: Shape,
        in_work: u64,
        (memory, threads, passes): (ByteSize, usize, Option<u64>),
    ) -> Self {
        let windows: u64 = counts.iter().sum();
        let width = shape.width as u64;
        let room = Room {
            windows,
            bytes: windows.saturating_mul(width),
            memory: memory.0,
        };
        let passes = if counts.len() > MOST_RANKED {
            1
        } else {
            passes.unwrap_or_else(|| room.passes())
        };
        // They are in work on every thread and wait, counted, behind it.
        let per_bucket = memory.0 / 4 / (3 * threads as u64);
        let most_windows = per_bucket / in_work.max(1);
        let buckets_of = |windows_each: u64| windows.div_ceil(windows_each.max(1));
        // They differ: by half, there is room for most of them.
        let gathered = memory.0 / 8 / (threads as u64 * MOST_PIECE);
        let most = gathered.min(MORE_BUCKETS * MOST_BUCKETS);
        let at_least = buckets_of(most_windows / 2).min(most * passes);
        let wanted = buckets_of(most_windows.min(NEAR_WINDOWS))
            .min(MOST_BUCKETS * passes)
            .max(at_least)
            .max(FEWEST_BUCKETS);
        let per_range = wanted.div_ceil(ranges.into());
        let buckets = u64::from(ranges) * per_range;
        let per_pass = buckets.div_ceil(passes);
        let mut placed = Vec::with_capacity(counts.len());
        let mut before = 0;
        let mut largest = 0;
        for (id, &count) in (0..).zip(counts) {
            let base = piece(before, windows, buckets);
            let slot = piece(before, windows, SLOTS) as u16;
            before += count;
            // Up to where the next word begins, but in the same range.
            let end = piece(before, windows, buckets).min((base / per_range + 1) * per_range);
            let own = end.saturating_sub(base).clamp(1, SLOTS);
            placed.push(Placed {
                id,
                base: base as u32,
                own: own as u16,
                slot,
                units: [0; 2],
            });
            largest = largest.max(count.div_ceil(own));
        }
        let numbering = Numbering::new(counts.len());
        if passes > 1 {
            for (number, id) in (1..).zip(by_number(counts, numbering)) {
                placed[id as usize].units = numbering.units(number);
            }
        }
        let again = if largest > most_windows { largest } else { 0 };
        let piece_bytes = memory.0 / 8 / (threads as u64 * per_pass).max(1);
        let in_pass = |first: u64| Pass {
            buckets: first as usize..(first + per_pass).min(buckets) as usize,
            is_all: per_pass == buckets,
        };
        let spills = passes == 1 || room.in_pass(passes) > memory.0 / 2;
        let spilled = if spills { room.bytes } else { 0 };
        Self {
            ranges: range_words(counts, ranges),
            buckets_per_range: per_range as usize,
            passes: (0..buckets)
                .step_by(per_pass as usize)
                .map(in_pass)
                .collect(),
            placed,
            numbering,
            most_windows,
            bucket_memory: ByteSize(room.for_windows(passes)),
            word_memory: ByteSize(room.for_words(passes)),
            piece: piece_bytes.clamp(width, MOST_PIECE) as usize,
            run_memory: ByteSize(memory.0 / 8),
            scratch: ByteSize(spilled + again.saturating_mul(width + 8)),
        }
    }

    /// Buckets of a pass, at most.
    pub fn buckets(&self) -> usize {
        self.passes.first().map_or(0, |pass| pass.buckets.len())
    }

    /// All words by number, where there are several passes.
    pub fn by_number(&self) -> impl Iterator<Item = Placed> {
        let mut placed = self.placed.clone();
        placed.sort_unstable_by_key(|word| word.units);
        placed.into_iter()
    }

    /// Where word `id` goes; [`BARRIER`] goes nowhere.
    #[inline]
    pub fn place(&self, id: WordId) -> Placed {
        self.placed.get(id as usize).copied().unwrap_or(NOWHERE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_and_buckets_follow_the_order_of_words(
            counts in prop::collection::vec(1u64..50, 0..60),
            heavy in 0u64..3000,
            ranges in 1u32..9,
            memory in 0u64..10_000,
            threads in 1usize..9,
            passes in prop::option::of(1u64..9),
        ) {
            let mut counts = counts;
            if let Some(middle) = counts.len().checked_div(2) && !counts.is_empty() {
                counts[middle] += heavy;
            }
            let all = range_words(&counts, ranges);
            prop_assert_eq!(all.len(), ranges as usize);
            let mut at = 0;
            for words in &all {
                prop_assert_eq!(words.start, at);
                at = words.end;
            }
            prop_assert_eq!(at as usize, counts.len());
            let shape = Shape::new(5, counts.len());
            let plan = Plan::new(&counts, ranges, shape, 80, (ByteSize(memory), threads, passes));
            let all = plan.ranges.len() * plan.buckets_per_range;
            let passes: Vec<usize> = plan.passes.iter().flat_map(|pass| pass.buckets.clone()).collect();
            prop_assert!(passes.into_iter().eq(0..all));
            prop_assert_eq!(plan.passes[0].is_all, plan.passes.len() == 1);
            let mut last = 0;
            for word in 0..counts.len() as WordId {
                for second in 0..counts.len() as WordId {
                    let bucket = plan.place(word).bucket(plan.place(second));
                    prop_assert!(bucket >= last && bucket < all);
                    prop_assert!(plan.ranges[bucket / plan.buckets_per_range].contains(&word));
                    last = bucket;
                }
            }
        }
    }

    #[test]
    fn there_are_more_passes_where_one_would_not_fit_or_touch_too_much() {
        let passes = |windows: u64, memory: ByteSize| {
            let room = Room {
                windows,
                bytes: 12 * windows,
                memory: memory.0,
            };
            let passes = room.passes();
            assert!(room.for_words(passes) + room.for_windows(passes) <= memory.0 / 8 * 5);
            (passes, room.in_pass(passes) <= memory.0 / 2)
        };
        assert_eq!(passes(0, ByteSize(0)), (1, true));
        assert_eq!(passes(32_000_000, ByteSize::mib(4096)), (1, true));
        assert_eq!(passes(160_000_000, ByteSize::mib(65_536)), (1, true));
        let (large, fits) = passes(642_000_000, ByteSize::mib(65_536));
        assert!(fits && (3..8).contains(&large), "{large}");
        let (tight, fits) = passes(642_000_000, ByteSize::mib(2048));
        assert!(fits && (8..12).contains(&tight), "{tight}");
        // As good as nothing fits: all of it spills, in one pass.
        assert_eq!(passes(642_000_000, ByteSize::mib(16)), (1, false));
    }

    #[test]
    fn buckets_are_counted_in_memory_where_threads_can_gather_for_so_many() {
        let counts = vec![320_000; 2_000];
        let shape = Shape::new(5, 2_000_000);
        let plan = |memory| Plan::new(&counts, 1, shape, 75, (memory, 2, Some(1)));
        let short = plan(ByteSize::mib(1024));
        assert!(short.buckets() as u64 > MOST_BUCKETS);
        assert!(640_000_000 / short.buckets() as u64 <= short.most_windows / 2);
        // With less, a thread would gather too little for each of more buckets.
        assert_eq!(plan(ByteSize::mib(16)).buckets() as u64, MOST_BUCKETS);
        assert_eq!(plan(ByteSize::mib(65_536)).buckets() as u64, MOST_BUCKETS);
    }

    #[test]
    fn a_corpus_below_the_limit_is_one_range() {
        assert_eq!(ranges(0, RANGE_WORDS), 1);
        assert_eq!(ranges(1 << 26, RANGE_WORDS), 1);
        assert_eq!(ranges((1 << 26) + 1, RANGE_WORDS), 2);
    }
}

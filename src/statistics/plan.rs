//! How a count is divided: key ranges, which are files, and buckets, which are what
//! is sorted at a time. Ranges depend on the counts of words alone, so they are the
//! same however the corpus was divided, for any thread count and memory; buckets
//! divide ranges and may depend on all of these, since their results are joined again.
//! A word that fills more than one bucket is divided by the word behind it.

use crate::base::size::ByteSize;
use crate::statistics::dictionary::WordId;
use crate::statistics::tally::MAX_LENGTH;
use crate::statistics::windows::Shape;
use crate::statistics::words::BARRIER;
use std::ops::Range;

/// Words (T_1) a key range has about: one range up to 67 million words. At most four
/// times as many n-grams leave a range, 2 GB at 8 bytes each, if none is rare.
pub const RANGE_WORDS: u64 = 1 << 26;

/// The most buckets: each costs every thread a buffer.
const MOST_BUCKETS: u64 = 1024;

/// The fewest buckets, so that threads share the work evenly.
const FEWEST_BUCKETS: u64 = 64;

/// Windows in a bucket, where there is memory for more: sorted within a core's second
/// cache (1 MiB here).
const SORTED_WINDOWS: u64 = 1 << 15;

/// Bytes that a thread gathers for a bucket at most: with as many buckets as there may
/// be, all of them stay in the second cache.
const MOST_PIECE: u64 = 1 << 10;

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
}

/// What no window crosses.
pub const NOWHERE: Placed = Placed {
    id: BARRIER,
    base: 0,
    own: 0,
    slot: 0,
};

impl Placed {
    /// The bucket of windows that begin with this word and `second`. Ascends with them.
    #[inline]
    pub fn bucket(self, second: Self) -> usize {
        let inside = (u32::from(second.slot) * u32::from(self.own)) >> SLOT_BITS;
        (self.base + inside) as usize
    }
}

/// The buckets of a count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The words of each key range, ascending.
    pub ranges: Vec<Range<WordId>>,
    /// Buckets in each range.
    pub buckets_per_range: usize,
    /// By word.
    placed: Vec<Placed>,
    /// A bucket of more windows is counted in sorted runs.
    pub most_windows: u64,
    /// Memory for windows before they spill.
    pub bucket_memory: ByteSize,
    /// Bytes that a thread gathers for a bucket at a time.
    pub piece: usize,
    /// Memory for the runs of a bucket that is too large.
    pub run_memory: ByteSize,
    /// Bytes that windows take before compression, at most: all of them once, and the
    /// largest bucket that is counted in runs again, with counts.
    pub scratch: ByteSize,
}

impl Plan {
    /// Divides the windows of kept words with these `counts`, so that all stays within
    /// `memory`: half for windows on their way, an eighth for what threads gather, a
    /// quarter for sorting, an eighth for a large bucket's runs.
    pub fn new(
        counts: &[u64],
        ranges: u32,
        shape: Shape,
        min_count: u64,
        memory: ByteSize,
        threads: usize,
    ) -> Self {
        let windows: u64 = counts.iter().sum();
        // Sorted ones are in work on every thread and wait, counted, behind it.
        let per_bucket = memory.0 / 4 / (3 * threads as u64);
        let most_windows = per_bucket / bytes_in_work(shape, min_count);
        let wanted = windows
            .div_ceil(most_windows.clamp(1, SORTED_WINDOWS))
            .clamp(FEWEST_BUCKETS, MOST_BUCKETS);
        let per_range = wanted.div_ceil(ranges.into());
        let buckets = u64::from(ranges) * per_range;
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
            });
            largest = largest.max(count.div_ceil(own));
        }
        let again = if largest > most_windows { largest } else { 0 };
        let width = shape.width as u64;
        let piece_bytes = memory.0 / 8 / (threads as u64 * buckets).max(1);
        Self {
            ranges: range_words(counts, ranges),
            buckets_per_range: per_range as usize,
            placed,
            most_windows,
            bucket_memory: ByteSize(memory.0 / 2),
            piece: piece_bytes.clamp(width, MOST_PIECE) as usize,
            run_memory: ByteSize(memory.0 / 8),
            scratch: ByteSize(windows.saturating_mul(width) + again.saturating_mul(width + 8)),
        }
    }

    /// Number of buckets.
    pub fn buckets(&self) -> usize {
        self.ranges.len() * self.buckets_per_range
    }

    /// Where word `id` goes; [`BARRIER`] goes nowhere.
    #[inline]
    pub fn place(&self, id: WordId) -> Placed {
        self.placed.get(id as usize).copied().unwrap_or(NOWHERE)
    }
}

/// Bytes of memory that a window of a bucket in work needs, at most: packed while it
/// is read, as an integer while it is sorted, and what it leaves in the results.
pub fn bytes_in_work(shape: Shape, min_count: u64) -> u64 {
    let kept: u64 = (2..=MAX_LENGTH as u64).map(|n| 4 * n + 8).sum();
    // Vectors double as they grow.
    32 + shape.width as u64 + 2 * kept / min_count
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
            let plan = Plan::new(&counts, ranges, shape, 1, ByteSize(memory), threads);
            let mut last = 0;
            for word in 0..counts.len() as WordId {
                for second in 0..counts.len() as WordId {
                    let bucket = plan.place(word).bucket(plan.place(second));
                    prop_assert!(bucket >= last && bucket < plan.buckets());
                    prop_assert!(plan.ranges[bucket / plan.buckets_per_range].contains(&word));
                    last = bucket;
                }
            }
        }
    }

    #[test]
    fn a_corpus_below_the_limit_is_one_range() {
        assert_eq!(ranges(0, RANGE_WORDS), 1);
        assert_eq!(ranges(1 << 26, RANGE_WORDS), 1);
        assert_eq!(ranges((1 << 26) + 1, RANGE_WORDS), 2);
    }
}

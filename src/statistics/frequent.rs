//! Counts the frequent n-grams of a bucket without sorting its windows: one length after
//! the other, and a window is looked at only as long as what it begins with may be
//! frequent. Of English text one window in seven is done with after two words, half of
//! them after three, six in seven after four.
//!
//! Of each length, an array of counters by hash tells first which n-grams may be frequent:
//! never too few of them, and a few too many, where two share a counter. The rest are then
//! counted exactly in a small table, and only that is sorted.
//!
//! Cost: a window is counted in 2.4 counters and looked up in as many, and in the table 1.5
//! times; both stay in the second cache for buckets of some ten thousand windows. 19 ns a
//! window, by `perf`. Memory: the windows once, and 112 bytes an n-gram that is kept.

use crate::base::error::Result;
use crate::statistics::groups::{Rows, unpacked_bucket};
use crate::statistics::tally::MAX_LENGTH;
use crate::statistics::windows::{Shape, Window};
use crate::storage::Buckets;

/// The fewest counters.
const FEWEST_COUNTERS: usize = 1 << 8;

/// Counters for every window that an n-gram needs to be kept.
const COUNTERS_PER_KEPT: u64 = 4;

/// Bytes of counters and of the table of one length for an n-gram that is kept: 32 of an
/// entry and 8 of its slots, while the vectors double as they grow, and 4 counters, of
/// which there is a power of two.
const COUNTED: u64 = 112;

/// Bytes of memory that a window of a bucket in work needs, at most: packed while it is
/// read, in memory, and what it leaves in counters, table and rows.
pub fn bytes_in_work(shape: Shape, min_count: u64) -> u64 {
    shape.width as u64 + shape.in_memory() + COUNTED / min_count + Rows::bytes(min_count)
}

/// A window whose n-grams are told apart by hash.
pub trait Prefixes: Window {
    /// The window of its first `words` words, two or more: no place behind them.
    fn prefix(self, words: usize, shape: Shape) -> Self;
    /// Every bit of it depends on every word.
    fn hash(self) -> u64;
}

/// Folds the product of two numbers, neither of which makes it 0 alone.
#[inline]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xd1b5_4a32_d192_ed03);
    product as u64 ^ (product >> 64) as u64
}

impl Prefixes for u128 {
    #[inline]
    fn prefix(self, words: usize, shape: Shape) -> Self {
        self & (Self::MAX << ((shape.length - words) as u32 * shape.bits))
    }

    #[inline]
    fn hash(self) -> u64 {
        mix(self as u64, (self >> 64) as u64)
    }
}

impl Prefixes for [u32; MAX_LENGTH] {
    fn prefix(mut self, words: usize, _: Shape) -> Self {
        self[words..].fill(0);
        self
    }

    fn hash(self) -> u64 {
        self.iter().fold(0, |hash, &place| mix(hash, place.into()))
    }
}

/// Memory to count a bucket in, used for one bucket after the other.
#[derive(Debug)]
pub struct CountRoom<W> {
    windows: Vec<W>,
    counters: Vec<u32>,
    table: Table<W>,
}

impl<W> Default for CountRoom<W> {
    fn default() -> Self {
        Self {
            windows: Vec::new(),
            counters: Vec::new(),
            table: Table {
                slots: Vec::new(),
                entries: Vec::new(),
            },
        }
    }
}

/// The n-grams of two words or more of `bucket` that occur `min_count` times or more; its
/// windows must fit in memory unpacked.
pub fn count_bucket<W: Prefixes>(
    buckets: &Buckets,
    bucket: usize,
    (shape, min_count): (Shape, u64),
    room: &mut CountRoom<W>,
) -> Result<Rows> {
    unpacked_bucket(buckets, bucket, shape, &mut room.windows)?;
    Ok(room.count(shape, min_count))
}

/// The n-grams that are counted at a time.
#[derive(Debug, Clone, Copy)]
struct Level {
    shape: Shape,
    length: usize,
    min_count: u64,
}

impl<W: Prefixes> CountRoom<W> {
    /// Counts the windows, and uses them up.
    fn count(&mut self, shape: Shape, min_count: u64) -> Rows {
        let mut rows = Rows::default();
        for length in 2..=shape.length {
            let level = Level {
                shape,
                length,
                min_count,
            };
            self.keep_candidates(level);
            self.table.clear();
            for window in &self.windows {
                self.table.count(window.prefix(length, shape));
            }
            self.table.hand_over(level, &mut rows);
        }
        rows
    }

    /// Keeps the windows that may begin with a frequent n-gram of this length: all that do.
    /// One that has ended counts as if it went on with no word.
    fn keep_candidates(&mut self, level: Level) {
        let Level {
            shape,
            length,
            min_count,
        } = level;
        let wanted = self.windows.len() as u64 * COUNTERS_PER_KEPT / min_count;
        let size = (wanted as usize).next_power_of_two().max(FEWEST_COUNTERS);
        self.counters.clear();
        self.counters.resize(size, 0);
        let counters = &mut self.counters[..];
        let at = |window: W| place(window.prefix(length, shape).hash(), size);
        for &window in &self.windows {
            // A bucket in memory has fewer windows than 32 bits count.
            counters[at(window)] += 1;
        }
        let least = u32::try_from(min_count).unwrap_or(u32::MAX);
        let mut kept = 0;
        for read in 0..self.windows.len() {
            let window = self.windows[read];
            // Written over again, if it is not kept: without a branch.
            self.windows[kept] = window;
            kept += usize::from(counters[at(window)] >= least);
        }
        self.windows.truncate(kept);
    }
}

/// The place of what has this hash, among a power of two of them.
#[inline]
fn place(hash: u64, places: usize) -> usize {
    hash as usize & (places - 1)
}

/// Exact counts by n-gram: open addressing, linear probing.
#[derive(Debug)]
struct Table<W> {
    /// Places of `entries` and one; 0 is free. A power of two, at least twice as many.
    slots: Vec<u32>,
    entries: Vec<(W, u64)>,
}

/// Slots of an empty table.
const FEWEST_SLOTS: usize = 1 << 10;

impl<W: Prefixes> Table<W> {
    fn clear(&mut self) {
        self.entries.clear();
        self.slots.clear();
        self.slots.resize(FEWEST_SLOTS, 0);
    }

    /// Appends the frequent n-grams to `rows`, in order.
    fn hand_over(&mut self, level: Level, rows: &mut Rows) {
        let Level {
            shape,
            length,
            min_count,
        } = level;
        self.entries.retain(|&(ngram, count)| {
            count >= min_count && ngram.word(length - 1, shape).is_some()
        });
        self.entries.sort_unstable();
        let mut words = [0; MAX_LENGTH];
        for &(ngram, count) in &self.entries {
            for (place, word) in words[..length].iter_mut().enumerate() {
                *word = ngram.word(place, shape).unwrap_or_default();
            }
            rows.push(&words[..length], count);
        }
    }

    /// Counts one more `ngram`. Its place is by the upper bits of the hash: the lower ones
    /// told candidates apart already.
    #[inline]
    fn count(&mut self, ngram: W) {
        let mut slot = place(ngram.hash() >> 32, self.slots.len());
        loop {
            let place = self.slots[slot];
            let Some(entry) = (place as usize)
                .checked_sub(1)
                .and_then(|at| self.entries.get_mut(at))
            else {
                return self.insert(ngram, slot);
            };
            if entry.0 == ngram {
                entry.1 += 1;
                return;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    fn insert(&mut self, ngram: W, slot: usize) {
        self.entries.push((ngram, 1));
        self.slots[slot] = self.entries.len() as u32;
        if 2 * self.entries.len() > self.slots.len() {
            self.grow();
        }
    }

    #[cold]
    fn grow(&mut self) {
        let size = 2 * self.slots.len();
        self.slots.clear();
        self.slots.resize(size, 0);
        for (number, &(ngram, _)) in (1..).zip(&self.entries) {
            let mut slot = place(ngram.hash() >> 32, size);
            while self.slots[slot] > 0 {
                slot = (slot + 1) & (size - 1);
            }
            self.slots[slot] = number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::dictionary::WordId;
    use crate::statistics::groups::count_sorted;
    use proptest::prelude::*;

    fn agrees<W: Prefixes>(windows: &[Vec<WordId>], shape: Shape, min_count: u64) {
        let mut room = CountRoom::default();
        let windows: Vec<W> = windows
            .iter()
            .map(|words| W::pack(&words[..words.len().min(shape.length)], shape))
            .collect();
        let mut sorted = windows.clone();
        sorted.sort_unstable();
        let expected = count_sorted(&sorted, shape, min_count).unwrap();
        // A second bucket does not see what the first one left.
        for _ in 0..2 {
            room.windows.clone_from(&windows);
            assert_eq!(room.count(shape, min_count), expected);
        }
    }

    proptest! {
        #[test]
        fn the_counts_are_those_of_sorted_windows(
            few in prop::collection::vec(prop::collection::vec(0u32..3, 1..=5), 0..300),
            many in prop::collection::vec(prop::collection::vec(0u32..40, 1..=5), 0..3000),
            length in 1usize..=5,
            min_count in 1u64..12,
        ) {
            let windows: Vec<Vec<WordId>> = few.into_iter().chain(many).collect();
            agrees::<u128>(&windows, Shape::new(length, 40), min_count);
            agrees::<[u32; MAX_LENGTH]>(&windows, Shape::new(length, 1 << 30), min_count);
        }
    }
}

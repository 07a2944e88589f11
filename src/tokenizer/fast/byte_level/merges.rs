//! Byte-pair encoding (Sennrich et al. 2016) of one word: of all pairs of neighbours the
//! one that was learnt first is merged, the leftmost of several, until none is known.
//!
//! A short word is scanned for its best pair, 50 to 100 ns a merge; a long one keeps its
//! pairs in a heap, O(n log n). Memory: 20 to 36 bytes a merge; a
//! word of n bytes takes 28 n while it is merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Longest word, in bytes, that is scanned. Measured: at 100 bytes both take the same.
const SCANNED: usize = 100;

/// No pair.
const NONE: u32 = u32::MAX;

/// What two neighbours become.
#[derive(Debug, Clone, Copy)]
pub(super) struct Merge {
    pub(super) left: u32,
    pub(super) right: u32,
    pub(super) made: u32,
}

/// The merges of a tokenizer.
pub(super) struct Merges {
    /// Id of each byte.
    bytes: [u32; 256],
    /// By rank, the id that a merge makes.
    made: Vec<u32>,
    /// Pairs and their ranks, open addressing: 21 bits each of left, right and rank.
    slots: Vec<u64>,
    shift: u32,
}

/// Bits of an id and of a rank, so that a pair with its rank is 8 bytes.
const BITS: u32 = 21;

/// A slot without a pair.
const FREE: u64 = u64::MAX;

/// Buffers of a word at work.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The word's ids, when it is done.
    pub(super) ids: Vec<u32>,
    /// Rank of each id with the next one.
    ranks: Vec<u32>,
    before: Vec<u32>,
    after: Vec<u32>,
    heap: BinaryHeap<Reverse<u64>>,
}

impl Merges {
    /// `merges` in the order they were learnt; of a pair that stands twice the later
    /// counts, as in the library. `None` if there are too many for their bits.
    pub(super) fn new(bytes: [u32; 256], merges: &[Merge]) -> Option<Self> {
        let most = (1 << BITS) - 1;
        let ids = merges.iter().flat_map(|merge| [merge.left, merge.right]);
        if merges.len() > most || ids.max().is_some_and(|id| id as usize >= most) {
            return None;
        }
        let slots = (2 * merges.len().max(8)).next_power_of_two();
        let mut table = Self {
            bytes,
            made: merges.iter().map(|merge| merge.made).collect(),
            slots: vec![FREE; slots],
            shift: 64 - slots.ilog2(),
        };
        for (rank, merge) in merges.iter().enumerate() {
            let pair = pair(merge.left, merge.right);
            let slot = table.slot(pair);
            table.slots[slot] = pair << BITS | rank as u64;
        }
        Some(table)
    }

    /// Place of a pair, or the free one where it would be.
    #[inline]
    fn slot(&self, pair: u64) -> usize {
        let mut slot = (pair.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize;
        while self.slots[slot] != FREE && self.slots[slot] >> BITS != pair {
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        slot
    }

    /// Rank of a pair, [`NONE`] without one.
    #[inline]
    fn rank(&self, left: u32, right: u32) -> u32 {
        match self.slots[self.slot(pair(left, right))] {
            FREE => NONE,
            slot => slot as u32 & ((1 << BITS) - 1),
        }
    }

    /// Merges `word` into `scratch.ids`.
    pub(super) fn merge(&self, word: &[u8], scratch: &mut Scratch) {
        scratch.ids.clear();
        let ids = word.iter().map(|&byte| self.bytes[byte as usize]);
        scratch.ids.extend(ids);
        scratch.ranks.clear();
        let pairs = scratch.ids.windows(2);
        let ranks = pairs.map(|pair| self.rank(pair[0], pair[1]));
        scratch.ranks.extend(ranks);
        if word.len() <= SCANNED {
            self.scan(&mut scratch.ids, &mut scratch.ranks);
        } else {
            self.heap(scratch);
        }
    }

    fn scan(&self, ids: &mut Vec<u32>, ranks: &mut Vec<u32>) {
        loop {
            let (mut best, mut at) = (NONE, 0);
            for (index, &rank) in ranks.iter().enumerate() {
                if rank < best {
                    (best, at) = (rank, index);
                }
            }
            if best == NONE {
                return;
            }
            ids[at] = self.made[best as usize];
            ids.remove(at + 1);
            ranks.remove(at);
            if at > 0 {
                ranks[at - 1] = self.rank(ids[at - 1], ids[at]);
            }
            if at < ranks.len() {
                ranks[at] = self.rank(ids[at], ids[at + 1]);
            }
        }
    }

    /// Pairs wait in a heap by rank and place; one that a merge beside it has undone is
    /// known by a rank that the place no longer has.
    fn heap(&self, scratch: &mut Scratch) {
        let Scratch {
            ids,
            ranks,
            before,
            after,
            heap,
        } = scratch;
        let last = ids.len() as u32 - 1;
        ranks.push(NONE);
        before.clear();
        before.extend((0..=last).map(|at| at.wrapping_sub(1)));
        after.clear();
        after.extend(1..=last + 1);
        heap.clear();
        let waiting = |at: usize, rank: u32| Reverse(u64::from(rank) << 32 | at as u64);
        let known = ranks.iter().enumerate().filter(|(_, rank)| **rank != NONE);
        heap.extend(known.map(|(at, &rank)| waiting(at, rank)));
        while let Some(Reverse(top)) = heap.pop() {
            let (rank, at) = ((top >> 32) as u32, top as u32 as usize);
            if ranks[at] != rank {
                continue;
            }
            ids[at] = self.made[rank as usize];
            let gone = after[at] as usize;
            // A word of no ids is none; so a gone place is known by having no id.
            ids[gone] = NONE;
            ranks[gone] = NONE;
            let next = after[gone];
            after[at] = next;
            ranks[at] = NONE;
            if next <= last {
                before[next as usize] = at as u32;
                ranks[at] = self.rank(ids[at], ids[next as usize]);
                if ranks[at] != NONE {
                    heap.push(waiting(at, ranks[at]));
                }
            }
            if at > 0 {
                let left = before[at] as usize;
                ranks[left] = self.rank(ids[left], ids[at]);
                if ranks[left] != NONE {
                    heap.push(waiting(left, ranks[left]));
                }
            }
        }
        ids.retain(|&id| id != NONE);
    }
}

impl Scratch {
    /// Gives back what an uncommonly long word took.
    pub(super) fn shrink(&mut self) {
        const KEPT: usize = 1 << 16;
        if self.ids.capacity() > KEPT {
            *self = Self::default();
        }
    }
}

#[inline]
fn pair(left: u32, right: u32) -> u64 {
    u64::from(left) << BITS | u64::from(right)
}

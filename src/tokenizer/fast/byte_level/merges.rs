//! Byte-pair encoding (Sennrich et al. 2016) of one word: of all pairs of neighbours the
//! one that was learnt first is merged, the leftmost of several, until none is known.
//!
//! Up to 64 bytes are scanned for the best pair, 10 to 20 ns a merge; a longer word keeps
//! its pairs in a heap, O(n log n). Memory: 20 to 36 bytes a merge; a word of n bytes
//! takes 28 n while it is merged.

use crate::tokenizer::fast::pairs::{LIMIT, NONE, Pairs};
use crate::tokenizer::parsed::MergeIds;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Longest word, in bytes, that is scanned: its places fit a mask.
const SCANNED: usize = 64;

/// Symbols that are bytes.
const BYTES: usize = 256;

/// The merges of a tokenizer. Within, a byte is its own symbol and what the merge of
/// rank r makes is 256 + r, so that a merge needs no look-up to know what it makes.
pub(super) struct Merges {
    /// By symbol, its id.
    ids: Vec<u32>,
    /// By rank, the symbol that a merge makes; empty where that is the rank's own
    /// throughout, since no id is made in two ways.
    made: Vec<u32>,
    /// By two bytes, the rank of their pair.
    first: Vec<u32>,
    /// Ranks of pairs of symbols.
    ranks: Pairs,
}

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
    pub(super) fn new(bytes: [u32; 256], merges: &[MergeIds]) -> Option<Self> {
        if merges.len() + BYTES >= LIMIT {
            return None;
        }
        let ids: Vec<u32> = bytes
            .into_iter()
            .chain(merges.iter().map(|merge| merge.made))
            .collect();
        let mut symbols = HashMap::with_capacity_and_hasher(ids.len(), FxBuildHasher);
        for (symbol, &id) in ids.iter().enumerate() {
            symbols.entry(id).or_insert(symbol as u32);
        }
        let mut made: Vec<u32> = ids[BYTES..].iter().map(|id| symbols[id]).collect();
        if (BYTES..)
            .zip(&made)
            .all(|(own, &made)| made as usize == own)
        {
            made.clear();
        }
        let mut table = Self {
            ids,
            made,
            first: vec![NONE; BYTES * BYTES],
            ranks: Pairs::new(merges.len()),
        };
        for (rank, merge) in merges.iter().enumerate() {
            // What neither is a byte nor is made never stands in a word.
            if let (Some(&left), Some(&right)) =
                (symbols.get(&merge.left), symbols.get(&merge.right))
            {
                table.ranks.set(left, right, rank as u32);
                if left.max(right) < BYTES as u32 {
                    table.first[left as usize * BYTES + right as usize] = rank as u32;
                }
            }
        }
        Some(table)
    }

    /// What the merge of a rank makes.
    #[inline]
    fn made(&self, rank: u32) -> u32 {
        match self.made.is_empty() {
            true => BYTES as u32 + rank,
            false => self.made[rank as usize],
        }
    }

    /// Rank of two bytes.
    #[inline]
    fn first(&self, pair: &[u32]) -> u32 {
        self.first[pair[0] as usize * BYTES + pair[1] as usize]
    }

    /// Merges `word` into `scratch.ids`.
    pub(super) fn merge(&self, word: &[u8], scratch: &mut Scratch) {
        scratch.ids.clear();
        scratch.ids.extend(word.iter().map(|&byte| u32::from(byte)));
        if word.len() <= SCANNED {
            self.scan(&mut scratch.ids);
        } else {
            self.heap(scratch);
        }
        for id in &mut scratch.ids {
            *id = self.ids[*id as usize];
        }
    }

    /// Ids stay in their places; a mask says which are left.
    fn scan(&self, ids: &mut Vec<u32>) {
        const PLACE: u32 = SCANNED.ilog2();
        // By place, the rank of its pair and the place: the least is the next to merge.
        let waiting = |rank: u32, at: usize| match rank {
            NONE => NONE,
            rank => rank << PLACE | at as u32,
        };
        let count = ids.len();
        let mut all = [NONE; SCANNED];
        let waits = &mut all[..count];
        for (at, pair) in ids.windows(2).enumerate() {
            waits[at] = waiting(self.first(pair), at);
        }
        let mut left = u64::MAX >> (SCANNED - count);
        loop {
            let next = waits.iter().copied().fold(NONE, u32::min);
            if next == NONE {
                break;
            }
            let at = next as usize % SCANNED;
            ids[at] = self.made(next >> PLACE);
            let gone = (left >> at & !1).trailing_zeros() as usize + at;
            waits[gone] = NONE;
            left &= !(1 << gone);
            let behind = (left >> at & !1).trailing_zeros() as usize + at;
            waits[at] = match ids.get(behind) {
                Some(&right) => waiting(self.ranks.get(ids[at], right), at),
                None => NONE,
            };
            let before = left & ((1 << at) - 1);
            if before != 0 {
                let before = before.ilog2() as usize;
                waits[before] = waiting(self.ranks.get(ids[before], ids[at]), before);
            }
        }
        let mut at = 0;
        ids.retain(|_| {
            at += 1;
            left >> (at - 1) & 1 == 1
        });
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
        ranks.clear();
        ranks.extend(ids.windows(2).map(|pair| self.first(pair)));
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
            ids[at] = self.made(rank);
            let gone = after[at] as usize;
            // A word of no ids is none; so a gone place is known by having no id.
            ids[gone] = NONE;
            ranks[gone] = NONE;
            let next = after[gone];
            after[at] = next;
            ranks[at] = NONE;
            if next <= last {
                before[next as usize] = at as u32;
                ranks[at] = self.ranks.get(ids[at], ids[next as usize]);
                if ranks[at] != NONE {
                    heap.push(waiting(at, ranks[at]));
                }
            }
            if at > 0 {
                let left = before[at] as usize;
                ranks[left] = self.ranks.get(ids[left], ids[at]);
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

//! The words of a corpus once they are known, to be gone through many times: the more
//! frequent a word, the smaller its number. A word is a unit of 16 bits, or two where it
//! is rarer than 61 439 others. The first of two units is at or above `RARE` and
//! nothing else is, so that a loop over units finds where windows of a pass may begin
//! without telling words apart, and most of them are never decoded.
//!
//! Cost: 2 bytes a word, 4 for a rare one (1.6 % of text with 280 000 words), spilled over
//! the bound on memory; a pass takes about 1 ns a word and what its windows take.

use crate::base::error::Result;
use crate::base::size::ByteSize;
use crate::statistics::count::Counts;
use crate::statistics::plan::{Candidate, NOWHERE, Pass, Placed, Plan};
use crate::statistics::tally::MAX_LENGTH;
use crate::statistics::words::BARRIER;
use crate::storage::Buckets;
use crate::storage::scratch::Kept;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Stands for a barrier, or the end of a document.
const END: u16 = 0;
/// The first unit that is the first of two.
const RARE: u16 = 0xf000;
/// Words that have a number.
pub const MOST_RANKED: usize = (u16::MAX - RARE) as usize * RARE as usize;

/// Bytes gathered before they are handed over, where a run has ended.
const PIECE: usize = 1 << 14;

/// Units that are looked through at once: where windows begin stays in the first cache.
const LOOK: usize = 1 << 11;

/// Units of 16 bits, as they lie in memory or on disk.
type Unit = [u8; 2];

/// The units of the word of this rank: the only one, or the first of two and the second.
#[inline]
fn units(rank: u32) -> (u16, Option<u16>) {
    match u16::try_from(rank + 1) {
        Ok(unit) if unit < RARE => (unit, None),
        _ => {
            let rest = rank + 1 - u32::from(RARE);
            let (high, low) = (rest / u32::from(RARE), rest % u32::from(RARE));
            (RARE + high as u16, Some(low as u16))
        }
    }
}

/// Bytes that the words of a corpus take, at most.
pub fn most_bytes(counts: &Counts) -> u64 {
    let mut by_count = counts.dictionary.counts.clone();
    by_count.sort_unstable_by(|a, b| b.cmp(a));
    let kept: u64 = by_count.iter().sum();
    let rare: u64 = by_count.iter().skip(usize::from(RARE) - 1).sum();
    let [words, pairs, ..] = counts.totals.windows;
    // One behind every run, and one for every word that was left out.
    let barriers = words.saturating_sub(pairs) + words.saturating_sub(kept);
    2 * (kept + rare + barriers)
}

/// Words on their way to be kept.
pub struct RankedWords {
    /// A bucket for each writer.
    buckets: Buckets,
    writers: Mutex<usize>,
}

impl RankedWords {
    /// Room for `writers` writers, who hold up to `memory` together.
    pub fn new(folder: &Path, writers: usize, memory: ByteSize) -> Result<Self> {
        Ok(Self {
            buckets: Buckets::new(folder, writers, memory)?,
            writers: Mutex::default(),
        })
    }

    /// The next writer.
    pub fn writer(&self) -> RankedWriter<'_> {
        let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        *writers += 1;
        RankedWriter {
            words: self,
            bucket: *writers - 1,
            open: Vec::with_capacity(PIECE),
            ended: true,
        }
    }

    /// What was written, to be gone through in every pass of `plan`.
    pub fn keep(self, plan: &Plan) -> KeptWords {
        let placed: Vec<Placed> = std::iter::once(NOWHERE).chain(plan.by_rank()).collect();
        KeptWords {
            kept: self.buckets.keep(),
            places: placed.iter().map(|word| word.id.wrapping_add(1)).collect(),
            slots: placed.iter().map(|word| word.slot()).collect(),
            placed,
        }
    }
}

/// Writes the words of one thread.
pub struct RankedWriter<'a> {
    words: &'a RankedWords,
    bucket: usize,
    open: Vec<u8>,
    /// Whether the last one was a barrier: many are as good as one.
    ended: bool,
}

impl RankedWriter<'_> {
    /// Appends a word, or a barrier.
    #[inline]
    pub fn word(&mut self, word: Placed) -> Result<()> {
        if word.id == BARRIER {
            return self.barrier();
        }
        let (first, second) = units(word.rank);
        self.open.extend_from_slice(&first.to_le_bytes());
        if let Some(second) = second {
            self.open.extend_from_slice(&second.to_le_bytes());
        }
        self.ended = false;
        Ok(())
    }

    fn barrier(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.ended, true) {
            self.open.extend_from_slice(&END.to_le_bytes());
            if self.open.len() >= PIECE {
                return self.hand_over();
            }
        }
        Ok(())
    }

    fn hand_over(&mut self) -> Result<()> {
        self.words.buckets.append(self.bucket, &self.open)?;
        self.open.clear();
        Ok(())
    }

    /// Hands over what is left; a barrier must be the last.
    pub fn finish(mut self) -> Result<()> {
        debug_assert!(self.ended);
        self.hand_over()
    }
}

/// By unit: whether a window may begin there. One byte each, so that it is looked up and
/// added without a branch.
pub type Begins = Box<[u8; 1 << u16::BITS]>;

/// Words that can be gone through many times.
pub struct KeptWords {
    kept: Kept,
    /// By rank and one; no word is [`NOWHERE`]. What a window begins with.
    placed: Vec<Placed>,
    /// Of them, what is asked of every word of a window: id and one, 0 for no word. A
    /// quarter as wide, so that more of them are near.
    places: Vec<u32>,
    /// And what is asked of its second word.
    slots: Vec<u16>,
}

impl KeptWords {
    /// Number of pieces, runs of words whole.
    pub fn pieces(&self) -> usize {
        self.kept.pieces()
    }

    /// Bytes of scratch disk written.
    pub fn spilled(&self) -> ByteSize {
        self.kept.spilled()
    }

    /// Where windows of `pass` may begin.
    pub fn begins(&self, pass: &Pass) -> Begins {
        let mut begins = Box::new([1; 1 << u16::BITS]);
        begins[..usize::from(RARE)].fill(0);
        for (begins, &word) in begins.iter_mut().zip(&self.placed).take(RARE.into()) {
            *begins = pass.may_begin(word).into();
        }
        begins
    }

    /// Hands every window of a piece that may be of a pass to `each`, given what
    /// [`begins`](Self::begins) of the pass is. Returns the number of units.
    pub fn each_window(
        &self,
        piece: usize,
        begins: &Begins,
        mut each: impl FnMut(Candidate) -> Result<()>,
    ) -> Result<u64> {
        let bytes = self.kept.piece(piece)?;
        let (units, _) = bytes.as_chunks::<2>();
        let mut starts = [0u16; LOOK];
        for first in (0..units.len()).step_by(LOOK) {
            let mut found = 0;
            for (at, &unit) in (0..).zip(units[first..].iter().take(LOOK)) {
                // `found` is at most `at`; this says so without a branch.
                starts[found % LOOK] = at;
                found += usize::from(begins[usize::from(u16::from_le_bytes(unit))]);
            }
            for &at in &starts[..found] {
                let at = first + usize::from(at);
                let is_second = at
                    .checked_sub(1)
                    .is_some_and(|before| u16::from_le_bytes(units[before]) >= RARE);
                if !is_second {
                    each(self.window(&units[at..]))?;
                }
            }
        }
        Ok(units.len() as u64)
    }

    /// The words that begin at the first of `units`.
    #[inline(always)]
    fn window(&self, units: &[Unit]) -> Candidate {
        if let Some(next) = units.first_chunk::<MAX_LENGTH>() {
            let next = next.map(u16::from_le_bytes);
            if next.iter().all(|&unit| unit < RARE) {
                return self.found(next.map(usize::from));
            }
        }
        self.decoded(units)
    }

    /// As [`window`](Self::window), one word after the other.
    #[cold]
    fn decoded(&self, units: &[Unit]) -> Candidate {
        let mut units = units.iter().map(|&unit| u16::from_le_bytes(unit));
        self.found(std::array::from_fn(|_| {
            let first = units.next().unwrap_or(END);
            if first < RARE {
                return first.into();
            }
            let high = usize::from(first - RARE) * usize::from(RARE);
            usize::from(RARE) + high + usize::from(units.next().unwrap_or(END))
        }))
    }

    /// The words of these numbers.
    #[inline(always)]
    fn found(&self, numbers: [usize; MAX_LENGTH]) -> Candidate {
        let mut open = u32::MAX;
        let places = numbers.map(|number| {
            let place = self.places.get(number).copied().unwrap_or(0);
            open &= u32::from(place == 0).wrapping_sub(1);
            place & open
        });
        Candidate {
            first: self.placed.get(numbers[0]).copied().unwrap_or(NOWHERE),
            slot: self.slots.get(numbers[1]).copied().unwrap_or(0),
            places,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::windows::Shape;
    use proptest::prelude::*;

    /// Counts of so many words that some are rare.
    fn plan(passes: u64) -> Plan {
        let counts: Vec<u64> = (1..=130_000).map(|id| 1 + 1_000_000 / id).collect();
        let room = (ByteSize::mib(64), 1, Some(passes));
        Plan::new(&counts, 3, Shape::new(5, counts.len()), 80, room)
    }

    #[test]
    fn every_rank_has_units_of_its_own() {
        let mut last = (0, None);
        for rank in 0..300_000 {
            let (first, second) = units(rank);
            assert!((first, second) > last, "{rank}");
            assert_eq!(second.is_some(), first >= RARE);
            assert!(second.is_none_or(|second| second < RARE));
            last = (first, second);
        }
        let (first, second) = units(MOST_RANKED as u32 - 1);
        assert!(first > RARE && second.is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn every_window_is_of_one_pass(
            runs in prop::collection::vec(prop::collection::vec(0u32..130_000, 0..9), 0..400),
            memory in 0u64..60_000,
            passes in 2u64..20,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let plan = plan(passes);
            prop_assert_eq!(plan.passes.len() as u64, passes);
            let ranked = RankedWords::new(folder.path(), 2, ByteSize(memory)).unwrap();
            let mut expected = Vec::new();
            for runs in runs.chunks(runs.len().div_ceil(2).max(1)) {
                let mut writer = ranked.writer();
                for run in runs {
                    // Some words often, most of them rarely.
                    let ids: Vec<u32> = run.iter().map(|&id| if id % 3 == 0 { id % 50 } else { id }).collect();
                    for &id in &ids {
                        writer.word(plan.place(id)).unwrap();
                    }
                    writer.word(NOWHERE).unwrap();
                    writer.word(NOWHERE).unwrap();
                    expected.extend((0..ids.len().saturating_sub(1)).map(|at| {
                        let words = &ids[at..(at + MAX_LENGTH).min(ids.len())];
                        words.to_vec()
                    }));
                }
                writer.finish().unwrap();
            }
            let kept = ranked.keep(&plan);
            let mut found: Vec<Vec<u32>> = Vec::new();
            let mut last = 0;
            for pass in &plan.passes {
                prop_assert_eq!(pass.buckets.start, last);
                last = pass.buckets.end;
                let begins = kept.begins(pass);
                for piece in 0..kept.pieces() {
                    kept.each_window(piece, &begins, |window| {
                        if pass.bucket(&window).is_some() {
                            let places = window.places.into_iter().take_while(|&place| place > 0);
                            found.push(places.map(|place| place - 1).collect());
                        }
                        Ok(())
                    }).unwrap();
                }
            }
            expected.sort();
            found.sort();
            prop_assert_eq!(found, expected);
        }
    }
}

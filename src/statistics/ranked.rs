//! The words of a corpus once they are known, to be gone through many times: the more
//! frequent a word, the smaller its number. A word is a unit of 16 bits, or two where it
//! is rarer than some 61 000 others. A unit tells whether it is the only one, the first of
//! two or the second, so that a loop over units finds where windows of a pass may begin
//! without telling words apart, and most of them are never decoded. Rare words are
//! numbered by id, as passes divide them: those that share a first unit mostly begin windows
//! of the same pass.
//!
//! Cost: 2 bytes a word, 4 for a rare one (1.6 % of text with 280 000 words), spilled over
//! the bound on memory; a pass takes about 1 ns a word and what its windows take.

use crate::base::error::Result;
use crate::base::size::ByteSize;
use crate::statistics::count::Counts;
use crate::statistics::plan::{Candidate, NOWHERE, Pass, Placed, Plan};
use crate::statistics::tally::MAX_LENGTH;
use crate::storage::Buckets;
use crate::storage::scratch::Kept;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Stands for a barrier, or the end of a document.
const END: u16 = 0;
/// The first unit that is the first of two.
const RARE: u16 = 0xf000;
/// Units that are the first of two.
const FIRSTS: usize = (u16::MAX - RARE) as usize + 1;
/// Words that have a number.
pub const MOST_RANKED: usize = FIRSTS * (RARE - 1) as usize;

/// Bytes gathered before they are handed over, where a run has ended.
const PIECE: usize = 1 << 14;

/// Units that are looked through at once: where windows begin stays in the first cache.
const LOOK: usize = 1 << 11;

/// Units of 16 bits, as they lie in memory or on disk.
type Unit = [u8; 2];

/// How a word is written: its units, the second 0 where there is only one; both are 0 for a
/// barrier.
pub type Units = [u16; 2];

/// How so many words are numbered, from 1 on, and how a number is written. The lowest
/// units are common words, then come those that are the second of two, then the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbering {
    /// The lowest unit that is the second of two: all units below are common words.
    seconds: u16,
    /// Rare words that share a first unit, and second units.
    shared: u16,
}

impl Numbering {
    /// For up to [`MOST_RANKED`] words.
    pub fn new(words: usize) -> Self {
        // Two for one: every second unit takes that of a common word.
        let shared = words.saturating_sub(RARE.into()).div_ceil(FIRSTS - 1) + 1;
        let shared = shared.min(usize::from(RARE) - 1) as u16;
        Self {
            seconds: RARE - shared,
            shared,
        }
    }

    /// Number of common words.
    pub fn common(self) -> usize {
        usize::from(self.seconds) - 1
    }

    /// The units of the word of this number.
    pub fn units(self, number: u32) -> Units {
        let Some(rare) = number.checked_sub(self.seconds.into()) else {
            return [number as u16, END];
        };
        let shared = u32::from(self.shared);
        [
            RARE + (rare / shared) as u16,
            self.seconds + (rare % shared) as u16,
        ]
    }

    /// The number of the word of these two units.
    #[inline]
    fn number(self, first: u16, second: u16) -> usize {
        usize::from(first - RARE) * usize::from(self.shared) + usize::from(second)
    }
}

/// Bytes that the words of a corpus take, at most.
pub fn most_bytes(counts: &Counts) -> u64 {
    let mut by_count = counts.dictionary.counts.clone();
    by_count.sort_unstable_by(|a, b| b.cmp(a));
    let kept: u64 = by_count.iter().sum();
    let common = Numbering::new(by_count.len()).common();
    let rare: u64 = by_count.iter().skip(common).sum();
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
        let placed: Vec<Placed> = std::iter::once(NOWHERE).chain(plan.by_number()).collect();
        KeptWords {
            numbering: plan.numbering,
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
    /// Appends words, by their units, and barriers; returns how many there are.
    #[inline]
    pub fn extend(&mut self, words: impl Iterator<Item = Units>) -> Result<u64> {
        let mut written = 0;
        for [first, second] in words {
            written += 1;
            if first == END {
                self.barrier()?;
                continue;
            }
            self.open.extend_from_slice(&first.to_le_bytes());
            if first >= RARE {
                self.open.extend_from_slice(&second.to_le_bytes());
            }
            self.ended = false;
        }
        Ok(written)
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
    numbering: Numbering,
    /// By number; 0 is [`NOWHERE`]. What a window begins with.
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
        let mut begins = Box::new([0; 1 << u16::BITS]);
        for &word in &self.placed {
            begins[usize::from(word.units[0])] |= u8::from(pass.may_begin(word));
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
                each(self.window(&units[first + usize::from(at)..]))?;
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
            self.numbering.number(first, units.next().unwrap_or(END))
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
    fn every_number_has_units_of_its_own() {
        let some = [0, 1, 61_438, 61_439, 61_440, 65_535, 300_000, 1 << 23];
        for words in some.into_iter().chain([MOST_RANKED]) {
            let numbering = Numbering::new(words);
            let seconds = numbering.seconds;
            let mut last = [0, 0];
            let highest = 100_001.max(words.saturating_sub(100_000))..=words;
            for number in (1..=words.min(100_000)).chain(highest) {
                let units = numbering.units(number as u32);
                assert!(units > last, "{number} of {words}");
                last = units;
                match units {
                    [only, END] => {
                        assert_eq!(usize::from(only), number);
                        assert!((1..seconds).contains(&only));
                    }
                    [first, second] => {
                        assert!(first >= RARE && (seconds..RARE).contains(&second));
                        assert_eq!(numbering.number(first, second), number, "of {words}");
                    }
                }
            }
            assert!(words > 61_438 || numbering.common() >= words);
            assert!(words < MOST_RANKED || last[0] == u16::MAX);
        }
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
                    let words = ids.iter().map(|&id| plan.place(id).units);
                    let written = writer.extend(words.chain([[END; 2]; 2])).unwrap();
                    assert_eq!(written as usize, ids.len() + 2);
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

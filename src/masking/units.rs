//! Selection of whole units, words or n-grams (spec 3): units in a uniformly
//! shuffled order, until the budget is met.
//!
//! # Fair
//! The plain form of the rule (a unit of length u that overshoots what is left, r,
//! is taken with probability r/u) gives the budget in expectation, but not quite
//! the same chance to every length: of two units of 1 and 9 tokens and a budget of
//! 2, the short one is taken in 1/2 and the long one in 1/6 of the draws, because
//! the first unit never has an overshoot at its front. In a row of 126 words and
//! 15 % a unit of 5 tokens loses about 7 % of its chance. So the units lie on a
//! circle, cut at a uniformly drawn token (where Σ n_j = 0 nothing is drawn):
//!
//! 1. `below(B)` draws a maskable token; its unit comes first in the order. Say it
//!    has length u and o of its tokens stand before the drawn one: its last u − o
//!    tokens are the first slots of the circle, its first o the last slots.
//! 2. The other units follow, each drawn by one step of Fisher–Yates over the list
//!    of all units in ascending order (the first unit swapped to the front; the
//!    last one left needs no draw), and fill the slots, until Σ n_j slots are filled.
//! 3. Copy j owns n_j slots: copy 0 the first n_0, copy 1 the next n_1, and so on. A
//!    unit belongs to the copy that owns its anchor, a uniformly drawn slot of its
//!    own; the draw a = `below(u)` is made when u > 1 and the unit is the first one
//!    or lies across the end of the copy that owns its first slot, since it decides
//!    nothing otherwise, and before the next unit is drawn. It counts from the unit's
//!    first slot; of the first unit it is slot a where a < u − o, else slot
//!    B − u + a.
//!
//! Each unit's anchor is uniform on the circle, so copy j gets it with probability
//! n_j / B whatever its length, and Σ u · n_j / B = n_j tokens are expected: both
//! exact, for every row and rate, and for every copy. A unit that lies across the
//! end of copy j and is not taken there may be taken by copy j + 1, in proportion to
//! what reaches into it; no unit is taken twice.
//!
//! # Skip, take, truncate
//! No circle: units in shuffled order (lazily, one Fisher–Yates step for each unit
//! looked at). `take` stops after the unit that overshoots, `truncate` takes its
//! first r tokens (the others are in no copy), `skip` passes over it and looks on;
//! what copy j passed over is looked at again, in the same order, by copy j + 1.
//!
//! # Dealing out
//! Where the units of all copies were selected together (by weights, or as spans of
//! words), N > 0 tokens of them, the first j copies of k together get
//! N_j = ⌊N·j/k + V⌋, with one `unit` V, N_0 = 0 and N_k = N, by the fair rule over the
//! selected units: B is N there, whatever `overshoot` says.

use super::bits;
use super::uniform::copy_of;
use crate::base::generator::Generator;
use crate::config::Overshoot;

/// The units of one row: runs in an ascending list of positions. A span that goes
/// on behind a special token is one run, too.
#[derive(Debug, Clone, Default)]
pub(super) struct Units {
    positions: Vec<u32>,
    /// Where each unit starts in `positions`, and at the end their number.
    firsts: Vec<u32>,
    order: Vec<u32>,
    /// Units that `skip` has dealt out.
    dealt: Vec<bool>,
    /// Tokens of each copy when all units are dealt out.
    counts: Vec<u32>,
}

/// Where chosen units go.
pub(super) struct Planes<'a> {
    /// Planes of `words` words, one a copy.
    pub bits: &'a mut [u64],
    /// Words of a plane.
    pub words: usize,
}

impl<'a> Planes<'a> {
    /// The plane of a single copy.
    pub fn one(bits: &'a mut [u64]) -> Self {
        Self {
            words: bits.len(),
            bits,
        }
    }

    /// Sets `positions` in the plane of `copy`.
    #[inline]
    pub fn set(&mut self, copy: usize, positions: &[u32]) {
        let plane = &mut self.bits[copy * self.words..][..self.words];
        for &position in positions {
            bits::set(plane, position);
        }
    }
}

impl Units {
    /// Reads the units off: each opens at a bit of `openings` that is a member, and
    /// covers the members up to the next opening.
    pub fn read(&mut self, members: &[u64], openings: &[u64]) {
        self.positions.clear();
        bits::append_ones(members.iter().copied(), &mut self.positions);
        self.firsts.clear();
        let mut before = 0;
        for (&word, &opening) in members.iter().zip(openings) {
            let mut rest = opening & word;
            while rest != 0 {
                let lower = (rest & rest.wrapping_neg()) - 1;
                self.firsts.push(before + (word & lower).count_ones());
                rest &= rest - 1;
            }
            before += word.count_ones();
        }
        self.firsts.push(before);
    }

    /// Number of units.
    pub fn count(&self) -> usize {
        self.firsts.len() - 1
    }

    /// Number of positions of a unit.
    #[inline]
    pub fn len(&self, unit: usize) -> u32 {
        self.firsts[unit + 1] - self.firsts[unit]
    }

    /// The positions of a unit, ascending.
    #[inline]
    pub fn positions(&self, unit: usize) -> &[u32] {
        &self.positions[self.firsts[unit] as usize..self.firsts[unit + 1] as usize]
    }

    fn shuffle_step(&mut self, index: usize, draws: &mut Generator) -> usize {
        let left = self.order.len() - index;
        if left > 1 {
            let other = index + draws.below(left as u32) as usize;
            self.order.swap(index, other);
        }
        self.order[index] as usize
    }

    fn begin(&mut self) {
        self.order.clear();
        self.order.extend(0..self.count() as u32);
    }

    /// Fills the copies of `planes` with units, `counts[j]` tokens each.
    pub fn fill(
        &mut self,
        counts: &[u32],
        overshoot: Overshoot,
        draws: &mut Generator,
        planes: &mut Planes<'_>,
    ) {
        if counts.iter().all(|&count| count == 0) {
            return;
        }
        self.begin();
        match overshoot {
            Overshoot::Fair => self.fill_fair(counts, draws, planes),
            Overshoot::Skip => self.fill_skipping(counts, draws, planes),
            Overshoot::Take => self.fill_in_turn(counts, draws, planes, |len, _| len),
            Overshoot::Truncate => self.fill_in_turn(counts, draws, planes, u32::min),
        }
    }

    fn fill_fair(&mut self, counts: &[u32], draws: &mut Generator, planes: &mut Planes<'_>) {
        let owner = |slot: u32| {
            let mut end = 0;
            counts.iter().position(|&count| {
                end += count;
                slot < end
            })
        };
        let slots = self.positions.len() as u32;
        let filled: u32 = counts.iter().sum();

        let drawn = draws.below(slots);
        let first = self.firsts.partition_point(|&place| place <= drawn) - 1;
        let before = drawn - self.firsts[first];
        self.order.swap(0, first);
        let len = self.len(first);
        let anchor = if len > 1 { draws.below(len) } else { 0 };
        let in_front = len - before;
        let slot = if anchor < in_front {
            anchor
        } else {
            slots - before + (anchor - in_front)
        };
        if let Some(copy) = owner(slot) {
            planes.set(copy, self.positions(first));
        }

        let mut at = in_front;
        let mut copy = 0;
        let mut end = counts[0];
        let mut index = 1;
        while at < filled && index < self.order.len() {
            while at >= end {
                copy += 1;
                end += counts[copy];
            }
            let unit = self.shuffle_step(index, draws);
            index += 1;
            let len = self.len(unit);
            let owned = if at + len <= end {
                Some(copy)
            } else {
                owner(at + draws.below(len))
            };
            if let Some(copy) = owned {
                planes.set(copy, self.positions(unit));
            }
            at += len;
        }
    }

    /// `cut` says how much of a unit is taken, given its length and what is left.
    fn fill_in_turn(
        &mut self,
        counts: &[u32],
        draws: &mut Generator,
        planes: &mut Planes<'_>,
        cut: impl Fn(u32, u32) -> u32,
    ) {
        let mut index = 0;
        for (copy, &count) in counts.iter().enumerate() {
            let mut left = count;
            while left > 0 && index < self.order.len() {
                let unit = self.shuffle_step(index, draws);
                index += 1;
                let taken = cut(self.len(unit), left);
                planes.set(copy, &self.positions(unit)[..taken as usize]);
                left = left.saturating_sub(taken);
            }
        }
    }

    fn fill_skipping(&mut self, counts: &[u32], draws: &mut Generator, planes: &mut Planes<'_>) {
        self.dealt.clear();
        self.dealt.resize(self.count(), false);
        let mut shuffled = 0;
        for (copy, &count) in counts.iter().enumerate() {
            let mut left = count;
            for index in 0..self.order.len() {
                if left == 0 {
                    break;
                }
                let unit = if index < shuffled {
                    self.order[index] as usize
                } else {
                    shuffled += 1;
                    self.shuffle_step(index, draws)
                };
                let len = self.len(unit);
                if !self.dealt[unit] && len <= left {
                    self.dealt[unit] = true;
                    planes.set(copy, self.positions(unit));
                    left -= len;
                }
            }
        }
    }

    /// Deals all units out to `copies`, each its share of the tokens.
    pub fn deal(&mut self, copies: usize, draws: &mut Generator, planes: &mut Planes<'_>) {
        let tokens = self.positions.len() as u32;
        if tokens == 0 {
            return;
        }
        let lift = draws.unit();
        let up_to = |copy: usize| match copy {
            0 => 0,
            copy if copy == copies => tokens,
            copy => {
                let share = f64::from(tokens) * copy as f64 / copies as f64;
                ((share + lift) as u32).min(tokens)
            }
        };
        let mut counts = std::mem::take(&mut self.counts);
        counts.clear();
        counts.extend((0..copies).map(|copy| up_to(copy + 1) - up_to(copy)));
        self.fill(&counts, Overshoot::Fair, draws, planes);
        self.counts = counts;
    }

    /// `bernoulli`: each unit on its own.
    pub fn fill_each(
        &mut self,
        rate: f64,
        copies: usize,
        draws: &mut Generator,
        planes: &mut Planes<'_>,
    ) {
        for unit in 0..self.count() {
            if let Some(copy) = copy_of(draws.unit(), rate, copies) {
                planes.set(copy, self.positions(unit));
            }
        }
    }
}

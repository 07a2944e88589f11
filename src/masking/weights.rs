//! Selection with a weight for each token: some tokens are selected more often than
//! others, by a factor that the user sets, at the same rate on the whole.
//!
//! A unit (a token, a word or a PMI unit) has the mean weight of its tokens, w, and u
//! tokens; weights are read as 32-bit floats. All copies together select it with
//! probability π = min(1, c·w), where c is such that Σ u·π is their budget T: k·m·B for
//! `bernoulli`, and for `fair` without `max_predictions`; else Σ n_j. (c is found by
//! setting the units with c·w ≥ 1 to 1 and solving for the others, until none is added.
//! Where even π = 1 for all of weight above 0 falls short of T, so does the selection.)
//!
//! 1. `bernoulli`: one `unit` x for each unit with π > 0, ascending; copy ⌊x·k/π⌋ has
//!    it, if there is such a copy.
//! 2. Otherwise systematic sampling of a random order (Madow 1949), which meets every
//!    π exactly and varies in number by less than one unit: the units with π > 0,
//!    ascending, are shuffled whole (`shuffle_prefix` of all); with the offset U of
//!    `fair` where T is k·m·B (else one `unit`, drawn after the shuffle) and the sum S of the π before
//!    it, a unit is selected where ⌊S + π + U + 10⁻⁹⌋ > ⌊S + U + 10⁻⁹⌋, the sums
//!    added up from U.
//! 3. Several copies deal the selected units out, as in [`super::units`].

use super::bits;
use super::budget::{Counts, Rates};
use super::units::{Planes, Units};
use crate::base::generator::Generator;
use crate::base::token::TokenId;
use crate::config::Budget;

/// Buffers of weighted selection.
#[derive(Debug, Clone, Default)]
pub(super) struct Weighted {
    /// c·w, then π, of each unit.
    chances: Vec<f64>,
    order: Vec<u32>,
    union: Vec<u64>,
    openings: Vec<u64>,
    chosen: Units,
}

impl Weighted {
    /// Fills the copies of `planes` with `units` of a row of `ids`, by the `weights` of
    /// ids, an id beyond them weighing 1.
    pub fn fill(
        &mut self,
        units: &Units,
        (ids, weights): (&[TokenId], &[f32]),
        (rates, counts): (&Rates, &Counts),
        draws: &mut Generator,
        planes: &mut Planes<'_>,
    ) {
        let positions: usize = (0..units.count())
            .map(|unit| units.len(unit) as usize)
            .sum();
        self.chances.clear();
        self.chances.extend((0..units.count()).map(|unit| {
            let positions = units.positions(unit);
            let sum: f64 = positions
                .iter()
                .map(|&position| {
                    let id = ids[position as usize] as usize;
                    f64::from(weights.get(id).copied().unwrap_or(1.0))
                })
                .sum();
            sum / positions.len().max(1) as f64
        }));
        let whole = rates.rule == Budget::Bernoulli
            || rates.rule == Budget::Fair && counts.capped == 0 && rates.cap == u32::MAX;
        let budget = if whole {
            rates.copies as f64 * rates.corruption * positions as f64
        } else {
            counts.selected.iter().map(|&count| f64::from(count)).sum()
        };
        spread(units, budget, &mut self.chances);

        if rates.rule == Budget::Bernoulli {
            let copies = rates.copies as f64;
            for (unit, &chance) in self.chances.iter().enumerate() {
                if chance > 0.0 {
                    let copy = draws.unit() * copies / chance;
                    if copy < copies {
                        planes.set(copy as usize, units.positions(unit));
                    }
                }
            }
            return;
        }
        self.choose(units, whole.then_some(counts.lift), draws);
        if rates.copies == 1 {
            for &unit in &self.order {
                planes.set(0, units.positions(unit as usize));
            }
        } else {
            self.deal(units, rates.copies, draws, planes);
        }
    }

    /// Leaves the selected units in `self.order`.
    fn choose(&mut self, units: &Units, lift: Option<f64>, draws: &mut Generator) {
        self.order.clear();
        let all = 0..units.count() as u32;
        self.order
            .extend(all.filter(|&unit| self.chances[unit as usize] > 0.0));
        draws.shuffle(&mut self.order);
        let mut sum = lift.unwrap_or_else(|| draws.unit());
        let chances = &self.chances;
        self.order.retain(|&unit| {
            let before = nearly(sum);
            sum += chances[unit as usize];
            nearly(sum) > before
        });
    }

    /// Deals the units of `self.order` out to the copies.
    fn deal(
        &mut self,
        units: &Units,
        copies: usize,
        draws: &mut Generator,
        planes: &mut Planes<'_>,
    ) {
        bits::reset(&mut self.union, planes.words);
        bits::reset(&mut self.openings, planes.words);
        for &unit in &self.order {
            let positions = units.positions(unit as usize);
            for &position in positions {
                bits::set(&mut self.union, position);
            }
            bits::set(&mut self.openings, positions[0]);
        }
        self.chosen.read(&self.union, &self.openings);
        self.chosen.deal(copies, draws, planes);
    }
}

/// ⌊x⌋, where a sum of shares may be a rounding below a whole number.
fn nearly(x: f64) -> u64 {
    (x + 1e-9) as u64
}

/// Makes chances of weights, so that the expected number of tokens is `budget`.
fn spread(units: &Units, budget: f64, weights: &mut [f64]) {
    let len = |unit: usize| f64::from(units.len(unit));
    let mut certain = 0.0;
    loop {
        let rest: f64 = weights
            .iter()
            .enumerate()
            .filter(|&(_, &weight)| weight.is_finite())
            .map(|(unit, &weight)| len(unit) * weight)
            .sum();
        let scale = (budget - certain).max(0.0) / rest;
        let mut more = 0.0;
        if rest > 0.0 {
            for (unit, weight) in weights.iter_mut().enumerate() {
                if weight.is_finite() && *weight * scale >= 1.0 {
                    // Marks it as certain.
                    *weight = f64::INFINITY;
                    more += len(unit);
                }
            }
        }
        certain += more;
        if more == 0.0 {
            let scale = if rest > 0.0 { scale } else { 0.0 };
            for weight in weights.iter_mut() {
                *weight = if weight.is_finite() {
                    *weight * scale
                } else {
                    1.0
                };
            }
            return;
        }
    }
}

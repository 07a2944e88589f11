//! Which positions carry a label: of the selected ones, all or a part, and
//! `extra_same` others (spec 1). The draws are told in [`crate::masking`].

use super::budget::{Counts, Rates, rounded};
use super::uniform::each;
use super::units::{Planes, Units};
use super::{Realised, bits};
use crate::base::generator::Generator;
use crate::config::{Budget, Overshoot};

/// The law of labels in one row.
#[derive(Debug, Clone, Copy)]
pub struct Prediction<'a> {
    /// The rates of the row.
    pub rates: &'a Rates,
    /// What happens to a unit longer than what is left, where units are labelled whole.
    pub overshoot: Overshoot,
    /// The share of what is not selected that is predicted as it is.
    pub extra_same: f64,
}

/// Buffers of the choice.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Set where a label is.
    pub labelled: Vec<u64>,
    kept: Vec<u64>,
    list: Vec<u32>,
    units: Units,
}

/// What one copy of a row selected.
#[derive(Clone, Copy)]
pub struct Selected<'a> {
    /// Number of the copy, from 0.
    pub copy: usize,
    /// All positions that could be.
    pub maskable: &'a [u64],
    /// Those that the copy selected.
    pub positions: &'a [u64],
    /// Where the units to be labelled whole open; none labels tokens.
    pub openings: Option<&'a [u64]>,
    /// The counts of the row, empty under `bernoulli`.
    pub counts: &'a Counts,
}

impl Prediction<'_> {
    /// Sets the positions that carry a label in `choice.labelled`.
    pub fn choose(
        &self,
        selected: Selected<'_>,
        draws: &mut Generator,
        choice: &mut Choice,
        realised: &mut Realised,
    ) {
        choice.labelled.clear();
        if self.rates.rule == Budget::Bernoulli {
            self.choose_each(selected, draws, choice);
        } else {
            self.choose_counted(selected, draws, choice);
            if selected.copy == 0 {
                realised.capped += u64::from(selected.counts.capped);
            }
        }
        self.cap(draws, choice, realised);
        if self.extra_same > 0.0 {
            self.add_extra(selected, draws, choice, realised);
        }
        realised.predicted += u64::from(bits::count(&choice.labelled));
    }

    fn choose_counted(&self, selected: Selected<'_>, draws: &mut Generator, choice: &mut Choice) {
        let asked = selected.counts.selected[selected.copy];
        let labelled = selected.counts.labelled[selected.copy];
        if labelled >= asked {
            choice.labelled.extend_from_slice(selected.positions);
            return;
        }
        let count = proportion(bits::count(selected.positions), labelled, asked, draws);
        bits::reset(&mut choice.labelled, selected.positions.len());
        match selected.openings {
            Some(openings) => {
                choice.units.read(selected.positions, openings);
                let mut planes = Planes::one(&mut choice.labelled);
                choice
                    .units
                    .fill(&[count], self.overshoot, draws, &mut planes);
            }
            None => {
                let from = selected.positions.iter().copied();
                subset(from, count, draws, &mut choice.list, &mut choice.labelled);
            }
        }
    }

    fn choose_each(&self, selected: Selected<'_>, draws: &mut Generator, choice: &mut Choice) {
        let share = self.rates.labelled_share(selected.copy);
        if share >= 1.0 {
            choice.labelled.extend_from_slice(selected.positions);
            return;
        }
        bits::reset(&mut choice.labelled, selected.positions.len());
        match selected.openings {
            Some(openings) => {
                choice.units.read(selected.positions, openings);
                let mut planes = Planes::one(&mut choice.labelled);
                choice.units.fill_each(share, 1, draws, &mut planes);
            }
            None => {
                let from = selected.positions.iter().copied();
                each(from, share, draws, &mut choice.labelled);
            }
        }
    }

    /// Takes labels away above `max_predictions`.
    fn cap(&self, draws: &mut Generator, choice: &mut Choice, realised: &mut Realised) {
        let count = bits::count(&choice.labelled);
        if count <= self.rates.cap {
            return;
        }
        realised.capped += u64::from(count - self.rates.cap);
        bits::reset(&mut choice.kept, choice.labelled.len());
        let from = choice.labelled.iter().copied();
        subset(
            from,
            self.rates.cap,
            draws,
            &mut choice.list,
            &mut choice.kept,
        );
        std::mem::swap(&mut choice.kept, &mut choice.labelled);
    }

    fn add_extra(
        &self,
        selected: Selected<'_>,
        draws: &mut Generator,
        choice: &mut Choice,
        realised: &mut Realised,
    ) {
        let before = bits::count(&choice.labelled);
        let others = selected
            .maskable
            .iter()
            .zip(selected.positions)
            .map(|(&maskable, &taken)| maskable & !taken);
        let count: u32 = others.clone().map(u64::count_ones).sum();
        let room = self.rates.cap - before;
        match self.rates.rule {
            Budget::Bernoulli => {
                bits::reset(&mut choice.kept, selected.positions.len());
                each(others, self.extra_same, draws, &mut choice.kept);
                let drawn = bits::count(&choice.kept);
                let from = choice.kept.iter().copied();
                subset(
                    from,
                    drawn.min(room),
                    draws,
                    &mut choice.list,
                    &mut choice.labelled,
                );
                realised.capped += u64::from(drawn.saturating_sub(room));
            }
            rule => {
                let extra = match rule {
                    Budget::Fair => {
                        (self.extra_same * f64::from(count) + draws.unit()).min(count.into()) as u32
                    }
                    rule => rounded(rule, self.extra_same, count),
                };
                subset(
                    others,
                    extra.min(room),
                    draws,
                    &mut choice.list,
                    &mut choice.labelled,
                );
                realised.capped += u64::from(extra.saturating_sub(room));
            }
        }
        realised.same += u64::from(bits::count(&choice.labelled) - before);
    }
}

/// `part / whole` of `count`, whole tokens, exact in expectation.
fn proportion(count: u32, part: u32, whole: u32, draws: &mut Generator) -> u32 {
    let product = u64::from(count) * u64::from(part);
    let (floor, left) = (product / u64::from(whole), product % u64::from(whole));
    floor as u32 + u32::from(left > 0 && u64::from(draws.below(whole)) < left)
}

/// Sets a uniform subset of `count` of the set bits of `from` in `chosen`.
fn subset(
    from: impl Iterator<Item = u64>,
    count: u32,
    draws: &mut Generator,
    list: &mut Vec<u32>,
    chosen: &mut [u64],
) {
    list.clear();
    bits::append_ones(from, list);
    let count = (count as usize).min(list.len());
    draws.shuffle_prefix(list, count);
    for &position in &list[..count] {
        bits::set(chosen, position);
    }
}

//! The rules of one way to mask, and the selection they make in a row.

use super::bits;
use super::budget::Rates;
use super::masker::Workspace;
use super::predict::{Prediction, Selected};
use super::replace::Replacement;
use super::spans::Law;
use super::stamp::Stamp;
use super::tokens::TokenTable;
use super::units::Planes;
use super::word_spans::LengthLaw;
use super::{Realised, Row, uniform};
use crate::base::error::Result;
use crate::base::generator::{Generator, Key, Purpose};
use crate::base::token::TokenId;
use crate::config::{Budget, Level, MaskingConfig, Overshoot, Rate, Strategy};
use std::sync::Arc;

/// One way to mask, checked and ready.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    strategy: Strategy,
    corruption: Rate,
    prediction: Option<Rate>,
    schedule_steps: u64,
    budget: Budget,
    cap: Option<u32>,
    overshoot: Overshoot,
    level: Level,
    law: Law,
    words: LengthLaw,
    pub replacement: Replacement,
    whole_units: bool,
    extra_same: f64,
    weights: Option<Arc<[f32]>>,
}

impl Rules {
    /// The rules of `config`, of a mixture one component.
    pub fn new(config: &MaskingConfig, tokens: &TokenTable<'_>) -> Result<Self> {
        let longest = config.longest_span().unwrap_or(1);
        Ok(Self {
            strategy: config.strategy,
            corruption: config.corruption_rate.clone(),
            prediction: config.prediction_rate.clone(),
            schedule_steps: config.schedule_steps.unwrap_or(1),
            budget: config.budget,
            cap: config.max_predictions,
            overshoot: config.overshoot,
            level: config.replacement_level,
            law: Law {
                mean: config.mean_span_length,
                count: config.span_count,
                roll: config.roll_spans,
            },
            words: match config.strategy {
                Strategy::Ngram => LengthLaw::reciprocal(longest),
                _ => LengthLaw::geometric(config.span_p, longest),
            },
            replacement: Replacement::new(config, tokens)?,
            whole_units: config.predict_whole_units,
            extra_same: config.extra_same,
            weights: tokens
                .weights
                .clone()
                .filter(|_| config.token_weights.is_some()),
        })
    }

    /// Whether it looks at `word_start` of a row.
    pub fn needs_words(&self) -> bool {
        self.strategy.is_of_words() || self.level == Level::Word && !self.replacement.only_masks()
    }

    /// Whether it looks at `unit_start` of a row.
    pub fn needs_units(&self) -> bool {
        self.strategy == Strategy::Pmi
    }

    /// Whether labels weigh 1/m_pred in the loss.
    pub fn is_weighted(&self) -> bool {
        self.prediction
            .as_ref()
            .unwrap_or(&self.corruption)
            .is_weighted()
            || self.corruption.is_weighted()
    }

    /// The rates of a row with this stamp; `draws` is asked where they are drawn.
    pub fn rates(&self, stamp: Stamp, draws: &mut Generator) -> Rates {
        let mut of = |rate: &Rate| match rate.at(stamp.step, self.schedule_steps) {
            Some(rate) => rate,
            None => rate.of_row(draws.unit(), stamp.place, stamp.rows),
        };
        let corruption = of(&self.corruption);
        let prediction = self.prediction.as_ref().map_or(corruption, of);
        Rates::new(corruption, prediction, self.budget, self.cap)
    }

    /// Whether anything asks where spans open.
    fn asks_for_spans(&self) -> bool {
        self.whole_units || self.level == Level::Unit && !self.replacement.only_masks()
    }

    /// Draws what each copy of `row` corrupts; `work` has begun the row.
    pub fn select(&self, row: &Row<'_>, key: Key, work: &mut Workspace) {
        let words = bits::words(row.len());
        let mut draws = Key { copy: 0, ..key }.generator(Purpose::Select);
        match self.strategy {
            Strategy::Uniform if self.weights.is_some() => {
                work.openings.clone_from(&work.maskable);
                self.select_units(row, words, &mut draws, work);
            }
            Strategy::Uniform => select_positions(words, &mut draws, work),
            Strategy::Word => {
                bits::openings(&work.maskable, row.word_start, &mut work.openings);
                self.select_units(row, words, &mut draws, work);
            }
            Strategy::Pmi => {
                bits::openings(&work.maskable, row.unit_start, &mut work.openings);
                self.select_units(row, words, &mut draws, work);
            }
            Strategy::Span => self.select_spans(words, &mut draws, work),
            Strategy::Geometric | Strategy::Ngram => {
                self.select_word_spans(row, words, &mut draws, work);
            }
        }
        if !self.replacement.only_masks() && self.level == Level::Word {
            bits::openings(&work.maskable, row.word_start, &mut work.word_openings);
        }
    }

    /// Selects of the units that open at `work.openings`.
    fn select_units(
        &self,
        row: &Row<'_>,
        words: usize,
        draws: &mut Generator,
        work: &mut Workspace,
    ) {
        work.units.read(&work.maskable, &work.openings);
        let rates = work.rates;
        let mut planes = Planes {
            bits: &mut work.selected,
            words,
        };
        let each = rates.rule == Budget::Bernoulli;
        if !each {
            rates.counts(work.count, draws, &mut work.counts);
        }
        if let Some(weights) = &self.weights {
            let counted = (&rates, &work.counts);
            work.weighted
                .fill(&work.units, (row.ids, weights), counted, draws, &mut planes);
        } else if each {
            work.units
                .fill_each(rates.corruption, rates.copies, draws, &mut planes);
        } else {
            work.units
                .fill(&work.counts.selected, self.overshoot, draws, &mut planes);
        }
    }

    fn select_spans(&self, words: usize, draws: &mut Generator, work: &mut Workspace) {
        bits::reset(&mut work.openings, words * work.rates.copies);
        work.rates.counts(work.count, draws, &mut work.counts);
        work.left.clone_from(&work.maskable);
        for (copy, &count) in work.counts.selected.iter().enumerate() {
            let range = copy * words..(copy + 1) * words;
            work.positions.clear();
            bits::append_ones(work.left.iter().copied(), &mut work.positions);
            let selected = &mut work.selected[range.clone()];
            let openings = &mut work.openings[range];
            work.spans
                .select(&work.positions, count, &self.law, draws, selected, openings);
            for (left, &taken) in work.left.iter_mut().zip(&*selected) {
                *left &= !taken;
            }
        }
    }

    fn select_word_spans(
        &self,
        row: &Row<'_>,
        words: usize,
        draws: &mut Generator,
        work: &mut Workspace,
    ) {
        bits::openings(&work.maskable, row.word_start, &mut work.left);
        work.units.read(&work.maskable, &work.left);
        bits::reset(&mut work.openings, words * work.rates.copies);
        work.rates.counts(work.count, draws, &mut work.counts);
        work.word_spans.fill(
            &work.units,
            &work.counts.selected,
            (&self.words, self.overshoot),
            draws,
            &mut Planes {
                bits: &mut work.selected,
                words,
            },
        );
        if self.asks_for_spans() {
            work.word_spans.open(
                &work.units,
                &work.selected,
                &mut Planes {
                    bits: &mut work.openings,
                    words,
                },
            );
        }
    }

    /// Replaces what copy `index` selected in `input`, the ids of the row, and leaves
    /// the positions that carry a label in `work.choice.labelled`.
    pub fn apply(
        &self,
        key: Key,
        index: usize,
        work: &mut Workspace,
        input: &mut [TokenId],
        realised: &mut Realised,
    ) {
        let words = work.maskable.len();
        let selected = &work.selected[index * words..][..words];
        let units = match self.strategy {
            Strategy::Uniform => None,
            Strategy::Word | Strategy::Pmi => Some(&work.openings[..words]),
            _ => Some(&work.openings[index * words..][..words]),
        };
        if self.replacement.only_masks() {
            self.replacement.mask_all(selected, input, realised);
        } else {
            let groups = match self.level {
                Level::Token => None,
                Level::Word => Some(&work.word_openings[..]),
                Level::Unit => units,
            };
            let mut draws = key.generator(Purpose::Replace);
            self.replacement
                .apply(selected, groups, &mut draws, input, realised);
        }
        let prediction = Prediction {
            rates: &work.rates,
            overshoot: self.overshoot,
            extra_same: self.extra_same,
        };
        let chosen = Selected {
            copy: index,
            maskable: &work.maskable,
            positions: selected,
            openings: units.filter(|_| self.whole_units),
            counts: &work.counts,
        };
        let mut draws = key.generator(Purpose::Predict);
        prediction.choose(chosen, &mut draws, &mut work.choice, realised);
    }
}

fn select_positions(words: usize, draws: &mut Generator, work: &mut Workspace) {
    let rates = work.rates;
    if rates.rule == Budget::Bernoulli && rates.copies == 1 {
        let from = work.maskable.iter().copied();
        uniform::each(from, rates.corruption, draws, &mut work.selected);
        return;
    }
    work.positions.clear();
    bits::append_ones(work.maskable.iter().copied(), &mut work.positions);
    if rates.rule == Budget::Bernoulli {
        for &position in &work.positions {
            let copy = uniform::copy_of(draws.unit(), rates.corruption, rates.copies);
            if let Some(copy) = copy {
                bits::set(&mut work.selected[copy * words..], position);
            }
        }
        return;
    }
    rates.counts(work.count, draws, &mut work.counts);
    uniform::select(
        &mut work.positions,
        &work.counts.selected,
        draws,
        words,
        &mut work.selected,
    );
}

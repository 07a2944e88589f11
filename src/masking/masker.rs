//! The whole way of one row: select once, then write each copy.

use super::bits;
use super::budget::{Counts, Rates};
use super::predict::{Choice, Prediction, Selected};
use super::replace::Replacement;
use super::spans::{Law, Spans};
use super::units::{Planes, Units};
use super::{Realised, Row, uniform};
use crate::base::error::Result;
use crate::base::generator::{Generator, Key, Purpose};
use crate::base::token::{SpecialTokens, TokenId};
use crate::config::{Budget, Level, MaskingConfig, Overshoot, Strategy};

/// The rules of masking, checked and ready; shared by all threads.
#[derive(Debug, Clone)]
pub struct Masker {
    strategy: Strategy,
    rates: Rates,
    overshoot: Overshoot,
    level: Level,
    law: Law,
    replacement: Replacement,
    whole_units: bool,
    prediction: Prediction,
}

/// Buffers of one thread, and what was selected in the row at hand. About 60 bytes
/// a position of the longest row.
#[derive(Debug, Clone, Default)]
pub struct Workspace {
    maskable: Vec<u64>,
    count: u32,
    counts: Counts,
    positions: Vec<u32>,
    /// One plane a copy.
    selected: Vec<u64>,
    /// Where groups open: one plane for all copies, or for spans one a copy.
    openings: Vec<u64>,
    /// Where words open, for replacement by words.
    word_openings: Vec<u64>,
    /// What spans of earlier copies have left.
    left: Vec<u64>,
    units: Units,
    spans: Spans,
    choice: Choice,
}

/// Where masked rows go: the layout that keeps tokens in place, with the labels as
/// positions and ids.
#[derive(Debug)]
pub struct InPlace<'a> {
    /// Ids after corruption.
    pub input: &'a mut Vec<TokenId>,
    /// Positions in `input` that carry a label, ascending.
    pub predicted: &'a mut Vec<u32>,
    /// The original id at each of them.
    pub labels: &'a mut Vec<TokenId>,
}

impl Masker {
    /// The rules of `config` for a tokenizer of `vocabulary` tokens. Refused: what
    /// [`MaskingConfig::check`] refuses, and a tokenizer without a mask token.
    pub fn new(config: &MaskingConfig, vocabulary: usize, special: &SpecialTokens) -> Result<Self> {
        config.check()?;
        Ok(Self {
            strategy: config.strategy,
            rates: Rates::of(config),
            overshoot: config.overshoot,
            level: config.replacement_level,
            law: Law {
                mean: config.mean_span_length,
                roll: config.roll_spans,
            },
            whole_units: config.predict_whole_units,
            prediction: Prediction::new(config, Rates::of(config)),
            replacement: Replacement::new(config, vocabulary, special)?,
        })
    }

    /// k: how often each row is emitted.
    pub fn copies(&self) -> u32 {
        self.rates.copies as u32
    }

    /// Whether it looks at `word_start` of a row; if not, that plane may say anything.
    pub fn needs_words(&self) -> bool {
        self.strategy == Strategy::Word
            || self.level == Level::Word && !self.replacement.only_masks()
    }

    /// Whether it looks at `unit_start` of a row.
    pub fn needs_units(&self) -> bool {
        self.strategy == Strategy::Pmi
    }

    /// Draws what each copy of `row` corrupts, and keeps it in `work` for
    /// [`Masker::write`].
    pub fn select(&self, row: &Row<'_>, key: Key, work: &mut Workspace) {
        let words = bits::words(row.len());
        work.begin(row, self.rates.copies);
        if work.count == 0 {
            return;
        }
        let mut draws = Key { copy: 0, ..key }.generator(Purpose::Select);
        match self.strategy {
            Strategy::Uniform => self.select_positions(words, &mut draws, work),
            Strategy::Word | Strategy::Pmi => self.select_units(row, words, &mut draws, work),
            Strategy::Span => self.select_spans(words, &mut draws, work),
        }
        if !self.replacement.only_masks() && self.level == Level::Word {
            bits::openings(&work.maskable, row.word_start, &mut work.word_openings);
        }
    }

    fn select_positions(&self, words: usize, draws: &mut Generator, work: &mut Workspace) {
        work.positions.clear();
        bits::append_ones(work.maskable.iter().copied(), &mut work.positions);
        if self.rates.rule == Budget::Bernoulli {
            for &position in &work.positions {
                let copy = uniform::copy_of(draws.unit(), self.rates.corruption, self.rates.copies);
                if let Some(copy) = copy {
                    bits::set(&mut work.selected[copy * words..], position);
                }
            }
            return;
        }
        self.rates.counts(work.count, draws, &mut work.counts);
        uniform::select(
            &mut work.positions,
            &work.counts.selected,
            draws,
            words,
            &mut work.selected,
        );
    }

    fn select_units(
        &self,
        row: &Row<'_>,
        words: usize,
        draws: &mut Generator,
        work: &mut Workspace,
    ) {
        let start = match self.strategy {
            Strategy::Pmi => row.unit_start,
            _ => row.word_start,
        };
        bits::openings(&work.maskable, start, &mut work.openings);
        work.units.read(&work.maskable, &work.openings);
        let mut planes = Planes {
            bits: &mut work.selected,
            words,
        };
        if self.rates.rule == Budget::Bernoulli {
            let Rates {
                corruption, copies, ..
            } = self.rates;
            work.units.fill_each(corruption, copies, draws, &mut planes);
        } else {
            self.rates.counts(work.count, draws, &mut work.counts);
            work.units
                .fill(&work.counts.selected, self.overshoot, draws, &mut planes);
        }
    }

    fn select_spans(&self, words: usize, draws: &mut Generator, work: &mut Workspace) {
        bits::reset(&mut work.openings, words * self.rates.copies);
        self.rates.counts(work.count, draws, &mut work.counts);
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

    /// Writes copy `copy` of the row that was selected in `work` last, with the same
    /// `row` and `key`: appends the corrupted ids, the positions that carry a label
    /// (as indices into `out.input`) and the labels.
    pub fn write(
        &self,
        row: &Row<'_>,
        key: Key,
        copy: u32,
        work: &mut Workspace,
        out: &mut InPlace<'_>,
    ) -> Realised {
        let base = out.input.len();
        out.input.extend_from_slice(row.ids);
        let mut realised = Realised {
            maskable: work.count.into(),
            ..Realised::default()
        };
        if work.count == 0 {
            return realised;
        }
        let words = work.maskable.len();
        let index = copy as usize;
        let key = Key { copy, ..key };
        let selected = &work.selected[index * words..][..words];
        let units = match self.strategy {
            Strategy::Uniform => None,
            Strategy::Word | Strategy::Pmi => Some(&work.openings[..words]),
            Strategy::Span => Some(&work.openings[index * words..][..words]),
        };

        if self.replacement.only_masks() {
            self.replacement
                .mask_all(selected, &mut out.input[base..], &mut realised);
        } else {
            let groups = match self.level {
                Level::Token => None,
                Level::Word => Some(&work.word_openings[..]),
                Level::Unit => units,
            };
            let mut draws = key.generator(Purpose::Replace);
            let input = &mut out.input[base..];
            self.replacement
                .apply(selected, groups, &mut draws, input, &mut realised);
        }

        let chosen = Selected {
            copy: index,
            maskable: &work.maskable,
            positions: selected,
            openings: units.filter(|_| self.whole_units),
            counts: &work.counts,
        };
        let mut draws = key.generator(Purpose::Predict);
        self.prediction
            .choose(chosen, &mut draws, &mut work.choice, &mut realised);

        let first = out.predicted.len();
        bits::append_ones(work.choice.labelled.iter().copied(), out.predicted);
        for position in &mut out.predicted[first..] {
            out.labels.push(row.ids[*position as usize]);
            *position += base as u32;
        }
        realised
    }
}

impl Workspace {
    /// Buffers that have not grown yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn begin(&mut self, row: &Row<'_>, copies: usize) {
        let words = bits::words(row.len());
        assert!(
            [row.protected, row.word_start, row.unit_start]
                .iter()
                .all(|plane| plane.len() == row.len()),
            "every plane of a row has one bit a token"
        );
        self.maskable.clear();
        self.maskable.extend((0..words).map(|index| {
            let len = (row.len() - 64 * index).min(64);
            !row.protected.word(index) & u64::MAX >> (64 - len)
        }));
        self.count = bits::count(&self.maskable);
        bits::reset(&mut self.selected, words * copies);
    }
}

//! Draws the masks of the rows shown, with the engine that training uses.

use super::request::{Request, Way};
use super::{ShownCopy, ShownMask, ShownRow, ShownTotal};
use crate::base::boundaries::BoundarySlice;
use crate::base::error::Result;
use crate::base::generator::Key;
use crate::base::token::TokenId;
use crate::batches::cut::RowBuffer;
use crate::config::{Layout, MaskingConfig, Rate};
use crate::masking::{Drawn, MaskedRow, Masker, Realised, Row, Stamp, Workspace};
use crate::pipeline::masks;
use crate::tokenizer::Tokenizer;

/// Masks rows in every way at every rate.
pub struct Shower<'a> {
    request: &'a Request,
    tokenizer: &'a Tokenizer,
    masks: Vec<Mask<'a>>,
}

/// One way at one rate, ready.
struct Mask<'a> {
    way: &'a Way,
    config: MaskingConfig,
    masker: Masker,
}

impl<'a> Shower<'a> {
    /// Makes the masks of `request` ready; `counts` of each token id, for unigram
    /// replacements.
    pub fn new(
        request: &'a Request,
        ways: &'a [Way],
        tokenizer: &'a Tokenizer,
        counts: Option<&[u64]>,
    ) -> Result<Self> {
        let masks = request
            .configurations(ways)
            .into_iter()
            .map(|(way, config)| {
                let counts = counts.filter(|_| masks::needs_counts(&config));
                let masker = masks::masker(&config, tokenizer, counts)?;
                Ok(Mask {
                    way,
                    config,
                    masker,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            request,
            tokenizer,
            masks,
        })
    }

    /// Masks `rows`, which stand for those of one optimiser step, and sums up what was
    /// realised.
    pub fn show(&self, rows: &[(u64, RowBuffer)], units: bool) -> (Vec<ShownRow>, Vec<ShownTotal>) {
        let count = rows.len() as u32;
        let shown: Vec<ShownRow> = (0..)
            .zip(rows)
            .map(|(place, (number, buffer))| {
                let stamp = Stamp {
                    step: self.request.step,
                    place,
                    rows: count,
                };
                self.show_row(*number, &buffer.row(), stamp, units)
            })
            .collect();
        let totals = (0..self.masks.len())
            .map(|index| total(&shown, index))
            .collect();
        (shown, totals)
    }

    fn show_row(&self, number: u64, row: &Row<'_>, stamp: Stamp, units: bool) -> ShownRow {
        let mut work = Workspace::new();
        ShownRow {
            row: number,
            ids: row.ids.to_vec(),
            tokens: self.texts(row.ids),
            protected: places(row.protected),
            word_start: places(row.word_start),
            unit_start: if units {
                places(row.unit_start)
            } else {
                Vec::new()
            },
            mask: self.tokenizer.special().mask,
            masks: self
                .masks
                .iter()
                .map(|mask| self.show_mask(mask, number, row, stamp, &mut work))
                .collect(),
        }
    }

    fn show_mask(
        &self,
        mask: &Mask<'_>,
        number: u64,
        row: &Row<'_>,
        stamp: Stamp,
        work: &mut Workspace,
    ) -> ShownMask {
        let key = Key {
            seed: self.request.seed,
            epoch: self.request.epoch,
            sample: number,
            copy: 0,
        };
        let drawn: Drawn = mask.masker.select(row, key, stamp, work);
        let config = &mask.config;
        let component = config.mixture.get(drawn.component);
        let one = component.map_or(config, |component| &component.masking);
        ShownMask {
            way: mask.way.name.clone(),
            preset: config.preset,
            strategy: one.strategy,
            component: component.map(|_| drawn.component),
            layout: config.layout,
            corruption_law: one.corruption_rate.clone(),
            prediction_law: one.prediction().clone(),
            corruption_rate: drawn.corruption_rate,
            prediction_rate: drawn.prediction_rate,
            weight: drawn.weight,
            copies: (0..drawn.copies)
                .map(|copy| self.show_copy(&mask.masker, key, copy, row, work))
                .collect(),
        }
    }

    fn show_copy(
        &self,
        masker: &Masker,
        key: Key,
        copy: u32,
        row: &Row<'_>,
        work: &mut Workspace,
    ) -> ShownCopy {
        let mut masked = MaskedRow::default();
        let realised = masker.write(row, key, copy, work, &mut masked.output());
        let with_places = masker.layout() != Layout::InPlace;
        let with_target = masker.layout() == Layout::Sentinel;
        ShownCopy {
            key: Key { copy, ..key },
            input_tokens: self.texts(&masked.input),
            input: masked.input,
            places: with_places.then_some(masked.places),
            target_tokens: with_target.then(|| self.texts(&masked.target)),
            target: with_target.then_some(masked.target),
            predicted: masked.predicted,
            labels: masked.labels,
            realised,
        }
    }

    fn texts(&self, ids: &[TokenId]) -> Vec<String> {
        ids.iter().map(|&id| self.tokenizer.surface(id)).collect()
    }
}

fn places(plane: BoundarySlice<'_>) -> Vec<u32> {
    (0u32..)
        .zip(plane.iter())
        .filter_map(|(place, bit)| bit.then_some(place))
        .collect()
}

/// What mask `index` of every row realised.
fn total(rows: &[ShownRow], index: usize) -> ShownTotal {
    let first = &rows[0].masks[index];
    let law = |law: &Rate| first.component.is_none().then(|| law.clone());
    let mut total = ShownTotal {
        way: first.way.clone(),
        corruption_law: law(&first.corruption_law),
        prediction_law: law(&first.prediction_law),
        corruption_rate: 0.0,
        prediction_rate: 0.0,
        copies: 0,
        maskable: 0,
        realised: Realised::default(),
    };
    for row in rows {
        let (mask, maskable) = (&row.masks[index], row.maskable() as u64);
        total.corruption_rate += mask.corruption_rate * maskable as f64;
        total.prediction_rate += mask.prediction_rate * maskable as f64;
        total.copies += mask.copies.len() as u64;
        total.maskable += maskable;
        for copy in &mask.copies {
            total.realised.add(&copy.realised);
        }
    }
    total.corruption_rate /= total.maskable.max(1) as f64;
    total.prediction_rate /= total.maskable.max(1) as f64;
    total
}

//! A model on rows masked in one way: adds up what it makes of their labels, row by row,
//! and says what came of it.

use super::labels::{FARTHEST, FREQUENCIES, LONGEST, Label, Unit};
use super::report::{Bin, ConfidenceBin, HiddenWhole, Masked, Profile, measure};
use super::sums::Sums;
use super::{Example, Examples, Spread, spread};
use crate::config::Strategy;
use crate::training::Prediction;

/// Bins of confidence, equally wide.
const CONFIDENCES: usize = 10;
/// Words of the shortest n-gram, and how many lengths there are.
const NGRAMS: (usize, usize) = (2, LONGEST - 1);

/// N-grams of one length in one row.
#[derive(Debug, Clone, Copy, Default)]
struct Ngrams {
    all: u32,
    hidden: u32,
    /// Σ m^t over their tokens t.
    chance: f64,
}

/// Sums over rows masked by one strategy at one rate.
pub struct MaskedSums {
    strategy: Strategy,
    rate: f64,
    rows: usize,
    all: Sums,
    by_unit: Sums,
    by_word: Sums,
    by_frequency: Sums,
    by_distance: Sums,
    by_confidence: Sums,
    /// By row, then by length.
    ngrams: Vec<[Ngrams; NGRAMS.1]>,
}

impl MaskedSums {
    /// Nothing so far.
    pub fn new(strategy: Strategy, rate: f64) -> Self {
        Self {
            strategy,
            rate,
            rows: 0,
            all: Sums::new(1),
            by_unit: Sums::new(LONGEST),
            by_word: Sums::new(LONGEST),
            by_frequency: Sums::new(FREQUENCIES),
            by_distance: Sums::new(FARTHEST),
            by_confidence: Sums::new(CONFIDENCES),
            ngrams: Vec::new(),
        }
    }

    /// Begins a row with these masking `units`, whose tokens at `hidden` (ascending) are
    /// masked. Gives its number.
    pub fn begin_row(&mut self, units: &[Unit], hidden: &[usize]) -> usize {
        for sums in [
            &mut self.all,
            &mut self.by_unit,
            &mut self.by_word,
            &mut self.by_frequency,
            &mut self.by_distance,
            &mut self.by_confidence,
        ] {
            sums.begin_row();
        }
        let mut ngrams = [Ngrams::default(); NGRAMS.1];
        for unit in units {
            let length = unit.words.checked_sub(NGRAMS.0);
            let Some(of_length) = length.and_then(|length| ngrams.get_mut(length)) else {
                continue;
            };
            let below = |bound| hidden.partition_point(|&place| place < bound);
            let masked = below(unit.tokens.end) - below(unit.tokens.start);
            of_length.all += 1;
            of_length.hidden += u32::from(masked == unit.tokens.len());
            of_length.chance += self.rate.powi(unit.tokens.len() as i32);
        }
        self.ngrams.push(ngrams);
        self.rows += 1;
        self.rows - 1
    }

    /// Adds what the model makes of a label of row `row`.
    pub fn add(&mut self, row: usize, label: Label, prediction: &Prediction) {
        let confidence = (f64::from(prediction.confidence) * CONFIDENCES as f64) as usize;
        for (sums, bin) in [
            (&mut self.all, 0),
            (&mut self.by_unit, label.unit.into()),
            (&mut self.by_word, label.word.into()),
            (&mut self.by_frequency, label.frequency.into()),
            (&mut self.by_distance, label.distance.into()),
            (&mut self.by_confidence, confidence.min(CONFIDENCES - 1)),
        ] {
            sums.add(row, bin, prediction);
        }
    }

    /// Enters loss and accuracy of every row.
    pub fn enter(&self, examples: &mut Examples) {
        for (name, all) in [
            ("loss", self.all.losses(0)),
            ("accuracy", self.all.accuracies(0)),
        ] {
            let name = measure(name, self.strategy, self.rate);
            all.into_iter().for_each(|one| examples.push(&name, one));
        }
    }

    /// What came of it, `maskable` tokens having been there to be masked; none without
    /// labels. `has_units` says whether units are more than words, `profile` whether to
    /// tell what masks left to go by.
    pub fn report(
        &self,
        maskable: u64,
        has_units: bool,
        profile: bool,
        seed: u64,
    ) -> Option<Masked> {
        let loss = self.all.loss(0, seed)?;
        let lengths = |bin| {
            (
                bin as u64 + 1,
                (bin + 1 < LONGEST).then_some(bin as u64 + 1),
            )
        };
        let ranks = |bin| match bin {
            0 => (0, Some(0)),
            _ => {
                let decade = 10u64.pow(bin as u32 - 1);
                let from = if bin == 1 { 1 } else { decade + 1 };
                (from, (bin + 1 < FREQUENCIES).then_some(10 * decade))
            }
        };
        let by_unit_words = match has_units {
            true => bins(&self.by_unit, lengths, seed),
            false => Vec::new(),
        };
        let labels = self.all.labels(0);
        Some(Masked {
            strategy: self.strategy,
            rate: self.rate,
            realised: labels as f64 / maskable.max(1) as f64,
            labels,
            loss,
            perplexity: exponential(loss),
            accuracy: self.all.accuracy(0, seed)?,
            by_unit_words,
            by_word_tokens: bins(&self.by_word, lengths, seed),
            by_frequency_rank: bins(&self.by_frequency, ranks, seed),
            profile: profile.then(|| self.profile(has_units, seed)),
        })
    }

    fn profile(&self, has_units: bool, seed: u64) -> Profile {
        let distances = |bin| {
            (
                bin as u64 + 1,
                (bin + 1 < FARTHEST).then_some(bin as u64 + 1),
            )
        };
        let by_confidence: Vec<ConfidenceBin> = (0..CONFIDENCES)
            .filter_map(|bin| {
                Some(ConfidenceBin {
                    from: bin as f64 / CONFIDENCES as f64,
                    to: (bin + 1) as f64 / CONFIDENCES as f64,
                    labels: self.by_confidence.labels(bin),
                    confidence: self.by_confidence.confidence(bin, seed)?,
                    accuracy: self.by_confidence.accuracy(bin, seed)?,
                })
            })
            .collect();
        let apart = by_confidence.iter().map(|bin| {
            let difference = (bin.accuracy.mean - bin.confidence.mean).abs();
            bin.labels as f64 * difference
        });
        let lengths = (0..NGRAMS.1).filter(|_| has_units);
        Profile {
            hidden_whole: lengths
                .filter_map(|length| self.hidden(length, seed))
                .collect(),
            by_distance: bins(&self.by_distance, distances, seed),
            calibration_error: apart.sum::<f64>() / self.all.labels(0).max(1) as f64,
            by_confidence,
        }
    }

    fn hidden(&self, length: usize, seed: u64) -> Option<HiddenWhole> {
        let rows = || self.ngrams.iter().map(|row| row[length]);
        let examples: Vec<Example> = rows()
            .map(|row| Example {
                value: (f64::from(row.hidden) / f64::from(row.all.max(1))) as f32,
                weight: row.all as f32,
            })
            .collect();
        let all: u64 = rows().map(|row| u64::from(row.all)).sum();
        let words = NGRAMS.0 + length;
        Some(HiddenWhole {
            words: words as u64,
            ngrams: all,
            counted: spread(&[&examples], seed)?,
            by_words: self.rate.powi(words as i32),
            by_tokens: rows().map(|row| row.chance).sum::<f64>() / all.max(1) as f64,
        })
    }
}

/// The bins that have labels, by what `bounds` says they hold.
fn bins(sums: &Sums, bounds: impl Fn(usize) -> (u64, Option<u64>), seed: u64) -> Vec<Bin> {
    let found = (0..sums.bins()).filter_map(|bin| {
        let (from, to) = bounds(bin);
        Some(Bin {
            from,
            to,
            labels: sums.labels(bin),
            loss: sums.loss(bin, seed)?,
            accuracy: sums.accuracy(bin, seed)?,
        })
    });
    found.collect()
}

fn exponential(loss: Spread) -> Spread {
    Spread {
        mean: loss.mean.exp(),
        low: loss.low.exp(),
        high: loss.high.exp(),
        ..loss
    }
}

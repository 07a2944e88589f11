//! Held-out rows, masked in one way after the other. They are the rows that a run's own
//! validation takes, with its masks where rate and seed are the same.

use super::subject::Subject;
use crate::base::error::{Error, Result};
use crate::base::generator::Key;
use crate::batches::masks::BatchMasker;
use crate::batches::{Corpus, HeldOut, Split, unigram};
use crate::columnar::Projection;
use crate::config::train::ValidationConfig;
use crate::config::{EvaluateConfig, MaskingConfig, RowsConfig, Strategy};
use crate::evaluation::labels::{Label, ReadRow, frequencies};
use crate::evaluation::masked::MaskedSums;
use crate::evaluation::report::EvaluatedRows;
use crate::masking::{Masker, Stamp, TokenTable};
use crate::shard::ShardSet;
use crate::training::{Model, Predictor};

/// Tokens of a row where neither the keys nor a run says.
const LENGTH: u32 = 128;

/// Rows held out, ready to be masked.
pub struct Rows<'a> {
    config: &'a EvaluateConfig,
    corpus: Corpus,
    rows: RowsConfig,
    split: Split,
    /// Bins of frequency by token id, in the rows that are not held out.
    frequencies: Vec<u8>,
}

impl<'a> Rows<'a> {
    /// The rows of `set` that `config` asks for, cut and held out as in the training of
    /// `subject` where it does not say otherwise.
    pub fn open(
        config: &'a EvaluateConfig,
        subject: &Subject,
        model: &Model,
        set: ShardSet,
    ) -> Result<Self> {
        let positions = model.shape.positions;
        let train = subject.config();
        let length = train.map_or(LENGTH.min(positions), |train| train.rows.length);
        let layout = train.map(|train| train.rows.layout).unwrap_or_default();
        let rows = RowsConfig {
            layout: config.layout.unwrap_or(layout),
            length: config.length.unwrap_or(length),
        };
        if rows.length > positions {
            return Err(Error::usage(
                "evaluate.length",
                format!("{} with {positions} positions in the model", rows.length),
                "rows no longer than the model's positions",
                "shorten the rows",
            ));
        }
        let validation = train.map(|train| train.validation.clone());
        let validation = validation.unwrap_or_default();
        let validation = ValidationConfig {
            share: config.share.unwrap_or(validation.share),
            ..validation
        };
        let corpus = Corpus::open(set, &rows)?;
        let split = corpus.split(&validation)?;
        let counts = unigram(&corpus, split)?.counts;
        Ok(Self {
            config,
            corpus,
            rows,
            split,
            frequencies: frequencies(&counts),
        })
    }

    /// Whether masking units are more than words.
    pub fn has_units(&self) -> bool {
        self.corpus.shards().has_units()
    }

    /// How many are masked.
    pub fn count(&self) -> u64 {
        self.split.held_out.min(self.config.max_rows)
    }

    /// What they are.
    pub fn report(&self) -> EvaluatedRows {
        EvaluatedRows {
            layout: self.rows.layout,
            length: self.rows.length,
            held_out: self.split.held_out,
            evaluated: self.count(),
        }
    }

    /// What `predictor` makes of them under masks of `strategy` at `rate`, and how many tokens
    /// could have been masked. `passed` hears of the rows of each pass.
    ///
    /// # Errors
    /// Strategy pmi with shards that have no units.
    pub fn masked(
        &self,
        predictor: &Predictor,
        strategy: Strategy,
        rate: f64,
        mut passed: impl FnMut(u64) -> Result<()>,
    ) -> Result<(MaskedSums, u64)> {
        let masking = MaskingConfig {
            strategy,
            corruption_rate: rate.into(),
            layout: predictor.model().shape.layout(),
            ..MaskingConfig::default()
        };
        let special = self.corpus.shards().special_tokens()?;
        let tokens = TokenTable::new(self.corpus.vocabulary(), special);
        let mut masks = BatchMasker::new(&self.corpus, Masker::new(&masking, &tokens)?)?;
        let projection = Projection {
            tokens: true,
            word_start: true,
            span_start: self.has_units(),
        };
        let mut rows = HeldOut::new(&self.corpus, self.split, self.config.max_rows, projection);
        let mut sums = MaskedSums::new(strategy, rate);
        let mut read = ReadRow::default();
        let batch_rows = self.config.batch_size as usize;
        let mut batch = masks.begin(batch_rows);
        let mut labels: Vec<(usize, Label)> = Vec::new();
        let mut maskable = 0;
        loop {
            let more = match rows.next_row()? {
                None => false,
                Some((row, buffer)) => {
                    let key = Key {
                        seed: self.config.mask_seed,
                        sample: row,
                        ..Key::default()
                    };
                    let first = batch.labels.len();
                    let base = batch.rows * batch.row_length;
                    masks.push(buffer, key, Stamp::default(), &mut batch);
                    let predicted = &batch.predicted[first..];
                    let hidden: Vec<usize> = (predicted.iter())
                        .map(|&position| position as usize - base)
                        .collect();
                    read.read(&buffer.row());
                    read.hide(&hidden, buffer.ends());
                    let number = sums.begin_row(&read.units, &hidden);
                    let ids = hidden.iter().zip(&batch.labels[first..]);
                    labels.extend(
                        ids.map(|(&place, &id)| (number, read.label(place, id, &self.frequencies))),
                    );
                    true
                }
            };
            if batch.rows == batch_rows || !more && batch.rows > 0 {
                masks.finish(&mut batch);
                for ((row, label), prediction) in
                    labels.drain(..).zip(&predictor.predictions(&batch)?)
                {
                    sums.add(row, label, prediction);
                }
                maskable += batch.realised.maskable;
                passed(batch.rows as u64)?;
                masks.restart(&mut batch);
            }
            if !more {
                return Ok((sums, maskable));
            }
        }
    }
}

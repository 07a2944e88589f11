//! Masked batches for a training elsewhere: an epoch of one corpus or several, shared between
//! processes and the workers of each ([`Share`]).
//!
//! Cost: a thread for each stream, which decodes all windows of the epoch and masks its own
//! rows.

use super::columns::{Columns, LabelForm};
use super::corpus::Corpus;
use super::cursor::Cursor;
use super::masks::BatchMasker;
use super::mixture::Mixture;
use super::stream::Stream;
use super::{Batch, Position, Share};
use crate::base::error::{Error, Result};
use crate::base::generator::Key;
use crate::config::RowLayout;
use crate::masking::{Masker, Stamp};
use std::sync::Arc;

/// Rows of source s have the sample ids from s · 2⁴⁸ on.
const SOURCE: u32 = 48;

/// What is read, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draws {
    /// Seed of order and masks.
    pub seed: u64,
    /// Tokens of a source whose rows are permuted together.
    pub window_tokens: u64,
}

/// Rows of one corpus or several, masked.
pub struct Loader {
    /// Each with the number of rows that are read, its first ones.
    sources: Vec<(Arc<Corpus>, u64)>,
    mixture: Mixture,
    masker: Masker,
    draws: Draws,
}

impl Loader {
    /// The first so many rows of each of `sources`, as `mixture` says, with the masks of
    /// `masker`. Refuses masks of units where shards have none, and sources whose rows differ
    /// in length, layout or tokenizer.
    pub fn new(
        sources: Vec<(Arc<Corpus>, u64)>,
        mixture: Mixture,
        masker: Masker,
        draws: Draws,
    ) -> Result<Self> {
        for (corpus, _) in &sources {
            if masker.needs_units() {
                corpus.check_units()?;
            }
            check_alike(&sources[0].0, corpus)?;
        }
        Ok(Self {
            sources,
            mixture,
            masker,
            draws,
        })
    }

    /// Rows of an epoch, before copies.
    pub fn rows(&self) -> u64 {
        self.mixture.rows()
    }

    /// How documents become rows.
    pub fn row_layout(&self) -> RowLayout {
        self.sources[0].0.frame().layout
    }

    /// Reads what `share` is of the epoch of `position` from its row on, this worker's first
    /// step at or behind `step`; a step is counted from `position`.
    pub fn read(&self, share: Share, position: Position, step: u64) -> Result<Steps> {
        share.check()?;
        let (first, _) = &self.sources[0];
        let masks = BatchMasker::new(first, self.masker.clone())?;
        let draws = (self.draws.seed, self.draws.window_tokens);
        let cursors = self.sources.iter().map(|(corpus, rows)| {
            let corpus = Arc::clone(corpus);
            Cursor::new(corpus, masks.projection(), draws, *rows)
        });
        Ok(Steps {
            cursors: cursors.collect(),
            masks,
            mixture: self.mixture.clone(),
            seed: self.draws.seed,
            share,
            position,
            step: share.own_step(step),
        })
    }

    /// As [`Loader::read`], in columns, on a thread of its own.
    pub fn start(
        &self,
        share: Share,
        position: Position,
        step: u64,
        form: LabelForm,
    ) -> Result<Stream<Columns>> {
        let mut steps = self.read(share, position, step)?;
        let rows = self.row_layout();
        Stream::start(move || {
            let batch = steps.next()?;
            Some(batch.map(|batch| Columns::new(&batch, rows, form)))
        })
    }
}

/// One worker's batches of an epoch.
pub struct Steps {
    cursors: Vec<Cursor>,
    masks: BatchMasker,
    mixture: Mixture,
    seed: u64,
    share: Share,
    /// What steps are counted from.
    position: Position,
    /// The next one.
    step: u64,
}

impl Steps {
    fn batch(&mut self, step: u64) -> Result<Batch> {
        let Position { epoch, row: from } = self.position;
        let rows = self.mixture.rows();
        let step_rows = self.share.step_rows();
        let own = self.share.rows(from, rows, step);
        let start = from + step * step_rows;
        // Steps of the epochs before, and those behind in this one, whoever read them.
        let stamp = Stamp {
            step: epoch * self.share.steps(rows) + start / step_rows,
            place: (own.start - start) as u32,
            rows: step_rows as u32,
        };
        let mut batch = self.masks.begin((own.end - own.start) as usize);
        batch.step = stamp.step;
        for (due, place) in self.mixture.rows_of(epoch, own).zip(stamp.place..) {
            let (row, buffer) = self.cursors[due.source].read(due.position)?;
            let key = Key {
                seed: self.seed,
                epoch: due.position.epoch,
                sample: (due.source as u64) << SOURCE | row,
                copy: 0,
            };
            let stamp = Stamp { place, ..stamp };
            self.masks.push(buffer, key, stamp, &mut batch);
        }
        self.masks.finish(&mut batch);
        batch.after = Position {
            epoch,
            row: rows.min(start + step_rows),
        };
        Ok(batch)
    }
}

impl Iterator for Steps {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        let left = self.mixture.rows().saturating_sub(self.position.row);
        let step = self.step;
        if step >= self.share.steps(left) {
            return None;
        }
        self.step = self.share.own_step(step + 1);
        Some(self.batch(step))
    }
}

/// Refuses sources whose rows cannot stand in one batch.
fn check_alike(first: &Corpus, other: &Corpus) -> Result<()> {
    let of = |corpus: &Corpus| {
        let record = corpus.shards().tokenizer()?;
        Ok((record.fingerprint.clone(), record.vocabulary_size))
    };
    let (expected, found): ((String, u64), (String, u64)) = (of(first)?, of(other)?);
    if expected == found {
        return Ok(());
    }
    Err(Error::mismatch(
        other.shards().artefact().path.display().to_string(),
        format!("ids of a tokenizer with fingerprint {}", found.0),
        format!(
            "fingerprint {}, of the tokenizer behind {}",
            expected.0,
            first.shards().artefact().path.display()
        ),
        "tokenise all sources with the same tokenizer",
    ))
}

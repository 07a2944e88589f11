//! Rows of an epoch shared between the processes of a training, and between the workers of
//! each: for loaders that train elsewhere.
//!
//! A step of the training takes `ranks × batch_rows` rows of the epoch's order, whoever
//! reads them: rank r the r-th share of each step, worker w of a rank every `workers`-th
//! step, beginning with step w. So the rows of a step are the same for any number of
//! workers, their union is the same for any number of ranks, and where a training stands is
//! one number, the rows of the epoch that are behind it.
//!
//! Cost: a [`Reader`] for each worker, which decodes all windows of the epoch and masks
//! its own rows.

use super::corpus::Corpus;
use super::reader::{Order, Reader};
use super::stream::Stream;
use super::{Batch, Position};
use crate::base::error::{Error, Result};
use crate::masking::Masker;
use std::ops::Range;
use std::sync::Arc;

/// One process of a training, and one worker of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Rows of a batch, before copies.
    pub batch_rows: u64,
    /// This process.
    pub rank: u64,
    /// Processes that train together.
    pub ranks: u64,
    /// This worker of the process.
    pub worker: u64,
    /// Workers of each process.
    pub workers: u64,
    /// Rows at the end of an epoch that fill no step are left out; otherwise the ranks
    /// share them, if there is one for each.
    pub drop_last: bool,
}

impl Share {
    /// Refuses what is no share.
    pub fn check(&self) -> Result<()> {
        let refuse = |key: &str, found: String, expected: String| {
            Err(Error::usage(
                key,
                found,
                expected,
                "number ranks and workers from 0",
            ))
        };
        if self.batch_rows == 0 {
            return refuse("batch_size", "0".into(), "at least one row".into());
        }
        if self.rank >= self.ranks {
            let below = format!("a rank below {}", self.ranks);
            return refuse("rank", self.rank.to_string(), below);
        }
        if self.worker >= self.workers {
            let below = format!("a worker below {}", self.workers);
            return refuse("worker", self.worker.to_string(), below);
        }
        Ok(())
    }

    /// Rows of a step, all ranks together.
    pub fn step_rows(&self) -> u64 {
        self.batch_rows * self.ranks
    }

    /// Steps that `rows` rows are enough for.
    pub fn steps(&self, rows: u64) -> u64 {
        let rest = rows % self.step_rows();
        rows / self.step_rows() + u64::from(!self.drop_last && rest >= self.ranks)
    }

    /// The rows of step `step` that are this rank's, of an epoch of `rows` rows whose
    /// first `from` were read before.
    pub fn rows(&self, from: u64, rows: u64, step: u64) -> Range<u64> {
        let start = from + step * self.step_rows();
        let here = self.step_rows().min(rows.saturating_sub(start));
        let part = |rank: u64| start + here * rank / self.ranks;
        part(self.rank)..part(self.rank + 1)
    }
}

/// The rows of a corpus, masked, for a training elsewhere.
pub struct Loader {
    corpus: Arc<Corpus>,
    masker: Masker,
    seed: u64,
    window_tokens: u64,
    /// Rows of the corpus that are read, the first ones.
    training: u64,
}

impl Loader {
    /// The first `training` rows of `corpus` with the masks of `masker`. `seed` is that of
    /// order and masks. Refuses masks of units where the shards have none.
    pub fn new(
        corpus: Arc<Corpus>,
        masker: Masker,
        (seed, window_tokens): (u64, u64),
        training: u64,
    ) -> Result<Self> {
        if masker.needs_units() {
            corpus.check_units()?;
        }
        Ok(Self {
            corpus,
            masker,
            seed,
            window_tokens,
            training,
        })
    }

    /// Rows of an epoch, before copies.
    pub fn rows(&self) -> u64 {
        self.training
    }

    /// Starts to read what `share` is of the epoch of `position` from its row on, this
    /// worker's first step at or behind `step`; a step is counted from `position`.
    pub fn start(&self, share: Share, position: Position, step: u64) -> Result<Stream> {
        share.check()?;
        let order = Order {
            seed: self.seed,
            batch_rows: share.batch_rows as usize,
            step_rows: u32::try_from(share.step_rows()).unwrap_or(u32::MAX),
            training: self.training,
            window_tokens: self.window_tokens,
        };
        let (corpus, masker) = (Arc::clone(&self.corpus), self.masker.clone());
        let mut reader = Reader::new(corpus, masker, order, position)?;
        let rows = self.training;
        let steps = share.steps(rows.saturating_sub(position.row));
        let ahead = (share.worker + share.workers - step % share.workers) % share.workers;
        let mut step = step + ahead;
        Stream::start(move || {
            if step >= steps {
                return None;
            }
            let own = share.rows(position.row, rows, step);
            step += share.workers;
            let at = Position {
                row: own.start,
                ..position
            };
            Some(
                reader
                    .read_at(at, (own.end - own.start) as usize)
                    .map(|batch| Batch {
                        after: Position {
                            row: position.row + (step - share.workers + 1) * share.step_rows(),
                            ..position
                        },
                        ..batch
                    }),
            )
        })
    }
}

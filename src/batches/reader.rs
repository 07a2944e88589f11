//! Rows in the order of their epochs, masked, in batches: the work that
//! [`super::stream`] puts on a thread of its own. Runs over the ends of epochs.
//!
//! Memory: that of a [`Cursor`], besides the batches it hands out.

use super::corpus::Corpus;
use super::cursor::Cursor;
use super::masks::BatchMasker;
use super::{Batch, Position};
use crate::base::error::Result;
use crate::base::generator::Key;
use crate::masking::{Masker, Stamp};
use std::sync::Arc;

/// Tokens whose rows are permuted together, unless said otherwise.
pub const WINDOW_TOKENS: u64 = 4 << 20;

/// What is read, and in which order.
#[derive(Debug, Clone)]
pub struct Order {
    /// Seed of order and masks.
    pub seed: u64,
    /// Rows of a batch, before copies.
    pub batch_rows: usize,
    /// Rows of an optimiser step, before copies: rates that move by step, and those
    /// drawn over the rows of a step, go by it.
    pub step_rows: u32,
    /// Only the first so many rows of the corpus are read.
    pub training: u64,
    /// Tokens whose rows are permuted together; [`WINDOW_TOKENS`] as a rule.
    pub window_tokens: u64,
}

/// Reads batches, one after the other.
pub struct Reader {
    order: Order,
    masks: BatchMasker,
    position: Position,
    cursor: Cursor,
}

impl Reader {
    /// A reader of `corpus` that goes on at `position`. Refuses PMI units of shards
    /// that have none.
    pub fn new(
        corpus: Arc<Corpus>,
        masker: Masker,
        order: Order,
        position: Position,
    ) -> Result<Self> {
        let masks = BatchMasker::new(&corpus, masker)?;
        let draws = (order.seed, order.window_tokens);
        let cursor = Cursor::new(corpus, masks.projection(), draws, order.training);
        Ok(Self {
            order,
            masks,
            position,
            cursor,
        })
    }

    /// The next batch.
    pub fn read(&mut self) -> Result<Batch> {
        let mut batch = self.masks.begin(self.order.batch_rows);
        batch.step = self.stamp().step;
        for _ in 0..self.order.batch_rows {
            let stamp = self.stamp();
            let (sample, row) = self.cursor.read(self.position)?;
            let key = Key {
                seed: self.order.seed,
                epoch: self.position.epoch,
                sample,
                copy: 0,
            };
            self.masks.push(row, key, stamp, &mut batch);
            self.advance();
        }
        self.masks.finish(&mut batch);
        batch.after = self.position;
        Ok(batch)
    }

    /// Where the row at the position stands in the training.
    fn stamp(&self) -> Stamp {
        let rows = u64::from(self.order.step_rows.max(1));
        let read = self.position.epoch * self.cursor.rows() + self.position.row;
        Stamp {
            step: read / rows,
            place: (read % rows) as u32,
            rows: rows as u32,
        }
    }

    fn advance(&mut self) {
        self.position.row += 1;
        if self.position.row >= self.cursor.rows() {
            self.position = Position {
                epoch: self.position.epoch + 1,
                row: 0,
            };
        }
    }
}

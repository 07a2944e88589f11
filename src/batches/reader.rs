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
    /// What fills a step instead, where it has no fixed number of rows.
    pub fill: Option<Fill>,
    /// Only the first so many rows of the corpus are read.
    pub training: u64,
    /// Tokens whose rows are permuted together; [`WINDOW_TOKENS`] as a rule.
    pub window_tokens: u64,
}

/// Steps that end with the row that fills them. Which rows a step has depends on neither
/// its passes nor how often the reader was stopped between steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// A step is full when it has so many tokens or rows.
    pub target: u64,
    /// Whether tokens are counted, without padding, or rows.
    pub tokens: bool,
    /// Whether every copy of a row counts.
    pub copies: bool,
    /// Batches of a step, of about equal parts of the target. A part holds the longest
    /// row and its copies, so that no pass is empty.
    pub passes: u32,
    /// The step that the first row read begins.
    pub first_step: u64,
}

impl Fill {
    /// What the batch is filled up to that begins with `filled` in the step.
    fn end(&self, filled: u64) -> u64 {
        let part = |pass: u64| self.target * pass / u64::from(self.passes.max(1));
        let mut pass = filled * u64::from(self.passes) / self.target.max(1);
        while part(pass) <= filled {
            pass += 1;
        }
        part(pass)
    }
}

/// Reads batches, one after the other.
pub struct Reader {
    order: Order,
    masks: BatchMasker,
    position: Position,
    cursor: Cursor,
    /// Of steps that are filled: the one that the next row belongs to, and what it has.
    step: u64,
    filled: u64,
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
            masks,
            position,
            cursor,
            step: order.fill.map_or(0, |fill| fill.first_step),
            filled: 0,
            order,
        })
    }

    /// The next batch.
    pub fn read(&mut self) -> Result<Batch> {
        let mut batch = self.masks.begin(self.order.batch_rows);
        batch.step = self.stamp().step;
        match self.order.fill {
            None => {
                for _ in 0..self.order.batch_rows {
                    self.push_row(&mut batch)?;
                }
            }
            Some(fill) => {
                let end = fill.end(self.filled);
                while self.filled < end {
                    let (copies, tokens) = self.push_row(&mut batch)?;
                    let of_one = if fill.tokens { tokens } else { 1 };
                    self.filled += if fill.copies { copies * of_one } else { of_one };
                }
                if self.filled >= fill.target {
                    self.filled = 0;
                    self.step += 1;
                }
            }
        }
        self.masks.finish(&mut batch);
        batch.after = self.position;
        Ok(batch)
    }

    /// Puts the row at the position into `batch`: how often it was emitted, and its tokens.
    fn push_row(&mut self, batch: &mut Batch) -> Result<(u64, u64)> {
        let (stamp, before) = (self.stamp(), batch.rows);
        let (sample, row) = self.cursor.read(self.position)?;
        let key = Key {
            seed: self.order.seed,
            epoch: self.position.epoch,
            sample,
            copy: 0,
        };
        self.masks.push(row, key, stamp, batch);
        let tokens = row.row().ids.len() as u64;
        self.advance();
        Ok(((batch.rows - before) as u64, tokens))
    }

    /// Where the row at the position stands in the training.
    fn stamp(&self) -> Stamp {
        if self.order.fill.is_some() {
            return Stamp {
                step: self.step,
                ..Stamp::default()
            };
        }
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

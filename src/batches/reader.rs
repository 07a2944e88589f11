//! Rows in the order of their epochs, masked, in batches: the work that
//! [`super::stream`] puts on a thread of its own. Runs over the ends of epochs.
//!
//! Memory: one window of decoded record batches, 2.3 bytes a token with 16-bit ids
//! (9 MB with the default of 4 Mi tokens), besides the batches it hands out.

use super::corpus::Corpus;
use super::cut::{CutBatch, RowBuffer};
use super::masks::BatchMasker;
use super::order::{Epoch, rows_below};
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

/// Steps that end with the row that fills them. Which rows a step has depends on
/// neither the passes nor how often the reader was stopped.
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
    corpus: Arc<Corpus>,
    order: Order,
    masks: BatchMasker,
    position: Position,
    epoch: Epoch,
    window: Option<LoadedWindow>,
    row: RowBuffer,
}

/// A window, decoded.
struct LoadedWindow {
    first: u64,
    /// Its rows in the order of the epoch, each as a number within the window.
    rows: Vec<u32>,
    parts: Vec<Part>,
}

/// A record batch of a window.
struct Part {
    /// Its first row within the window.
    first: u32,
    /// Its first canonical row.
    canonical: u64,
    cut: CutBatch,
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
        let epoch = epoch(&corpus, &order, position.epoch);
        Ok(Self {
            corpus,
            order,
            masks,
            position,
            epoch,
            window: None,
            row: RowBuffer::default(),
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
                let end = fill.end(self.position.filled);
                while self.position.filled < end {
                    let copies = self.push_row(&mut batch)?;
                    let tokens = self.row.row().ids.len() as u64;
                    let of_one = if fill.tokens { tokens } else { 1 };
                    self.position.filled += if fill.copies { copies * of_one } else { of_one };
                }
                if self.position.filled >= fill.target {
                    self.position.filled = 0;
                    self.position.step += 1;
                }
            }
        }
        self.masks.finish(&mut batch);
        batch.after = self.position;
        Ok(batch)
    }

    /// Puts the row at the position into `batch`; how often it was emitted.
    fn push_row(&mut self, batch: &mut Batch) -> Result<u64> {
        let sample = self.next_row()?;
        let key = Key {
            seed: self.order.seed,
            epoch: self.position.epoch,
            sample,
            copy: 0,
        };
        let (stamp, before) = (self.stamp(), batch.rows);
        self.masks.push(&self.row, key, stamp, batch);
        self.advance();
        Ok((batch.rows - before) as u64)
    }

    /// Where the row at the position stands in the training.
    fn stamp(&self) -> Stamp {
        if self.order.fill.is_some() {
            return Stamp {
                step: self.position.step,
                ..Stamp::default()
            };
        }
        let rows = u64::from(self.order.step_rows.max(1));
        let read = self.position.epoch * self.epoch.rows() + self.position.row;
        Stamp {
            step: read / rows,
            place: (read % rows) as u32,
            rows: rows as u32,
        }
    }

    /// Puts the row at the position into `self.row`; its canonical number.
    fn next_row(&mut self) -> Result<u64> {
        let at = self.position.row;
        let here = |window: &LoadedWindow| {
            (window.first..window.first + window.rows.len() as u64).contains(&at)
        };
        let window = match self.window.take().filter(here) {
            Some(window) => window,
            None => self.load(at)?,
        };
        let row = window.rows[(at - window.first) as usize];
        let part = window.parts.partition_point(|part| part.first <= row) - 1;
        let part = &window.parts[part];
        let within = u64::from(row - part.first);
        part.cut.fill(self.corpus.frame(), within, &mut self.row);
        let canonical = part.canonical + within;
        self.window = Some(window);
        Ok(canonical)
    }

    fn load(&self, row: u64) -> Result<LoadedWindow> {
        let window = self.epoch.window_of(row);
        let mut parts = Vec::new();
        let mut first = 0;
        for &batch in self.epoch.batches_of(window) {
            parts.push(Part {
                first,
                canonical: self.corpus.rows_of(batch as usize).start,
                cut: self.corpus.read(batch as usize, self.masks.projection())?,
            });
            first += rows_below(&self.corpus, batch, self.order.training) as u32;
        }
        Ok(LoadedWindow {
            first: window.first,
            rows: self.epoch.rows_of(window),
            parts,
        })
    }

    fn advance(&mut self) {
        self.position.row += 1;
        if self.position.row >= self.epoch.rows() {
            self.position.epoch += 1;
            self.position.row = 0;
            self.epoch = epoch(&self.corpus, &self.order, self.position.epoch);
            self.window = None;
        }
    }
}

fn epoch(corpus: &Corpus, order: &Order, epoch: u64) -> Epoch {
    Epoch::new(
        corpus,
        order.training,
        order.window_tokens,
        order.seed,
        epoch,
    )
}

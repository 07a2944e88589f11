//! One corpus in the order of its epochs, row by row. Going forward is a look-up within a
//! window, and so is going back; elsewhere another window is decoded.
//!
//! Memory: one window of decoded record batches, 2.3 bytes a token with 16-bit ids (9 MB
//! with the default of 4 Mi tokens).

use super::Position;
use super::corpus::Corpus;
use super::cut::{CutBatch, RowBuffer};
use super::order::{Epoch, rows_below};
use crate::base::error::Result;
use crate::columnar::Projection;
use std::sync::Arc;

/// A place in the epochs of a corpus.
pub struct Cursor {
    corpus: Arc<Corpus>,
    projection: Projection,
    seed: u64,
    window_tokens: u64,
    /// Only the first so many rows of the corpus are read.
    training: u64,
    epoch: u64,
    order: Epoch,
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

impl Cursor {
    /// The first `training` rows of `corpus`, with the planes of `projection`, in orders of
    /// `seed`.
    pub fn new(
        corpus: Arc<Corpus>,
        projection: Projection,
        (seed, window_tokens): (u64, u64),
        training: u64,
    ) -> Self {
        Self {
            order: Epoch::new(&corpus, training, window_tokens, seed, 0),
            corpus,
            projection,
            seed,
            window_tokens,
            training,
            epoch: 0,
            window: None,
            row: RowBuffer::default(),
        }
    }

    /// Rows of an epoch.
    pub fn rows(&self) -> u64 {
        self.order.rows()
    }

    /// The row at `position`, and its canonical number.
    pub fn read(&mut self, position: Position) -> Result<(u64, &RowBuffer)> {
        if position.epoch != self.epoch {
            self.window = None;
            self.order = Epoch::new(
                &self.corpus,
                self.training,
                self.window_tokens,
                self.seed,
                position.epoch,
            );
            self.epoch = position.epoch;
        }
        let at = position.row;
        let here = |window: &LoadedWindow| {
            (window.first..window.first + window.rows.len() as u64).contains(&at)
        };
        // Dropped before another one is decoded: one window in memory.
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
        Ok((canonical, &self.row))
    }

    fn load(&self, row: u64) -> Result<LoadedWindow> {
        let window = self.order.window_of(row);
        let mut parts = Vec::new();
        let mut first = 0;
        for &batch in self.order.batches_of(window) {
            parts.push(Part {
                first,
                canonical: self.corpus.rows_of(batch as usize).start,
                cut: self.corpus.read(batch as usize, self.projection)?,
            });
            first += rows_below(&self.corpus, batch, self.training) as u32;
        }
        Ok(LoadedWindow {
            first: window.first,
            rows: self.order.rows_of(window),
            parts,
        })
    }
}

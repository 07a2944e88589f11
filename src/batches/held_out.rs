//! Rows held out, one by one: of more than are wanted, so many, evenly. A record batch is
//! decoded once for all of its rows.

use super::corpus::{Corpus, Split};
use super::cut::{CutBatch, RowBuffer};
use crate::base::error::Result;
use crate::columnar::Projection;

/// Held-out rows in their order.
pub struct HeldOut<'a> {
    corpus: &'a Corpus,
    projection: Projection,
    split: Split,
    count: u64,
    next: u64,
    /// The record batch that the last row came from.
    open: Option<(usize, CutBatch)>,
    buffer: RowBuffer,
}

impl<'a> HeldOut<'a> {
    /// At most `max_rows` of the rows of `corpus` that `split` holds out, with the planes of
    /// `projection`: row ⌊i · held out / max_rows⌋ for i from 0 where there are more.
    pub fn new(corpus: &'a Corpus, split: Split, max_rows: u64, projection: Projection) -> Self {
        Self {
            corpus,
            projection,
            split,
            count: split.held_out.min(max_rows),
            next: 0,
            open: None,
            buffer: RowBuffer::default(),
        }
    }

    /// Rows in all.
    pub fn rows(&self) -> u64 {
        self.count
    }

    /// The next row, with its number among the canonical ones.
    pub fn next_row(&mut self) -> Result<Option<(u64, &RowBuffer)>> {
        if self.next == self.count {
            return Ok(None);
        }
        let held_out = u128::from(self.split.held_out);
        let place = u128::from(self.next) * held_out / u128::from(self.count);
        let row = self.split.training + place as u64;
        self.next += 1;
        let corpus = self.corpus;
        let index = corpus.batch_of(row);
        let cut = match self.open.take() {
            Some((last, cut)) if last == index => cut,
            _ => corpus.read(index, self.projection)?,
        };
        let within = row - corpus.rows_of(index).start;
        cut.fill(corpus.frame(), within, &mut self.buffer);
        self.open = Some((index, cut));
        Ok(Some((row, &self.buffer)))
    }
}

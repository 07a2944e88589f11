//! Canonical rows in any order, as a loader with an order of its own asks for them. Decoded
//! record batches are kept up to a bound on memory, those used last. What is asked for at
//! random over a whole set is fast only where most of the set fits: a record batch is
//! decoded for one row otherwise. [`super::reader`] needs no such thing.

use super::corpus::Corpus;
use super::cut::{CutBatch, RowBuffer};
use crate::base::error::{Error, Result};
use crate::base::size::ByteSize;
use crate::columnar::Projection;
use std::collections::HashMap;
use std::sync::Arc;

/// Rows by their numbers.
pub struct RandomRows {
    corpus: Arc<Corpus>,
    projection: Projection,
    bound: usize,
    held: usize,
    kept: HashMap<usize, Kept>,
    /// Number of the next use.
    uses: u64,
    row: RowBuffer,
}

/// A record batch that is kept.
struct Kept {
    cut: CutBatch,
    /// When it was used last.
    used: u64,
}

impl RandomRows {
    /// Rows of `corpus` with the planes of `projection`, of which up to `memory` is kept
    /// decoded: 2.3 bytes a token with all planes and 16-bit ids. One record batch is kept
    /// whatever the bound.
    pub fn new(corpus: Arc<Corpus>, projection: Projection, memory: ByteSize) -> Self {
        Self {
            corpus,
            projection,
            bound: memory.bytes(),
            held: 0,
            kept: HashMap::new(),
            uses: 0,
            row: RowBuffer::default(),
        }
    }

    /// Canonical row `number`.
    pub fn read(&mut self, number: u64) -> Result<&RowBuffer> {
        let rows = self.corpus.rows();
        if number >= rows {
            return Err(Error::input(
                self.corpus.shards().artefact().path.display().to_string(),
                format!("row {number} asked for"),
                format!("a number below {rows}"),
                "ask for rows that are there",
            ));
        }
        let index = self.corpus.batch_of(number);
        if !self.kept.contains_key(&index) {
            self.keep(index)?;
        }
        self.uses += 1;
        if let Some(kept) = self.kept.get_mut(&index) {
            kept.used = self.uses;
            let within = number - self.corpus.rows_of(index).start;
            kept.cut.fill(self.corpus.frame(), within, &mut self.row);
        }
        Ok(&self.row)
    }

    /// Bytes of decoded record batches that are kept.
    pub fn memory(&self) -> ByteSize {
        ByteSize(self.held as u64)
    }

    fn keep(&mut self, index: usize) -> Result<()> {
        let cut = self.corpus.read(index, self.projection)?;
        let needed = cut.documents().memory();
        while self.held + needed > self.bound {
            // Seldom beside decoding, so that a search is cheap enough.
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used);
            let Some(kept) = oldest
                .map(|(&oldest, _)| oldest)
                .and_then(|at| self.kept.remove(&at))
            else {
                break;
            };
            self.held -= kept.cut.documents().memory();
        }
        self.held += needed;
        self.kept.insert(index, Kept { cut, used: 0 });
        Ok(())
    }
}

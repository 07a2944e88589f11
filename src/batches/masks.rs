//! Masked rows put into batches, in each of the layouts. Nothing is allocated for a
//! row once the buffers of the batch have grown.

use super::corpus::Corpus;
use super::cut::RowBuffer;
use super::{Batch, Position};
use crate::base::error::Result;
use crate::base::generator::Key;
use crate::base::token::TokenId;
use crate::columnar::Projection;
use crate::config::Layout;
use crate::masking::{Masker, Output, Realised, Row, Stamp, Workspace};

/// Puts masked rows into batches.
pub struct BatchMasker {
    masker: Masker,
    work: Workspace,
    row_length: usize,
    pad: TokenId,
}

impl BatchMasker {
    /// The masks of `masker` on rows of `corpus`. Refuses PMI units of shards that have
    /// none.
    pub fn new(corpus: &Corpus, masker: Masker) -> Result<Self> {
        if masker.needs_units() {
            corpus.check_units()?;
        }
        let frame = corpus.frame();
        Ok(Self::of_rows(masker, frame.length, frame.pad))
    }

    /// The masks of `masker` on rows of up to `row_length` tokens, filled up with `pad`.
    pub fn of_rows(masker: Masker, row_length: usize, pad: TokenId) -> Self {
        Self {
            masker,
            work: Workspace::new(),
            row_length,
            pad,
        }
    }

    /// What fills up short rows.
    pub fn pad(&self) -> TokenId {
        self.pad
    }

    /// Rows of other lengths, from the next batch on.
    pub fn set_row_length(&mut self, tokens: usize) {
        self.row_length = tokens;
    }

    /// The planes that the masks need.
    pub fn projection(&self) -> Projection {
        Projection {
            tokens: true,
            word_start: self.masker.needs_words(),
            span_start: self.masker.needs_units(),
        }
    }

    /// An empty batch with room for `rows` rows.
    pub fn begin(&self, rows: usize) -> Batch {
        Batch {
            layout: self.masker.layout(),
            row_length: self.row_length,
            length: self.row_length,
            input: Vec::with_capacity(rows * self.row_length),
            lengths: Vec::with_capacity(rows),
            keys: Vec::with_capacity(rows),
            cu_seqlens: vec![0],
            ..Batch::default()
        }
    }

    /// Empties a batch of [`BatchMasker::begin`], keeping its memory.
    pub fn restart(&self, batch: &mut Batch) {
        let mut keep = std::mem::take(batch);
        for values in [
            &mut keep.input,
            &mut keep.lengths,
            &mut keep.cu_seqlens,
            &mut keep.places,
            &mut keep.run_starts,
            &mut keep.row_lengths,
            &mut keep.target,
            &mut keep.target_lengths,
            &mut keep.predicted,
            &mut keep.labels,
        ] {
            values.clear();
        }
        keep.weights.clear();
        keep.keys.clear();
        keep.cu_seqlens.push(0);
        *batch = Batch {
            length: self.row_length,
            rows: 0,
            target_length: 0,
            step: 0,
            realised: Realised::default(),
            after: Position::default(),
            ..keep
        };
    }

    /// Appends all copies of the row in `buffer`, one after the other.
    pub fn push(&mut self, buffer: &RowBuffer, key: Key, stamp: Stamp, batch: &mut Batch) {
        let row = &buffer.row();
        let drawn = self.masker.select(row, key, stamp, &mut self.work);
        for copy in 0..drawn.copies {
            self.push_copy(row, buffer.ends(), key, copy, batch);
            batch.keys.push(Key { copy, ..key });
            if self.masker.is_weighted() {
                batch.weights.push(drawn.weight);
            }
            batch.rows += 1;
        }
    }

    fn push_copy(&mut self, row: &Row<'_>, ends: &[u32], key: Key, copy: u32, batch: &mut Batch) {
        let (input, places) = (batch.input.len(), batch.places.len());
        let target = batch.target.len();
        let mut out = Output {
            base: match batch.layout {
                Layout::InPlace | Layout::Removed => batch.rows * self.row_length,
                Layout::Sentinel => target,
            } as u32,
            input: &mut batch.input,
            places: &mut batch.places,
            target: &mut batch.target,
            predicted: &mut batch.predicted,
            labels: &mut batch.labels,
        };
        let realised = self.masker.write(row, key, copy, &mut self.work, &mut out);
        batch.realised.add(&realised);
        batch.lengths.push((batch.input.len() - input) as u32);
        match batch.layout {
            Layout::InPlace => {
                let padded = (batch.rows + 1) * self.row_length;
                batch.input.resize(padded, self.pad);
            }
            Layout::Removed => {}
            Layout::Sentinel => {
                let target = batch.target.len() - target;
                batch.target_lengths.push(target as u32);
            }
        }
        batch.push_runs(ends, places);
    }

    /// Makes the rows of a batch equally long, where their layout does not: as long as
    /// the longest one.
    pub fn finish(&self, batch: &mut Batch) {
        if batch.layout == Layout::InPlace {
            return;
        }
        batch.length = longest(&batch.lengths);
        batch.input = padded(&batch.input, &batch.lengths, batch.length, self.pad);
        batch.places = padded(&batch.places, &batch.lengths, batch.length, 0);
        if batch.layout == Layout::Sentinel {
            batch.target_length = longest(&batch.target_lengths);
            let (lengths, width) = (&batch.target_lengths, batch.target_length);
            batch.target = padded(&batch.target, lengths, width, self.pad);
            let (mut row, mut start, mut end) = (0, 0, lengths.first().copied().unwrap_or(0));
            for position in &mut batch.predicted {
                while *position >= end {
                    start = end;
                    row += 1;
                    end += lengths[row];
                }
                *position = (row * width) as u32 + *position - start;
            }
        }
    }
}

fn longest(lengths: &[u32]) -> usize {
    lengths.iter().copied().max().unwrap_or(0) as usize
}

/// The rows of `lengths` in `values`, one after the other, each filled up to `width`.
fn padded(values: &[u32], lengths: &[u32], width: usize, fill: u32) -> Vec<u32> {
    let mut out = Vec::with_capacity(lengths.len() * width);
    let mut rest = values;
    for (row, &length) in (1..).zip(lengths) {
        let (here, after) = rest.split_at(length as usize);
        out.extend_from_slice(here);
        out.resize(row * width, fill);
        rest = after;
    }
    out
}

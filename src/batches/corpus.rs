//! A set of shards as one list of rows of one length.
//!
//! *Canonical rows* go record batch by record batch in the order of the set, and
//! within one as [`super::cut`] cuts it. Opening counts them: for packed rows from
//! the footers alone, for the other layouts from one bit plane of every record batch
//! (a sixteenth of the bytes to decode, but every hash is checked on the way).

use super::cut::{CutBatch, Frame, RowBuffer};
use crate::base::error::{Error, Result};
use crate::columnar::Projection;
use crate::config::train::ValidationConfig;
use crate::config::{RowLayout, RowsConfig};
use crate::shard::ShardSet;
use crate::tokenizer::{self, Role};

/// Shards, cut into rows. 8 bytes a record batch beside the shards themselves.
pub struct Corpus {
    shards: ShardSet,
    frame: Frame,
    vocabulary: usize,
    /// The first canonical row of each record batch, and at the end their number.
    firsts: Vec<u64>,
}

/// Which rows are trained on and which are held out: the last ones, so the training
/// rows are those below `training`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// Rows trained on, the first of the set.
    pub training: u64,
    /// Rows held out, the last of the set.
    pub held_out: u64,
}

impl Corpus {
    /// Counts the rows of `shards`. Refuses a tokenizer without a token that closes
    /// a row; one that opens rows is used where there is one.
    pub fn open(shards: ShardSet, rows: &RowsConfig) -> Result<Self> {
        rows.check()?;
        let special = shards.special_tokens()?;
        let sep = tokenizer::require(special, Role::Sep)?;
        let vocabulary = shards.tokenizer()?.vocabulary_size as usize;
        let length = rows.length as usize;
        let frame = Frame::new(rows.layout, length, (special.cls, sep), special, vocabulary);
        let mut firsts = Vec::with_capacity(shards.batches().len() + 1);
        let mut first = 0;
        for (index, place) in shards.batches().iter().enumerate() {
            firsts.push(first);
            first += match rows.layout {
                RowLayout::Packed => frame.packed_rows(place.documents, place.tokens),
                RowLayout::Document | RowLayout::BestFit => {
                    let lengths = Projection {
                        tokens: false,
                        word_start: true,
                        span_start: false,
                    };
                    CutBatch::new(&frame, shards.read(index, lengths)?).rows()
                }
            };
        }
        firsts.push(first);
        Ok(Self {
            shards,
            frame,
            vocabulary,
            firsts,
        })
    }

    /// The shards.
    pub fn shards(&self) -> &ShardSet {
        &self.shards
    }

    /// How rows look.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Ids are below this.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Number of canonical rows.
    pub fn rows(&self) -> u64 {
        self.firsts[self.firsts.len() - 1]
    }

    /// Number of record batches.
    pub fn batches(&self) -> usize {
        self.firsts.len() - 1
    }

    /// The canonical rows of record batch `index`.
    pub fn rows_of(&self, index: usize) -> std::ops::Range<u64> {
        self.firsts[index]..self.firsts[index + 1]
    }

    /// The record batch that canonical row `row` lies in.
    pub fn batch_of(&self, row: u64) -> usize {
        self.firsts.partition_point(|&first| first <= row) - 1
    }

    /// Decodes record batch `index` and finds its rows.
    pub fn read(&self, index: usize, projection: Projection) -> Result<CutBatch> {
        let cut = CutBatch::new(&self.frame, self.shards.read(index, projection)?);
        let counted = self.firsts[index + 1] - self.firsts[index];
        if cut.rows() != counted {
            return Err(Error::corrupt(
                format!("record batch {index} of the shards"),
                format!("{} rows", cut.rows()),
                format!("{counted}, as its footer says"),
                "run `cloze verify` on the shards, then write them again",
            ));
        }
        Ok(cut)
    }

    /// One canonical row with all its planes, for showing it. Decodes its record
    /// batch.
    pub fn row(&self, row: u64) -> Result<RowBuffer> {
        let index = self.batch_of(row);
        let cut = self.read(index, Projection::ALL)?;
        let mut buffer = RowBuffer::default();
        cut.fill(&self.frame, row - self.firsts[index], &mut buffer);
        Ok(buffer)
    }

    /// Refuses shards without the units of a masking vocabulary.
    pub fn check_units(&self) -> Result<()> {
        if self.shards.has_units() {
            return Ok(());
        }
        Err(Error::mismatch(
            self.shards.artefact().path.display().to_string(),
            "shards without masking units",
            "shards with units, for strategy pmi",
            "write them with `cloze shard TOKENS --vocabulary FILE`, or mask whole words: \
             strategy = \"word\"",
        ))
    }

    /// Holds the last ⌈share · rows⌉ rows out, at least one. Refuses to when nothing
    /// is left to train on.
    pub fn split(&self, validation: &ValidationConfig) -> Result<Split> {
        let rows = self.rows();
        let held_out = ((validation.share * rows as f64).ceil() as u64).max(1);
        if held_out >= rows {
            return Err(Error::input(
                self.shards.artefact().path.display().to_string(),
                format!(
                    "{rows} rows of {} tokens, {held_out} of them held out for validation",
                    self.frame.length
                ),
                "at least one row to train on",
                "give more text, shorter rows (train.rows.length) or a smaller \
                 train.validation.share",
            ));
        }
        Ok(Split {
            training: rows - held_out,
            held_out,
        })
    }
}

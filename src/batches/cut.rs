//! The documents of one record batch cut into rows of one length (spec 10).
//!
//! `packed`: the batch's documents in order with one `[SEP]` between, cut every L − 2
//! tokens, `[CLS]` … `[SEP]` around each piece; the last row of a record batch may be
//! short. `document`: each document cut every L − 2 tokens by itself. `best_fit`: the
//! same pieces, each with a `[CLS]` … `[SEP]` of its own, as many to a row as
//! [`super::best_fit`] puts there. A tokenizer without a `[CLS]` (T5) has L − 1 for
//! L − 2. A row never spans two record batches, so the rows of a batch follow from its
//! documents' lengths and L alone.

use super::best_fit::Packing;
use crate::base::boundaries::Boundaries;
use crate::base::token::{SpecialTokens, TokenId};
use crate::columnar::{Document, DocumentBatch};
use crate::config::RowLayout;
use crate::masking::Row;

/// How rows look, apart from their tokens.
#[derive(Debug, Clone)]
pub struct Frame {
    /// How documents become rows.
    pub layout: RowLayout,
    /// L, tokens in a row with `[CLS]` and `[SEP]`.
    pub length: usize,
    /// Opens a row; T5's tokenizer and its kin have no such token.
    pub cls: Option<TokenId>,
    /// Closes a row and stands between documents.
    pub sep: TokenId,
    /// Fills short rows.
    pub pad: TokenId,
    reserved: Vec<u64>,
}

impl Frame {
    /// Rows of `length` tokens for a tokenizer of `vocabulary` tokens with these
    /// special ones.
    pub fn new(
        layout: RowLayout,
        length: usize,
        (cls, sep): (Option<TokenId>, TokenId),
        special: &SpecialTokens,
        vocabulary: usize,
    ) -> Self {
        let mut reserved = vec![0; vocabulary.div_ceil(64)];
        for &id in special.reserved.iter().chain(&cls).chain([&sep]) {
            if let Some(word) = reserved.get_mut(id as usize / 64) {
                *word |= 1u64 << (id % 64);
            }
        }
        Self {
            layout,
            length,
            cls,
            sep,
            pad: special.pad.unwrap_or(sep),
            reserved,
        }
    }

    /// Tokens of text in a full row.
    pub fn room(&self) -> u64 {
        (self.length - self.around()) as u64
    }

    /// Special tokens around a piece of text: `[SEP]`, and `[CLS]` if there is one.
    pub fn around(&self) -> usize {
        1 + usize::from(self.cls.is_some())
    }

    /// Packed rows of a record batch.
    pub fn packed_rows(&self, documents: u64, tokens: u64) -> u64 {
        if tokens == 0 {
            return 0;
        }
        (tokens + documents - 1).div_ceil(self.room())
    }

    /// Rows of one document in the layout `document`; pieces of it in `best_fit`.
    pub fn document_rows(&self, tokens: u64) -> u64 {
        tokens.div_ceil(self.room())
    }

    #[inline]
    fn is_reserved(&self, id: TokenId) -> bool {
        self.reserved
            .get(id as usize / 64)
            .is_some_and(|word| word >> (id % 64) & 1 == 1)
    }
}

/// One row with its planes, before its padding; reused from row to row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowBuffer {
    ids: Vec<TokenId>,
    protected: Boundaries,
    word_start: Boundaries,
    unit_start: Boundaries,
    ends: Vec<u32>,
}

impl RowBuffer {
    /// The row, as masking takes it.
    pub fn row(&self) -> Row<'_> {
        Row {
            ids: &self.ids,
            protected: self.protected.as_slice(),
            word_start: self.word_start.as_slice(),
            unit_start: self.unit_start.as_slice(),
        }
    }

    /// Where its attention runs end, ascending; the last end is the row's length. One
    /// run in `packed` and `document`, one for each piece in `best_fit`.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// The tokens `range` of `document` as a row.
    pub fn of_piece(frame: &Frame, document: &Document<'_>, range: std::ops::Range<usize>) -> Self {
        let mut row = Self::default();
        row.open(frame);
        row.extend(document, range);
        row.close(frame);
        row.protect(frame);
        row
    }

    /// Takes in a row that was cut elsewhere, one attention run: its `ids`, of which the
    /// `protected` ones are never masked, and where its words and units start.
    pub(super) fn take(
        &mut self,
        ids: &[TokenId],
        protected: &Boundaries,
        (word_start, unit_start): (&Boundaries, &Boundaries),
    ) {
        self.clear();
        self.ids.extend_from_slice(ids);
        self.protected.extend(protected.as_slice());
        self.word_start.extend(word_start.as_slice());
        self.unit_start.extend(unit_start.as_slice());
        self.ends.push(ids.len() as u32);
    }

    fn clear(&mut self) {
        self.ids.clear();
        self.protected.clear();
        self.word_start.clear();
        self.unit_start.clear();
        self.ends.clear();
    }

    /// Begins an attention run.
    fn open(&mut self, frame: &Frame) {
        if let Some(cls) = frame.cls {
            self.push_special(cls);
        }
    }

    /// Ends an attention run.
    fn close(&mut self, frame: &Frame) {
        self.push_special(frame.sep);
        self.ends.push(self.ids.len() as u32);
    }

    fn push_special(&mut self, id: TokenId) {
        self.ids.push(id);
        self.word_start.push(true);
        self.unit_start.push(true);
    }

    fn extend(&mut self, document: &Document<'_>, range: std::ops::Range<usize>) {
        let len = range.len();
        document
            .tokens
            .slice(range.clone())
            .append_to(&mut self.ids);
        let planes = [
            (&mut self.word_start, document.word_start),
            (
                &mut self.unit_start,
                document.span_start.or(document.word_start),
            ),
        ];
        for (plane, bits) in planes {
            match bits {
                Some(bits) => plane.extend(bits.slice(range.clone())),
                None => plane.extend_filled(len, true),
            }
        }
    }

    fn protect(&mut self, frame: &Frame) {
        for ids in self.ids.chunks(64) {
            let word = (0..).zip(ids).fold(0, |word, (bit, &id)| {
                word | u64::from(frame.is_reserved(id)) << bit
            });
            self.protected.push_word(word, ids.len());
        }
    }
}

/// A decoded record batch with the places of its rows.
#[derive(Debug, Clone)]
pub struct CutBatch {
    documents: DocumentBatch,
    places: Places,
    rows: u64,
}

/// Where the rows of a record batch lie.
#[derive(Debug, Clone)]
enum Places {
    Packed {
        /// Where each document starts among the joined ones.
        starts: Vec<u64>,
        /// Tokens of the joined documents.
        joined: u64,
    },
    Document {
        /// The first row of each document.
        firsts: Vec<u64>,
    },
    BestFit(Packing),
}

impl CutBatch {
    /// Finds the rows of `documents`. 8 bytes a document; in `best_fit` about 12 a
    /// piece, and 32 more while they are packed.
    pub fn new(frame: &Frame, documents: DocumentBatch) -> Self {
        let lengths = (0..documents.len()).map(|index| documents.document_length(index));
        let (places, rows) = match frame.layout {
            RowLayout::Packed => {
                let (starts, end) = running(lengths.map(|length| length as u64 + 1));
                let joined = end.saturating_sub(1);
                let tokens = end - starts.len() as u64;
                let rows = frame.packed_rows(starts.len() as u64, tokens);
                (Places::Packed { starts, joined }, rows)
            }
            RowLayout::Document => {
                let rows = lengths.map(|length| frame.document_rows(length as u64));
                let (firsts, rows) = running(rows);
                (Places::Document { firsts }, rows)
            }
            RowLayout::BestFit => {
                let packing = Packing::new(lengths, frame.room() as usize, frame.around());
                let rows = packing.rows();
                (Places::BestFit(packing), rows)
            }
        };
        Self {
            documents,
            places,
            rows,
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Its documents.
    pub fn documents(&self) -> &DocumentBatch {
        &self.documents
    }

    /// Puts row `row` into `buffer`; panics beyond the last one. Allocates nothing once
    /// the buffer has held the longest row.
    pub fn fill(&self, frame: &Frame, row: u64, buffer: &mut RowBuffer) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        buffer.clear();
        match &self.places {
            Places::Packed { starts, joined } => {
                self.fill_packed(frame, row, (starts, *joined), buffer);
            }
            Places::Document { firsts } => {
                let index = firsts.partition_point(|&first| first <= row) - 1;
                let from = (row - firsts[index]) * frame.room();
                self.fill_piece(frame, index, from as usize, buffer);
            }
            Places::BestFit(packing) => {
                for piece in packing.row(row as usize) {
                    let (index, from) = (piece.document as usize, piece.from as usize);
                    self.fill_piece(frame, index, from, buffer);
                }
            }
        }
        buffer.protect(frame);
    }

    fn fill_packed(
        &self,
        frame: &Frame,
        row: u64,
        (starts, joined): (&[u64], u64),
        buffer: &mut RowBuffer,
    ) {
        buffer.open(frame);
        let mut at = row * frame.room();
        let end = (at + frame.room()).min(joined);
        let mut index = starts.partition_point(|&start| start <= at) - 1;
        while at < end {
            let document = self.documents.document(index);
            let from = at - starts[index];
            let to = (document.tokens.len() as u64).min(from + (end - at));
            buffer.extend(&document, from as usize..to as usize);
            at += to - from;
            if at < end {
                buffer.push_special(frame.sep);
                at += 1;
            }
            index += 1;
        }
        buffer.close(frame);
    }

    /// The tokens of document `index` from `from` on, as many as a row has room for,
    /// as one attention run.
    fn fill_piece(&self, frame: &Frame, index: usize, from: usize, buffer: &mut RowBuffer) {
        let document = self.documents.document(index);
        let to = (from + frame.room() as usize).min(document.tokens.len());
        buffer.open(frame);
        buffer.extend(&document, from..to);
        buffer.close(frame);
    }
}

/// Where each of `lengths` starts when they lie one after the other, and the end.
fn running(lengths: impl Iterator<Item = u64>) -> (Vec<u64>, u64) {
    let mut end = 0;
    let starts = lengths
        .map(|length| {
            let start = end;
            end += length;
            start
        })
        .collect();
    (starts, end)
}

//! The documents of one record batch cut into rows of one length (spec 10).
//!
//! `packed`: the batch's documents in order with one `[SEP]` between, cut every L − 2
//! tokens, `[CLS]` … `[SEP]` around each piece; the last row of a record batch may be
//! short. `document`: each document cut every L − 2 tokens by itself. A row never
//! spans two record batches, so the number of rows of a batch is arithmetic.

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
    /// Opens a row.
    pub cls: TokenId,
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
        (cls, sep): (TokenId, TokenId),
        special: &SpecialTokens,
        vocabulary: usize,
    ) -> Self {
        let mut reserved = vec![0; vocabulary.div_ceil(64)];
        for &id in special.reserved.iter().chain([&cls, &sep]) {
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
        self.length as u64 - 2
    }

    /// Packed rows of a record batch.
    pub fn packed_rows(&self, documents: u64, tokens: u64) -> u64 {
        if tokens == 0 {
            return 0;
        }
        (tokens + documents - 1).div_ceil(self.room())
    }

    /// Rows of one document in the layout `document`.
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

    /// The tokens `range` of `document` as a row.
    pub fn of_piece(frame: &Frame, document: &Document<'_>, range: std::ops::Range<usize>) -> Self {
        let mut row = Self::default();
        row.push_special(frame.cls);
        row.extend(document, range);
        row.push_special(frame.sep);
        row.protect(frame);
        row
    }

    fn clear(&mut self) {
        self.ids.clear();
        self.protected.clear();
        self.word_start.clear();
        self.unit_start.clear();
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
    /// Packed: where each document starts among the joined ones. Document: the first
    /// row of each document.
    starts: Vec<u64>,
    /// Packed: tokens of the joined documents.
    joined: u64,
    rows: u64,
}

impl CutBatch {
    /// Finds the rows of `documents`.
    pub fn new(frame: &Frame, documents: DocumentBatch) -> Self {
        let mut starts = Vec::with_capacity(documents.len());
        let mut at = 0;
        let mut tokens = 0;
        for index in 0..documents.len() {
            let length = documents.document_length(index) as u64;
            tokens += length;
            starts.push(at);
            at += match frame.layout {
                RowLayout::Packed => length + 1,
                RowLayout::Document => frame.document_rows(length),
            };
        }
        let rows = match frame.layout {
            RowLayout::Packed => frame.packed_rows(documents.len() as u64, tokens),
            RowLayout::Document => at,
        };
        Self {
            documents,
            starts,
            joined: at.saturating_sub(1),
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

    /// Puts row `row` into `buffer`; panics beyond the last one.
    pub fn fill(&self, frame: &Frame, row: u64, buffer: &mut RowBuffer) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        buffer.clear();
        buffer.push_special(frame.cls);
        match frame.layout {
            RowLayout::Packed => self.fill_packed(frame, row, buffer),
            RowLayout::Document => self.fill_document(frame, row, buffer),
        }
        buffer.push_special(frame.sep);
        buffer.protect(frame);
    }

    fn fill_packed(&self, frame: &Frame, row: u64, buffer: &mut RowBuffer) {
        let mut at = row * frame.room();
        let end = (at + frame.room()).min(self.joined);
        let mut index = self.starts.partition_point(|&start| start <= at) - 1;
        while at < end {
            let document = self.documents.document(index);
            let from = at - self.starts[index];
            let to = (document.tokens.len() as u64).min(from + (end - at));
            buffer.extend(&document, from as usize..to as usize);
            at += to - from;
            if at < end {
                buffer.push_special(frame.sep);
                at += 1;
            }
            index += 1;
        }
    }

    fn fill_document(&self, frame: &Frame, row: u64, buffer: &mut RowBuffer) {
        let index = self.starts.partition_point(|&start| start <= row) - 1;
        let document = self.documents.document(index);
        let from = (row - self.starts[index]) * frame.room();
        let to = (from + frame.room()).min(document.tokens.len() as u64);
        buffer.extend(&document, from as usize..to as usize);
    }
}

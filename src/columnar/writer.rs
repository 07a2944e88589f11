//! Writes documents as an Arrow IPC file, zstd per buffer, a hash per record batch. A
//! record batch is filled and encoded by a [`BatchBuilder`], which any thread may have;
//! the writer puts batches one behind the other. Memory: one record batch (about 2.3
//! bytes a token, twice while it is compressed).

use crate::base::boundaries::{Boundaries, BoundarySlice};
use crate::base::error::{Error, Result};
use crate::base::token::{TokenId, TokenSlice};
use crate::columnar::footer::{BatchRecord, Footer};
use crate::columnar::message::{Column, Encoder, Message, MessageFile, Values};
use crate::columnar::schema;
use crate::storage::manifest::FORMAT;
use std::io::Write;
use std::sync::Arc;

/// How a document file is laid out.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Ids take 32 bits.
    pub wide: bool,
    /// There is a `span_start` plane.
    pub spans: bool,
    /// A record batch is closed once it has this many tokens.
    pub batch_tokens: u32,
    /// Level of zstd, 1 to 19.
    pub zstd_level: i32,
    /// zstd looks for matches of two ids, where these are of 16 bits. For files that are read
    /// more often than written.
    pub short_matches: bool,
}

/// Bytes of two ids of 16 bits. The fast levels of zstd leave what is shorter than six bytes
/// alone, which costs 6 % of a file; to look for it costs a fifth of the time of writing. Of 32
/// bits the zeros between are enough for the one, and too much of the other, by the table in
/// docs/benchmarks.md.
const TWO_IDS: u32 = 4;

/// Fills record batches with documents and encodes them.
pub struct BatchBuilder {
    encoder: Encoder,
    layout: Layout,
    place: String,
    ids: Vec<u64>,
    ends: Vec<i32>,
    narrow: Vec<u16>,
    wide: Vec<u32>,
    words: Boundaries,
    spans: Boundaries,
}

/// A record batch, ready to be written.
#[derive(Debug)]
pub struct EncodedBatch {
    message: Message,
    rows: u64,
    tokens: u64,
}

impl BatchBuilder {
    /// Builds batches of this `layout`; `place` names their file in messages.
    pub fn new(layout: Layout, place: impl Into<String>) -> Result<Self> {
        let place = place.into();
        Ok(Self {
            encoder: Encoder::new(layout.zstd_level, &place)?,
            layout,
            place,
            ids: Vec::new(),
            ends: vec![0],
            narrow: Vec::new(),
            wide: Vec::new(),
            words: Boundaries::new(),
            spans: Boundaries::new(),
        })
    }

    /// Appends one document. `word_start` (and `span_start`, exactly when the layout
    /// has spans) have one bit per token. Refuses ids that do not fit.
    pub fn push(
        &mut self,
        document_id: u64,
        tokens: TokenSlice<'_>,
        word_start: BoundarySlice<'_>,
        span_start: Option<BoundarySlice<'_>>,
    ) -> Result<()> {
        let planes_fit = word_start.len() == tokens.len()
            && span_start.is_some() == self.layout.spans
            && span_start.is_none_or(|spans| spans.len() == tokens.len());
        if !planes_fit {
            return Err(Error::library(
                format!("writing document {document_id} to {}", self.place),
                "its boundary planes do not fit its tokens",
            ));
        }
        let total = self.tokens() + tokens.len();
        let end = i32::try_from(total).map_err(|_| {
            Error::input(
                format!("{}, document {document_id}", self.place),
                format!("{total} tokens in one record batch"),
                "at most 2147483647",
                "split the document",
            )
        })?;
        match (self.layout.wide, tokens) {
            (true, tokens) => tokens.append_to(&mut self.wide),
            (false, TokenSlice::Narrow(ids)) => self.narrow.extend_from_slice(ids),
            (false, TokenSlice::Wide(ids)) => {
                let largest = ids.iter().copied().max().unwrap_or(0);
                if largest > TokenId::from(u16::MAX) {
                    return Err(Error::mismatch(
                        format!("{}, document {document_id}", self.place),
                        format!("token id {largest}"),
                        "ids below 65536 in a file of 16-bit ids",
                        "the tokenizer does not fit these files: tokenise again with one tokenizer",
                    ));
                }
                self.narrow.extend(ids.iter().map(|&id| id as u16));
            }
        }
        self.words.extend(word_start);
        if let Some(spans) = span_start {
            self.spans.extend(spans);
        }
        self.ids.push(document_id);
        self.ends.push(end);
        Ok(())
    }

    /// Documents in the batch at hand.
    pub fn rows(&self) -> usize {
        self.ids.len()
    }

    /// Tokens in the batch at hand.
    pub fn tokens(&self) -> usize {
        self.narrow.len() + self.wide.len()
    }

    /// Whether the batch at hand is to be closed.
    pub fn is_full(&self) -> bool {
        self.tokens() >= self.layout.batch_tokens as usize && self.rows() > 0
    }

    /// Encodes the batch at hand and begins the next one.
    pub fn encode(&mut self) -> Result<EncodedBatch> {
        let rows = self.rows();
        let tokens = self.tokens();
        let ids = if self.layout.wide {
            Values::of(&self.wide)
        } else {
            Values {
                min_match: self.layout.short_matches.then_some(TWO_IDS),
                ..Values::of(&self.narrow)
            }
        };
        let columns = [
            Column::Values(Values::of(&self.ids)),
            Column::Lists(&self.ends, ids),
            Column::Lists(&self.ends, Values::of_bits(&self.words)),
            Column::Lists(&self.ends, Values::of_bits(&self.spans)),
        ];
        let planes = if self.layout.spans { 4 } else { 3 };
        let message = self.encoder.encode(rows, &columns[..planes])?;
        self.ids.clear();
        self.ends.truncate(1);
        self.narrow.clear();
        self.wide.clear();
        self.words.clear();
        self.spans.clear();
        Ok(EncodedBatch {
            message,
            rows: rows as u64,
            tokens: tokens as u64,
        })
    }
}

/// Writes documents one after the other, or record batches encoded elsewhere.
pub struct DocumentWriter<W: Write> {
    file: MessageFile<W>,
    builder: BatchBuilder,
    batches: Vec<BatchRecord>,
    place: String,
}

impl<W: Write> DocumentWriter<W> {
    /// Begins a file on `out`; `place` names it in messages.
    pub fn new(out: W, place: impl Into<String>, layout: Layout) -> Result<Self> {
        let place = place.into();
        let schema = Arc::new(schema::documents(layout.wide, layout.spans));
        Ok(Self {
            file: MessageFile::new(out, schema, &place)?,
            builder: BatchBuilder::new(layout, place.clone())?,
            batches: Vec::new(),
            place,
        })
    }

    /// Appends one document; as [`BatchBuilder::push`], and writes the record batch
    /// once it is full.
    pub fn push(
        &mut self,
        document_id: u64,
        tokens: &[TokenId],
        word_start: BoundarySlice<'_>,
        span_start: Option<BoundarySlice<'_>>,
    ) -> Result<()> {
        let tokens = TokenSlice::Wide(tokens);
        self.builder
            .push(document_id, tokens, word_start, span_start)?;
        if self.builder.is_full() {
            let batch = self.builder.encode()?;
            self.put(&batch)?;
        }
        Ok(())
    }

    /// Appends a record batch that was encoded elsewhere, in the same layout; what was
    /// pushed before comes before it.
    pub fn append(&mut self, batch: &EncodedBatch) -> Result<()> {
        self.close_batch()?;
        self.put(batch)
    }

    /// Documents and tokens written so far, the open record batch included.
    pub fn written(&self) -> (u64, u64) {
        let rows: u64 = self.batches.iter().map(|batch| batch.rows).sum();
        let tokens: u64 = self.batches.iter().map(|batch| batch.tokens).sum();
        (
            rows + self.builder.rows() as u64,
            tokens + self.builder.tokens() as u64,
        )
    }

    /// Writes what is left and the footer with `note`, and hands the sink back.
    pub fn finish(mut self, note: serde_json::Value) -> Result<(W, Footer)> {
        self.close_batch()?;
        let footer = Footer {
            format: FORMAT,
            batches: self.batches,
            note,
        };
        let json = serde_json::to_string(&footer)
            .map_err(|error| Error::library(format!("writing {}", self.place), error))?;
        Ok((self.file.finish(json)?, footer))
    }

    fn close_batch(&mut self) -> Result<()> {
        if self.builder.rows() == 0 {
            return Ok(());
        }
        let batch = self.builder.encode()?;
        self.put(&batch)
    }

    fn put(&mut self, batch: &EncodedBatch) -> Result<()> {
        let offset = self.file.append(&batch.message)?;
        self.batches.push(BatchRecord {
            offset,
            length: batch.message.len(),
            rows: batch.rows,
            tokens: batch.tokens,
            hash: batch.message.hash,
        });
        Ok(())
    }
}

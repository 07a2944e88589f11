//! Writes documents as an Arrow IPC file, zstd per buffer, a hash per record batch.
//! Memory: one record batch (about 2.3 bytes a token, twice while it is compressed).

use crate::base::boundaries::{Boundaries, BoundarySlice};
use crate::base::error::{Error, Result};
use crate::base::fingerprint::Hasher;
use crate::base::token::TokenId;
use crate::columnar::footer::{BatchRecord, Footer, KEY};
use crate::columnar::schema;
use crate::storage::manifest::FORMAT;
use arrow_array::{
    ArrayRef, BooleanArray, ListArray, RecordBatch, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_buffer::{BooleanBuffer, Buffer, OffsetBuffer, ScalarBuffer};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_schema::{ArrowError, Schema};
use std::io::{self, Write};
use std::sync::Arc;

/// Level 1 costs 3 % of the size of level 3 and is twice as fast (notes on zstd of
/// 16-bit ids: 1.45 against 1.41 bytes a token).
const ZSTD_LEVEL: i32 = 1;

/// How a document file is laid out.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Ids take 32 bits.
    pub wide: bool,
    /// There is a `span_start` plane.
    pub spans: bool,
    /// A record batch is closed once it has this many tokens.
    pub batch_tokens: u32,
}

/// Writes documents one after the other.
pub struct DocumentWriter<W: Write> {
    file: FileWriter<Tally<W>>,
    schema: Arc<Schema>,
    layout: Layout,
    place: String,
    ids: Vec<u64>,
    ends: Vec<i32>,
    narrow: Vec<u16>,
    wide: Vec<u32>,
    words: Boundaries,
    spans: Boundaries,
    batches: Vec<BatchRecord>,
}

impl<W: Write> DocumentWriter<W> {
    /// Begins a file on `out`; `place` names it in messages.
    pub fn new(out: W, place: impl Into<String>, layout: Layout) -> Result<Self> {
        let place = place.into();
        let schema = Arc::new(schema::documents(layout.wide, layout.spans));
        let options = zstd_options().map_err(|error| written(&place, error))?;
        let file = FileWriter::try_new_with_options(Tally::new(out), &schema, options)
            .map_err(|error| written(&place, error))?;
        Ok(Self {
            file,
            schema,
            layout,
            place,
            ids: Vec::new(),
            ends: Vec::new(),
            narrow: Vec::new(),
            wide: Vec::new(),
            words: Boundaries::new(),
            spans: Boundaries::new(),
            batches: Vec::new(),
        })
    }

    /// Appends one document. `word_start` (and `span_start`, exactly when the layout
    /// has spans) have one bit per token.
    pub fn push(
        &mut self,
        document_id: u64,
        tokens: &[TokenId],
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
        if self.layout.wide {
            self.wide.extend_from_slice(tokens);
        } else {
            for &token in tokens {
                self.narrow.push(u16::try_from(token).map_err(|_| {
                    Error::mismatch(
                        format!("{}, document {document_id}", self.place),
                        format!("token id {token}"),
                        "ids below 65536 in a file of 16-bit ids",
                        "the tokenizer does not fit these files: tokenise again with one tokenizer",
                    )
                })?);
            }
        }
        self.words.extend(word_start);
        if let Some(spans) = span_start {
            self.spans.extend(spans);
        }
        self.ids.push(document_id);
        let total = self.pending_tokens();
        self.ends.push(i32::try_from(total).map_err(|_| {
            Error::input(
                format!("{}, document {document_id}", self.place),
                format!("{total} tokens in one record batch"),
                "at most 2147483647",
                "split the document",
            )
        })?);
        if total >= self.layout.batch_tokens as usize {
            self.close_batch()?;
        }
        Ok(())
    }

    /// Documents and tokens written so far, the open record batch included.
    pub fn written(&self) -> (u64, u64) {
        let rows: u64 = self.batches.iter().map(|batch| batch.rows).sum();
        let tokens: u64 = self.batches.iter().map(|batch| batch.tokens).sum();
        (
            rows + self.ids.len() as u64,
            tokens + self.pending_tokens() as u64,
        )
    }

    /// Writes what is left and the footer with `note`, and hands the sink back.
    pub fn finish(mut self, note: serde_json::Value) -> Result<(W, Footer)> {
        if !self.ids.is_empty() {
            self.close_batch()?;
        }
        let footer = Footer {
            format: FORMAT,
            batches: self.batches,
            note,
        };
        let json = serde_json::to_string(&footer)
            .map_err(|error| Error::library(format!("writing {}", self.place), error))?;
        self.file.write_metadata(KEY, json);
        let tally = self
            .file
            .into_inner()
            .map_err(|error| written(&self.place, error))?;
        Ok((tally.into_inner(), footer))
    }

    fn pending_tokens(&self) -> usize {
        self.narrow.len() + self.wide.len()
    }

    fn close_batch(&mut self) -> Result<()> {
        let rows = self.ids.len() as u64;
        let tokens = self.pending_tokens();
        let mut ends = std::mem::take(&mut self.ends);
        ends.insert(0, 0);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
        let list = |values: ArrayRef, column: usize| -> Result<ArrayRef> {
            let item = match self.schema.field(column).data_type() {
                arrow_schema::DataType::List(item) => item.clone(),
                other => {
                    return Err(Error::library(
                        format!("writing {}", self.place),
                        format!("column {column} is {other}, not a list"),
                    ));
                }
            };
            ListArray::try_new(item, offsets.clone(), values, None)
                .map(|array| Arc::new(array) as ArrayRef)
                .map_err(|error| written(&self.place, error))
        };
        let ids: ArrayRef = if self.layout.wide {
            Arc::new(UInt32Array::from(std::mem::take(&mut self.wide)))
        } else {
            Arc::new(UInt16Array::from(std::mem::take(&mut self.narrow)))
        };
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(std::mem::take(&mut self.ids))),
            list(ids, 1)?,
            list(bits(&self.words, tokens), 2)?,
        ];
        if self.layout.spans {
            columns.push(list(bits(&self.spans, tokens), 3)?);
        }
        self.words.clear();
        self.spans.clear();
        let batch = RecordBatch::try_new(self.schema.clone(), columns)
            .map_err(|error| written(&self.place, error))?;
        let offset = self.file.get_mut().begin();
        self.file
            .write(&batch)
            .map_err(|error| written(&self.place, error))?;
        let (end, hash) = self.file.get_mut().end();
        self.batches.push(BatchRecord {
            offset,
            length: end - offset,
            rows,
            tokens: tokens as u64,
            hash,
        });
        Ok(())
    }
}

fn bits(plane: &Boundaries, len: usize) -> ArrayRef {
    let buffer = Buffer::from(plane.as_bytes().to_vec());
    Arc::new(BooleanArray::new(BooleanBuffer::new(buffer, 0, len), None))
}

/// zstd for every buffer.
pub(super) fn zstd_options() -> Result<IpcWriteOptions, ArrowError> {
    IpcWriteOptions::default()
        .try_with_compression(Some(CompressionType::ZSTD))
        .and_then(|options| options.try_with_compression_level(Some(ZSTD_LEVEL)))
}

/// A failure while `place` is written.
pub(super) fn written(place: &str, error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, source) => Error::io("write", place, source),
        other => Error::library(format!("writing {place}"), other),
    }
}

/// Counts and hashes what goes through.
pub(super) struct Tally<W> {
    out: W,
    bytes: u64,
    hasher: Hasher,
}

impl<W> Tally<W> {
    /// Nothing written to `out` yet.
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            bytes: 0,
            hasher: Hasher::new(),
        }
    }

    /// Begins a record batch: its offset.
    pub(super) fn begin(&mut self) -> u64 {
        self.hasher = Hasher::new();
        self.bytes
    }

    /// Ends it: the offset behind it and its hash.
    pub(super) fn end(&self) -> (u64, u64) {
        (self.bytes, self.hasher.digest64())
    }

    /// Hands the sink back.
    pub(super) fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write> Write for Tally<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

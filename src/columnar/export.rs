//! Documents as a Parquet table for other programs: one a row, its ids and where words
//! (and masking units) start, as lists. Memory: one row group of 4 Mi tokens, about 10 MB.

use crate::base::boundaries::BoundarySlice;
use crate::base::error::{Error, Result};
use crate::base::token::TokenId;
use crate::columnar::footer::KEY;
use crate::columnar::parquet_file::written;
use arrow_array::builder::{BooleanBuilder, ListBuilder, UInt16Builder, UInt32Builder};
use arrow_array::{ArrayRef, RecordBatch, UInt64Array};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use std::io::Write;
use std::sync::Arc;

/// Tokens that are handed to Parquet at once, and that a row group has.
const BATCH_TOKENS: usize = 1 << 16;
const GROUP_TOKENS: usize = 1 << 22;

/// The schema of an exported table; `column` names the ids.
pub fn schema(column: &str, wide: bool, spans: bool) -> Schema {
    let list = |name: &str, of: DataType| {
        let item = Arc::new(Field::new("item", of, false));
        Field::new(name, DataType::List(item), false)
    };
    let id = match wide {
        true => DataType::UInt32,
        false => DataType::UInt16,
    };
    let mut fields = vec![
        Field::new("document_id", DataType::UInt64, false),
        list(column, id),
        list("word_start", DataType::Boolean),
    ];
    if spans {
        fields.push(list("span_start", DataType::Boolean));
    }
    Schema::new(fields)
}

/// Writes one table.
pub struct TableWriter<W: Write + Send> {
    file: ArrowWriter<W>,
    schema: Arc<Schema>,
    place: String,
    wide: bool,
    spans: bool,
    ids: Vec<u64>,
    /// Ends of the documents in `tokens`.
    ends: Vec<usize>,
    tokens: Vec<TokenId>,
    words: Vec<bool>,
    units: Vec<bool>,
    group: usize,
    written: (u64, u64),
}

impl<W: Write + Send> TableWriter<W> {
    /// Begins a table on `out`; `place` names it in messages, `note` goes into its
    /// metadata.
    pub fn new(
        out: W,
        place: impl Into<String>,
        schema: Schema,
        note: &serde_json::Value,
    ) -> Result<Self> {
        let place = place.into();
        let column = schema.field(1).name().clone();
        let lists = [column.as_str(), "word_start", "span_start"];
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_key_value_metadata(Some(vec![KeyValue::new(KEY.to_owned(), note.to_string())]));
        for list in lists {
            // Ids are spread too wide for a dictionary of a page to pay.
            let path = ColumnPath::new(vec![list.into(), "list".into(), "item".into()]);
            properties = properties.set_column_dictionary_enabled(path, false);
        }
        let is_wide = schema == self::schema(&column, true, schema.fields().len() == 4);
        let spans = schema.fields().len() == 4;
        let schema = Arc::new(schema);
        let file = ArrowWriter::try_new(out, schema.clone(), Some(properties.build()))
            .map_err(|error| written(&place, error))?;
        Ok(Self {
            file,
            schema,
            place,
            wide: is_wide,
            spans,
            ids: Vec::new(),
            ends: Vec::new(),
            tokens: Vec::new(),
            words: Vec::new(),
            units: Vec::new(),
            group: 0,
            written: (0, 0),
        })
    }

    /// Appends one document; a plane that is shorter than the ids is filled with starts.
    pub fn push(
        &mut self,
        document_id: u64,
        tokens: &[TokenId],
        word_start: BoundarySlice<'_>,
        span_start: Option<BoundarySlice<'_>>,
    ) -> Result<()> {
        self.ids.push(document_id);
        self.tokens.extend_from_slice(tokens);
        self.ends.push(self.tokens.len());
        self.words.extend(word_start.iter());
        self.words.resize(self.tokens.len(), true);
        if self.spans {
            self.units
                .extend(span_start.into_iter().flat_map(BoundarySlice::iter));
            self.units.resize(self.tokens.len(), true);
        }
        self.written.0 += 1;
        self.written.1 += tokens.len() as u64;
        if self.tokens.len() >= BATCH_TOKENS || self.ids.len() >= BATCH_TOKENS {
            self.flush()?;
        }
        Ok(())
    }

    /// Documents and tokens so far.
    pub fn written(&self) -> (u64, u64) {
        self.written
    }

    /// Writes what is left and the footer, and hands the sink back.
    pub fn finish(mut self) -> Result<W> {
        self.flush()?;
        self.file
            .into_inner()
            .map_err(|error| written(&self.place, error))
    }

    fn flush(&mut self) -> Result<()> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let ids: ArrayRef = match self.wide {
            true => {
                let mut list = ListBuilder::new(UInt32Builder::with_capacity(self.tokens.len()))
                    .with_field(self.item(1)?);
                self.each(|range| {
                    list.values().append_slice(&self.tokens[range]);
                    list.append(true);
                });
                Arc::new(list.finish())
            }
            false => {
                let mut list = ListBuilder::new(UInt16Builder::with_capacity(self.tokens.len()))
                    .with_field(self.item(1)?);
                self.each(|range| {
                    for &id in &self.tokens[range] {
                        list.values().append_value(id as u16);
                    }
                    list.append(true);
                });
                Arc::new(list.finish())
            }
        };
        let mut columns = vec![
            Arc::new(UInt64Array::from(std::mem::take(&mut self.ids))) as ArrayRef,
            ids,
            self.bits(2, &self.words)?,
        ];
        if self.spans {
            columns.push(self.bits(3, &self.units)?);
        }
        let batch = RecordBatch::try_new(self.schema.clone(), columns)
            .map_err(|error| Error::library(format!("writing {}", self.place), error))?;
        let place = |error| written(&self.place, error);
        self.file.write(&batch).map_err(place)?;
        self.group += self.tokens.len();
        if self.group >= GROUP_TOKENS {
            self.file.flush().map_err(place)?;
            self.group = 0;
        }
        self.tokens.clear();
        self.ends.clear();
        self.words.clear();
        self.units.clear();
        Ok(())
    }

    fn bits(&self, column: usize, plane: &[bool]) -> Result<ArrayRef> {
        let mut list = ListBuilder::new(BooleanBuilder::with_capacity(plane.len()))
            .with_field(self.item(column)?);
        self.each(|range| {
            list.values().append_slice(&plane[range]);
            list.append(true);
        });
        Ok(Arc::new(list.finish()))
    }

    /// Hands the range of every document to `each`.
    fn each(&self, mut each: impl FnMut(std::ops::Range<usize>)) {
        let mut begin = 0;
        for &end in &self.ends {
            each(begin..end);
            begin = end;
        }
    }

    fn item(&self, column: usize) -> Result<Arc<Field>> {
        match self.schema.field(column).data_type() {
            DataType::List(item) => Ok(item.clone()),
            other => Err(Error::library(
                format!("writing {}", self.place),
                format!("column {column} is {other}, not a list"),
            )),
        }
    }
}

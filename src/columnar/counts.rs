//! N-gram counts as Parquet: `ngram` (word ids), `text` and `count`, sorted by ids,
//! with what they were made from in the metadata under the key `cloze`. Rows are
//! written in slices of fixed size, so the bytes depend on the rows alone.
//!
//! Memory: one row group while writing (12 MB for five words), one slice of it
//! decoded while reading.

use crate::base::error::{Error, Result};
use crate::columnar::footer::KEY;
use crate::columnar::parquet_file::{ParquetRows, broken, column, properties, written};
use crate::columnar::schema;
use arrow_array::cast::AsArray;
use arrow_array::types::{UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, ListArray, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Schema};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows handed to the library at a time.
const SLICE: usize = 1 << 14;

/// Writes n-grams of one length.
pub struct CountsWriter<W: Write + Send> {
    file: ArrowWriter<W>,
    schema: Arc<Schema>,
    place: String,
    length: usize,
    words: Vec<u32>,
    texts: String,
    ends: Vec<i32>,
    counts: Vec<u64>,
    rows: u64,
}

impl<W: Write + Send> CountsWriter<W> {
    /// Begins a file of n-grams of `length` words on `out`; `place` names it in
    /// messages.
    pub fn new(out: W, place: impl Into<String>, length: usize) -> Result<Self> {
        let place = place.into();
        let schema = Arc::new(schema::counts());
        let file = ArrowWriter::try_new(out, schema.clone(), Some(properties()))
            .map_err(|error| written(&place, error))?;
        Ok(Self {
            file,
            schema,
            place,
            length,
            words: Vec::with_capacity(SLICE * length),
            texts: String::new(),
            ends: Vec::with_capacity(SLICE + 1),
            counts: Vec::with_capacity(SLICE),
            rows: 0,
        })
    }

    /// Appends one n-gram; they must come in order of their words.
    pub fn push(&mut self, words: &[u32], text: &str, count: u64) -> Result<()> {
        debug_assert_eq!(words.len(), self.length);
        self.words.extend_from_slice(words);
        self.texts.push_str(text);
        self.ends.push(i32::try_from(self.texts.len()).map_err(|_| {
            Error::input(
                &self.place,
                format!("{} bytes of text in {SLICE} n-grams", self.texts.len()),
                "at most 2147483647",
                "leave words of such a length out of the corpus",
            )
        })?);
        self.counts.push(count);
        if self.counts.len() == SLICE {
            self.slice()?;
        }
        Ok(())
    }

    fn slice(&mut self) -> Result<()> {
        let rows = self.counts.len();
        let place = self.place.clone();
        let arrow = |error| written(&place, parquet::errors::ParquetError::from(error));
        let item = match self.schema.field(0).data_type() {
            DataType::List(item) => item.clone(),
            other => {
                return Err(Error::library(
                    format!("writing {place}"),
                    format!("column 0 is {other}, not a list"),
                ));
            }
        };
        let words: ArrayRef = Arc::new(UInt32Array::from(std::mem::take(&mut self.words)));
        let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(self.length, rows));
        let words = ListArray::try_new(item, offsets, words, None).map_err(arrow)?;
        let mut ends = std::mem::take(&mut self.ends);
        ends.insert(0, 0);
        let texts = std::mem::take(&mut self.texts).into_bytes();
        let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
        let texts = StringArray::try_new(offsets, texts.into(), None).map_err(arrow)?;
        let counts = UInt64Array::from(std::mem::take(&mut self.counts));
        let columns: Vec<ArrayRef> = vec![Arc::new(words), Arc::new(texts), Arc::new(counts)];
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(arrow)?;
        self.rows += rows as u64;
        self.file
            .write(&batch)
            .map_err(|error| written(&place, error))
    }

    /// Writes what is left with `note` as metadata; hands back the sink and the
    /// number of rows.
    pub fn finish(mut self, note: &serde_json::Value) -> Result<(W, u64)> {
        if !self.counts.is_empty() {
            self.slice()?;
        }
        self.file
            .append_key_value_metadata(KeyValue::new(KEY.to_owned(), note.to_string()));
        let out = self
            .file
            .into_inner()
            .map_err(|error| written(&self.place, error))?;
        Ok((out, self.rows))
    }
}

/// An open file of n-gram counts.
pub struct CountsFile {
    rows: ParquetRows,
}

impl CountsFile {
    /// Reads the footer of `path`.
    pub fn open(path: &Path) -> Result<Self> {
        ParquetRows::open(path, &schema::counts(), "n-gram counts of cloze")
            .map(|rows| Self { rows })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.rows.path()
    }

    /// Number of n-grams.
    pub fn rows(&self) -> u64 {
        self.rows.len()
    }

    /// What was written as metadata.
    pub fn note(&self) -> &serde_json::Value {
        self.rows.note()
    }

    /// Texts and counts one by one, for merging with those of other files.
    pub fn into_texts(self) -> Result<Texts> {
        Ok(Texts {
            path: self.rows.path().to_owned(),
            batches: Box::new(self.rows.batches()?),
            texts: StringArray::new_null(0),
            counts: UInt64Array::new_null(0),
            next: 0,
        })
    }

    /// Hands words, text and count of every n-gram to `each`, in order.
    pub fn read(self, mut each: impl FnMut(&[u32], &str, u64) -> Result<()>) -> Result<()> {
        let path = self.rows.path().to_owned();
        for batch in self.rows.batches()? {
            let batch = batch?;
            let words = column(&path, &batch, 0)?.as_list::<i32>();
            let texts = column(&path, &batch, 1)?.as_string::<i32>();
            let counts = column(&path, &batch, 2)?.as_primitive::<UInt64Type>();
            let ids = words.values().as_primitive::<UInt32Type>().values();
            if words.null_count() + texts.null_count() + counts.null_count() > 0 {
                return Err(broken(&path, "a missing value"));
            }
            let offsets = words.value_offsets();
            for row in 0..batch.num_rows() {
                let ids = &ids[offsets[row] as usize..offsets[row + 1] as usize];
                each(ids, texts.value(row), counts.value(row))?;
            }
        }
        Ok(())
    }
}

/// Walks over texts and counts of a file of n-gram counts.
pub struct Texts {
    path: PathBuf,
    batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
    texts: StringArray,
    counts: UInt64Array,
    /// Row behind the one at hand.
    next: usize,
}

impl Texts {
    /// Goes on to the next row; `false` behind the last one.
    pub fn advance(&mut self) -> Result<bool> {
        while self.next == self.counts.len() {
            let Some(batch) = self.batches.next().transpose()? else {
                return Ok(false);
            };
            self.texts = column(&self.path, &batch, 1)?.as_string::<i32>().clone();
            self.counts = column(&self.path, &batch, 2)?
                .as_primitive::<UInt64Type>()
                .clone();
            if self.texts.null_count() + self.counts.null_count() > 0 {
                return Err(broken(&self.path, "a missing value"));
            }
            self.next = 0;
        }
        self.next += 1;
        Ok(true)
    }

    /// Text of the row at hand.
    pub fn text(&self) -> &str {
        self.texts.value(self.next - 1)
    }

    /// Count of the row at hand.
    pub fn count(&self) -> u64 {
        self.counts.value(self.next - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn counts_come_back_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("counts-2.parquet");
        // More than one slice and one row group.
        let ngrams: Vec<([u32; 2], String, u64)> = (0..300_000u32)
            .map(|n| {
                (
                    [n / 7, n % 7],
                    format!("w{} w{}", n / 7, n % 7),
                    u64::from(n) + 1,
                )
            })
            .collect();
        let mut writer =
            CountsWriter::new(std::fs::File::create(&path).unwrap(), "test", 2).unwrap();
        for (words, text, count) in &ngrams {
            writer.push(words, text, *count).unwrap();
        }
        let (_, rows) = writer.finish(&json!({"length": 2})).unwrap();
        assert_eq!(rows, 300_000);
        let file = CountsFile::open(&path).unwrap();
        assert_eq!((file.rows(), file.note()), (300_000, &json!({"length": 2})));
        let mut at = 0;
        file.read(|words, text, count| {
            let (expected, expected_text, expected_count) = &ngrams[at];
            assert_eq!(
                (words, text, count),
                (&expected[..], &**expected_text, *expected_count)
            );
            at += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(at, ngrams.len());
    }

    #[test]
    fn another_parquet_file_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("counts-2.parquet");
        std::fs::write(&path, b"PAR1 and no more").unwrap();
        let message = CountsFile::open(&path).err().unwrap().to_string();
        assert!(message.contains("counts-2.parquet"), "{message}");
    }
}

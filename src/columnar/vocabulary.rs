//! A masking vocabulary as Parquet: `ngram` (words joined by one space), `length`,
//! `count` and `score`, by length and then by rank, with what it was made from in
//! the metadata under the key `cloze`. Memory: one row group.

use crate::base::error::{Error, Result};
use crate::columnar::footer::KEY;
use crate::columnar::parquet_file::{ParquetRows, broken, column, properties, written};
use crate::columnar::schema;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, UInt32Type, UInt64Type};
use arrow_array::{
    Array, ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array, UInt64Array,
};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Rows handed to the library at a time.
const SLICE: usize = 1 << 14;

/// One n-gram of a masking vocabulary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry<'a> {
    /// Its words, joined by one space.
    pub ngram: &'a str,
    /// Number of words.
    pub length: u32,
    /// Occurrences in the corpus; 0 where they are not known.
    pub count: u64,
    /// What it was ranked by.
    pub score: f64,
}

/// Writes `entries` to `out` with `note` as metadata and hands the sink back;
/// `place` names it in messages.
pub fn write_vocabulary<'a, W: Write + Send>(
    out: W,
    place: &str,
    entries: impl Iterator<Item = Entry<'a>>,
    note: &serde_json::Value,
) -> Result<W> {
    let schema = Arc::new(schema::vocabulary());
    let failed = |error| written(place, error);
    let mut file = ArrowWriter::try_new(out, schema.clone(), Some(properties())).map_err(failed)?;
    let mut entries = entries.peekable();
    while entries.peek().is_some() {
        let slice: Vec<Entry> = entries.by_ref().take(SLICE).collect();
        let ngrams = StringArray::from_iter_values(slice.iter().map(|entry| entry.ngram));
        let lengths = UInt32Array::from_iter_values(slice.iter().map(|entry| entry.length));
        let counts = UInt64Array::from_iter_values(slice.iter().map(|entry| entry.count));
        let scores = Float64Array::from_iter_values(slice.iter().map(|entry| entry.score));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(ngrams),
            Arc::new(lengths),
            Arc::new(counts),
            Arc::new(scores),
        ];
        let batch = RecordBatch::try_new(schema.clone(), columns)
            .map_err(|error| Error::library(format!("writing {place}"), error))?;
        file.write(&batch).map_err(failed)?;
    }
    file.append_key_value_metadata(KeyValue::new(KEY.to_owned(), note.to_string()));
    file.into_inner().map_err(failed)
}

/// An open masking vocabulary.
pub struct VocabularyFile {
    rows: ParquetRows,
}

impl VocabularyFile {
    /// Reads the footer of `path`.
    pub fn open(path: &Path) -> Result<Self> {
        ParquetRows::open(path, &schema::vocabulary(), "a masking vocabulary of cloze")
            .map(|rows| Self { rows })
    }

    /// Number of n-grams.
    pub fn rows(&self) -> u64 {
        self.rows.len()
    }

    /// What was written as metadata.
    pub fn note(&self) -> &serde_json::Value {
        self.rows.note()
    }

    /// Hands every n-gram to `each`, in order.
    pub fn read(self, mut each: impl FnMut(Entry<'_>) -> Result<()>) -> Result<()> {
        let path = self.rows.path().to_owned();
        for batch in self.rows.batches()? {
            let batch = batch?;
            let ngrams = column(&path, &batch, 0)?.as_string::<i32>();
            let lengths = column(&path, &batch, 1)?.as_primitive::<UInt32Type>();
            let counts = column(&path, &batch, 2)?.as_primitive::<UInt64Type>();
            let scores = column(&path, &batch, 3)?.as_primitive::<Float64Type>();
            if batch.columns().iter().any(|column| column.null_count() > 0) {
                return Err(broken(&path, "a missing value"));
            }
            for row in 0..batch.num_rows() {
                each(Entry {
                    ngram: ngrams.value(row),
                    length: lengths.value(row),
                    count: counts.value(row),
                    score: scores.value(row),
                })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vocabulary.parquet");
        let entries = [
            Entry {
                ngram: "new york",
                length: 2,
                count: 12,
                score: 7.5,
            },
            Entry {
                ngram: "editor in chief",
                length: 3,
                count: 0,
                score: f64::MIN,
            },
        ];
        let note = serde_json::json!({"score": "pmi"});
        let out = std::fs::File::create(&path).unwrap();
        write_vocabulary(out, "test", entries.into_iter(), &note).unwrap();
        let file = VocabularyFile::open(&path).unwrap();
        assert_eq!((file.rows(), file.note()), (2, &note));
        let mut at = 0;
        file.read(|entry| {
            assert_eq!(entry, entries[at]);
            at += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(at, 2);
    }
}

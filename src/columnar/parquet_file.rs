//! What our Parquet files have in common: how they are compressed, and that a file
//! with other columns, or of a newer format, is refused by name. Parquet has no hash
//! of its own that is always there; the manifest's hash of the file is what
//! `verify` checks.

use crate::base::error::{Error, Result};
use crate::columnar::footer::KEY;
use crate::columnar::schema;
use crate::storage::manifest::FORMAT;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::Schema;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Rows in a row group: 12 MB of n-grams of five words before compression, so that
/// files of five lengths can be open at once.
const ROW_GROUP: usize = 1 << 18;

/// zstd at its default level; texts are distinct, so a dictionary of them is waste.
pub(super) fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .set_column_dictionary_enabled(ColumnPath::from("text"), false)
        .set_column_dictionary_enabled(ColumnPath::from("ngram"), false)
        .build()
}

/// A failure while `place` is written.
pub(super) fn written(place: &str, error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(source) => Error::io("write", place, *source),
            Err(source) => Error::library(format!("writing {place}"), source),
        },
        other => Error::library(format!("writing {place}"), other),
    }
}

/// What is wrong with the file `path`.
pub(super) fn broken(path: &Path, found: impl Into<String>) -> Error {
    Error::corrupt(
        path.display().to_string(),
        found,
        "the file as it was written",
        "run `cloze verify` on it, then make it again with its stage",
    )
}

/// Column `index` of a batch.
pub(super) fn column<'a>(
    path: &Path,
    batch: &'a RecordBatch,
    index: usize,
) -> Result<&'a ArrayRef> {
    batch
        .columns()
        .get(index)
        .ok_or_else(|| broken(path, format!("{} columns", batch.num_columns())))
}

/// An open Parquet file of ours.
pub(super) struct ParquetRows {
    path: PathBuf,
    builder: ParquetRecordBatchReaderBuilder<File>,
    note: serde_json::Value,
    rows: u64,
}

impl ParquetRows {
    /// Reads the footer of `path`, which must have the columns of `schema`; `what`
    /// names such a file.
    pub(super) fn open(path: &Path, schema: &Schema, what: &str) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)
            .map_err(|error| broken(path, error.to_string()))?;
        let other = |found: String| {
            Error::mismatch(
                path.display().to_string(),
                found,
                what,
                "give a file that cloze wrote; a list of n-grams, one a line, is taken with --import",
            )
        };
        let found = builder.schema();
        if found.fields() != schema.fields() {
            return Err(other(format!("columns {}", schema::as_json(found))));
        }
        let metadata = builder.metadata().file_metadata();
        let note = metadata
            .key_value_metadata()
            .into_iter()
            .flatten()
            .find(|pair| pair.key == KEY)
            .and_then(|pair| pair.value.as_deref())
            .ok_or_else(|| other("no `cloze` in its metadata".into()))?;
        let note: serde_json::Value =
            serde_json::from_str(note).map_err(|error| broken(path, error.to_string()))?;
        let format = note.get("format").and_then(serde_json::Value::as_u64);
        if format.is_some_and(|format| format > FORMAT.into()) {
            return Err(Error::mismatch(
                path.display().to_string(),
                format!("format version {}", format.unwrap_or_default()),
                format!("version {FORMAT} or older"),
                "install a newer cloze, or make the file again with this one",
            ));
        }
        Ok(Self {
            rows: u64::try_from(metadata.num_rows()).unwrap_or(0),
            path: path.to_owned(),
            builder,
            note,
        })
    }

    /// Number of rows.
    pub(super) fn len(&self) -> u64 {
        self.rows
    }

    /// What was written as metadata.
    pub(super) fn note(&self) -> &serde_json::Value {
        &self.note
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// All rows in order.
    pub(super) fn batches(self) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send> {
        let all: Vec<usize> = (0..self.builder.schema().fields().len()).collect();
        self.batches_of(&all)
    }

    /// Columns `columns` of all rows in order.
    pub(super) fn batches_of(
        self,
        columns: &[usize],
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
        let path = self.path;
        let wanted = ProjectionMask::roots(self.builder.parquet_schema(), columns.iter().copied());
        let reader = self
            .builder
            .with_projection(wanted)
            .with_batch_size(1 << 13)
            .build()
            .map_err(|error| broken(&path, error.to_string()))?;
        Ok(reader.map(move |batch| batch.map_err(|error| broken(&path, error.to_string()))))
    }
}

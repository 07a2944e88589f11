//! One text column of a Parquet or Arrow IPC file (file or stream form), read from the
//! beginning to the end, each record batch once. Memory: one record batch of a file; of
//! Parquet's column about 4 MiB.

use crate::base::error::{Error, Result};
use crate::storage::cache::copy_of_input;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchReader};
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, DataType, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

/// The kind of columnar file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnarFormat {
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC, file or stream.
    Arrow,
}

/// Bytes of text that are decoded at a time, about, where the format leaves the choice.
const BATCH_BYTES: u64 = 4 << 20;

/// No more rows are decoded at a time, whatever they hold.
const BATCH_ROWS: u64 = 8192;

/// A text column, batch by batch.
pub struct TextColumn {
    path: PathBuf,
    format: ColumnarFormat,
    batches: Batches,
    /// How many batches there are, as far as the file says it.
    count: Option<u64>,
}

/// Some values of a text column.
pub struct TextRows {
    column: ArrayRef,
}

type Batches = Box<dyn Iterator<Item = std::result::Result<RecordBatch, ArrowError>> + Send>;

impl TextColumn {
    /// Opens `column` of the file at `path`; refuses a missing column and one that
    /// holds no text. Reads no value yet.
    pub fn open(path: &Path, column: &str, format: ColumnarFormat) -> Result<Self> {
        let path = &copy_of_input(path)?;
        let broken = |error: &dyn std::fmt::Display| broken(path, format, error);
        let mut file = File::open(path).map_err(|e| Error::io("read", path, e))?;
        let (batches, count): (Batches, _) = match format {
            ColumnarFormat::Parquet => {
                let builder =
                    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| broken(&e))?;
                let index = column_index(path, column, builder.schema())?;
                let rows = builder.metadata().file_metadata().num_rows() as u64;
                let batch = batch_rows(&builder, index, rows);
                let mask = ProjectionMask::roots(builder.parquet_schema(), [index]);
                let reader = builder
                    .with_projection(mask)
                    .with_batch_size(batch as usize)
                    .build()
                    .map_err(|e| broken(&e))?;
                (Box::new(reader), Some(rows.div_ceil(batch)))
            }
            ColumnarFormat::Arrow => {
                let mut magic = [0; 6];
                let is_file = file.read_exact(&mut magic).is_ok() && &magic == b"ARROW1";
                let mut open = || -> Result<BufReader<File>> {
                    file.rewind()
                        .and_then(|()| file.try_clone())
                        .map(BufReader::new)
                        .map_err(|e| Error::io("read", path, e))
                };
                if is_file {
                    let whole = FileReader::try_new(open()?, None).map_err(|e| broken(&e))?;
                    let index = column_index(path, column, &whole.schema())?;
                    let reader =
                        FileReader::try_new(open()?, Some(vec![index])).map_err(|e| broken(&e))?;
                    let count = reader.num_batches() as u64;
                    (Box::new(reader), Some(count))
                } else {
                    let whole = StreamReader::try_new(open()?, None).map_err(|e| broken(&e))?;
                    let index = column_index(path, column, &RecordBatchReader::schema(&whole))?;
                    let reader = StreamReader::try_new(open()?, Some(vec![index]))
                        .map_err(|e| broken(&e))?;
                    (Box::new(reader), None)
                }
            }
        };
        Ok(Self {
            path: path.to_owned(),
            format,
            batches,
            count,
        })
    }

    /// Number of batches, as far as the file says it.
    pub fn batch_count(&self) -> Option<u64> {
        self.count
    }
}

impl Iterator for TextColumn {
    type Item = Result<TextRows>;

    fn next(&mut self) -> Option<Result<TextRows>> {
        let batch = self.batches.next()?;
        Some(match batch {
            Ok(batch) => Ok(TextRows {
                column: batch.column(0).clone(),
            }),
            Err(error) => Err(broken(&self.path, self.format, &error)),
        })
    }
}

impl TextRows {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.column.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.column.is_empty()
    }

    /// The value at `index`; `None` is a null. Panics beyond the last one.
    pub fn get(&self, index: usize) -> Option<&str> {
        let column = &self.column;
        column.is_valid(index).then(|| match column.data_type() {
            DataType::LargeUtf8 => column.as_string::<i64>().value(index),
            DataType::Utf8View => column.as_string_view().value(index),
            _ => column.as_string::<i32>().value(index),
        })
    }
}

/// Rows of column `index` that are about [`BATCH_BYTES`] of text, by what the row groups
/// say of their size.
fn batch_rows(builder: &ParquetRecordBatchReaderBuilder<File>, index: usize, rows: u64) -> u64 {
    let schema = builder.parquet_schema();
    let leaves =
        (0..schema.num_columns()).filter(|&leaf| schema.get_column_root_idx(leaf) == index);
    let bytes: i64 = leaves
        .flat_map(|leaf| {
            let groups = builder.metadata().row_groups().iter();
            groups.map(move |group| group.column(leaf).uncompressed_size())
        })
        .sum();
    let per_row = (bytes.max(0) as u64 / rows.max(1)).max(1);
    (BATCH_BYTES / per_row).clamp(1, BATCH_ROWS)
}

fn column_index(path: &Path, column: &str, schema: &Schema) -> Result<usize> {
    let (index, field) = schema.column_with_name(column).ok_or_else(|| {
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        Error::input(
            path.display().to_string(),
            format!("columns {}", names.join(", ")),
            format!("a column {column:?}"),
            "name the column that holds the text with --text-field",
        )
    })?;
    match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ok(index),
        other => Err(Error::input(
            format!("{}, column {column}", path.display()),
            other.to_string(),
            "text",
            "name the column that holds the text with --text-field",
        )),
    }
}

fn broken(path: &Path, format: ColumnarFormat, error: &dyn std::fmt::Display) -> Error {
    Error::corrupt(
        path.display().to_string(),
        error.to_string(),
        match format {
            ColumnarFormat::Parquet => "a Parquet file",
            ColumnarFormat::Arrow => "an Arrow IPC file or stream",
        },
        "the file is damaged or of another format (see --format)",
    )
}

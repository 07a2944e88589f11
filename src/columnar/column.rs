//! One column of a Parquet or Arrow IPC file (file or stream form) that another program
//! wrote, read from the beginning to the end, each record batch once. Opening reads the
//! schema. Memory: one record batch of a file; of Parquet's column about 4 MiB.

use crate::base::error::{Error, Result};
use crate::columnar::message::{END, MAGIC};
use crate::storage::cache::copy_of_input;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchReader};
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// The kind of columnar file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnarFormat {
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC, file or stream.
    Arrow,
}

/// Bytes of values that are decoded at a time, about, where the format leaves the choice.
const BATCH_BYTES: u64 = 4 << 20;

/// No more rows are decoded at a time, whatever they hold.
const BATCH_ROWS: u64 = 8192;

type Batches = Box<dyn Iterator<Item = std::result::Result<RecordBatch, ArrowError>> + Send>;

/// A column, batch by batch. Behind an error nothing follows.
pub(super) struct Column {
    path: PathBuf,
    format: ColumnarFormat,
    batches: Batches,
    /// How many batches there are, as far as the file says it.
    pub(super) batch_count: Option<u64>,
    left: Left,
    broken: bool,
}

/// What is to come, as far as the file says it.
enum Left {
    Rows(u64),
    Batches(u64),
    Unknown,
}

impl Column {
    /// Opens the column of the file at `path` that `find` picks by its index in the
    /// schema. Reads no value yet.
    pub(super) fn open(
        path: &Path,
        format: ColumnarFormat,
        find: impl FnOnce(&Schema) -> Result<usize>,
    ) -> Result<Self> {
        let path = &copy_of_input(path)?;
        unpanicked(|| Self::try_open(path, format, find))
            .unwrap_or_else(|panic| Err(broken(path, format, &panic)))
    }

    fn try_open(
        path: &Path,
        format: ColumnarFormat,
        find: impl FnOnce(&Schema) -> Result<usize>,
    ) -> Result<Self> {
        let broken = |error: &dyn fmt::Display| broken(path, format, error);
        let open = || File::open(path).map_err(|error| Error::io("read", path, error));
        let (batches, batch_count, left): (Batches, _, _) = match format {
            ColumnarFormat::Parquet => {
                let builder =
                    ParquetRecordBatchReaderBuilder::try_new(open()?).map_err(|e| broken(&e))?;
                let index = find(builder.schema())?;
                let rows = builder.metadata().file_metadata().num_rows().max(0) as u64;
                let batch = batch_rows(&builder, index, rows);
                let mask = ProjectionMask::roots(builder.parquet_schema(), [index]);
                let reader = builder
                    .with_projection(mask)
                    .with_batch_size(batch as usize)
                    .build()
                    .map_err(|e| broken(&e))?;
                let count = rows.div_ceil(batch);
                (Box::new(reader), Some(count), Left::Rows(rows))
            }
            ColumnarFormat::Arrow if is_file(&mut open()?) => {
                let whole =
                    FileReader::try_new(BufReader::new(open()?), None).map_err(|e| broken(&e))?;
                let index = Some(vec![find(&whole.schema())?]);
                let reader =
                    FileReader::try_new(BufReader::new(open()?), index).map_err(|e| broken(&e))?;
                let count = reader.num_batches() as u64;
                (Box::new(reader), Some(count), Left::Batches(count))
            }
            ColumnarFormat::Arrow => {
                let whole =
                    StreamReader::try_new(BufReader::new(open()?), None).map_err(|e| broken(&e))?;
                let index = Some(vec![find(&RecordBatchReader::schema(&whole))?]);
                let reader = StreamReader::try_new(BufReader::new(open()?), index)
                    .map_err(|e| broken(&e))?;
                let cut = (!ends_by_mark(&mut open()?)).then(|| {
                    let found = "no mark of the end behind its last batch: it may be cut short";
                    Err(ArrowError::IpcError(found.into()))
                });
                (Box::new(reader.chain(cut)), None, Left::Unknown)
            }
        };
        Ok(Self {
            path: path.to_owned(),
            format,
            batches,
            batch_count,
            left,
            broken: false,
        })
    }

    /// The next batch; of a file that says how many rows or batches it has, as many.
    fn next_batch(&mut self) -> std::result::Result<Option<ArrayRef>, ArrowError> {
        let batch = unpanicked(|| self.batches.next())?.transpose()?;
        let rows = batch.as_ref().map(|batch| batch.num_rows() as u64);
        let (left, found) = match (&mut self.left, rows) {
            // A batch of no rows is none of Parquet's.
            (Left::Rows(left), Some(0)) => (left, 0),
            (Left::Rows(left), rows) => (left, rows.unwrap_or(0)),
            (Left::Batches(left), rows) => (left, rows.map_or(0, |_| 1)),
            (Left::Unknown, _) => return Ok(batch.map(|batch| batch.column(0).clone())),
        };
        let ends = batch.is_none();
        if ends != (found == 0) || found > *left || ends && *left > 0 {
            let found = format!("{found} rows or batches, of {left} that are still to come");
            return Err(ArrowError::ParseError(found));
        }
        *left -= found;
        Ok(batch.map(|batch| batch.column(0).clone()))
    }
}

impl Iterator for Column {
    type Item = Result<ArrayRef>;

    fn next(&mut self) -> Option<Result<ArrayRef>> {
        if self.broken {
            return None;
        }
        let column = self.next_batch().transpose()?;
        self.broken = column.is_err();
        Some(column.map_err(|error| broken(&self.path, self.format, &error)))
    }
}

/// What `read` gives. The libraries' readers trust some numbers of a file and panic where
/// these are wrong: that is an error of the file.
fn unpanicked<T>(read: impl FnOnce() -> T) -> std::result::Result<T, ArrowError> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or(panic.downcast_ref::<&str>().copied());
        ArrowError::ParseError(words.unwrap_or("numbers that do not fit").to_owned())
    })
}

/// An error that says what columns there are.
pub(super) fn no_column(path: &Path, schema: &Schema, expected: String, remedy: &str) -> Error {
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    Error::input(
        path.display().to_string(),
        format!("columns {}", names.join(", ")),
        expected,
        remedy,
    )
}

/// Rows of column `index` that are about [`BATCH_BYTES`], by what the row groups say of
/// their size.
fn batch_rows(builder: &ParquetRecordBatchReaderBuilder<File>, index: usize, rows: u64) -> u64 {
    let schema = builder.parquet_schema();
    let leaves =
        (0..schema.num_columns()).filter(|&leaf| schema.get_column_root_idx(leaf) == index);
    let bytes: i64 = leaves
        .flat_map(|leaf| {
            let groups = builder.metadata().row_groups().iter();
            groups.map(move |group| group.column(leaf).uncompressed_size())
        })
        .fold(0, i64::saturating_add);
    let per_row = (bytes.max(0) as u64 / rows.max(1)).max(1);
    (BATCH_BYTES / per_row).clamp(1, BATCH_ROWS)
}

/// Whether an Arrow IPC file is of the file form.
fn is_file(file: &mut File) -> bool {
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic).is_ok() && magic == *MAGIC
}

/// Whether a stream ends as its writer ends it. Without the mark it may be whole all the
/// same, but nothing tells it from one that was cut between two batches.
fn ends_by_mark(file: &mut File) -> bool {
    let mut last = [0; END.len()];
    let read = file
        .seek(SeekFrom::End(-(END.len() as i64)))
        .and_then(|_| file.read_exact(&mut last));
    read.is_ok() && last == END
}

fn broken(path: &Path, format: ColumnarFormat, error: &dyn fmt::Display) -> Error {
    Error::corrupt(
        path.display().to_string(),
        error.to_string(),
        match format {
            ColumnarFormat::Parquet => "a Parquet file",
            ColumnarFormat::Arrow => "an Arrow IPC file or stream",
        },
        "the file is damaged or of another format: copy it again, or see --format",
    )
}

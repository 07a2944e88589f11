//! One text column of a Parquet or Arrow IPC file (file or stream form), read in
//! record batches. Memory: one record batch of that column.

use crate::base::error::{Error, Result};
use crate::storage::cache::copy_of_input;
use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch, RecordBatchReader};
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, DataType, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The kind of columnar file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnarFormat {
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC, file or stream.
    Arrow,
}

/// A text column and its number of rows.
#[derive(Debug, Clone)]
pub struct TextColumn {
    path: PathBuf,
    column: String,
    format: ColumnarFormat,
    rows: u64,
}

type Batches = Box<dyn Iterator<Item = std::result::Result<RecordBatch, ArrowError>>>;

impl TextColumn {
    /// Opens `column` of the file at `path`; refuses a missing column and one that
    /// holds no text. Parquet gives its row count for free; an Arrow file is read once.
    pub fn open(path: &Path, column: &str, format: ColumnarFormat) -> Result<Self> {
        let mut this = Self {
            path: copy_of_input(path)?,
            column: column.to_owned(),
            format,
            rows: 0,
        };
        this.rows = match format {
            ColumnarFormat::Parquet => {
                let builder = this.parquet()?;
                this.column_index(builder.schema())?;
                u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0)
            }
            ColumnarFormat::Arrow => {
                let mut rows = 0;
                for batch in this.arrow()? {
                    rows += batch.map_err(|e| this.broken(e))?.num_rows() as u64;
                }
                rows
            }
        };
        Ok(this)
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Hands every value of `rows` to `each` with its row number; `None` is a null.
    pub fn read(
        &self,
        rows: Range<u64>,
        mut each: impl FnMut(u64, Option<&str>) -> Result<()>,
    ) -> Result<()> {
        let (batches, mut row): (Batches, u64) = match self.format {
            ColumnarFormat::Parquet => {
                let builder = self.parquet()?;
                let index = self.column_index(builder.schema())?;
                let mask = ProjectionMask::roots(builder.parquet_schema(), [index]);
                let reader = builder
                    .with_projection(mask)
                    .with_offset(rows.start as usize)
                    .with_limit((rows.end - rows.start) as usize)
                    .build()
                    .map_err(|e| self.broken(e))?;
                (Box::new(reader), rows.start)
            }
            ColumnarFormat::Arrow => (self.arrow()?, 0),
        };
        for batch in batches {
            let batch = batch.map_err(|e| self.broken(e))?;
            let end = row + batch.num_rows() as u64;
            if end > rows.start {
                self.visit(&batch, row, &rows, &mut each)?;
            }
            row = end;
            if row >= rows.end {
                break;
            }
        }
        Ok(())
    }

    fn visit(
        &self,
        batch: &RecordBatch,
        first: u64,
        rows: &Range<u64>,
        each: &mut impl FnMut(u64, Option<&str>) -> Result<()>,
    ) -> Result<()> {
        let column = batch.column(0);
        let value = |index: usize| match column.data_type() {
            DataType::LargeUtf8 => column.as_string::<i64>().value(index),
            DataType::Utf8View => column.as_string_view().value(index),
            _ => column.as_string::<i32>().value(index),
        };
        for index in 0..batch.num_rows() {
            let row = first + index as u64;
            if rows.contains(&row) {
                each(row, column.is_valid(index).then(|| value(index)))?;
            }
        }
        Ok(())
    }

    fn parquet(&self) -> Result<ParquetRecordBatchReaderBuilder<File>> {
        let file = File::open(&self.path).map_err(|e| Error::io("read", &self.path, e))?;
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| self.broken(e))
    }

    /// Record batches of an Arrow file with the text column only.
    fn arrow(&self) -> Result<Batches> {
        let mut file = File::open(&self.path).map_err(|e| Error::io("read", &self.path, e))?;
        let mut magic = [0; 6];
        let is_file = file.read_exact(&mut magic).is_ok() && &magic == b"ARROW1";
        let mut open = || -> Result<BufReader<File>> {
            file.seek(SeekFrom::Start(0))
                .map_err(|e| Error::io("read", &self.path, e))?;
            file.try_clone()
                .map(BufReader::new)
                .map_err(|e| Error::io("read", &self.path, e))
        };
        if is_file {
            let whole = FileReader::try_new(open()?, None).map_err(|e| self.broken(e))?;
            let index = self.column_index(&whole.schema())?;
            let reader =
                FileReader::try_new(open()?, Some(vec![index])).map_err(|e| self.broken(e))?;
            Ok(Box::new(reader))
        } else {
            let whole = StreamReader::try_new(open()?, None).map_err(|e| self.broken(e))?;
            let index = self.column_index(&RecordBatchReader::schema(&whole))?;
            let reader =
                StreamReader::try_new(open()?, Some(vec![index])).map_err(|e| self.broken(e))?;
            Ok(Box::new(reader))
        }
    }

    fn column_index(&self, schema: &Schema) -> Result<usize> {
        let (index, field) = schema.column_with_name(&self.column).ok_or_else(|| {
            let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
            Error::input(
                self.path.display().to_string(),
                format!("columns {}", names.join(", ")),
                format!("a column {:?}", self.column),
                "name the column that holds the text with --text-field",
            )
        })?;
        match field.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ok(index),
            other => Err(Error::input(
                format!("{}, column {}", self.path.display(), self.column),
                other.to_string(),
                "text",
                "name the column that holds the text with --text-field",
            )),
        }
    }

    fn broken(&self, error: impl std::fmt::Display) -> Error {
        Error::corrupt(
            self.path.display().to_string(),
            error.to_string(),
            match self.format {
                ColumnarFormat::Parquet => "a Parquet file",
                ColumnarFormat::Arrow => "an Arrow IPC file or stream",
            },
            "the file is damaged or of another format (see --format)",
        )
    }
}

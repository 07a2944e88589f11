//! A column of token ids of a Parquet or Arrow IPC file (file or stream form) that
//! another program wrote: lists of any integers. Memory: one record batch of that column.

use crate::base::error::{Error, Result};
use crate::base::token::TokenId;
use crate::columnar::text::ColumnarFormat;
use crate::storage::cache::copy_of_input;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchReader};
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, DataType, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Columns that usually hold ids, the most usual first.
pub const USUAL: [&str; 2] = ["input_ids", "tokens"];

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// The rows of a column of ids, in order. A row is `None` where a value is missing.
pub struct IdRows {
    path: PathBuf,
    column: String,
    batches: Batches,
    batch: Option<ArrayRef>,
    at: usize,
    row: u64,
}

impl IdRows {
    /// Opens `column` of the file at `path`, or the usual one that it has; refuses a
    /// column that holds no lists of integers.
    pub fn open(path: &Path, column: Option<&str>, format: ColumnarFormat) -> Result<Self> {
        let path = &copy_of_input(path)?;
        let mut file = File::open(path).map_err(|e| Error::io("read", path, e))?;
        let broken = |error: &dyn std::fmt::Display| broken(path, error);
        let (name, batches): (String, Batches) = match format {
            ColumnarFormat::Parquet => {
                let builder = ParquetRecordBatchReaderBuilder::try_new(file)
                    .map_err(|error| broken(&error))?;
                let (index, name) = find(path, builder.schema(), column)?;
                let mask = ProjectionMask::roots(builder.parquet_schema(), [index]);
                let reader = builder.with_projection(mask).build();
                (name, Box::new(reader.map_err(|error| broken(&error))?))
            }
            ColumnarFormat::Arrow => {
                let mut magic = [0; 6];
                let is_file = file.read_exact(&mut magic).is_ok() && &magic == b"ARROW1";
                file.seek(SeekFrom::Start(0))
                    .map_err(|e| Error::io("read", path, e))?;
                let again = File::open(path).map_err(|e| Error::io("read", path, e))?;
                let (file, again) = (BufReader::new(file), BufReader::new(again));
                if is_file {
                    let whole = FileReader::try_new(file, None).map_err(|e| broken(&e))?;
                    let (index, name) = find(path, &whole.schema(), column)?;
                    let reader = FileReader::try_new(again, Some(vec![index]));
                    (name, Box::new(reader.map_err(|e| broken(&e))?))
                } else {
                    let whole = StreamReader::try_new(file, None).map_err(|e| broken(&e))?;
                    let schema = RecordBatchReader::schema(&whole);
                    let (index, name) = find(path, &schema, column)?;
                    let reader = StreamReader::try_new(again, Some(vec![index]));
                    (name, Box::new(reader.map_err(|e| broken(&e))?))
                }
            }
        };
        Ok(Self {
            path: path.to_owned(),
            column: name,
            batches,
            batch: None,
            at: 0,
            row: 0,
        })
    }

    fn next_row(&mut self) -> Result<Option<Option<Vec<TokenId>>>> {
        loop {
            if let Some(batch) = self.batch.as_ref().filter(|batch| self.at < batch.len()) {
                let values = row(batch, self.at);
                self.at += 1;
                self.row += 1;
                let Some(values) = values else {
                    return Ok(Some(None));
                };
                return match integers(&values) {
                    Ok(ids) => Ok(Some(Some(ids))),
                    Err(found) => Err(Error::corrupt(
                        format!(
                            "{}, column {}, row {}",
                            self.path.display(),
                            self.column,
                            self.row - 1
                        ),
                        found,
                        "token ids: whole numbers from 0 on",
                        "name the column that holds the ids with --column",
                    )),
                };
            }
            match self.batches.next() {
                None => return Ok(None),
                Some(batch) => {
                    let batch = batch.map_err(|error| {
                        let place = format!("{error}, behind row {}", self.row);
                        broken(&self.path, &place)
                    })?;
                    self.batch = Some(batch.column(0).clone());
                    self.at = 0;
                }
            }
        }
    }
}

impl Iterator for IdRows {
    type Item = Result<Option<Vec<TokenId>>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_row().transpose()
    }
}

/// The names of the columns of an Arrow or Parquet file, to tell ids from text.
pub fn column_names(path: &Path, format: ColumnarFormat) -> Result<Vec<String>> {
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let names = |schema: &Schema| schema.fields().iter().map(|f| f.name().clone()).collect();
    match format {
        ColumnarFormat::Parquet => ParquetRecordBatchReaderBuilder::try_new(file)
            .map(|builder| names(builder.schema()))
            .map_err(|error| broken(path, &error)),
        ColumnarFormat::Arrow => {
            let mut file = BufReader::new(file);
            if let Ok(reader) = FileReader::try_new(&mut file, None) {
                return Ok(names(&reader.schema()));
            }
            file.seek(SeekFrom::Start(0))
                .map_err(|e| Error::io("read", path, e))?;
            StreamReader::try_new(file, None)
                .map(|reader| names(&RecordBatchReader::schema(&reader)))
                .map_err(|error| broken(path, &error))
        }
    }
}

/// The index and name of the column of ids.
fn find(path: &Path, schema: &Schema, column: Option<&str>) -> Result<(usize, String)> {
    let usual = USUAL.iter().copied();
    let name = match column {
        Some(name) => Some(name),
        None => usual.clone().find(|name| schema.index_of(name).is_ok()),
    };
    let Some((index, field)) = name.and_then(|name| schema.column_with_name(name)) else {
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        return Err(Error::input(
            path.display().to_string(),
            format!("columns {}", names.join(", ")),
            match column {
                Some(name) => format!("a column {name:?}"),
                None => format!("a column of ids: {}", USUAL.join(" or ")),
            },
            "name the column that holds the ids with --column; text goes through `cloze tokenize`",
        ));
    };
    let of = match field.data_type() {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => Some(item.data_type()),
        _ => None,
    };
    if of.is_some_and(DataType::is_integer) {
        return Ok((index, field.name().clone()));
    }
    Err(Error::input(
        format!("{}, column {}", path.display(), field.name()),
        field.data_type().to_string(),
        "lists of integers",
        "name the column that holds the ids with --column; text goes through `cloze tokenize`",
    ))
}

/// The values of row `index` of a column of lists.
fn row(lists: &ArrayRef, index: usize) -> Option<ArrayRef> {
    if !lists.is_valid(index) {
        return None;
    }
    Some(match lists.data_type() {
        DataType::LargeList(_) => lists.as_list::<i64>().value(index),
        DataType::FixedSizeList(..) => lists.as_fixed_size_list().value(index),
        DataType::ListView(_) => lists.as_list_view::<i32>().value(index),
        DataType::LargeListView(_) => lists.as_list_view::<i64>().value(index),
        _ => lists.as_list::<i32>().value(index),
    })
}

/// Integers as ids; what is none of them is the error.
fn integers(values: &ArrayRef) -> Result<Vec<TokenId>, String> {
    if values.null_count() > 0 {
        return Err("a missing id".into());
    }
    match values.data_type() {
        DataType::UInt8 => widened::<UInt8Type>(values),
        DataType::UInt16 => widened::<UInt16Type>(values),
        DataType::UInt32 => widened::<UInt32Type>(values),
        DataType::UInt64 => widened::<UInt64Type>(values),
        DataType::Int8 => widened::<Int8Type>(values),
        DataType::Int16 => widened::<Int16Type>(values),
        DataType::Int32 => widened::<Int32Type>(values),
        DataType::Int64 => widened::<Int64Type>(values),
        other => Err(other.to_string()),
    }
}

fn widened<T: ArrowPrimitiveType>(values: &ArrayRef) -> Result<Vec<TokenId>, String>
where
    T::Native: TryInto<TokenId> + std::fmt::Display,
{
    values
        .as_primitive::<T>()
        .values()
        .iter()
        .map(|&id| id.try_into().map_err(|_| format!("id {id}")))
        .collect()
}

fn broken(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::corrupt(
        path.display().to_string(),
        error.to_string(),
        "a Parquet file, or an Arrow IPC file or stream",
        "the file is damaged or of another format: copy it again, or see --format",
    )
}

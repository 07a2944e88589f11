//! A column of token ids of a Parquet or Arrow IPC file that another program wrote: lists
//! of any integers, as `Column` reads them.

use crate::base::error::{Error, Result};
use crate::base::token::TokenId;
use crate::columnar::column::{Column, ColumnarFormat, no_column};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Schema};
use std::path::{Path, PathBuf};

/// Columns that usually hold ids, the most usual first.
pub const USUAL: [&str; 2] = ["input_ids", "tokens"];

/// The rows of a column of ids, in order. A row is `None` where a value is missing.
pub struct IdRows {
    path: PathBuf,
    column: String,
    batches: Column,
    batch: Option<ArrayRef>,
    at: usize,
    row: u64,
}

impl IdRows {
    /// Opens `column` of the file at `path`, or the usual one that it has; refuses a
    /// column that holds no lists of integers.
    pub fn open(path: &Path, column: Option<&str>, format: ColumnarFormat) -> Result<Self> {
        let mut name = String::new();
        let batches = Column::open(path, format, |schema| {
            let index;
            (index, name) = find(path, schema, column)?;
            Ok(index)
        })?;
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
                    self.batch = Some(batch?);
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

/// The index and name of the column of ids.
fn find(path: &Path, schema: &Schema, column: Option<&str>) -> Result<(usize, String)> {
    const REMEDY: &str =
        "name the column that holds the ids with --column; text goes through `cloze tokenize`";
    let usual = USUAL.iter().copied();
    let name = match column {
        Some(name) => Some(name),
        None => usual.clone().find(|name| schema.index_of(name).is_ok()),
    };
    let Some((index, field)) = name.and_then(|name| schema.column_with_name(name)) else {
        let expected = match column {
            Some(name) => format!("a column {name:?}"),
            None => format!("a column of ids: {}", USUAL.join(" or ")),
        };
        return Err(no_column(path, schema, expected, REMEDY));
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
        REMEDY,
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

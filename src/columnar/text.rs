//! One text column of a Parquet or Arrow IPC file, as `Column` reads it.

use crate::base::error::{Error, Result};
use crate::columnar::column::{Column, ColumnarFormat, no_column};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Schema};
use std::path::Path;

/// A text column, batch by batch.
pub struct TextColumn(Column);

/// Some values of a text column.
pub struct TextRows {
    column: ArrayRef,
}

impl TextColumn {
    /// Opens `column` of the file at `path`; refuses a missing column and one that
    /// holds no text. Reads no value yet.
    pub fn open(path: &Path, column: &str, format: ColumnarFormat) -> Result<Self> {
        Column::open(path, format, |schema| find(path, schema, column)).map(Self)
    }

    /// Number of batches, as far as the file says it.
    pub fn batch_count(&self) -> Option<u64> {
        self.0.batch_count
    }
}

impl Iterator for TextColumn {
    type Item = Result<TextRows>;

    fn next(&mut self) -> Option<Result<TextRows>> {
        let column = self.0.next()?;
        Some(column.map(|column| TextRows { column }))
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

/// The index of a column of text.
fn find(path: &Path, schema: &Schema, column: &str) -> Result<usize> {
    const REMEDY: &str = "name the column that holds the text with --text-field";
    let (index, field) = schema
        .column_with_name(column)
        .ok_or_else(|| no_column(path, schema, format!("a column {column:?}"), REMEDY))?;
    match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ok(index),
        other => Err(Error::input(
            format!("{}, column {column}", path.display()),
            other.to_string(),
            "text",
            REMEDY,
        )),
    }
}

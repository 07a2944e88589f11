//! A column of single values of a Parquet or Arrow IPC file that another program wrote, as
//! text: text, integers, floats, true and false. For tables of a few million rows: all of it
//! is in memory.

use crate::base::error::{Error, Result};
use crate::columnar::column::{Column, ColumnarFormat, no_column};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use std::path::Path;

/// The values of `column` of the file at `path`, in order; `None` is a null.
///
/// # Errors
/// A column that is not there, and one of other values.
pub fn cells(path: &Path, column: &str, format: ColumnarFormat) -> Result<Vec<Option<String>>> {
    let batches = Column::open(path, format, |schema| {
        match schema.column_with_name(column) {
            Some((index, _)) => Ok(index),
            None => {
                let expected = format!("a column {column:?}");
                Err(no_column(path, schema, expected, "name one of these"))
            }
        }
    })?;
    let mut cells = Vec::new();
    for batch in batches {
        let batch = batch?;
        for row in 0..batch.len() {
            let valid = batch.is_valid(row);
            let text = valid.then(|| text(&batch, row)).transpose();
            cells.push(text.map_err(|other| {
                Error::input(
                    format!("{}, column {column}", path.display()),
                    other.to_string(),
                    "text or numbers",
                    "name another column",
                )
            })?);
        }
    }
    Ok(cells)
}

/// The value of `row` as text; else the type that has none.
fn text(column: &ArrayRef, row: usize) -> std::result::Result<String, DataType> {
    macro_rules! number {
        ($type:ty) => {
            column.as_primitive::<$type>().value(row).to_string()
        };
    }
    Ok(match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::LargeUtf8 => column.as_string::<i64>().value(row).to_owned(),
        DataType::Utf8View => column.as_string_view().value(row).to_owned(),
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Float32 => number!(Float32Type),
        DataType::Float64 => number!(Float64Type),
        other => return Err(other.clone()),
    })
}

//! The Arrow schemas of our files. `schemas/` holds the same in JSON, and a test
//! holds the two together.

use arrow_schema::{DataType, Field, Schema};
use std::sync::Arc;

/// Column names of token files and shards, in order.
pub const DOCUMENT_COLUMNS: [&str; 4] = ["document_id", "tokens", "word_start", "span_start"];

/// The schema of token files (`spans` false) and shards with units (`spans` true);
/// `wide` ids take 32 bits.
pub fn documents(wide: bool, spans: bool) -> Schema {
    let id = if wide {
        DataType::UInt32
    } else {
        DataType::UInt16
    };
    let list = |name: &str, of: DataType| {
        Field::new(
            name,
            DataType::List(Arc::new(Field::new("item", of, false))),
            false,
        )
    };
    let mut fields = vec![
        Field::new(DOCUMENT_COLUMNS[0], DataType::UInt64, false),
        list(DOCUMENT_COLUMNS[1], id),
        list(DOCUMENT_COLUMNS[2], DataType::Boolean),
    ];
    if spans {
        fields.push(list(DOCUMENT_COLUMNS[3], DataType::Boolean));
    }
    Schema::new(fields)
}

/// The schema of n-gram counts.
pub fn counts() -> Schema {
    let words = Field::new("item", DataType::UInt32, false);
    Schema::new(vec![
        Field::new("ngram", DataType::List(Arc::new(words)), false),
        Field::new("text", DataType::Utf8, false),
        Field::new("count", DataType::UInt64, false),
    ])
}

/// The schema of a sorted run of windows of up to `length` words.
pub fn run(length: usize) -> Schema {
    let word = |place| Field::new(format!("word_{place}"), DataType::UInt32, false);
    let mut fields: Vec<Field> = (1..=length).map(word).collect();
    fields.push(Field::new("count", DataType::UInt64, false));
    Schema::new(fields)
}

/// The schema of a masking vocabulary.
pub fn vocabulary() -> Schema {
    Schema::new(vec![
        Field::new("ngram", DataType::Utf8, false),
        Field::new("length", DataType::UInt32, false),
        Field::new("count", DataType::UInt64, false),
        Field::new("score", DataType::Float64, false),
    ])
}

/// A schema as plain JSON: name, type and nullability of each column.
pub fn as_json(schema: &Schema) -> serde_json::Value {
    schema
        .fields()
        .iter()
        .map(|field| {
            serde_json::json!({
                "name": field.name(),
                "type": type_name(field.data_type()),
                "nullable": field.is_nullable(),
            })
        })
        .collect()
}

fn type_name(of: &DataType) -> String {
    match of {
        DataType::List(item) if !item.is_nullable() => {
            format!("List<{}>", type_name(item.data_type()))
        }
        DataType::List(item) => format!("List<{}?>", type_name(item.data_type())),
        other => other.to_string(),
    }
}

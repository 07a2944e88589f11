//! The logits of a masked language model in a Hugging Face folder, at every token of some
//! rows: `logits FOLDER < rows.json`. The input is a list of rows, each a list of token ids;
//! the output one list of rows, each a list of logits for every token.
//!
//! `tests/python/test_import.py` holds it to transformers.

use cloze::batches::Batch;
use cloze::config::ModelConfig;
use cloze::training::import;
use std::error::Error;
use std::io::Read;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("usage: logits FOLDER < rows.json")?;
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let rows: Vec<Vec<u32>> = serde_json::from_str(&text)?;

    let model = import(Path::new(&folder), &ModelConfig::default(), 0)?;
    let logits = model.logits(&batch(&rows))?;
    let mut tokens = (0..logits.rows()).map(|token| logits.row(token).to_vec());
    let by_row: Vec<Vec<Vec<f32>>> = rows
        .iter()
        .map(|row| tokens.by_ref().take(row.len()).collect())
        .collect();
    println!("{}", serde_json::to_string(&by_row)?);
    Ok(())
}

/// The rows as one batch in which every token is asked for.
fn batch(rows: &[Vec<u32>]) -> Batch {
    let length = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut batch = Batch {
        rows: rows.len(),
        length,
        ..Batch::default()
    };
    for (number, row) in rows.iter().enumerate() {
        let start = (number * length) as u32;
        batch.predicted.extend(start..start + row.len() as u32);
        batch.labels.extend(row);
        batch.lengths.push(row.len() as u32);
        batch.push_runs(&[row.len() as u32], 0);
        batch.input.extend(row);
        batch.input.resize((number + 1) * length, 0);
    }
    batch
}

//! A batch without its padding: all per-token work of the model runs over these, so
//! padding costs nothing. Attention alone knows where rows end.

use crate::base::error::{Error, Result};
use crate::base::token::TokenId;
use crate::batches::Batch;

/// Tokens of a batch, row after row, padding left out.
pub struct Tokens {
    /// Ids after corruption.
    pub ids: Vec<TokenId>,
    /// Place of each token in its row.
    pub places: Vec<u32>,
    /// Tokens of each row.
    pub lengths: Vec<usize>,
    /// Name of each token to the dropout: row of the step, then place.
    pub keys: Vec<u64>,
    /// Indices of the predicted tokens among these, ascending.
    pub predicted: Vec<u32>,
}

impl Tokens {
    /// The tokens of `batch`, whose first row is row `first_row` of the step. Refuses
    /// ids, lengths and positions that the model has no room for.
    pub fn new(batch: &Batch, vocabulary: usize, positions: usize, first_row: u64) -> Result<Self> {
        check(batch, vocabulary, positions)?;
        let total = batch.lengths.iter().sum::<u32>() as usize;
        let mut tokens = Self {
            ids: Vec::with_capacity(total),
            places: Vec::with_capacity(total),
            lengths: batch.lengths.iter().map(|&n| n as usize).collect(),
            keys: Vec::with_capacity(total),
            predicted: Vec::with_capacity(batch.predicted.len()),
        };
        let mut predicted = batch.predicted.iter().map(|&p| p as usize).peekable();
        for (row, &length) in tokens.lengths.iter().enumerate() {
            let start = row * batch.length;
            let before = tokens.ids.len();
            tokens
                .ids
                .extend_from_slice(&batch.input[start..start + length]);
            tokens.places.extend(0..length as u32);
            let key = (first_row + row as u64) << 24;
            tokens.keys.extend((0..length as u64).map(|p| key | p));
            while let Some(position) = predicted.next_if(|&p| p < start + length) {
                tokens.predicted.push((before + position - start) as u32);
            }
        }
        Ok(tokens)
    }
}

fn check(batch: &Batch, vocabulary: usize, positions: usize) -> Result<()> {
    let wrong = |found: String, expected: String| {
        Err(Error::mismatch(
            "batch",
            found,
            expected,
            "shards, tokenizer and model must belong together",
        ))
    };
    if batch.length > positions {
        return wrong(
            format!("rows of {} tokens", batch.length),
            format!("at most the model's {positions} positions"),
        );
    }
    if batch.input.len() != batch.rows * batch.length || batch.lengths.len() != batch.rows {
        return wrong(
            format!(
                "{} ids and {} lengths",
                batch.input.len(),
                batch.lengths.len()
            ),
            format!("{} rows of {}", batch.rows, batch.length),
        );
    }
    let ids = batch.input.iter().chain(&batch.labels);
    if let Some(id) = ids.copied().find(|&id| id as usize >= vocabulary) {
        return wrong(
            format!("token id {id}"),
            format!("ids below the vocabulary's size, {vocabulary}"),
        );
    }
    let inside = |p: &u32| {
        let (row, place) = (*p as usize / batch.length, *p as usize % batch.length);
        row < batch.rows && place < batch.lengths[row] as usize
    };
    let fits = batch.lengths.iter().all(|&n| n as usize <= batch.length)
        && batch.predicted.len() == batch.labels.len()
        && batch.predicted.is_sorted_by(|a, b| a < b)
        && batch.predicted.iter().all(inside);
    if !fits {
        return wrong(
            "predicted positions or lengths outside of the rows".into(),
            "ascending positions before the padding, one label each".into(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_left_out_and_predicted_tokens_are_found() {
        let mut batch = Batch {
            rows: 2,
            length: 4,
            input: vec![1, 5, 2, 0, 1, 6, 7, 2],
            lengths: vec![3, 4],
            predicted: vec![1, 5, 6],
            labels: vec![5, 8, 7],
            ..Batch::default()
        };
        let tokens = Tokens::new(&batch, 10, 4, 3).unwrap();
        assert_eq!(tokens.ids, [1, 5, 2, 1, 6, 7, 2]);
        assert_eq!(tokens.places, [0, 1, 2, 0, 1, 2, 3]);
        assert_eq!(tokens.predicted, [1, 4, 5]);
        assert_eq!(tokens.keys[3], 4 << 24);
        assert!(Tokens::new(&batch, 8, 4, 0).is_err());
        assert!(Tokens::new(&batch, 10, 3, 0).is_err());
        batch.predicted[0] = 3;
        assert!(Tokens::new(&batch, 10, 4, 0).is_err());
    }
}

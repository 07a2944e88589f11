//! A batch without its padding: all per-token work of the model runs over these, so
//! padding costs nothing. Attention alone knows where runs end: rows, or the documents
//! in them.

use crate::base::error::{Error, Result};
use crate::base::token::TokenId;
use crate::batches::Batch;
use crate::config::Layout;

/// Tokens of a batch, row after row, padding left out.
pub struct Tokens {
    /// Ids after corruption.
    pub ids: Vec<TokenId>,
    /// Place of each token in its attention run.
    pub places: Vec<u32>,
    /// Tokens of each attention run; no token attends to another run.
    pub runs: Vec<usize>,
    /// Name of each token to the dropout: row of the step, then place.
    pub keys: Vec<u64>,
    /// Indices of the predicted tokens among these, ascending.
    pub predicted: Vec<u32>,
    /// What each of them weighs in the loss; none where all weigh 1.
    pub weights: Vec<f32>,
}

impl Tokens {
    /// The tokens of `batch`, whose first row is row `first_row` of the step. Refuses
    /// ids, lengths and positions that the model has no room for, and attention runs
    /// that are not those of its rows.
    pub fn new(batch: &Batch, vocabulary: usize, positions: usize, first_row: u64) -> Result<Self> {
        check(batch, vocabulary, positions)?;
        let total = batch.lengths.iter().sum::<u32>() as usize;
        let mut tokens = Self {
            ids: Vec::with_capacity(total),
            places: batch.position_ids(),
            runs: batch.run_lengths().map(|n| n as usize).collect(),
            keys: Vec::with_capacity(total),
            predicted: Vec::with_capacity(batch.predicted.len()),
            weights: batch
                .predicted
                .iter()
                .filter_map(|&p| batch.weights.get(p as usize / batch.length).copied())
                .collect(),
        };
        let mut predicted = batch.predicted.iter().map(|&p| p as usize).peekable();
        for (row, &length) in batch.lengths.iter().enumerate() {
            let length = length as usize;
            let start = row * batch.length;
            let before = tokens.ids.len();
            tokens
                .ids
                .extend_from_slice(&batch.input[start..start + length]);
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
    if batch.layout != Layout::InPlace {
        return wrong(
            format!("the layout {:?}", batch.layout),
            "tokens in place: the model is an encoder alone".into(),
        );
    }
    if ![0, batch.rows].contains(&batch.weights.len()) {
        return wrong(
            format!("{} weights", batch.weights.len()),
            format!("none, or one for each of {} rows", batch.rows),
        );
    }
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
    if !runs_are_those_of_the_rows(batch) {
        return wrong(
            format!("{} ends of attention runs", batch.cu_seqlens.len()),
            "ascending ends from 0 on, that of every row among them and of the last row last"
                .into(),
        );
    }
    Ok(())
}

fn runs_are_those_of_the_rows(batch: &Batch) -> bool {
    let mut ends = batch.cu_seqlens.iter().map(|&end| u64::from(end));
    let mut row_end = 0;
    let starts_at_0 = ends.next() == Some(0);
    starts_at_0
        && batch.cu_seqlens.is_sorted()
        && batch.lengths.iter().all(|&length| {
            row_end += u64::from(length);
            length == 0 || ends.any(|end| end == row_end)
        })
        && ends.all(|end| end == row_end)
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
            cu_seqlens: vec![0, 3, 7],
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

    #[test]
    fn places_begin_anew_in_every_run_and_runs_have_to_add_up() {
        let mut batch = Batch {
            rows: 3,
            length: 4,
            input: vec![1; 12],
            lengths: vec![4, 0, 3],
            ..Batch::default()
        };
        for runs in [&[0, 4, 7][..], &[0, 1, 4, 6, 7], &[0, 4, 4, 7]] {
            batch.cu_seqlens = runs.to_vec();
            let tokens = Tokens::new(&batch, 10, 4, 0).unwrap();
            let lengths: Vec<u32> = runs.windows(2).map(|ends| ends[1] - ends[0]).collect();
            let places: Vec<u32> = lengths.iter().flat_map(|&length| 0..length).collect();
            assert_eq!(tokens.places, places);
            assert!(tokens.runs.iter().map(|&n| n as u32).eq(lengths));
            // Dropout knows tokens by their place in the row, whatever the runs.
            assert_eq!(tokens.keys[..4], [0, 1, 2, 3]);
            assert_eq!(tokens.keys[4], 2 << 24);
        }
        for runs in [
            &[][..],
            &[0],
            &[4, 7],
            &[0, 7],
            &[0, 4],
            &[0, 4, 8],
            &[0, 4, 7, 9],
            &[0, 5, 7],
            &[0, 4, 2, 7],
        ] {
            batch.cu_seqlens = runs.to_vec();
            let refused = Tokens::new(&batch, 10, 4, 0).err().unwrap().to_string();
            assert!(refused.contains("attention runs"), "{runs:?}: {refused}");
        }
    }
}

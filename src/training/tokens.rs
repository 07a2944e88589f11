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
    /// Place of each token in its attention run, in the layout `removed` in the run as it
    /// was: ascending in every run.
    pub places: Vec<u32>,
    /// Tokens of each attention run; no token attends to another run.
    pub runs: Vec<usize>,
    /// Type of each token, which tells the sentences of a pair apart; none where all are of
    /// the first.
    pub types: Vec<u32>,
    /// Name of each token to the dropout: row of the step, then place in the row as it
    /// was.
    pub keys: Vec<u64>,
    /// The rows as they were, in the layout `removed`.
    pub whole: Option<Whole>,
    /// Indices of the predicted tokens among these, ascending; in the layout `removed`
    /// among those of `whole`.
    pub predicted: Vec<u32>,
    /// What each of them weighs in the loss; none where all weigh 1.
    pub weights: Vec<f32>,
}

/// Rows as they were before tokens were removed from them: what the decoder goes through.
pub struct Whole {
    /// Place of each token in its attention run.
    pub places: Vec<u32>,
    /// Tokens of each attention run.
    pub runs: Vec<usize>,
    /// Name of each token to the dropout.
    pub keys: Vec<u64>,
    /// Indices among these of the tokens that were kept, ascending.
    pub kept: Vec<u32>,
    /// Indices of those that were removed, ascending.
    pub removed: Vec<u32>,
}

/// A sentence, or a pair of them, with its special tokens: what a row of a classifier is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentenceRow {
    /// Its ids.
    pub ids: Vec<TokenId>,
    /// The first token of the second sentence; behind the last where there is one sentence.
    pub second: usize,
}

impl Tokens {
    /// The tokens of `rows`, the first of each predicted, in a model of `vocabulary` ids,
    /// `positions` and `types` of tokens. Refuses rows that it has no room for.
    pub fn of_sentences(
        rows: &[&SentenceRow],
        [vocabulary, positions, types]: [usize; 3],
    ) -> Result<Self> {
        let longest = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
        let largest = rows.iter().flat_map(|row| &row.ids).max();
        let fits = largest.is_none_or(|&id| (id as usize) < vocabulary);
        if !fits || longest > positions || rows.iter().any(|row| row.ids.is_empty()) {
            return Err(Error::mismatch(
                "sentences",
                format!("ids up to {largest:?} in rows of up to {longest} tokens"),
                format!("ids below {vocabulary} in rows of 1 to {positions} tokens"),
                "tokenizer and model must belong together",
            ));
        }
        let mut tokens = Self {
            ids: Vec::new(),
            places: Vec::new(),
            runs: rows.iter().map(|row| row.ids.len()).collect(),
            types: Vec::new(),
            keys: Vec::new(),
            whole: None,
            predicted: Vec::with_capacity(rows.len()),
            weights: Vec::new(),
        };
        let pairs = types > 1 && rows.iter().any(|row| row.second < row.ids.len());
        for (number, row) in rows.iter().enumerate() {
            tokens.predicted.push(tokens.ids.len() as u32);
            tokens.ids.extend(&row.ids);
            let places = 0..row.ids.len() as u32;
            tokens.places.extend(places.clone());
            tokens
                .keys
                .extend(places.clone().map(|place| key(0, number, place)));
            if pairs {
                let second = |place| u32::from(place as usize >= row.second);
                tokens.types.extend(places.map(second));
            }
        }
        Ok(tokens)
    }

    /// The tokens of `batch`, whose first row is row `first_row` of the step. Refuses
    /// ids, lengths and positions that the model has no room for, attention runs that are
    /// not those of its rows, and rows of the layout `sentinel`.
    pub fn new(batch: &Batch, vocabulary: usize, positions: usize, first_row: u64) -> Result<Self> {
        check(batch, vocabulary, positions)?;
        let total = batch.lengths.iter().sum::<u32>() as usize;
        let mut ids = Vec::with_capacity(total);
        let mut keys = Vec::with_capacity(total);
        let removed = batch.layout == Layout::Removed;
        for (row, &length) in batch.lengths.iter().enumerate() {
            let start = row * batch.length;
            let tokens = start..start + length as usize;
            ids.extend_from_slice(&batch.input[tokens.clone()]);
            match removed {
                true => keys.extend(batch.places[tokens].iter().map(|&p| key(first_row, row, p))),
                false => keys.extend((0..length).map(|p| key(first_row, row, p))),
            }
        }
        let lengths = match removed {
            true => &batch.row_lengths,
            false => &batch.lengths,
        };
        Ok(Self {
            ids,
            places: batch.position_ids(),
            runs: batch.run_lengths().map(|n| n as usize).collect(),
            types: Vec::new(),
            keys,
            whole: removed.then(|| Whole::new(batch, first_row)),
            predicted: without_padding(&batch.predicted, lengths, row_width(batch)),
            weights: batch
                .predicted
                .iter()
                .filter_map(|&p| batch.weights.get(p as usize / row_width(batch)).copied())
                .collect(),
        })
    }
}

impl Whole {
    /// The rows of `batch`, which is one of the layout `removed`.
    fn new(batch: &Batch, first_row: u64) -> Self {
        let runs = run_bounds(batch).into_iter().flatten();
        let mut whole = Self {
            places: Vec::new(),
            runs: runs.map(|(start, end)| (end - start) as usize).collect(),
            keys: Vec::new(),
            kept: Vec::new(),
            removed: Vec::new(),
        };
        whole.places = (whole.runs.iter())
            .flat_map(|&length| 0..length as u32)
            .collect();
        for (row, &length) in batch.row_lengths.iter().enumerate() {
            let start = row * batch.length;
            let kept = &batch.places[start..start + batch.lengths[row] as usize];
            let mut kept = kept.iter().peekable();
            for place in 0..length {
                let index = whole.keys.len() as u32;
                match kept.next_if(|&&kept| kept == place) {
                    Some(_) => whole.kept.push(index),
                    None => whole.removed.push(index),
                }
                whole.keys.push(key(first_row, row, place));
            }
        }
        whole
    }
}

/// Name to the dropout of the token at `place` of a row.
fn key(first_row: u64, row: usize, place: u32) -> u64 {
    (first_row + row as u64) << 24 | u64::from(place)
}

/// Tokens from the start of a row to that of the next one in `predicted`.
fn row_width(batch: &Batch) -> usize {
    let width = match batch.layout {
        Layout::InPlace => batch.length,
        Layout::Removed | Layout::Sentinel => batch.row_length,
    };
    width.max(1)
}

/// The places `predicted` of rows of `width` as indices among the tokens of all rows,
/// without padding.
fn without_padding(predicted: &[u32], lengths: &[u32], width: usize) -> Vec<u32> {
    let mut all = predicted.iter().copied().peekable();
    let mut out = Vec::with_capacity(predicted.len());
    let mut before = 0;
    for (row, &length) in lengths.iter().enumerate() {
        let start = (row * width) as u32;
        while let Some(position) = all.next_if(|&p| p < start + length) {
            out.push(before + position - start);
        }
        before += length;
    }
    out
}

/// Where the attention runs of each row start and end in the row as it was, in the layout
/// `removed`: a row's first run starts at 0, and a run ends where the next one starts.
fn run_bounds(batch: &Batch) -> Vec<Vec<(u32, u32)>> {
    let mut starts = batch.run_starts.iter().copied().peekable();
    let rows = batch.row_lengths.iter().map(|&length| {
        let mut bounds = Vec::new();
        while let Some(start) = starts.next_if(|&start| (start == 0) == bounds.is_empty()) {
            let end = starts.peek().filter(|&&next| next > 0);
            bounds.push((start, end.copied().unwrap_or(length)));
        }
        bounds
    });
    rows.collect()
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
    let removed = match batch.layout {
        Layout::InPlace => false,
        Layout::Removed => true,
        Layout::Sentinel => {
            return wrong(
                "rows with sentinels and their targets".into(),
                "rows in place or with tokens removed: there is no sentinel encoder-decoder yet"
                    .into(),
            );
        }
    };
    let lengths = match removed {
        true => &batch.row_lengths,
        false => &batch.lengths,
    };
    let longest = match removed {
        true => lengths.iter().copied().max().unwrap_or(0) as usize,
        false => batch.length,
    };
    if longest > positions {
        return wrong(
            format!("rows of {longest} tokens"),
            format!("at most the model's {positions} positions"),
        );
    }
    if batch.input.len() != batch.rows * batch.length
        || batch.lengths.len() != batch.rows
        || lengths.len() != batch.rows
    {
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
    let width = row_width(batch);
    let inside = |p: &u32| {
        let (row, place) = (*p as usize / width, *p as usize % width);
        row < batch.rows && place < lengths[row] as usize
    };
    if ![0, batch.rows].contains(&batch.weights.len()) {
        return wrong(
            format!("{} weights", batch.weights.len()),
            format!("none, or one for each of {} rows", batch.rows),
        );
    }
    let fits = batch.lengths.iter().all(|&n| n as usize <= batch.length)
        && lengths.iter().all(|&n| n as usize <= width)
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
    if removed && !places_are_those_of_the_runs(batch) {
        return wrong(
            format!(
                "{} places and {} starts of attention runs",
                batch.places.len(),
                batch.run_starts.len()
            ),
            "a place in its row and its run for every token, ascending".into(),
        );
    }
    Ok(())
}

/// Whether every token of a batch of the layout `removed` has a place in its run.
fn places_are_those_of_the_runs(batch: &Batch) -> bool {
    let bounds = run_bounds(batch);
    let runs: usize = bounds.iter().map(Vec::len).sum();
    if batch.places.len() != batch.input.len()
        || batch.run_starts.len() != runs
        || batch.cu_seqlens.len() != runs + 1
    {
        return false;
    }
    let mut lengths = batch.run_lengths();
    bounds.iter().enumerate().all(|(row, bounds)| {
        let start = row * batch.length;
        let places = &batch.places[start..start + batch.lengths[row] as usize];
        places.is_sorted_by(|a, b| a < b)
            && places.last().is_none_or(|&p| p < batch.row_lengths[row])
            && bounds.iter().all(|&(start, end)| {
                let before = |bound| places.partition_point(|&place| place < bound) as u32;
                start <= end && lengths.next() == Some(before(end).saturating_sub(before(start)))
            })
    })
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

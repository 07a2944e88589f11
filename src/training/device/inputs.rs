//! A batch on a device, padding included: rows of one length are what its products and
//! its attention take.

use crate::base::error::Result;
use crate::batches::Batch;
use crate::config::Layout;
use crate::training::model::Model;
use crate::training::real::Real;
use candle_core::{DType, Device, Tensor};

/// Added to the scores of keys that a query does not see; e to its power is 0.
const HIDDEN: f64 = 1e30;

/// Where a token stands.
#[derive(Debug, Clone, Copy)]
pub struct Token {
    /// Its attention run.
    pub run: u32,
    /// Its number among the tokens of the run that are there.
    pub number: u32,
    /// Its place in the run, and in the row, with all tokens of them.
    pub place: u32,
    pub place_in_row: u32,
}

/// Rows of tokens that layers go through.
pub struct Standing {
    /// How many.
    pub rows: usize,
    /// Tokens in each, padding included.
    pub length: usize,
    /// Each of `rows · length` tokens; none where there is padding.
    pub tokens: Vec<Option<Token>>,
}

/// What a pass needs of a batch.
pub struct Inputs {
    /// Ids after corruption, `rows · length`.
    pub ids: Vec<u32>,
    /// Where each of them stands.
    pub encoder: Standing,
    /// The rows as they were, where tokens were removed from them.
    pub decoder: Option<Standing>,
    /// Where there is a label, among the tokens of the decoder or else of the encoder;
    /// ascending.
    pub predicted: Vec<u32>,
    /// The id to be predicted there.
    pub labels: Vec<u32>,
    /// What each label weighs; none where all weigh 1.
    pub weights: Vec<f32>,
}

impl Inputs {
    /// Refuses a batch that `model` has no room for.
    pub fn new<T: Real>(batch: &Batch, model: &Model<T>) -> Result<Self> {
        let tokens = model.tokens(batch, 0)?;
        let removed = batch.layout == Layout::Removed;
        Ok(Self {
            ids: batch.input.clone(),
            encoder: Standing::of_input(batch),
            decoder: removed.then(|| Standing::of_rows(batch)),
            predicted: batch.predicted.clone(),
            labels: batch.labels.clone(),
            weights: tokens.weights,
        })
    }

    /// For each token of the encoder, which token of the decoder it is; none of padding.
    pub fn kept(&self, decoder: &Standing) -> Vec<Option<u32>> {
        let tokens = self.encoder.tokens.iter().enumerate();
        let places = tokens.map(|(token, here)| {
            let row = token / self.encoder.length * decoder.length;
            here.map(|here| row as u32 + here.place_in_row)
        });
        places.collect()
    }
}

impl Standing {
    /// The rows of `batch.input`.
    fn of_input(batch: &Batch) -> Self {
        let mut tokens = Vec::with_capacity(batch.input.len());
        let (mut token, mut run) = (0, 0);
        let removed = batch.layout == Layout::Removed;
        for (row, &length) in batch.lengths.iter().enumerate() {
            for column in 0..batch.length as u32 {
                tokens.push((column < length).then(|| {
                    while token == batch.cu_seqlens[run + 1] {
                        run += 1;
                    }
                    token += 1;
                    let number = token - 1 - batch.cu_seqlens[run];
                    let mut here = Token {
                        run: run as u32,
                        number,
                        place: number,
                        place_in_row: column,
                    };
                    if removed {
                        here.place_in_row = batch.places[row * batch.length + column as usize];
                        here.place = here.place_in_row - batch.run_starts[run];
                    }
                    here
                }));
            }
        }
        Self {
            rows: batch.rows,
            length: batch.length,
            tokens,
        }
    }

    /// The rows of `batch` as they were before tokens were removed from them.
    fn of_rows(batch: &Batch) -> Self {
        let mut tokens = Vec::with_capacity(batch.rows * batch.row_length);
        let mut first_run = 0;
        for &length in &batch.row_lengths {
            let mut run = first_run;
            for place in 0..batch.row_length as u32 {
                tokens.push((place < length).then(|| {
                    if place > 0 && batch.run_starts.get(run + 1) == Some(&place) {
                        run += 1;
                    }
                    let number = place - batch.run_starts[run];
                    Token {
                        run: run as u32,
                        number,
                        place: number,
                        place_in_row: place,
                    }
                }));
            }
            first_run = run + 1;
        }
        Self {
            rows: batch.rows,
            length: batch.row_length,
            tokens,
        }
    }

    /// Place of each token in its run, 0 of padding.
    pub fn places(&self) -> Vec<u32> {
        let tokens = self.tokens.iter();
        tokens
            .map(|here| here.map_or(0, |here| here.place))
            .collect()
    }

    /// What is added to attention scores, `rows × 1 × length × length`: 0 for keys of
    /// the query's run that are no more than `reach` away, if there is a reach. None
    /// where every query sees its whole row. Padding sees padding, so that no row of
    /// weights is empty.
    pub fn hidden(
        &self,
        reach: Option<u32>,
        kind: DType,
        device: &Device,
    ) -> candle_core::Result<Option<Tensor>> {
        let run = |here: &Option<Token>| here.map_or(u32::MAX, |here| here.run);
        let whole = |row: &[Option<Token>]| row.iter().all(|here| run(here) == run(&row[0]));
        let far = reach.is_some_and(|reach| self.places().iter().any(|&place| place > reach));
        if !far && self.tokens.chunks(self.length).all(whole) {
            return Ok(None);
        }
        // As numbers of 64 bits, in which all u32 are exact.
        let tensor =
            |values: Vec<f64>| Tensor::from_vec(values, (self.rows, 1, self.length), device);
        let runs = tensor(
            self.tokens
                .iter()
                .map(|here| f64::from(run(here)))
                .collect(),
        )?;
        let mut seen = runs.transpose(1, 2)?.broadcast_eq(&runs)?;
        if let Some(reach) = reach {
            let places = tensor(self.places().into_iter().map(f64::from).collect())?;
            let apart = places.transpose(1, 2)?.broadcast_sub(&places)?.abs()?;
            seen = seen.mul(&apart.le(f64::from(reach))?)?;
        }
        let seen = seen.to_dtype(kind)?.affine(HIDDEN, -HIDDEN)?;
        Ok(Some(seen.unsqueeze(1)?))
    }
}

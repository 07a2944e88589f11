//! A batch on a device, padding included: rows of one length are what its products and
//! its attention take.

use crate::base::error::Result;
use crate::batches::Batch;
use crate::config::ModelShape;
use crate::training::tokens::Tokens;
use candle_core::{DType, Device, Tensor};

/// Added to the scores of keys that a query does not see; e to its power is 0.
const HIDDEN: f64 = 1e30;

/// Attention run and place in it of a token; none of padding.
pub type Place = Option<(u32, u32)>;

/// What a pass needs of a batch.
pub struct Inputs {
    pub rows: usize,
    pub length: usize,
    /// Ids after corruption, `rows · length`.
    pub ids: Vec<u32>,
    /// Where each of them stands.
    pub runs: Vec<Place>,
    /// Where there is a label, among the `rows · length` tokens; ascending.
    pub predicted: Vec<u32>,
    pub labels: Vec<u32>,
    /// What each label weighs; none where all weigh 1.
    pub weights: Vec<f32>,
}

impl Inputs {
    /// Refuses a batch that a model of this shape and vocabulary has no room for.
    pub fn new(batch: &Batch, shape: &ModelShape, vocabulary: usize) -> Result<Self> {
        let tokens = Tokens::new(batch, vocabulary, shape.positions as usize, 0)?;
        Ok(Self {
            rows: batch.rows,
            length: batch.length,
            ids: batch.input.clone(),
            runs: runs(batch),
            predicted: batch.predicted.clone(),
            labels: batch.labels.clone(),
            weights: tokens.weights,
        })
    }

    /// Place of each token in its run, 0 of padding.
    pub fn places(&self) -> Vec<u32> {
        let places = self.runs.iter();
        places
            .map(|run| run.map_or(0, |(_, place)| place))
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
        let whole = |row: &[Place]| {
            row.iter()
                .all(|run| run.is_some() && run.map(|r| r.0) == row[0].map(|r| r.0))
        };
        let far = reach.is_some_and(|reach| self.length > reach as usize + 1);
        if !far && self.runs.chunks(self.length).all(whole) {
            return Ok(None);
        }
        // As numbers of 64 bits, in which all u32 are exact.
        let of = |value: fn(&Place) -> u32| {
            let values: Vec<f64> = self.runs.iter().map(|run| f64::from(value(run))).collect();
            Tensor::from_vec(values, (self.rows, 1, self.length), device)
        };
        let runs = of(|run| run.map_or(u32::MAX, |(run, _)| run))?;
        let mut seen = runs.transpose(1, 2)?.broadcast_eq(&runs)?;
        if let Some(reach) = reach {
            let places = of(|run| run.map_or(0, |(_, place)| place))?;
            let apart = places.transpose(1, 2)?.broadcast_sub(&places)?.abs()?;
            seen = seen.mul(&apart.le(f64::from(reach))?)?;
        }
        let seen = seen.to_dtype(kind)?.affine(HIDDEN, -HIDDEN)?;
        Ok(Some(seen.unsqueeze(1)?))
    }
}

fn runs(batch: &Batch) -> Vec<Place> {
    let mut runs = Vec::with_capacity(batch.input.len());
    let (mut token, mut run) = (0, 0);
    for &length in &batch.lengths {
        for place in 0..batch.length as u32 {
            runs.push((place < length).then(|| {
                run += usize::from(token == batch.cu_seqlens[run + 1]);
                token += 1;
                (run as u32, token - 1 - batch.cu_seqlens[run])
            }));
        }
    }
    runs
}

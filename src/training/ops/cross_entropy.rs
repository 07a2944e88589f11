//! Softmax and cross-entropy over rows of logits, in place.

use crate::base::token::TokenId;
use crate::parallel::chunks;
use crate::training::exact;
use crate::training::lanes;
use crate::training::matrix::Matrix;
use crate::training::real::Real;
use serde::{Deserialize, Serialize};

/// Loss over some labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Sum of the negative log-likelihoods, in nats.
    #[serde(with = "exact")]
    pub loss: f64,
    /// Labels.
    pub labels: u64,
    /// Labels that the model ranks first.
    pub correct: u64,
    /// What the loss is divided by: the labels, or of weighted losses the maskable
    /// tokens.
    pub over: u64,
}

impl Tally {
    /// Adds `other`.
    pub fn add(&mut self, other: &Tally) {
        self.loss += other.loss;
        self.labels += other.labels;
        self.correct += other.correct;
        self.over += other.over;
    }

    /// Nats a label, or of weighted losses a maskable token; 0 without labels.
    pub fn mean(&self) -> f64 {
        self.loss / self.over.max(1) as f64
    }

    /// Share of labels ranked first; 0 without labels.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.labels.max(1) as f64
    }
}

/// Some rows of logits, and of which piece of the labels they are.
type Piece<'a, T> = (&'a mut [T], (usize, &'a [TokenId]));

/// Adds `bias` to the `logits` (`labels × vocabulary`), sums the losses, and with
/// `gradient` leaves in their place the gradient of the summed loss:
/// softmax − one-hot. `weights` of the labels, or none where all weigh 1.
pub fn apply<T: Real>(
    logits: &mut Matrix<T>,
    bias: &Matrix<T>,
    labels: &[TokenId],
    weights: &[f32],
    gradient: bool,
) -> Tally {
    /// Rows of 30 000 numbers are long enough for a thread.
    const ROWS: usize = 4;
    let width = logits.cols();
    let bias = &bias[..];
    let pieces = logits
        .chunks_mut(ROWS * width)
        .zip(labels.chunks(ROWS).enumerate())
        .collect();
    let tallies = chunks::collect(pieces, |(logits, (piece, labels)): Piece<'_, T>| {
        let mut tally = Tally::default();
        lanes::wide(
            #[inline(always)]
            || {
                let rows = logits.chunks_exact_mut(width).zip(labels);
                for (place, (row, &label)) in (piece * ROWS..).zip(rows) {
                    let weight = weights.get(place).map_or(1.0, |&weight| f64::from(weight));
                    lanes::add(row, bias);
                    let largest = lanes::maximum(row);
                    let label = label as usize;
                    let logit = row[label];
                    for value in row.iter_mut() {
                        *value = (*value - largest).exp();
                    }
                    let sum = lanes::sum(row);
                    tally.loss += weight * ((largest - logit).to_f64() + sum.to_f64().ln());
                    tally.labels += 1;
                    tally.correct += u64::from(logit >= largest);
                    if gradient {
                        let weight = T::from_f64(weight);
                        let share = weight / sum;
                        for value in row.iter_mut() {
                            *value *= share;
                        }
                        row[label] -= weight;
                    }
                }
            },
        );
        tally
    });
    let mut sum = Tally::default();
    tallies.iter().for_each(|tally| sum.add(tally));
    sum
}

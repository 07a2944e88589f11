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

/// What a model makes of one label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// −ln p of the label, in nats.
    pub loss: f64,
    /// Whether the model ranks it first.
    pub correct: bool,
    /// p of what the model ranks first.
    pub confidence: f32,
}

/// Some rows of logits, and of which piece of the labels they are.
type Piece<'a, T> = (&'a mut [T], (usize, &'a [TokenId]));

/// Rows of 30 000 numbers are long enough for a thread.
const ROWS: usize = 4;

fn pieces<'a, T: Real>(logits: &'a mut Matrix<T>, labels: &'a [TokenId]) -> Vec<Piece<'a, T>> {
    let width = logits.cols();
    logits
        .chunks_mut(ROWS * width)
        .zip(labels.chunks(ROWS).enumerate())
        .collect()
}

/// A row of logits, less the largest, as exponentials.
struct Exponentials<T> {
    largest: T,
    /// Of the label.
    logit: T,
    sum: T,
}

impl<T: Real> Exponentials<T> {
    /// Leaves them in the place of the logits in `row`, to which `bias` is added.
    #[inline(always)]
    fn of(row: &mut [T], bias: &[T], label: usize) -> Self {
        lanes::add(row, bias);
        let largest = lanes::maximum(row);
        let logit = row[label];
        for value in row.iter_mut() {
            *value = (*value - largest).exp();
        }
        let sum = lanes::sum(row);
        Self {
            largest,
            logit,
            sum,
        }
    }

    #[inline(always)]
    fn loss(&self) -> f64 {
        (self.largest - self.logit).to_f64() + self.sum.to_f64().ln()
    }

    #[inline(always)]
    fn correct(&self) -> bool {
        self.logit >= self.largest
    }
}

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
    let width = logits.cols();
    let bias = &bias[..];
    let pieces = pieces(logits, labels);
    let tallies = chunks::collect(pieces, |(logits, (piece, labels)): Piece<'_, T>| {
        let mut tally = Tally::default();
        lanes::wide(
            #[inline(always)]
            || {
                let rows = logits.chunks_exact_mut(width).zip(labels);
                for (place, (row, &label)) in (piece * ROWS..).zip(rows) {
                    let weight = weights.get(place).map_or(1.0, |&weight| f64::from(weight));
                    let label = label as usize;
                    let exponentials = Exponentials::of(row, bias, label);
                    tally.loss += weight * exponentials.loss();
                    tally.labels += 1;
                    tally.correct += u64::from(exponentials.correct());
                    if gradient {
                        let weight = T::from_f64(weight);
                        let share = weight / exponentials.sum;
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

/// Adds `bias` to the `logits` (`labels × vocabulary`), which are used up, and says what
/// they make of each of `labels`.
pub fn predictions<T: Real>(
    logits: &mut Matrix<T>,
    bias: &Matrix<T>,
    labels: &[TokenId],
) -> Vec<Prediction> {
    let width = logits.cols();
    let bias = &bias[..];
    let pieces = pieces(logits, labels);
    let found = chunks::collect(pieces, |(logits, (_, labels)): Piece<'_, T>| {
        let mut found = Vec::with_capacity(labels.len());
        lanes::wide(
            #[inline(always)]
            || {
                for (row, &label) in logits.chunks_exact_mut(width).zip(labels) {
                    let exponentials = Exponentials::of(row, bias, label as usize);
                    found.push(Prediction {
                        loss: exponentials.loss(),
                        correct: exponentials.correct(),
                        // The largest of the exponentials is 1.
                        confidence: exponentials.sum.to_f64().recip() as f32,
                    });
                }
            },
        );
        found
    });
    found.concat()
}

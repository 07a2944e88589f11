//! What a model made of labels, added up by row and bin: 24 bytes for each. Rows are the
//! examples of the intervals, since labels of one row depend on each other.

use super::{Example, Spread, spread};
use crate::training::Prediction;

/// Sums over the labels of one row in one bin.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    loss: f64,
    confidence: f64,
    correct: u32,
    labels: u32,
}

/// Rows × bins.
#[derive(Debug, Clone)]
pub struct Sums {
    bins: usize,
    sums: Vec<Sum>,
}

impl Sums {
    /// Without rows, each of which is going to have `bins`.
    pub fn new(bins: usize) -> Self {
        Self {
            bins,
            sums: Vec::new(),
        }
    }

    /// Number of bins.
    pub fn bins(&self) -> usize {
        self.bins
    }

    /// Begins a row.
    pub fn begin_row(&mut self) {
        self.sums
            .extend(std::iter::repeat_n(Sum::default(), self.bins));
    }

    /// Adds a label of row `row` to `bin`.
    pub fn add(&mut self, row: usize, bin: usize, prediction: &Prediction) {
        let sum = &mut self.sums[row * self.bins + bin];
        sum.loss += prediction.loss;
        sum.confidence += f64::from(prediction.confidence);
        sum.correct += u32::from(prediction.correct);
        sum.labels += 1;
    }

    fn of_bin(&self, bin: usize) -> impl Iterator<Item = &Sum> {
        self.sums.iter().skip(bin).step_by(self.bins)
    }

    /// Labels in `bin`.
    pub fn labels(&self, bin: usize) -> u64 {
        self.of_bin(bin).map(|sum| u64::from(sum.labels)).sum()
    }

    /// Nats a label of each row.
    pub fn losses(&self, bin: usize) -> Vec<Example> {
        self.examples(bin, |sum| sum.loss)
    }

    /// Share of each row's labels that the model ranks first.
    pub fn accuracies(&self, bin: usize) -> Vec<Example> {
        self.examples(bin, |sum| f64::from(sum.correct))
    }

    /// The spread of the loss in `bin`; none without labels.
    pub fn loss(&self, bin: usize, seed: u64) -> Option<Spread> {
        spread(&[&self.losses(bin)], seed)
    }

    /// The spread of the accuracy in `bin`; none without labels.
    pub fn accuracy(&self, bin: usize, seed: u64) -> Option<Spread> {
        spread(&[&self.accuracies(bin)], seed)
    }

    /// The spread of the confidence in `bin`; none without labels.
    pub fn confidence(&self, bin: usize, seed: u64) -> Option<Spread> {
        spread(&[&self.examples(bin, |sum| sum.confidence)], seed)
    }

    fn examples(&self, bin: usize, value: impl Fn(&Sum) -> f64) -> Vec<Example> {
        let example = |sum: &Sum| Example {
            value: (value(sum) / f64::from(sum.labels.max(1))) as f32,
            weight: sum.labels as f32,
        };
        self.of_bin(bin).map(example).collect()
    }
}

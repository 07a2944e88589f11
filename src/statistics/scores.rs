//! Scores of n-grams (spec 8, 3; Levine et al. 2021, equation 3). With
//! F(g) = max over all segmentations σ of g, the whole included, of Σ log p(s):
//!
//! ```text
//! best(g)  = max over k = 1 … n−1 of F(first k words) + log p(the rest)
//! F(g)     = max(log p(g), best(g))
//! PMI_n(g) = log p(g) − best(g)
//! ```
//!
//! best(g) is the minimum over the 2^(n−1) − 1 segmentations but the identity, with
//! n − 1 additions. Sums run from left to right; since a maximum and an addition
//! that rounds keep the order, the result equals that of trying every segmentation,
//! to the last bit.

use crate::config::Score;
use crate::statistics::trie::{Row, Trie};

/// The scores of all n-grams of a trie, level by level.
pub struct Scorer<'a> {
    trie: &'a Trie,
    score: Score,
    /// By length less one: F of every row.
    best_sums: Vec<Vec<f64>>,
}

impl<'a> Scorer<'a> {
    /// Scores of single words are never asked for, but their F is where all begins.
    pub fn new(trie: &'a Trie, score: Score) -> Self {
        let words = trie.level(1);
        let sums = (0..words.len() as Row).map(|row| words.log_p(row));
        Self {
            trie,
            score,
            best_sums: vec![sums.collect()],
        }
    }

    /// Scores of all n-grams of the next length, 2 at first, by row.
    pub fn next_length(&mut self) -> Vec<f64> {
        let length = self.best_sums.len() + 1;
        let level = self.trie.level(length);
        let mut scores = Vec::with_capacity(level.len());
        let mut sums = Vec::with_capacity(level.len());
        for row in 0..level.len() as Row {
            let best = self.best(length, row);
            let log_p = level.log_p(row);
            sums.push(log_p.max(best));
            scores.push(match self.score {
                Score::Pmi => log_p - best,
                Score::Pmi2 => 2.0 * log_p - best,
                Score::Naive => log_p - self.words_sum(length, row),
                // An n-gram that is all there is occurs together whenever it can.
                Score::Npmi if log_p == 0.0 => 1.0,
                Score::Npmi => (log_p - best) / -log_p,
                Score::Frequency => level.count(row) as f64,
            });
        }
        self.best_sums.push(sums);
        scores
    }

    /// best(g): the largest sum over all segmentations but the identity.
    fn best(&self, length: usize, row: Row) -> f64 {
        // Prefixes of length − 1, …, 1 words and the rests that they leave.
        let mut best = f64::NEG_INFINITY;
        let mut prefix = row;
        let mut rests = [0; crate::statistics::tally::MAX_LENGTH];
        let mut rest = row;
        for rest_length in (1..length).rev() {
            rest = self.trie.level(rest_length + 1).suffix(rest);
            rests[rest_length] = rest;
        }
        for prefix_length in (1..length).rev() {
            prefix = self.trie.level(prefix_length + 1).prefix(prefix);
            let rest_length = length - prefix_length;
            let sum = self.best_sums[prefix_length - 1][prefix as usize]
                + self.trie.level(rest_length).log_p(rests[rest_length]);
            best = best.max(sum);
        }
        best
    }

    /// Σ log p of the single words, from left to right.
    fn words_sum(&self, length: usize, row: Row) -> f64 {
        let words = self.trie.ngram(length, row);
        words[..length]
            .iter()
            .map(|&word| self.trie.level(1).log_p(word))
            .reduce(|sum, log_p| sum + log_p)
            .unwrap_or(0.0)
    }
}

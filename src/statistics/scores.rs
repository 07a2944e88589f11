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
use crate::statistics::dictionary::WordId;
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
            let parts = match self.score {
                Score::Naive => self.words_sum(length, row),
                _ => best,
            };
            scores.push(score_against(self.score, log_p, parts, level.count(row)));
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

/// One way to cut an n-gram into parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Segmentation {
    /// Bit k is set where a part ends behind word k, from 0.
    pub cuts: u32,
    /// Σ log p of the parts, from left to right.
    pub log_p: f64,
}

/// All 2^(n−1) − 1 segmentations of an n-gram but the identity, the likeliest first:
/// that one decides PMI_n. `None` where the n-gram was not kept.
pub fn segmentations(trie: &Trie, words: &[WordId]) -> Option<Vec<Segmentation>> {
    trie.find(words)?;
    let log_p = |part: &[WordId]| {
        // Every part of what was kept was kept.
        trie.find(part)
            .map_or(f64::NEG_INFINITY, |row| trie.level(part.len()).log_p(row))
    };
    let mut all: Vec<Segmentation> = (1..1u32 << (words.len() - 1))
        .map(|cuts| {
            let mut start = 0;
            let mut sum = 0.0;
            for end in 1..=words.len() {
                if end == words.len() || cuts >> (end - 1) & 1 == 1 {
                    sum += log_p(&words[start..end]);
                    start = end;
                }
            }
            Segmentation { cuts, log_p: sum }
        })
        .collect();
    all.sort_by(|a, b| b.log_p.total_cmp(&a.log_p).then(a.cuts.cmp(&b.cuts)));
    Some(all)
}

/// The score of an n-gram with this log p, if `parts` were its only segmentation.
pub fn score_against(score: Score, log_p: f64, parts: f64, count: u64) -> f64 {
    match score {
        Score::Pmi | Score::Naive => log_p - parts,
        Score::Pmi2 => 2.0 * log_p - parts,
        // An n-gram that is all there is occurs together whenever it can.
        Score::Npmi if log_p == 0.0 => 1.0,
        Score::Npmi => (log_p - parts) / -log_p,
        Score::Frequency => count as f64,
    }
}

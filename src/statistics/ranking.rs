//! From scores to a masking vocabulary (spec 8, 4): the best of each length, each
//! length with its share of the size.

use crate::config::{Score, VocabularyConfig};
use crate::statistics::scores::Scorer;
use crate::statistics::trie::{Row, Trie};
use crate::statistics::vocabulary::MaskingVocabulary;

/// What became of one length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Taken {
    /// Words in the n-gram.
    pub length: usize,
    /// How many were wanted.
    pub quota: u64,
    /// How many there were.
    pub candidates: u64,
    /// How many were taken.
    pub taken: u64,
    /// Score of the last one taken.
    pub lowest: Option<f64>,
}

/// How many n-grams of each length make up `size`, by largest remainders, shorter
/// lengths first where they are equal.
pub fn quotas(size: u64, shares: &[f64]) -> Vec<u64> {
    let exact: Vec<f64> = shares.iter().map(|share| share * size as f64).collect();
    let mut quotas: Vec<u64> = exact.iter().map(|quota| quota.floor() as u64).collect();
    let mut by_remainder: Vec<usize> = (0..shares.len()).collect();
    by_remainder.sort_by(|&a, &b| {
        exact[b]
            .fract()
            .total_cmp(&exact[a].fract())
            .then(a.cmp(&b))
    });
    let left = size.saturating_sub(quotas.iter().sum());
    for &index in by_remainder.iter().cycle().take(left as usize) {
        quotas[index] += 1;
    }
    quotas
}

/// Takes the best n-grams of each length: higher score, then higher count, then text
/// order (word by word).
pub fn rank(trie: &Trie, config: &VocabularyConfig) -> (MaskingVocabulary, Vec<Taken>) {
    let mut vocabulary = MaskingVocabulary::default();
    let mut report = Vec::new();
    let mut scorer = Scorer::new(trie, config.score);
    let mut text = String::new();
    for (index, quota) in quotas(config.size, &config.shares).into_iter().enumerate() {
        let length = index + 2;
        if length > trie.lengths() {
            report.push(Taken {
                length,
                quota,
                candidates: 0,
                taken: 0,
                lowest: None,
            });
            continue;
        }
        let scores: Vec<f64> = scorer.next_length().into_iter().map(settle).collect();
        let best = best_rows(trie, length, &scores, quota);
        for &row in &best {
            text.clear();
            let words = trie.ngram(length, row);
            trie.words().join(&words[..length], &mut text);
            vocabulary.push(&text, trie.level(length).count(row), scores[row as usize]);
        }
        report.push(Taken {
            length,
            quota,
            candidates: scores.len() as u64,
            taken: best.len() as u64,
            lowest: best.last().map(|&row| scores[row as usize]),
        });
    }
    (vocabulary, report)
}

/// How score and coverage go with rank, for one length.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Words in the n-grams.
    pub length: usize,
    /// How many a vocabulary takes: its size for this length.
    pub taken: u64,
    /// Some ranks, ascending; the first, the last and the last one taken among them.
    pub points: Vec<Point>,
}

/// One rank.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// From 1, the best, on.
    pub rank: u64,
    /// Score of the n-gram of this rank.
    pub score: f64,
    /// Share of the corpus's windows of this length that are one of the n-grams up to
    /// this rank, 0 to 1.
    pub covered: f64,
}

/// Points of a curve lie so much further apart, rank by rank.
const STEP: f64 = 1.05;

/// Score and coverage by rank for every length that `config` takes; `windows` are T_1,
/// T_2, …. Sorts all n-grams.
pub fn curves(trie: &Trie, windows: &[u64], config: &VocabularyConfig) -> Vec<Curve> {
    let mut scorer = Scorer::new(trie, config.score);
    let quotas = quotas(config.size, &config.shares);
    let mut curves = Vec::new();
    for (length, quota) in (2..=trie.lengths()).zip(quotas) {
        let scores: Vec<f64> = scorer.next_length().into_iter().map(settle).collect();
        let best = best_rows(trie, length, &scores, u64::MAX);
        let taken = quota.min(best.len() as u64);
        let all = windows.get(length - 1).copied().unwrap_or(0).max(1) as f64;
        let mut points = Vec::new();
        let (mut next, mut sum) = (1, 0);
        for (rank, &row) in (1..).zip(&best) {
            sum += trie.level(length).count(row);
            if rank == next || rank == taken || rank == best.len() as u64 {
                points.push(Point {
                    rank,
                    score: scores[row as usize],
                    covered: sum as f64 / all,
                });
            }
            if rank == next {
                next = ((next as f64 * STEP) as u64).max(next + 1);
            }
        }
        curves.push(Curve {
            length,
            taken,
            points,
        });
    }
    curves
}

/// Scores of all n-grams of `length` words, 2 or more, by row.
pub fn scores_of(trie: &Trie, score: Score, length: usize) -> Vec<f64> {
    let mut scorer = Scorer::new(trie, score);
    for _ in 2..length {
        scorer.next_length();
    }
    scorer.next_length().into_iter().map(settle).collect()
}

/// Rounds a score to a multiple of 2⁻³². Scores that are equal, but come from other
/// sums of logarithms, differ by some 2⁻⁵⁰ and would not be seen as ties; this leaves
/// nine digits behind the point. Counts stay as they are.
fn settle(score: f64) -> f64 {
    const GRID: f64 = (1u64 << 32) as f64;
    (score * GRID).round() / GRID
}

/// The rows of the `quota` best n-grams, best first.
pub fn best_rows(trie: &Trie, length: usize, scores: &[f64], quota: u64) -> Vec<Row> {
    let level = trie.level(length);
    let order = |&a: &Row, &b: &Row| {
        scores[b as usize]
            .total_cmp(&scores[a as usize])
            .then(level.count(b).cmp(&level.count(a)))
            .then(a.cmp(&b))
    };
    let mut rows: Vec<Row> = (0..scores.len() as Row).collect();
    let quota = usize::try_from(quota).unwrap_or(usize::MAX);
    if quota < rows.len() {
        if quota > 0 {
            rows.select_nth_unstable_by(quota - 1, order);
        }
        rows.truncate(quota);
    }
    rows.sort_unstable_by(order);
    rows
}

/// The name of a score in files.
pub fn score_name(score: Score) -> &'static str {
    match score {
        Score::Pmi => "pmi",
        Score::Pmi2 => "pmi2",
        Score::Naive => "naive",
        Score::Npmi => "npmi",
        Score::Frequency => "frequency",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotas_are_those_of_the_paper() {
        let shares = [0.5, 0.25, 0.125, 0.125];
        assert_eq!(
            quotas(800_000, &shares),
            [400_000, 200_000, 100_000, 100_000]
        );
        assert_eq!(quotas(7, &shares), [3, 2, 1, 1]);
        assert_eq!(quotas(1, &shares), [1, 0, 0, 0]);
    }

    #[test]
    fn scores_that_differ_by_rounding_only_are_ties() {
        assert_eq!(settle(14.226899443359073), settle(14.226899443359072));
        assert_ne!(settle(14.2268994), settle(14.2268995));
        assert_eq!(settle(12_345_679.0), 12_345_679.0);
    }

    proptest! {
        #[test]
        fn quotas_sum_to_the_size(size in 0u64..100_000, a in 0.0f64..1.0, b in 0.0f64..1.0) {
            let shares = [a * b, a * (1.0 - b), 1.0 - a];
            let quotas = quotas(size, &shares);
            prop_assert_eq!(quotas.iter().sum::<u64>(), size);
            for (quota, share) in quotas.iter().zip(shares) {
                prop_assert!((*quota as f64 - share * size as f64).abs() <= 1.0 + 1e-6);
            }
        }
    }
}

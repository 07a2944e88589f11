//! Means with their spread: over the runs (seeds) of a setting and over the examples that
//! they were measured on.
//!
//! Intervals are percentiles of a bootstrap over both: every resample draws runs and
//! examples with replacement, each on its own, since all runs see the same examples (Owen
//! 2007, "The pigeonhole bootstrap"). With few runs such an interval is too narrow: of three
//! runs, the spread between them enters with two thirds of its variance. So the standard
//! deviation over runs and their number are always told beside it. 1 000 resamples: some
//! 3 ns a resample and example.

use super::Example;
use crate::base::generator::{Key, Purpose};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Resamples of a bootstrap: ends of a 95 % interval then rest on 25 of them each.
const RESAMPLES: u64 = 1000;
/// Share of the resamples on either side of an interval.
const TAIL: f64 = 0.025;

/// A mean and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Mean over the runs of their means over labels.
    pub mean: f64,
    /// Standard deviation over the runs, of a sample (n − 1); none of a single run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deviation: Option<f64>,
    /// Lower end of the 95 % bootstrap interval over runs and examples.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Runs.
    pub runs: u64,
    /// Examples of each.
    pub examples: u64,
}

/// The spread of a measure over `runs`, each the same examples in the same order; none
/// without a run, without weight in a run, and where runs differ in their number of examples.
/// The interval is a function of the numbers and `seed`.
pub fn spread(runs: &[&[Example]], seed: u64) -> Option<Spread> {
    let sums = Sums::of(runs, None)?;
    Some(sums.spread(seed))
}

/// The spread of `left` − `right`, run by run: runs at the same place share their seed, and
/// examples at the same place are the same. None where [`spread`] has none of either, and
/// where they differ in their numbers of runs or examples.
pub fn difference(left: &[&[Example]], right: &[&[Example]], seed: u64) -> Option<Spread> {
    let sums = Sums::of(left, Some(right))?;
    Some(sums.spread(seed))
}

/// Of an example in one or, for differences, two runs: value times weight, and weight.
type Term = [(f64, f64); 2];

struct Sums {
    /// By run, then by example.
    runs: Vec<Vec<Term>>,
    examples: usize,
}

impl Sums {
    fn of(left: &[&[Example]], right: Option<&[&[Example]]>) -> Option<Self> {
        let examples = left.first()?.len();
        let others = right.unwrap_or(left);
        let alike = left.iter().chain(others).all(|run| run.len() == examples);
        let whole = |run: &&[Example]| run.iter().any(|example| example.weight > 0.0);
        if others.len() != left.len() || !alike || !left.iter().chain(others).all(whole) {
            return None;
        }
        let term = |example: &Example| {
            let weight = f64::from(example.weight);
            (f64::from(example.value) * weight, weight)
        };
        let subtracted = |example: &Example| match right {
            Some(_) => term(example),
            // Subtracts nothing.
            None => (0.0, 1.0),
        };
        let runs = left
            .iter()
            .zip(others)
            .map(|(left, right)| {
                let pairs = left.iter().zip(*right);
                pairs.map(|(l, r)| [term(l), subtracted(r)]).collect()
            })
            .collect();
        Some(Self { runs, examples })
    }

    fn spread(&self, seed: u64) -> Spread {
        spread_of([self.runs.len(), self.examples], seed, |run, times| {
            mean(&self.runs[run], times)
        })
    }
}

/// The spread of what `statistic` says of a run if each of its examples is taken so many
/// times, of a number of runs and of examples, at least one of each; resamples of which it
/// says something that is not finite are left out.
pub fn spread_of(
    [runs, examples]: [usize; 2],
    seed: u64,
    statistic: impl Fn(usize, &[f64]) -> f64,
) -> Spread {
    let once = vec![1.0; examples];
    let means: Vec<f64> = (0..runs).map(|run| statistic(run, &once)).collect();
    let (middle, deviation) = mean_and_deviation(&means);
    let mut resampled: Vec<f64> = (0..RESAMPLES)
        .map(|sample| resample([runs, examples], seed, sample, &statistic))
        .filter(|mean| mean.is_finite())
        .collect();
    resampled.sort_unstable_by(f64::total_cmp);
    let last = resampled.len().saturating_sub(1);
    let at = |share: f64| {
        let place = (share * last as f64).round() as usize;
        resampled.get(place).copied().unwrap_or(middle)
    };
    Spread {
        mean: middle,
        deviation,
        low: at(TAIL),
        high: at(1.0 - TAIL),
        runs: runs as u64,
        examples: examples as u64,
    }
}

/// The mean of `values`, and of several their standard deviation as a sample.
pub fn mean_and_deviation(values: &[f64]) -> (f64, Option<f64>) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|value| (value - mean).powi(2));
    let deviation = (values.len() > 1).then(|| (squares.sum::<f64>() / (count - 1.0)).sqrt());
    (mean, deviation)
}

fn resample(
    [runs, examples]: [usize; 2],
    seed: u64,
    sample: u64,
    statistic: impl Fn(usize, &[f64]) -> f64,
) -> f64 {
    let key = Key {
        seed,
        sample,
        ..Key::default()
    };
    let mut generator = key.generator(Purpose::Bootstrap);
    let drawn: Vec<usize> = (0..runs)
        .map(|_| generator.below(runs as u32) as usize)
        .collect();
    let mut times = vec![0.0; examples];
    for _ in 0..examples {
        times[generator.below(examples as u32) as usize] += 1.0;
    }
    let mut means = vec![None; runs];
    let sum: f64 = drawn
        .iter()
        .map(|&run| *means[run].get_or_insert_with(|| statistic(run, &times)))
        .sum();
    sum / runs as f64
}

/// Of a run, each example taken so many times; not a number where no weight is drawn.
fn mean(run: &[Term], times: &[f64]) -> f64 {
    let mut sums = [(0.0, 0.0); 2];
    for (term, times) in run.iter().zip(times) {
        for (sum, (value, weight)) in sums.iter_mut().zip(term) {
            sum.0 += times * value;
            sum.1 += times * weight;
        }
    }
    let [left, right] = sums.map(|(value, weight)| value / weight);
    left - right
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(values: &[f32]) -> Vec<Example> {
        let weigh = |&value| Example { value, weight: 1.0 };
        values.iter().map(weigh).collect()
    }

    fn normal(seed: u64, count: usize) -> Vec<f32> {
        let key = Key {
            seed,
            ..Key::default()
        };
        let mut generator = key.generator(Purpose::Select);
        let twelve = || (0..12).map(|_| generator.unit()).sum::<f64>() - 6.0;
        std::iter::repeat_with(twelve)
            .map(|value| value as f32)
            .take(count)
            .collect()
    }

    #[test]
    fn a_mean_is_over_labels_and_a_deviation_over_runs() {
        let weighted = [(2.0, 3.0), (6.0, 1.0)].map(|(value, weight)| Example { value, weight });
        let of_one = spread(&[&weighted], 1).unwrap();
        assert_eq!((of_one.mean, of_one.deviation), (3.0, None));
        let (a, b, c) = (run(&[1.0, 1.0]), run(&[2.0, 2.0]), run(&[6.0, 6.0]));
        let of_three = spread(&[&a, &b, &c], 1).unwrap();
        assert_eq!(of_three.mean, 3.0);
        assert_eq!(of_three.deviation, Some(7f64.sqrt()));
        assert_eq!((of_three.low, of_three.high), (1.0, 6.0));
        assert_eq!((of_three.runs, of_three.examples), (3, 2));
    }

    #[test]
    fn an_interval_over_examples_is_that_of_the_normal_distribution() {
        let values = run(&normal(7, 4000));
        let spread = spread(&[&values], 3).unwrap();
        let expected = 2.0 * 1.96 / 4000f64.sqrt();
        let width = spread.high - spread.low;
        assert!((width / expected - 1.0).abs() < 0.1, "{width}, {expected}");
        assert!(spread.low < spread.mean && spread.mean < spread.high);
    }

    #[test]
    fn nineteen_of_twenty_intervals_hold_the_truth() {
        let holds = |seed: u64| {
            let values = run(&normal(seed, 60));
            let spread = spread(&[&values], seed).unwrap();
            spread.low < 0.0 && 0.0 < spread.high
        };
        let held = (0..200).filter(|&seed| holds(seed)).count();
        assert!((180..=198).contains(&held), "{held} of 200");
    }

    #[test]
    fn a_difference_pairs_runs_and_examples() {
        // Examples differ by far more than settings: only a pairing sees the difference.
        let hard = normal(1, 500);
        let shifted: Vec<f32> = hard.iter().map(|value| value + 0.01).collect();
        let (right, left) = (run(&hard), run(&shifted));
        let apart = difference(&[&left, &left], &[&right, &right], 1).unwrap();
        assert!((apart.mean - 0.01).abs() < 1e-6, "{apart:?}");
        assert!(apart.low > 0.0099 && apart.high < 0.0101, "{apart:?}");
        assert!(apart.deviation.unwrap() < 1e-9);
        let same = difference(&[&left], &[&left], 1).unwrap();
        assert_eq!((same.mean, same.low, same.high), (0.0, 0.0, 0.0));
    }

    #[test]
    fn what_cannot_be_compared_has_no_spread() {
        let (two, three) = (run(&[1.0, 2.0]), run(&[1.0, 2.0, 3.0]));
        assert_eq!(spread(&[], 1), None);
        assert_eq!(spread(&[&[]], 1), None);
        assert_eq!(spread(&[&two, &three], 1), None);
        assert_eq!(difference(&[&two], &[&three], 1), None);
        assert_eq!(difference(&[&two, &two], &[&two], 1), None);
        let weightless = [Example {
            value: 0.0,
            weight: 0.0,
        }];
        assert_eq!(spread(&[&weightless], 1), None);
        let spread = spread(&[&two], 5);
        assert_eq!(spread, super::spread(&[&two], 5));
    }
}

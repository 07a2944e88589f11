//! What a model said of examples beside what is true of them, and the metrics of that, in
//! the formulas of scikit-learn and SciPy. Any number of times that an example is taken may
//! be given, for the resamples of a bootstrap.

use crate::config::Metric;

/// Labels and predictions of the same examples.
#[derive(Debug, Clone, PartialEq)]
pub enum Predictions {
    /// Classes, from 0.
    Classes {
        /// How many there are.
        count: usize,
        /// What is true.
        labels: Vec<u32>,
        /// What was said.
        predicted: Vec<u32>,
    },
    /// Numbers.
    Numbers {
        /// What is true.
        labels: Vec<f32>,
        /// What was said.
        predicted: Vec<f32>,
    },
}

impl Predictions {
    /// `metric` of these, each example taken once.
    pub fn score(&self, metric: Metric) -> f64 {
        let examples = match self {
            Self::Classes { labels, .. } => labels.len(),
            Self::Numbers { labels, .. } => labels.len(),
        };
        self.score_of(metric, &vec![1.0; examples])
    }

    /// `metric` of these, each example taken so many times. 0 where it is not defined: no
    /// example of a class, numbers that are all alike. Of numbers, metrics of classes are
    /// not a number, and the other way round.
    pub fn score_of(&self, metric: Metric, times: &[f64]) -> f64 {
        match self {
            Self::Classes {
                count,
                labels,
                predicted,
            } => {
                let mut table = Confusion::new(*count);
                for ((&label, &said), &times) in labels.iter().zip(predicted).zip(times) {
                    table.add(label as usize, said as usize, times);
                }
                match metric {
                    Metric::Accuracy => table.accuracy(),
                    Metric::BinaryF1 => table.f1(count.saturating_sub(1)).unwrap_or(0.0),
                    Metric::MacroF1 => table.macro_f1(),
                    Metric::Matthews => table.matthews(),
                    Metric::Pearson | Metric::Spearman => f64::NAN,
                }
            }
            Self::Numbers { labels, predicted } => match metric {
                Metric::Pearson => pearson(&wide(labels), &wide(predicted), times),
                Metric::Spearman => pearson(&ranks(labels, times), &ranks(predicted, times), times),
                _ => f64::NAN,
            },
        }
    }
}

/// How often each class was taken for each.
struct Confusion {
    classes: usize,
    /// By label, then by prediction.
    times: Vec<f64>,
}

impl Confusion {
    fn new(classes: usize) -> Self {
        Self {
            classes,
            times: vec![0.0; classes * classes],
        }
    }

    fn add(&mut self, label: usize, predicted: usize, times: f64) {
        self.times[label * self.classes + predicted] += times;
    }

    fn right(&self, class: usize) -> f64 {
        self.times[class * self.classes + class]
    }

    fn labelled(&self, class: usize) -> f64 {
        self.times[class * self.classes..][..self.classes]
            .iter()
            .sum()
    }

    fn predicted(&self, class: usize) -> f64 {
        self.times.iter().skip(class).step_by(self.classes).sum()
    }

    fn accuracy(&self) -> f64 {
        let right: f64 = (0..self.classes).map(|class| self.right(class)).sum();
        share(right, self.times.iter().sum())
    }

    /// None of a class that nobody named.
    fn f1(&self, class: usize) -> Option<f64> {
        let named = self.labelled(class) + self.predicted(class);
        (named > 0.0).then(|| 2.0 * self.right(class) / named)
    }

    fn macro_f1(&self) -> f64 {
        let each: Vec<f64> = (0..self.classes)
            .filter_map(|class| self.f1(class))
            .collect();
        share(each.iter().sum(), each.len() as f64)
    }

    fn matthews(&self) -> f64 {
        let all: f64 = self.times.iter().sum();
        let (mut right, mut both, mut labelled, mut predicted) = (0.0, 0.0, 0.0, 0.0);
        for class in 0..self.classes {
            let (t, p) = (self.labelled(class), self.predicted(class));
            right += self.right(class);
            both += t * p;
            labelled += t * t;
            predicted += p * p;
        }
        let spread = (all * all - predicted) * (all * all - labelled);
        share(right * all - both, spread.max(0.0).sqrt())
    }
}

fn share(part: f64, all: f64) -> f64 {
    if all > 0.0 { part / all } else { 0.0 }
}

fn wide(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|&number| f64::from(number)).collect()
}

fn pearson(x: &[f64], y: &[f64], times: &[f64]) -> f64 {
    let all: f64 = times.iter().sum();
    let mean = |values: &[f64]| {
        let sum: f64 = values.iter().zip(times).map(|(v, times)| v * times).sum();
        share(sum, all)
    };
    let (mean_x, mean_y) = (mean(x), mean(y));
    let (mut both, mut of_x, mut of_y) = (0.0, 0.0, 0.0);
    for ((x, y), times) in x.iter().zip(y).zip(times) {
        let (dx, dy) = (x - mean_x, y - mean_y);
        both += times * dx * dy;
        of_x += times * dx * dx;
        of_y += times * dy * dy;
    }
    share(both, (of_x * of_y).sqrt())
}

/// The rank of each number among all, counted so many times; equal numbers share the mean
/// of theirs.
fn ranks(numbers: &[f32], times: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b]));
    let mut ranks = vec![0.0; numbers.len()];
    let mut before = 0.0;
    for equal in order.chunk_by(|&a, &b| numbers[a] == numbers[b]) {
        let here: f64 = equal.iter().map(|&place| times[place]).sum();
        for &place in equal {
            ranks[place] = before + (here + 1.0) / 2.0;
        }
        before += here;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }

    fn classes(count: usize, labels: &[u32], predicted: &[u32]) -> Predictions {
        Predictions::Classes {
            count,
            labels: labels.to_vec(),
            predicted: predicted.to_vec(),
        }
    }

    /// Expected values: their formulas, computed in NumPy.
    #[test]
    fn metrics_are_those_of_scikit_learn_and_scipy() {
        let two = classes(
            2,
            &[1, 1, 1, 0, 0, 1, 0, 1, 0, 0],
            &[1, 0, 1, 0, 1, 1, 0, 1, 0, 1],
        );
        near(two.score(Metric::Accuracy), 0.7);
        near(two.score(Metric::BinaryF1), 8.0 / 11.0);
        near(two.score(Metric::MacroF1), (8.0 / 11.0 + 6.0 / 9.0) / 2.0);
        near(two.score(Metric::Matthews), 0.408_248_290);
        let three = classes(3, &[2, 0, 2, 2, 0, 1], &[0, 0, 2, 2, 0, 2]);
        near(three.score(Metric::Matthews), 0.452_267_017);
        near(three.score(Metric::MacroF1), (0.8 + 0.0 + 2.0 / 3.0) / 3.0);
        let numbers = Predictions::Numbers {
            labels: vec![1.0, 2.0, 3.0, 4.0, 5.0],
            predicted: vec![2.0, 1.0, 4.0, 3.0, 7.0],
        };
        near(numbers.score(Metric::Pearson), 0.824_163_384);
        near(numbers.score(Metric::Spearman), 0.8);
        let tied = Predictions::Numbers {
            labels: vec![1.0, 2.0, 2.0, 3.0],
            predicted: vec![1.0, 2.0, 3.0, 2.0],
        };
        near(tied.score(Metric::Spearman), 0.5);
    }

    #[test]
    fn an_example_taken_twice_counts_as_two() {
        let once = Predictions::Numbers {
            labels: vec![0.0, 1.0, 1.0, 3.0, 3.0, 2.0],
            predicted: vec![0.5, 1.0, 1.0, 2.0, 2.0, 2.0],
        };
        let weighted = Predictions::Numbers {
            labels: vec![0.0, 1.0, 3.0, 2.0, 9.0],
            predicted: vec![0.5, 1.0, 2.0, 2.0, 9.0],
        };
        let times = [1.0, 2.0, 2.0, 1.0, 0.0];
        for metric in [Metric::Pearson, Metric::Spearman] {
            near(weighted.score_of(metric, &times), once.score(metric));
        }
        let twice = classes(2, &[0, 0, 1], &[0, 0, 0]);
        let once = classes(2, &[0, 1], &[0, 0]);
        for metric in [Metric::Accuracy, Metric::MacroF1, Metric::Matthews] {
            near(once.score_of(metric, &[2.0, 1.0]), twice.score(metric));
        }
        near(once.score(Metric::Matthews), 0.0);
    }
}

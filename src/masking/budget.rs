//! How many tokens a rate is in one row, for each copy (spec 2).

use crate::base::generator::Generator;
use crate::config::Budget;
use crate::config::masking::copies;

/// The rates of a row and the rules that make counts of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    /// m_corr.
    pub corruption: f64,
    /// m_pred.
    pub prediction: f64,
    /// k, how often the row is emitted.
    pub copies: usize,
    /// The rule.
    pub rule: Budget,
    /// `max_predictions`, or `u32::MAX`.
    pub cap: u32,
}

/// The counts of one row, one entry a copy.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// n_j: how many positions copy j selects.
    pub selected: Vec<u32>,
    /// l_j: how many of them carry a label.
    pub labelled: Vec<u32>,
    /// Labels that the cap took away, in all copies.
    pub capped: u32,
    /// U of the fair rule; for the others 0.
    pub lift: f64,
    /// The draws of `bernoulli`, kept for their memory.
    each: Vec<f64>,
}

impl Rates {
    /// The rates of a row, whose number of copies follows from them.
    pub fn new(corruption: f64, prediction: f64, rule: Budget, cap: Option<u32>) -> Self {
        Self {
            corruption,
            prediction,
            copies: copies(corruption, prediction) as usize,
            rule,
            cap: cap.unwrap_or(u32::MAX),
        }
    }

    /// The share of what copy `copy` selects that carries a label.
    pub fn labelled_share(&self, copy: usize) -> f64 {
        if self.corruption == 0.0 || self.prediction == self.corruption {
            return 1.0;
        }
        let before = copy as f64 * self.corruption;
        let after = (copy + 1) as f64 * self.corruption;
        ((after.min(self.prediction) - before) / self.corruption).clamp(0.0, 1.0)
    }

    /// Draws the counts of a row with `maskable` positions.
    pub fn counts(&self, maskable: u32, draws: &mut Generator, counts: &mut Counts) {
        counts.lift = 0.0;
        match self.rule {
            Budget::Fair => {
                let lift = draws.unit();
                counts.lift = lift;
                self.cut(counts, |rate| {
                    (rate * f64::from(maskable) + lift).min(f64::from(maskable)) as u32
                });
            }
            Budget::Bernoulli => {
                let mut each = std::mem::take(&mut counts.each);
                each.clear();
                each.extend((0..maskable).map(|_| draws.unit()));
                self.cut(counts, |rate| {
                    each.iter().filter(|&&u| u < rate).count() as u32
                });
                counts.each = each;
            }
            rule => self.cut(counts, |rate| rounded(rule, rate, maskable)),
        }
    }

    /// Cuts what `whole` makes of the rates of 1, 2, … copies together into the
    /// counts of each.
    fn cut(&self, counts: &mut Counts, whole: impl Fn(f64) -> u32) {
        counts.selected.clear();
        counts.labelled.clear();
        counts.capped = 0;
        let labels = whole(self.prediction);
        let mut before = 0;
        for copy in 1..=self.copies {
            let together = whole(copy as f64 * self.corruption).max(before);
            let labelled = labels.clamp(before, together) - before;
            let mut selected = together - before;
            if self.prediction >= self.corruption {
                selected = selected.min(self.cap);
            }
            counts.selected.push(selected);
            counts.labelled.push(labelled.min(self.cap));
            counts.capped += labelled - labelled.min(self.cap);
            before = together;
        }
    }
}

/// `rate` of `maskable` by a rule without draws.
pub fn rounded(rule: Budget, rate: f64, maskable: u32) -> u32 {
    // 0.1 · 30 is 3.0000000000000004 in binary: a ceiling must not see that.
    let tokens = rate * f64::from(maskable) - 1e-9;
    let count = match rule {
        Budget::Ceil => tokens.ceil().max(0.0) as u32,
        _ if rate > 0.0 => ((rate * f64::from(maskable)).round_ties_even() as u32).max(1),
        _ => 0,
    };
    count.min(maskable)
}

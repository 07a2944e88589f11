//! Spans of whole words whose length is drawn (SpanBERT's geometric law, Megatron-LM's
//! n-grams; spec 3).
//!
//! On the list of words that no earlier copy has, ascending, for each copy in turn:
//! 1. The words are gone through in a uniformly shuffled order (lazily, one
//!    Fisher–Yates step for each word looked at); a word that this copy has is passed
//!    over. So each span starts at a word drawn uniformly from those not yet taken, as
//!    with drawing again after a miss, but the loop ends after W words at any rate:
//!    the published samplers crawl where most words are taken.
//! 2. The length of the span, in words: one `unit` u, the smallest l whose cumulative
//!    probability is above u. The span covers the l words of the list from there on,
//!    or as many as there are; its size is that of those among them that the copy does
//!    not have yet, so no token counts twice.
//! 3. If the size is above what is left of the budget, r: `fair` takes the span if
//!    `below(size)` < r and ends the copy, which is r tokens in expectation; `take`
//!    takes it and ends the copy, `truncate` takes its first r tokens, `skip` passes
//!    over it and goes on.
//!
//! Spans that touch are one span for replacement. As with T5's spans a span goes on
//! behind a special token and behind what an earlier copy has.

use super::units::{Planes, Units};
use crate::base::generator::Generator;
use crate::config::Overshoot;

/// How long spans are, in words.
#[derive(Debug, Clone)]
pub(super) struct LengthLaw {
    /// Probability of at most 1, 2, … words.
    up_to: Vec<f64>,
}

impl LengthLaw {
    /// l words with probability ∝ (1 − p)^(l − 1), l ≤ `longest`.
    pub fn geometric(p: f64, longest: u32) -> Self {
        Self::of((0..longest).map(|l| (1.0 - p).powi(l as i32)))
    }

    /// n words with probability ∝ 1/n, n ≤ `longest`.
    pub fn reciprocal(longest: u32) -> Self {
        Self::of((1..=longest).map(|n| 1.0 / f64::from(n)))
    }

    fn of(shares: impl Iterator<Item = f64> + Clone) -> Self {
        let all: f64 = shares.clone().sum();
        let mut sum = 0.0;
        Self {
            up_to: shares
                .map(|share| {
                    sum += share;
                    sum / all
                })
                .collect(),
        }
    }

    /// Mean length in words.
    #[cfg(test)]
    pub fn mean(&self) -> f64 {
        1.0 + self.up_to.iter().map(|below| 1.0 - below).sum::<f64>()
    }

    #[inline]
    fn draw(&self, draws: &mut Generator) -> usize {
        let u = draws.unit();
        let shorter = self.up_to.iter().take_while(|&&up_to| up_to <= u).count();
        // Rounding may leave the last one below 1.
        shorter.min(self.up_to.len() - 1) + 1
    }
}

/// Buffers of span selection.
#[derive(Debug, Clone, Default)]
pub(super) struct WordSpans {
    /// Words that no earlier copy has.
    rest: Vec<u32>,
    /// Which of them this copy has.
    taken: Vec<bool>,
    order: Vec<u32>,
}

impl WordSpans {
    /// Fills the copies of `selected` with spans of `words`, `counts[j]` tokens each,
    /// and sets the first position of each span in `openings`.
    pub fn fill(
        &mut self,
        words: &Units,
        counts: &[u32],
        (law, overshoot): (&LengthLaw, Overshoot),
        draws: &mut Generator,
        selected: &mut Planes<'_>,
        openings: &mut Planes<'_>,
    ) {
        self.rest.clear();
        self.rest.extend(0..words.count() as u32);
        for (copy, &count) in counts.iter().enumerate() {
            self.fill_one(words, count, (law, overshoot), draws, |positions| {
                selected.set(copy, positions);
            });
            let mut before = false;
            for (&word, &taken) in self.rest.iter().zip(&self.taken) {
                if taken && !before {
                    openings.set(copy, &words.positions(word as usize)[..1]);
                }
                before = taken;
            }
            let mut taken = self.taken.iter();
            self.rest.retain(|_| taken.next() == Some(&false));
        }
    }

    fn fill_one(
        &mut self,
        words: &Units,
        count: u32,
        (law, overshoot): (&LengthLaw, Overshoot),
        draws: &mut Generator,
        mut take: impl FnMut(&[u32]),
    ) {
        let len = |word: u32| words.len(word as usize);
        self.taken.clear();
        self.taken.resize(self.rest.len(), false);
        self.order.clear();
        self.order.extend(0..self.rest.len() as u32);
        let mut left = count;
        for index in 0..self.order.len() {
            if left == 0 {
                return;
            }
            let unseen = self.order.len() - index;
            if unseen > 1 {
                let other = index + draws.below(unseen as u32) as usize;
                self.order.swap(index, other);
            }
            let first = self.order[index] as usize;
            if self.taken[first] {
                continue;
            }
            let end = (first + law.draw(draws)).min(self.rest.len());
            let size: u32 = (first..end)
                .filter(|&place| !self.taken[place])
                .map(|place| len(self.rest[place]))
                .sum();
            let mut most = u32::MAX;
            if size > left {
                match overshoot {
                    Overshoot::Skip => continue,
                    Overshoot::Fair if draws.below(size) >= left => return,
                    Overshoot::Truncate => most = left,
                    Overshoot::Fair | Overshoot::Take => {}
                }
            }
            for place in first..end {
                if most == 0 {
                    break;
                }
                if !self.taken[place] {
                    self.taken[place] = true;
                    let positions = words.positions(self.rest[place] as usize);
                    let cut = positions.len().min(most as usize);
                    take(&positions[..cut]);
                    most -= cut as u32;
                }
            }
            left = left.saturating_sub(size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::generator::{Key, Purpose};

    #[test]
    fn the_truncated_geometric_law_has_the_mean_of_the_source() {
        // SpanBERT: p = 0.2 on 1 to 10 words, "a mean span length of 3.8".
        let mean = LengthLaw::geometric(0.2, 10).mean();
        assert!((mean - 3.797).abs() < 5e-4, "{mean}");
        // 1, 2, 3 words in 6, 3, 2 of 11 draws.
        let mean = LengthLaw::reciprocal(3).mean();
        assert!((mean - 18.0 / 11.0).abs() < 1e-12, "{mean}");
    }

    #[test]
    fn lengths_follow_their_law() {
        // χ² with 9 degrees, 27.9 at p = 0.001.
        let law = LengthLaw::geometric(0.2, 10);
        let mut draws = Key::default().generator(Purpose::Select);
        let mut seen = [0f64; 10];
        for _ in 0..100_000 {
            seen[law.draw(&mut draws) - 1] += 1.0;
        }
        let all: f64 = (0..10).map(|l| 0.8f64.powi(l)).sum();
        let chi: f64 = (0..10)
            .map(|l| {
                let expected = 1e5 * 0.8f64.powi(l as i32) / all;
                (seen[l] - expected).powi(2) / expected
            })
            .sum();
        assert!(chi < 27.9, "{chi}: {seen:?}");
    }
}

//! Spans of whole words whose length is drawn (SpanBERT's geometric law, Megatron-LM's
//! n-grams; spec 3).
//!
//! For all copies together, with the budget r = Σ n_j:
//! 1. The words are gone through in a uniformly shuffled order (lazily, one
//!    Fisher–Yates step for each word looked at); a word that is taken is passed over.
//!    So each span starts at a word drawn uniformly from those not yet taken, as with
//!    drawing again after a miss, but the loop ends after W words at any rate: the
//!    published samplers crawl where most words are taken.
//! 2. The length of the span, in words: one `unit` u, the smallest l whose cumulative
//!    probability is above u. The span covers the l words from there on, or as many as
//!    there are; its size is that of those among them that are not taken yet, so no
//!    token counts twice.
//! 3. If the size is above what is left of the budget, r: `fair` takes the span if
//!    `below(size)` < r and stops, which is r tokens in expectation; `take` takes it and
//!    stops, `truncate` takes its first r tokens, `skip` passes over it and goes on.
//! 4. Several copies deal the spans out, as in [`super::units`]; a span that was not
//!    taken in one piece (words inside it were taken before) counts as its pieces,
//!    runs of its own words in the list of words. Spans that touch are dealt out
//!    each by itself.
//!
//! Spans of a copy that touch, that is, have adjacent words in the list of words, are
//! one group for replacement and whole labels. As with T5's spans a span goes on behind
//! a special token.

use super::bits;
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
    /// The span that each word was taken by, from 1; 0 where it was not.
    taken_by: Vec<u32>,
    order: Vec<u32>,
    union: Vec<u64>,
    openings: Vec<u64>,
    pieces: Units,
}

impl WordSpans {
    /// Fills the copies of `selected` with spans of `words`, `counts[j]` tokens each.
    pub fn fill(
        &mut self,
        words: &Units,
        counts: &[u32],
        (law, overshoot): (&LengthLaw, Overshoot),
        draws: &mut Generator,
        selected: &mut Planes<'_>,
    ) {
        let budget = counts.iter().sum();
        if counts.len() == 1 {
            self.take(words, budget, (law, overshoot), draws, selected);
        } else {
            let mut union = std::mem::take(&mut self.union);
            bits::reset(&mut union, selected.words);
            let mut plane = Planes::one(&mut union);
            self.take(words, budget, (law, overshoot), draws, &mut plane);
            self.open_pieces(words, selected.words);
            self.pieces.read(&union, &self.openings);
            self.pieces.deal(counts.len(), draws, selected);
            self.union = union;
        }
    }

    /// Sets where the spans of each copy open, of those that were filled last.
    pub fn open(&self, words: &Units, selected: &[u64], openings: &mut Planes<'_>) {
        for (copy, plane) in selected.chunks_exact(openings.words).enumerate() {
            let is_in = |position: u32| plane[position as usize / 64] >> (position % 64) & 1 == 1;
            let mut before = false;
            for word in 0..words.count() {
                let first = words.positions(word)[0];
                let here = self.taken_by[word] > 0 && is_in(first);
                if here && !before {
                    openings.set(copy, &[first]);
                }
                before = here;
            }
        }
    }

    /// Takes spans until `left` tokens are taken.
    fn take(
        &mut self,
        words: &Units,
        mut left: u32,
        (law, overshoot): (&LengthLaw, Overshoot),
        draws: &mut Generator,
        plane: &mut Planes<'_>,
    ) {
        let count = words.count();
        self.taken_by.clear();
        self.taken_by.resize(count, 0);
        self.order.clear();
        self.order.extend(0..count as u32);
        let mut span = 0;
        for index in 0..count {
            if left == 0 {
                return;
            }
            if index + 1 < count {
                let other = index + draws.below((count - index) as u32) as usize;
                self.order.swap(index, other);
            }
            let first = self.order[index] as usize;
            if self.taken_by[first] > 0 {
                continue;
            }
            let end = (first + law.draw(draws)).min(count);
            let size: u32 = (first..end)
                .filter(|&word| self.taken_by[word] == 0)
                .map(|word| words.len(word))
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
            span += 1;
            for word in first..end {
                if self.taken_by[word] == 0 && most > 0 {
                    self.taken_by[word] = span;
                    let positions = words.positions(word);
                    let cut = positions.len().min(most as usize);
                    plane.set(0, &positions[..cut]);
                    most -= cut as u32;
                }
            }
            left = left.saturating_sub(size);
        }
    }

    /// Sets where a piece of a span opens.
    fn open_pieces(&mut self, words: &Units, plane_words: usize) {
        bits::reset(&mut self.openings, plane_words);
        let mut before = 0;
        for (word, &span) in self.taken_by.iter().enumerate() {
            if span > 0 && span != before {
                bits::set(&mut self.openings, words.positions(word)[0]);
            }
            before = span;
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

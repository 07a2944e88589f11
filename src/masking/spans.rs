//! T5 spans (Raffel et al. 2020; spec 3): n tokens in s spans whose lengths, and
//! the gaps between them, are uniformly random compositions.
//!
//! On the list of maskable positions that no earlier copy has, ascending, B' of
//! them, for each copy in turn:
//! 1. n = min(n_j, B'). With n = 0 there is none, and with n = B' all are one span;
//!    nothing is drawn then. s = max(1, n/μ rounded half to even), or `span_count`,
//!    then s = min(s, n, B' − n). The last min is ours: the published sampler breaks
//!    above μ/(1+μ).
//! 2. The s span lengths: of the n − 1 places between n tokens, s − 1 are cut,
//!    `shuffle_prefix` over the places 1..n−1. Then the s gap lengths, likewise
//!    with B' − n.
//! 3. Gap, span, gap, span, …: so the first position of the list is never selected
//!    and the last one always, as in the published sampler; unless `roll_spans`
//!    moves all forward by `below(B')` places of the list, around its end, which
//!    gives every position the same chance. A span that goes around the end is two
//!    groups from then on.
//!
//! Because the list holds maskable positions only, a span never swallows a special
//! token: it goes on behind it, and so it does behind what an earlier copy has.

use super::bits;
use crate::base::generator::Generator;

/// Buffers of span selection.
#[derive(Debug, Clone, Default)]
pub(super) struct Spans {
    places: Vec<u32>,
    lengths: Vec<u32>,
    gaps: Vec<u32>,
}

impl Spans {
    /// Sets `count` of `positions` in `selected`, and the first one of each span in
    /// `openings`.
    pub fn select(
        &mut self,
        positions: &[u32],
        count: u32,
        law: &Law,
        draws: &mut Generator,
        selected: &mut [u64],
        openings: &mut [u64],
    ) {
        let all = positions.len() as u32;
        let count = count.min(all);
        if count == 0 {
            return;
        }
        if count == all {
            for &position in positions {
                bits::set(selected, position);
            }
            bits::set(openings, positions[0]);
            return;
        }
        let spans = law.spans(count, all);
        compose(count, spans, draws, &mut self.places, &mut self.lengths);
        compose(all - count, spans, draws, &mut self.places, &mut self.gaps);
        let mut at = if law.roll { draws.below(all) } else { 0 };
        for (&gap, &length) in self.gaps.iter().zip(&self.lengths) {
            at += gap;
            for place in at..at + length {
                let position = positions[(place % all) as usize];
                bits::set(selected, position);
                if place == at || place % all == 0 {
                    bits::set(openings, position);
                }
            }
            at += length;
        }
    }
}

/// What spans look like.
#[derive(Debug, Clone)]
pub(super) struct Law {
    /// μ, the mean length in tokens.
    pub mean: f64,
    /// So many spans, whatever their mean length.
    pub count: Option<u32>,
    /// Move all spans by a drawn offset.
    pub roll: bool,
}

impl Law {
    /// s, the number of spans for `count` of `all` positions, 0 < count < all.
    fn spans(&self, count: u32, all: u32) -> u32 {
        let spans = self
            .count
            .unwrap_or_else(|| (f64::from(count) / self.mean).round_ties_even() as u32);
        spans.max(1).min(count).min(all - count)
    }
}

/// How many tokens of text a row has to hold, besides the one that closes it, so that
/// at `rate` and `mean` span length the layout `sentinel` makes an input of at most
/// `length` tokens of it; and how many the target has then. Input and target are
/// counted with their closing token. T5's `random_spans_helper`; (0, 0) where not even
/// one token fits.
pub fn row_length(length: u32, rate: f64, mean: f64) -> (u32, u32) {
    let of = |tokens: u32| {
        let masked = (f64::from(tokens) * rate).round_ties_even();
        let spans = (masked / mean).round_ties_even();
        (
            (f64::from(tokens) - masked + spans) as u32 + 1,
            (masked + spans) as u32 + 1,
        )
    };
    let mut tokens = 0;
    while of(tokens + 1).0 <= length && tokens < 1 << 24 {
        tokens += 1;
    }
    match tokens {
        0 => (0, 0),
        tokens => (tokens, of(tokens).1),
    }
}

/// A uniformly random composition of `total` into `parts` positive parts.
fn compose(
    total: u32,
    parts: u32,
    draws: &mut Generator,
    places: &mut Vec<u32>,
    out: &mut Vec<u32>,
) {
    places.clear();
    places.extend(1..total);
    draws.shuffle_prefix(places, parts as usize - 1);
    places.truncate(parts as usize - 1);
    places.sort_unstable();
    out.clear();
    let mut before = 0;
    for &place in places.iter().chain([&total]) {
        out.push(place - before);
        before = place;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::generator::{Key, Purpose};

    #[test]
    fn counts_of_spans_are_those_of_the_source() {
        let law = |mean, count| Law {
            mean,
            count,
            roll: false,
        };
        let spans = |count, all, mean| law(mean, None).spans(count, all);
        // 32 tokens at 25 %, mean 2: 8 masked in 4 spans.
        assert_eq!(spans(8, 32, 2.0), 4);
        // Half to even, as NumPy rounds: 2.5 spans are 2.
        assert_eq!(spans(5, 100, 2.0), 2);
        // Above μ/(1+μ) the gaps run out: 90 of 100 leave room for 10 spans, not 30.
        assert_eq!(spans(90, 100, 3.0), 10);
        assert_eq!(spans(1, 100, 3.0), 1);
        assert_eq!(law(3.0, Some(1)).spans(25, 100), 1);
        assert_eq!(law(3.0, Some(7)).spans(4, 100), 4);
    }

    #[test]
    fn compositions_are_flat() {
        // 6 into 3 parts: 10 compositions; χ² with 9 degrees, 27.9 at p = 0.001.
        let mut draws = Key::default().generator(Purpose::Select);
        let (mut places, mut out) = (Vec::new(), Vec::new());
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..10_000 {
            compose(6, 3, &mut draws, &mut places, &mut out);
            assert_eq!(out.iter().sum::<u32>(), 6);
            *seen.entry(out.clone()).or_insert(0f64) += 1.0;
        }
        assert_eq!(seen.len(), 10);
        let chi: f64 = seen.values().map(|c| (c - 1e3f64).powi(2) / 1e3).sum();
        assert!(chi < 27.9, "{chi}: {seen:?}");
    }
}

//! What masking refuses before any row is masked: each error names the key, what it
//! found, what it expected and a way out.

use super::{Layout, MaskingConfig, Overshoot, Strategy, copies};
use crate::base::error::{Error, Result};
use crate::config::keys::check_share;

/// More copies of a row than this are a mistake: a corruption rate near 0.
const MOST_COPIES: u32 = 64;

impl MaskingConfig {
    /// Refuses what cannot work.
    pub fn check(&self) -> Result<()> {
        if self.mixture.is_empty() {
            return self.check_one("masking");
        }
        for (index, component) in self.mixture.iter().enumerate() {
            let place = format!("masking.mixture[{index}]");
            if !(component.weight.is_finite() && component.weight > 0.0) {
                return Err(Error::usage(
                    format!("{place}.weight"),
                    component.weight.to_string(),
                    "a number above 0",
                    "take the component out if no row shall be masked so",
                ));
            }
            component.masking.check_one(&place)?;
        }
        let weighted = |one: &MaskingConfig| one.is_weighted();
        if self.components().any(weighted) && !self.components().all(weighted) {
            return Err(Error::usage(
                "masking.mixture",
                "components with and without loss weights",
                "diffusion or antithetic rates in all components, or in none",
                "their losses are normalised differently: by tokens, and by labels",
            ));
        }
        Ok(())
    }

    fn check_one(&self, place: &str) -> Result<()> {
        let key = |name: &str| format!("{place}.{name}");
        self.corruption_rate.check(&key("corruption_rate"))?;
        self.prediction().check(&key("prediction_rate"))?;
        for (name, share) in [
            ("mask_share", self.mask_share),
            ("random_share", self.random_share),
            ("same_share", self.same_share),
            ("extra_same", self.extra_same),
        ] {
            check_share(&key(name), share)?;
        }
        let sum = self.mask_share + self.random_share + self.same_share;
        if (sum - 1.0).abs() > 1e-9 {
            return Err(Error::usage(
                format!("{place}.mask_share + random_share + same_share"),
                format!("{sum}"),
                "1",
                "BERT uses 0.8, 0.1, 0.1; Wettig et al. 1, 0, 0",
            ));
        }
        self.check_copies(place)?;
        self.check_spans(place)?;
        if self.token_weights.is_some() {
            if self.strategy.samples_spans() {
                return Err(Error::usage(
                    key("token_weights"),
                    "spans, which have no weight of their own",
                    "strategy uniform, word or pmi",
                    "take token_weights out, or mask words",
                ));
            }
            if self.overshoot != Overshoot::Fair {
                return Err(Error::usage(
                    key("overshoot"),
                    "a rule for units that overshoot, with token_weights",
                    "fair",
                    "with weights every unit has a chance of its own, and no order in which \
                     one could overshoot",
                ));
            }
        }
        if self.layout == Layout::Sentinel && (self.mask_share < 1.0 || self.extra_same > 0.0) {
            return Err(Error::usage(
                key("layout"),
                "sentinel with random, same or extra_same tokens",
                "mask_share = 1 and extra_same = 0",
                "a sentinel stands for all that is selected; use layout in_place or removed for \
                 other policies",
            ));
        }
        Ok(())
    }

    fn check_copies(&self, place: &str) -> Result<()> {
        for (corruption, prediction) in self.pairs_of_rates() {
            if corruption == 0.0 && prediction > 0.0 {
                return Err(Error::usage(
                    format!("{place}.corruption_rate"),
                    "0 with a prediction rate above 0",
                    "a corruption rate above 0",
                    "to predict without corrupting, use same_share = 1 and mask_share = 0",
                ));
            }
            let copies = copies(corruption, prediction);
            if copies > MOST_COPIES {
                return Err(Error::usage(
                    format!("{place}.corruption_rate"),
                    format!(
                        "{corruption:.4} with a prediction rate of {prediction}: {copies} copies \
                         of a row"
                    ),
                    format!("at most {MOST_COPIES} copies"),
                    "raise the lowest corruption rate or lower prediction_rate",
                ));
            }
            if copies > 1 && f64::from(copies) * corruption > 1.0 + 1e-9 {
                return Err(Error::usage(
                    format!("{place}.prediction_rate"),
                    format!(
                        "{prediction} with a corruption rate of {corruption}: {copies} disjoint \
                         copies would corrupt {:.0} % of a row",
                        100.0 * f64::from(copies) * corruption
                    ),
                    "⌈m_pred / m_corr⌉ · m_corr ≤ 1",
                    format!(
                        "lower prediction_rate to {} or less, or lower corruption_rate",
                        corruption * (1.0 / corruption + 1e-9).floor()
                    ),
                ));
            }
        }
        Ok(())
    }

    fn check_spans(&self, place: &str) -> Result<()> {
        let key = |name: &str| format!("{place}.{name}");
        if !(self.mean_span_length.is_finite() && self.mean_span_length >= 1.0) {
            return Err(Error::usage(
                key("mean_span_length"),
                self.mean_span_length.to_string(),
                "at least 1 token",
                "T5 uses 3",
            ));
        }
        if !(self.span_p > 0.0 && self.span_p <= 1.0) {
            return Err(Error::usage(
                key("span_p"),
                self.span_p.to_string(),
                "above 0, at most 1",
                "SpanBERT uses 0.2",
            ));
        }
        for (name, count) in [
            ("span_count", self.span_count),
            ("max_span_words", self.max_span_words),
        ] {
            if count == Some(0) {
                return Err(Error::usage(key(name), "0", "at least 1", "see --help"));
            }
        }
        Ok(())
    }

    /// Refuses spans that are longer than what rows of `length` tokens hold besides
    /// their special tokens.
    pub fn check_rows(&self, length: u32) -> Result<()> {
        let room = length.saturating_sub(2);
        for one in self.components() {
            let longest = match one.strategy {
                Strategy::Span if one.span_count.is_none() => {
                    Some(("mean_span_length", one.mean_span_length))
                }
                _ => one
                    .longest_span()
                    .map(|words| ("max_span_words", f64::from(words))),
            };
            if let Some((name, longest)) = longest
                && longest > f64::from(room)
            {
                return Err(Error::usage(
                    format!("masking.{name}"),
                    format!("{longest}, in rows of {length} tokens"),
                    format!("at most {room}, what a row holds besides its special tokens"),
                    "shorten the spans or lengthen the rows",
                ));
            }
        }
        Ok(())
    }

    /// Refuses schedules over the whole of a training where there is none.
    pub fn check_steps(&self) -> Result<()> {
        let needs = self
            .components()
            .any(|one| one.corruption_rate.needs_steps() || one.prediction().needs_steps());
        if needs && self.schedule_steps.is_none() {
            return Err(Error::usage(
                "masking.schedule_steps",
                "nothing, with a rate that moves from first to last step",
                "the number of steps",
                "name it: schedule_steps = 100000",
            ));
        }
        Ok(())
    }
}

//! Keys of masking (spec 1 to 4). Nothing of this is ever in a shard.

use crate::base::error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is selected as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// Single tokens, uniformly.
    #[default]
    Uniform,
    /// Whole words.
    Word,
    /// Units of the masking vocabulary (PMI-Masking, Levine et al. 2021); the shards
    /// must have been written with one.
    Pmi,
    /// Random spans as in T5 (Raffel et al. 2020).
    Span,
}

/// How many tokens a rate is in one row (spec 2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Budget {
    /// ⌊pB + U⌋ with U uniform in [0, 1): exactly pB in expectation.
    #[default]
    Fair,
    /// Each position on its own (Hugging Face, ModernBERT).
    Bernoulli,
    /// Half-even, at least 1 (google-bert).
    Round,
    /// ⌈pB⌉ (SpanBERT).
    Ceil,
}

/// What happens to a unit that is longer than what is left of the budget (spec 3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overshoot {
    /// Taken with probability (left / length), then stop: the expected number of
    /// tokens is the budget, whatever the lengths.
    #[default]
    Fair,
    /// Passed over (google-bert).
    Skip,
    /// Taken whole.
    Take,
    /// Cut to what is left.
    Truncate,
}

/// For what one category (mask, random, same) is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Each token (google-bert).
    Token,
    /// Each word.
    Word,
    /// Each masking unit or span (PMI-Masking, SpanBERT).
    #[default]
    Unit,
}

/// Which tokens are corrupted, with what, and which are predicted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MaskingConfig {
    /// What is selected as one.
    pub strategy: Strategy,
    /// m_corr: the share of maskable tokens selected for corruption, 0 to 1.
    pub corruption_rate: f64,
    /// m_pred: the share of maskable tokens that carries a label; without it, as
    /// corruption_rate. More than corruption_rate emits a row several times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prediction_rate: Option<f64>,
    /// Of what is selected, the share replaced by the mask token.
    pub mask_share: f64,
    /// Of what is selected, the share replaced by a random token.
    pub random_share: f64,
    /// Of what is selected, the share predicted but left as it is.
    pub same_share: f64,
    /// A further share of the tokens not selected that is predicted and left as it
    /// is ("+5 % same" in Wettig et al. 2023).
    pub extra_same: f64,
    /// For what one category (mask, random, same) is drawn.
    pub replacement_level: Level,
    /// How many tokens a rate is in one row.
    pub budget: Budget,
    /// What happens to a unit that is longer than what is left of the budget.
    pub overshoot: Overshoot,
    /// Mean length of a span in tokens, for strategy span.
    pub mean_span_length: f64,
    /// Move the spans of a row by a random offset, around its end, so that every
    /// position has the same chance; T5's own spans never cover the first token of a
    /// row and always the last.
    pub roll_spans: bool,
    /// With prediction_rate below corruption_rate: label whole units, not tokens.
    pub predict_whole_units: bool,
    /// At most this many labels a row; none unless asked for. Warned of when it binds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_predictions: Option<u32>,
}

impl Default for MaskingConfig {
    fn default() -> Self {
        Self {
            strategy: Strategy::Uniform,
            corruption_rate: 0.4,
            prediction_rate: None,
            mask_share: 1.0,
            random_share: 0.0,
            same_share: 0.0,
            extra_same: 0.0,
            replacement_level: Level::Unit,
            budget: Budget::Fair,
            overshoot: Overshoot::Fair,
            mean_span_length: 3.0,
            roll_spans: false,
            predict_whole_units: false,
            max_predictions: None,
        }
    }
}

impl MaskingConfig {
    /// m_pred, which is m_corr unless set.
    pub fn prediction(&self) -> f64 {
        self.prediction_rate.unwrap_or(self.corruption_rate)
    }

    /// k = ⌈m_pred / m_corr⌉: how often each row is emitted (spec 1).
    pub fn copies(&self) -> u32 {
        let (corruption, prediction) = (self.corruption_rate, self.prediction());
        if prediction <= corruption || corruption <= 0.0 {
            return 1;
        }
        // 0.6 / 0.2 is 2.9999999999999996 or 3.0000000000000004 in binary.
        ((prediction / corruption) - 1e-9).ceil() as u32
    }

    /// Refuses what cannot work.
    pub fn check(&self) -> Result<()> {
        use super::keys::check_share;
        check_share("masking.corruption_rate", self.corruption_rate)?;
        check_share("masking.prediction_rate", self.prediction())?;
        check_share("masking.mask_share", self.mask_share)?;
        check_share("masking.random_share", self.random_share)?;
        check_share("masking.same_share", self.same_share)?;
        check_share("masking.extra_same", self.extra_same)?;
        let sum = self.mask_share + self.random_share + self.same_share;
        if (sum - 1.0).abs() > 1e-9 {
            return Err(Error::usage(
                "masking.mask_share + random_share + same_share",
                format!("{sum}"),
                "1",
                "BERT uses 0.8, 0.1, 0.1; Wettig et al. 1, 0, 0",
            ));
        }
        if self.corruption_rate == 0.0 && self.prediction() > 0.0 {
            return Err(Error::usage(
                "masking.corruption_rate",
                "0 with a prediction rate above 0",
                "a corruption rate above 0",
                "to predict without corrupting, use same_share = 1 and mask_share = 0",
            ));
        }
        let copies = self.copies();
        if f64::from(copies) * self.corruption_rate > 1.0 + 1e-9 {
            return Err(Error::usage(
                "masking.prediction_rate",
                format!(
                    "{} with a corruption rate of {}: {copies} disjoint copies would corrupt \
                     {:.0} % of a row",
                    self.prediction(),
                    self.corruption_rate,
                    100.0 * f64::from(copies) * self.corruption_rate
                ),
                "⌈m_pred / m_corr⌉ · m_corr ≤ 1",
                format!(
                    "lower prediction_rate to {} or less, or lower corruption_rate",
                    self.corruption_rate * (1.0 / self.corruption_rate).floor()
                ),
            ));
        }
        if !(self.mean_span_length.is_finite() && self.mean_span_length >= 1.0) {
            return Err(Error::usage(
                "masking.mean_span_length",
                self.mean_span_length.to_string(),
                "at least 1 token",
                "T5 uses 3",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(corruption: f64, prediction: f64) -> MaskingConfig {
        MaskingConfig {
            corruption_rate: corruption,
            prediction_rate: Some(prediction),
            ..MaskingConfig::default()
        }
    }

    #[test]
    fn copies_are_those_of_the_paper() {
        assert_eq!(rates(0.2, 0.4).copies(), 2);
        assert_eq!(rates(0.05, 0.4).copies(), 8);
        assert_eq!(rates(0.4, 0.2).copies(), 1);
        assert_eq!(rates(0.4, 0.4).copies(), 1);
        assert_eq!(rates(0.2, 0.6).copies(), 3);
        assert!(rates(0.05, 0.4).check().is_ok());
    }

    #[test]
    fn more_copies_than_the_row_has_room_for_are_refused() {
        let message = rates(0.6, 0.8).check().unwrap_err().to_string();
        assert!(message.contains("2 disjoint copies"), "{message}");
        assert!(message.contains("120 %"), "{message}");
    }
}

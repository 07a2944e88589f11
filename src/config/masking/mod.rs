//! Keys of masking (spec 1 to 5 and 11). Nothing of this is ever in a shard.
//!
//! `check.rs` refuses what cannot work; `typed.rs` reads the keys, and resolves presets and
//! the components of mixtures on the way.

mod check;
#[cfg(test)]
mod tests;
mod typed;

use super::preset::Preset;
use super::rate::Rate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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
    /// Random spans of tokens as in T5 (Raffel et al. 2020).
    Span,
    /// Spans of whole words of geometric length (SpanBERT, Joshi et al. 2020).
    Geometric,
    /// Spans of n whole words, each n with probability ∝ 1/n (Megatron-LM).
    Ngram,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Uniform,
        Self::Word,
        Self::Pmi,
        Self::Span,
        Self::Geometric,
        Self::Ngram,
    ];

    /// Its name, as one types it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Word => "word",
            Self::Pmi => "pmi",
            Self::Span => "span",
            Self::Geometric => "geometric",
            Self::Ngram => "ngram",
        }
    }

    /// Whether it samples spans, so that what is selected as one is not known
    /// beforehand.
    pub fn samples_spans(self) -> bool {
        matches!(self, Self::Span | Self::Geometric | Self::Ngram)
    }

    /// Whether it selects whole words.
    pub fn is_of_words(self) -> bool {
        matches!(self, Self::Word | Self::Geometric | Self::Ngram)
    }
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

/// What random replacements are drawn from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RandomIds {
    /// All ordinary tokens of the vocabulary alike.
    #[default]
    Uniform,
    /// Ordinary tokens as often as the shards have them.
    Unigram,
}

/// What becomes of the selected tokens in the rows handed on (spec 11).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// The row keeps its length, mask tokens stand where tokens were (BERT).
    #[default]
    InPlace,
    /// What would become a mask token is taken out; the tokens that stay keep their
    /// positions (MAE-LM, Meng et al. 2023).
    Removed,
    /// A run of selected tokens becomes one sentinel, and a second row spells what
    /// each sentinel stands for (T5).
    Sentinel,
}

/// Which tokens are corrupted, with what, and which are predicted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", default, deny_unknown_fields)]
pub struct MaskingConfig {
    /// Masking as published, which keys beside it override one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// What is selected as one.
    pub strategy: Strategy,
    /// m_corr: the share of maskable tokens selected for corruption. A number from 0
    /// to 1, or a law: linear(0.3, 0.15) or cosine(0.3, 0.15) over the training,
    /// piecewise(0: 0.4, 10000: 0.2) by steps, for each row uniform(0.1, 0.5),
    /// diffusion(0.001) (LLaDA) or antithetic(0.001) (MDLM).
    pub corruption_rate: Rate,
    /// m_pred: the share of maskable tokens that carries a label, as corruption_rate
    /// is written; without it, as corruption_rate. More than corruption_rate emits a
    /// row several times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prediction_rate: Option<Rate>,
    /// Steps after which linear and cosine laws stand still; without it, all steps of
    /// the training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_steps: Option<u64>,
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
    /// What random replacements are drawn from.
    pub random_ids: RandomIds,
    /// How many tokens a rate is in one row.
    pub budget: Budget,
    /// What happens to a unit that is longer than what is left of the budget.
    pub overshoot: Overshoot,
    /// Mean length of a span in tokens, for strategy span.
    pub mean_span_length: f64,
    /// So many spans in each row, for strategy span, whatever their mean length; 1
    /// without roll_spans is the end of the row (the S-denoiser of UL2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span_count: Option<u32>,
    /// Move the spans of a row by a random offset, around its end, so that every
    /// position has the same chance; T5's own spans never cover the first token of a
    /// row and always the last.
    pub roll_spans: bool,
    /// p of the length of a span in words, for strategy geometric: l words with
    /// probability ∝ (1 − p)^(l − 1).
    pub span_p: f64,
    /// The longest span in words, for strategies geometric and ngram; without it, 10
    /// for geometric (SpanBERT) and 3 for ngram (Megatron-LM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_span_words: Option<u32>,
    /// A file of weights that scale the chance of tokens to be selected: lines of a
    /// token as the vocabulary spells it, a tab, and a weight of 0 or more; tokens
    /// without a line weigh 1. For strategies uniform, word and pmi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_weights: Option<PathBuf>,
    /// With prediction_rate below corruption_rate: label whole units, not tokens.
    pub predict_whole_units: bool,
    /// At most this many labels a row; none unless asked for. Warned of when it binds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_predictions: Option<u32>,
    /// What becomes of the selected tokens in the rows handed on.
    pub layout: Layout,
    /// Several ways to mask, one of them drawn for each row: a weight and any of the
    /// keys around, which hold where a component does not set its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mixture: Vec<Component>,
}

/// One way of a mixture.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// Rows masked so, relative to the other components.
    pub weight: f64,
    /// How, with the keys of the whole filled in.
    pub masking: MaskingConfig,
}

impl Default for MaskingConfig {
    fn default() -> Self {
        Self {
            preset: None,
            strategy: Strategy::Uniform,
            corruption_rate: Rate::Constant(0.4),
            prediction_rate: None,
            schedule_steps: None,
            mask_share: 1.0,
            random_share: 0.0,
            same_share: 0.0,
            extra_same: 0.0,
            replacement_level: Level::Unit,
            random_ids: RandomIds::Uniform,
            budget: Budget::Fair,
            overshoot: Overshoot::Fair,
            mean_span_length: 3.0,
            span_count: None,
            roll_spans: false,
            span_p: 0.2,
            max_span_words: None,
            token_weights: None,
            predict_whole_units: false,
            max_predictions: None,
            layout: Layout::InPlace,
            mixture: Vec::new(),
        }
    }
}

impl MaskingConfig {
    /// m_pred, which is m_corr unless set.
    pub fn prediction(&self) -> &Rate {
        self.prediction_rate
            .as_ref()
            .unwrap_or(&self.corruption_rate)
    }

    /// The components of the mixture, or the whole as the only one.
    pub fn components(&self) -> impl Iterator<Item = &MaskingConfig> {
        let only = self.mixture.is_empty().then_some(self);
        only.into_iter()
            .chain(self.mixture.iter().map(|component| &component.masking))
    }

    /// The longest span in words, for strategies that have one.
    pub fn longest_span(&self) -> Option<u32> {
        match self.strategy {
            Strategy::Geometric => Some(self.max_span_words.unwrap_or(10)),
            Strategy::Ngram => Some(self.max_span_words.unwrap_or(3)),
            _ => None,
        }
    }

    /// The highest k = ⌈m_pred / m_corr⌉ of any row: how often rows are emitted at
    /// most (spec 1).
    pub fn most_copies(&self) -> u32 {
        let of = |one: &Self| {
            let pairs = one.pairs_of_rates().into_iter();
            pairs
                .map(|(corruption, prediction)| copies(corruption, prediction))
                .max()
        };
        self.components().filter_map(of).max().unwrap_or(1)
    }

    /// Rows emitted for each row read, in the mean over `steps` steps: exact where
    /// rates stand still.
    pub fn mean_copies(&self, steps: u64) -> f64 {
        let steps = self.schedule_steps.unwrap_or(steps);
        let of = |one: &Self| {
            f64::from(copies(
                one.corruption_rate.mean(steps),
                one.prediction().mean(steps),
            ))
        };
        if self.mixture.is_empty() {
            return of(self);
        }
        let all: f64 = self.mixture.iter().map(|one| one.weight).sum();
        let sum: f64 = self
            .mixture
            .iter()
            .map(|one| one.weight * of(&one.masking))
            .sum();
        sum / all
    }

    /// Sets the number of steps of the schedules, unless they have one.
    pub fn with_steps(mut self, steps: u64) -> Self {
        self.schedule_steps.get_or_insert(steps);
        self.spread();
        self
    }

    /// Makes the file of token weights relative to `folder`.
    pub fn relative_to(&mut self, folder: &std::path::Path) {
        if let Some(file) = &mut self.token_weights {
            *file = folder.join(&*file);
        }
        self.spread();
    }

    /// Sets another layout, for all components.
    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self.spread();
        self
    }

    /// Gives the components of a mixture the keys of the whole.
    fn spread(&mut self) {
        for component in &mut self.mixture {
            let masking = &mut component.masking;
            masking.schedule_steps = self.schedule_steps;
            masking.random_ids = self.random_ids;
            masking.token_weights.clone_from(&self.token_weights);
            masking.layout = self.layout;
        }
    }

    /// Whether rates are drawn over the rows of a step.
    pub fn is_antithetic(&self) -> bool {
        let antithetic = |rate: &Rate| matches!(rate, Rate::Antithetic { .. });
        self.components()
            .any(|one| antithetic(&one.corruption_rate) || antithetic(one.prediction()))
    }

    /// Whether labels weigh 1/m_pred in the loss.
    pub fn is_weighted(&self) -> bool {
        self.components()
            .any(|one| one.corruption_rate.is_weighted() || one.prediction().is_weighted())
    }

    /// Pairs of m_corr and m_pred that rows may have, among them those with the most
    /// copies and with the most tokens corrupted by them.
    fn pairs_of_rates(&self) -> Vec<(f64, f64)> {
        let Some(prediction) = &self.prediction_rate else {
            return Vec::new();
        };
        let corruption = &self.corruption_rate;
        // Rates that both follow the step meet only in the same step; rates drawn for a
        // row may meet in any pair.
        if corruption.is_drawn() || prediction.is_drawn() {
            let ((low, high), most) = (corruption.range(), prediction.range().1);
            // k copies corrupt most just below m_pred / (k − 1).
            let turns = (1..=64).map(|k| (most / f64::from(k) - 1e-9).clamp(low, high));
            return turns.chain([low, high]).map(|rate| (rate, most)).collect();
        }
        let end = self.schedule_steps.unwrap_or(1 << 20);
        let grid = (0..=4096).map(|step| (f64::from(step) / 4096.0 * end as f64) as u64);
        let breaks = [corruption, prediction]
            .into_iter()
            .filter_map(|rate| match rate {
                Rate::Piecewise(pieces) => Some(pieces.iter().map(|piece| piece.0)),
                _ => None,
            })
            .flatten();
        grid.chain(breaks)
            .filter_map(|step| Some((corruption.at(step, end)?, prediction.at(step, end)?)))
            .collect()
    }
}

/// k = ⌈m_pred / m_corr⌉, at least 1 (spec 1).
pub fn copies(corruption: f64, prediction: f64) -> u32 {
    if prediction <= corruption || corruption <= 0.0 {
        return 1;
    }
    // 0.6 / 0.2 is 2.9999999999999996 or 3.0000000000000004 in binary.
    ((prediction / corruption) - 1e-9).ceil() as u32
}

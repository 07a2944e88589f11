//! Keys of masking (spec 1 to 5 and 11). Nothing of this is ever in a shard.
//!
//! Reading them resolves two shorthands: a [`Preset`] stands for the keys that it
//! sets, and a component of a mixture takes what it does not set from the keys around
//! it. What is written out is the whole, so it reads back as the same.

use super::keys::check_share;
use super::preset::Preset;
use super::rate::Rate;
use crate::base::error::{Error, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};
use std::borrow::Cow;
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

/// More copies of a row than this are a mistake: a corruption rate near 0.
const MOST_COPIES: u32 = 64;

/// Keys that hold for all components of a mixture.
const OF_THE_WHOLE: [&str; 5] = [
    "schedule_steps",
    "random_ids",
    "token_weights",
    "layout",
    "mixture",
];

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

    /// Whether labels weigh 1/m_pred in the loss.
    pub fn is_weighted(&self) -> bool {
        self.components()
            .any(|one| one.corruption_rate.is_weighted() || one.prediction().is_weighted())
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

/// k = ⌈m_pred / m_corr⌉, at least 1 (spec 1).
pub fn copies(corruption: f64, prediction: f64) -> u32 {
    if prediction <= corruption || corruption <= 0.0 {
        return 1;
    }
    // 0.6 / 0.2 is 2.9999999999999996 or 3.0000000000000004 in binary.
    ((prediction / corruption) - 1e-9).ceil() as u32
}

/// Puts `over` on top of `under`.
fn overlay(mut under: Map<String, Value>, over: &Map<String, Value>) -> Map<String, Value> {
    under.extend(over.iter().map(|(key, value)| (key.clone(), value.clone())));
    under
}

/// The keys of `config`, or of the preset that `typed` names.
fn base_of(
    typed: &Map<String, Value>,
    without: &MaskingConfig,
) -> std::result::Result<(Map<String, Value>, Vec<Component>), String> {
    let mut config = match typed.get("preset") {
        None | Some(Value::Null) => without.clone(),
        Some(name) => serde_json::from_value::<Preset>(name.clone())
            .map_err(|error| format!("preset: {error}"))?
            .config(),
    };
    let mixture = std::mem::take(&mut config.mixture);
    match serde_json::to_value(&config) {
        Ok(Value::Object(keys)) => Ok((keys, mixture)),
        _ => Err("keys that are no table".into()),
    }
}

/// Reads keys, naming the one that is wrong.
fn read(keys: Map<String, Value>) -> std::result::Result<MaskingConfig, String> {
    for (key, value) in &keys {
        let alone = Value::Object(Map::from_iter([(key.clone(), value.clone())]));
        if let Err(error) = MaskingConfig::deserialize(alone) {
            return Err(format!("{key}: {error}"));
        }
    }
    MaskingConfig::deserialize(Value::Object(keys)).map_err(|error| error.to_string())
}

fn component(
    typed: Value,
    whole: &MaskingConfig,
    index: usize,
) -> std::result::Result<Component, String> {
    let place = |error: String| format!("mixture[{index}]: {error}");
    let Value::Object(mut typed) = typed else {
        return Err(place("not a table".into()));
    };
    if let Some(key) = OF_THE_WHOLE.iter().find(|&&key| typed.contains_key(key)) {
        return Err(place(format!(
            "{key} holds for the whole mixture: set it outside"
        )));
    }
    let weight = typed.remove("weight").unwrap_or(Value::from(1.0));
    let weight = weight
        .as_f64()
        .ok_or_else(|| place(format!("weight: {weight} is no number")))?;
    let (base, mixture) = base_of(&typed, whole).map_err(place)?;
    if !mixture.is_empty() {
        return Err(place("preset: a mixture itself".into()));
    }
    Ok(Component {
        weight,
        masking: read(overlay(base, &typed)).map_err(place)?,
    })
}

impl<'de> Deserialize<'de> for MaskingConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let wrong = |error: String| <D::Error as de::Error>::custom(format!("masking: {error}"));
        let mut typed = Map::<String, Value>::deserialize(deserializer)?;
        let mixture = typed.remove("mixture");
        let (base, of_preset) = base_of(&typed, &Self::default()).map_err(wrong)?;
        let mut whole = read(overlay(base, &typed)).map_err(wrong)?;
        let unnamed = Self {
            preset: None,
            ..whole.clone()
        };
        whole.mixture = match mixture {
            Some(Value::Array(components)) => components
                .into_iter()
                .enumerate()
                .map(|(index, typed)| component(typed, &unnamed, index))
                .collect::<std::result::Result<_, _>>()
                .map_err(wrong)?,
            Some(other) => return Err(wrong(format!("mixture: {other} is no list of tables"))),
            None => {
                typed.remove("preset");
                OF_THE_WHOLE.iter().for_each(|&key| {
                    typed.remove(key);
                });
                of_preset
                    .into_iter()
                    .map(|one| {
                        let keys = match serde_json::to_value(&one.masking) {
                            Ok(Value::Object(keys)) => overlay(keys, &typed),
                            _ => typed.clone(),
                        };
                        Ok(Component {
                            weight: one.weight,
                            masking: read(keys)?,
                        })
                    })
                    .collect::<std::result::Result<_, String>>()
                    .map_err(wrong)?
            }
        };
        whole.spread();
        Ok(whole)
    }
}

impl<'de> Deserialize<'de> for Component {
    /// A component by itself, with the defaults around it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let typed = Value::deserialize(deserializer)?;
        component(typed, &MaskingConfig::default(), 0).map_err(de::Error::custom)
    }
}

impl Serialize for MaskingConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl Serialize for Component {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut keys = match serde_json::to_value(&self.masking) {
            Ok(Value::Object(keys)) => keys,
            Ok(_) => Map::new(),
            Err(error) => return Err(serde::ser::Error::custom(error)),
        };
        OF_THE_WHOLE.iter().for_each(|&key| {
            keys.remove(key);
        });
        keys.insert("weight".into(), self.weight.into());
        keys.serialize(serializer)
    }
}

impl JsonSchema for Component {
    fn schema_name() -> Cow<'static, str> {
        "Component".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = MaskingConfig::json_schema(generator);
        schema.insert("description".into(), "One way of a mixture.".into());
        if let Some(Value::Object(keys)) = schema.get_mut("properties") {
            OF_THE_WHOLE.iter().for_each(|&key| {
                keys.remove(key);
            });
            let weight = schemars::json_schema!({
                "description": "Rows masked so, relative to the other components.",
                "type": "number",
                "default": 1.0,
            });
            keys.insert("weight".into(), weight.into());
        }
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rates(corruption: f64, prediction: f64) -> MaskingConfig {
        MaskingConfig {
            corruption_rate: corruption.into(),
            prediction_rate: Some(prediction.into()),
            ..MaskingConfig::default()
        }
    }

    fn read(typed: Value) -> MaskingConfig {
        serde_json::from_value(typed).unwrap()
    }

    fn refused(typed: Value) -> String {
        match serde_json::from_value::<MaskingConfig>(typed) {
            Ok(config) => config.check().unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn copies_are_those_of_the_paper() {
        for (corruption, prediction, k) in [
            (0.2, 0.4, 2),
            (0.05, 0.4, 8),
            (0.4, 0.2, 1),
            (0.4, 0.4, 1),
            (0.2, 0.6, 3),
        ] {
            assert_eq!(copies(corruption, prediction), k);
            assert_eq!(rates(corruption, prediction).most_copies(), k);
            assert!(rates(corruption, prediction).check().is_ok());
        }
    }

    #[test]
    fn more_copies_than_the_row_has_room_for_are_refused() {
        let message = rates(0.6, 0.8).check().unwrap_err().to_string();
        assert!(message.contains("2 disjoint copies"), "{message}");
        assert!(message.contains("120 %"), "{message}");
        // Moving rates are looked at where they meet.
        let moving = |corruption: &str, prediction: &str| {
            read(json!({"corruption_rate": corruption, "prediction_rate": prediction})).check()
        };
        assert!(moving("linear(0.3, 0.15)", "0.3").is_ok());
        assert!(moving("linear(0.8, 0.3)", "linear(0.8, 0.6)").is_err());
        assert!(moving("linear(0.8, 0.4)", "linear(0.8, 0.4)").is_ok());
        assert!(moving("uniform(0.1, 0.7)", "0.5").is_ok());
        assert!(moving("uniform(0.1, 0.7)", "0.501").is_err());
        assert!(moving("0.4", "uniform(0.1, 0.8)").is_ok());
        assert!(moving("0.4", "uniform(0.1, 0.9)").is_err());
        assert!(moving("uniform(0.1, 0.7)", "0.1").is_ok());
        assert!(moving("diffusion(0.001)", "0.5").is_err());
    }

    #[test]
    fn what_is_wrong_is_named_and_explained() {
        for (typed, part) in [
            (json!({"corruption_rate": 1.2}), "masking.corruption_rate"),
            (
                json!({"corruption_rate": "lienar(1, 0)"}),
                "corruption_rate",
            ),
            (json!({"mask_share": 0.8}), "found 0.8, expected 1"),
            (json!({"strategy": "words"}), "strategy: unknown variant"),
            (json!({"preset": "bart"}), "preset: unknown variant"),
            (
                json!({"corruption_rate": 0, "prediction_rate": 0.1}),
                "same_share = 1",
            ),
            (
                json!({"layout": "sentinel", "mask_share": 0.8, "same_share": 0.2}),
                "sentinel",
            ),
            (
                json!({"strategy": "span", "token_weights": "w.tsv"}),
                "token_weights",
            ),
            (
                json!({"token_weights": "w.tsv", "overshoot": "skip"}),
                "overshoot",
            ),
            (
                json!({"mixture": [{"weight": 0}]}),
                "masking.mixture[0].weight",
            ),
            (
                json!({"mixture": [{"corruption_rate": 2}]}),
                "masking.mixture[0].corruption_rate",
            ),
            (
                json!({"mixture": [{"layout": "removed"}]}),
                "set it outside",
            ),
            (json!({"mixture": [{"preset": "ul2"}]}), "a mixture itself"),
            (
                json!({"mixture": [{}, {"preset": "llada"}]}),
                "loss weights",
            ),
            (
                json!({"mixture": [{"budget": "fare"}]}),
                "mixture[0]: budget",
            ),
            (json!({"span_p": 0}), "masking.span_p"),
        ] {
            let message = refused(typed.clone());
            assert!(message.contains(part), "{typed}: {message}");
        }
    }

    #[test]
    fn components_take_what_they_do_not_set_from_the_keys_around() {
        let config = read(json!({
            "budget": "ceil", "corruption_rate": 0.2, "layout": "removed",
            "mixture": [{"weight": 3, "strategy": "word"}, {"preset": "spanbert", "corruption_rate": 0.5}],
        }));
        let [first, second] = &config.mixture[..] else {
            panic!("two components")
        };
        assert_eq!((first.weight, second.weight), (3.0, 1.0));
        assert_eq!(first.masking.strategy, Strategy::Word);
        assert_eq!(first.masking.corruption_rate, 0.2.into());
        assert_eq!(first.masking.budget, Budget::Ceil);
        assert_eq!(second.masking.overshoot, Overshoot::Truncate);
        assert_eq!(second.masking.corruption_rate, 0.5.into());
        assert!(config.components().all(|one| one.layout == Layout::Removed));
        let again = read(serde_json::to_value(&config).unwrap());
        assert_eq!(again, config);
    }

    #[test]
    fn keys_beside_the_preset_of_a_mixture_hold_for_its_components() {
        let config = read(json!({"preset": "ul2", "budget": "fair", "layout": "removed"}));
        assert_eq!(config.mixture.len(), 7);
        assert!(config.components().all(|one| one.budget == Budget::Fair));
        assert!(config.components().all(|one| one.layout == Layout::Removed));
        assert_eq!(config.mixture[6].masking.mean_span_length, 64.0);
        let again = read(serde_json::to_value(&config).unwrap());
        assert_eq!(again, config);
    }

    #[test]
    fn spans_longer_than_rows_are_refused() {
        let config = read(json!({"strategy": "span", "mean_span_length": 64}));
        assert!(config.check_rows(66).is_ok());
        let message = config.check_rows(65).unwrap_err().to_string();
        assert!(message.contains("masking.mean_span_length"), "{message}");
        let config = read(json!({"strategy": "geometric"}));
        assert!(
            config
                .check_rows(11)
                .unwrap_err()
                .to_string()
                .contains("max_span_words")
        );
        assert!(read(json!({"preset": "ul2"})).check_rows(64).is_err());
    }

    #[test]
    fn schedules_need_a_number_of_steps() {
        let config = read(json!({"preset": "ankner"}));
        assert!(config.check_steps().is_err());
        assert!(config.with_steps(100).check_steps().is_ok());
    }
}

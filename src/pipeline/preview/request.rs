//! What to show: ways to mask from left to right, rates from top to bottom.

use super::{Preview, ShownTokenizer, ShownWay};
use crate::base::error::Result;
use crate::config::pipeline::PreviewConfig;
use crate::config::{MaskingConfig, Rate, Strategy};
use serde::Serialize;

/// Rows as short as these show something, the first that holds the spans of all ways.
const LENGTHS: [u32; 3] = [48, 128, 512];

/// What to show.
#[derive(Debug, Clone)]
pub struct Request {
    /// How many rows.
    pub rows: u64,
    /// The first row; without it rows from all over the text that begin a document.
    pub first_row: Option<u64>,
    /// Tokens in a row, special tokens included; without it 48, or 128 or 512 where
    /// the spans of a way need more.
    pub length: Option<u32>,
    /// Left to right; none stands for uniform, span, and pmi where there are units,
    /// word where there are none, and what `masking` itself selects.
    pub ways: Vec<Way>,
    /// Everything else about masks where `ways` has none.
    pub masking: MaskingConfig,
    /// Top to bottom; none stands for each way at its own rates.
    pub rates: Vec<Rates>,
    /// Seed of the masks.
    pub seed: u64,
    /// Epoch of the masks.
    pub epoch: u64,
    /// Optimiser step that schedules are shown at.
    pub step: u64,
}

/// One way to mask, with a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    /// What stands above its column.
    pub name: String,
    /// Its keys.
    pub masking: MaskingConfig,
}

/// What a block sets of the rates of each way; what it does not set stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rates {
    /// m_corr.
    pub corruption: Option<Rate>,
    /// m_pred.
    pub prediction: Option<Rate>,
}

impl Way {
    /// `masking` with another strategy, named by it.
    pub fn of_strategy(strategy: Strategy, masking: &MaskingConfig) -> Self {
        Self {
            name: spelled(&strategy),
            masking: MaskingConfig {
                strategy,
                ..masking.clone()
            },
        }
    }

    /// `masking` as it is, named by its preset, or as a mixture, or by its strategy.
    pub fn configured(masking: MaskingConfig) -> Self {
        let name = match (&masking.preset, masking.mixture.is_empty()) {
            (Some(preset), _) => spelled(preset),
            (None, false) => "mixture".into(),
            (None, true) => spelled(&masking.strategy),
        };
        Self { name, masking }
    }

    /// Whether it, or a component of it, selects PMI units.
    pub fn needs_units(&self) -> bool {
        self.masking
            .components()
            .any(|one| one.strategy == Strategy::Pmi)
    }
}

impl Rates {
    /// `rate` for m_corr; m_pred stays what it is.
    pub fn corrupting(rate: Rate) -> Self {
        Self {
            corruption: Some(rate),
            prediction: None,
        }
    }

    /// `masking` at these rates, all components of a mixture included.
    pub fn on(&self, masking: &MaskingConfig) -> MaskingConfig {
        let mut masking = masking.clone();
        let set = |one: &mut MaskingConfig| {
            if let Some(rate) = &self.corruption {
                one.corruption_rate.clone_from(rate);
            }
            if let Some(rate) = &self.prediction {
                one.prediction_rate = Some(rate.clone());
            }
        };
        set(&mut masking);
        for component in &mut masking.mixture {
            set(&mut component.masking);
        }
        masking
    }
}

impl Way {
    /// Whether its strategy goes with the other keys: spans do not with weights of
    /// tokens, and are left out where nobody asked for them.
    fn can_work(&self) -> bool {
        !(self.masking.token_weights.is_some() && self.masking.strategy.samples_spans())
    }
}

impl Request {
    /// What `cloze run` shows: the configured rates with everything else as in the
    /// training of `steps` steps, and the training's own rates where they are not among
    /// them. A mixture is shown at its own rates only.
    pub fn of_pipeline(
        shown: &PreviewConfig,
        training: &MaskingConfig,
        steps: u64,
        seed: u64,
    ) -> Self {
        let training = training.clone().with_steps(steps);
        let masking = MaskingConfig {
            prediction_rate: None,
            ..training.clone()
        };
        let own = Rates {
            corruption: Some(training.corruption_rate.clone()),
            prediction: training.prediction_rate.clone(),
        };
        let mut rates: Vec<Rates> = shown.rates.iter().cloned().map(Rates::corrupting).collect();
        if !rates.contains(&own) {
            rates.push(own);
        }
        let strategies = shown.strategies.iter();
        let mut ways: Vec<Way> = strategies
            .map(|&strategy| Way::of_strategy(strategy, &masking))
            .filter(Way::can_work)
            .collect();
        if !training.mixture.is_empty() {
            rates.clear();
            ways = vec![Way::configured(training.clone())];
        }
        let length = training.check_rows(shown.length).is_ok();
        Self {
            rows: shown.rows.into(),
            first_row: None,
            length: length.then_some(shown.length),
            ways,
            masking,
            rates,
            seed,
            epoch: 0,
            step: 0,
        }
    }

    /// The ways to show, left to right.
    pub fn ways(&self, units: bool) -> Vec<Way> {
        if !self.ways.is_empty() {
            return self.ways.clone();
        }
        let whole = if units { Strategy::Pmi } else { Strategy::Word };
        let mut strategies = vec![Strategy::Uniform, Strategy::Span, whole];
        if !strategies.contains(&self.masking.strategy) {
            strategies.push(self.masking.strategy);
        }
        strategies
            .into_iter()
            .map(|strategy| Way::of_strategy(strategy, &self.masking))
            .filter(Way::can_work)
            .collect()
    }

    /// The configuration of every mask of a row: rate by rate, and within one rate way
    /// by way.
    pub fn configurations<'a>(&self, ways: &'a [Way]) -> Vec<(&'a Way, MaskingConfig)> {
        let own = [Rates::default()];
        let blocks = if self.rates.is_empty() {
            &own[..]
        } else {
            &self.rates
        };
        let pairs = blocks
            .iter()
            .flat_map(|rates| ways.iter().map(move |way| (rates, way)));
        pairs
            .map(|(rates, way)| {
                let masking = rates.on(&way.masking);
                // At its first step a schedule is where it begins, however long it is.
                let masking = match self.step {
                    0 => masking.with_steps(1),
                    _ => masking,
                };
                (way, masking)
            })
            .collect()
    }

    /// Tokens in a row.
    ///
    /// # Errors
    /// Spans that are longer than the rows asked for, or than any.
    pub fn length(&self, ways: &[Way]) -> Result<u32> {
        let check = |length| {
            ways.iter()
                .try_for_each(|way| way.masking.check_rows(length))
        };
        if let Some(length) = self.length {
            return check(length).map(|()| length);
        }
        let fitting = LENGTHS.into_iter().find(|&length| check(length).is_ok());
        match fitting {
            Some(length) => Ok(length),
            None => check(LENGTHS[LENGTHS.len() - 1]).map(|()| LENGTHS[0]),
        }
    }

    /// What the rows will be drawn from, with no rows yet.
    pub(super) fn preview(
        &self,
        source: String,
        tokenizer: ShownTokenizer,
        length: u32,
        ways: &[Way],
    ) -> Preview {
        Preview {
            version: env!("CARGO_PKG_VERSION").into(),
            source,
            tokenizer,
            seed: self.seed,
            epoch: self.epoch,
            step: self.step,
            length,
            ways: ways
                .iter()
                .map(|way| ShownWay {
                    name: way.name.clone(),
                    masking: way.masking.clone(),
                })
                .collect(),
            rows: Vec::new(),
            totals: Vec::new(),
        }
    }
}

/// How configurations spell a value.
pub fn spelled(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(error) => error.to_string(),
    }
}

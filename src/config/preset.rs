//! Masking as published, by name: `preset = "bert"` sets the keys below, and keys
//! beside it override them one by one.

use super::masking::{Budget, Component, Layout, Level, MaskingConfig, Overshoot, Strategy};
use super::rate::Rate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A published way to mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Devlin et al. 2019 and google-bert's create_pretraining_data.py: 15 % of
    /// single tokens, rounded and at least one, 80-10-10 for each token.
    Bert,
    /// Liu et al. 2019 and fairseq's mask_tokens_dataset.py: 15 %, a fair count,
    /// 80-10-10 for each token, drawn anew in every epoch.
    Roberta,
    /// Wettig et al. 2023: 40 %, all by the mask token.
    #[serde(rename = "wettig-40")]
    Wettig40,
    /// Wettig et al. 2023, table 3: 40 % corrupted, half of that predicted.
    #[serde(rename = "wettig-40-20")]
    Wettig40To20,
    /// Wettig et al. 2023, table 3: 20 % corrupted, 40 % predicted, in two copies.
    #[serde(rename = "wettig-20-40")]
    Wettig20To40,
    /// Joshi et al. 2020: 15 % in spans of 1 to 10 words, geometric with p = 0.2, the
    /// last one cut to the budget; 80-10-10 for each span.
    Spanbert,
    /// Raffel et al. 2020: 15 % in spans of 3 tokens on average, replaced by
    /// sentinels.
    T5,
    /// Levine et al. 2021: 15 % in units of the PMI vocabulary, 80-10-10 for each
    /// unit. The paper does not say how the budget is rounded; ours is fair.
    Pmi,
    /// Warner et al. 2024: 30 % of single tokens, each on its own, 80-10-10 for each.
    Modernbert,
    /// Tay et al. 2023: seven denoisers in equal shares, with sentinels: R (spans of 3
    /// and 8 tokens, 15 %), S (the last 25 % of a row) and X (3 and 8 at 50 %, 64 at
    /// 15 % and 50 %). Its mode tokens are not put in front.
    Ul2,
    /// Nie et al. 2025: a rate t of each row's own, uniform in [0.001, 1), every
    /// token on its own, loss weight 1/t.
    Llada,
    /// Sahoo et al. 2024: as llada, t from strata over the rows of a step.
    Mdlm,
    /// Ankner et al. 2023: from 30 % at the start of training linearly down to 15 %,
    /// every token on its own, 80-10-10 for each.
    Ankner,
}

impl Preset {
    /// What it sets; all other keys are at their defaults.
    pub fn config(self) -> MaskingConfig {
        let base = MaskingConfig {
            preset: Some(self),
            ..MaskingConfig::default()
        };
        let eighty_ten_ten = |corruption_rate: Rate, replacement_level| MaskingConfig {
            corruption_rate,
            mask_share: 0.8,
            random_share: 0.1,
            same_share: 0.1,
            replacement_level,
            ..base.clone()
        };
        match self {
            Self::Bert => MaskingConfig {
                budget: Budget::Round,
                ..eighty_ten_ten(0.15.into(), Level::Token)
            },
            Self::Roberta => eighty_ten_ten(0.15.into(), Level::Token),
            Self::Wettig40 => base,
            Self::Wettig40To20 => MaskingConfig {
                prediction_rate: Some(0.2.into()),
                ..base
            },
            Self::Wettig20To40 => MaskingConfig {
                corruption_rate: 0.2.into(),
                prediction_rate: Some(0.4.into()),
                ..base
            },
            Self::Spanbert => MaskingConfig {
                strategy: Strategy::Geometric,
                budget: Budget::Ceil,
                overshoot: Overshoot::Truncate,
                ..eighty_ten_ten(0.15.into(), Level::Unit)
            },
            Self::T5 => MaskingConfig {
                strategy: Strategy::Span,
                corruption_rate: 0.15.into(),
                budget: Budget::Round,
                layout: Layout::Sentinel,
                ..base
            },
            Self::Pmi => MaskingConfig {
                strategy: Strategy::Pmi,
                ..eighty_ten_ten(0.15.into(), Level::Unit)
            },
            Self::Modernbert => MaskingConfig {
                budget: Budget::Bernoulli,
                ..eighty_ten_ten(0.3.into(), Level::Token)
            },
            Self::Ankner => MaskingConfig {
                budget: Budget::Bernoulli,
                ..eighty_ten_ten(
                    Rate::Linear {
                        from: 0.3,
                        to: 0.15,
                    },
                    Level::Token,
                )
            },
            Self::Llada => MaskingConfig {
                corruption_rate: Rate::Diffusion { epsilon: 1e-3 },
                budget: Budget::Bernoulli,
                ..base
            },
            Self::Mdlm => MaskingConfig {
                corruption_rate: Rate::Antithetic { epsilon: 1e-3 },
                budget: Budget::Bernoulli,
                ..base
            },
            Self::Ul2 => ul2(base),
        }
    }

    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Bert,
        Self::Roberta,
        Self::Wettig40,
        Self::Wettig40To20,
        Self::Wettig20To40,
        Self::Spanbert,
        Self::T5,
        Self::Pmi,
        Self::Modernbert,
        Self::Ul2,
        Self::Llada,
        Self::Mdlm,
        Self::Ankner,
    ];
}

fn ul2(base: MaskingConfig) -> MaskingConfig {
    let base = MaskingConfig {
        strategy: Strategy::Span,
        budget: Budget::Round,
        layout: Layout::Sentinel,
        ..base
    };
    let denoiser = |mean_span_length: f64, rate: f64, span_count| Component {
        weight: 1.0,
        masking: MaskingConfig {
            preset: None,
            mean_span_length,
            corruption_rate: rate.into(),
            span_count,
            ..base.clone()
        },
    };
    MaskingConfig {
        mixture: vec![
            denoiser(3.0, 0.15, None),
            denoiser(8.0, 0.15, None),
            denoiser(3.0, 0.25, Some(1)),
            denoiser(3.0, 0.5, None),
            denoiser(8.0, 0.5, None),
            denoiser(64.0, 0.15, None),
            denoiser(64.0, 0.5, None),
        ],
        ..base
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_can_work_and_is_found_by_its_name() {
        for preset in Preset::ALL {
            let config = preset.config();
            config.check().unwrap();
            let name = serde_json::to_value(preset).unwrap();
            let typed = serde_json::json!({ "preset": name });
            let read: MaskingConfig = serde_json::from_value(typed).unwrap();
            assert_eq!(read, config, "{name}");
        }
    }

    #[test]
    fn keys_beside_a_preset_override_it_one_by_one() {
        let typed = serde_json::json!({
            "preset": "bert", "corruption_rate": 0.3, "random_share": 0.0, "same_share": 0.2
        });
        let read: MaskingConfig = serde_json::from_value(typed).unwrap();
        let expected = MaskingConfig {
            corruption_rate: 0.3.into(),
            random_share: 0.0,
            same_share: 0.2,
            ..Preset::Bert.config()
        };
        assert_eq!(read, expected);
        assert_eq!(read.budget, Budget::Round);
        let typed = serde_json::json!({ "preset": "ul2", "layout": "removed" });
        let read: MaskingConfig = serde_json::from_value(typed).unwrap();
        assert_eq!(read.layout, Layout::Removed);
        assert_eq!(read.mixture.len(), 7);
        assert!(
            read.mixture
                .iter()
                .all(|one| one.masking.layout == Layout::Removed)
        );
    }
}

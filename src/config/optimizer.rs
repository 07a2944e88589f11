//! Keys of the optimiser: AdamW, which parameters decay, and the schedule of the
//! learning rate.

use super::keys::check_share;
use crate::base::error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the learning rate goes on after its warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Falls linearly to the end of the training (BERT, RoBERTa, Wettig et al. 2023).
    #[default]
    Linear,
    /// Falls along half a cosine (Loshchilov and Hutter 2017).
    Cosine,
    /// Stays, and falls in the last share `decay` of the training, in the shape
    /// `decay_shape` (MiniCPM, ModernBERT).
    WarmupStableDecay,
    /// Stays.
    Constant,
}

/// How the learning rate falls at the end of `warmup_stable_decay`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecayShape {
    /// In a straight line.
    #[default]
    Linear,
    /// Along half a cosine.
    Cosine,
    /// As 1 − √x, fast at first (Hägele et al. 2024, ModernBERT).
    OneMinusSqrt,
}

/// Parameters that learn otherwise than the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ParameterGroup {
    /// Names of parameters, in which * stands for anything: ["words", "layers.0.*"].
    pub parameters: Vec<String>,
    /// Weight decay of these, whatever `no_decay` says; without it, as the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// What the learning rate is multiplied by for these; 0 leaves them as they are.
    pub learning_rate_factor: f64,
}

impl Default for ParameterGroup {
    fn default() -> Self {
        Self {
            parameters: Vec::new(),
            weight_decay: None,
            learning_rate_factor: 1.0,
        }
    }
}

/// AdamW and its schedule. Defaults: Wettig et al. 2023, appendix A.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// The highest learning rate, reached when the warm-up ends.
    pub learning_rate: f64,
    /// How the learning rate goes on after its warm-up.
    pub schedule: Schedule,
    /// Share of the training in which the learning rate rises from 0, 0 to 1.
    pub warmup: f64,
    /// Steps in which it rises, in place of the share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_steps: Option<u64>,
    /// Of schedule warmup_stable_decay, the share of the training, at its end, in
    /// which the learning rate falls.
    pub decay: f64,
    /// Of schedule warmup_stable_decay, how it falls.
    pub decay_shape: DecayShape,
    /// The learning rate that schedules fall to.
    pub final_learning_rate: f64,
    /// β₁ of AdamW.
    pub beta1: f64,
    /// β₂ of AdamW.
    pub beta2: f64,
    /// ε of AdamW.
    pub epsilon: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Names of parameters that have none, in which * stands for anything.
    pub no_decay: Vec<String>,
    /// Parameters that learn otherwise than the rest; the first group with a name in it
    /// counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<ParameterGroup>,
    /// Gradients are scaled down to this norm at most; 0 never scales.
    pub clip: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            learning_rate: 2e-3,
            schedule: Schedule::Linear,
            warmup: 0.06,
            warmup_steps: None,
            decay: 0.1,
            decay_shape: DecayShape::Linear,
            final_learning_rate: 0.0,
            beta1: 0.9,
            beta2: 0.98,
            epsilon: 1e-6,
            weight_decay: 0.01,
            no_decay: ["*bias", "*norm*"].map(str::to_owned).to_vec(),
            groups: Vec::new(),
            clip: 0.0,
        }
    }
}

impl OptimizerConfig {
    /// Refuses what cannot work.
    pub fn check(&self) -> Result<()> {
        check_share("train.optimizer.warmup", self.warmup)?;
        check_share("train.optimizer.decay", self.decay)?;
        for (name, value) in [
            ("learning_rate", self.learning_rate),
            ("final_learning_rate", self.final_learning_rate),
            ("epsilon", self.epsilon),
            ("weight_decay", self.weight_decay),
            ("clip", self.clip),
        ] {
            not_negative(&format!("train.optimizer.{name}"), value)?;
        }
        for (name, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return Err(Error::usage(
                    format!("train.optimizer.{name}"),
                    beta.to_string(),
                    "at least 0 and below 1",
                    "the usual ones are beta1 = 0.9 and beta2 = 0.98 to 0.999",
                ));
            }
        }
        if self.final_learning_rate > self.learning_rate {
            return Err(Error::usage(
                "train.optimizer.final_learning_rate",
                self.final_learning_rate.to_string(),
                format!("at most the learning_rate, {}", self.learning_rate),
                "schedules fall from learning_rate to final_learning_rate",
            ));
        }
        for (index, group) in self.groups.iter().enumerate() {
            let key = |name: &str| format!("train.optimizer.groups[{index}].{name}");
            not_negative(&key("learning_rate_factor"), group.learning_rate_factor)?;
            not_negative(&key("weight_decay"), group.weight_decay.unwrap_or(0.0))?;
            if group.parameters.is_empty() {
                return Err(Error::usage(
                    key("parameters"),
                    "no name",
                    "names of parameters, in which * stands for anything",
                    "write for example parameters = [\"words\", \"layers.0.*\"]",
                ));
            }
        }
        Ok(())
    }

    /// Refuses patterns that no parameter of `names` answers to.
    pub fn check_names(&self, names: &[String]) -> Result<()> {
        let groups = self.groups.iter().enumerate().flat_map(|(index, group)| {
            let key = format!("train.optimizer.groups[{index}].parameters");
            group.parameters.iter().map(move |p| (key.clone(), p))
        });
        let without = self.no_decay.iter();
        let without = without.map(|p| ("train.optimizer.no_decay".to_owned(), p));
        for (key, pattern) in without.chain(groups) {
            if !names.iter().any(|name| answers(pattern, name)) {
                return Err(Error::usage(
                    key,
                    format!("{pattern:?}, which no parameter of this model answers to"),
                    format!("names among {}", names.join(", ")),
                    "* stands for anything, as in \"layers.*.up.weight\"",
                ));
            }
        }
        Ok(())
    }

    /// Weight decay of the parameter called `name`, and what its learning rate is
    /// multiplied by.
    pub fn of_parameter(&self, name: &str) -> (f64, f64) {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| answers(pattern, name));
        let decay = if any(&self.no_decay) {
            0.0
        } else {
            self.weight_decay
        };
        match self.groups.iter().find(|group| any(&group.parameters)) {
            Some(group) => (
                group.weight_decay.unwrap_or(decay),
                group.learning_rate_factor,
            ),
            None => (decay, 1.0),
        }
    }
}

/// Whether `name` is as `pattern` has it, in which each * stands for any characters.
fn answers(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut left) = name.strip_prefix(head) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    // Each part at its first place leaves the most to those after it.
    for part in parts {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(tail)
}

/// Refuses a number below 0, and what is no number.
pub(super) fn not_negative(key: &str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::usage(
        key,
        value.to_string(),
        "a number of 0 or more",
        "see --help",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, name, yes) in [
            ("words", "words", true),
            ("words", "words.weight", false),
            ("*bias", "layers.0.up.bias", true),
            ("*bias", "layers.0.up.bias.scale", false),
            ("*norm*", "final_norm.weight", true),
            ("layers.0.*", "layers.0.qkv.weight", true),
            ("layers.0.*", "layers.10.qkv.weight", false),
            ("layers.*.up.*", "layers.11.up.weight", true),
            ("*", "anything", true),
            ("a*ab", "aab", true),
            ("a*ab", "ab", false),
            ("*a*b", "ba", false),
        ] {
            assert_eq!(answers(pattern, name), yes, "{pattern} {name}");
        }
    }

    #[test]
    fn the_first_group_with_a_name_counts_and_may_decay_what_else_does_not() {
        let group = |parameters: &str, weight_decay, learning_rate_factor| ParameterGroup {
            parameters: vec![parameters.into()],
            weight_decay,
            learning_rate_factor,
        };
        let config = OptimizerConfig {
            groups: vec![group("words", None, 0.0), group("*norms", Some(0.5), 2.0)],
            ..OptimizerConfig::default()
        };
        assert_eq!(config.of_parameter("words"), (0.01, 0.0));
        assert_eq!(config.of_parameter("head_bias"), (0.0, 1.0));
        assert_eq!(config.of_parameter("up.bias"), (0.0, 1.0));
        assert_eq!(config.of_parameter("norms"), (0.5, 2.0));
        assert_eq!(config.of_parameter("up.weight"), (0.01, 1.0));
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_key() {
        let names = ["words", "up.bias", "norm.weight"].map(str::to_owned);
        OptimizerConfig::default().check_names(&names).unwrap();
        let mut config = OptimizerConfig::default();
        config.groups.push(ParameterGroup::default());
        assert!(
            config
                .check()
                .unwrap_err()
                .to_string()
                .contains("groups[0].parameters")
        );
        config.groups[0].parameters.push("wrods".into());
        config.check().unwrap();
        let message = config.check_names(&names).unwrap_err().to_string();
        assert!(message.contains("\"wrods\"") && message.contains("words, up.bias"));
        for (change, key) in [
            (
                OptimizerConfig {
                    beta2: 1.0,
                    ..OptimizerConfig::default()
                },
                "beta2",
            ),
            (
                OptimizerConfig {
                    learning_rate: f64::NAN,
                    ..OptimizerConfig::default()
                },
                "learning_rate",
            ),
            (
                OptimizerConfig {
                    final_learning_rate: 1.0,
                    ..OptimizerConfig::default()
                },
                "final_learning_rate",
            ),
            (
                OptimizerConfig {
                    decay: 1.5,
                    ..OptimizerConfig::default()
                },
                "decay",
            ),
        ] {
            let message = change.check().unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("train.optimizer.{key}:")),
                "{message}"
            );
        }
    }
}

//! Keys of the model. [`ModelConfig`] is what is typed; [`ModelShape`] what comes of it.

mod decoder;
mod shape;

pub use decoder::DecoderConfig;
pub use shape::{Architecture, ModelShape, RotaryShape, Size, StackShape};

use crate::base::error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What attention does before it has learned anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InitialAttention {
    /// All weights are drawn from one normal distribution (BERT, Wettig et al. 2023).
    #[default]
    Normal,
    /// Heads of the first layer begin on one neighbour each: the token before, the one
    /// behind, two before, … Everything is learned from there. A small model on little
    /// text otherwise predicts by frequency alone for its first thousands of steps.
    Neighbours,
}

/// What the head predicts before the first step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InitialBias {
    /// All tokens alike (BERT, Wettig et al. 2023).
    #[default]
    Zero,
    /// The unigram distribution of the training rows: no step is spent on learning
    /// which tokens are frequent.
    Unigram,
}

/// An encoder with a masked-language-model head on tied embeddings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// A Hugging Face folder to go on from: config.json and model.safetensors of a masked
    /// language model. Architecture and sizes are then the folder's.
    pub from: Option<PathBuf>,
    /// What kind of encoder.
    pub architecture: Architecture,
    /// Sizes by name; the keys below change one by one.
    pub size: Size,
    /// Number of layers.
    pub layers: Option<u32>,
    /// Width of the hidden states.
    pub hidden: Option<u32>,
    /// Number of attention heads; divides hidden.
    pub heads: Option<u32>,
    /// Width of the feed-forward layer.
    pub feed_forward: Option<u32>,
    /// The longest row the model has positions for; 512 by default, ModernBERT 8192.
    pub positions: Option<u32>,
    /// Rotary positions and local attention; of ModernBERT alone.
    pub rotary: RotaryShape,
    /// The decoder, which masking.layout = "removed" asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decoder: Option<DecoderConfig>,
    /// Dropout on embeddings, attention and feed-forward outputs, 0 to 1; 0.1 by default,
    /// ModernBERT 0, an imported model's own.
    pub dropout: Option<f64>,
    /// Dropout on attention weights, 0 to 1; as for dropout.
    pub attention_dropout: Option<f64>,
    /// ε of the layer norms; 1e-5 by default, BERT 1e-12.
    pub norm_epsilon: Option<f64>,
    /// Standard deviation of the initial weights.
    pub initializer_range: f64,
    /// What attention does before it has learned anything.
    pub initial_attention: InitialAttention,
    /// What the head predicts before the first step.
    pub initial_bias: InitialBias,
}

impl Default for ModelConfig {
    /// BERT-mini (4 layers, 256 wide): 11 M parameters with a vocabulary of 30 522.
    fn default() -> Self {
        Self {
            from: None,
            architecture: Architecture::default(),
            size: Size::default(),
            layers: None,
            hidden: None,
            heads: None,
            feed_forward: None,
            positions: None,
            rotary: RotaryShape::default(),
            decoder: None,
            dropout: None,
            attention_dropout: None,
            norm_epsilon: None,
            initializer_range: 0.02,
            initial_attention: InitialAttention::Normal,
            initial_bias: InitialBias::Zero,
        }
    }
}

impl ModelConfig {
    /// The model that the keys describe; of a model that is read from a folder, the
    /// folder tells.
    pub fn shape(&self) -> ModelShape {
        let architecture = self.architecture;
        let modern = architecture == Architecture::Modernbert;
        let [layers, hidden, heads, feed_forward] = self.size.of(architecture);
        let dropout = if modern { 0.0 } else { 0.1 };
        let encoder = ModelShape {
            architecture,
            layers: self.layers.unwrap_or(layers),
            hidden: self.hidden.unwrap_or(hidden),
            heads: self.heads.unwrap_or(heads),
            feed_forward: self.feed_forward.unwrap_or(feed_forward),
            positions: self.positions.unwrap_or(if modern { 8192 } else { 512 }),
            token_types: 0,
            rotary: modern.then_some(self.rotary),
            decoder: None,
            dropout: self.dropout.unwrap_or(dropout),
            attention_dropout: self.attention_dropout.unwrap_or(dropout),
            norm_epsilon: self.norm_epsilon.unwrap_or(match architecture {
                Architecture::Bert => 1e-12,
                _ => 1e-5,
            }),
            initializer_range: self.initializer_range,
        };
        ModelShape {
            decoder: self.decoder.as_ref().map(|keys| keys.shape(&encoder)),
            ..encoder
        }
    }

    /// Refuses what cannot work.
    pub fn check(&self) -> Result<()> {
        let shape = self.shape();
        if let Some(folder) = &self.from {
            return self.check_from(&folder.display().to_string());
        }
        for (key, value) in [
            ("model.layers", shape.layers),
            ("model.hidden", shape.hidden),
            ("model.heads", shape.heads),
            ("model.feed_forward", shape.feed_forward),
            ("model.positions", shape.positions),
        ] {
            if value == 0 {
                return Err(Error::usage(key, "0", "at least 1", "see --help"));
            }
        }
        if !shape.hidden.is_multiple_of(shape.heads) {
            return Err(Error::usage(
                "model.heads",
                format!("{} heads for {} wide", shape.heads, shape.hidden),
                "a number of heads that divides model.hidden",
                "use hidden / 64 heads",
            ));
        }
        self.check_rotary(&shape)?;
        if let Some(decoder) = shape.decoder {
            decoder.check_decoder(&shape)?;
        }
        super::keys::check_share("model.dropout", shape.dropout)?;
        super::keys::check_share("model.attention_dropout", shape.attention_dropout)
    }

    fn check_rotary(&self, shape: &ModelShape) -> Result<()> {
        let Some(rotary) = shape.rotary else {
            if self.rotary == RotaryShape::default() {
                return Ok(());
            }
            return Err(Error::usage(
                "model.rotary",
                format!("rotary positions for {}", shape.architecture.name()),
                "architecture = \"modernbert\"",
                "leave model.rotary out, or choose that architecture",
            ));
        };
        if !(shape.hidden / shape.heads).is_multiple_of(2) {
            return Err(Error::usage(
                "model.heads",
                format!("heads {} wide", shape.hidden / shape.heads),
                "an even width: rotary positions turn pairs of numbers",
                "use hidden / 64 heads",
            ));
        }
        if rotary.global_every == 0 || rotary.global_theta <= 0.0 || rotary.local_theta <= 0.0 {
            return Err(Error::usage(
                "model.rotary",
                format!(
                    "global_every = {}, global_theta = {}, local_theta = {}",
                    rotary.global_every, rotary.global_theta, rotary.local_theta
                ),
                "numbers above 0",
                "leave model.rotary out for ModernBERT's own",
            ));
        }
        if self.initial_attention == InitialAttention::Neighbours {
            return Err(Error::usage(
                "model.initial_attention",
                "neighbours with rotary positions",
                "embedded positions, which it sets",
                "leave it out, or choose another architecture",
            ));
        }
        Ok(())
    }

    /// Keys that an imported model decides itself.
    fn check_from(&self, folder: &str) -> Result<()> {
        let plain = Self::default();
        let set = [
            (
                "model.architecture",
                self.architecture != plain.architecture,
            ),
            ("model.size", self.size != plain.size),
            ("model.layers", self.layers.is_some()),
            ("model.hidden", self.hidden.is_some()),
            ("model.heads", self.heads.is_some()),
            ("model.feed_forward", self.feed_forward.is_some()),
            ("model.positions", self.positions.is_some()),
            ("model.rotary", self.rotary != plain.rotary),
            ("model.norm_epsilon", self.norm_epsilon.is_some()),
            (
                "model.initial_attention",
                self.initial_attention != plain.initial_attention,
            ),
            (
                "model.initial_bias",
                self.initial_bias != plain.initial_bias,
            ),
        ];
        if let Some((key, _)) = set.iter().find(|(_, set)| *set) {
            return Err(Error::usage(
                *key,
                format!("it set beside model.from = {folder:?}"),
                "what the folder's config.json says",
                "leave it out, or leave model.from out to begin anew",
            ));
        }
        for (key, share) in [
            ("model.dropout", self.dropout),
            ("model.attention_dropout", self.attention_dropout),
        ] {
            super::keys::check_share(key, share.unwrap_or(0.0))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_is_a_third_of_its_encoder_and_of_its_kind_unless_told() {
        let base = ModelConfig {
            size: Size::Base,
            decoder: Some(DecoderConfig::default()),
            ..ModelConfig::default()
        };
        let decoder = |config: &ModelConfig| {
            let decoder = config.shape().decoder.unwrap();
            [
                decoder.layers,
                decoder.hidden,
                decoder.heads,
                decoder.feed_forward,
            ]
        };
        // As MAE-LM has it (Meng et al. 2023).
        assert_eq!(decoder(&base), [4, 768, 12, 3072]);
        let narrow = ModelConfig {
            decoder: Some(DecoderConfig {
                hidden: Some(256),
                ..DecoderConfig::default()
            }),
            ..base.clone()
        };
        assert_eq!(decoder(&narrow), [4, 256, 4, 1024]);
        narrow.check().unwrap();
        for (key, decoder) in [
            (
                "model.decoder.layers",
                DecoderConfig {
                    layers: Some(0),
                    ..DecoderConfig::default()
                },
            ),
            (
                "model.decoder.heads",
                DecoderConfig {
                    heads: Some(5),
                    ..DecoderConfig::default()
                },
            ),
        ] {
            let config = ModelConfig {
                decoder: Some(decoder),
                ..base.clone()
            };
            let message = config.check().unwrap_err().to_string();
            assert!(message.starts_with(key), "{message}");
        }
    }

    #[test]
    fn sizes_beside_an_imported_model_are_refused() {
        let config = ModelConfig {
            from: Some("bert".into()),
            layers: Some(3),
            ..ModelConfig::default()
        };
        let message = config.check().unwrap_err().to_string();
        assert!(message.starts_with("model.layers"), "{message}");
        assert!(message.contains("\"bert\""), "{message}");
    }
}

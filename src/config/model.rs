//! Keys of the model.

use crate::base::error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the layer norms stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// Before attention and feed-forward, as in Wettig et al. 2023 (Hugging Face:
    /// roberta-prelayernorm).
    #[default]
    Pre,
    /// After them, as in BERT (Hugging Face: bert).
    Post,
}

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

/// A BERT encoder with a masked-language-model head on tied embeddings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Number of layers.
    pub layers: u32,
    /// Width of the hidden states.
    pub hidden: u32,
    /// Number of attention heads; divides hidden.
    pub heads: u32,
    /// Width of the feed-forward layer.
    pub feed_forward: u32,
    /// The longest row the model has positions for.
    pub positions: u32,
    /// Where the layer norms stand.
    pub norm: Norm,
    /// Dropout on embeddings, attention and feed-forward outputs, 0 to 1.
    pub dropout: f64,
    /// Dropout on attention weights, 0 to 1.
    pub attention_dropout: f64,
    /// ε of the layer norms.
    pub norm_epsilon: f64,
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
            layers: 4,
            hidden: 256,
            heads: 4,
            feed_forward: 1024,
            positions: 512,
            norm: Norm::Pre,
            dropout: 0.1,
            attention_dropout: 0.1,
            norm_epsilon: 1e-5,
            initializer_range: 0.02,
            initial_attention: InitialAttention::Normal,
            initial_bias: InitialBias::Zero,
        }
    }
}

impl ModelConfig {
    /// Refuses what cannot work.
    pub fn check(&self) -> Result<()> {
        for (key, value) in [
            ("model.layers", self.layers),
            ("model.hidden", self.hidden),
            ("model.heads", self.heads),
            ("model.feed_forward", self.feed_forward),
            ("model.positions", self.positions),
        ] {
            if value == 0 {
                return Err(Error::usage(key, "0", "at least 1", "see --help"));
            }
        }
        if !self.hidden.is_multiple_of(self.heads) {
            return Err(Error::usage(
                "model.heads",
                format!("{} heads for {} wide", self.heads, self.hidden),
                "a number of heads that divides model.hidden",
                "use hidden / 64 heads",
            ));
        }
        super::keys::check_share("model.dropout", self.dropout)?;
        super::keys::check_share("model.attention_dropout", self.attention_dropout)
    }
}

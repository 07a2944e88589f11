//! What a model is, whether its keys were typed or it was read from a folder: the
//! architecture, and every size that its forward pass needs.

use crate::config::Layout;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What kind of encoder. Named as Hugging Face's `model_type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// Layer norms before attention and feed-forward (Wettig et al. 2023).
    #[default]
    RobertaPrelayernorm,
    /// Layer norms after them, two token types (Devlin et al. 2019).
    Bert,
    /// As BERT, with one token type (Liu et al. 2019).
    Roberta,
    /// Rotary positions, gated feed-forward, attention that is local in most layers, no
    /// biases (Warner et al. 2024).
    Modernbert,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::RobertaPrelayernorm,
        Self::Bert,
        Self::Roberta,
        Self::Modernbert,
    ];

    /// Its name, which is Hugging Face's `model_type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::RobertaPrelayernorm => "roberta-prelayernorm",
            Self::Bert => "bert",
            Self::Roberta => "roberta",
            Self::Modernbert => "modernbert",
        }
    }

    /// Whether layer norms stand before attention and feed-forward.
    pub fn norms_first(self) -> bool {
        matches!(self, Self::RobertaPrelayernorm | Self::Modernbert)
    }

    /// Embeddings in published files that tell the sequences of a pair apart. Rows of one
    /// sequence use the first.
    pub fn token_types(self) -> u32 {
        match self {
            Self::Bert => 2,
            Self::RobertaPrelayernorm | Self::Roberta => 1,
            Self::Modernbert => 0,
        }
    }
}

/// Layers, width, heads and feed-forward width by the name that the field uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// 2 layers, 128 wide.
    Tiny,
    /// 4 layers, 256 wide.
    #[default]
    Mini,
    /// 4 layers, 512 wide.
    Small,
    /// 8 layers, 512 wide: 51 M parameters with RoBERTa's vocabulary.
    Medium,
    /// 12 layers, 768 wide: 124 M. ModernBERT: 22 layers.
    Base,
    /// 24 layers, 1024 wide: 354 M. ModernBERT: 28 layers.
    Large,
}

impl Size {
    /// Layers, width, heads and feed-forward width (Turc et al. 2019; base and large of
    /// ModernBERT: Warner et al. 2024, whose feed-forward layers are gated).
    pub fn of(self, architecture: Architecture) -> [u32; 4] {
        let [layers, hidden, heads] = match self {
            Self::Tiny => [2, 128, 2],
            Self::Mini => [4, 256, 4],
            Self::Small => [4, 512, 8],
            Self::Medium => [8, 512, 8],
            Self::Base => [12, 768, 12],
            Self::Large => [24, 1024, 16],
        };
        match (architecture, self) {
            (Architecture::Modernbert, Self::Base) => [22, hidden, heads, 1152],
            (Architecture::Modernbert, Self::Large) => [28, hidden, heads, 2624],
            (Architecture::Modernbert, _) => [layers, hidden, heads, hidden / 2 * 3],
            _ => [layers, hidden, heads, 4 * hidden],
        }
    }
}

/// Rotary positions and local attention (ModernBERT).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RotaryShape {
    /// Tokens that a token of a local layer sees, half of them on each side; its own
    /// beside them.
    pub local_attention: u32,
    /// Every so many layers, from the first on, see the whole row.
    pub global_every: u32,
    /// Base of the rotary frequencies of layers that see the whole row.
    pub global_theta: f64,
    /// Base of those of local layers.
    pub local_theta: f64,
}

impl Default for RotaryShape {
    fn default() -> Self {
        Self {
            local_attention: 128,
            global_every: 3,
            global_theta: 160_000.0,
            local_theta: 10_000.0,
        }
    }
}

/// Sizes of layers that follow each other: an encoder's, or a decoder's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackShape {
    /// Number of layers.
    pub layers: u32,
    /// Width of the hidden states.
    pub hidden: u32,
    /// Number of attention heads; divides `hidden`.
    pub heads: u32,
    /// Width of the feed-forward layers.
    pub feed_forward: u32,
}

/// All that tells one model from another, but for its vocabulary and weights.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelShape {
    /// What kind of encoder.
    pub architecture: Architecture,
    /// Number of layers.
    pub layers: u32,
    /// Width of the hidden states.
    pub hidden: u32,
    /// Number of attention heads; divides `hidden`.
    pub heads: u32,
    /// Width of the feed-forward layer.
    pub feed_forward: u32,
    /// The longest attention run.
    pub positions: u32,
    /// Embeddings of token types: those of a model that was read. A fresh one has none,
    /// and writes zeros: one vector on all tokens would say nothing that their positions
    /// could not, and a large first step of it can drown them.
    pub token_types: u32,
    /// Rotary positions instead of embedded ones.
    pub rotary: Option<RotaryShape>,
    /// The decoder of a model for rows of the layout `removed`.
    pub decoder: Option<StackShape>,
    /// Dropout on embeddings, attention and feed-forward outputs.
    pub dropout: f64,
    /// Dropout on attention weights.
    pub attention_dropout: f64,
    /// ε of the layer norms.
    pub norm_epsilon: f64,
    /// Standard deviation of initial weights.
    pub initializer_range: f64,
}

impl ModelShape {
    /// Sizes of the encoder.
    pub fn encoder(&self) -> StackShape {
        StackShape {
            layers: self.layers,
            hidden: self.hidden,
            heads: self.heads,
            feed_forward: self.feed_forward,
        }
    }

    /// The layout of the rows that the model takes.
    pub fn layout(&self) -> Layout {
        match self.decoder {
            Some(_) => Layout::Removed,
            None => Layout::InPlace,
        }
    }

    /// Whether `layer` (from 0) sees only what is near.
    pub fn is_local(&self, layer: usize) -> bool {
        self.rotary
            .is_some_and(|rotary| !(layer as u32).is_multiple_of(rotary.global_every))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_are_read() {
        for architecture in Architecture::ALL {
            let name = serde_json::to_value(architecture).unwrap();
            assert_eq!(name, architecture.name());
        }
    }
}

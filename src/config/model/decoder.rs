//! Keys of the decoder that a model for rows of the layout `removed` has.

use super::shape::{ModelShape, StackShape};
use crate::base::error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The decoder of a model for `masking.layout = "removed"` (MAE-LM, Meng et al. 2023): a
/// few layers of the encoder's kind. It sees what the encoder says of the tokens that
/// were kept, and at the places of the others one learned vector and their positions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DecoderConfig {
    /// Layers of the decoder; a third of the encoder's by default, rounded up.
    pub layers: Option<u32>,
    /// Width of the decoder; the encoder's by default.
    pub hidden: Option<u32>,
    /// Attention heads of the decoder; by default as wide as the encoder's.
    pub heads: Option<u32>,
    /// Width of the decoder's feed-forward layers; by default as many times its width as
    /// the encoder's.
    pub feed_forward: Option<u32>,
}

impl DecoderConfig {
    /// The decoder that the keys describe, behind the encoder of `shape`.
    pub fn shape(&self, encoder: &ModelShape) -> StackShape {
        let hidden = self.hidden.unwrap_or(encoder.hidden);
        let in_proportion = |number: u32| {
            let scaled = u64::from(number) * u64::from(hidden) / u64::from(encoder.hidden.max(1));
            (scaled as u32).max(1)
        };
        StackShape {
            layers: self.layers.unwrap_or(encoder.layers.div_ceil(3)),
            hidden,
            heads: self.heads.unwrap_or_else(|| in_proportion(encoder.heads)),
            feed_forward: self
                .feed_forward
                .unwrap_or_else(|| in_proportion(encoder.feed_forward)),
        }
    }
}

impl StackShape {
    /// Refuses a decoder that cannot work behind the encoder of `encoder`.
    pub fn check_decoder(&self, encoder: &ModelShape) -> Result<()> {
        for (key, value) in [
            ("model.decoder.layers", self.layers),
            ("model.decoder.hidden", self.hidden),
            ("model.decoder.heads", self.heads),
            ("model.decoder.feed_forward", self.feed_forward),
        ] {
            if value == 0 {
                return Err(Error::usage(key, "0", "at least 1", "see --help"));
            }
        }
        let even = encoder.rotary.is_none() || (self.hidden / self.heads).is_multiple_of(2);
        if self.hidden.is_multiple_of(self.heads) && even {
            return Ok(());
        }
        Err(Error::usage(
            "model.decoder.heads",
            format!("{} heads for {} wide", self.heads, self.hidden),
            match encoder.rotary {
                Some(_) => "heads of an even width: rotary positions turn pairs of numbers",
                None => "a number of heads that divides model.decoder.hidden",
            },
            "use model.decoder.hidden / 64 heads",
        ))
    }
}

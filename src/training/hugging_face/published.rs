//! `config.json`: the keys in which architectures differ, read and written.

use crate::base::error::{Error, Result};
use crate::base::token::SpecialTokens;
use crate::config::{Architecture, ModelShape, RotaryShape};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;

/// Adds the keys that `shape`'s architecture has and others have not.
pub(super) fn add_own_keys(config: &mut Value, shape: &ModelShape, special: &SpecialTokens) {
    let own = match shape.rotary {
        None => json!({
            "hidden_act": "gelu",
            "hidden_dropout_prob": shape.dropout,
            "attention_probs_dropout_prob": shape.attention_dropout,
            "type_vocab_size": shape.token_types.max(shape.architecture.token_types()),
            "layer_norm_eps": shape.norm_epsilon,
        }),
        Some(rotary) => json!({
            "hidden_activation": "gelu",
            "classifier_activation": "gelu",
            "norm_eps": shape.norm_epsilon,
            "norm_bias": false,
            "attention_bias": false,
            "mlp_bias": false,
            "classifier_bias": false,
            "decoder_bias": true,
            "embedding_dropout": shape.dropout,
            "mlp_dropout": shape.dropout,
            "attention_dropout": shape.attention_dropout,
            "local_attention": rotary.local_attention,
            "global_attn_every_n_layers": rotary.global_every,
            "global_rope_theta": rotary.global_theta,
            "local_rope_theta": rotary.local_theta,
            "cls_token_id": special.cls,
            "sep_token_id": special.sep,
        }),
    };
    if let (Value::Object(all), Value::Object(own)) = (config, own) {
        all.extend(own);
    }
}

/// What a `config.json` says, as far as it concerns us.
#[derive(Debug, Deserialize)]
pub(super) struct Published {
    model_type: String,
    pub vocab_size: usize,
    hidden_size: u32,
    num_hidden_layers: u32,
    num_attention_heads: u32,
    intermediate_size: u32,
    max_position_embeddings: u32,
    pub pad_token_id: Option<u32>,
    type_vocab_size: Option<u32>,
    layer_norm_eps: Option<f64>,
    norm_eps: Option<f64>,
    hidden_dropout_prob: Option<f64>,
    attention_probs_dropout_prob: Option<f64>,
    embedding_dropout: Option<f64>,
    attention_dropout: Option<f64>,
    initializer_range: Option<f64>,
    hidden_act: Option<String>,
    hidden_activation: Option<String>,
    classifier_activation: Option<String>,
    position_embedding_type: Option<String>,
    is_decoder: Option<bool>,
    tie_word_embeddings: Option<bool>,
    norm_bias: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    classifier_bias: Option<bool>,
    decoder_bias: Option<bool>,
    local_attention: Option<u32>,
    global_attn_every_n_layers: Option<u32>,
    global_rope_theta: Option<f64>,
    local_rope_theta: Option<f64>,
    rope_parameters: Option<Value>,
    layer_types: Option<Vec<String>>,
}

impl Published {
    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::input(
                path.display().to_string(),
                error.to_string(),
                "the config.json of a masked language model",
                "name a folder that transformers saved, or that `cloze train` exported",
            )
        })
    }

    /// The architecture, if it is one of ours.
    pub fn architecture(&self, place: &str) -> Result<Architecture> {
        let known = Architecture::ALL.into_iter();
        known
            .clone()
            .find(|architecture| architecture.name() == self.model_type)
            .ok_or_else(|| {
                let names: Vec<&str> = known.map(Architecture::name).collect();
                Error::mismatch(
                    place.to_owned(),
                    format!("model_type {:?}", self.model_type),
                    format!("one of {}", names.join(", ")),
                    "go on from a model of one of these kinds",
                )
            })
    }

    /// The model that the file describes. Refuses what our forward pass does not do.
    pub fn shape(&self, place: &str) -> Result<ModelShape> {
        let architecture = self.architecture(place)?;
        self.check(architecture, place)?;
        let modern = architecture == Architecture::Modernbert;
        let (epsilon, dropout, attention_dropout) = if modern {
            (
                self.norm_eps.unwrap_or(1e-5),
                self.embedding_dropout.unwrap_or(0.0),
                self.attention_dropout.unwrap_or(0.0),
            )
        } else {
            (
                self.layer_norm_eps.unwrap_or(1e-12),
                self.hidden_dropout_prob.unwrap_or(0.1),
                self.attention_probs_dropout_prob.unwrap_or(0.1),
            )
        };
        Ok(ModelShape {
            architecture,
            layers: self.num_hidden_layers,
            hidden: self.hidden_size,
            heads: self.num_attention_heads,
            feed_forward: self.intermediate_size,
            positions: self.positions(architecture),
            token_types: if modern {
                0
            } else {
                self.type_vocab_size.unwrap_or(2)
            },
            rotary: if modern {
                Some(self.rotary(place)?)
            } else {
                None
            },
            decoder: None,
            dropout,
            attention_dropout,
            norm_epsilon: epsilon,
            initializer_range: self.initializer_range.unwrap_or(0.02),
        })
    }

    /// Positions that a row can have; see `counts_from_padding`.
    fn positions(&self, architecture: Architecture) -> u32 {
        let before = match super::names::counts_from_padding(architecture) {
            true => self.pad_token_id.unwrap_or(1) + 1,
            false => 0,
        };
        self.max_position_embeddings.saturating_sub(before)
    }

    fn check(&self, architecture: Architecture, place: &str) -> Result<()> {
        let refuse = |key: &str, found: String, expected: &str| {
            Err(Error::mismatch(
                place.to_owned(),
                format!("{key} = {found}"),
                format!("{key} = {expected} for {}", architecture.name()),
                "go on from a model without this change to its architecture",
            ))
        };
        for (key, value) in [
            ("hidden_act", &self.hidden_act),
            ("hidden_activation", &self.hidden_activation),
            ("classifier_activation", &self.classifier_activation),
        ] {
            if let Some(found) = value.as_ref().filter(|name| *name != "gelu") {
                return refuse(key, format!("{found:?}"), "\"gelu\"");
            }
        }
        if let Some(found) = self.position_embedding_type.as_ref()
            && found != "absolute"
        {
            return refuse(
                "position_embedding_type",
                format!("{found:?}"),
                "\"absolute\"",
            );
        }
        for (key, value, expected) in [
            ("is_decoder", self.is_decoder, false),
            ("tie_word_embeddings", self.tie_word_embeddings, true),
            ("norm_bias", self.norm_bias, false),
            ("attention_bias", self.attention_bias, false),
            ("mlp_bias", self.mlp_bias, false),
            ("classifier_bias", self.classifier_bias, false),
            ("decoder_bias", self.decoder_bias, true),
        ] {
            if value.is_some_and(|value| value != expected) {
                return refuse(key, (!expected).to_string(), &expected.to_string());
            }
        }
        let (hidden, heads) = (self.hidden_size, self.num_attention_heads);
        if heads == 0 || !hidden.is_multiple_of(heads) {
            return refuse(
                "num_attention_heads",
                heads.to_string(),
                "a divisor of hidden_size",
            );
        }
        Ok(())
    }

    /// Thetas and windows, as transformers 4 and 5 write them.
    fn rotary(&self, place: &str) -> Result<RotaryShape> {
        let plain = RotaryShape::default();
        let theta = |kind: &str| {
            let parameters = self.rope_parameters.as_ref()?.get(kind)?;
            parameters.get("rope_theta")?.as_f64()
        };
        let rotary = RotaryShape {
            local_attention: self.local_attention.unwrap_or(plain.local_attention),
            global_every: match &self.layer_types {
                Some(types) => every(types),
                None => self
                    .global_attn_every_n_layers
                    .unwrap_or(plain.global_every),
            },
            global_theta: theta("full_attention")
                .or(self.global_rope_theta)
                .unwrap_or(plain.global_theta),
            local_theta: theta("sliding_attention")
                .or(self.local_rope_theta)
                .unwrap_or(plain.local_theta),
        };
        let scaled = ["full_attention", "sliding_attention"].iter().any(|kind| {
            let kind = self.rope_parameters.as_ref().and_then(|all| all.get(kind));
            kind.and_then(|one| one.get("rope_type"))
                .is_some_and(|name| name != "default")
        });
        let expected = |layer: usize| match layer as u32 % rotary.global_every.max(1) {
            0 => "full_attention",
            _ => "sliding_attention",
        };
        let regular = self.layer_types.as_ref().is_none_or(|types| {
            types.len() == self.num_hidden_layers as usize
                && types
                    .iter()
                    .enumerate()
                    .all(|(layer, name)| name == expected(layer))
        });
        if scaled || !regular || rotary.global_every == 0 {
            return Err(Error::mismatch(
                place.to_owned(),
                if scaled {
                    "scaled rotary positions".to_owned()
                } else {
                    format!("layer_types {:?}", self.layer_types)
                },
                "plain rotary positions, and attention to the whole row in every n-th layer \
                 from the first on",
                "go on from a model without this change to its architecture",
            ));
        }
        Ok(rotary)
    }
}

/// Every how many layers attention is to the whole row.
fn every(types: &[String]) -> u32 {
    let mut full = (0u32..)
        .zip(types)
        .filter(|(_, name)| *name == "full_attention");
    let first = full.next();
    match (first, full.next()) {
        (Some(_), Some((second, _))) => second,
        _ => types.len().max(1) as u32,
    }
}

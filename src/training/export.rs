//! A model as a Hugging Face folder: `config.json` and `model.safetensors`, which
//! `transformers` loads with no key missing or unexpected. Pre-LayerNorm models are
//! `RobertaPreLayerNormForMaskedLM`, post-LayerNorm ones `BertForMaskedLM`. The
//! tokenizer's files are the caller's.
//!
//! The decoder is tied to the word embeddings, so it is not in the file. We have no
//! token types: their embeddings are exported as zeros.

use super::model::Model;
use super::parameters::{LayerNorm, Linear};
use super::tensors::{self, Tensor};
use crate::base::error::{Error, Result};
use crate::base::token::SpecialTokens;
use crate::config::Norm;
use crate::storage::atomic;
use serde_json::json;
use std::borrow::Cow;
use std::path::Path;

/// Writes `model` into `folder`; `special` says which ids pad, open and close a row.
pub fn export(model: &Model, special: &SpecialTokens, folder: &Path) -> Result<()> {
    let names = match model.config.norm {
        Norm::Pre => &ROBERTA,
        Norm::Post => &BERT,
    };
    tensors::write(
        &folder.join("model.safetensors"),
        &tensors_of(model, special, names),
    )?;
    let json = serde_json::to_vec_pretty(&configuration(model, special, names))
        .map_err(|error| Error::library("config.json", error))?;
    atomic::write(folder.join("config.json"), &json)?;
    Ok(())
}

/// What an architecture calls its parts.
struct Names {
    architecture: &'static str,
    model_type: &'static str,
    /// Of embeddings and encoder.
    body: &'static str,
    attention_norm: &'static str,
    feed_forward_norm: &'static str,
    head: &'static str,
    head_norm: &'static str,
    head_bias: &'static str,
    token_types: usize,
}

const ROBERTA: Names = Names {
    architecture: "RobertaPreLayerNormForMaskedLM",
    model_type: "roberta-prelayernorm",
    body: "roberta_prelayernorm",
    attention_norm: "attention.LayerNorm",
    feed_forward_norm: "intermediate.LayerNorm",
    head: "lm_head.dense",
    head_norm: "lm_head.layer_norm",
    head_bias: "lm_head.bias",
    token_types: 1,
};

const BERT: Names = Names {
    architecture: "BertForMaskedLM",
    model_type: "bert",
    body: "bert",
    attention_norm: "attention.output.LayerNorm",
    feed_forward_norm: "output.LayerNorm",
    head: "cls.predictions.transform.dense",
    head_norm: "cls.predictions.transform.LayerNorm",
    head_bias: "cls.predictions.bias",
    // As every BERT: sequence pairs of downstream tasks have two types.
    token_types: 2,
};

/// The padding id that RoBERTa's positions count from. RoBERTa needs one, inside the
/// vocabulary: a tokenizer without gets a row of its own behind the last id.
fn padding_id(model: &Model, special: &SpecialTokens) -> usize {
    special.pad.map_or(model.vocabulary(), |id| id as usize)
}

fn configuration(model: &Model, special: &SpecialTokens, names: &Names) -> serde_json::Value {
    let config = &model.config;
    let padding = padding_id(model, special);
    let (vocabulary, positions, padding) = match config.norm {
        Norm::Pre => (
            model.vocabulary().max(padding + 1),
            // Positions of real tokens begin behind the padding id's.
            padding + 1 + config.positions as usize,
            Some(padding),
        ),
        Norm::Post => (
            model.vocabulary(),
            config.positions as usize,
            special.pad.map(|id| id as usize),
        ),
    };
    json!({
        "architectures": [names.architecture],
        "model_type": names.model_type,
        "vocab_size": vocabulary,
        "hidden_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.feed_forward,
        "hidden_act": "gelu",
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.attention_dropout,
        "max_position_embeddings": positions,
        "type_vocab_size": names.token_types,
        "initializer_range": config.initializer_range,
        "layer_norm_eps": config.norm_epsilon,
        "pad_token_id": padding,
        "bos_token_id": special.cls,
        "eos_token_id": special.sep,
        "tie_word_embeddings": true,
        "dtype": "float32",
    })
}

fn tensors_of<'a>(model: &'a Model, special: &SpecialTokens, names: &Names) -> Vec<Tensor<'a>> {
    let parameters = &model.parameters;
    let hidden = model.config.hidden as usize;
    let body = |part: &str| format!("{}.{part}", names.body);
    let mut out = List(Vec::new());
    let padding = padding_id(model, special);
    if model.config.norm == Norm::Pre {
        // A padding row behind the vocabulary: never looked up, never likely.
        let extra = usize::from(padding >= model.vocabulary());
        let mut words = parameters.words.to_vec();
        words.resize(words.len() + extra * hidden, 0.0);
        out.matrix(body("embeddings.word_embeddings.weight"), words, hidden);
        let mut positions = vec![0.0; (padding + 1) * hidden];
        positions.extend_from_slice(&parameters.positions);
        out.matrix(
            body("embeddings.position_embeddings.weight"),
            positions,
            hidden,
        );
        let mut bias = parameters.head_bias.to_vec();
        bias.resize(bias.len() + extra, -1e4);
        out.row(names.head_bias.into(), bias);
    } else {
        let words = body("embeddings.word_embeddings.weight");
        out.matrix(words, &parameters.words[..], hidden);
        let positions = body("embeddings.position_embeddings.weight");
        out.matrix(positions, &parameters.positions[..], hidden);
        out.row(names.head_bias.into(), &parameters.head_bias[..]);
    }
    let types = vec![0.0; names.token_types * hidden];
    out.matrix(
        body("embeddings.token_type_embeddings.weight"),
        types,
        hidden,
    );
    out.norm(&body("embeddings.LayerNorm"), &parameters.embedding_norm);
    for (index, layer) in parameters.layers.iter().enumerate() {
        let name = |part: &str| body(&format!("encoder.layer.{index}.{part}"));
        out.norm(&name(names.attention_norm), &layer.attention_norm);
        for (part, which) in [("query", 0), ("key", 1), ("value", 2)] {
            let name = name(&format!("attention.self.{part}"));
            let weight = &layer.qkv.weight[which * hidden * hidden..][..hidden * hidden];
            out.matrix(format!("{name}.weight"), weight, hidden);
            let bias = &layer.qkv.bias[which * hidden..][..hidden];
            out.row(format!("{name}.bias"), bias);
        }
        out.linear(&name("attention.output.dense"), &layer.attention_out);
        out.norm(&name(names.feed_forward_norm), &layer.feed_forward_norm);
        out.linear(&name("intermediate.dense"), &layer.up);
        out.linear(&name("output.dense"), &layer.down);
    }
    if let Some(norm) = &parameters.final_norm {
        out.norm(&body("LayerNorm"), norm);
    }
    out.linear(names.head, &parameters.head);
    out.norm(names.head_norm, &parameters.head_norm);
    out.0
}

struct List<'a>(Vec<Tensor<'a>>);

impl<'a> List<'a> {
    fn matrix(&mut self, name: String, values: impl Into<Cow<'a, [f32]>>, cols: usize) {
        let values = values.into();
        let shape = vec![values.len() / cols, cols];
        self.0.push(Tensor {
            name,
            shape,
            values,
        });
    }

    fn row(&mut self, name: String, values: impl Into<Cow<'a, [f32]>>) {
        let values = values.into();
        let shape = vec![values.len()];
        self.0.push(Tensor {
            name,
            shape,
            values,
        });
    }

    fn linear(&mut self, name: &str, linear: &'a Linear<f32>) {
        let weight = &linear.weight;
        self.matrix(format!("{name}.weight"), &weight[..], weight.cols());
        self.row(format!("{name}.bias"), &linear.bias[..]);
    }

    fn norm(&mut self, name: &str, norm: &'a LayerNorm<f32>) {
        self.row(format!("{name}.weight"), &norm.weight[..]);
        self.row(format!("{name}.bias"), &norm.bias[..]);
    }
}

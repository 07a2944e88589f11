//! Writes a model as a Hugging Face folder. The decoder is tied to the word embeddings,
//! so it is not in the file. The tokenizer's files are the caller's.

use super::names::{Place, counts_from_padding, names, places};
use super::published;
use crate::base::error::{Error, Result};
use crate::base::token::SpecialTokens;
use crate::storage::atomic;
use crate::training::matrix::Matrix;
use crate::training::model::Model;
use crate::training::tensors::{self, Tensor};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::path::Path;

/// What a row that pads the vocabulary is as likely as: never predicted.
const NEVER: f32 = -1e4;

/// Writes `model` into `folder`; `special` says which ids pad, open and close a row.
pub fn export(model: &Model, special: &SpecialTokens, folder: &Path) -> Result<()> {
    let padding = Padding::of(model, special);
    let mut tensors = Vec::new();
    for (name, matrix) in model.parameters.named() {
        for place in places(&model.shape, &name) {
            tensors.push(padding.tensor(&name, place, matrix));
        }
    }
    let types = model.shape.architecture.token_types() as usize;
    if model.parameters.token_types.is_none() && types > 0 {
        let width = model.shape.hidden as usize;
        for place in places(&model.shape, "token_types") {
            tensors.push(Tensor {
                name: place.tensor,
                shape: vec![types, width],
                values: vec![0.0; types * width].into(),
            });
        }
    }
    tensors::write(&folder.join("model.safetensors"), &tensors)?;
    let json = serde_json::to_vec_pretty(&configuration(model, special, &padding))
        .map_err(|error| Error::library("config.json", error))?;
    atomic::write(folder.join("config.json"), &json)?;
    Ok(())
}

/// Rows that a file has and the model has not.
struct Padding {
    /// The padding id.
    id: Option<usize>,
    /// Behind the vocabulary: RoBERTa needs a padding id, inside the vocabulary; a
    /// tokenizer without gets a row of its own.
    words: usize,
    /// In front of the positions: those of real tokens begin behind the padding id's.
    positions: usize,
}

impl Padding {
    fn of(model: &Model, special: &SpecialTokens) -> Self {
        let named = special.pad.map(|id| id as usize);
        if !counts_from_padding(model.shape.architecture) {
            return Self {
                id: named,
                words: 0,
                positions: 0,
            };
        }
        let id = named.unwrap_or(model.vocabulary());
        Self {
            id: Some(id),
            words: usize::from(id >= model.vocabulary()),
            positions: id + 1,
        }
    }

    /// The tensor at `place` of the parameter that we call `ours`.
    fn tensor<'a>(&self, ours: &str, place: Place, matrix: &'a Matrix<f32>) -> Tensor<'a> {
        // Biases and norms are vectors in files, and one row here.
        let vector = ours.ends_with("bias") || ours.contains("norm");
        let width = if vector { 1 } else { matrix.cols() };
        let mut values = Cow::Borrowed(&matrix[place.numbers(matrix.len())]);
        let (before, behind, fill) = match ours {
            "positions" => (self.positions, 0, 0.0),
            "words" => (0, self.words, 0.0),
            "head_bias" => (0, self.words, NEVER),
            _ => (0, 0, 0.0),
        };
        if before + behind > 0 {
            let mut padded = vec![0.0; before * width];
            padded.extend_from_slice(&values);
            padded.resize(padded.len() + behind * width, fill);
            values = padded.into();
        }
        let length = values.len() / width;
        Tensor {
            name: place.tensor,
            shape: if vector {
                vec![length]
            } else {
                vec![length, width]
            },
            values,
        }
    }
}

fn configuration(model: &Model, special: &SpecialTokens, padding: &Padding) -> Value {
    let shape = &model.shape;
    let mut config = json!({
        "architectures": [names(shape.architecture).class],
        "model_type": shape.architecture.name(),
        "vocab_size": model.vocabulary() + padding.words,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.feed_forward,
        "max_position_embeddings": padding.positions + shape.positions as usize,
        "initializer_range": shape.initializer_range,
        "pad_token_id": padding.id,
        "bos_token_id": special.cls,
        "eos_token_id": special.sep,
        "tie_word_embeddings": true,
        "dtype": "float32",
    });
    published::add_own_keys(&mut config, shape, special);
    config
}

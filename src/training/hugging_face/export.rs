//! Writes a model as a Hugging Face folder. The last matrix of the head is tied to the word
//! embeddings, so it is not in the file. The tokenizer's files are the caller's.

use super::beside;
use super::names::{Content, Place, counts_from_padding, names, places};
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

/// Writes `model` into `folder`; `special` says which ids pad, open and close a row. Of a
/// model with a decoder, the Hugging Face folder is the encoder alone, as for fine-tuning;
/// decoder and head lie beside it. Gives the names of the files.
pub fn export(model: &Model, special: &SpecialTokens, folder: &Path) -> Result<Vec<&'static str>> {
    let architecture = model.shape.architecture;
    let content = match model.shape.decoder {
        Some(_) => Content::Encoder,
        None => Content::MaskedModel,
    };
    let padding = Padding::of(model, special);
    let (mut tensors, mut rest) = (Vec::new(), Vec::new());
    for (name, matrix) in model.parameters.named() {
        let places = places(architecture, content, &name);
        if places.is_empty() {
            rest.push(padding.tensor(&name, Place::whole(name.clone()), matrix));
        }
        for place in places {
            tensors.push(padding.tensor(&name, place, matrix));
        }
    }
    let types = architecture.token_types() as usize;
    if model.parameters.token_types.is_none() && types > 0 {
        let width = model.shape.hidden as usize;
        for place in places(architecture, content, "token_types") {
            tensors.push(Tensor {
                name: place.tensor,
                shape: vec![types, width],
                values: vec![0.0; types * width].into(),
            });
        }
    }
    beside::remove(folder)?;
    tensors::write(&folder.join("model.safetensors"), &tensors)?;
    let json = serde_json::to_vec_pretty(&configuration(model, special, &padding))
        .map_err(|error| Error::library("config.json", error))?;
    atomic::write(folder.join("config.json"), &json)?;
    let mut files = vec!["config.json", "model.safetensors"];
    if let Some(decoder) = &model.shape.decoder {
        beside::write(folder, decoder, &rest)?;
        files.extend([beside::SIZES, beside::WEIGHTS]);
    }
    Ok(files)
}

/// Rows that a file has and the model has not.
pub(super) struct Padding {
    /// The padding id.
    id: Option<usize>,
    /// Behind the vocabulary: RoBERTa needs a padding id, inside the vocabulary; a
    /// tokenizer without gets a row of its own.
    words: usize,
    /// In front of the positions: those of real tokens begin behind the padding id's.
    positions: usize,
}

impl Padding {
    pub fn of(model: &Model, special: &SpecialTokens) -> Self {
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
    pub fn tensor<'a>(&self, ours: &str, place: Place, matrix: &'a Matrix<f32>) -> Tensor<'a> {
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

/// The keys of `config.json` that any model of the architecture has.
pub(super) fn configuration(model: &Model, special: &SpecialTokens, padding: &Padding) -> Value {
    let shape = &model.shape;
    let class = names(shape.architecture).class;
    let class = match shape.decoder {
        Some(_) => class.replace("ForMaskedLM", "Model"),
        None => class.to_owned(),
    };
    let mut config = json!({
        "architectures": [class],
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

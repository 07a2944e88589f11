//! Reads the encoder of a Hugging Face folder, to fine-tune it: of a masked language model,
//! of an encoder alone, of one with another head. Heads are left, but for the dense layer
//! that a classifier of its architecture takes over in `transformers` as well: BERT's pooler,
//! and what ModernBERT predicts masked tokens with.
//!
//! Memory: the largest file and the model.

use super::import::{fill, modern_name, weight_files};
use super::names::{Content, Place, counts_from_padding, head_names, names, places};
use super::published::Published;
use crate::base::error::{Error, Result};
use crate::config::{Architecture, ModelShape};
use crate::training::classifier::Inherited;
use crate::training::matrix::Matrix;
use crate::training::model::Model;
use crate::training::parameters::{LayerNorm, Linear, Parameters};
use crate::training::tensors;
use std::collections::HashMap;
use std::path::Path;

/// Reads the encoder in `folder`, and what its classifier inherits. `dropout` is that of
/// embeddings, layers and head, and that of attention weights; without, the folder's.
///
/// # Errors
/// A missing or broken file, an architecture that is not one of ours, a parameter of the
/// encoder that is missing or of another size, and a layer that `config.json` has not.
pub fn encoder(folder: &Path, dropout: [Option<f64>; 2]) -> Result<(Model, Inherited)> {
    let path = folder.join("config.json");
    let published = Published::read(&path)?;
    let mut shape = published.shape(&path.display().to_string())?;
    shape.dropout = dropout[0].unwrap_or(shape.dropout);
    shape.attention_dropout = dropout[1].unwrap_or(shape.attention_dropout);
    let mut parameters = Parameters::unread(&shape, published.vocab_size);
    let mut wanted: HashMap<String, (String, Place)> = HashMap::new();
    for (name, _) in parameters.named() {
        for place in places(shape.architecture, Content::Encoder, &name) {
            wanted.insert(place.tensor.clone(), (name.clone(), place));
        }
    }
    let positions_before = match counts_from_padding(shape.architecture) {
        true => published.pad_token_id.unwrap_or(1) as usize + 1,
        false => 0,
    };
    let known = names(shape.architecture);
    let mut head = HashMap::new();
    for file in weight_files(folder)? {
        tensors::read_any(&file, |tensor| {
            let name = modern_name(&tensor.name);
            let inner = name.strip_prefix(known.body).unwrap_or(&name);
            let Some((ours, place)) = wanted.remove(inner) else {
                if inner.starts_with(&format!("{}.", known.layers)) {
                    return Err(Error::mismatch(
                        file.display().to_string(),
                        format!("a tensor called {name}"),
                        "the layers that config.json has, each parameter once",
                        "config.json and weights must be of one model",
                    ));
                }
                head.insert(name, tensor.values.into_owned());
                return Ok(());
            };
            let before = if ours == "positions" {
                positions_before
            } else {
                0
            };
            let mut named = parameters.named_mut().into_iter();
            let Some((_, matrix)) = named.find(|(known, _)| *known == ours) else {
                return Ok(());
            };
            fill(matrix, &place, before, &tensor).map_err(|(found, expected)| {
                Error::mismatch(
                    file.display().to_string(),
                    format!("{name} of shape {found:?}"),
                    format!("{expected} numbers, as config.json has it"),
                    "config.json and weights must be of one model",
                )
            })
        })?;
    }
    if let Some(first) = wanted.keys().min() {
        return Err(Error::mismatch(
            folder.display().to_string(),
            format!("no tensor called {first}, nor {} more", wanted.len() - 1),
            "every parameter of the encoder",
            "name a folder that transformers saved, or that `cloze train` exported",
        ));
    }
    let inherited = inherited(&shape, head);
    Ok((Model::new(shape, parameters), inherited))
}

/// What a classifier takes over from the tensors beside the encoder's; none where the
/// architecture has nothing to take over, or the folder has it not.
fn inherited(shape: &ModelShape, mut head: HashMap<String, Vec<f32>>) -> Inherited {
    let names = head_names(shape.architecture);
    let hidden = shape.hidden as usize;
    let modern = shape.architecture == Architecture::Modernbert;
    if !modern && shape.architecture != Architecture::Bert {
        return None;
    }
    let inner = names.dense.strip_prefix("bert.").unwrap_or(names.dense);
    let mut take = |name: String, rows: usize, cols: usize| {
        let values = head
            .remove(&name)
            .filter(|values| values.len() == rows * cols)?;
        Some(Matrix::new(rows, cols, values))
    };
    let mut dense = |kind: &str, rows, cols| {
        let named = take(format!("{}.{kind}", names.dense), rows, cols);
        named.or_else(|| take(format!("{inner}.{kind}"), rows, cols))
    };
    let weight = dense("weight", hidden, hidden)?;
    if modern {
        let norm = take(format!("{}.weight", names.norm), 1, hidden)?;
        let norm = LayerNorm {
            weight: norm,
            bias: None,
        };
        return Some((Linear { weight, bias: None }, Some(norm)));
    }
    let bias = Some(dense("bias", 1, hidden)?);
    Some((Linear { weight, bias }, None))
}

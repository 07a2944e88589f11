//! Reads a Hugging Face folder of a masked language model, to go on training it. Weights
//! may be 32-bit, 16-bit or bfloat16 numbers, in one safetensors file or several; the
//! old names of norms (`gamma`, `beta`) are understood.
//!
//! Memory: the largest file and the model.

use super::beside;
use super::names::{Content, Place, counts_from_padding, names, places};
use super::published::Published;
use crate::base::error::{Error, Result};
use crate::config::{ModelConfig, ModelShape};
use crate::training::matrix::Matrix;
use crate::training::model::Model;
use crate::training::parameters::Parameters;
use crate::training::tensors::{self, Tensor};
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Reads the model in `folder`. `config` may set its dropout. Where it asks for a decoder,
/// that is the folder's, or a new one, drawn with `seed`, behind the encoder of a masked
/// language model; the head's dense layer is then a new one too if it is of another width.
///
/// # Errors
/// A missing or broken file, an architecture that is not one of ours, a parameter that
/// is missing, left over or of another size, a head that is not tied to the word
/// embeddings, and a folder with a decoder where none is asked for: each with file and
/// name.
pub fn import(folder: &Path, config: &ModelConfig, seed: u64) -> Result<Model> {
    let path = folder.join("config.json");
    let published = Published::read(&path)?;
    let mut shape = published.shape(&path.display().to_string())?;
    shape.dropout = config.dropout.unwrap_or(shape.dropout);
    shape.attention_dropout = config.attention_dropout.unwrap_or(shape.attention_dropout);
    let found = beside::sizes(folder)?;
    shape.decoder = beside::choose(folder, &shape, config.decoder.as_ref(), found)?;
    let begins_anew = shape.decoder.is_some() && found.is_none();
    let parameters = match begins_anew {
        true => Parameters::initial(&shape, published.vocab_size, seed),
        false => Parameters::unread(&shape, published.vocab_size),
    };
    let content = match found {
        Some(_) => Content::Encoder,
        None => Content::MaskedModel,
    };
    let mut reading = Reading::new(&shape, content, parameters, &published);
    for file in weight_files(folder)? {
        tensors::read_any(&file, |tensor| reading.take(&file, tensor))?;
    }
    let mut parameters = reading.finish(folder)?;
    if found.is_some() {
        beside::read(folder, &shape, &mut parameters)?;
    }
    Ok(Model::new(shape, parameters))
}

/// All files that the model in `folder` is read from.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = vec![folder.join("config.json")];
    files.extend(weight_files(folder)?);
    if beside::sizes(folder)?.is_some() {
        files.extend([beside::SIZES, beside::WEIGHTS].map(|name| folder.join(name)));
    }
    Ok(files)
}

/// The safetensors files of the model in `folder`.
pub(super) fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: HashMap<String, String>,
    }
    let single = folder.join("model.safetensors");
    if single.exists() {
        return Ok(vec![single]);
    }
    let index = folder.join("model.safetensors.index.json");
    if index.exists() {
        let bytes = std::fs::read(&index).map_err(|e| Error::io("read", &index, e))?;
        let index: Index = serde_json::from_slice(&bytes).map_err(|error| {
            Error::input(
                index.display().to_string(),
                error.to_string(),
                "weight_map, from each tensor to its file",
                "save the model again with transformers",
            )
        })?;
        let names: BTreeSet<String> = index.weight_map.into_values().collect();
        return Ok(names.into_iter().map(|name| folder.join(name)).collect());
    }
    let pickled = folder.join("pytorch_model.bin").exists();
    Err(Error::input(
        folder.display().to_string(),
        if pickled {
            "pytorch_model.bin alone"
        } else {
            "no weights"
        },
        "model.safetensors",
        "save the model with transformers: save_pretrained(folder, safe_serialization=True)",
    ))
}

/// Parameters on their way in.
struct Reading {
    parameters: Parameters<f32>,
    /// By tensor: our parameter, and which part of it.
    wanted: HashMap<String, (String, Place)>,
    /// The head's own last matrix, which has to be the words.
    decoder: Option<Vec<f32>>,
    /// Tensors whose parameters begin anew.
    passed_over: Vec<String>,
    tied: &'static str,
    body: &'static str,
    /// Rows of the file's positions that no token has.
    positions_before: usize,
}

impl Reading {
    fn new(
        shape: &ModelShape,
        content: Content,
        parameters: Parameters<f32>,
        published: &Published,
    ) -> Self {
        let mut wanted = HashMap::new();
        let mut passed_over = Vec::new();
        let other_width = parameters.head.weight.cols() != shape.hidden as usize;
        for (name, _) in parameters.named() {
            for place in places(shape.architecture, content, &name) {
                if other_width && name.starts_with("head.") {
                    passed_over.push(place.tensor);
                } else {
                    wanted.insert(place.tensor.clone(), (name.clone(), place));
                }
            }
        }
        let names = names(shape.architecture);
        let before = match counts_from_padding(shape.architecture) {
            true => published.pad_token_id.unwrap_or(1) as usize + 1,
            false => 0,
        };
        Self {
            parameters,
            wanted,
            decoder: None,
            passed_over,
            tied: names.decoder,
            body: names.body,
            positions_before: before,
        }
    }

    fn take(&mut self, file: &Path, tensor: Tensor<'_>) -> Result<()> {
        let name = modern_name(&tensor.name);
        let Some((ours, place)) = self.wanted.remove(&name) else {
            if name == self.tied {
                self.decoder = Some(tensor.values.into_owned());
                return Ok(());
            }
            if is_left_out(&name, self.body) || self.passed_over.contains(&name) {
                return Ok(());
            }
            return Err(Error::mismatch(
                file.display().to_string(),
                format!("a tensor called {name}"),
                "the parameters of this architecture, each once",
                "go on from a model that transformers saved with its masked-language-model head",
            ));
        };
        let before = if ours == "positions" {
            self.positions_before
        } else {
            0
        };
        let mut named = self.parameters.named_mut().into_iter();
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
    }

    fn finish(self, folder: &Path) -> Result<Parameters<f32>> {
        let mut missing: Vec<&String> = self.wanted.keys().collect();
        missing.sort();
        if let Some(first) = missing.first() {
            return Err(Error::mismatch(
                folder.display().to_string(),
                format!("no tensor called {first}, nor {} more", missing.len() - 1),
                "every parameter of the encoder and its masked-language-model head",
                "go on from a model that transformers saved as ...ForMaskedLM",
            ));
        }
        if let Some(decoder) = self.decoder
            && decoder[..] != self.parameters.words[..]
        {
            return Err(Error::mismatch(
                folder.display().to_string(),
                format!("{} that differs from the word embeddings", self.tied),
                "a decoder tied to them",
                "save the model with tie_word_embeddings = true",
            ));
        }
        Ok(self.parameters)
    }
}

/// Copies a tensor to its place; else its shape, and how many numbers were expected.
pub(super) fn fill(
    matrix: &mut Matrix<f32>,
    place: &Place,
    before: usize,
    tensor: &Tensor<'_>,
) -> Result<(), (Vec<usize>, usize)> {
    let numbers = place.numbers(matrix.len());
    let skipped = before * matrix.cols();
    let expected = skipped + numbers.len();
    if tensor.values.len() != expected {
        return Err((tensor.shape.clone(), expected));
    }
    matrix[numbers].copy_from_slice(&tensor.values[skipped..]);
    Ok(())
}

/// Norms of the first BERT files are called gamma and beta.
pub(super) fn modern_name(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((module, "gamma")) => format!("{module}.weight"),
        Some((module, "beta")) => format!("{module}.bias"),
        _ => name.to_owned(),
    }
}

/// What masked language models carry along and do not use.
fn is_left_out(name: &str, body: &str) -> bool {
    name.ends_with("position_ids")
        || name.ends_with("decoder.bias")
        || name.starts_with("cls.seq_relationship.")
        || name
            .strip_prefix(body)
            .is_some_and(|rest| rest.starts_with("pooler."))
        || name.starts_with("pooler.")
}

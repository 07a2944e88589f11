//! What lies beside the Hugging Face folder of an encoder that was trained on rows of the
//! layout `removed`: its decoder's sizes (`decoder.json`), and the decoder with the head in
//! our own names (`decoder.safetensors`). Whoever fine-tunes the encoder leaves both, as
//! MAE-LM does; whoever goes on with the run needs them.

use super::names::{Content, places};
use crate::base::error::{Error, Result};
use crate::config::{DecoderConfig, ModelShape, StackShape};
use crate::storage::atomic;
use crate::training::parameters::Parameters;
use crate::training::tensors::{self, Tensor};
use std::collections::HashMap;
use std::path::Path;

/// Sizes of the decoder.
pub(super) const SIZES: &str = "decoder.json";
/// Decoder and head.
pub(super) const WEIGHTS: &str = "decoder.safetensors";

/// Writes the decoder of `sizes` with its `tensors` into `folder`.
pub(super) fn write(folder: &Path, sizes: &StackShape, tensors: &[Tensor<'_>]) -> Result<()> {
    tensors::write(&folder.join(WEIGHTS), tensors)?;
    let json =
        serde_json::to_vec_pretty(sizes).map_err(|error| Error::library("decoder.json", error))?;
    atomic::write(folder.join(SIZES), &json)?;
    Ok(())
}

/// Removes what an earlier model with a decoder left in `folder`.
pub(super) fn remove(folder: &Path) -> Result<()> {
    for path in [SIZES, WEIGHTS].map(|name| folder.join(name)) {
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &path, e));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Sizes of the decoder in `folder`, if there is one.
pub(super) fn sizes(folder: &Path) -> Result<Option<StackShape>> {
    let path = folder.join(SIZES);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = std::fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
    let sizes = serde_json::from_slice(&bytes).map_err(|error| {
        Error::input(
            path.display().to_string(),
            error.to_string(),
            "layers, hidden, heads and feed_forward of a decoder",
            "name a folder that `cloze train` exported",
        )
    })?;
    Ok(Some(sizes))
}

/// The decoder that a model read from `folder` has: the one of `found`, or a new one of
/// `keys`.
pub(super) fn choose(
    folder: &Path,
    encoder: &ModelShape,
    keys: Option<&DecoderConfig>,
    found: Option<StackShape>,
) -> Result<Option<StackShape>> {
    let decoder = match (keys, found) {
        (None, None) => return Ok(None),
        (None, Some(_)) => {
            return Err(Error::mismatch(
                folder.join(SIZES).display().to_string(),
                "a decoder, for rows that lost their masked tokens",
                "an encoder with a masked-language-model head of its own",
                "set masking.layout = \"removed\" to go on with it",
            ));
        }
        (Some(keys), Some(_)) if *keys != DecoderConfig::default() => {
            return Err(Error::usage(
                "model.decoder",
                format!("its keys set beside model.from = {folder:?}, which has a decoder"),
                format!("what the folder's {SIZES} says"),
                "leave model.decoder out",
            ));
        }
        (Some(_), Some(found)) => found,
        (Some(keys), None) => keys.shape(encoder),
    };
    decoder.check_decoder(encoder)?;
    Ok(Some(decoder))
}

/// Reads decoder and head into `parameters`.
pub(super) fn read(
    folder: &Path,
    shape: &ModelShape,
    parameters: &mut Parameters<f32>,
) -> Result<()> {
    let path = folder.join(WEIGHTS);
    let other = |found: String| {
        Error::mismatch(
            path.display().to_string(),
            found,
            format!("the decoder that {SIZES} describes, and the head behind it"),
            format!("{WEIGHTS}, {SIZES} and the encoder must be of one model"),
        )
    };
    let beside = |name: &String| places(shape.architecture, Content::Encoder, name).is_empty();
    let named = parameters.named_mut().into_iter();
    let mut wanted: HashMap<_, _> = named.filter(|(name, _)| beside(name)).collect();
    tensors::read_any(&path, |tensor| {
        let Some(matrix) = wanted.remove(&tensor.name) else {
            return Err(other(format!("a tensor called {}", tensor.name)));
        };
        if matrix.len() != tensor.values.len() {
            return Err(other(format!(
                "{} of shape {:?}",
                tensor.name, tensor.shape
            )));
        }
        matrix.copy_from_slice(&tensor.values);
        Ok(())
    })?;
    match wanted.keys().min() {
        Some(name) => Err(other(format!("no tensor called {name}"))),
        None => Ok(()),
    }
}

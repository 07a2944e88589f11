//! Masks for a stage: a configuration made ready for a tokenizer, with the file of
//! token weights read.

use crate::base::error::{Error, Result};
use crate::base::token::TokenId;
use crate::config::{MaskingConfig, RandomIds};
use crate::masking::{Masker, TokenTable};
use crate::storage::InputRecord;
use crate::tokenizer::Tokenizer;
use hashbrown::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Whether the masks of `config` need to know how often each token occurs.
pub fn needs_counts(config: &MaskingConfig) -> bool {
    config.random_ids == RandomIds::Unigram && config.components().any(|one| one.random_share > 0.0)
}

/// The masks of `config` for `tokenizer`; `counts` of each token id, where
/// [`needs_counts`] says so.
///
/// # Errors
/// What [`Masker::new`] refuses, and a file of weights that cannot be read: with its
/// line.
pub fn masker(
    config: &MaskingConfig,
    tokenizer: &Tokenizer,
    counts: Option<&[u64]>,
) -> Result<Masker> {
    let mut tokens = TokenTable::new(tokenizer.vocabulary_size(), tokenizer.special());
    tokens.counts = counts;
    if let Some(file) = &config.token_weights {
        tokens.weights = Some(weights(file, tokenizer)?);
    }
    Masker::new(config, &tokens)
}

/// The files that the masks of `config` are made from, as inputs of a stage.
pub fn inputs(config: &MaskingConfig) -> Result<Vec<InputRecord>> {
    config
        .token_weights
        .iter()
        .map(|file| InputRecord::of(file))
        .collect()
}

/// Reads a file of weights: one for each id.
fn weights(file: &Path, tokenizer: &Tokenizer) -> Result<Arc<[f32]>> {
    let bytes = std::fs::read(file).map_err(|e| Error::io("read", file, e))?;
    let text = utf8(file, &bytes)?;
    let spellings = (0..tokenizer.vocabulary_size() as TokenId).map(|id| tokenizer.spelling(id));
    let ids = spellings
        .zip(0..)
        .filter(|(spelling, _)| !spelling.is_empty());
    let ids: HashMap<&str, usize> = ids.collect();
    let mut weights = vec![1.0; tokenizer.vocabulary_size()];
    let mut seen = vec![false; weights.len()];
    for (number, line) in (1..).zip(text.lines()) {
        if line.is_empty() {
            continue;
        }
        let wrong = |found: String, remedy: &str| {
            Error::input(
                format!("{}, line {number}", file.display()),
                found,
                "a token of the vocabulary, a tab, and a weight of 0 or more",
                remedy.to_owned(),
            )
        };
        let Some((token, weight)) = line.rsplit_once('\t') else {
            return Err(wrong(
                format!("{line:?} without a tab"),
                "separate token and weight by a tab",
            ));
        };
        let Some(&id) = ids.get(token) else {
            return Err(wrong(
                format!("{token:?}, which the vocabulary does not have"),
                "spell tokens as the vocabulary does, with ## or Ġ or ▁; `cloze mask --format json` shows them",
            ));
        };
        let weight = match weight.trim().parse::<f32>() {
            Ok(weight) if weight.is_finite() && weight >= 0.0 => weight,
            _ => {
                return Err(wrong(
                    format!("weight {weight:?}"),
                    "write a number such as 2.5",
                ));
            }
        };
        if std::mem::replace(&mut seen[id], true) {
            return Err(wrong(
                format!("{token:?} a second time"),
                "keep one line a token",
            ));
        }
        weights[id] = weight;
    }
    if !seen.contains(&true) {
        return Err(Error::input(
            file.display().to_string(),
            "no weight of any token",
            "a line for each token that does not weigh 1: token, tab, weight",
            "name the file that holds the weights, or leave `token_weights` out",
        ));
    }
    Ok(weights.into())
}

/// The text of a file of weights; the first line that is none is named.
fn utf8<'a>(file: &Path, bytes: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        Error::input(
            format!("{}, line {line}", file.display()),
            format!("byte 0x{:02X}, which is no UTF-8", bytes[before.len()]),
            "UTF-8 text",
            "convert the file, for example with `iconv -t UTF-8`",
        )
    })
}

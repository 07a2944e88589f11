//! What a `tokenizer.json` says about Unigram, read to the last setting: one that is not
//! done here is a reason to leave the tokenizer to the library.

use super::Unigram;
use super::model::Model;
use crate::tokenizer::fast::named;
use crate::tokenizer::fast::normal::{Form, Normal};
use crate::tokenizer::fast::stretches::Stretches;
use crate::tokenizer::parsed::{Parsed, Pieces};
use serde_json::Value;
use tokenizers::normalizers::Precompiled;

pub(super) fn read(tokenizer: &Parsed, barred: &[bool]) -> Result<Unigram, String> {
    let normalizer = &tokenizer.json["normalizer"];
    let form = match normalizer["type"].as_str() {
        None if normalizer.is_null() => None,
        Some("NFC") => Some(Form::Nfc),
        Some("NFKC") => Some(Form::Nfkc),
        Some("Precompiled") => {
            // The map is read from borrowed text only.
            let map: Precompiled = serde_json::from_str(&normalizer.to_string())
                .map_err(|_| "normalizer with a broken map")?;
            Some(Form::Precompiled(map.into()))
        }
        _ => return Err(format!("normalizer {}", named(&normalizer["type"]))),
    };
    let normal = form.map(Normal::new);
    let (space, prepend) = spaces(&tokenizer.json["pre_tokenizer"])?;
    Ok(Unigram {
        stretches: Stretches::of(tokenizer, normal)?,
        space,
        prepend,
        model: model(tokenizer, barred)?,
    })
}

/// `WhitespaceSplit` and `Metaspace`: what stands for a space, and whether every word
/// gets one.
fn spaces(pre_tokenizer: &Value) -> Result<(char, bool), String> {
    let none = Vec::new();
    let steps = pre_tokenizer["pretokenizers"].as_array().unwrap_or(&none);
    let [split, metaspace] = &steps[..] else {
        return Err(format!("pre-tokenizer {}", named(&pre_tokenizer["type"])));
    };
    if split["type"] != "WhitespaceSplit" || metaspace["type"] != "Metaspace" {
        return Err(format!(
            "pre-tokenizer of {} and {}",
            named(&split["type"]),
            named(&metaspace["type"])
        ));
    }
    if metaspace["split"] == false {
        return Err("pre-tokenizer Metaspace that cuts nothing".into());
    }
    let prepend = match metaspace["prepend_scheme"].as_str() {
        _ if metaspace["add_prefix_space"] == false => false,
        None | Some("always") => true,
        Some("never") => false,
        Some(scheme) => return Err(format!("pre-tokenizer Metaspace that prepends {scheme}")),
    };
    let mut replacement = metaspace["replacement"]
        .as_str()
        .unwrap_or_default()
        .chars();
    match (replacement.next(), replacement.next()) {
        (Some(space), None) if !space.is_ascii() && !space.is_whitespace() => Ok((space, prepend)),
        _ => Err(format!(
            "pre-tokenizer Metaspace of {}",
            metaspace["replacement"]
        )),
    }
}

fn model(tokenizer: &Parsed, barred: &[bool]) -> Result<Model, String> {
    let model = tokenizer.model();
    let Pieces::Scores(pieces) = &tokenizer.pieces else {
        return Err("model without scores".into());
    };
    let pieces: Vec<(&str, f64)> = pieces.iter().map(|(piece, s)| (&**piece, *s)).collect();
    let unknown = model["unk_id"]
        .as_u64()
        .and_then(|id| u32::try_from(id).ok());
    // Where it is hidden, the library read its model from the same numbers as this one:
    // scores that are written and read again may differ in the last bit.
    let hidden = |id: &u32| {
        let piece = pieces.get(*id as usize);
        piece.is_some_and(|(spelling, _)| spelling.starts_with('\0'))
    };
    let Some(unknown) = unknown.filter(hidden) else {
        return Err("model without an unknown token of its own".into());
    };
    let barred = (0..pieces.len()).filter(|&id| barred.get(id) != Some(&false));
    let barred = barred.map(|id| {
        let spelling = pieces[id].0;
        let spelling = spelling.strip_prefix('\0').unwrap_or(spelling);
        (id as u32, spelling.to_owned())
    });
    let barred = barred.collect();
    Model::new(&pieces, unknown, model["byte_fallback"] == true, barred)
}

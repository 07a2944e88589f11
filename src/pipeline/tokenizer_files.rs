//! The files of a tokenizer in a Hugging Face folder.

use crate::base::error::Result;
use crate::storage::atomic;
use crate::tokenizer::Tokenizer;
use serde_json::json;
use std::path::Path;

/// Writes `tokenizer`, of a model with rows of up to `length` tokens, into `folder`. With
/// `types`, `transformers` gives that model the types of tokens, too. Gives the names of the
/// files.
pub fn write(
    tokenizer: &Tokenizer,
    length: u32,
    types: bool,
    folder: &Path,
) -> Result<[&'static str; 2]> {
    let json = tokenizer.to_json().as_bytes();
    atomic::write(folder.join("tokenizer.json"), json)?;
    let special = tokenizer.special();
    let spelling = |id: Option<u32>| id.map(|id| tokenizer.spelling(id));
    let mut tokenizer_config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": length,
        "mask_token": spelling(special.mask),
        "cls_token": spelling(special.cls),
        "sep_token": spelling(special.sep),
        "pad_token": spelling(special.pad),
        "unk_token": spelling(special.unk),
    });
    if types {
        tokenizer_config["model_input_names"] =
            json!(["input_ids", "token_type_ids", "attention_mask"]);
    }
    let text = format!("{tokenizer_config:#}");
    atomic::write(folder.join("tokenizer_config.json"), text.as_bytes())?;
    Ok(["tokenizer.json", "tokenizer_config.json"])
}

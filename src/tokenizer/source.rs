//! Tokenizer files on disk, brought to one form, the `tokenizer.json` of the
//! `tokenizers` library: BERT's `vocab.txt`, GPT-2's `vocab.json` with
//! `merges.txt`, any `tokenizer.json`, or a folder with one of these.

use super::parsed::{Merges, Numbered, Parsed};
use super::{broken, roles};
use crate::base::error::{Error, Result};
use crate::parallel;
use crate::storage::place;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A tokenizer as it was found.
pub(super) struct Source {
    /// Its `tokenizer.json`, read or made.
    pub tokenizer: Parsed,
    /// The library's reading of it, where it is clear that it is needed.
    pub library: Option<tokenizers::Tokenizer>,
    /// `special_tokens_map.json` and `tokenizer_config.json`, where they lie beside.
    pub beside: Vec<Value>,
}

/// Reads the tokenizer at `path`. `lowercase` is for a `vocab.txt` only.
pub(super) fn read(path: &Path, lowercase: Option<bool>) -> Result<Source> {
    let file = locate(path)?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut beside = Vec::new();
    for name in ["special_tokens_map.json", "tokenizer_config.json"] {
        let path = folder.join(name);
        if path != file && place::is_file(&path)? {
            beside.push(read_json(&path)?);
        }
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let is_json = name.ends_with(".json");
    if is_json && lowercase.is_some() {
        return Err(Error::usage(
            "tokenize.lowercase",
            format!("a setting for {}", file.display()),
            "it for a vocab.txt only, since a tokenizer.json says itself what it lower-cases",
            "leave lowercase out",
        ));
    }
    let shown = path.display().to_string();
    let tokenizer = if is_json {
        let text = read_text(&file)?;
        // What other models there are is the library's to read, which takes longest.
        let known = ["\"merges\"", "\"WordPiece\"", "\"unk_id\""];
        let other = !known.iter().any(|name| text.contains(name));
        let library = || other.then(|| library(&shown, &text));
        let (library, parsed): (_, Parsed) =
            parallel::both(2, || Ok(library()), || json_of(&file, &text))?;
        if parsed.model().is_object() {
            return Ok(Source {
                tokenizer: parsed,
                library: library.transpose()?,
                beside,
            });
        }
        byte_level(&file, &parsed.json, &folder.join("merges.txt"))?
    } else {
        wordpiece(&file, lowercase, &beside)?
    };
    Ok(Source {
        tokenizer,
        library: None,
        beside,
    })
}

/// The library's reading of a `tokenizer.json`.
pub(super) fn library(place: &str, json: &str) -> Result<tokenizers::Tokenizer> {
    tokenizers::Tokenizer::from_bytes(json).map_err(|error| broken(place, error))
}

/// The tokenizer file that `path` means.
fn locate(path: &Path) -> Result<PathBuf> {
    let names = ["tokenizer.json", "vocab.txt", "vocab.json"];
    if place::is_folder(path)? {
        for name in names {
            let file = path.join(name);
            if place::is_file(&file)? {
                return Ok(file);
            }
        }
        return Err(Error::usage(
            path.display().to_string(),
            "a folder with none of these",
            names.join(", "),
            "name the tokenizer file or another folder",
        ));
    }
    if !place::is_file(path)? {
        return Err(Error::usage(
            path.display().to_string(),
            "no such file or folder",
            "a vocab.txt, a tokenizer.json or a folder with one",
            "check the path given as tokenizer",
        ));
    }
    let beside = path.with_file_name("vocab.json");
    if path.file_name().is_some_and(|name| name == "merges.txt") && place::is_file(&beside)? {
        return Ok(beside);
    }
    Ok(path.to_owned())
}

fn read_text(path: &Path) -> Result<String> {
    let bytes = place::read(path)?;
    String::from_utf8(bytes).map_err(|error| {
        Error::input(
            format!(
                "{}, byte {}",
                path.display(),
                error.utf8_error().valid_up_to()
            ),
            "bytes that are no UTF-8",
            "a text file",
            "name a tokenizer file",
        )
    })
}

fn read_json(path: &Path) -> Result<Value> {
    json_of(path, &read_text(path)?)
}

fn json_of<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        let place = path.display().to_string();
        if error.is_data() {
            return broken(&place, error);
        }
        Error::input(
            place,
            error.to_string(),
            "JSON",
            "fetch the file again, or name another one",
        )
    })
}

/// A special token that is left out of texts' matching by being special.
fn special(id: u32, content: &str) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false,
           "rstrip": false, "normalized": false, "special": true})
}

/// BERT's tokenizer around a list of pieces, one a line (Devlin et al. 2019). Ids
/// are line numbers; of a piece that stands twice the later line counts, as in
/// `tokenizers`.
fn wordpiece(file: &Path, lowercase: Option<bool>, beside: &[Value]) -> Result<Parsed> {
    let text = read_text(file)?;
    let pieces: Vec<&str> = text.lines().map(str::trim_end).collect();
    let mut vocabulary = Numbered::default();
    for (id, piece) in (0..).zip(&pieces) {
        vocabulary.insert((*piece).to_owned(), id);
    }
    let id = |spelling: &str| vocabulary.id(spelling);
    let Some(unknown) = ["[UNK]", "<unk>"].into_iter().find(|s| id(s).is_some()) else {
        return Err(Error::input(
            file.display().to_string(),
            format!("{} lines, none of them [UNK]", pieces.len()),
            "a WordPiece vocabulary, one piece a line, with [UNK]",
            "name a vocab.txt, a tokenizer.json or a folder with one",
        ));
    };
    let specials: Vec<Value> = pieces
        .iter()
        .filter(|piece| roles::is_usual(piece))
        .filter_map(|piece| Some(special(id(piece)?, piece)))
        .collect();
    let lowercase = lowercase
        .or_else(|| {
            beside
                .iter()
                .find_map(|file| file["do_lower_case"].as_bool())
        })
        .unwrap_or_else(|| !pieces.iter().any(|piece| is_cased(piece)));
    let strip_accents = beside
        .iter()
        .find_map(|file| file["strip_accents"].as_bool());
    let chinese = beside
        .iter()
        .find_map(|file| file["tokenize_chinese_chars"].as_bool())
        .unwrap_or(true);
    let processor = match (id("[CLS]"), id("[SEP]")) {
        (Some(cls), Some(sep)) => json!({
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [
                {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 1}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {
                "[CLS]": {"id": "[CLS]", "ids": [cls], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [sep], "tokens": ["[SEP]"]}}}),
        _ => Value::Null,
    };
    let json = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": specials,
        "normalizer": {"type": "BertNormalizer", "clean_text": true,
            "handle_chinese_chars": chinese, "strip_accents": strip_accents,
            "lowercase": lowercase},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": processor,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": false},
        "model": {"type": "WordPiece", "unk_token": unknown,
            "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    });
    Ok(Parsed::with_pieces(json, vocabulary))
}

/// Whether a piece keeps upper case; special tokens are spelled so in any vocabulary.
fn is_cased(piece: &str) -> bool {
    let special = (piece.starts_with('[') && piece.ends_with(']'))
        || (piece.starts_with('<') && piece.ends_with('>'));
    // Upper case without a lower case (ℝ, ℂ) is in uncased vocabularies too.
    let lowers = |c: char| !c.to_lowercase().eq([c]);
    !special && piece.chars().any(lowers)
}

/// GPT-2's tokenizer around `vocab.json` and `merges.txt` (Radford et al. 2019).
fn byte_level(file: &Path, vocabulary: &Value, merges: &Path) -> Result<Parsed> {
    let Some(pieces) = numbered(vocabulary) else {
        return Err(Error::input(
            file.display().to_string(),
            "JSON that is neither a tokenizer nor a vocabulary",
            "a tokenizer.json with a model, or a vocab.json of pieces and ids",
            "name a vocab.txt, a tokenizer.json or a folder with one",
        ));
    };
    if !place::is_file(merges)? {
        return Err(Error::usage(
            merges.display().to_string(),
            "no such file",
            format!("the merges that belong to {}", file.display()),
            "put merges.txt beside vocab.json",
        ));
    }
    let path = merges;
    let merge_text = read_text(path)?;
    let mut merges = Merges::default();
    for (number, line) in (1..).zip(merge_text.lines()) {
        if line.starts_with("#version") || line.is_empty() {
            continue;
        }
        if !merges.push(line) {
            return Err(Error::input(
                format!("{}, line {number}", path.display()),
                format!("{line:?}"),
                "two pieces with a space between",
                "fetch the file again, or name another one",
            ));
        }
    }
    let mut specials: Vec<(u32, &str)> = pieces
        .iter()
        .filter(|(piece, _)| roles::is_usual(piece))
        .map(|(piece, id)| (id, piece))
        .collect();
    specials.sort_unstable();
    let specials: Vec<Value> = specials
        .into_iter()
        .map(|(id, piece)| special(id, piece))
        .collect();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false,
        "trim_offsets": true, "use_regex": true});
    let json = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": specials,
        "normalizer": null,
        "pre_tokenizer": byte_level,
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null,
            "continuing_subword_prefix": "", "end_of_word_suffix": "",
            "fuse_unk": false}
    });
    Ok(Parsed {
        merges: Some(merges),
        ..Parsed::with_pieces(json, pieces)
    })
}

/// The pieces of a `vocab.json`, one or more.
fn numbered(vocabulary: &Value) -> Option<Numbered> {
    let mut pieces = Numbered::default();
    for (piece, id) in vocabulary.as_object()? {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok())?;
        pieces.insert(piece.clone(), id);
    }
    (pieces.len() > 0).then_some(pieces)
}

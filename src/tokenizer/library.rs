//! The `tokenizers` library's own tokenizer, which is the reference of all that is done
//! faster elsewhere. It is read when something must be encoded or decoded by it; what
//! comes before the model stands ready without.
//!
//! Cost: to read it, 1 to 2 µs for each piece of the vocabulary, once.

use super::{Unencodable, broken};
use crate::base::error::Result;
use crate::base::token::TokenId;
use serde_json::{Map, Value, json};
use std::ops::Range;
use std::sync::OnceLock;
use tokenizers::models::ModelWrapper;
use tokenizers::tokenizer::{
    Model, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _,
};

/// A tokenizer of the library, by its `tokenizer.json`.
pub(super) struct Library {
    json: String,
    /// The model as it must be, where [`hide_special_pieces`] has changed it.
    hidden: Option<Value>,
    /// Added tokens, normaliser and pre-tokenizer around a model that knows nothing.
    steps: tokenizers::Tokenizer,
    /// All of it, or why it cannot be read.
    whole: OnceLock<Result<tokenizers::Tokenizer, String>>,
}

impl Library {
    /// The tokenizer of `json`, which `parsed` is but for a model whose special pieces are
    /// hidden if it `hides`. `whole` is the library's reading of it, where there is one.
    pub(super) fn new(
        place: &str,
        json: String,
        parsed: &Value,
        hides: bool,
        whole: Option<tokenizers::Tokenizer>,
    ) -> Result<Self> {
        let nothing = json!({"type": "WordLevel", "vocab": {}, "unk_token": ""});
        let parts = parsed.as_object().into_iter().flatten();
        let steps: Map<String, Value> = parts
            .map(|(name, part)| match name.as_str() {
                "model" => (name.clone(), nothing.clone()),
                _ => (name.clone(), part.clone()),
            })
            .collect();
        let steps = serde_json::from_value(steps.into());
        let mut library = Self {
            json,
            hidden: hides.then(|| parsed["model"].clone()),
            steps: steps.map_err(|error| broken(place, error))?,
            whole: OnceLock::new(),
        };
        library.steps.set_encode_special_tokens(true);
        if let Some(whole) = whole {
            let whole = library.ready(whole).map_err(|error| broken(place, error))?;
            library.whole = Ok(whole).into();
        }
        Ok(library)
    }

    /// The `tokenizer.json`.
    pub(super) fn json(&self) -> &str {
        &self.json
    }

    /// Whether all of it was read.
    pub(super) fn is_read(&self) -> bool {
        self.whole.get().is_some()
    }

    /// `whole` as it encodes here: special tokens are text, and no text spells one.
    fn ready(&self, mut whole: tokenizers::Tokenizer) -> serde_json::Result<tokenizers::Tokenizer> {
        whole.set_encode_special_tokens(true);
        if let Some(model) = &self.hidden {
            let model: ModelWrapper = serde_json::from_value(model.clone())?;
            whole.with_model(model);
        }
        Ok(whole)
    }

    fn whole(&self) -> Result<&tokenizers::Tokenizer, Unencodable> {
        let read = || {
            let whole =
                tokenizers::Tokenizer::from_bytes(&self.json).map_err(|error| error.to_string())?;
            self.ready(whole).map_err(|error| error.to_string())
        };
        let whole = self.whole.get_or_init(read).as_ref();
        whole.map_err(|error| Unencodable::Failed(error.clone()))
    }

    /// Hands the ids of every word of `text` to `each`.
    pub(super) fn encode(
        &self,
        text: &str,
        mut each: impl FnMut(&[TokenId]),
    ) -> Result<(), Unencodable> {
        let whole = self.whole()?;
        let mut pieces = cut_up(whole, text)?;
        whole
            .get_model()
            .tokenize_in_pretokenized(&mut pieces, None)
            .map_err(failed)?;
        let mut ids = Vec::new();
        for (_, _, tokens) in pieces.get_splits(OffsetReferential::Normalized, OffsetType::None) {
            if let Some(tokens) = tokens {
                ids.clear();
                ids.extend(tokens.iter().map(|token| token.id));
                each(&ids);
            }
        }
        Ok(())
    }

    /// Hands every word of `text` to `each`, as the model would get it.
    pub(super) fn cut(&self, text: &str, mut each: impl FnMut(&str)) -> Result<(), Unencodable> {
        let pieces = cut_up(&self.steps, text)?;
        for (piece, _, _) in pieces.get_splits(OffsetReferential::Normalized, OffsetType::None) {
            each(piece);
        }
        Ok(())
    }

    /// As [`cut`](Self::cut), with the place in `text`, in bytes, that each word was made of.
    pub(super) fn cut_places(
        &self,
        text: &str,
        mut each: impl FnMut(&str, Range<usize>),
    ) -> Result<(), Unencodable> {
        let pieces = cut_up(&self.steps, text)?;
        let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
        for (piece, (start, end), _) in splits {
            each(piece, start..end);
        }
        Ok(())
    }

    /// The text of `ids`, special tokens included.
    pub(super) fn decode(&self, ids: &[TokenId]) -> Result<String, Unencodable> {
        self.whole()?.decode(ids, false).map_err(failed)
    }
}

/// `text` by the steps before the model.
fn cut_up(library: &tokenizers::Tokenizer, text: &str) -> Result<PreTokenizedString, Unencodable> {
    let mut pieces = library
        .get_added_vocabulary()
        .extract_and_normalize(library.get_normalizer(), text);
    if let Some(cut) = library.get_pre_tokenizer() {
        cut.pre_tokenize(&mut pieces).map_err(failed)?;
    }
    Ok(pieces)
}

fn failed(error: tokenizers::Error) -> Unencodable {
    Unencodable::Failed(error.to_string())
}

/// Takes special spellings out of the model's reach: T5's list of pieces holds
/// `</s>` itself, so plain text could become it. The piece keeps its id and score
/// and gets a spelling with a NUL in it, which no text has. A piece that BPE merges
/// together stays, and is caught when it comes out. Whether there was one.
pub(super) fn hide_special_pieces(
    model: &mut Value,
    spellings: &[String],
    barred: &[bool],
) -> bool {
    let looks_up = matches!(model["type"].as_str(), Some("WordPiece" | "WordLevel"));
    let unknown = model["unk_id"].as_u64().map(|id| id as usize);
    let specials = (0..barred.len()).filter(|&id| barred[id]);
    let hidden = |spelling: &str| format!("\0{spelling}");
    let mut changed = false;
    match &mut model["vocab"] {
        Value::Array(pieces) => {
            for id in specials.chain(unknown) {
                if let Some(piece) = pieces
                    .get_mut(id)
                    .filter(|p| p[0] == spellings[id].as_str())
                {
                    piece[0] = hidden(&spellings[id]).into();
                    changed = true;
                }
            }
        }
        Value::Object(pieces) if looks_up => {
            for id in specials {
                if let Some(number) = pieces.remove(&spellings[id]) {
                    pieces.insert(hidden(&spellings[id]), number);
                    changed = true;
                }
            }
        }
        _ => {}
    }
    changed
}

//! The `tokenizers` library's own tokenizer, which is the reference of all that is done
//! faster elsewhere. It is read when something must be encoded or decoded by it; what
//! comes before the model stands ready without.
//!
//! Cost: to read it, 1 to 2 µs for each piece of the vocabulary, once.

use super::parsed::{Parsed, Pieces};
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
    /// What [`hide`] takes out of the model's reach.
    hidden: Vec<Hidden>,
    /// Added tokens, normaliser and pre-tokenizer around a model that knows nothing.
    steps: tokenizers::Tokenizer,
    /// All of it, or why it cannot be read.
    whole: OnceLock<Result<tokenizers::Tokenizer, String>>,
}

impl Library {
    /// The tokenizer of `json`, which `parsed` is but for the pieces that are `hidden` in it.
    /// `whole` is the library's reading of it, where there is one.
    pub(super) fn new(
        place: &str,
        json: String,
        parsed: &Parsed,
        hidden: Vec<Hidden>,
        whole: Option<tokenizers::Tokenizer>,
    ) -> Result<Self> {
        let nothing = json!({"type": "WordLevel", "vocab": {}, "unk_token": ""});
        let parts = parsed.json.as_object().into_iter().flatten();
        let steps: Map<String, Value> = parts
            .map(|(name, part)| match name.as_str() {
                "model" => (name.clone(), nothing.clone()),
                _ => (name.clone(), part.clone()),
            })
            .collect();
        let steps = serde_json::from_value(steps.into());
        let mut library = Self {
            json,
            hidden,
            steps: steps.map_err(|error| broken(place, error))?,
            whole: OnceLock::new(),
        };
        library.steps.set_encode_special_tokens(true);
        if let Some(whole) = whole {
            let whole = library.ready(whole, || Ok(parsed.whole_model()));
            let whole = whole.map_err(|error| broken(place, error))?;
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

    /// `whole` as it encodes here: special tokens are text, and no text spells one, since
    /// the `model` has them hidden.
    fn ready(
        &self,
        mut whole: tokenizers::Tokenizer,
        model: impl FnOnce() -> serde_json::Result<Value>,
    ) -> serde_json::Result<tokenizers::Tokenizer> {
        whole.set_encode_special_tokens(true);
        if !self.hidden.is_empty() {
            let model: ModelWrapper = serde_json::from_value(model()?)?;
            whole.with_model(model);
        }
        Ok(whole)
    }

    fn whole(&self) -> Result<&tokenizers::Tokenizer, Unencodable> {
        let model = || {
            let parsed = self.parsed()?;
            Ok(parsed.whole_model())
        };
        let read = || {
            let whole =
                tokenizers::Tokenizer::from_bytes(&self.json).map_err(|error| error.to_string())?;
            self.ready(whole, model).map_err(|error| error.to_string())
        };
        let whole = self.whole.get_or_init(read).as_ref();
        whole.map_err(|error| Unencodable::Failed(error.clone()))
    }

    /// The tokenizer, special pieces hidden.
    pub(super) fn parsed(&self) -> serde_json::Result<Parsed> {
        let mut parsed = Parsed::read(&self.json)?;
        hide(&mut parsed, &self.hidden);
        Ok(parsed)
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

/// A special piece and its id.
pub(super) type Hidden = (usize, String);

/// The special pieces that are to be taken out of the model's reach: T5's list of pieces
/// holds `</s>` itself, so plain text could become it. A piece that BPE merges together
/// stays, and is caught when it comes out.
pub(super) fn to_hide(parsed: &Parsed, spellings: &[String], barred: &[bool]) -> Vec<Hidden> {
    let model = parsed.model();
    let specials = (0..barred.len()).filter(|&id| barred[id]);
    let is_piece = |id: &usize| match &parsed.pieces {
        Pieces::Scores(pieces) => pieces.get(*id).is_some_and(|p| p.0 == spellings[*id]),
        Pieces::Ids(pieces) => {
            let looks_up = matches!(model["type"].as_str(), Some("WordPiece" | "WordLevel"));
            looks_up && pieces.id(&spellings[*id]).is_some()
        }
        Pieces::None => false,
    };
    let unknown = match &parsed.pieces {
        Pieces::Scores(_) => model["unk_id"].as_u64().map(|id| id as usize),
        Pieces::Ids(_) | Pieces::None => None,
    };
    let mut ids: Vec<usize> = specials.chain(unknown).filter(is_piece).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter()
        .map(|id| (id, spellings[id].clone()))
        .collect()
}

/// Gives `hidden` pieces a spelling with a NUL in it, which no text has; they keep their ids
/// and scores.
pub(super) fn hide(parsed: &mut Parsed, hidden: &[Hidden]) {
    for (id, spelling) in hidden {
        let new = format!("\0{spelling}");
        match &mut parsed.pieces {
            Pieces::Scores(pieces) => pieces[*id].0 = new,
            Pieces::Ids(pieces) => {
                pieces.rename(spelling, new);
            }
            Pieces::None => {}
        }
    }
}

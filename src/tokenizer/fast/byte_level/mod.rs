//! Byte-level BPE (GPT-2, RoBERTa, ModernBERT, dolma2): added tokens are cut out, the
//! text is normalised if asked, a regular expression cuts it into words, and the bytes
//! of each word are merged. Most words were met before and cost a look-up.
//!
//! Cost: 3 to 5 ns a byte of English, of which half is cutting; 0.5 to 1 µs for a word
//! that is new. Memory: 70 KB for the classes of characters, 32 to 64 bytes a merge, and
//! what [`Known`] says for each worker.

mod classes;
mod merges;
mod model;
mod ranges;
mod scan;
mod settings;

use super::added::{Added, Piece};
use super::known::{Known, SHORT};
use super::normal::Normal;
use super::sink::Sink;
use crate::tokenizer::{Encoded, Unencodable};
use classes::Classes;
use merges::Scratch;
use model::Model;
use scan::{Cl100k, Cuts, Gpt2, Scan};
use serde_json::Value;
use std::borrow::Cow;

/// A byte-level BPE tokenizer; shared between threads by reference.
pub(super) struct ByteLevel {
    /// Added tokens of the text as it is.
    raw: Added,
    /// Added tokens of the normalised text.
    normalized: Added,
    normal: Option<Normal>,
    /// A space goes before every stretch of text that has none.
    prefix_space: bool,
    cuts: Cuts,
    classes: Classes,
    model: Model,
}

/// What one worker keeps: [`Known`] words, and buffers of the longest word at hand.
pub(super) struct Cache {
    known: Known,
    scratch: Scratch,
    prefixed: String,
}

impl ByteLevel {
    /// The tokenizer of a `tokenizer.json`; `Err` is what of it is not done here.
    pub(super) fn of(tokenizer: &Value, barred: &[bool]) -> Result<Self, String> {
        settings::read(tokenizer, barred)
    }

    /// Nothing known yet.
    pub(super) fn cache(&self) -> Cache {
        Cache {
            known: Known::new(),
            scratch: Scratch::default(),
            prefixed: String::new(),
        }
    }

    /// Appends the tokens of `text` to `out`; on an error `out` is as before.
    pub(super) fn encode(
        &self,
        text: &str,
        cache: &mut Cache,
        out: &mut Encoded,
    ) -> Result<(), Unencodable> {
        let mut sink = Sink::new(out);
        self.raw.split(text, |piece| match piece {
            Piece::Token(id) => {
                sink.word(&[id]);
                Ok(())
            }
            Piece::Text(text) => {
                let normal = self.normal.as_ref();
                let text = normal.map_or(Cow::Borrowed(text), |normal| normal.of(text));
                self.normalized.split(&text, |piece| match piece {
                    Piece::Token(id) => {
                        sink.word(&[id]);
                        Ok(())
                    }
                    Piece::Text(text) => self.text(text, cache, &mut sink),
                })
            }
        })?;
        sink.finish();
        Ok(())
    }

    /// A stretch without added tokens.
    fn text(&self, text: &str, cache: &mut Cache, sink: &mut Sink<'_>) -> Result<(), Unencodable> {
        if self.prefix_space && !text.starts_with(' ') {
            let mut prefixed = std::mem::take(&mut cache.prefixed);
            prefixed.clear();
            prefixed.push(' ');
            prefixed.push_str(text);
            let done = self.words(&prefixed, cache, sink);
            cache.prefixed = prefixed;
            return done;
        }
        self.words(text, cache, sink)
    }

    fn words(&self, text: &str, cache: &mut Cache, sink: &mut Sink<'_>) -> Result<(), Unencodable> {
        match self.cuts {
            Cuts::Gpt2 => self.cut(&Gpt2, text, cache, sink),
            Cuts::Cl100k { digits } => self.cut(&Cl100k { digits }, text, cache, sink),
        }
    }

    #[inline]
    fn cut(
        &self,
        scan: &impl Scan,
        text: &str,
        cache: &mut Cache,
        sink: &mut Sink<'_>,
    ) -> Result<(), Unencodable> {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let window = scan::window(bytes, at);
            let (end, key) = match scan::word(scan, window) {
                Some(word) => (at + word.length, word.key),
                None => {
                    let end = scan.end(&self.classes, text, at);
                    if end - at > SHORT {
                        self.long(&bytes[at..end], cache, sink)?;
                        at = end;
                        continue;
                    }
                    (end, scan::key(window, end - at))
                }
            };
            if let Some(ids) = cache.known.short(key) {
                sink.word(ids);
            } else {
                let ids = self.model.word(&bytes[at..end], &mut cache.scratch)?;
                cache.known.learn_short(key, ids);
                sink.word(ids);
            }
            at = end;
        }
        Ok(())
    }

    #[cold]
    fn long(&self, word: &[u8], cache: &mut Cache, sink: &mut Sink<'_>) -> Result<(), Unencodable> {
        if let Some(ids) = cache.known.long(word) {
            sink.word(ids);
            return Ok(());
        }
        let ids = self.model.word(word, &mut cache.scratch)?;
        cache.known.learn_long(word, ids);
        sink.word(ids);
        cache.scratch.shrink();
        Ok(())
    }
}

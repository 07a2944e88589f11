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
use super::known::{self, Key, Known, SHORT};
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
pub(in crate::tokenizer) struct ByteLevel {
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

/// Words that are cut before they are looked up: their places in the table are fetched
/// while others are on their way.
const BATCH: usize = 64;

/// The key of a word that is too long for one; no other is like it.
const LONG: Key = [0; 2];

/// A word that was cut.
#[derive(Clone, Copy, Default)]
struct Found {
    key: Key,
    start: usize,
    end: usize,
}

/// What one worker keeps: [`Known`] words, and buffers of the longest word at hand.
pub(in crate::tokenizer) struct Cache {
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
        let mut found = [Found::default(); BATCH];
        let mut at = 0;
        while at < bytes.len() {
            let mut count = 0;
            while count < BATCH && at < bytes.len() {
                let window = known::window(bytes, at);
                let (end, key) = match scan::word(scan, window) {
                    Some(word) => (at + word.length, word.key),
                    None => {
                        let end = scan.end(&self.classes, text, at);
                        let length = end - at;
                        let short = length <= SHORT;
                        (
                            end,
                            if short {
                                known::key(window, length)
                            } else {
                                LONG
                            },
                        )
                    }
                };
                found[count] = Found {
                    key,
                    start: at,
                    end,
                };
                (at, count) = (end, count + 1);
            }
            let found = &found[..count];
            cache.known.touch(found.iter().map(|found| found.key));
            for found in found {
                if let Some(short) = cache.known.short(found.key) {
                    sink.short(short.ids, short.count as usize);
                } else {
                    self.unknown(&bytes[found.start..found.end], found.key, cache, sink)?;
                }
            }
        }
        Ok(())
    }

    /// A word that is not among the short ones that are known.
    #[cold]
    fn unknown(
        &self,
        word: &[u8],
        key: Key,
        cache: &mut Cache,
        sink: &mut Sink<'_>,
    ) -> Result<(), Unencodable> {
        let long = key == LONG;
        if (long || cache.known.is_elsewhere(key))
            && let Some(ids) = cache.known.long(word)
        {
            sink.word(ids);
            return Ok(());
        }
        let ids = self.model.word(word, &mut cache.scratch)?;
        if long {
            cache.known.learn_long(word, ids);
        } else {
            cache.known.learn_short(key, word, ids);
        }
        sink.word(ids);
        cache.scratch.shrink();
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! Byte-level BPE (GPT-2, RoBERTa, ModernBERT, dolma2): added tokens are cut out, the
//! text is normalised if asked, a regular expression cuts it into words, and the bytes
//! of each word are merged. Most words were met before and cost a look-up.
//!
//! Cost: 3 to 5 ns a byte of English, of which half is cutting; 0.5 to 1 µs for a word
//! that is new. Memory: 70 KB for the classes of characters, 32 to 64 bytes a merge, and
//! what [`Known`] says for each worker.

mod blocks;
mod classes;
mod merges;
mod model;
mod ranges;
mod scan;
mod settings;

use super::known::{self, BATCH, Found, Key, Known, WINDOW, Window};
use super::sink::Sink;
use super::stretches::Stretches;
use crate::tokenizer::parsed::Parsed;
use crate::tokenizer::{Encoded, Unencodable};
use blocks::{BLOCK, Block};
use classes::Classes;
use merges::Scratch;
use model::Model;
use scan::{Cl100k, Cuts, Gpt2, Scan};

/// A byte-level BPE tokenizer; shared between threads by reference.
pub(in crate::tokenizer) struct ByteLevel {
    stretches: Stretches,
    /// A space goes before every stretch of text that has none.
    prefix_space: bool,
    cuts: Cuts,
    classes: Classes,
    model: Model,
}

/// Bytes of a block, and of a word that starts in it.
const REACH: usize = BLOCK + WINDOW;

/// 8 MiB of short words and 1.5 MiB of others: text has many, and merging is slow.
type Words = Known<17, 13>;

/// What one worker keeps: [`Known`] words, and buffers of the longest word at hand.
pub(in crate::tokenizer) struct Cache {
    known: Words,
    scratch: Scratch,
    prefixed: String,
}

impl ByteLevel {
    /// The tokenizer of a `tokenizer.json`; `Err` is what of it is not done here.
    pub(super) fn of(tokenizer: &Parsed, barred: &[bool]) -> Result<Self, String> {
        settings::read(tokenizer, barred)
    }

    /// Nothing known yet.
    pub(super) fn cache(&self) -> Cache {
        Cache {
            known: Words::new(),
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
        self.stretches
            .encode(text, out, |stretch, sink| self.text(stretch, cache, sink))
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
        let mut found = [Found::default(); BATCH + BLOCK];
        let mut at = 0;
        while at < bytes.len() {
            let mut count = 0;
            let mut push = |start: usize, end: usize, window: Window| {
                found[count] = Found::new(window, start, end);
                count += 1;
                count < BATCH
            };
            let mut more = true;
            while more && at < bytes.len() {
                let mut within = false;
                if starts_plain(bytes, at) {
                    let mut last = [u8::MAX; REACH];
                    let reach = bytes[at..].first_chunk().unwrap_or_else(|| {
                        let rest = &bytes[at..];
                        last[..rest.len()].copy_from_slice(rest);
                        &last
                    });
                    let block = Block::of(reach.first_chunk().unwrap_or(&[0; _]));
                    let start = at;
                    (at, within) = block.words(scan, |from, to| {
                        more = push(start + from, start + to, known::window(reach, from));
                    });
                    within &= at > 0;
                    at += start;
                }
                if !within && more && at < bytes.len() {
                    let end = scan.end(&self.classes, text, at);
                    more = push(at, end, known::window(bytes, at));
                    at = end;
                }
            }
            let found = &found[..count];
            cache.known.touch(found.iter().map(|found| found.key));
            for found in found {
                if let Some(short) = cache.known.short(found.key) {
                    sink.short(short.ids, short.count as usize);
                } else {
                    self.unknown(&bytes[found.start..found.end], found.short(), cache, sink)?;
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
        key: Option<Key>,
        cache: &mut Cache,
        sink: &mut Sink<'_>,
    ) -> Result<(), Unencodable> {
        if let Some(ids) = cache.known.other(word, key) {
            sink.word(ids);
            return Ok(());
        }
        let ids = self.model.word(word, &mut cache.scratch)?;
        cache.known.learn(word, key, ids);
        sink.word(ids);
        cache.scratch.shrink();
        Ok(())
    }
}

/// Whether a block is worth a look: eight bytes of ASCII, or the text's end.
#[inline]
fn starts_plain(bytes: &[u8], at: usize) -> bool {
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    let ahead = bytes[at..].first_chunk::<8>();
    ahead.is_none_or(|ahead| u64::from_le_bytes(*ahead) & HIGHS == 0)
}

#[cfg(test)]
mod tests;

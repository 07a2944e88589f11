//! Unigram (Kudo 2018) behind whitespace and `▁`, as T5 has it: added tokens are cut
//! out, the text is normalised, and each word between whitespace becomes `▁` and the
//! word, of which the most probable pieces are found. Most words were met before and
//! cost a look-up.
//!
//! Cost: 5 ns a byte of English; a word that is new costs 20 to 40 ns a byte. Memory:
//! about 60 bytes a character of the vocabulary, and what [`Known`] says for each worker.

mod model;
mod settings;

use super::known::{self, BATCH, Found, Key, Known, SHORT};
use super::sink::Sink;
use super::stretches::Stretches;
use crate::tokenizer::parsed::Parsed;
use crate::tokenizer::{Encoded, Unencodable};
use model::{Model, Scratch};

/// A Unigram tokenizer; shared between threads by reference.
pub(in crate::tokenizer) struct Unigram {
    stretches: Stretches,
    /// What stands for a space; beyond ASCII.
    space: char,
    /// A space goes before every word that has none.
    prepend: bool,
    model: Model,
}

/// 8 MiB of short words and 1.5 MiB of others.
type Words = Known<17, 13>;

/// What one worker keeps: [`Known`] words, and buffers of the longest word at hand.
pub(in crate::tokenizer) struct Cache {
    known: Words,
    scratch: Scratch,
    spaced: String,
}

impl Unigram {
    /// The tokenizer of a `tokenizer.json`; `Err` is what of it is not done here.
    pub(super) fn of(tokenizer: &Parsed, barred: &[bool]) -> Result<Self, String> {
        settings::read(tokenizer, barred)
    }

    /// Nothing known yet.
    pub(super) fn cache(&self) -> Cache {
        Cache {
            known: Words::new(),
            scratch: Scratch::default(),
            spaced: String::new(),
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
        let bytes = text.as_bytes();
        let mut found = [Found::default(); BATCH];
        let mut at = 0;
        while at < bytes.len() {
            let mut count = 0;
            while count < BATCH && at < bytes.len() {
                if let Some(space) = space(text, at) {
                    at += space;
                    continue;
                }
                let window = known::window(bytes, at);
                let end = match at + printed(window) {
                    end if end - at <= SHORT && bytes.get(end).is_none_or(|&b| is_space(b)) => end,
                    _ => text[at..]
                        .find(char::is_whitespace)
                        .map_or(bytes.len(), |length| at + length),
                };
                found[count] = Found::new(window, at, end);
                count += 1;
                at = end;
            }
            let found = &found[..count];
            cache.known.touch(found.iter().map(|found| found.key));
            for found in found {
                match cache.known.short(found.key) {
                    Some(short) => sink.short(short.ids, short.count as usize),
                    None => {
                        let word = &text[found.start..found.end];
                        self.unknown(word, found.short(), cache, sink)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A word that is not among the short ones that are known.
    #[cold]
    fn unknown(
        &self,
        word: &str,
        key: Option<Key>,
        cache: &mut Cache,
        sink: &mut Sink<'_>,
    ) -> Result<(), Unencodable> {
        if let Some(ids) = cache.known.other(word.as_bytes(), key) {
            sink.word(ids);
            return Ok(());
        }
        let Cache {
            known,
            scratch,
            spaced,
        } = cache;
        spaced.clear();
        if self.prepend && !word.starts_with(self.space) {
            spaced.push(self.space);
        }
        spaced.push_str(word);
        let inner = spaced.char_indices().skip(1);
        let mut start = 0;
        let cuts = inner.filter(|&(_, c)| c == self.space).map(|(at, _)| at);
        for end in cuts {
            sink.word(self.model.word(&spaced[start..end], scratch)?);
            start = end;
        }
        let ids = self.model.word(&spaced[start..], scratch)?;
        sink.word(ids);
        if start == 0 {
            known.learn(word.as_bytes(), key, ids);
        }
        scratch.shrink();
        Ok(())
    }
}

/// Bytes at the beginning of `window` that are ASCII and no space or control; 16 at most.
#[inline(always)]
fn printed(window: Key) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    let stops = window.map(|word| {
        let from_mark = (word & !HIGHS) + ONES * (0x80 - b'!' as u64);
        (!from_mark | word) & HIGHS
    });
    let [low, high] = stops.map(u64::trailing_zeros);
    (if stops[0] != 0 { low / 8 } else { 8 + high / 8 }) as usize
}

/// Bytes of the whitespace at byte `at`, if that is some.
#[inline(always)]
fn space(text: &str, at: usize) -> Option<usize> {
    let byte = text.as_bytes()[at];
    if byte < 0x80 {
        return is_space(byte).then_some(1);
    }
    let c = text[at..].chars().next()?;
    c.is_whitespace().then_some(c.len_utf8())
}

/// ASCII whitespace as `char::is_whitespace` has it.
#[inline]
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests;

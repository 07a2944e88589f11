//! BERT's tokenizers: `BertNormalizer`, `BertPreTokenizer` and WordPiece, whatever their
//! settings and vocabulary, unless added tokens that are not special are to be found in
//! text. Text goes through a buffer of 4 KiB: first it is normalised and cut
//! ([`units`]), then each word is looked up ([`cache`], [`pieces`]).
//!
//! Cost: 3 ns a byte of English. Memory: about 60 bytes a piece of the vocabulary once for
//! all workers, and 2.5 MiB for each.

mod cache;
mod characters;
mod pieces;
mod units;

use crate::base::token::TokenId;
use crate::tokenizer::{Encoded, Unencodable};
use cache::{Key, Known, SHORT_BYTES, SHORT_TOKENS, Short};
use characters::{Characters, Rules};
use pieces::Pieces;
use serde_json::Value;
use units::{Units, View};

/// A BERT tokenizer, ready to encode.
pub(in crate::tokenizer) struct WordPiece {
    characters: Characters,
    pieces: Pieces,
    barred: Vec<bool>,
}

/// What one worker keeps.
pub(in crate::tokenizer) struct Cache {
    units: Units,
    known: Known,
}

impl WordPiece {
    /// See [`super::Fast::of`].
    pub(super) fn of(tokenizer: &Value, barred: &[bool]) -> Result<Self, String> {
        Ok(Self {
            characters: Characters::new(rules(tokenizer)?),
            pieces: Pieces::of(&tokenizer["model"])?,
            barred: barred.to_vec(),
        })
    }

    /// See [`super::Fast::cache`].
    pub(super) fn cache(&self) -> Cache {
        Cache {
            units: Units::new(),
            known: Known::new(),
        }
    }

    /// See [`super::Fast::encode`].
    pub(super) fn encode(
        &self,
        text: &str,
        cache: &mut Cache,
        out: &mut Encoded,
    ) -> Result<(), Unencodable> {
        let before = out.tokens.len();
        let Cache { units, known } = cache;
        let mut tokens = Tokens::new(out);
        let done = units.cut(&self.characters, text, |view| {
            self.words(view, known, &mut tokens)
        });
        tokens.flush();
        if done.is_err() {
            out.tokens.truncate(before);
            out.word_start.truncate(before);
        }
        done
    }

    /// Looks the words of a stretch up.
    fn words(
        &self,
        view: View<'_>,
        known: &mut Known,
        tokens: &mut Tokens<'_>,
    ) -> Result<(), Unencodable> {
        // Keys are filled up with NUL, so words that may hold one have none.
        let most = if view.nul { 0 } else { SHORT_BYTES };
        for index in 0..view.blocks() {
            let (mut starts, block) = view.block(index);
            while starts != 0 {
                let bit = starts.trailing_zeros() as usize % 64;
                starts &= starts - 1;
                let len = block.length(bit);
                let mut seen = Seen::Long;
                if len <= most {
                    let key = cache::key(block.head(bit), len);
                    match known.short(key) {
                        Some(word) if word.count > 0 => {
                            tokens.push(word);
                            continue;
                        }
                        Some(_) => seen = Seen::Many,
                        None => seen = Seen::Never(key),
                    }
                }
                self.other(view.word(index, bit), seen, known, tokens)?;
            }
        }
        Ok(())
    }

    /// Looks a word up that is not among the short ones with few tokens, and remembers
    /// it.
    #[inline(never)]
    fn other(
        &self,
        word: &[u8],
        seen: Seen,
        known: &mut Known,
        tokens: &mut Tokens<'_>,
    ) -> Result<(), Unencodable> {
        if !matches!(seen, Seen::Never(_))
            && let Some(ids) = known.long(word)
        {
            tokens.extend(ids);
            return Ok(());
        }
        known.tokens.clear();
        self.pieces.split(word, &mut known.heads, &mut known.tokens);
        for &id in &known.tokens {
            if self.barred.get(id as usize) != Some(&false) {
                // How it is spelled, the tokenizer knows.
                let spelling = String::new();
                return Err(Unencodable::SpecialToken { id, spelling });
            }
        }
        tokens.extend(&known.tokens);
        known.keep(
            word,
            match seen {
                Seen::Never(key) => Some(key),
                _ => None,
            },
        );
        Ok(())
    }
}

/// What the cache of short words says of a word.
#[derive(Clone, Copy)]
enum Seen {
    /// It is too long to be in it.
    Long,
    /// It has more tokens than there is room for.
    Many,
    /// It is not there.
    Never(Key),
}

/// The normaliser's settings; `Err` if it or the rest is not BERT's.
fn rules(tokenizer: &Value) -> Result<Rules, String> {
    let kind = |part: &str| {
        tokenizer[part]["type"]
            .as_str()
            .unwrap_or("none")
            .to_owned()
    };
    if kind("pre_tokenizer") != "BertPreTokenizer" {
        return Err(format!("pre-tokenizer {}", kind("pre_tokenizer")));
    }
    let added = tokenizer["added_tokens"].as_array();
    if let Some(token) = added
        .into_iter()
        .flatten()
        .find(|token| token["special"] != true)
    {
        return Err(format!(
            "added token {} that is not special",
            token["content"]
        ));
    }
    let normalizer = &tokenizer["normalizer"];
    if normalizer.is_null() {
        return Ok(Rules {
            clean_text: false,
            handle_chinese_chars: false,
            strip_accents: false,
            lowercase: false,
        });
    }
    if kind("normalizer") != "BertNormalizer" {
        return Err(format!("normalizer {}", kind("normalizer")));
    }
    let setting = |key: &str| {
        let value = normalizer[key].as_bool();
        value.ok_or(format!("normalizer without {key}"))
    };
    let lowercase = setting("lowercase")?;
    Ok(Rules {
        clean_text: setting("clean_text")?,
        handle_chinese_chars: setting("handle_chinese_chars")?,
        strip_accents: normalizer["strip_accents"].as_bool().unwrap_or(lowercase),
        lowercase,
    })
}

/// Tokens that are handed on together.
const BATCH: usize = 64;

/// Tokens on their way out, up to 64 of them and a bit for each.
struct Tokens<'a> {
    out: &'a mut Encoded,
    /// With room for one word more.
    ids: [TokenId; BATCH + SHORT_TOKENS],
    starts: u64,
    len: usize,
}

impl<'a> Tokens<'a> {
    fn new(out: &'a mut Encoded) -> Self {
        Self {
            out,
            ids: [0; BATCH + SHORT_TOKENS],
            starts: 0,
            len: 0,
        }
    }

    /// Appends the tokens of a word, writing three whatever their number.
    #[inline]
    fn push(&mut self, word: &Short) {
        let at = self.len % BATCH;
        self.ids[at..at + SHORT_TOKENS].copy_from_slice(&word.ids);
        self.starts |= 1 << at;
        self.len = at + word.count as usize;
        if self.len > BATCH - SHORT_TOKENS {
            self.flush();
        }
    }

    /// Appends the tokens of a word.
    fn extend(&mut self, ids: &[TokenId]) {
        if self.len + ids.len() > BATCH - SHORT_TOKENS {
            self.flush();
        }
        if ids.len() <= BATCH - SHORT_TOKENS {
            self.ids[self.len..self.len + ids.len()].copy_from_slice(ids);
            self.starts |= 1 << self.len;
            self.len += ids.len();
            return;
        }
        self.out.tokens.extend_from_slice(ids);
        self.out.word_start.push(true);
        self.out.word_start.extend_filled(ids.len() - 1, false);
    }

    fn flush(&mut self) {
        if self.len > 0 {
            self.out.tokens.extend_from_slice(&self.ids[..self.len]);
            self.out.word_start.push_word(self.starts, self.len);
            self.starts = 0;
            self.len = 0;
        }
    }
}

#[cfg(test)]
mod tests;

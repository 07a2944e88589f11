//! BERT's tokenizers: `BertNormalizer`, `BertPreTokenizer` and WordPiece, whatever their
//! settings and vocabulary, unless added tokens that are not special are to be found in
//! text. Text goes through a buffer of 4 KiB: first it is normalised and cut
//! ([`units`]), then each word is looked up ([`Known`], [`pieces`]).
//!
//! Cost: 3 ns a byte of English. Memory: about 60 bytes a piece of the vocabulary once for
//! all workers, and 2.8 MiB for each.

mod characters;
mod pieces;
mod units;

use crate::base::token::TokenId;
use crate::tokenizer::fast::known::{self, Key, Known, SHORT};
use crate::tokenizer::fast::sink::Sink;
use crate::tokenizer::parsed::Parsed;
use crate::tokenizer::{Encoded, Unencodable};
use characters::{Characters, Rules};
use pieces::{Heads, Pieces};
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
    words: Words,
}

/// Words met before, and what others are split with. Splitting is fast: a table that stays
/// in the processor's cache is better than one that holds more words.
struct Words {
    known: Known<15, 12>,
    heads: Heads,
    tokens: Vec<TokenId>,
}

impl WordPiece {
    /// See [`super::Fast::of`].
    pub(super) fn of(tokenizer: &Parsed, barred: &[bool]) -> Result<Self, String> {
        Ok(Self {
            characters: Characters::new(rules(&tokenizer.json)?),
            pieces: Pieces::of(tokenizer)?,
            barred: barred.to_vec(),
        })
    }

    /// See [`super::Fast::cache`].
    pub(super) fn cache(&self) -> Cache {
        Cache {
            units: Units::new(),
            words: Words {
                known: Known::new(),
                heads: Heads::new(),
                tokens: Vec::new(),
            },
        }
    }

    /// See [`super::Fast::encode`].
    pub(super) fn encode(
        &self,
        text: &str,
        cache: &mut Cache,
        out: &mut Encoded,
    ) -> Result<(), Unencodable> {
        let Cache { units, words } = cache;
        let mut sink = Sink::new(out);
        units.cut(&self.characters, text, |view| {
            self.words(view, words, &mut sink)
        })?;
        sink.finish();
        Ok(())
    }

    /// Looks the words of a stretch up.
    fn words(
        &self,
        view: View<'_>,
        words: &mut Words,
        sink: &mut Sink<'_>,
    ) -> Result<(), Unencodable> {
        for index in 0..view.blocks() {
            let (mut starts, block) = view.block(index);
            while starts != 0 {
                let bit = starts.trailing_zeros() as usize % 64;
                starts &= starts - 1;
                let length = block.length(bit);
                let mut key = None;
                if length <= SHORT {
                    let short = known::key(block.head(bit), length);
                    if let Some(word) = words.known.short(short) {
                        sink.short(word.ids, word.count as usize);
                        continue;
                    }
                    key = Some(short);
                }
                self.other(view.word(index, bit), key, words, sink)?;
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
        key: Option<Key>,
        words: &mut Words,
        sink: &mut Sink<'_>,
    ) -> Result<(), Unencodable> {
        if let Some(ids) = words.known.other(word, key) {
            sink.word(ids);
            return Ok(());
        }
        let Words {
            known,
            heads,
            tokens,
        } = words;
        tokens.clear();
        self.pieces.split(word, heads, tokens);
        for &id in tokens.iter() {
            if self.barred.get(id as usize) != Some(&false) {
                // How it is spelled, the tokenizer knows.
                let spelling = String::new();
                return Err(Unencodable::SpecialToken { id, spelling });
            }
        }
        sink.word(tokens);
        known.learn(word, key, tokens);
        Ok(())
    }
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

#[cfg(test)]
mod tests;

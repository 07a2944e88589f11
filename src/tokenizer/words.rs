//! The text of words, for counting and look-up (spec 7): pieces joined, markers
//! off, NFKC, lower-cased unless cased. The text of every token alone is made
//! once, so that a word of one token costs a look-up and a longer one is joined in
//! a buffer that is used again.
//!
//! Memory: about 40 bytes a vocabulary entry and its text twice.

use super::{Tokenizer, markers::visible};
use crate::base::boundaries::BoundarySlice;
use crate::base::token::{TokenId, TokenSlice};
use crate::config::{Unit, Unknown, WordRules};
use std::ops::Range;
use unicode_normalization::UnicodeNormalization;

/// What a word is to an n-gram. Texts hold no whitespace and are never empty, so
/// that words joined by one space come apart again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordKind<'a> {
    /// A word with a text.
    Text(&'a str),
    /// A word without a letter or digit; one of whitespace alone shows it as `Ċ`,
    /// `Ġ` and their like.
    Punctuation(&'a str),
    /// A word with the unknown token in it, under `unknown = barrier`; under
    /// `unknown = word` its text is the spelling of the unknown token.
    Unknown,
}

/// One word of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word<'a> {
    /// Its tokens, as positions in the document.
    pub tokens: Range<usize>,
    /// Its text, if it has one.
    pub kind: WordKind<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Punctuation,
    Unknown,
}

/// What is known of one vocabulary entry.
#[derive(Debug, Clone)]
struct Entry {
    /// Place of its bytes without markers in `pieces`.
    piece: Range<u32>,
    /// Place of its text as a word of its own in `texts`.
    text: Range<u32>,
    kind: Kind,
}

/// Texts of all tokens of a vocabulary under one set of rules.
#[derive(Debug, Clone)]
pub struct WordTexts {
    rules: WordRules,
    unk: Option<TokenId>,
    entries: Vec<Entry>,
    pieces: Vec<u8>,
    texts: String,
}

impl WordTexts {
    /// Makes the table; a few milliseconds for 50 000 entries.
    pub fn new(tokenizer: &Tokenizer, rules: WordRules) -> Self {
        let mut table = Self {
            rules,
            unk: tokenizer.special().unk,
            entries: Vec::with_capacity(tokenizer.vocabulary_size()),
            pieces: Vec::new(),
            texts: String::new(),
        };
        let mut scratch = Scratch::default();
        for id in 0..tokenizer.vocabulary_size() as TokenId {
            let spelling = tokenizer.spelling(id);
            let piece = table.pieces.len();
            tokenizer.markers.strip(spelling, &mut table.pieces);
            let text = table.texts.len();
            let mut kind = scratch.finish(&table.pieces[piece..], rules.cased);
            if table.unk == Some(id) {
                kind = match rules.unknown {
                    Unknown::Barrier => Kind::Unknown,
                    Unknown::Word => Kind::Text,
                };
                table.texts.push_str(spelling);
            } else if rules.unit == Unit::Token {
                table.texts.extend(spelling.chars().map(visible));
            } else {
                table.texts.push_str(&scratch.text);
            }
            table.entries.push(Entry {
                piece: piece as u32..table.pieces.len() as u32,
                text: text as u32..table.texts.len() as u32,
                kind,
            });
        }
        table
    }

    /// The rules that the texts follow.
    pub fn rules(&self) -> WordRules {
        self.rules
    }

    /// Number of vocabulary entries.
    pub fn vocabulary_size(&self) -> usize {
        self.entries.len()
    }

    /// The word that token `id` makes alone.
    #[inline]
    pub fn of_token(&self, id: TokenId) -> WordKind<'_> {
        let Some(entry) = self.entries.get(id as usize) else {
            return WordKind::Unknown;
        };
        entry.kind.with(&self.texts[to_usize(&entry.text)])
    }

    /// The words of a document in order: together they cover all its tokens. Under
    /// `unit = token` every token is one.
    pub fn words<'a>(&'a self, tokens: TokenSlice<'a>, word_start: BoundarySlice<'a>) -> Words<'a> {
        assert_eq!(tokens.len(), word_start.len(), "one bit per token");
        Words {
            texts: self,
            tokens,
            word_start,
            next: 0,
            scratch: Scratch::default(),
        }
    }
}

/// Walks over the words of one document; a word's text lives until the next call.
pub struct Words<'a> {
    texts: &'a WordTexts,
    tokens: TokenSlice<'a>,
    word_start: BoundarySlice<'a>,
    next: usize,
    scratch: Scratch,
}

impl Words<'_> {
    /// The next word, `None` at the end of the document.
    #[inline]
    pub fn next_word(&mut self) -> Option<Word<'_>> {
        let start = self.next;
        if start >= self.tokens.len() {
            return None;
        }
        let mut end = start + 1;
        if self.texts.rules.unit == Unit::Word {
            while end < self.tokens.len() && !self.word_start.get(end) {
                end += 1;
            }
        }
        self.next = end;
        let kind = if end - start == 1 {
            self.texts.of_token(self.tokens.get(start))
        } else {
            self.join(start..end)
        };
        Some(Word {
            tokens: start..end,
            kind,
        })
    }

    /// The word that the tokens `range` make together.
    pub fn join(&mut self, range: Range<usize>) -> WordKind<'_> {
        let texts = self.texts;
        self.scratch.joined.clear();
        for index in range {
            let id = self.tokens.get(index);
            if texts.unk == Some(id) {
                return texts.of_token(id);
            }
            let Some(entry) = texts.entries.get(id as usize) else {
                return WordKind::Unknown;
            };
            self.scratch
                .joined
                .extend_from_slice(&texts.pieces[to_usize(&entry.piece)]);
        }
        let joined = std::mem::take(&mut self.scratch.joined);
        let kind = self.scratch.finish(&joined, texts.rules.cased);
        self.scratch.joined = joined;
        kind.with(&self.scratch.text)
    }
}

impl Kind {
    fn with(self, text: &str) -> WordKind<'_> {
        match self {
            Self::Text => WordKind::Text(text),
            Self::Punctuation => WordKind::Punctuation(text),
            Self::Unknown => WordKind::Unknown,
        }
    }
}

/// Buffers of the word being made.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    joined: Vec<u8>,
    text: String,
}

impl Scratch {
    /// The word that `piece`, bytes without markers, makes.
    pub(super) fn word(&mut self, piece: &[u8], cased: bool) -> WordKind<'_> {
        self.finish(piece, cased).with(&self.text)
    }

    /// From a word's bytes without markers to its text, in `self.text`.
    fn finish(&mut self, piece: &[u8], cased: bool) -> Kind {
        self.text.clear();
        let alphanumeric;
        if let Ok(ascii) = std::str::from_utf8(piece)
            && piece.is_ascii()
        {
            alphanumeric = piece.iter().any(u8::is_ascii_alphanumeric);
            if piece.iter().copied().any(is_space) {
                self.text
                    .extend(ascii.chars().filter(|c| !c.is_whitespace()));
            } else {
                self.text.push_str(ascii);
            }
            if !cased {
                self.text.make_ascii_lowercase();
            }
        } else {
            let folded = normalized(&String::from_utf8_lossy(piece), cased);
            alphanumeric = folded.chars().any(char::is_alphanumeric);
            self.text = folded;
        }
        if self.text.is_empty() {
            let spaces = String::from_utf8_lossy(piece);
            self.text.extend(spaces.chars().map(visible));
        }
        if alphanumeric {
            Kind::Text
        } else {
            Kind::Punctuation
        }
    }
}

/// A word's text as it is counted: NFKC, lower-cased unless `cased`, whitespace
/// that NFKC brings in taken out. Imported n-gram lists go through it word by word.
pub fn normalized(word: &str, cased: bool) -> String {
    let mut text: String = word.nfkc().filter(|c| !c.is_whitespace()).collect();
    if !cased {
        text = text.to_lowercase();
    }
    text
}

/// The words of an n-gram that somebody wrote, parted by whitespace, as counting under
/// `rules` has them.
pub fn of_ngram(ngram: &str, rules: WordRules) -> Vec<String> {
    let words = ngram.split_whitespace().map(|word| match rules.unit {
        Unit::Word => normalized(word, rules.cased),
        Unit::Token => word.to_owned(),
    });
    words.collect()
}

/// ASCII whitespace as `char::is_whitespace` sees it.
fn is_space(byte: u8) -> bool {
    byte == b' ' || (b'\t'..=b'\r').contains(&byte)
}

fn to_usize(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

//! From a document's tokens to the numbers of its words, as counting and
//! segmentation see them (spec 7). The number of a word of one token is looked up
//! once per vocabulary entry, not once per occurrence; that of a longer word is
//! joined and looked up each time.

use crate::base::boundaries::BoundarySlice;
use crate::base::token::{TokenId, TokenSlice};
use crate::config::{Punctuation, WordRules};
use crate::statistics::dictionary::{MAX_WORDS, WordId, WordSet};
use crate::tokenizer::{WordCutter, WordKind, WordTexts};
use std::ops::Range;

/// Stands for a word that no n-gram crosses.
pub const BARRIER: WordId = u32::MAX;
/// Stands for a word that n-grams go across as if it were not there.
pub const SKIPPED: WordId = u32::MAX - 1;
const _: () = assert!(MAX_WORDS < SKIPPED as usize);

/// One document, as token files or raw text have it.
#[derive(Debug, Clone, Copy)]
pub enum Document<'a> {
    /// Tokens, and where words start.
    Tokens(TokenSlice<'a>, BoundarySlice<'a>),
    /// Text that is still to be cut into words.
    Text(&'a str),
}

/// What makes words of documents.
#[derive(Clone, Copy)]
pub enum WordSource<'a> {
    /// Texts of tokens; for token files.
    Tokens(&'a WordTexts),
    /// Cuts raw text, under these rules.
    Text(&'a WordCutter, WordRules),
}

impl<'a> WordSource<'a> {
    /// The rules of what a word is.
    pub fn rules(&self) -> WordRules {
        match self {
            Self::Tokens(texts) => texts.rules(),
            Self::Text(_, rules) => *rules,
        }
    }

    /// Number of tokens whose texts are known beforehand.
    pub fn vocabulary_size(&self) -> usize {
        match self {
            Self::Tokens(texts) => texts.vocabulary_size(),
            Self::Text(..) => 0,
        }
    }

    /// The word that a token makes alone.
    pub fn of_token(&self, id: TokenId) -> WordKind<'a> {
        match self {
            Self::Tokens(texts) => texts.of_token(id),
            Self::Text(..) => WordKind::Unknown,
        }
    }
}

/// What a word is to an n-gram, the rules applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted<'a> {
    /// A word with this text.
    Word(&'a str),
    /// No n-gram crosses it.
    Barrier,
    /// It is left out, and n-grams go across it.
    Skipped,
}

/// Applies the rule for punctuation to a word.
#[inline]
pub fn counted(kind: WordKind<'_>, punctuation: Punctuation) -> Counted<'_> {
    match (kind, punctuation) {
        (WordKind::Text(text), _) => Counted::Word(text),
        (WordKind::Punctuation(text), Punctuation::Word) => Counted::Word(text),
        (WordKind::Punctuation(_), Punctuation::Skip) => Counted::Skipped,
        (WordKind::Punctuation(_), Punctuation::Barrier) | (WordKind::Unknown, _) => {
            Counted::Barrier
        }
    }
}

/// The numbers of words in running text: [`WordId`]s of a [`WordSet`], or
/// [`BARRIER`] or [`SKIPPED`]. A word that is not in the set is a barrier.
#[derive(Debug, Clone)]
pub struct WordCodes {
    /// By token id: the code of the word that it makes alone.
    alone: Vec<WordId>,
}

impl WordCodes {
    /// Numbers by `words` under the rules of `texts`; a few milliseconds for 50 000
    /// tokens.
    pub fn new(texts: &WordTexts, words: &WordSet) -> Self {
        Self {
            alone: codes_alone(WordSource::Tokens(texts), words),
        }
    }

    /// Hands the code and the tokens of every word of a document to `each`; `texts`
    /// and `words` are those that this was made with.
    #[inline]
    pub fn each(
        &self,
        (texts, words): (&WordTexts, &WordSet),
        tokens: TokenSlice<'_>,
        word_start: BoundarySlice<'_>,
        mut each: impl FnMut(WordId, Range<usize>),
    ) {
        let mut walk = texts.words(tokens, word_start);
        while let Some(word) = walk.next_word() {
            let alone = if word.tokens.len() == 1 {
                self.alone.get(tokens.get(word.tokens.start) as usize)
            } else {
                None
            };
            let code = match alone {
                Some(&code) => code,
                None => code(texts, words, word.kind),
            };
            each(code, word.tokens);
        }
    }
}

/// The codes of words alone, by token, under the rules of `source`.
pub fn codes_alone(source: WordSource<'_>, words: &WordSet) -> Vec<WordId> {
    let punctuation = source.rules().punctuation;
    (0..source.vocabulary_size() as TokenId)
        .map(|id| code_of(words, counted(source.of_token(id), punctuation)))
        .collect()
}

/// The code of a word.
#[inline]
pub fn code_of(words: &WordSet, word: Counted<'_>) -> WordId {
    match word {
        Counted::Word(text) => words.find(text).unwrap_or(BARRIER),
        Counted::Barrier => BARRIER,
        Counted::Skipped => SKIPPED,
    }
}

fn code(texts: &WordTexts, words: &WordSet, kind: WordKind<'_>) -> WordId {
    code_of(words, counted(kind, texts.rules().punctuation))
}

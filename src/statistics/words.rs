//! From a document's tokens to the numbers of its words, as counting and
//! segmentation see them (spec 7). The number of a word of one token is looked up
//! once per vocabulary entry, not once per occurrence; that of a longer word is
//! joined and looked up each time.

use crate::base::boundaries::BoundarySlice;
use crate::base::token::{TokenId, TokenSlice};
use crate::config::{Punctuation, Unit, WordRules};
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
    rules: WordRules,
}

/// Codes of words of several tokens that were met, for one thread: a word that is met
/// again is not joined and looked up again. 128 KiB, and never more.
#[derive(Debug)]
pub struct JoinedCodes {
    slots: Vec<([TokenId; JOINED], WordId)>,
}

/// The longest word, in tokens, whose code is kept; hardly any is longer.
const JOINED: usize = 4;

const JOINED_BITS: u32 = 12;

impl JoinedCodes {
    /// None met yet.
    pub fn new() -> Self {
        Self {
            // No word is four times this token: such words are found anew.
            slots: vec![([TokenId::MAX; JOINED], BARRIER); 1 << JOINED_BITS],
        }
    }

    /// The code of the word of `tokens`, as `code` has it.
    #[inline]
    fn code(&mut self, tokens: TokenSlice<'_>, code: impl FnOnce() -> WordId) -> WordId {
        let mut key = [TokenId::MAX; JOINED];
        if tokens.len() > JOINED {
            return code();
        }
        for (place, slot) in key.iter_mut().enumerate().take(tokens.len()) {
            *slot = tokens.get(place);
        }
        let hash = key.iter().fold(0u64, |hash, &id| {
            (hash ^ u64::from(id))
                .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                .rotate_left(23)
        });
        let slot = &mut self.slots
            [(hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - JOINED_BITS)) as usize];
        if slot.0 != key {
            *slot = (key, code());
        }
        slot.1
    }
}

impl Default for JoinedCodes {
    fn default() -> Self {
        Self::new()
    }
}

impl WordCodes {
    /// Numbers by `words` under the rules of `texts`; a few milliseconds for 50 000
    /// tokens.
    pub fn new(texts: &WordTexts, words: &WordSet) -> Self {
        Self {
            alone: codes_alone(WordSource::Tokens(texts), words),
            rules: texts.rules(),
        }
    }

    /// Hands the code and the tokens of every word of a document to `each`; `texts`
    /// and `words` are those that this was made with, and `joined` was never used with
    /// others.
    #[inline]
    pub fn each(
        &self,
        (texts, words): (&WordTexts, &WordSet),
        tokens: TokenSlice<'_>,
        word_start: BoundarySlice<'_>,
        joined: &mut JoinedCodes,
        mut each: impl FnMut(WordId, Range<usize>),
    ) {
        assert_eq!(tokens.len(), word_start.len(), "one bit per token");
        let alone = |place: usize| {
            let code = self.alone.get(tokens.get(place) as usize);
            code.copied().unwrap_or(BARRIER)
        };
        if self.rules.unit == Unit::Token {
            (0..tokens.len()).for_each(|place| each(alone(place), place..place + 1));
            return;
        }
        let mut walk = texts.words(tokens, word_start);
        for range in word_start.runs() {
            let code = match range.len() {
                1 => alone(range.start),
                _ => joined.code(tokens.slice(range.clone()), || {
                    code_of(
                        words,
                        counted(walk.join(range.clone()), self.rules.punctuation),
                    )
                }),
            };
            each(code, range);
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

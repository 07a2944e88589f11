//! From a document's tokens to the numbers of its words, as counting and
//! segmentation see them (spec 7). The number of a word of one token is looked up
//! once per vocabulary entry, not once per occurrence; that of a longer word is
//! joined and looked up each time.

use crate::base::boundaries::BoundarySlice;
use crate::base::token::{TokenId, TokenSlice};
use crate::config::{Punctuation, Unit, WordRules};
use crate::statistics::dictionary::{MAX_WORDS, WordId, WordSet};
use crate::tokenizer::{WordCutter, WordKind, WordTexts};

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
/// again is not joined and looked up again. 128 KiB, and 4 bytes for each such word of the
/// document at hand.
#[derive(Debug)]
pub struct JoinedCodes {
    slots: Vec<([TokenId; JOINED], WordId)>,
    /// A buffer: which words of a document have several tokens.
    words: Vec<u32>,
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
            words: Vec::new(),
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

    /// Replaces `codes` by those of the words of a document, and `starts` by the first
    /// token of each; words that are left out are in neither. `texts` and `words` are those
    /// that this was made with, and `joined` was never used with others.
    pub fn of_document(
        &self,
        (texts, words): (&WordTexts, &WordSet),
        tokens: TokenSlice<'_>,
        word_start: BoundarySlice<'_>,
        joined: &mut JoinedCodes,
        codes: &mut Vec<WordId>,
        starts: &mut Vec<u32>,
    ) {
        assert_eq!(tokens.len(), word_start.len(), "one bit per token");
        // Room for a word a token; what is beyond the words goes away below.
        codes.resize(tokens.len(), BARRIER);
        starts.resize(tokens.len(), 0);
        let mut several = std::mem::take(&mut joined.words);
        several.clear();
        let found = match tokens {
            TokenSlice::Narrow(ids) => self.alone(ids, word_start, codes, starts, &mut several),
            TokenSlice::Wide(ids) => self.alone(ids, word_start, codes, starts, &mut several),
        };
        codes.truncate(found);
        starts.truncate(found);
        let mut walk = texts.words(tokens, word_start);
        for &word in &several {
            let word = word as usize;
            let end = starts.get(word + 1);
            let range = starts[word] as usize..end.map_or(tokens.len(), |&end| end as usize);
            codes[word] = joined.code(tokens.slice(range.clone()), || {
                code_of(words, counted(walk.join(range), self.rules.punctuation))
            });
        }
        joined.words = several;
        if self.rules.punctuation == Punctuation::Skip {
            let mut kept = 0;
            for word in 0..found {
                (codes[kept], starts[kept]) = (codes[word], starts[word]);
                kept += usize::from(codes[kept] != SKIPPED);
            }
            codes.truncate(kept);
            starts.truncate(kept);
        }
    }

    /// Puts the first token of each word and the code that it has alone to `starts` and
    /// `codes`, appends which words have more tokens to `several`, and returns the number
    /// of words. 64 tokens are looked at together.
    fn alone<T: Copy + Into<TokenId>>(
        &self,
        ids: &[T],
        word_start: BoundarySlice<'_>,
        codes: &mut [WordId],
        starts: &mut [u32],
        several: &mut Vec<u32>,
    ) -> usize {
        let mut found = 0;
        for (block, ids) in ids.chunks(64).enumerate() {
            let all = u64::MAX >> (64 - ids.len());
            let mut bits = match self.rules.unit {
                Unit::Token => all,
                Unit::Word => word_start.word(block),
            };
            if block == 0 {
                // The first token starts a word, whatever its bit says.
                bits |= 1;
            }
            // By token: whether the next one starts a word, or there is none.
            let next = match self.rules.unit {
                Unit::Token => 1,
                Unit::Word if 64 * (block + 1) < word_start.len() => {
                    u64::from(word_start.get(64 * (block + 1)))
                }
                Unit::Word => 1,
            };
            let ends = bits >> 1 | next << (ids.len() - 1);
            let mut more = bits & !ends;
            while more != 0 {
                let below = bits & ((more & more.wrapping_neg()) - 1);
                several.push((found + below.count_ones() as usize) as u32);
                more &= more - 1;
            }
            while bits != 0 {
                let token = bits.trailing_zeros() as usize;
                let id: TokenId = ids[token].into();
                starts[found] = (64 * block + token) as u32;
                codes[found] = self.alone.get(id as usize).copied().unwrap_or(BARRIER);
                found += 1;
                bits &= bits - 1;
            }
        }
        found
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

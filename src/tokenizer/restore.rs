//! Word starts of ids that came without their text.
//!
//! Three rules, by what the tokenizer lets one know:
//! * WordPiece behind BERT's pre-tokenizer shows in a token's spelling whether a word
//!   starts there (`##` goes on with one): that is exact, and a look into a table.
//! * Else the ids are spelled out as text, the text is tokenised, and where the ids agree
//!   its word starts are theirs. Costs as much as tokenising.
//! * Where they do not agree (an unknown token, text that was cut inside a character,
//!   merges drawn at random), a token opens a word by its spelling: behind a space, or
//!   where letters, digits and other characters meet. Those tokens are counted.

use super::markers::WordMarks;
use super::{Encoded, Encoder, Tokenizer};
use crate::base::boundaries::Boundaries;
use crate::base::token::TokenId;
use std::borrow::Borrow;
use std::ops::Range;

/// Behind a difference, ids have to agree this often in a row to be taken as the same
/// place of the text.
const AGREE: usize = 3;

/// How far behind a difference the same place is looked for, in tokens.
const REACH: usize = 32;

/// Tokens that are spelled out and tokenised at once: where the library does it, it takes
/// about 128 bytes for each byte of them, 40 MB of English.
const PIECE: usize = 1 << 16;

/// What a spelling says about the word that it belongs to.
#[derive(Debug, Clone, Copy, Default)]
struct Spelled {
    /// What it begins with.
    first: Class,
    /// What it ends with.
    last: Class,
    /// It goes on with the word before (`##`).
    goes_on: bool,
    /// It ends its word (`</w>`).
    ends: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Class {
    /// Nothing, or bytes that are no character by themselves.
    #[default]
    None,
    /// Goes with the word behind it.
    Space,
    /// Any other whitespace.
    Line,
    Letter,
    Digit,
    Other,
}

impl Class {
    fn of(c: Option<char>) -> Self {
        match c {
            None | Some('\u{FFFD}') => Self::None,
            Some(' ') => Self::Space,
            Some(c) if c.is_whitespace() => Self::Line,
            Some(c) if c.is_alphabetic() => Self::Letter,
            Some(c) if c.is_numeric() => Self::Digit,
            Some(_) => Self::Other,
        }
    }
}

/// Finds word starts; one for each thread. `T` is a reference to the tokenizer, counted or
/// not.
pub struct WordRestorer<T> {
    /// Where spellings do not tell.
    encoder: Option<Encoder<T>>,
    marks: WordMarks,
    spelled: Vec<Spelled>,
    /// Text of each token, with the spaces that it brings along.
    text: Vec<Vec<u8>>,
    bytes: Vec<u8>,
    spelling: Vec<bool>,
    encoded: Encoded,
}

impl<T: Borrow<Tokenizer>> WordRestorer<T> {
    /// Reads the spellings of the vocabulary: some milliseconds, about 60 bytes an entry.
    pub fn new(tokenizer: T) -> Self {
        let known = tokenizer.borrow();
        let markers = &known.markers;
        let mut text = Vec::with_capacity(known.spellings.len());
        let mut spelled = Vec::with_capacity(known.spellings.len());
        for spelling in &known.spellings {
            let mut bytes = Vec::new();
            markers.surface(spelling, &mut bytes);
            let shown = String::from_utf8_lossy(&bytes);
            spelled.push(Spelled {
                first: Class::of(shown.chars().next()),
                last: Class::of(shown.chars().next_back()),
                goes_on: markers.goes_on(spelling),
                ends: markers.ends_word(spelling),
            });
            text.push(bytes);
        }
        Self {
            marks: markers.word_marks(),
            encoder: (!spelling_is_exact(known)).then(|| Encoder::new(tokenizer)),
            spelled,
            text,
            bytes: Vec::new(),
            spelling: Vec::new(),
            encoded: Encoded::default(),
        }
    }

    /// Appends one bit for each of `ids`, the tokens of one document without special
    /// ones: a word starts here. Returns how many of them go by their spelling where
    /// that is not exact. Ids are below the size of the vocabulary.
    pub fn restore(&mut self, ids: &[TokenId], word_start: &mut Boundaries) -> u64 {
        self.spell(ids);
        let mut by_spelling = 0;
        let mut begin = 0;
        while begin < ids.len() && self.encoder.is_some() {
            let end = self.piece(ids, begin);
            by_spelling += (end - begin) as u64 - self.agree(ids, begin..end);
            begin = end;
        }
        // A document begins with a word, whatever its first ids are.
        if let Some(first) = self.spelling.first_mut() {
            *first = true;
        }
        for &starts in &self.spelling {
            word_start.push(starts);
        }
        by_spelling
    }

    /// Where the piece that begins at `begin` ends: before a space, so that its text is
    /// cut into the same words with and without what follows.
    fn piece(&self, ids: &[TokenId], begin: usize) -> usize {
        if ids.len() - begin <= PIECE {
            return ids.len();
        }
        let opens = |&at: &usize| {
            let spelled = self.spelled.get(ids[at] as usize);
            spelled.is_some_and(|spelled| spelled.first == Class::Space)
        };
        let end = begin + PIECE;
        (begin + PIECE / 2..end).rev().find(opens).unwrap_or(end)
    }

    /// Bytes of text that a token brings along.
    pub fn text_bytes(&self, id: TokenId) -> u64 {
        self.text.get(id as usize).map_or(0, Vec::len) as u64
    }

    /// Word starts by spelling.
    fn spell(&mut self, ids: &[TokenId]) {
        self.spelling.clear();
        let mut before: Option<Spelled> = None;
        for &id in ids {
            let here = self.spelled.get(id as usize).copied().unwrap_or_default();
            let starts = before.is_none_or(|before| match self.marks {
                WordMarks::Prefix => !here.goes_on,
                WordMarks::Suffix => before.ends,
                WordMarks::Space => here.first == Class::Space,
                WordMarks::Bytes => {
                    let known = ![here.first, before.last].contains(&Class::None)
                        && before.last != Class::Space;
                    here.first == Class::Space || (known && here.first != before.last)
                }
            });
            self.spelling.push(starts);
            before = Some(here);
        }
    }

    /// Puts the word starts of the text that the ids spell in place of those by spelling,
    /// where tokenising that text gives the same ids; how many those are.
    fn agree(&mut self, ids: &[TokenId], piece: Range<usize>) -> u64 {
        let ids = &ids[piece.clone()];
        let spelling = &mut self.spelling[piece];
        self.bytes.clear();
        for &id in ids {
            if let Some(text) = self.text.get(id as usize) {
                self.bytes.extend_from_slice(text);
            }
        }
        let text = String::from_utf8_lossy(&self.bytes);
        // Vocabularies that mark spaces put one in front of a text by themselves.
        let text = match self.marks {
            WordMarks::Space => text.strip_prefix(' ').unwrap_or(&text),
            _ => &text,
        };
        self.encoded.tokens.clear();
        self.encoded.word_start.clear();
        let encoded = (self.encoder.as_mut()).map(|to| to.encode(text, &mut self.encoded));
        if !matches!(encoded, Some(Ok(()))) {
            return 0;
        }
        let found = &self.encoded.tokens;
        let words = self.encoded.word_start.as_slice();
        let (mut agreed, mut i, mut j) = (0, 0, 0);
        while i < ids.len() && j < found.len() {
            if ids[i] == found[j] {
                spelling[i] = words.get(j);
                agreed += 1;
                i += 1;
                j += 1;
            } else if let Some((a, b)) = same_place(&ids[i..], &found[j..]) {
                i += a;
                j += b;
            } else {
                break;
            }
        }
        agreed
    }
}

/// Whether a tokenizer's spellings alone tell where words start.
pub fn spelling_is_exact(tokenizer: &Tokenizer) -> bool {
    tokenizer.markers.word_marks() == WordMarks::Prefix && tokenizer.cuts_at_whitespace()
}

/// How many tokens of `a` and of `b` lie before the next place where they agree again;
/// the nearest such place, by the tokens of both.
fn same_place(a: &[TokenId], b: &[TokenId]) -> Option<(usize, usize)> {
    (1..=2 * REACH).find_map(|both| {
        (both.saturating_sub(REACH)..=both.min(REACH)).find_map(|i| {
            let j = both - i;
            let (left, right) = (a.get(i..)?, b.get(j..)?);
            let length = AGREE.min(left.len()).min(right.len());
            let same = length > 0 && left[..length] == right[..length];
            // Nearer the end there is less to agree, but then both have to end.
            let enough = length == AGREE || left.len() == right.len();
            (same && enough).then_some((i, j))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TokenizeConfig;
    use proptest::prelude::*;
    use std::path::Path;

    fn tokenizer(name: &str) -> Tokenizer {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tokenizers");
        let config = TokenizeConfig {
            tokenizer: folder.join(name),
            ..TokenizeConfig::default()
        };
        Tokenizer::load(&config).unwrap()
    }

    fn encoded(tokenizer: &Tokenizer, text: &str) -> Encoded {
        let mut out = Encoded::default();
        tokenizer.encode(text, &mut out).unwrap();
        out
    }

    const ALL: [&str; 5] = [
        "bert-base-uncased",
        "wordpiece-cased",
        "byte-level-bpe",
        "unigram",
        "gpt2-style",
    ];
    const TEXT: &str = "The sea, it's 1851: Ahab\u{2019}s (white) whale sank 3 ships off Nantucket! \
                        And then\u{2014}nothing; caf\u{e9}s, na\u{ef}ve.";

    #[test]
    fn words_come_back_as_they_were() {
        for name in ALL {
            let tokenizer = tokenizer(name);
            let mut restorer = WordRestorer::new(&tokenizer);
            let expected = encoded(&tokenizer, TEXT);
            let mut found = Boundaries::new();
            let by_spelling = restorer.restore(&expected.tokens, &mut found);
            assert_eq!(found, expected.word_start, "{name}");
            assert_eq!(by_spelling, 0, "{name}");
        }
    }

    #[test]
    fn a_document_of_several_pieces_has_the_same_words() {
        for name in ["byte-level-bpe", "unigram"] {
            let tokenizer = tokenizer(name);
            let expected = encoded(&tokenizer, &format!("{TEXT} ").repeat(4000));
            assert!(expected.tokens.len() > 2 * PIECE);
            let mut found = Boundaries::new();
            let by_spelling = WordRestorer::new(&tokenizer).restore(&expected.tokens, &mut found);
            assert_eq!(by_spelling, 0, "{name}");
            assert_eq!(found, expected.word_start, "{name}");
        }
    }

    #[test]
    fn what_no_text_gives_goes_by_spelling_and_is_counted_and_the_rest_does_not() {
        let tokenizer = tokenizer("gpt2-style");
        let mut restorer = WordRestorer::new(&tokenizer);
        let expected = encoded(&tokenizer, TEXT);
        let mut ids = expected.tokens.clone();
        // One byte of a character that the text before and behind do not have.
        let broken = (0..tokenizer.vocabulary_size() as TokenId)
            .find(|&id| tokenizer.surface(id) == "\u{FFFD}")
            .unwrap();
        ids.insert(ids.len() / 2, broken);
        let mut found = Boundaries::new();
        let by_spelling = restorer.restore(&ids, &mut found);
        assert!((1..=6).contains(&by_spelling), "{by_spelling}");
        let kept = ids.len() / 2 - 4;
        for at in (0..kept).chain(ids.len() / 2 + 5..ids.len()) {
            let before = if at < ids.len() / 2 { at } else { at - 1 };
            assert_eq!(
                found.as_slice().get(at),
                expected.word_start.as_slice().get(before)
            );
        }
    }

    #[test]
    fn by_spelling_a_word_opens_behind_a_space_and_where_kinds_of_characters_meet() {
        let tokenizer = tokenizer("gpt2-style");
        let mut restorer = WordRestorer::new(&tokenizer);
        for text in ["the sea", "sea,sea", "in 1851", "1851)"] {
            let expected = encoded(&tokenizer, text);
            restorer.spell(&expected.tokens);
            let words: Vec<bool> = expected.word_start.as_slice().iter().collect();
            assert_eq!(restorer.spelling, words, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_text_of_a_byte_level_vocabulary_comes_back_whole(text in "\\PC{1,60}") {
            let tokenizer = tokenizer("byte-level-bpe");
            let expected = encoded(&tokenizer, &text);
            let mut found = Boundaries::new();
            let by_spelling = WordRestorer::new(&tokenizer).restore(&expected.tokens, &mut found);
            prop_assert_eq!(found, expected.word_start);
            prop_assert_eq!(by_spelling, 0);
        }

        #[test]
        fn any_ids_have_word_starts(ids in prop::collection::vec(0u32..500, 0..80)) {
            for name in ["gpt2-style", "unigram", "wordpiece-cased"] {
                let tokenizer = tokenizer(name);
                let size = tokenizer.vocabulary_size() as u32;
                let ids: Vec<u32> = ids.iter().map(|id| id % size).collect();
                let mut found = Boundaries::new();
                WordRestorer::new(&tokenizer).restore(&ids, &mut found);
                prop_assert_eq!(found.len(), ids.len());
                prop_assert!(ids.is_empty() || found.as_slice().get(0));
            }
        }
    }
}

//! Words straight from text, for counting without token files: cut by a tokenizer's
//! normaliser and pre-tokenizer, or, without any tokenizer, at the word boundaries of
//! Unicode (UAX #29). Texts of words follow the same rules as those of tokens.
//!
//! Cost: by Unicode, and by BERT's rules, 8 ns a word of ASCII (`ascii.rs`);
//! by another tokenizer, and where a character beyond ASCII has a say, what the rules
//! of all characters cost: 0.2 µs a word by Unicode, 1.3 µs by a tokenizer, but BERT's
//! are asked once for each stretch of text between whitespace. Memory: one word; with a
//! tokenizer about 128 bytes for each byte that it is handed at once
//! ([`WordCutter::at_once`]), and [`KNOWN_BYTES`] for each stretch that a thread
//! remembers.

use super::ascii::{AsciiRules, Piece, unicode_word};
use super::short::Short;
use super::words::{Scratch, WordKind};
use super::{Tokenizer, Unencodable};
use hashbrown::HashMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use unicode_segmentation::UnicodeSegmentation;

/// Cuts text into words.
pub struct WordCutter {
    tokenizer: Option<Tokenizer>,
    cased: bool,
    /// What the rules come to within ASCII, where that is known.
    ascii: Option<AsciiRules>,
    /// What is known of stretches between whitespace, where the tokenizer cuts each by
    /// itself; one for each thread at work.
    known: Mutex<Vec<Known>>,
    /// Stretches that a thread remembers, at most.
    most_known: usize,
}

/// A word of raw text.
#[derive(Debug, Clone, Copy)]
pub enum CutWord<'a> {
    /// One of up to 15 bytes with a letter or digit.
    Short(Short),
    /// One of up to 15 bytes without.
    ShortPunctuation(Short),
    /// Any word, these included.
    Other(WordKind<'a>),
}

/// Stretches of text that were cut before, and their words.
type Known = HashMap<Box<str>, Vec<Box<[u8]>>>;

/// Stretches that a thread remembers, at most: the first to come, which frequent ones
/// are.
pub const MOST_KNOWN: usize = 1 << 17;

/// Bytes of memory that a remembered stretch takes, about.
pub const KNOWN_BYTES: usize = 192;

/// Stretches are shorter than this, or measured.
const STRETCH: usize = 512;

/// A longer stretch is hardly met again.
const LONGEST_KNOWN: usize = 40;

impl WordCutter {
    /// At Unicode's word boundaries; whitespace is no word.
    pub fn unicode(cased: bool) -> Self {
        Self {
            tokenizer: None,
            cased,
            ascii: Some(AsciiRules {
                unicode: true,
                lowercase: !cased,
            }),
            known: Mutex::default(),
            most_known: 0,
        }
    }

    /// As `tokenizer` does before its model; `None` where it makes a whole text one
    /// word, as Llama's does.
    pub fn of(tokenizer: Tokenizer, cased: bool) -> Option<Self> {
        tokenizer.cuts_words().then(|| Self {
            ascii: tokenizer.case_apart().map(|lowercase| AsciiRules {
                unicode: false,
                lowercase: lowercase || !cased,
            }),
            tokenizer: Some(tokenizer),
            cased,
            known: Mutex::default(),
            most_known: MOST_KNOWN,
        })
    }

    /// Lets each thread remember up to `most` stretches.
    pub fn remember(&mut self, most: usize) {
        self.most_known = most;
    }

    /// Names the rule: the version of Unicode, or the tokenizer's fingerprint.
    pub fn name(&self) -> String {
        match &self.tokenizer {
            Some(tokenizer) => format!("text cut by {}", tokenizer.fingerprint()),
            None => {
                let (major, minor, patch) = unicode_segmentation::UNICODE_VERSION;
                format!("text cut by Unicode {major}.{minor}.{patch}")
            }
        }
    }

    /// The tokenizer that cuts, if one does.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer.as_ref()
    }

    /// Bytes of `text` that the tokenizer is handed at once, at most: the longest stretch
    /// between whitespace where it cuts each by itself.
    pub fn at_once(&self, text: &str) -> usize {
        match &self.tokenizer {
            None => 0,
            Some(tokenizer) if tokenizer.cuts_at_whitespace() => {
                // Nearly always settled by a look at every 256th byte and a few behind it.
                let mut pieces = text.as_bytes().chunks(STRETCH / 2);
                if pieces.all(|piece| piece.iter().any(is_kept_space)) {
                    return STRETCH;
                }
                stretches(text).map(str::len).max().unwrap_or(0)
            }
            Some(_) => text.len(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands every word of `text` to `each`, in order.
    pub fn each(&self, text: &str, mut each: impl FnMut(CutWord<'_>)) -> Result<(), Unencodable> {
        let mut scratch = Scratch::default();
        let cased = self.cased;
        let mut piece = |piece: Piece<'_>| match piece {
            Piece::Short(text, true) => each(CutWord::Short(text)),
            Piece::Short(text, false) => each(CutWord::ShortPunctuation(text)),
            Piece::Written(word) => each(CutWord::Other(scratch.word(word, cased))),
        };
        let Some(rules) = self.ascii else {
            return self
                .tokenizer
                .iter()
                .try_for_each(|tokenizer| tokenizer.cut(text, |word| piece(Piece::Written(word))));
        };
        let Some(tokenizer) = &self.tokenizer else {
            return rules.cut(text, &mut piece, |rest, piece| Ok(unicode(rest, piece)));
        };
        let mut known = self.known().pop().unwrap_or_default();
        let done = rules.cut(text, &mut piece, |rest, piece| {
            let remembered = (&mut known, self.most_known);
            bert(tokenizer, rest, remembered, piece)
        });
        self.known().push(known);
        done
    }
}

impl WordCutter {
    /// Hands every word of `text` to `each` with its place there, in bytes: the words of
    /// [`each`](Self::each), by the rules of all characters.
    pub fn places(
        &self,
        text: &str,
        mut each: impl FnMut(WordKind<'_>, Range<usize>),
    ) -> Result<(), Unencodable> {
        let mut scratch = Scratch::default();
        if let Some(tokenizer) = &self.tokenizer {
            return tokenizer.cut_places(text, |word, place| {
                each(scratch.word(word, self.cased), place);
            });
        }
        let mut from = 0;
        for stretch in text.split_inclusive(|c: char| c.is_ascii_whitespace()) {
            let piece = stretch.trim_end_matches(|c: char| c.is_ascii_whitespace());
            for (at, word) in piece.split_word_bound_indices() {
                if !word.chars().all(char::is_whitespace) {
                    let start = from + at;
                    let kind = scratch.word(word.as_bytes(), self.cased);
                    each(kind, start..start + word.len());
                }
            }
            from += stretch.len();
        }
        Ok(())
    }
}

/// Cuts up to ASCII whitespace, which no word reaches across; returns how far that is.
fn unicode(rest: &str, each: &mut impl FnMut(Piece<'_>)) -> usize {
    let Some(piece) = rest.split_ascii_whitespace().next() else {
        return rest.len();
    };
    if piece.is_ascii() {
        let mut left = piece.as_bytes();
        while !left.is_empty() {
            let (word, behind) = left.split_at(unicode_word(left, 1));
            each(Piece::Written(word));
            left = behind;
        }
        return piece.len();
    }
    for word in piece.split_word_bounds() {
        if !word.chars().all(char::is_whitespace) {
            each(Piece::Written(word.as_bytes()));
        }
    }
    piece.len()
}

/// Cuts up to whitespace that BERT's normaliser keeps, and nothing that was cut before;
/// remembers up to `most`. Returns how far that is.
fn bert(
    tokenizer: &Tokenizer,
    rest: &str,
    (known, most): (&mut Known, usize),
    each: &mut impl FnMut(Piece<'_>),
) -> Result<usize, Unencodable> {
    let stretch = stretches(rest).next().unwrap_or(rest);
    let mut hand = |word: &[u8]| each(Piece::Written(word));
    if let Some(words) = known.get(stretch) {
        words.iter().for_each(|word| hand(word));
    } else if stretch.len() > LONGEST_KNOWN || known.len() >= most {
        tokenizer.cut(stretch, hand)?;
    } else {
        let mut words: Vec<Box<[u8]>> = Vec::new();
        tokenizer.cut(stretch, |word| words.push(word.into()))?;
        words.iter().for_each(|word| hand(word));
        known.insert(stretch.into(), words);
    }
    Ok(stretch.len())
}

/// Whitespace that BERT's normaliser keeps; other control characters it drops.
fn is_kept_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Text between the whitespace that BERT's normaliser keeps.
fn stretches(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t', '\n', '\r'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::token::SpecialTokens;
    use proptest::prelude::*;

    fn cut(text: &str, cased: bool) -> Vec<String> {
        words_of(&WordCutter::unicode(cased), text)
    }

    fn words_of(cutter: &WordCutter, text: &str) -> Vec<String> {
        let mut words = Vec::new();
        let short = |short: Short| {
            let (bytes, len) = Short::bytes(short.key());
            String::from_utf8(bytes[..len].to_vec()).unwrap()
        };
        cutter
            .each(text, |word| {
                words.push(match word {
                    CutWord::Short(text) => short(text),
                    CutWord::ShortPunctuation(text) => format!("<{}>", short(text)),
                    CutWord::Other(kind) => shown(kind),
                });
            })
            .unwrap();
        words
    }

    fn shown(kind: WordKind<'_>) -> String {
        match kind {
            WordKind::Text(text) => text.to_owned(),
            WordKind::Punctuation(text) => format!("<{text}>"),
            WordKind::Unknown => "?".into(),
        }
    }

    #[test]
    fn words_and_punctuation_come_apart() {
        assert_eq!(
            cut("Don't pay $3.50, Zoë\u{a0}said:\t東京!", false),
            [
                "don't", "pay", "<$>", "3.50", "<,>", "zoë", "said", "<:>", "東", "京", "<!>"
            ]
        );
        assert_eq!(cut("ＡＢＣ New", true), ["ABC", "New"]);
        assert_eq!(cut(" \n ", false), [""; 0]);
    }

    fn bert(normalizer: &str) -> Tokenizer {
        let normalizer: serde_json::Value = serde_json::from_str(normalizer).unwrap();
        let json = serde_json::json!({
            "version": "1.0",
            "added_tokens": [],
            "normalizer": normalizer,
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "model": {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"},
        });
        let special = SpecialTokens {
            unk: Some(0),
            reserved: vec![0],
            ..SpecialTokens::default()
        };
        Tokenizer::from_json("test", &json.to_string(), special).unwrap()
    }

    const NORMALIZERS: [&str; 4] = [
        "null",
        r#"{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true}"#,
        r#"{"type": "BertNormalizer", "clean_text": false, "handle_chinese_chars": false,
            "strip_accents": true, "lowercase": false}"#,
        r#"{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": false, "lowercase": false}"#,
    ];

    #[test]
    fn what_the_tokenizer_is_handed_at_once_is_never_more_than_said() {
        let cutter = WordCutter::of(bert("null"), false).unwrap();
        let short = "word ".repeat(1000);
        assert!((5..600).contains(&cutter.at_once(&short)));
        let long = format!("{short}{}\n{short}", "é".repeat(1000));
        assert_eq!(cutter.at_once(&long), 2000);
        assert_eq!(WordCutter::unicode(false).at_once(&long), 0);
    }

    proptest! {
        #[test]
        fn stretches_cut_one_by_one_are_the_whole(
            text in "[aBc_1 \t\n\r\u{b}\u{c}\u{0}\u{1c}\u{7f}.,'`{é\u{301}\u{338}\u{200d}東\u{a0}\u{2028}ΣσİﬁＡ]{0,60}|[a-zA-Z0-9 .,é]{0,80}",
            normalizer in 0..NORMALIZERS.len(),
            cased in any::<bool>(),
        ) {
            let tokenizer = bert(NORMALIZERS[normalizer]);
            let mut whole: Vec<String> = Vec::new();
            let mut scratch = Scratch::default();
            tokenizer.cut(&text, |word| whole.push(shown(scratch.word(word, cased)))).unwrap();
            let cutter = WordCutter::of(tokenizer, cased).unwrap();
            prop_assert!(cutter.ascii.is_some());
            // Cut, and remembered.
            for _ in 0..2 {
                prop_assert_eq!(words_of(&cutter, &text), whole.clone());
            }
        }

        #[test]
        fn whitespace_first_is_unicode_all_along(text in "[ab1_ \n.,:'é\u{308}\u{200d}東👍🇩🇪\u{a0}]{0,40}|[A-Za-z0-9_ .,;:'\"\u{1}é\u{ad}א]{0,60}") {
            let mut scratch = Scratch::default();
            let whole: Vec<String> = text
                .split_word_bounds()
                // A mark behind a space belongs to the space, and is no word with it.
                .map(|word| word.trim_matches(|c: char| c.is_ascii_whitespace()))
                .filter(|word| !word.chars().all(char::is_whitespace))
                .map(|word| shown(scratch.word(word.as_bytes(), false)))
                .collect();
            prop_assert_eq!(cut(&text, false), whole);
        }

        #[test]
        fn words_with_their_places_are_the_words(text in "[ab1_ \n.,:'é\u{308}東👍\u{a0}]{0,40}|[A-Za-z0-9_ .,;:'\"é]{0,60}") {
            for cutter in [WordCutter::unicode(false), WordCutter::of(bert(NORMALIZERS[0]), false).unwrap()] {
                let mut words = Vec::new();
                let mut end = 0;
                let mut each = |word: WordKind<'_>, place: Range<usize>| {
                    assert!(end <= place.start && place.start < place.end, "{place:?}");
                    end = place.end;
                    words.push(shown(word));
                };
                cutter.places(&text, &mut each).unwrap();
                prop_assert_eq!(words, words_of(&cutter, &text));
            }
        }
    }
}

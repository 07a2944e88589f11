//! Words straight from text, for counting without token files: cut by a tokenizer's
//! normaliser and pre-tokenizer, or, without any tokenizer, at the word boundaries of
//! Unicode (UAX #29). Texts of words follow the same rules as those of tokens.
//!
//! Cost: by Unicode about 20 ns a word of English; by a tokenizer what its normaliser
//! and pre-tokenizer cost, 1.3 µs, but BERT's are asked once for each stretch of text
//! between whitespace. Memory: one word; with a tokenizer about 128
//! bytes for each byte that it is handed at once ([`WordCutter::at_once`]), and
//! [`KNOWN_BYTES`] for each stretch that a thread remembers.

use super::words::{Scratch, WordKind};
use super::{Tokenizer, Unencodable};
use hashbrown::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use unicode_segmentation::UnicodeSegmentation;

/// Cuts text into words.
pub struct WordCutter {
    tokenizer: Option<Tokenizer>,
    cased: bool,
    /// What is known of stretches between whitespace, where the tokenizer cuts each by
    /// itself; one for each thread at work.
    known: Mutex<Vec<Known>>,
    /// Stretches that a thread remembers, at most.
    most_known: usize,
}

/// Stretches of text that were cut before, and their words.
type Known = HashMap<Box<str>, Vec<Box<[u8]>>>;

/// Stretches that a thread remembers, at most: the first to come, which frequent ones
/// are.
pub const MOST_KNOWN: usize = 1 << 17;

/// Bytes of memory that a remembered stretch takes, about.
pub const KNOWN_BYTES: usize = 192;

/// A longer stretch is hardly met again.
const LONGEST_KNOWN: usize = 40;

impl WordCutter {
    /// At Unicode's word boundaries; whitespace is no word.
    pub fn unicode(cased: bool) -> Self {
        Self {
            tokenizer: None,
            cased,
            known: Mutex::default(),
            most_known: 0,
        }
    }

    /// As `tokenizer` does before its model; `None` where it makes a whole text one
    /// word, as Llama's does.
    pub fn of(tokenizer: Tokenizer, cased: bool) -> Option<Self> {
        tokenizer.cuts_words().then_some(Self {
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

    /// Bytes of `text` that the tokenizer is handed at once: the longest stretch between
    /// whitespace where it cuts each by itself.
    pub fn at_once(&self, text: &str) -> usize {
        match &self.tokenizer {
            None => 0,
            Some(tokenizer) if tokenizer.cuts_at_whitespace() => {
                stretches(text).map(str::len).max().unwrap_or(0)
            }
            Some(_) => text.len(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands every word of `text` to `each`, in order.
    pub fn each(&self, text: &str, mut each: impl FnMut(WordKind<'_>)) -> Result<(), Unencodable> {
        let mut scratch = Scratch::default();
        if let Some(tokenizer) = &self.tokenizer {
            let word = |piece: &[u8]| each(scratch.word(piece, self.cased));
            if !tokenizer.cuts_at_whitespace() {
                return tokenizer.cut(text, word);
            }
            let mut known = self.known().pop().unwrap_or_default();
            let done = cut_apart(tokenizer, text, (&mut known, self.most_known), word);
            self.known().push(known);
            return done;
        }
        // No word reaches across ASCII whitespace, and most pieces between are ASCII.
        for piece in text.split_ascii_whitespace() {
            if piece.is_ascii() {
                let mut rest = piece.as_bytes();
                while !rest.is_empty() {
                    let (word, behind) = rest.split_at(ascii_word(rest));
                    each(scratch.word(word, self.cased));
                    rest = behind;
                }
                continue;
            }
            for word in piece.split_word_bounds() {
                if !word.chars().all(char::is_whitespace) {
                    each(scratch.word(word.as_bytes(), self.cased));
                }
            }
        }
        Ok(())
    }
}

/// Text between the whitespace that BERT's normaliser keeps; other control characters
/// it drops.
fn stretches(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t', '\n', '\r'])
}

/// Cuts every stretch between whitespace by itself, and one that was met before not
/// again; remembers up to `most`.
fn cut_apart(
    tokenizer: &Tokenizer,
    text: &str,
    (known, most): (&mut Known, usize),
    mut each: impl FnMut(&[u8]),
) -> Result<(), Unencodable> {
    for stretch in stretches(text) {
        if let Some(words) = known.get(stretch) {
            words.iter().for_each(|word| each(word));
        } else if stretch.len() > LONGEST_KNOWN || known.len() >= most {
            tokenizer.cut(stretch, &mut each)?;
        } else {
            let mut words: Vec<Box<[u8]>> = Vec::new();
            tokenizer.cut(stretch, |word| words.push(word.into()))?;
            words.iter().for_each(|word| each(word));
            known.insert(stretch.into(), words);
        }
    }
    Ok(())
}

/// Length of the word that ASCII text without whitespace begins with: what the rules of
/// UAX #29 come to there. Letters, digits and `_` stay together, across `'`, `.` and `:`
/// between letters, and across `'`, `.`, `,` and `;` between digits.
#[inline]
fn ascii_word(text: &[u8]) -> usize {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !text.first().is_some_and(|&byte| inside(byte)) {
        return text.len().min(1);
    }
    let mut end = 1;
    while let Some(&byte) = text.get(end) {
        let joins = || match (text[end - 1], byte, text.get(end + 1)) {
            (before, b'\'' | b'.' | b':', Some(behind))
                if before.is_ascii_alphabetic() && behind.is_ascii_alphabetic() =>
            {
                true
            }
            (before, b'\'' | b'.' | b',' | b';', Some(behind)) => {
                before.is_ascii_digit() && behind.is_ascii_digit()
            }
            _ => false,
        };
        if !inside(byte) && !joins() {
            break;
        }
        end += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::token::SpecialTokens;
    use proptest::prelude::*;

    fn cut(text: &str, cased: bool) -> Vec<String> {
        let mut words = Vec::new();
        WordCutter::unicode(cased)
            .each(text, |word| match word {
                WordKind::Text(text) => words.push(text.to_owned()),
                WordKind::Punctuation(text) => words.push(format!("<{text}>")),
                WordKind::Unknown => words.push("?".into()),
            })
            .unwrap();
        words
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

    fn bert() -> Tokenizer {
        let json = serde_json::json!({
            "version": "1.0",
            "added_tokens": [],
            "normalizer": {
                "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                "strip_accents": null, "lowercase": true,
            },
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

    proptest! {
        #[test]
        fn stretches_cut_one_by_one_are_the_whole(
            text in "[ab \t\n\r\u{b}\u{c}\u{0}\u{1c}.,é\u{301}\u{200d}東\u{a0}\u{2028}ΣσİﬁＡ]{0,60}",
        ) {
            let tokenizer = bert();
            prop_assert!(tokenizer.cuts_at_whitespace());
            let mut whole: Vec<Vec<u8>> = Vec::new();
            tokenizer.cut(&text, |word| whole.push(word.to_vec())).unwrap();
            let mut known = Known::default();
            // Cut, and remembered.
            for _ in 0..2 {
                let mut apart: Vec<Vec<u8>> = Vec::new();
                cut_apart(&tokenizer, &text, (&mut known, 10), |word| apart.push(word.to_vec())).unwrap();
                prop_assert_eq!(&apart, &whole);
            }
        }

        #[test]
        fn ascii_is_cut_as_unicode_has_it(text in "[!-~]{1,12}|[ab1_.,:;'/-]{1,16}") {
            let mut words = Vec::new();
            let mut rest = &text[..];
            while !rest.is_empty() {
                let (word, behind) = rest.split_at(ascii_word(rest.as_bytes()));
                words.push(word);
                rest = behind;
            }
            prop_assert_eq!(words, text.split_word_bounds().collect::<Vec<_>>());
        }

        #[test]
        fn whitespace_first_is_unicode_all_along(text in "[ab1_ \n.,:'é\u{308}\u{200d}東👍🇩🇪\u{a0}]{0,40}") {
            let mut scratch = Scratch::default();
            let whole: Vec<String> = text
                .split_word_bounds()
                // A mark behind a space belongs to the space, and is no word with it.
                .map(|word| word.trim_matches(|c: char| c.is_ascii_whitespace()))
                .filter(|word| !word.chars().all(char::is_whitespace))
                .map(|word| match scratch.word(word.as_bytes(), false) {
                    WordKind::Punctuation(text) => format!("<{text}>"),
                    WordKind::Text(text) => text.to_owned(),
                    WordKind::Unknown => "?".into(),
                })
                .collect();
            prop_assert_eq!(cut(&text, false), whole);
        }
    }
}

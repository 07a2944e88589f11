//! Words straight from text, for counting without token files: cut by a tokenizer's
//! normaliser and pre-tokenizer, or, without any tokenizer, at the word boundaries of
//! Unicode (UAX #29). Texts of words follow the same rules as those of tokens.
//!
//! Cost: by Unicode about 15 ns a word of English; by a tokenizer what its normaliser
//! and pre-tokenizer cost, 0.6 µs. Memory: one word; with a tokenizer about 128
//! bytes for each byte of the document at hand.

use super::words::{Scratch, WordKind};
use super::{Tokenizer, Unencodable};
use unicode_segmentation::UnicodeSegmentation;

/// Cuts text into words.
pub struct WordCutter {
    tokenizer: Option<Tokenizer>,
    cased: bool,
}

impl WordCutter {
    /// At Unicode's word boundaries; whitespace is no word.
    pub fn unicode(cased: bool) -> Self {
        Self {
            tokenizer: None,
            cased,
        }
    }

    /// As `tokenizer` does before its model; `None` where it makes a whole text one
    /// word, as Llama's does.
    pub fn of(tokenizer: Tokenizer, cased: bool) -> Option<Self> {
        tokenizer.cuts_words().then_some(Self {
            tokenizer: Some(tokenizer),
            cased,
        })
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

    /// Whether a tokenizer cuts.
    pub fn has_tokenizer(&self) -> bool {
        self.tokenizer.is_some()
    }

    /// Hands every word of `text` to `each`, in order.
    pub fn each(&self, text: &str, mut each: impl FnMut(WordKind<'_>)) -> Result<(), Unencodable> {
        let mut scratch = Scratch::default();
        if let Some(tokenizer) = &self.tokenizer {
            return tokenizer.cut(text, |piece| {
                each(scratch.word(piece, self.cased));
            });
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

    proptest! {
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

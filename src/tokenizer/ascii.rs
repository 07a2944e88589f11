//! Cuts the ASCII stretches of a text into words, eight bytes at a time: by UAX #29,
//! or as BERT's normaliser and pre-tokenizer do. Whatever another character has a say
//! in is left to who knows it.
//!
//! Cost: about 8 ns a word of English. Memory: none.

use super::short::{SHORTEST_LONG, Short};

/// How ASCII is cut and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AsciiRules {
    /// By Unicode: `_` is inside of words, and some punctuation between letters or
    /// digits. Otherwise by BERT: words are letters and digits.
    pub unicode: bool,
    /// Capital letters become small ones.
    pub lowercase: bool,
}

/// A word that was cut.
#[derive(Debug, Clone, Copy)]
pub(super) enum Piece<'a> {
    /// One of up to 15 bytes of ASCII, and whether it has a letter or digit.
    Short(Short, bool),
    /// Any word.
    Written(&'a [u8]),
}

/// One bit for each of eight bytes: the highest of it.
const HIGH: u64 = 0x8080_8080_8080_8080;
const EACH: u64 = 0x0101_0101_0101_0101;

/// Bytes of `x` from `first` to `last`, both ASCII; those that are not ASCII count by
/// their lower bits.
#[inline]
const fn within(x: u64, first: u8, last: u8) -> u64 {
    let low = x & !HIGH;
    let from = low + (0x80 - first as u64) * EACH;
    let behind = low + (0x7f - last as u64) * EACH;
    from & !behind & HIGH
}

/// Letters and digits among eight bytes, and letters.
#[inline]
const fn classes(x: u64) -> (u64, u64) {
    let letters = within(x | (0x20 * EACH), b'a', b'z') & !x;
    let digits = within(x, b'0', b'9') & !x;
    (letters | digits, letters)
}

/// Eight bytes from `at` on; zeros behind the end.
#[inline]
fn load(text: &[u8], at: usize) -> u64 {
    let rest = text.get(at..).unwrap_or_default();
    match rest.first_chunk::<8>() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => rest
            .iter()
            .rev()
            .fold(0, |eight, &byte| (eight << 8) | u64::from(byte)),
    }
}

/// Up to eight bytes of a word.
struct Eight {
    /// As they are counted, zeros behind them.
    text: u64,
    len: usize,
    /// Letters and digits among them.
    alphanumeric: u64,
}

impl AsciiRules {
    #[inline]
    fn eight(self, x: u64) -> Eight {
        let (mut alphanumeric, letters) = classes(x);
        let mut inside = alphanumeric;
        if self.unicode {
            inside |= within(x, b'_', b'_') & !x;
        }
        let len = ((!inside & HIGH).trailing_zeros() / 8) as usize;
        // All of eight bytes or fewer, without a shift by 64.
        let kept = !(!0 << (4 * len) << (4 * len));
        alphanumeric &= kept;
        let text = if self.lowercase {
            // Bit 5 is not set.
            x | ((letters & !(x << 2)) >> 2)
        } else {
            x
        };
        Eight {
            text: text & kept,
            len,
            alphanumeric,
        }
    }

    fn is_space(self, byte: u8) -> bool {
        matches!(byte, b' ' | b'\t' | b'\n' | b'\r') || (self.unicode && byte == b'\x0c')
    }

    /// Whether the word at `at`, which `byte` ends at `end`, may go on behind it.
    fn may_join(self, byte: u8) -> bool {
        self.unicode && matches!(byte, b'\'' | b'.' | b':' | b',' | b';')
    }

    /// Hands all words of `text` in order to `each`. At a word that other characters
    /// have a say in, `beyond` is given the text from there on, and says how many bytes
    /// of it it took, all up to whitespace.
    #[inline]
    pub fn cut<E, F: FnMut(Piece<'_>)>(
        self,
        text: &str,
        each: &mut F,
        mut beyond: impl FnMut(&str, &mut F) -> Result<usize, E>,
    ) -> Result<(), E> {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let x = load(bytes, at);
            let low = self.eight(x);
            if low.len == 0 {
                let (byte, next) = (x as u8, (x >> 8) as u8);
                if byte == b' ' {
                    at += 1;
                } else if byte.is_ascii_punctuation()
                    && (self.is_apart(next) || at + 1 == bytes.len())
                {
                    each(Piece::Short(Short::of_words(byte.into(), 0, 1), false));
                    at += 1 + usize::from(next == b' ');
                } else if self.is_space(byte) {
                    at += 1;
                } else {
                    at += beyond(&text[at..], each)?.max(1);
                }
                continue;
            }
            let (mut len, mut high) = (low.len, 0);
            let mut alphanumeric = low.alphanumeric;
            let mut stop = (x >> (8 * len.min(7))) as u8;
            if len == 8 {
                let y = load(bytes, at + 8);
                let eight = self.eight(y);
                high = eight.text;
                len += eight.len;
                alphanumeric |= eight.alphanumeric;
                stop = (y >> (8 * eight.len.min(7))) as u8;
                if len == SHORTEST_LONG {
                    // The eighth byte of `y` is inside: the word goes on.
                    while self.is_inside(bytes.get(len + at)) {
                        len += 1;
                    }
                    stop = bytes.get(at + len).copied().unwrap_or(0);
                }
            }
            if stop != b' ' {
                if !self.is_apart(stop) && at + len < bytes.len() {
                    at += beyond(&text[at..], each)?.max(1);
                    continue;
                }
                if self.may_join(stop) {
                    match unicode_word_sure(&bytes[at..], len) {
                        Some(longer) if longer > len => {
                            self.hand(&bytes[at..at + longer], each);
                            at += longer;
                            continue;
                        }
                        Some(_) => {}
                        None => {
                            at += beyond(&text[at..], each)?.max(1);
                            continue;
                        }
                    }
                }
            }
            if len < SHORTEST_LONG {
                let text = Short::of_words(low.text, high, len);
                each(Piece::Short(text, alphanumeric != 0));
            } else {
                self.hand(&bytes[at..at + len], each);
            }
            at += len + usize::from(stop == b' ');
        }
        Ok(())
    }

    /// Whether what stands before this byte ends there, whatever it is: it is neither a
    /// control character nor beyond ASCII.
    #[inline]
    fn is_apart(self, byte: u8) -> bool {
        byte.is_ascii_graphic() || self.is_space(byte)
    }

    #[inline]
    fn is_inside(self, byte: Option<&u8>) -> bool {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || (self.unicode && *byte == b'_'))
    }

    /// Hands a word of any length over.
    #[cold]
    fn hand(self, word: &[u8], each: &mut impl FnMut(Piece<'_>)) {
        let mut word = word.to_vec();
        if self.lowercase {
            word.make_ascii_lowercase();
        }
        match Short::of(&word) {
            Some(short) => each(Piece::Short(short, true)),
            None => each(Piece::Written(&word)),
        }
    }
}

/// Length of the word that ASCII text without whitespace begins with, of which `end`
/// bytes are known: what the rules of UAX #29 come to there. Letters, digits and `_` stay
/// together, across `'`, `.` and `:` between letters, and across `'`, `.`, `,` and `;`
/// between digits.
#[inline]
pub(super) fn unicode_word(text: &[u8], end: usize) -> usize {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !text.first().is_some_and(|&byte| inside(byte)) {
        return text.len().min(1);
    }
    let mut end = end.max(1);
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

/// The same in text with other characters; `None` where one of them may decide.
fn unicode_word_sure(text: &[u8], end: usize) -> Option<usize> {
    let end = unicode_word(text, end);
    let sure = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii);
    (sure(text.get(end)) && sure(text.get(end + 1))).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use unicode_segmentation::UnicodeSegmentation;

    proptest! {
        #[test]
        fn ascii_is_cut_as_unicode_has_it(text in "[!-~]{1,12}|[ab1_.,:;'/-]{1,16}") {
            let mut words = Vec::new();
            let mut rest = &text[..];
            while !rest.is_empty() {
                let (word, behind) = rest.split_at(unicode_word(rest.as_bytes(), 1));
                words.push(word);
                rest = behind;
            }
            prop_assert_eq!(words, text.split_word_bounds().collect::<Vec<_>>());
        }

        #[test]
        fn eight_at_a_time_is_one_by_one(
            text in "[A-Za-z0-9_ ,.:'\\[@`{/-]{0,60}|[a-z]{10,20}[.][a-z]{0,20} [A-Z_]{14,18}",
            lowercase in any::<bool>(),
        ) {
            let rules = AsciiRules { unicode: true, lowercase };
            let folded = if lowercase { text.to_lowercase() } else { text.clone() };
            let mut expected = folded.split_word_bounds().filter(|word| !word.trim().is_empty());
            let mut each = |word: Piece<'_>| {
                let found = match word {
                    Piece::Short(short, alphanumeric) => {
                        let (bytes, len) = Short::bytes(short.key());
                        assert!(bytes[len..15].iter().all(|&byte| byte == 0));
                        let text = String::from_utf8(bytes[..len].to_vec()).unwrap();
                        assert_eq!(alphanumeric, text.chars().any(char::is_alphanumeric));
                        text
                    }
                    Piece::Written(word) => String::from_utf8(word.to_vec()).unwrap(),
                };
                assert_eq!(Some(&*found), expected.next());
            };
            rules.cut::<(), _>(&text, &mut each, |rest, _| panic!("{rest}")).unwrap();
            prop_assert_eq!(expected.next(), None);
        }
    }
}

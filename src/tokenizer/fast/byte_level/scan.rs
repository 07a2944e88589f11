//! Where a byte-level pre-tokenizer cuts: its regular expression, matched by hand. Each
//! match starts where the one before ended and none is empty, so a scanner only says
//! where the match at a place ends.
//!
//! Words among ASCII are found 64 bytes at a time; what another character has a say in
//! goes character by character.

use super::blocks::{Block, Starts};
use super::classes::{Class, Classes};

/// A regular expression that cuts text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cuts {
    /// GPT-2's (Radford et al. 2019).
    Gpt2,
    /// That of OpenAI's cl100k and its kin, with so many digits to a number.
    Cl100k {
        /// 1 (Qwen) or 3.
        digits: usize,
    },
}

/// As they are written, with the digits to a number.
const CL100K: [(&str, usize); 2] = [
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        3,
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        1,
    ),
];

/// GPT-2's as `ByteLevel` has it within.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

impl Cuts {
    /// The scanner for a regular expression, if there is one.
    pub(super) fn of(pattern: &str) -> Option<Self> {
        if pattern == GPT2 {
            return Some(Self::Gpt2);
        }
        let known = CL100K.iter().find(|(known, _)| *known == pattern);
        known.map(|&(_, digits)| Self::Cl100k { digits })
    }
}

/// One scanner, so that a loop around it is compiled for it.
pub(super) trait Scan {
    /// Where matches start in a block that begins with one.
    fn starts(&self, block: &Block<'_>) -> Starts;

    /// End of the match that starts at byte `at` of `text`.
    fn end(&self, classes: &Classes, text: &str, at: usize) -> usize;
}

/// GPT-2's.
pub(super) struct Gpt2;

impl Scan for Gpt2 {
    /// A space goes with what follows it.
    #[inline(always)]
    fn starts(&self, block: &Block<'_>) -> Starts {
        let certain = block.beyond.trailing_zeros();
        let [letters, digits, others] =
            [block.letters, block.digits, block.others()].map(|class| block.begins(class));
        let bits = letters | digits | others | block.whitespace(certain);
        block.contracted(bits, certain, |behind| match behind {
            [b's' | b't' | b'm' | b'd', _] => 2,
            [b'r' | b'v', b'e'] | [b'l', b'l'] => 3,
            _ => 0,
        })
    }

    #[inline]
    fn end(&self, classes: &Classes, text: &str, at: usize) -> usize {
        let bytes = text.as_bytes();
        if bytes[at] == b'\'' {
            let length = match bytes.get(at + 1..) {
                Some([b's' | b't' | b'm' | b'd', ..]) => 2,
                Some([b'r' | b'v', b'e', ..] | [b'l', b'l', ..]) => 3,
                _ => 0,
            };
            if length > 0 {
                return at + length;
            }
        }
        let start = at + usize::from(bytes[at] == b' ');
        match class(classes, text, start) {
            None | Some((Class::Space, _)) => spaces(classes, text, at),
            Some((class, next)) => run(classes, text, next, class),
        }
    }
}

/// Cl100k's.
pub(super) struct Cl100k {
    /// Digits to a number, at most.
    pub(super) digits: usize,
}

impl Scan for Cl100k {
    /// A space goes with letters or punctuation that follow, and so does punctuation that
    /// is alone and not behind a space with letters. Line ends and tabs are passed on.
    #[inline(always)]
    fn starts(&self, block: &Block<'_>) -> Starts {
        let certain = (block.beyond | block.breaks).trailing_zeros();
        let digits = block.digits;
        let others = block.begins(block.others());
        let letters = block.begins(block.letters) & !(others << 1);
        let mut bits = letters | others | block.whitespace(certain);
        if self.digits == 1 {
            bits |= digits;
        } else {
            let mut numbers = digits & !(digits << 1);
            while numbers != 0 {
                bits |= numbers;
                numbers = numbers << 3 & digits & digits << 1 & digits << 2;
            }
        }
        block.contracted(bits, certain, |behind| {
            contraction(&behind).map_or(0, |length| 1 + length as u32)
        })
    }

    #[inline]
    fn end(&self, classes: &Classes, text: &str, at: usize) -> usize {
        let bytes = text.as_bytes();
        let first = bytes[at];
        if first == b'\''
            && let Some(length) = contraction(&bytes[at + 1..])
        {
            return at + 1 + length;
        }
        let Some((here, next)) = class(classes, text, at) else {
            return at;
        };
        match here {
            Class::Letter => return run(classes, text, next, Class::Letter),
            Class::Number => return self.number(classes, text, next),
            Class::Other | Class::Space => {}
        }
        let behind = class(classes, text, next);
        if !matches!(first, b'\r' | b'\n')
            && let Some((Class::Letter, letters)) = behind
        {
            return run(classes, text, letters, Class::Letter);
        }
        let others = match (here, behind) {
            (Class::Other, _) => Some(next),
            (_, Some((Class::Other, others))) if first == b' ' => Some(others),
            _ => None,
        };
        if let Some(others) = others {
            let end = run(classes, text, others, Class::Other);
            let lines = bytes[end..].iter().take_while(|byte| is_line_end(**byte));
            return end + lines.count();
        }
        let end = run(classes, text, next, Class::Space);
        match bytes[at..end].iter().rposition(|&byte| is_line_end(byte)) {
            Some(last) => at + last + 1,
            None => spaces(classes, text, at),
        }
    }
}

impl Cl100k {
    /// `\p{N}{1,3}`, the first of which ends at `at`.
    fn number(&self, classes: &Classes, text: &str, mut at: usize) -> usize {
        for _ in 1..self.digits {
            match class(classes, text, at) {
                Some((Class::Number, next)) => at = next,
                _ => break,
            }
        }
        at
    }
}

/// Bytes of `s`, `t`, `re`, `ve`, `m`, `ll` or `d` in any case; the long s is an s in
/// lower case too.
fn contraction(bytes: &[u8]) -> Option<usize> {
    let lower = |index: usize| bytes.get(index).map(u8::to_ascii_lowercase);
    match (lower(0)?, lower(1)) {
        (b's' | b't' | b'm' | b'd', _) => Some(1),
        (b'r' | b'v', Some(b'e')) | (b'l', Some(b'l')) => Some(2),
        _ if bytes.starts_with("ſ".as_bytes()) => Some("ſ".len()),
        _ => None,
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// Class of the character at byte `at`, and where the next one starts; `None` at the
/// end.
#[inline]
fn class(classes: &Classes, text: &str, at: usize) -> Option<(Class, usize)> {
    let &byte = text.as_bytes().get(at)?;
    if byte < 0x80 {
        return Some((classes.of_ascii(byte), at + 1));
    }
    let c = text[at..].chars().next()?;
    Some((classes.of(c), at + c.len_utf8()))
}

/// End of the characters of `class` from byte `at` on.
#[inline]
fn run(classes: &Classes, text: &str, mut at: usize, wanted: Class) -> usize {
    while let Some((found, next)) = class(classes, text, at)
        && found == wanted
    {
        at = next;
    }
    at
}

/// `\s+(?!\S)|\s+`: all whitespace at the end of the text, or all but the last
/// character where that leaves any.
fn spaces(classes: &Classes, text: &str, at: usize) -> usize {
    let end = run(classes, text, at, Class::Space);
    let last = text[at..end].chars().next_back().map_or(0, char::len_utf8);
    if end == text.len() || end - last == at {
        end
    } else {
        end - last
    }
}

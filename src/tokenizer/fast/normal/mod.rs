//! NFC, NFKC and SentencePiece's precompiled maps as the library has them: characters that stay what
//! they are whatever stands beside them are passed over, and only the stretches between
//! go through the library. Text that is normal already is not copied.
//!
//! Cost: 0.1 ns a byte where all is below U+0300 (the others: ASCII), 2 to 4 ns a character
//! elsewhere, 0.2 to 1 µs for a stretch that the library has to look at.

use std::borrow::Cow;
use std::ops::{Range, RangeInclusive};
use tokenizers::NormalizedString;
use tokenizers::normalizers::Precompiled;
use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{IsNormalized, is_nfc_quick, is_nfkc_quick};

/// What a normaliser makes of text.
pub(super) enum Form {
    /// Canonical composition.
    Nfc,
    /// Compatibility composition.
    Nfkc,
    /// What a map of SentencePiece says.
    Precompiled(Box<Precompiled>),
}

/// A normaliser.
pub(super) struct Normal {
    form: Form,
    /// By character: one bit, set where it stays what it is and nothing but a character
    /// without the bit makes it part of another. Unicode's later versions set no bit of
    /// a normal form that an earlier one has not set, so the library's may be older.
    stays: Box<[u64]>,
    /// ASCII and beyond whose bytes are all in this range stays.
    bytes: Range<u8>,
}

/// No script is written in characters from here on: nobody asks for speed there.
const RARE: u32 = 0x3_0000;

impl Normal {
    pub(super) fn new(form: Form) -> Self {
        let mut stays = vec![0; RARE as usize / 64];
        for c in (0..RARE).filter_map(char::from_u32) {
            if form.keeps(c) {
                stays[c as usize / 64] |= 1u64 << (c as usize % 64);
            }
        }
        let mut normal = Self {
            bytes: match form {
                Form::Nfc => 0..0xcc,
                Form::Nfkc => 0..0x80,
                Form::Precompiled(_) => b' '..0x7f,
            },
            form,
            stays: stays.into(),
        };
        if !normal
            .bytes
            .clone()
            .all(|byte| byte >= 0x80 || normal.stays(byte.into()))
        {
            normal.bytes = 0..0;
        }
        normal
    }

    fn stays(&self, c: char) -> bool {
        let bits = self.stays.get(c as usize / 64);
        bits.is_some_and(|bits| bits >> (c as usize % 64) & 1 == 1)
    }

    /// `text` in the normal form.
    pub(super) fn of<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut out = String::new();
        let mut copied = 0;
        let mut at = 0;
        while let Some(stretch) = self.stretch(text, at) {
            out.push_str(&text[copied..stretch.start]);
            self.form.change(&text[stretch.clone()], &mut out);
            (at, copied) = (stretch.end, stretch.end);
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        out.push_str(&text[copied..]);
        Cow::Owned(out)
    }

    /// The next characters from byte `at` on that may change, with one before and one
    /// behind, which they may become one with. The stretch before ended where two
    /// characters that stay meet.
    fn stretch(&self, text: &str, at: usize) -> Option<Range<usize>> {
        let mut start = at;
        loop {
            start = self.skip(text, start);
            let c = text[start..].chars().next()?;
            if !self.stays(c) {
                break;
            }
            start += c.len_utf8();
        }
        let mut end = start;
        let mut stayed = false;
        for c in text[start..].chars() {
            if self.stays(c) && std::mem::replace(&mut stayed, true) {
                break;
            }
            stayed = self.stays(c);
            end += c.len_utf8();
        }
        let before = text[at..start].chars().next_back();
        start -= before.map_or(0, char::len_utf8);
        Some(start..end)
    }

    /// Passes over blocks of characters that all stay.
    fn skip(&self, text: &str, mut at: usize) -> usize {
        const BLOCK: usize = 32;
        while let Some(block) = text.as_bytes()[at..].first_chunk::<BLOCK>()
            && block
                .iter()
                .all(|&byte| (byte >= self.bytes.start) & (byte < self.bytes.end))
            && text.is_char_boundary(at + BLOCK)
        {
            at += BLOCK;
        }
        at
    }
}

impl Form {
    /// Whether `c` stays what it is and begins anew: nothing before it changes it.
    fn keeps(&self, c: char) -> bool {
        let quick = match self {
            Self::Nfc => is_nfc_quick([c].into_iter()),
            Self::Nfkc => is_nfkc_quick([c].into_iter()),
            Self::Precompiled(map) => {
                let apart = APART.iter().any(|range| range.contains(&c));
                return apart && map.transform(c.encode_utf8(&mut [0; 4])).is_none();
            }
        };
        quick == IsNormalized::Yes && canonical_combining_class(c) == 0
    }

    /// Appends what becomes of `text`.
    fn change(&self, text: &str, out: &mut String) {
        let mut changed = match self {
            Self::Precompiled(map) => return out.push_str(&map.normalize_string(text)),
            Self::Nfc | Self::Nfkc => NormalizedString::from(text),
        };
        match self {
            Self::Nfc => changed.nfc(),
            _ => changed.nfkc(),
        };
        out.push_str(changed.get());
    }
}

/// Characters that are a grapheme each wherever two of them meet (UAX #29): a map of
/// SentencePiece looks at graphemes. Not all such, but what text is written in.
const APART: [RangeInclusive<char>; 16] = [
    '\0'..='\u{c}',
    '\u{e}'..='\u{2ff}',
    '\u{370}'..='\u{482}',
    '\u{48a}'..='\u{590}',
    '\u{5be}'..='\u{5be}',
    '\u{5d0}'..='\u{5f4}',
    '\u{620}'..='\u{64a}',
    '\u{e01}'..='\u{e30}',
    '\u{1e00}'..='\u{1fff}',
    '\u{2010}'..='\u{205f}',
    '\u{20a0}'..='\u{20cf}',
    '\u{2100}'..='\u{2cee}',
    '\u{2e00}'..='\u{3029}',
    '\u{3030}'..='\u{3098}',
    '\u{309b}'..='\u{a66e}',
    '\u{ac00}'..='\u{d7a3}',
];

#[cfg(test)]
mod tests;

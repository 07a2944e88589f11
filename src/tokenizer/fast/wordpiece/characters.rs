//! What BERT's normaliser and pre-tokenizer make of one character, by table: pages of
//! 64 characters, each made when first met, by the crates that the library asks, so
//! that both know the same version of Unicode (8 for categories, 9 for decomposition).
//!
//! Cost: a look-up in two levels. A page takes 1 KiB and 20 µs to make.

use std::sync::OnceLock;
use unicode_categories::UnicodeCategories as _;
use unicode_normalization_alignments::char::{canonical_combining_class, decompose_canonical};

/// BERT's normaliser, as `tokenizer.json` sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    /// Control characters go, whitespace becomes a space.
    pub clean_text: bool,
    /// Each ideograph is a word.
    pub handle_chinese_chars: bool,
    /// Decompose, and take non-spacing marks off.
    pub strip_accents: bool,
    /// Lower-case.
    pub lowercase: bool,
}

/// What a character does to the words around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing: it is taken out.
    Dropped,
    /// Ends a word.
    Gap,
    /// Goes on with a word, or begins one.
    Letters,
    /// A word by itself.
    Single,
    /// None of these, or its place depends on its neighbours: see [`Rules::spell`].
    Mixed,
}

/// Longest text of a character in a table, bytes. Three characters of three bytes come
/// of a Korean syllable.
const LONGEST: usize = 14;

/// A character, normalised.
#[derive(Debug, Clone, Copy)]
pub(super) struct Character {
    pub kind: Kind,
    pub len: u8,
    /// UTF-8, `len` bytes and zeros; empty for what is dropped or mixed.
    pub text: [u8; LONGEST],
}

/// What comes of a character before words are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Gap,
    Letter(char),
    Single(char),
}

type Page = [Character; PAGE];

/// Characters of a page.
const PAGE: usize = 64;

/// The table for one set of rules.
pub(super) struct Characters {
    pub rules: Rules,
    pages: Box<[OnceLock<Box<Page>>]>,
}

impl Characters {
    pub(super) fn new(rules: Rules) -> Self {
        let pages = (0..=char::MAX as usize / PAGE).map(|_| OnceLock::new());
        Self {
            rules,
            pages: pages.collect(),
        }
    }

    /// The entry of `c`.
    #[inline]
    pub(super) fn of(&self, c: char) -> &Character {
        let (page, within) = (c as usize / PAGE, c as usize % PAGE);
        &self.pages[page].get_or_init(|| self.page(page))[within]
    }

    #[cold]
    fn page(&self, page: usize) -> Box<Page> {
        let entry = |within| match char::from_u32((page * PAGE + within) as u32) {
            Some(c) => Character::of(&self.rules, c),
            // A surrogate, which no text has.
            None => Character::silent(Kind::Dropped),
        };
        Box::new(std::array::from_fn(entry))
    }
}

impl Character {
    fn silent(kind: Kind) -> Self {
        Self {
            kind,
            len: 0,
            text: [0; LONGEST],
        }
    }

    fn of(rules: &Rules, c: char) -> Self {
        let mut signs = Vec::new();
        let mut spelling = Spelling::default();
        rules.spell(c, &mut spelling, |sign| signs.push(sign));
        if !spelling.marks.is_empty() || rules.strip_accents && is_moved(c) {
            return Self::silent(Kind::Mixed);
        }
        let parts = signs.split(|sign| *sign == Sign::Gap);
        let words: Vec<&[Sign]> = parts.filter(|word| !word.is_empty()).collect();
        let apart = signs.first() == Some(&Sign::Gap) && signs.last() == Some(&Sign::Gap);
        let kind = match (words.as_slice(), signs.len()) {
            ([], 0) => return Self::silent(Kind::Dropped),
            ([], _) => return Self::silent(Kind::Gap).with([' ']),
            ([[Sign::Single(_)]], _) => Kind::Single,
            ([word], signs) if word.iter().all(|sign| matches!(sign, Sign::Letter(_))) => {
                match signs - word.len() {
                    0 => Kind::Letters,
                    _ if apart => Kind::Single,
                    _ => return Self::silent(Kind::Mixed),
                }
            }
            _ => return Self::silent(Kind::Mixed),
        };
        let text = signs.iter().filter_map(|sign| match sign {
            Sign::Letter(c) | Sign::Single(c) => Some(*c),
            Sign::Gap => None,
        });
        Self::silent(kind).with(text)
    }

    /// With a text, if there is room for it.
    fn with(mut self, text: impl IntoIterator<Item = char>) -> Self {
        for c in text {
            let at = usize::from(self.len);
            let Some(room) = self.text.get_mut(at..at + c.len_utf8()) else {
                return Self::silent(Kind::Mixed);
            };
            c.encode_utf8(room);
            self.len += c.len_utf8() as u8;
        }
        self
    }
}

/// Marks that wait for the next starter: canonical order sorts them.
#[derive(Debug, Default)]
pub(super) struct Spelling {
    marks: Vec<(u8, char)>,
}

impl Rules {
    /// Hands on what comes of `c`, in the text behind what `spelling` has seen. Marks that
    /// stay wait in `spelling` until the next starter, or until [`Rules::flush`].
    pub(super) fn spell(&self, c: char, spelling: &mut Spelling, mut each: impl FnMut(Sign)) {
        let Some(c) = self.cleaned(c) else {
            return;
        };
        let apart = self.handle_chinese_chars && is_chinese(c);
        if apart {
            self.flush(spelling, &mut each);
            each(Sign::Gap);
        }
        if self.strip_accents {
            decompose_canonical(c, |c| {
                let class = canonical_combining_class(c);
                if class == 0 {
                    self.flush(spelling, &mut each);
                }
                if c.is_mark_nonspacing() {
                    return;
                }
                if class == 0 {
                    self.lowered(c, &mut each);
                } else {
                    spelling.marks.push((class, c));
                }
            });
        } else {
            self.lowered(c, &mut each);
        }
        if apart {
            self.flush(spelling, &mut each);
            each(Sign::Gap);
        }
    }

    /// Hands on the marks that wait, in canonical order.
    pub(super) fn flush(&self, spelling: &mut Spelling, mut each: impl FnMut(Sign)) {
        spelling.marks.sort_by_key(|&(class, _)| class);
        for (_, mark) in spelling.marks.drain(..) {
            self.lowered(mark, &mut each);
        }
    }

    fn cleaned(&self, c: char) -> Option<char> {
        match c {
            _ if !self.clean_text => Some(c),
            '\t' | '\n' | '\r' => Some(' '),
            '\0' | '\u{fffd}' => None,
            _ if c.is_other() => None,
            _ if c.is_whitespace() => Some(' '),
            _ => Some(c),
        }
    }

    fn lowered(&self, c: char, each: &mut impl FnMut(Sign)) {
        if self.lowercase {
            c.to_lowercase().for_each(|c| each(sign(c)));
        } else {
            each(sign(c));
        }
    }
}

/// What the pre-tokenizer sees in a normalised character.
fn sign(c: char) -> Sign {
    if c.is_whitespace() {
        Sign::Gap
    } else if c.is_ascii_punctuation() || c.is_punctuation() {
        Sign::Single(c)
    } else {
        Sign::Letter(c)
    }
}

/// Whether a mark that stays comes of `c`, which canonical order may move.
fn is_moved(c: char) -> bool {
    let mut moved = false;
    decompose_canonical(c, |c| {
        moved |= canonical_combining_class(c) != 0 && !c.is_mark_nonspacing();
    });
    moved
}

/// The blocks of ideographs that BERT knows (`is_chinese_char` of the library, which
/// begins Extension E at its 257th character).
fn is_chinese(c: char) -> bool {
    matches!(
        u32::from(c),
        0x4E00..=0x9FFF
            | 0x3400..=0x4DBF
            | 0x2_0000..=0x2_A6DF
            | 0x2_A700..=0x2_B73F
            | 0x2_B740..=0x2_B81F
            | 0x2_B920..=0x2_CEAF
            | 0xF900..=0xFAFF
            | 0x2_F800..=0x2_FA1F
    )
}

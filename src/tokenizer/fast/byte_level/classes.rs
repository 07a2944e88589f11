//! Classes of characters that the regular expressions of byte-level tokenizers tell
//! apart. One table of two stages, about 70 KB, made in a millisecond.

use super::ranges::{LETTERS, NUMBERS};
use hashbrown::HashMap;

/// What a character is to the regular expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Class {
    /// Everything else: punctuation, symbols, marks, controls, the unassigned.
    Other,
    /// `\p{L}`.
    Letter,
    /// `\p{N}`.
    Number,
    /// `\s`.
    Space,
}

/// The class of every character.
pub(super) struct Classes {
    /// By the upper bits of a character: its block.
    blocks: Box<[u16]>,
    /// By block and the lower eight bits.
    classes: Vec<[Class; 256]>,
    /// Of the characters below 256 once more: no second look-up for ASCII.
    low: [Class; 256],
}

impl Classes {
    pub(super) fn new() -> Self {
        let mut all = vec![Class::Other; 0x11_0000];
        let ranges = [(&LETTERS[..], Class::Letter), (&NUMBERS, Class::Number)];
        for (ranges, class) in ranges {
            for &(first, last) in ranges {
                all[first as usize..=last as usize].fill(class);
            }
        }
        for space in ('\0'..='\u{3000}').filter(|c| c.is_whitespace()) {
            all[space as usize] = Class::Space;
        }
        let mut known = HashMap::new();
        let mut classes = Vec::new();
        let blocks = all.as_chunks::<256>().0.iter().map(|block| {
            let key = block.map(|class| class as u8);
            *known.entry(key).or_insert_with(|| {
                classes.push(*block);
                classes.len() as u16 - 1
            })
        });
        Self {
            blocks: blocks.collect(),
            low: classes[0],
            classes,
        }
    }

    /// The class of `c`.
    #[inline]
    pub(super) fn of(&self, c: char) -> Class {
        let c = c as usize;
        self.classes[self.blocks[c >> 8] as usize][c & 0xff]
    }

    /// The class of an ASCII character.
    #[inline]
    pub(super) fn of_ascii(&self, byte: u8) -> Class {
        self.low[byte as usize]
    }
}

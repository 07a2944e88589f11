//! What stands where in a masked row, token by token: what text and page both show.

use super::{ShownCopy, ShownMask, ShownRow};
use crate::config::{Layout, Strategy};
use std::ops::Range;

/// What stands at a place of the input or the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// The token itself.
    Original,
    /// The mask token.
    Mask,
    /// A random token.
    Random,
    /// A special token between documents or at the end.
    Special,
    /// Nothing: so many tokens were taken out.
    Gap(u32),
    /// The sentinel of this number.
    Sentinel(usize),
}

/// One token, or what stands for several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// What stands there.
    pub stands: Stands,
    /// Whether it carries a label.
    pub predicted: bool,
    /// Whether a space goes in front.
    pub space: bool,
    /// What is read there; of a mask token, what it hides.
    pub text: String,
    /// What was there.
    pub original: String,
    /// Whether one unit, word or span holds it and the piece before.
    pub joined: bool,
}

impl ShownRow {
    /// Tokens that can be masked.
    pub fn maskable(&self) -> usize {
        self.ids.len() - self.protected.len()
    }

    /// Whether `place` is never masked.
    fn is_protected(&self, place: usize) -> bool {
        self.protected.binary_search(&(place as u32)).is_ok()
    }

    /// Positions between the special tokens at the row's edges.
    fn inner(&self) -> Range<usize> {
        let last = self.ids.len().saturating_sub(1);
        let start = usize::from(self.is_protected(0));
        let end = self.ids.len() - usize::from(last > 0 && self.is_protected(last));
        start.min(end)..end
    }

    /// Whether a unit of the masking vocabulary holds `place` and the one before.
    fn in_unit(&self, place: usize) -> bool {
        !self.unit_start.is_empty() && self.unit_start.binary_search(&(place as u32)).is_err()
    }

    fn piece(&self, place: usize) -> Piece {
        let text = &self.tokens[place];
        let (stands, (space, text)) = if self.is_protected(place) {
            (Stands::Special, (true, special(text)))
        } else {
            (Stands::Original, visible(text))
        };
        Piece {
            stands,
            predicted: false,
            space,
            original: text.clone(),
            text,
            joined: false,
        }
    }

    /// The row as it was, units of several words joined.
    pub fn original(&self) -> Vec<Piece> {
        let pieces = self.inner().map(|place| Piece {
            joined: self.in_unit(place),
            ..self.piece(place)
        });
        pieces.collect()
    }

    /// Whether a unit of several words is in it.
    pub fn has_long_units(&self) -> bool {
        self.inner().any(|place| {
            self.in_unit(place) && self.word_start.binary_search(&(place as u32)).is_ok()
        })
    }

    /// The input of one copy.
    pub fn input(&self, mask: &ShownMask, copy: &ShownCopy) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut sentinels = 0;
        for place in self.inner() {
            let stands = self.stands(mask, copy, place);
            let labelled = copy.predicted.binary_search(&(place as u32)).is_ok();
            let mut piece = Piece {
                predicted: labelled && mask.layout != Layout::Sentinel,
                ..self.piece(place)
            };
            match stands {
                None if mask.layout == Layout::Sentinel => {
                    // The sentinel before stands for it, too.
                    if let Some(last) = pieces.last_mut() {
                        last.append(&piece);
                    }
                    continue;
                }
                None => {
                    let open = pieces.last_mut().filter(|last| {
                        matches!(last.stands, Stands::Gap(_)) && last.predicted == piece.predicted
                    });
                    if let Some(last) = open {
                        if let Stands::Gap(count) = &mut last.stands {
                            *count += 1;
                        }
                        last.append(&piece);
                        continue;
                    }
                    piece.stands = Stands::Gap(1);
                    piece.space = true;
                }
                Some((Stands::Sentinel(_), _)) => {
                    piece.stands = Stands::Sentinel(sentinels);
                    piece.space = true;
                    sentinels += 1;
                }
                Some((Stands::Random, index)) => {
                    piece.stands = Stands::Random;
                    piece.text = visible(&copy.input_tokens[index]).1;
                }
                Some((Stands::Mask, _)) => piece.stands = Stands::Mask,
                Some(_) => {}
            }
            piece.joined = match mask.strategy {
                Strategy::Uniform => false,
                Strategy::Word => self.word_start.binary_search(&(place as u32)).is_err(),
                Strategy::Pmi => self.in_unit(place),
                Strategy::Span | Strategy::Geometric | Strategy::Ngram => true,
            } && pieces
                .last()
                .is_some_and(|last| last.is_like(&piece) && last.is_changed());
            pieces.push(piece);
        }
        pieces
    }

    /// The target of one copy, in the layout that has one.
    pub fn target(&self, mask: &ShownMask, copy: &ShownCopy) -> Option<Vec<Piece>> {
        let (ids, tokens) = (copy.target.as_ref()?, copy.target_tokens.as_ref()?);
        let mut sentinels = (0..self.ids.len())
            .filter_map(|place| match self.stands(mask, copy, place)? {
                (Stands::Sentinel(_), index) => Some(copy.input[index]),
                _ => None,
            })
            .enumerate()
            .peekable();
        let last = ids.len().saturating_sub(1);
        let mut pieces = Vec::with_capacity(ids.len());
        for (place, (id, token)) in ids.iter().zip(tokens).enumerate() {
            let (stands, (space, text)) =
                if let Some((number, _)) = sentinels.next_if(|(_, sentinel)| sentinel == id) {
                    (Stands::Sentinel(number), (true, special(token)))
                } else if place == last {
                    (Stands::Special, (true, special(token)))
                } else {
                    (Stands::Original, visible(token))
                };
            pieces.push(Piece {
                stands,
                predicted: copy.predicted.binary_search(&(place as u32)).is_ok(),
                space,
                original: text.clone(),
                text,
                joined: false,
            });
        }
        Some(pieces)
    }

    /// What stands in the input for the token at `place`, and where; `None` where
    /// nothing does. The number of a sentinel is not known here.
    fn stands(&self, mask: &ShownMask, copy: &ShownCopy, place: usize) -> Option<(Stands, usize)> {
        let index = match &copy.places {
            None => place,
            Some(places) => places.binary_search(&(place as u32)).ok()?,
        };
        let stands = if copy.input[index] == self.ids[place] {
            Stands::Original
        } else if mask.layout == Layout::Sentinel {
            Stands::Sentinel(0)
        } else if Some(copy.input[index]) == self.mask {
            Stands::Mask
        } else {
            Stands::Random
        };
        Some((stands, index))
    }
}

impl Piece {
    /// Whether it is not what stood there, or carries a label.
    pub fn is_changed(&self) -> bool {
        self.predicted || !matches!(self.stands, Stands::Original | Stands::Special)
    }

    /// Whether both stand for one fate.
    fn is_like(&self, other: &Self) -> bool {
        self.stands == other.stands && self.predicted == other.predicted
    }

    /// Takes on the token after it.
    fn append(&mut self, next: &Self) {
        if next.space {
            self.original.push(' ');
        }
        self.original.push_str(&next.original);
    }
}

/// A special token without the brackets of its spelling, in brackets of ours.
fn special(token: &str) -> String {
    let bare = token.trim().trim_matches(['[', ']', '<', '>', '|']);
    format!("⟨{bare}⟩")
}

/// The space in front of a token's text, if any, and the text with what cannot be
/// seen, or would turn the text around it, made visible.
fn visible(text: &str) -> (bool, String) {
    let (space, body) = match text.strip_prefix(' ') {
        Some(body) if !body.is_empty() => (true, body),
        _ => (false, text),
    };
    let body = body
        .chars()
        .map(|c| match c {
            '\n' => '⏎',
            c if c.is_whitespace() => '␣',
            // Marks of writing direction (Unicode, UAX 9).
            '\u{61C}'
            | '\u{200E}'
            | '\u{200F}'
            | '\u{202A}'..='\u{202E}'
            | '\u{2066}'..='\u{2069}' => '�',
            c if c.is_control() => '�',
            c => c,
        })
        .collect();
    (space, body)
}

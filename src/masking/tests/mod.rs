//! What the masks must be, whatever draws them.

mod invariants;
mod known;
mod layouts;
mod moving;
mod rates;
mod replacement;
mod sources;
mod weights;

use super::{MaskedRow, Masker, Realised, Row, Stamp, TokenTable, Workspace};
use crate::base::boundaries::Boundaries;
use crate::base::generator::{Key, Purpose};
use crate::base::token::{SpecialTokens, TokenId};
use crate::config::MaskingConfig;

/// Tokens of the vocabulary that all tests use; 0 to 4 are special.
pub const VOCABULARY: usize = 1000;
pub const MASK: TokenId = 4;

pub fn special() -> SpecialTokens {
    SpecialTokens {
        pad: Some(0),
        unk: Some(1),
        cls: Some(2),
        sep: Some(3),
        mask: Some(MASK),
        reserved: vec![0, 1, 2, 3, 4, 998],
        ..SpecialTokens::default()
    }
}

/// The same with `count` sentinels, the last ids of the vocabulary.
pub fn with_sentinels(count: usize) -> SpecialTokens {
    let sentinels: Vec<TokenId> = (0..count).map(|i| (VOCABULARY + i) as u32).collect();
    let mut special = special();
    special.reserved.extend(&sentinels);
    special.sentinels = sentinels;
    special
}

/// A row that owns its planes.
#[derive(Debug, Clone, Default)]
pub struct Text {
    pub ids: Vec<TokenId>,
    pub protected: Boundaries,
    pub word_start: Boundaries,
    pub unit_start: Boundaries,
}

impl Text {
    pub fn row(&self) -> Row<'_> {
        Row {
            ids: &self.ids,
            protected: self.protected.as_slice(),
            word_start: self.word_start.as_slice(),
            unit_start: self.unit_start.as_slice(),
        }
    }

    pub fn push(&mut self, id: TokenId, word: bool, unit: bool) {
        self.ids.push(id);
        self.protected.push(special().is_reserved(id));
        self.word_start.push(word);
        self.unit_start.push(unit);
    }

    /// `len` tokens: `[CLS]` first, `[SEP]` last and sometimes between, words of 1 to 4
    /// tokens, units of 1 to 4 words.
    pub fn random(len: usize, seed: u64) -> Self {
        let mut draws = Key {
            seed,
            ..Key::default()
        }
        .generator(Purpose::Shuffle);
        let mut text = Self::default();
        for index in 0..len {
            let word = draws.below(10) < 6;
            let unit = word && draws.below(10) < 7;
            let id = match index {
                0 => 2,
                _ if index + 1 == len || draws.below(40) == 0 => 3,
                _ => 5 + draws.below(900),
            };
            text.push(id, word, unit);
        }
        text
    }

    /// `len` maskable tokens in units of the `lens` given in turn; words are single
    /// tokens.
    pub fn of_units(len: usize, lens: &[usize]) -> Self {
        let mut text = Self::default();
        for &unit in lens.iter().cycle() {
            for index in 0..unit {
                if text.ids.len() == len {
                    return text;
                }
                text.push(5 + text.ids.len() as u32, true, index == 0);
            }
        }
        text
    }
}

/// One copy, as a reader of the batch sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copy {
    pub input: Vec<TokenId>,
    pub places: Vec<u32>,
    pub target: Vec<TokenId>,
    pub predicted: Vec<u32>,
    pub labels: Vec<TokenId>,
    pub realised: Realised,
}

pub fn masker(config: &MaskingConfig) -> Masker {
    Masker::new(config, &TokenTable::new(VOCABULARY, &special())).unwrap()
}

pub fn copies(masker: &Masker, text: &Text, key: Key, work: &mut Workspace) -> Vec<Copy> {
    copies_at(masker, text, key, Stamp::default(), work)
}

pub fn copies_at(
    masker: &Masker,
    text: &Text,
    key: Key,
    stamp: Stamp,
    work: &mut Workspace,
) -> Vec<Copy> {
    let row = text.row();
    let drawn = masker.select(&row, key, stamp, work);
    (0..drawn.copies)
        .map(|copy| {
            let mut row_out = MaskedRow::default();
            let realised = masker.write(&row, key, copy, work, &mut row_out.output());
            let MaskedRow {
                input,
                places,
                target,
                predicted,
                labels,
            } = row_out;
            Copy {
                input,
                places,
                target,
                predicted,
                labels,
                realised,
            }
        })
        .collect()
}

pub fn key(sample: u64) -> Key {
    Key {
        seed: 7,
        epoch: 0,
        sample,
        copy: 0,
    }
}

/// Positions whose input is the mask token.
pub fn masked(copy: &Copy) -> Vec<u32> {
    (0u32..)
        .zip(&copy.input)
        .filter_map(|(place, &id)| (id == MASK).then_some(place))
        .collect()
}

/// Mean and standard error of what `draw` gives.
pub fn mean(count: usize, mut draw: impl FnMut(u64) -> f64) -> (f64, f64) {
    let values: Vec<f64> = (0..count as u64).map(&mut draw).collect();
    let mean = values.iter().sum::<f64>() / count as f64;
    let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count as f64;
    (mean, (square / count as f64).sqrt())
}

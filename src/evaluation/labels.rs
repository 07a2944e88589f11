//! By what labels are told apart: how long the masking unit and the word are that a label
//! lies in, how frequent its token is, and how far the nearest token is that one can see.
//! Each is the number of a bin, some nanoseconds a token.

use crate::base::token::TokenId;
use crate::masking::Row;
use std::ops::Range;

/// Lengths of units and words are told apart up to this one, longer ones together.
pub const LONGEST: usize = 5;
/// Distances are told apart up to this one, longer ones together.
pub const FARTHEST: usize = 8;
/// Bins of frequency: a token that never occurs; the 10 most frequent; down to rank 100;
/// 1 000; 10 000; and beyond.
pub const FREQUENCIES: usize = 6;

/// The bins of one label, each from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Words of its masking unit, less 1.
    pub unit: u8,
    /// Tokens of its word, less 1.
    pub word: u8,
    /// How frequent its token is.
    pub frequency: u8,
    /// Tokens to the nearest visible one, less 1.
    pub distance: u8,
}

/// Bins of frequency by token id, given how often each id occurs. Of tokens that are equally
/// frequent the lower id has the lower rank.
pub fn frequencies(counts: &[u64]) -> Vec<u8> {
    let mut ids: Vec<usize> = (0..counts.len()).filter(|&id| counts[id] > 0).collect();
    ids.sort_by_key(|&id| (std::cmp::Reverse(counts[id]), id));
    let mut bins = vec![0; counts.len()];
    for (rank, id) in (1u64..).zip(ids) {
        bins[id] = match rank {
            ..=10 => 1,
            11..=100 => 2,
            101..=1_000 => 3,
            1_001..=10_000 => 4,
            _ => 5,
        };
    }
    bins
}

/// A masking unit of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its tokens, by their places in the row.
    pub tokens: Range<usize>,
    /// Its words; of one that a row's edge cuts, those in the row.
    pub words: usize,
}

/// A row, read for what its labels are. Its memory is used again for the next row.
#[derive(Debug, Default)]
pub struct ReadRow {
    /// Its masking units, in order.
    pub units: Vec<Unit>,
    /// Of each token: bins of unit and word.
    lengths: Vec<(u8, u8)>,
    /// Of each token: whether it can be masked.
    maskable: Vec<bool>,
    /// Of each token: steps to the nearest visible one of its attention run.
    distances: Vec<usize>,
}

impl ReadRow {
    /// Reads `row`. Units and words end at protected tokens, as they do for masks.
    pub fn read(&mut self, row: &Row<'_>) {
        self.units.clear();
        self.lengths.clear();
        self.lengths.resize(row.len(), (0, 0));
        self.maskable.clear();
        self.maskable
            .extend((0..row.len()).map(|at| !row.protected.get(at)));
        let mut word = 0..0;
        for at in 0..=row.len() {
            let maskable = self.maskable.get(at) == Some(&true);
            let adjacent = at > 0 && self.maskable[at - 1];
            let opens_word = maskable && (!adjacent || row.word_start.get(at));
            let opens_unit = maskable && (!adjacent || row.unit_start.get(at));
            if adjacent && (!maskable || opens_word) {
                let bin = word.len().min(LONGEST) - 1;
                for length in &mut self.lengths[word.clone()] {
                    length.1 = bin as u8;
                }
            }
            if !maskable {
                continue;
            }
            if opens_word {
                word = at..at;
            }
            word.end = at + 1;
            if opens_unit {
                let tokens = at..at;
                self.units.push(Unit { tokens, words: 0 });
            }
            if let Some(unit) = self.units.last_mut() {
                unit.words += usize::from(opens_word);
                unit.tokens.end = at + 1;
            }
        }
        for unit in &mut self.units {
            // One that begins inside a word has a piece of it.
            unit.words = unit.words.max(1);
            let bin = unit.words.min(LONGEST) - 1;
            for length in &mut self.lengths[unit.tokens.clone()] {
                length.0 = bin as u8;
            }
        }
    }

    /// Measures how far each token is from the nearest one of its attention run that can be
    /// masked and is not among `hidden` (places, ascending); `ends` of the runs. Special
    /// tokens tell nothing, so they do not count as visible.
    pub fn hide(&mut self, hidden: &[usize], ends: &[u32]) {
        let mut visible = self.maskable.clone();
        for &place in hidden {
            visible[place] = false;
        }
        self.distances.clear();
        self.distances.resize(visible.len(), usize::MAX);
        let mut start = 0;
        for &end in ends {
            let run = start..end as usize;
            let mut measure = |places: &mut dyn Iterator<Item = usize>| {
                let mut steps = usize::MAX;
                for place in places {
                    steps = if visible[place] {
                        0
                    } else {
                        steps.saturating_add(1)
                    };
                    self.distances[place] = self.distances[place].min(steps);
                }
            };
            measure(&mut run.clone());
            measure(&mut run.clone().rev());
            start = run.end;
        }
    }

    /// The label at `place`, a hidden one, whose token `id` has the bin of `frequencies`.
    pub fn label(&self, place: usize, id: TokenId, frequencies: &[u8]) -> Label {
        let (unit, word) = self.lengths[place];
        let steps = self.distances[place].clamp(1, FARTHEST);
        Label {
            unit,
            word,
            frequency: frequencies.get(id as usize).copied().unwrap_or(0),
            distance: (steps - 1) as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::boundaries::Boundaries;

    fn bits(text: &str) -> Boundaries {
        let mut bits = Boundaries::new();
        text.bytes().for_each(|byte| bits.push(byte == b'1'));
        bits
    }

    #[test]
    fn units_words_and_distances_are_those_of_the_definition() {
        // [CLS] a ##b c d [SEP] ##e f [SEP]; units: "ab c", "d", "e" (cut), "f".
        let (ids, protected) = ([1, 10, 11, 12, 13, 2, 14, 15, 2], bits("100001001"));
        let (words, units) = (bits("110111011"), bits("110011011"));
        let row = Row {
            ids: &ids,
            protected: protected.as_slice(),
            word_start: words.as_slice(),
            unit_start: units.as_slice(),
        };
        let mut read = ReadRow::default();
        read.read(&row);
        let found: Vec<_> = read
            .units
            .iter()
            .map(|u| (u.tokens.clone(), u.words))
            .collect();
        assert_eq!(found, [(1..4, 2), (4..5, 1), (6..7, 1), (7..8, 1)]);
        read.hide(&[1, 2, 3, 6, 7], &[9]);
        let label = |place| {
            let label = read.label(place, 3, &[0, 0, 0, 4]);
            assert_eq!(label.frequency, 4);
            (label.unit, label.word, label.distance)
        };
        assert_eq!(label(1), (1, 1, 2));
        assert_eq!(label(2), (1, 1, 1));
        assert_eq!(label(3), (1, 0, 0));
        assert_eq!(label(6), (0, 0, 1));
        assert_eq!(label(7), (0, 0, 2));
        // Another attention run is not seen, and nothing visible is far away.
        read.hide(&[1, 2, 3, 6, 7], &[6, 9]);
        assert_eq!(read.label(6, 3, &[]).distance, FARTHEST as u8 - 1);
        assert_eq!(read.label(3, 3, &[]).distance, 0);
    }

    #[test]
    fn frequencies_go_by_rank() {
        let counts: Vec<u64> = (0..200)
            .map(|id| if id == 5 { 0 } else { 1000 - id })
            .collect();
        let bins = frequencies(&counts);
        assert_eq!((bins[0], bins[5], bins[10], bins[11]), (1, 0, 1, 2));
        assert_eq!((bins[100], bins[101]), (2, 3));
    }
}

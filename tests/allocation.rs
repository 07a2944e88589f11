//! Masked rows cost no allocation: the allocator counts them, from the decoded record
//! batch to finished ids, positions and labels, for every strategy and layout.

use allocation_counter::measure;
use cloze::base::boundaries::Boundaries;
use cloze::base::generator::{Key, Purpose};
use cloze::base::token::SpecialTokens;
use cloze::config::{Layout, Level, MaskingConfig, Strategy};
use cloze::masking::{MaskedRow, Masker, Row, Stamp, TokenTable, Workspace};
use std::sync::Arc;

const LENGTH: usize = 512;
const ROWS: u64 = 64;

struct Text {
    ids: Vec<u32>,
    protected: Boundaries,
    word_start: Boundaries,
    unit_start: Boundaries,
}

impl Text {
    fn new() -> Self {
        let mut draws = Key::default().generator(Purpose::Shuffle);
        let words: Boundaries = (0..LENGTH).map(|_| draws.below(4) > 0).collect();
        Self {
            ids: (0..LENGTH as u32).map(|place| 10 + place).collect(),
            protected: (0..LENGTH)
                .map(|place| place == 0 || place + 1 == LENGTH)
                .collect(),
            unit_start: words
                .as_slice()
                .iter()
                .map(|word| word && draws.below(3) > 0)
                .collect(),
            word_start: words,
        }
    }

    fn row(&self) -> Row<'_> {
        Row {
            ids: &self.ids,
            protected: self.protected.as_slice(),
            word_start: self.word_start.as_slice(),
            unit_start: self.unit_start.as_slice(),
        }
    }
}

fn mask(
    masker: &Masker,
    text: &Text,
    samples: std::ops::Range<u64>,
    work: &mut Workspace,
    out: &mut MaskedRow,
) {
    let row = text.row();
    for sample in samples {
        let key = Key {
            sample,
            ..Key::default()
        };
        let drawn = masker.select(&row, key, Stamp::default(), work);
        for copy in 0..drawn.copies {
            masker.write(&row, key, copy, work, &mut out.output());
        }
    }
}

#[test]
fn nothing_is_allocated_for_a_row_once_the_buffers_have_grown() {
    let text = Text::new();
    let special = SpecialTokens {
        mask: Some(4),
        sep: Some(3),
        reserved: (0..10).chain(600..1000).collect(),
        sentinels: (600..1000).collect(),
        ..SpecialTokens::default()
    };
    let weights: Arc<[f32]> = (0..1000).map(|id| 1.0 + (id % 3) as f32).collect();
    for strategy in Strategy::ALL {
        for layout in [Layout::InPlace, Layout::Removed, Layout::Sentinel] {
            for prediction in [None, Some(0.1), Some(0.5)] {
                for weighted in [false, true] {
                    if weighted && strategy.samples_spans() {
                        continue;
                    }
                    let replaces = layout != Layout::Sentinel;
                    let config = MaskingConfig {
                        strategy,
                        layout,
                        corruption_rate: 0.2.into(),
                        prediction_rate: prediction.map(f64::into),
                        mask_share: if replaces { 0.8 } else { 1.0 },
                        random_share: if replaces { 0.2 } else { 0.0 },
                        extra_same: if replaces { 0.05 } else { 0.0 },
                        replacement_level: Level::Word,
                        token_weights: weighted.then(|| "weights.tsv".into()),
                        ..MaskingConfig::default()
                    };
                    let tokens = TokenTable {
                        weights: Some(weights.clone()),
                        ..TokenTable::new(1000, &special)
                    };
                    let masker = Masker::new(&config, &tokens).unwrap();
                    let (mut work, mut out) = (Workspace::new(), MaskedRow::default());
                    // Grows every buffer as far as any row needs it.
                    mask(&masker, &text, 0..1000, &mut work, &mut out);
                    let counted = measure(|| {
                        mask(&masker, &text, 1000..1000 + ROWS, &mut work, &mut out);
                    });
                    assert_eq!(
                        counted.count_total, 0,
                        "{strategy:?} {layout:?} {prediction:?} weights {weighted}"
                    );
                }
            }
        }
    }
}

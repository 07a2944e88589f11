//! Tokens per second of masking, one thread, from the ids of a row to finished ids,
//! positions and labels; rows of 128 and 512 tokens at 40 %, for every strategy.
//! Every run asserts the realised rate, so that a fast wrong mask is no result.
//!
//! `cargo bench --bench masking`

use cloze::base::boundaries::Boundaries;
use cloze::base::generator::{Key, Purpose};
use cloze::base::token::{SpecialTokens, TokenId};
use cloze::config::{MaskingConfig, Strategy};
use cloze::masking::{MaskedRow, Masker, Realised, Row, Stamp, TokenTable, Workspace};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const ROWS: usize = 256;

struct Text {
    ids: Vec<TokenId>,
    protected: Boundaries,
    word_start: Boundaries,
    unit_start: Boundaries,
}

impl Text {
    /// [CLS] … [SEP]; words of 1.3 tokens and units of 1.9 tokens on average, as in
    /// English Wikipedia.
    fn new(length: usize) -> Self {
        let mut draws = Key::default().generator(Purpose::Shuffle);
        let mut text = Self {
            ids: Vec::new(),
            protected: Boundaries::new(),
            word_start: Boundaries::new(),
            unit_start: Boundaries::new(),
        };
        for place in 0..length {
            let edge = place == 0 || place + 1 == length;
            let word = draws.below(100) < 77;
            text.ids.push(if edge {
                101
            } else {
                1000 + draws.below(29_000)
            });
            text.protected.push(edge);
            text.word_start.push(word);
            text.unit_start.push(word && draws.below(100) < 68);
        }
        text
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

fn masking(criterion: &mut Criterion) {
    let special = SpecialTokens {
        mask: Some(103),
        cls: Some(101),
        reserved: vec![0, 100, 101, 102, 103],
        ..SpecialTokens::default()
    };
    for length in [128, 512] {
        let mut group = criterion.benchmark_group(format!("masking/{length}"));
        group.throughput(Throughput::Elements((ROWS * length) as u64));
        for (name, strategy, bert) in [
            ("uniform", Strategy::Uniform, false),
            ("uniform 80-10-10", Strategy::Uniform, true),
            ("word", Strategy::Word, false),
            ("pmi", Strategy::Pmi, false),
            ("span", Strategy::Span, false),
        ] {
            let config = MaskingConfig {
                strategy,
                mask_share: if bert { 0.8 } else { 1.0 },
                random_share: if bert { 0.1 } else { 0.0 },
                same_share: if bert { 0.1 } else { 0.0 },
                ..MaskingConfig::default()
            };
            let masker = Masker::new(&config, &TokenTable::new(30_522, &special))
                .expect("a configuration that works");
            let text = Text::new(length);
            let mut work = Workspace::new();
            let mut out = MaskedRow::default();
            let (mut sample, mut sum) = (0, Realised::default());
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter(|| {
                    for _ in 0..ROWS {
                        let key = Key {
                            sample,
                            ..Key::default()
                        };
                        sample += 1;
                        let row = black_box(text.row());
                        masker.select(&row, key, Stamp::default(), &mut work);
                        sum.add(&masker.write(&row, key, 0, &mut work, &mut out.output()));
                        black_box(&out);
                    }
                });
            });
            let share = sum.predicted as f64 / sum.maskable as f64;
            // A filter on the command line leaves some out.
            let left_out = sum.maskable == 0;
            assert!(left_out || (share - 0.4).abs() < 0.002, "{name}: {share}");
        }
        group.finish();
    }
}

criterion_group!(benches, masking);
criterion_main!(benches);

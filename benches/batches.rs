//! Tokens per second to finished batches, one thread. `decoded`: from a decoded record
//! batch, cut into rows, masked at 40 %, padded. `batches`: from a mapped shard, record
//! batches checked, decompressed, and rows permuted besides.
//! Shards of 4 Mi tokens in the system's temporary folder; every run asserts the
//! realised rate.
//!
//! `cargo bench --bench batches`

use cloze::base::boundaries::Boundaries;
use cloze::base::generator::{Key, Purpose};
use cloze::base::token::SpecialTokens;
use cloze::batches::cut::RowBuffer;
use cloze::batches::masks::BatchMasker;
use cloze::batches::reader::WINDOW_TOKENS;
use cloze::batches::{Corpus, Order, Position, Reader, Realised};
use cloze::columnar::DocumentWriter;
use cloze::columnar::writer::Layout;
use cloze::config::{Budget, MaskingConfig, RowLayout, RowsConfig, Strategy};
use cloze::masking::{Masker, Stamp, TokenTable};
use cloze::shard::ShardSet;
use cloze::storage::manifest::FileRecord;
use cloze::storage::{ArtefactKind, Manifest, TokenizerRecord};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

const TOKENS: u64 = 4 << 20;
const BATCH_ROWS: usize = 256;
/// A record batch of 64 Ki tokens holds several of these.
const DECODED_ROWS: usize = 64;
const WHY: &str = "a shard that was just written";

/// Documents of 1 to 999 tokens with ids of uneven frequency, words of 1.3 and units of
/// 1.9 tokens on average.
fn write(folder: &Path) {
    let layout = Layout {
        wide: false,
        spans: true,
        batch_tokens: 1 << 16,
        zstd_level: 1,
        short_matches: true,
    };
    let mut writer = DocumentWriter::new(Vec::new(), "0.arrow", layout).expect(WHY);
    let mut draws = Key::default().generator(Purpose::Shuffle);
    for document in 0..TOKENS / 500 {
        let (mut tokens, mut words, mut units) = (Vec::new(), Boundaries::new(), Boundaries::new());
        for place in 0..1 + draws.below(999) {
            let word = place == 0 || draws.below(100) < 77;
            tokens.push(1000 + (draws.unit().powi(4) * 29_000.0) as u32);
            words.push(word);
            units.push(word && (place == 0 || draws.below(100) < 68));
        }
        writer
            .push(document, &tokens, words.as_slice(), Some(units.as_slice()))
            .expect(WHY);
    }
    let (bytes, _) = writer.finish(serde_json::json!({})).expect(WHY);
    std::fs::write(folder.join("0.arrow"), &bytes).expect(WHY);
    let manifest = Manifest {
        tokenizer: Some(TokenizerRecord {
            file: String::new(),
            fingerprint: String::new(),
            vocabulary_size: 30_522,
            special_tokens: SpecialTokens {
                pad: Some(0),
                unk: Some(100),
                cls: Some(101),
                sep: Some(102),
                mask: Some(103),
                reserved: vec![0, 100, 101, 102, 103],
                sentinels: Vec::new(),
            },
            tokenizer_path: "library".into(),
        }),
        files: vec![FileRecord {
            name: "0.arrow".into(),
            bytes: bytes.len() as u64,
            hash: String::new(),
            rows: TOKENS / 500,
            tokens: None,
        }],
        ..Manifest::new(ArtefactKind::Shards)
    };
    manifest.write(&folder.join("manifest.json")).expect(WHY);
}

fn batches(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect(WHY);
    write(folder.path());
    for length in [128, 512] {
        let mut group = criterion.benchmark_group(format!("batches/{length}"));
        group.sample_size(20);
        for (name, layout, strategy) in [
            ("uniform", RowLayout::Packed, Strategy::Uniform),
            ("pmi", RowLayout::Packed, Strategy::Pmi),
            ("uniform, best fit", RowLayout::BestFit, Strategy::Uniform),
        ] {
            let rows = RowsConfig { layout, length };
            let shards = ShardSet::open(folder.path()).expect(WHY);
            let corpus = Arc::new(Corpus::open(shards, &rows).expect(WHY));
            group.throughput(Throughput::Elements(corpus.rows() * u64::from(length)));
            let masking = MaskingConfig {
                strategy,
                ..MaskingConfig::default()
            };
            let special = corpus.shards().special_tokens().expect(WHY);
            let tokens = TokenTable::new(corpus.vocabulary(), special);
            let masker = Masker::new(&masking, &tokens).expect(WHY);
            let order = Order {
                seed: 1,
                batch_rows: BATCH_ROWS,
                step_rows: BATCH_ROWS as u32,
                fill: None,
                training: corpus.rows(),
                window_tokens: WINDOW_TOKENS,
            };
            let mut sum = Realised::default();
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter(|| {
                    let start = Position::default();
                    let mut reader =
                        Reader::new(corpus.clone(), masker.clone(), order.clone(), start)
                            .expect(WHY);
                    for _ in 0..corpus.rows() / BATCH_ROWS as u64 {
                        let batch = reader.read().expect(WHY);
                        sum.add(&batch.realised);
                        black_box(&batch);
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

/// Ways to mask, all at 40 %.
fn ways() -> Vec<(&'static str, MaskingConfig)> {
    let of = |strategy| MaskingConfig {
        strategy,
        ..MaskingConfig::default()
    };
    vec![
        ("uniform", of(Strategy::Uniform)),
        (
            "uniform 80-10-10",
            MaskingConfig {
                mask_share: 0.8,
                random_share: 0.1,
                same_share: 0.1,
                ..of(Strategy::Uniform)
            },
        ),
        (
            "bernoulli",
            MaskingConfig {
                budget: Budget::Bernoulli,
                ..of(Strategy::Uniform)
            },
        ),
        ("word", of(Strategy::Word)),
        ("pmi", of(Strategy::Pmi)),
        ("span", of(Strategy::Span)),
        ("geometric", of(Strategy::Geometric)),
        ("ngram", of(Strategy::Ngram)),
    ]
}

/// From decoded record batches to finished ids, positions and labels: rows cut, masked
/// and padded, with what a row allocates (nothing) reused.
fn decoded(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect(WHY);
    write(folder.path());
    for length in [128, 512] {
        let rows = RowsConfig {
            layout: RowLayout::Packed,
            length,
        };
        let corpus = Corpus::open(ShardSet::open(folder.path()).expect(WHY), &rows).expect(WHY);
        let special = corpus.shards().special_tokens().expect(WHY);
        let mut group = criterion.benchmark_group(format!("decoded/{length}"));
        for (name, masking) in ways() {
            let tokens = TokenTable::new(corpus.vocabulary(), special);
            let masker = Masker::new(&masking, &tokens).expect(WHY);
            let mut masks = BatchMasker::new(&corpus, masker).expect(WHY);
            let cut = corpus.read(0, masks.projection()).expect(WHY);
            let rows = cut.rows() / DECODED_ROWS as u64 * DECODED_ROWS as u64;
            assert!(rows > 0, "a record batch holds batches");
            group.throughput(Throughput::Elements(rows * u64::from(length)));
            let mut batch = masks.begin(DECODED_ROWS);
            let mut buffer = RowBuffer::default();
            let (mut epoch, mut sum) = (0, Realised::default());
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter(|| {
                    epoch += 1;
                    for row in 0..rows {
                        if row % DECODED_ROWS as u64 == 0 {
                            masks.restart(&mut batch);
                        }
                        cut.fill(corpus.frame(), row, &mut buffer);
                        let key = Key {
                            epoch,
                            sample: row,
                            ..Key::default()
                        };
                        masks.push(&buffer, key, Stamp::default(), &mut batch);
                        if (row + 1) % DECODED_ROWS as u64 == 0 {
                            masks.finish(&mut batch);
                            sum.add(&batch.realised);
                            black_box(&batch);
                        }
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

criterion_group!(benches, decoded, batches);
criterion_main!(benches);

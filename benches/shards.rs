//! Shards, one thread: `write` encodes documents, `sequential` opens a set and reads every
//! record batch of it with its hash checked, `random` reads rows of 128 tokens by number,
//! with all or a share of the decoded set kept. Every run asserts what it read. A set of
//! 4 Mi tokens of uneven frequency, or the one that CLOZE_SHARDS names.
//!
//! `cargo bench --bench shards`, `CLOZE_SHARDS=shards cargo bench --bench shards`

use cloze::base::boundaries::Boundaries;
use cloze::base::generator::{Key, Purpose};
use cloze::base::size::ByteSize;
use cloze::base::token::{SpecialTokens, TokenId};
use cloze::batches::{Corpus, RandomRows};
use cloze::columnar::writer::Layout;
use cloze::columnar::{DocumentWriter, Projection};
use cloze::config::{RowLayout, RowsConfig, ShardRead};
use cloze::shard::ShardSet;
use cloze::storage::manifest::FileRecord;
use cloze::storage::{ArtefactKind, Manifest, TokenizerRecord};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const TOKENS: u64 = 4 << 20;
const WHY: &str = "a shard that was just written";

/// Planes of one document.
type Planes = (Vec<TokenId>, Boundaries, Boundaries);

/// Documents of 1 to 5999 tokens with ids of uneven frequency, words of 1.3 and units of
/// 1.9 tokens on average.
fn documents() -> Vec<Planes> {
    let mut draws = Key::default().generator(Purpose::Shuffle);
    let document = |_| {
        let (mut tokens, mut words, mut units) = (Vec::new(), Boundaries::new(), Boundaries::new());
        for place in 0..1 + draws.below(5999) {
            let word = place == 0 || draws.below(100) < 77;
            tokens.push(1000 + (draws.unit().powi(4) * 29_000.0) as u32);
            words.push(word);
            units.push(word && (place == 0 || draws.below(100) < 68));
        }
        (tokens, words, units)
    };
    (0..TOKENS / 3000).map(document).collect()
}

fn layout(zstd_level: i32) -> Layout {
    Layout {
        wide: false,
        spans: true,
        batch_tokens: 1 << 16,
        zstd_level,
        short_matches: true,
    }
}

fn encoded(documents: &[Planes], level: i32) -> Vec<u8> {
    let mut writer = DocumentWriter::new(Vec::new(), "0.arrow", layout(level)).expect(WHY);
    for (id, (tokens, words, units)) in (0..).zip(documents) {
        let units = Some(units.as_slice());
        writer.push(id, tokens, words.as_slice(), units).expect(WHY);
    }
    writer.finish(serde_json::json!({})).expect(WHY).0
}

fn write(criterion: &mut Criterion) {
    let documents = documents();
    let tokens: usize = documents.iter().map(|(tokens, ..)| tokens.len()).sum();
    let mut group = criterion.benchmark_group("write");
    group.sample_size(10);
    group.throughput(Throughput::Elements(tokens as u64));
    for level in [1, 3] {
        group.bench_function(BenchmarkId::from_parameter(level), |bencher| {
            bencher.iter(|| {
                let bytes = encoded(&documents, level).len();
                assert!((tokens..3 * tokens).contains(&bytes), "{bytes} bytes");
            });
        });
    }
    group.finish();
}

/// A set of shards to read, in `folder` unless the environment names one.
fn set(folder: &Path) -> PathBuf {
    if let Some(named) = std::env::var_os("CLOZE_SHARDS") {
        return named.into();
    }
    let documents = documents();
    let bytes = encoded(&documents, 3);
    std::fs::write(folder.join("0.arrow"), &bytes).expect(WHY);
    let manifest = Manifest {
        tokenizer: Some(TokenizerRecord {
            file: String::new(),
            fingerprint: String::new(),
            vocabulary_size: 30_522,
            special_tokens: SpecialTokens {
                sep: Some(102),
                cls: Some(101),
                reserved: vec![101, 102],
                ..SpecialTokens::default()
            },
            tokenizer_path: "library".into(),
        }),
        files: vec![FileRecord {
            name: "0.arrow".into(),
            bytes: bytes.len() as u64,
            hash: String::new(),
            rows: documents.len() as u64,
            tokens: None,
        }],
        ..Manifest::new(ArtefactKind::Shards)
    };
    manifest.write(&folder.join("manifest.json")).expect(WHY);
    folder.to_owned()
}

fn sequential(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect(WHY);
    let path = set(folder.path());
    let tokens = ShardSet::open(&path).expect(WHY).tokens();
    let mut group = criterion.benchmark_group("sequential");
    group.throughput(Throughput::Elements(tokens));
    let ids = Projection {
        tokens: true,
        word_start: false,
        span_start: false,
    };
    for (name, projection, read) in [
        ("ids, mmap", ids, ShardRead::Mmap),
        ("ids, pread", ids, ShardRead::Pread),
        ("all planes, mmap", Projection::ALL, ShardRead::Mmap),
        ("all planes, pread", Projection::ALL, ShardRead::Pread),
    ] {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                // Opened anew, so that every hash is checked.
                let set = ShardSet::open_by(&path, read).expect(WHY);
                let batches = 0..set.batches().len();
                let read = batches.map(|at| set.read(at, projection).expect(WHY).token_count());
                assert_eq!(read.sum::<usize>() as u64, tokens);
            });
        });
    }
    group.finish();
}

fn random(criterion: &mut Criterion) {
    const ROWS: u64 = 4096;
    let folder = tempfile::tempdir().expect(WHY);
    let path = set(folder.path());
    let rows = RowsConfig {
        layout: RowLayout::Packed,
        length: 128,
    };
    let shards = ShardSet::open(&path).expect(WHY);
    let corpus = Arc::new(Corpus::open(shards, &rows).expect(WHY));
    let whole = corpus.shards().tokens() * 5 / 2;
    let mut draws = Key::default().generator(Purpose::Order);
    let mut group = criterion.benchmark_group("random rows");
    group.sample_size(10);
    group.throughput(Throughput::Elements(ROWS));
    for (name, memory) in [("all", whole), ("9 of 10", whole * 9 / 10), ("none", 0)] {
        let mut reader = RandomRows::new(corpus.clone(), Projection::ALL, ByteSize(memory));
        for batch in 0..corpus.batches() {
            reader.read(corpus.rows_of(batch).start).expect(WHY);
        }
        group.bench_function(BenchmarkId::new("kept", name), |bencher| {
            bencher.iter(|| {
                for _ in 0..ROWS {
                    let row = u64::from(draws.below(corpus.rows() as u32));
                    let ids = reader.read(row).expect(WHY).row().ids;
                    assert!(ids.len() <= 128 && ids[0] == 101);
                }
            });
        });
        println!("{} of decoded record batches kept", reader.memory());
    }
    group.finish();
}

criterion_group!(benches, write, sequential, random);
criterion_main!(benches);

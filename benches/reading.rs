//! Text in: a whole corpus read as `cloze tokenize` reads it, without a tokenizer, on one
//! and two threads. Bytes of text a second; every run asserts how many. Lines of Zipf-like
//! words with an escape every 80 bytes, plain and in one Zstandard frame, or the file that
//! CLOZE_TEXT names.
//!
//! `cargo bench --bench reading`, `CLOZE_TEXT=wiki.jsonl.zst cargo bench --bench reading`

use cloze::base::generator::{Key, Purpose};
use cloze::base::part::Part;
use cloze::config::TokenizeConfig;
use cloze::parallel;
use cloze::text::{Chunk, Corpus, Cursor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::path::Path;

const WHY: &str = "text that was just written";

/// Lines of JSON, 64 MB of text.
fn lines() -> String {
    let mut draws = Key::default().generator(Purpose::Shuffle);
    let mut lines = String::new();
    for id in 0..4000 {
        let mut text = String::new();
        for word in 0..2700 {
            let rank = (draws.unit().powi(4) * 100_000.0) as u32;
            text.push_str(&format!("w{rank:x}"));
            text.push(if word % 14 == 13 { '\n' } else { ' ' });
        }
        lines.push_str(&serde_json::json!({"id": id, "text": text}).to_string());
        lines.push('\n');
    }
    lines
}

/// Bytes of text in the file at `path`.
fn read(path: &Path, threads: usize) -> u64 {
    let config = TokenizeConfig {
        inputs: vec![path.display().to_string()],
        ..TokenizeConfig::default()
    };
    let corpus = Corpus::open(&config).expect(WHY);
    let mut bytes = 0;
    parallel::ordered(
        threads,
        corpus.chunks(Part::WHOLE, Cursor::default()),
        || {
            |chunk: Chunk| {
                let mut bytes = 0;
                corpus.read(chunk, |outcome| {
                    bytes += outcome.text.map_or(0, |text| text.len() as u64);
                    Ok(())
                })?;
                Ok(bytes)
            }
        },
        |found| {
            bytes += found;
            Ok(())
        },
    )
    .expect(WHY);
    bytes
}

fn reading(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect(WHY);
    let named = std::env::var_os("CLOZE_TEXT");
    let mut paths = Vec::new();
    match &named {
        Some(path) => paths.push(("named", path.into())),
        None => {
            let lines = lines();
            for (name, bytes) in [
                ("text.jsonl", lines.clone().into_bytes()),
                (
                    "text.jsonl.zst",
                    zstd::encode_all(lines.as_bytes(), 3).expect(WHY),
                ),
            ] {
                let path = folder.path().join(name);
                std::fs::write(&path, bytes).expect(WHY);
                paths.push((name, path));
            }
        }
    }
    let expected = read(&paths[0].1, 1);
    assert!(expected > 0);
    let mut group = criterion.benchmark_group("read");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(expected));
    for (name, path) in &paths {
        for threads in [1, 2] {
            group.bench_function(BenchmarkId::new(*name, threads), |bencher| {
                bencher.iter(|| assert_eq!(read(path, threads), expected));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, reading);
criterion_main!(benches);

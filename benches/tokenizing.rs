//! Bytes of text per second to ids and word starts, on one thread: the fast path and the
//! library, the reference. Every run asserts its number of tokens.
//!
//! `cargo bench --bench tokenizing`

use cloze::config::TokenizeConfig;
use cloze::tokenizer::{Encoded, Tokenizer, Unencodable};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// Articles of English Wikipedia, 1.7 MB.
fn articles() -> Vec<String> {
    let packed = std::fs::read(data("quickstart/wikipedia-en.jsonl.zst")).unwrap();
    let lines = String::from_utf8(zstd::decode_all(&packed[..]).unwrap()).unwrap();
    let article = |line| -> Value { serde_json::from_str(line).unwrap() };
    let text = |line| article(line)["text"].as_str().unwrap().to_owned();
    lines.lines().map(text).collect()
}

/// Tokenises all texts; returns the number of tokens.
fn all(
    texts: &[String],
    out: &mut Encoded,
    mut encode: impl FnMut(&str, &mut Encoded) -> Result<(), Unencodable>,
) -> usize {
    let mut tokens = 0;
    for text in texts {
        out.tokens.clear();
        out.word_start.clear();
        encode(text, out).unwrap();
        tokens += out.tokens.len();
    }
    tokens
}

fn tokenizing(criterion: &mut Criterion) {
    let texts = articles();
    let bytes: usize = texts.iter().map(String::len).sum();
    let mut group = criterion.benchmark_group("tokenizing");
    group.throughput(Throughput::Bytes(bytes as u64));
    group.sample_size(10);
    group.warm_up_time(Duration::from_secs(1));
    for name in ["bert-base-uncased", "byte-level-bpe", "unigram"] {
        let config = TokenizeConfig {
            tokenizer: data("tokenizers").join(name),
            ..TokenizeConfig::default()
        };
        let tokenizer = Tokenizer::load(&config).unwrap();
        let mut out = Encoded::default();
        let expected = all(&texts, &mut out, |text, out| tokenizer.encode(text, out));
        group.bench_function(format!("{name} by the library"), |bench| {
            bench.iter(|| {
                let tokens = all(&texts, &mut out, |text, out| tokenizer.encode(text, out));
                assert_eq!(tokens, expected);
            });
        });
        if tokenizer.path() != "fast" {
            continue;
        }
        let mut encoder = tokenizer.encoder();
        group.bench_function(format!("{name} by the fast path"), |bench| {
            bench.iter(|| {
                let tokens = all(&texts, &mut out, |text, out| encoder.encode(text, out));
                assert_eq!(tokens, expected);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, tokenizing);
criterion_main!(benches);

//! The fast path against the library: ids and word starts, bit for bit.

use crate::config::TokenizeConfig;
use crate::tokenizer::{Encoded, Encoder, Tokenizer, Unencodable};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tokenizers")
}

fn load(path: &Path) -> Tokenizer {
    let config = TokenizeConfig {
        tokenizer: path.to_owned(),
        ..TokenizeConfig::default()
    };
    Tokenizer::load(&config).unwrap()
}

/// A tokenizer of `tests/data` with other settings, which has a fast path.
fn with(name: &str, change: impl FnOnce(&mut Value)) -> Tokenizer {
    let tokenizer = load(&data().join(name));
    let mut value: Value = serde_json::from_str(tokenizer.to_json()).unwrap();
    change(&mut value);
    let json = value.to_string();
    let tokenizer = Tokenizer::from_json(name, &json, tokenizer.special().clone()).unwrap();
    assert_eq!(tokenizer.path(), "fast");
    tokenizer
}

/// BERT's normaliser in all its settings, over a vocabulary with and without upper case.
fn wordpieces() -> Vec<Tokenizer> {
    let mut made = Vec::new();
    for name in ["bert-base-uncased", "wordpiece-cased"] {
        for bits in 0..16 {
            let on = |bit: u32| bits >> bit & 1 == 1;
            made.push(with(name, |tokenizer| {
                tokenizer["normalizer"] = json!({"type": "BertNormalizer", "clean_text": on(0),
                    "handle_chinese_chars": on(1), "strip_accents": on(2), "lowercase": on(3)});
            }));
        }
    }
    made
}

type Outcome = Result<Encoded, Unencodable>;

fn outcomes(tokenizer: &Tokenizer, encoder: &mut Encoder<'_>, text: &str) -> (Outcome, Outcome) {
    // Something before, which neither may touch.
    let mut before = Encoded::default();
    before.tokens.extend([7; 3]);
    before.word_start.extend_filled(3, true);
    let [mut by_library, mut fast] = [before.clone(), before];
    let reference = tokenizer.encode(text, &mut by_library);
    let found = encoder.encode(text, &mut fast);
    (found.map(|()| fast), reference.map(|()| by_library))
}

#[track_caller]
fn same(tokenizer: &Tokenizer, encoder: &mut Encoder<'_>, text: &str) {
    let (fast, reference) = outcomes(tokenizer, encoder, text);
    if fast != reference {
        let json: Value = serde_json::from_str(tokenizer.to_json()).unwrap();
        let shown: String = text.chars().take(200).collect();
        panic!(
            "{shown:?} under {}: {}",
            json["normalizer"],
            first_difference(tokenizer, &fast, &reference)
        );
    }
}

fn first_difference(tokenizer: &Tokenizer, fast: &Outcome, reference: &Outcome) -> String {
    let (Ok(fast), Ok(reference)) = (fast, reference) else {
        return format!("{fast:?}, not {reference:?}");
    };
    let shown = |encoded: &Encoded, from: usize| -> Vec<String> {
        let starts = encoded.word_start.as_slice();
        (from..encoded.tokens.len().min(from + 8))
            .map(|at| {
                let bar = if starts.get(at) { "|" } else { "" };
                format!("{bar}{}", tokenizer.spelling(encoded.tokens[at]))
            })
            .collect()
    };
    let same = |at: &usize| {
        let token = |encoded: &Encoded| {
            encoded
                .tokens
                .get(*at)
                .map(|&id| (id, encoded.word_start.as_slice().get(*at)))
        };
        token(fast) == token(reference) && token(fast).is_some()
    };
    let at = (0..).take_while(same).count();
    format!(
        "from {at}: {:?}, not {:?}",
        shown(fast, at),
        shown(reference, at)
    )
}

#[test]
fn every_scalar_value_is_tokenised_as_by_the_library() {
    for tokenizer in wordpieces() {
        let mut encoder = tokenizer.encoder();
        // A thousand at a time: alone, between letters, after a mark, doubled.
        let all: Vec<char> = ('\0'..=char::MAX).collect();
        for some in all.chunks(4096) {
            let mut text = String::new();
            for c in some {
                text.extend([' ', *c, ' ', 'a', *c, 'b', '\u{301}', *c, *c, ' ']);
            }
            same(&tokenizer, &mut encoder, &text);
        }
    }
}

//! Unigram's fast path against the library: ids and word starts, bit for bit.

use crate::tokenizer::fast::against_library::{
    add, awkward_text_is_the_same, changed, data, every_scalar_value_is_the_same, outcomes, same,
    with,
};
use crate::tokenizer::{Tokenizer, Unencodable};
use serde_json::{Value, json};

/// The normaliser of T5.
fn nmt_nfkc() -> Value {
    let map = std::fs::read_to_string(data().join("nmt-nfkc.txt")).unwrap();
    json!({"type": "Precompiled", "precompiled_charsmap": map.trim_end()})
}

/// T5's with a small vocabulary.
fn t5(change: impl FnOnce(&mut Value)) -> Tokenizer {
    with("unigram", |tokenizer| {
        tokenizer["normalizer"] = nmt_nfkc();
        change(tokenizer);
    })
}

/// Adds pieces of a score.
fn pieces(tokenizer: &mut Value, pieces: &[&str], score: f64) {
    let vocabulary = tokenizer["model"]["vocab"].as_array_mut().unwrap();
    vocabulary.extend(pieces.iter().map(|piece| json!([piece, score])));
}

fn all() -> Vec<Tokenizer> {
    vec![
        with("unigram", |_| {}),
        with("unigram", |tokenizer| {
            tokenizer["normalizer"] = Value::Null;
            tokenizer["pre_tokenizer"]["pretokenizers"][1]["prepend_scheme"] = "never".into();
        }),
        with("unigram", |tokenizer| {
            tokenizer["normalizer"] = json!({"type": "NFC"})
        }),
        t5(|_| {}),
        t5(|tokenizer| {
            add(
                tokenizer,
                &[
                    ("covid", json!({"lstrip": true, "normalized": false})),
                    ("Ⅷ", json!({})),
                    ("  ", json!({})),
                ],
            );
        }),
        // Bytes for what is unknown; pieces that only joined unknown text can be; ties.
        t5(|tokenizer| {
            tokenizer["model"]["byte_fallback"] = true.into();
            let bytes: Vec<String> = (0..=255).map(|byte| format!("<0x{byte:02X}>")).collect();
            let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
            pieces(tokenizer, &bytes, -30.0);
        }),
        t5(|tokenizer| {
            pieces(tokenizer, &["国中", "中国", "一一", "ŒŒŒ"], -1000.0);
            pieces(
                tokenizer,
                &["ab", "ba", "a", "b", "aba", "bab", "the", "the", "th", "he"],
                -3.0,
            );
        }),
    ]
}

#[test]
fn every_scalar_value_is_tokenised_as_by_the_library() {
    every_scalar_value_is_the_same(&t5(|tokenizer| {
        // Few characters are known; bytes show what the others became.
        tokenizer["model"]["byte_fallback"] = true.into();
        let bytes: Vec<String> = (0..=255).map(|byte| format!("<0x{byte:02X}>")).collect();
        let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
        pieces(tokenizer, &bytes, -30.0);
    }));
}

#[test]
fn awkward_text_is_tokenised_as_by_the_library() {
    awkward_text_is_the_same(&all(), 600);
}

#[test]
fn words_of_any_length_are_cut_as_by_the_library() {
    for tokenizer in all() {
        let mut encoder = tokenizer.encoder();
        for length in (1..80).chain([4096, 100_000]) {
            for letters in ["thegardenofearthlydelights", "ab", "é", "国", "▁", "Œ"] {
                let word: String = letters.chars().cycle().take(length).collect();
                same(&tokenizer, &mut encoder, &format!("{word} of {word}"));
            }
        }
    }
}

#[test]
fn a_special_token_from_text_is_the_librarys_error() {
    let tokenizer = with("unigram", |tokenizer| tokenizer["normalizer"] = Value::Null);
    let mut encoder = tokenizer.encoder();
    for text in [
        "the </s> sea",
        "the \0</s> sea",
        "\0<unk>",
        "a\0<unk>\0<unk>b",
        "\0<pad>\0</s>",
    ] {
        same(&tokenizer, &mut encoder, text);
    }
    let (fast, _) = outcomes(&tokenizer, &mut encoder, "the \0</s> sea");
    assert!(matches!(fast, Err(Unencodable::SpecialToken { .. })));
}

#[test]
fn the_library_does_what_the_fast_path_does_not_know() {
    let why = |change: fn(&mut Value)| changed("unigram", change).path();
    let normalizer: fn(&mut Value) = |t| t["normalizer"] = json!({"type": "Lowercase"});
    assert_eq!(why(normalizer), "library: normalizer Lowercase");
    assert_eq!(
        why(|t| t["pre_tokenizer"]["pretokenizers"][1]["prepend_scheme"] = "first".into()),
        "library: pre-tokenizer Metaspace that prepends first"
    );
    let metaspace: fn(&mut Value) =
        |t| t["pre_tokenizer"] = json!({"type": "Metaspace", "replacement": "▁"});
    assert_eq!(why(metaspace), "library: pre-tokenizer Metaspace");
}

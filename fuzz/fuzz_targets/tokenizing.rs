//! Any text, under any of BERT's settings and those of each kind of tokenizer: the fast path gives
//! what the library gives, ids, word starts and errors.
//!
//! `make fuzz` for a minute of it; `cargo fuzz run tokenizing` with a nightly compiler.
#![no_main]

use cloze::config::TokenizeConfig;
use cloze::tokenizer::{Encoded, Encoder, Tokenizer};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

static TOKENIZERS: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
    let mut tokenizers: Vec<Tokenizer> =
        ["byte-level-bpe", "gpt2-style", "unigram"].map(load).into();
    for name in ["bert-base-uncased", "wordpiece-cased"] {
        for bits in 0..16 {
            let on = |bit: u32| bits >> bit & 1 == 1;
            tokenizers.push(changed(name, |tokenizer| {
                tokenizer["normalizer"] = json!({"type": "BertNormalizer", "clean_text": on(0),
                    "handle_chinese_chars": on(1), "strip_accents": on(2), "lowercase": on(3)});
            }));
        }
    }
    // ModernBERT's kind, dolma2's and T5's.
    tokenizers.push(changed("byte-level-bpe", |tokenizer| {
        tokenizer["normalizer"] = json!({"type": "NFC"});
        let added = tokenizer["added_tokens"].as_array_mut().expect("a list");
        let spellings = ["  ", "   ", "    ", "|||IP_ADDRESS|||", "[unused0]", "e\u{301}"];
        for (id, content) in (1201..).zip(spellings) {
            added.push(json!({"id": id, "content": content, "single_word": false,
                "lstrip": id == 1205, "rstrip": false, "normalized": id != 1204, "special": false}));
        }
    }));
    tokenizers.push(changed("byte-level-bpe", |tokenizer| {
        tokenizer["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": CL100K}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                "use_regex": false}]});
    }));
    tokenizers.push(changed("unigram", |tokenizer| {
        let map = std::fs::read_to_string(data("nmt-nfkc.txt")).expect("the map of the tests");
        tokenizer["normalizer"] =
            json!({"type": "Precompiled", "precompiled_charsmap": map.trim_end()});
    }));
    for tokenizer in &tokenizers {
        assert_eq!(tokenizer.path(), "fast");
    }
    tokenizers
});

const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

thread_local! {
    /// Kept from text to text: what one leaves in a cache must not show in the next.
    static ENCODERS: RefCell<Vec<Encoder<&'static Tokenizer>>> =
        RefCell::new(TOKENIZERS.iter().map(Tokenizer::encoder).collect());
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/data/tokenizers")
        .join(name)
}

fn load(name: &str) -> Tokenizer {
    let config = TokenizeConfig {
        tokenizer: data(name),
        ..TokenizeConfig::default()
    };
    Tokenizer::load(&config).expect("a tokenizer of the tests")
}

/// A tokenizer of the tests with other settings.
fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Tokenizer {
    let loaded = load(name);
    let mut value: Value = serde_json::from_str(loaded.to_json()).expect("it is JSON");
    change(&mut value);
    let changed = Tokenizer::from_json(name, &value.to_string(), loaded.special().clone());
    changed.expect("one in other settings")
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&which, text)) = bytes.split_first() else {
        return;
    };
    let which = usize::from(which) % TOKENIZERS.len();
    let text = String::from_utf8_lossy(text);
    let (mut fast, mut reference) = (Encoded::default(), Encoded::default());
    let found = ENCODERS.with_borrow_mut(|encoders| encoders[which].encode(&text, &mut fast));
    let expected = TOKENIZERS[which].encode(&text, &mut reference);
    assert_eq!(found, expected);
    assert_eq!(fast, reference);
});

//! Any text, under any of BERT's settings and each kind of tokenizer: the fast path gives
//! what the library gives, ids, word starts and errors.
//!
//! `make fuzz` for a minute of it; `cargo fuzz run tokenizing` with a nightly compiler.
#![no_main]

use cloze::config::TokenizeConfig;
use cloze::tokenizer::{Encoded, Encoder, Tokenizer};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::path::Path;
use std::sync::LazyLock;

static TOKENIZERS: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
    let mut tokenizers: Vec<Tokenizer> =
        ["byte-level-bpe", "gpt2-style", "unigram"].map(load).into();
    for name in ["bert-base-uncased", "wordpiece-cased"] {
        let loaded = load(name);
        for bits in 0..16 {
            let on = |bit: u32| bits >> bit & 1 == 1;
            let mut value: Value = serde_json::from_str(loaded.to_json()).expect("it is JSON");
            value["normalizer"] = json!({"type": "BertNormalizer", "clean_text": on(0),
                "handle_chinese_chars": on(1), "strip_accents": on(2), "lowercase": on(3)});
            let special = loaded.special().clone();
            let changed = Tokenizer::from_json(name, &value.to_string(), special);
            tokenizers.push(changed.expect("BERT in other settings"));
        }
    }
    tokenizers
});

thread_local! {
    /// Kept from text to text: what one leaves in a cache must not show in the next.
    static ENCODERS: RefCell<Vec<Encoder<'static>>> =
        RefCell::new(TOKENIZERS.iter().map(Tokenizer::encoder).collect());
}

fn load(name: &str) -> Tokenizer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tokenizers");
    let config = TokenizeConfig {
        tokenizer: folder.join(name),
        ..TokenizeConfig::default()
    };
    Tokenizer::load(&config).expect("a tokenizer of the tests")
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

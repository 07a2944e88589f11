//! BERT's fast path against the library: words, ids and word starts, bit for bit.

use super::units::Units;
use super::{Characters, rules};
use crate::config::TokenizeConfig;
use crate::tokenizer::{Encoded, Encoder, Tokenizer, Unencodable};
use proptest::prelude::*;
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

/// A tokenizer of `tests/data` with other settings.
fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Tokenizer {
    let tokenizer = load(&data().join(name));
    let mut value: Value = serde_json::from_str(tokenizer.to_json()).unwrap();
    change(&mut value);
    Tokenizer::from_json(name, &value.to_string(), tokenizer.special().clone()).unwrap()
}

/// One that has a fast path.
fn with(name: &str, change: impl FnOnce(&mut Value)) -> Tokenizer {
    let tokenizer = changed(name, change);
    assert_eq!(tokenizer.path(), "fast");
    tokenizer
}

/// BERT's normaliser by its settings, a bit for each.
fn normalizer(bits: u32) -> Value {
    let on = |bit: u32| bits >> bit & 1 == 1;
    json!({"type": "BertNormalizer", "clean_text": on(0), "handle_chinese_chars": on(1),
        "strip_accents": on(2), "lowercase": on(3)})
}

const ALL_ON: u32 = 15;

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
    let token = |encoded: &Encoded, at: usize| {
        let starts = encoded.word_start.as_slice();
        let id = encoded.tokens.get(at)?;
        let bar = if starts.get(at) { "|" } else { "" };
        Some(format!("{bar}{}", tokenizer.spelling(*id)))
    };
    let differs = |at: &usize| token(fast, *at) != token(reference, *at);
    let from = (0..fast.tokens.len()).find(differs).unwrap_or(0);
    let shown = |encoded| -> Vec<String> {
        (from..from + 8)
            .map_while(|at| token(encoded, at))
            .collect()
    };
    format!("from {from}: {:?}, not {:?}", shown(fast), shown(reference))
}

/// The words that the fast path cuts, and those of the library.
fn words(tokenizer: &Tokenizer, text: &str) -> (Vec<String>, Vec<String>) {
    let json: Value = serde_json::from_str(tokenizer.to_json()).unwrap();
    let characters = Characters::new(rules(&json).unwrap());
    let [mut by_library, mut fast] = [Vec::new(), Vec::new()];
    let word = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    tokenizer
        .cut(text, |bytes| by_library.push(word(bytes)))
        .unwrap();
    let cut: Result<(), ()> = Units::new().cut(&characters, text, |view| {
        for index in 0..view.blocks() {
            let (starts, _) = view.block(index);
            let bits = (0..64).filter(|bit| starts >> bit & 1 == 1);
            fast.extend(bits.map(|bit| word(view.word(index, bit))));
        }
        Ok(())
    });
    cut.unwrap();
    (fast, by_library)
}

#[track_caller]
fn same_words(tokenizer: &Tokenizer, text: &str) {
    let (fast, reference) = words(tokenizer, text);
    if fast != reference {
        let differs = |at: &usize| fast.get(*at) != reference.get(*at);
        let from = (0..=fast.len()).find(differs).unwrap_or(0);
        let shown = |words: &[String]| {
            words[from.min(words.len())..]
                .iter()
                .take(4)
                .cloned()
                .collect::<Vec<_>>()
        };
        let json: Value = serde_json::from_str(tokenizer.to_json()).unwrap();
        panic!(
            "under {}, from word {from}: {:?}, not {:?}",
            json["normalizer"],
            shown(&fast),
            shown(&reference)
        );
    }
}

/// Every scalar value: alone, between letters, and before a mark. Whole words are
/// compared, which no unknown token can hide.
fn every_scalar_value(bits: u32, last: char) {
    let tokenizer = with("wordpiece-cased", |tokenizer| {
        tokenizer["normalizer"] = normalizer(bits);
    });
    let all: Vec<char> = ('\0'..=last).collect();
    for some in all.chunks(4096) {
        let mut text = String::new();
        for c in some {
            text.extend([' ', *c, ' ', 'a', *c, 'b', *c, '\u{302e}']);
        }
        same_words(&tokenizer, &text);
    }
}

#[test]
fn every_scalar_value_is_cut_as_by_the_library() {
    every_scalar_value(ALL_ON, char::MAX);
}

#[test]
fn every_scalar_value_of_the_first_planes_is_cut_as_by_the_library_in_any_setting() {
    for bits in [0, 1, 3, 4, 7, 8, 11] {
        every_scalar_value(bits, '\u{1ffff}');
    }
}

/// What has broken tokenizers before.
fn awkward() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        8 => prop::char::range(' ', '~'),
        4 => Just(' '),
        2 => prop::sample::select("\t\n\r\u{b}\u{c}\u{85}\0\u{7f}\u{a0}\u{ad}\u{feff}\u{fffd}".chars().collect::<Vec<_>>()),
        // Marks that go, marks that stay, and one that separates them.
        3 => prop::sample::select("\u{300}\u{301}\u{327}\u{34f}\u{302e}\u{302f}\u{1b44}\u{1d165}\u{1d16d}\u{1d15e}\u{16ff0}\u{94d}".chars().collect::<Vec<_>>()),
        3 => prop::sample::select("éÉßẞŉǰΐİıΣςσŒﬁﬀſ≠ᾳǅ;·`Å鿿Ⅷ".chars().collect::<Vec<_>>()),
        2 => prop::sample::select("中国一龥𠀀豈丽가힣각あア。，「」".chars().collect::<Vec<_>>()),
        2 => prop::sample::select("\u{200b}\u{200d}\u{200e}\u{202e}\u{2066}\u{fe0f}👩🦰🏽👨🇩🇪".chars().collect::<Vec<_>>()),
        1 => prop::char::any(),
    ];
    let piece = prop_oneof![
        6 => prop::collection::vec(character.clone(), 0..40).prop_map(String::from_iter),
        3 => prop::sample::select(vec!["[MASK]", "[UNK]", "[CLS] ", "##", "##ing", "[mask]", "\r\n", "e\u{301}", "<extra_id_0>", "unaffordable", "THE", "the "]).prop_map(String::from),
        2 => (character.clone(), 1usize..300).prop_map(|(c, count)| c.to_string().repeat(count)),
        1 => (character, 1000usize..6000).prop_map(|(c, count)| c.to_string().repeat(count)),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

#[test]
fn awkward_text_is_tokenised_as_by_the_library_in_any_setting() {
    let mut tokenizers = Vec::new();
    for name in ["bert-base-uncased", "wordpiece-cased"] {
        for bits in 0..=ALL_ON {
            tokenizers.push(with(name, |tokenizer| {
                tokenizer["normalizer"] = normalizer(bits);
            }));
        }
    }
    tokenizers.push(with("wordpiece-4096", |tokenizer| {
        tokenizer["normalizer"] = Value::Null;
    }));
    // Encoders live on: what one text left in a cache must not show in the next.
    let mut encoders: Vec<_> = tokenizers.iter().map(Tokenizer::encoder).collect();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(400));
    let encoders = std::cell::RefCell::new(&mut encoders);
    runner
        .run(&(awkward(), 0..tokenizers.len()), |(text, which)| {
            let tokenizer = &tokenizers[which];
            same(tokenizer, &mut encoders.borrow_mut()[which], &text);
            same_words(tokenizer, &text);
            Ok(())
        })
        .unwrap();
}

#[test]
fn unusual_models_are_followed() {
    let texts = [
        "the unaffordable xthe ##the é",
        "ab abc abcd\u{0}e [MASK] \u{0}[MASK] \u{0}abc",
        "x",
    ];
    let models: [fn(&mut Value); 4] = [
        |tokenizer| tokenizer["model"]["max_input_chars_per_word"] = 3.into(),
        |tokenizer| tokenizer["model"]["max_input_chars_per_word"] = 0.into(),
        |tokenizer| tokenizer["model"]["continuing_subword_prefix"] = "".into(),
        |tokenizer| {
            // Its pieces for the inside of words are ones for the head of others.
            tokenizer["model"]["continuing_subword_prefix"] = "t".into();
            tokenizer["normalizer"]["clean_text"] = false.into();
        },
    ];
    for change in models {
        let tokenizer = with("bert-base-uncased", change);
        let mut encoder = tokenizer.encoder();
        for text in texts {
            same(&tokenizer, &mut encoder, text);
        }
    }
}

#[test]
fn a_special_token_from_text_is_the_librarys_error() {
    // NUL and a letter make no word apart, and so the hidden spelling can be reached.
    let tokenizer = with("bert-base-uncased", |tokenizer| {
        tokenizer["normalizer"]["clean_text"] = false.into();
        let added = tokenizer["added_tokens"].as_array_mut().unwrap();
        added.push(
            json!({"id": 1996, "content": "the", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true}),
        );
    });
    let mut encoder = tokenizer.encoder();
    for text in ["the", "of \0the and", "of \0th and"] {
        same(&tokenizer, &mut encoder, text);
    }
    let (fast, _) = outcomes(&tokenizer, &mut encoder, "of \0the and");
    assert!(matches!(
        fast,
        Err(Unencodable::SpecialToken { id: 1996, .. })
    ));
}

#[test]
fn words_longer_than_any_buffer_are_whole() {
    let tokenizer = with("bert-base-uncased", |_| {});
    let mut encoder = tokenizer.encoder();
    for length in [
        15, 16, 17, 63, 64, 65, 66, 100, 101, 4000, 4095, 4096, 4200, 100_000,
    ] {
        for head in ["", "a ", "é", "é é "] {
            let text = format!("{head}{} b", "x".repeat(length));
            same(&tokenizer, &mut encoder, &text);
            same_words(&tokenizer, &text);
        }
    }
}

#[test]
fn the_library_does_what_the_fast_path_does_not_know() {
    let why = |change: fn(&mut Value)| changed("bert-base-uncased", change).path();
    assert_eq!(why(|_| {}), "fast");
    assert_eq!(
        why(|tokenizer| tokenizer["normalizer"] = json!({"type": "Lowercase"})),
        "library: normalizer Lowercase"
    );
    assert_eq!(
        why(|tokenizer| tokenizer["pre_tokenizer"] = json!({"type": "Whitespace"})),
        "library: pre-tokenizer Whitespace"
    );
    assert_eq!(
        why(|tokenizer| {
            let added = tokenizer["added_tokens"].as_array_mut().unwrap();
            added.push(
                json!({"id": 30522, "content": "covid", "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": true, "special": false}),
            );
        }),
        "library: added token \"covid\" that is not special"
    );
    let config = TokenizeConfig {
        tokenizer: data().join("bert-base-uncased"),
        tokenizer_path: crate::config::TokenizerPath::Library,
        ..TokenizeConfig::default()
    };
    assert_eq!(
        Tokenizer::load(&config).unwrap().path(),
        "library: asked for"
    );
}

//! What the tests of the fast paths share: tokenizers of `tests/data` with other
//! settings, the fast path and the library side by side, and awkward text.

use crate::config::TokenizeConfig;
use crate::tokenizer::{Encoded, Encoder, Tokenizer, Unencodable};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::path::{Path, PathBuf};

/// Where the tokenizers of the tests are.
pub(super) fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tokenizers")
}

/// A tokenizer of `tests/data` with other settings.
pub(super) fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Tokenizer {
    let config = TokenizeConfig {
        tokenizer: data().join(name),
        ..TokenizeConfig::default()
    };
    let tokenizer = Tokenizer::load(&config).unwrap();
    let mut value: Value = serde_json::from_str(tokenizer.to_json()).unwrap();
    change(&mut value);
    Tokenizer::from_json(name, &value.to_string(), tokenizer.special().clone()).unwrap()
}

/// One that has a fast path.
#[track_caller]
pub(super) fn with(name: &str, change: impl FnOnce(&mut Value)) -> Tokenizer {
    let tokenizer = changed(name, change);
    assert_eq!(tokenizer.path(), "fast");
    tokenizer
}

/// Adds tokens behind the last id.
pub(super) fn add(tokenizer: &mut Value, tokens: &[(&str, Value)]) {
    let vocabulary = &tokenizer["model"]["vocab"];
    let entries = vocabulary.as_object().map(serde_json::Map::len);
    let pieces = entries.or(vocabulary.as_array().map(Vec::len)).unwrap();
    let added = tokenizer["added_tokens"].as_array_mut().unwrap();
    let ids = added.iter().map(|token| token["id"].as_u64().unwrap() + 1);
    let next = ids.max().unwrap_or(0).max(pieces as u64);
    for (id, (content, flags)) in (next..).zip(tokens) {
        let mut token = json!({"id": id, "content": content, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": true, "special": false});
        for (name, flag) in flags.as_object().into_iter().flatten() {
            token[name] = flag.clone();
        }
        added.push(token);
    }
}

pub(super) type Outcome = Result<Encoded, Unencodable>;

/// What the fast path makes of a text, and the library.
pub(super) fn outcomes(
    tokenizer: &Tokenizer,
    encoder: &mut Encoder<&Tokenizer>,
    text: &str,
) -> (Outcome, Outcome) {
    // Something before, which neither may touch.
    let mut before = Encoded::default();
    before.tokens.extend([7; 3]);
    before.word_start.extend_filled(3, true);
    let [mut by_library, mut fast] = [before.clone(), before.clone()];
    let reference = tokenizer.encode(text, &mut by_library);
    let found = encoder.encode(text, &mut fast);
    if found.is_err() {
        assert_eq!(fast, before, "an error leaves something behind");
    }
    (found.map(|()| fast), reference.map(|()| by_library))
}

#[track_caller]
pub(super) fn same(tokenizer: &Tokenizer, encoder: &mut Encoder<&Tokenizer>, text: &str) {
    let (fast, reference) = outcomes(tokenizer, encoder, text);
    if fast != reference {
        let shown: String = text.chars().take(200).collect();
        let json: Value = serde_json::from_str(tokenizer.to_json()).unwrap();
        panic!(
            "{shown:?} under {} {}: {}",
            json["normalizer"]["type"],
            json["pre_tokenizer"],
            first_difference(tokenizer, &fast, &reference)
        );
    }
}

fn first_difference(tokenizer: &Tokenizer, fast: &Outcome, reference: &Outcome) -> String {
    let (Ok(fast), Ok(reference)) = (fast, reference) else {
        return format!("{fast:?}, not {reference:?}");
    };
    let token = |encoded: &Encoded, at: usize| {
        let id = encoded.tokens.get(at)?;
        let bar = if encoded.word_start.as_slice().get(at) {
            "|"
        } else {
            ""
        };
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

/// Every scalar value, alone and between letters; those of the first two planes between
/// digits, spaces and punctuation too, behind an apostrophe and before a mark.
pub(super) fn every_scalar_value_is_the_same(tokenizer: &Tokenizer) {
    let mut encoder = tokenizer.encoder();
    let all: Vec<char> = ('\0'..=char::MAX).collect();
    for some in all.chunks(4096) {
        let mut text = String::new();
        for &c in some {
            text.extend(['a', c, 'b', ' ', c, ' ']);
            if c < '\u{20000}' {
                text.extend([
                    '1', c, '2', '.', c, ',', '\'', c, ' ', c, c, '\u{301}', '\n',
                ]);
            }
        }
        same(tokenizer, &mut encoder, &text);
        // Few of them at a time, so that none hides what it does at an end.
        if some[0] < '\u{3000}' {
            for c in some {
                same(tokenizer, &mut encoder, c.encode_utf8(&mut [0; 4]));
            }
        }
    }
}

/// What has broken tokenizers before.
pub(super) fn awkward() -> impl Strategy<Value = String> {
    let of = |all: &'static str| prop::sample::select(all.chars().collect::<Vec<_>>());
    let character = prop_oneof![
        8 => prop::char::range(' ', '~'),
        5 => Just(' '),
        3 => of("\t\n\r\u{b}\u{c}\u{85}\0\u{7f}\u{a0}\u{ad}\u{feff}\u{fffd}\u{2028}\u{3000}\u{2003}"),
        2 => of("'''’sStTrReEvVmMlLdDſ"),
        2 => of("0123456789٣४௪๓Ⅷ½²①፩〇𝟘"),
        3 => of("\u{300}\u{301}\u{327}\u{345}\u{34f}\u{302e}\u{1b44}\u{1d165}\u{1d15e}\u{16ff0}\u{94d}\u{5b0}\u{334}"),
        3 => of("éÉßẞŉǰΐİıΣςσŒﬁﬀﬆſ≠ᾳǅ;·`Å鿿Ⅷ™…─▁"),
        3 => of("中国一龥𠀀豈丽가힣각ᄀ\u{1161}\u{11a8}あア。，「」कषमാกำ"),
        2 => of("\u{200b}\u{200c}\u{200d}\u{200e}\u{202e}\u{2066}\u{fe0f}👩🦰🏽👨🇩🇪❤\u{600}"),
        1 => prop::char::any(),
    ];
    let look_alikes = vec![
        "<s>",
        "</s>",
        "<mask>",
        "<extra_id_0>",
        "\0</s>",
        "\0<unk>",
        "|||IP_ADDRESS|||",
        "|||IP_",
        "<|endoftext|>",
        "[unused0]",
        "[unused",
        "            ",
        "\r\n",
        "\n\n\n",
        "e\u{301}",
        "n't",
        "I'LL",
        "don't",
        "the garden",
        " the",
        "▁the",
        "▁▁",
        "unaffordable",
        "12345",
        "été",
        "\u{feff}",
        "covid",
        "Ⅷ",
    ];
    let piece = prop_oneof![
        6 => prop::collection::vec(character.clone(), 0..40).prop_map(String::from_iter),
        4 => prop::sample::select(look_alikes).prop_map(String::from),
        2 => (character.clone(), 1usize..300).prop_map(|(c, count)| c.to_string().repeat(count)),
        1 => (character, 1000usize..4000).prop_map(|(c, count)| c.to_string().repeat(count)),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Awkward texts in turn, each by one of `tokenizers`. Encoders live on: what one text
/// left in a cache must not show in the next.
pub(super) fn awkward_text_is_the_same(tokenizers: &[Tokenizer], cases: u32) {
    let encoders: Vec<_> = tokenizers
        .iter()
        .map(|t| RefCell::new(t.encoder()))
        .collect();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases));
    runner
        .run(&(awkward(), 0..tokenizers.len()), |(text, which)| {
            same(&tokenizers[which], &mut encoders[which].borrow_mut(), &text);
            Ok(())
        })
        .unwrap();
}

//! Byte-level BPE's fast path against the library: ids and word starts, bit for bit.

use super::classes::{Class, Classes};
use crate::tokenizer::fast::against_library::{
    add, awkward_text_is_the_same, changed, every_scalar_value_is_the_same, outcomes, same, with,
};
use crate::tokenizer::{Tokenizer, Unencodable};
use serde_json::{Value, json};
use tokenizers::utils::SysRegex;

const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Characters that an expression of one character matches, as ranges.
fn ranges(expression: &str) -> Vec<(u32, u32)> {
    let all: String = ('\0'..=char::MAX).collect();
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for (start, end) in SysRegex::new(expression).unwrap().find_iter(&all) {
        for c in all[start..end].chars().map(u32::from) {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == c => *last = c,
                _ => ranges.push((c, c)),
            }
        }
    }
    ranges
}

#[test]
fn classes_are_those_of_the_library() {
    let (letters, numbers) = (ranges(r"\p{L}+"), ranges(r"\p{N}+"));
    if std::env::var_os("CLOZE_WRITE_RANGES").is_some() {
        write_ranges(&letters, &numbers);
    }
    let classes = Classes::new();
    let spaces = ranges(r"\s+");
    for c in '\0'..=char::MAX {
        let among = |ranges: &[(u32, u32)]| {
            let c = u32::from(c);
            ranges.iter().any(|&(first, last)| first <= c && c <= last)
        };
        let class = classes.of(c);
        assert_eq!(class == Class::Letter, among(&letters), "{c:?}");
        assert_eq!(class == Class::Number, among(&numbers), "{c:?}");
        assert_eq!(class == Class::Space, among(&spaces), "{c:?}");
    }
}

/// Writes `ranges.rs` again.
fn write_ranges(letters: &[(u32, u32)], numbers: &[(u32, u32)]) {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/tokenizer/fast/byte_level/ranges.rs"
    );
    let written = std::fs::read_to_string(path).unwrap();
    let mut text = written.split("/// `\\p{L}`.").next().unwrap().to_owned();
    for (name, class, ranges) in [("LETTERS", "L", letters), ("NUMBERS", "N", numbers)] {
        text += &format!(
            "/// `\\p{{{class}}}`.\n#[rustfmt::skip]\npub(super) const {name}: [(u32, u32); {}] = [\n",
            ranges.len()
        );
        for line in ranges.chunks(6) {
            let line = line
                .iter()
                .map(|(first, last)| format!(" ({first:#x}, {last:#x}),"));
            text += &format!("   {}\n", line.collect::<String>());
        }
        text += "];\n\n";
    }
    std::fs::write(path, text.trim_end().to_owned() + "\n").unwrap();
}

fn cl100k(tokenizer: &mut Value, pattern: &str) {
    tokenizer["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": true},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]});
}

/// Added tokens as ModernBERT and dolma2 have them, and some that want whitespace.
fn added(tokenizer: &mut Value) {
    let spaces: Vec<String> = (2..25).map(|count| " ".repeat(count)).collect();
    let mut tokens: Vec<(&str, Value)> = spaces.iter().map(|s| (s.as_str(), json!({}))).collect();
    tokens.extend([
        ("|||IP_ADDRESS|||", json!({})),
        (
            "<|endoftext|>",
            json!({"special": true, "normalized": false}),
        ),
        ("[unused0]", json!({})),
        ("covid", json!({"lstrip": true, "normalized": false})),
        ("été", json!({"lstrip": true})),
        ("e\u{301}t", json!({"normalized": false})),
        ("||", json!({"special": true})),
    ]);
    add(tokenizer, &tokens);
}

/// Every way to cut, with and without added tokens and NFC.
fn all() -> Vec<Tokenizer> {
    let nfc = |tokenizer: &mut Value| tokenizer["normalizer"] = json!({"type": "NFC"});
    vec![
        with("byte-level-bpe", |_| {}),
        with("gpt2-style", |_| {}),
        with("gpt2-style", |tokenizer| {
            tokenizer["pre_tokenizer"]["add_prefix_space"] = true.into();
            tokenizer["model"]["ignore_merges"] = true.into();
        }),
        with("byte-level-bpe", |tokenizer| {
            nfc(tokenizer);
            added(tokenizer);
        }),
        with("byte-level-bpe", |tokenizer| {
            tokenizer["pre_tokenizer"]["add_prefix_space"] = true.into();
            added(tokenizer);
        }),
        with("byte-level-bpe", |tokenizer| cl100k(tokenizer, CL100K)),
        with("byte-level-bpe", |tokenizer| {
            cl100k(tokenizer, &CL100K.replace("{1,3}", ""));
            nfc(tokenizer);
        }),
        with("gpt2-style", |tokenizer| {
            cl100k(tokenizer, CL100K);
            add(
                tokenizer,
                &[
                    ("covid", json!({"rstrip": true})),
                    ("'s ", json!({})),
                    ("d'", json!({"special": true})),
                ],
            );
        }),
    ]
}

#[test]
fn every_scalar_value_is_tokenised_as_by_the_library() {
    every_scalar_value_is_the_same(&with("byte-level-bpe", |tokenizer| {
        tokenizer["normalizer"] = json!({"type": "NFC"});
    }));
    every_scalar_value_is_the_same(&with("byte-level-bpe", |tokenizer| {
        cl100k(tokenizer, CL100K)
    }));
}

#[test]
fn awkward_text_is_tokenised_as_by_the_library() {
    awkward_text_is_the_same(&all(), 600);
}

/// All sequences of up to five characters of a few: whatever two classes do beside each
/// other.
#[test]
fn every_short_sequence_is_cut_as_by_the_library() {
    let few: Vec<char> = "aé1' \n.\u{a0}sS".chars().collect();
    for tokenizer in [&all()[0], &all()[5], &all()[6]] {
        let mut encoder = tokenizer.encoder();
        for number in 0..few.len().pow(5) {
            let digits = (0..5).map(|place| number / few.len().pow(place) % few.len());
            let text: String = digits.map(|digit| few[digit]).collect();
            same(tokenizer, &mut encoder, &text);
        }
    }
}

/// Text is looked at 64 bytes at a time: whatever stands across such an end is cut as it
/// is elsewhere.
#[test]
fn every_short_sequence_is_cut_the_same_where_a_block_ends() {
    let few: Vec<char> = "aé1' (\nrel".chars().collect();
    for tokenizer in [&all()[0], &all()[5], &all()[6]] {
        let mut encoder = tokenizer.encoder();
        for before in 56..66 {
            for number in 0..few.len().pow(3) {
                let digits = (0..3).map(|place| number / few.len().pow(place) % few.len());
                let sequence: String = digits.map(|digit| few[digit]).collect();
                let text = format!("{}{sequence}", "go ".repeat(22).split_at(before).0);
                same(tokenizer, &mut encoder, &text);
            }
        }
    }
}

#[test]
fn words_of_any_length_are_merged_as_by_the_library() {
    let letters = "the garden of earthly delights and the sea".replace(' ', "");
    for tokenizer in all() {
        let mut encoder = tokenizer.encoder();
        for length in (1..150).chain([4095, 4096, 4097, 100_000]) {
            for letters in [letters.as_str(), "a", "ab", "é", "国", "="] {
                let word: String = letters.chars().cycle().take(length).collect();
                same(&tokenizer, &mut encoder, &format!("{word} of {word}"));
            }
        }
    }
}

#[test]
fn a_pair_that_stands_twice_and_an_id_that_is_made_twice_are_followed() {
    let tokenizer = with("gpt2-style", |tokenizer| {
        let model = &mut tokenizer["model"];
        let first = model["merges"][0].clone();
        let count = model["merges"].as_array().unwrap().len();
        model["merges"]
            .as_array_mut()
            .unwrap()
            .insert(count / 2, first);
        // `the` in another way, learnt before the usual one.
        for piece in ["he", "the", "th"] {
            let next = model["vocab"].as_object().unwrap().len();
            let vocabulary = model["vocab"].as_object_mut().unwrap();
            vocabulary.entry(piece).or_insert(next.into());
        }
        let merges = model["merges"].as_array_mut().unwrap();
        merges.insert(3, json!(["h", "e"]));
        merges.insert(9, json!(["t", "he"]));
        merges.push(json!(["t", "h"]));
        merges.push(json!(["th", "e"]));
    });
    let mut encoder = tokenizer.encoder();
    for text in ["the then other th the", "thethethe", "tthhee hehe"] {
        same(&tokenizer, &mut encoder, text);
    }
}

#[test]
fn a_special_token_that_merges_make_is_the_librarys_error() {
    let tokenizer = with("byte-level-bpe", |tokenizer| {
        let id = tokenizer["model"]["vocab"]["Ġthe"].clone();
        let added = tokenizer["added_tokens"].as_array_mut().unwrap();
        added.push(
            json!({"id": id, "content": "Ġthe", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true}),
        );
    });
    let mut encoder = tokenizer.encoder();
    for text in ["of the sea", "of these", "the", "x the the"] {
        same(&tokenizer, &mut encoder, text);
    }
    let (fast, _) = outcomes(&tokenizer, &mut encoder, "of the sea");
    assert!(matches!(fast, Err(Unencodable::SpecialToken { .. })));
}

#[test]
fn the_library_does_what_the_fast_path_does_not_know() {
    let why = |change: fn(&mut Value)| changed("byte-level-bpe", change).path();
    let normalizer: fn(&mut Value) = |t| t["normalizer"] = json!({"type": "NFD"});
    assert_eq!(why(normalizer), "library: normalizer NFD");
    assert_eq!(
        why(|tokenizer| tokenizer["model"]["dropout"] = 0.1.into()),
        "library: model with dropout"
    );
    assert_eq!(
        why(|tokenizer| add(tokenizer, &[("covid", json!({"single_word": true}))])),
        "library: added token \"covid\" that is a single word"
    );
    assert_eq!(
        why(|tokenizer| cl100k(tokenizer, r"\p{L}+")),
        r#"library: pre-tokenizer Split by {"Regex":"\\p{L}+"}"#
    );
}

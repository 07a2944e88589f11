//! Every kind of tokenizer file: ids, word starts, special tokens, texts of words.

use super::*;
use crate::config::{TokenizeConfig, Unit, Unknown, WordRules};
use serde_json::json;
use std::path::PathBuf;

fn config(name: &str) -> TokenizeConfig {
    TokenizeConfig {
        tokenizer: PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data/tokenizers")
            .join(name),
        ..TokenizeConfig::default()
    }
}

fn load(name: &str) -> Tokenizer {
    Tokenizer::load(&config(name)).unwrap()
}

/// A folder with the given files; the tokenizer is the first.
fn written(files: &[(&str, &str)]) -> (tempfile::TempDir, TokenizeConfig) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let config = TokenizeConfig {
        tokenizer: folder.path().join(files[0].0),
        ..TokenizeConfig::default()
    };
    (folder, config)
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Encoded {
    let mut out = Encoded::default();
    tokenizer.encode(text, &mut out).unwrap();
    assert_eq!(out.tokens.len(), out.word_start.len());
    out
}

/// Spellings with a bar before each that opens a word.
fn pieces(tokenizer: &Tokenizer, text: &str) -> String {
    let out = encode(tokenizer, text);
    let starts = out.word_start.as_slice();
    let spelled = out.tokens.iter().enumerate().map(|(index, &id)| {
        let bar = if starts.get(index) { "|" } else { " " };
        format!("{bar}{}", tokenizer.spelling(id))
    });
    spelled.collect()
}

fn roles(tokenizer: &Tokenizer) -> Vec<&str> {
    Role::ALL
        .iter()
        .map(|&role| {
            tokenizer
                .require(role)
                .map_or("-", |id| tokenizer.spelling(id))
        })
        .collect()
}

const ALL: [&str; 5] = [
    "bert-base-uncased",
    "wordpiece-cased",
    "byte-level-bpe",
    "unigram",
    "gpt2-style",
];

#[test]
fn words_start_where_the_pre_tokenizer_cuts() {
    assert_eq!(
        pieces(&load("bert-base-uncased"), "Unaffordable déjà-vu, 中国!"),
        "|una ##ff ##ord ##able|de ##ja|-|vu|,|中|国|!"
    );
    let cased = pieces(&load("wordpiece-cased"), "The Garden's");
    assert!(cased.starts_with("|The|G"), "{cased}");
    let bpe = pieces(&load("byte-level-bpe"), "the sea's\n\nend");
    assert!(bpe.starts_with("|the|Ġsea|'s|Ċ"), "{bpe}");
    let unigram = pieces(&load("unigram"), "the old sea");
    assert!(unigram.starts_with("|▁the|▁old|▁s"), "{unigram}");
}

#[test]
fn spellings_read_from_the_file_are_those_of_the_library() {
    for name in ALL {
        let tokenizer = load(name);
        let library = tokenizers::Tokenizer::from_bytes(tokenizer.to_json()).unwrap();
        let vocabulary = library.get_vocab(true);
        let spelled = tokenizer.spellings.iter().filter(|s| !s.is_empty());
        assert_eq!(spelled.count(), vocabulary.len(), "{name}");
        for (spelling, id) in vocabulary {
            assert_eq!(tokenizer.spelling(id), spelling, "{name}");
            assert_eq!(tokenizer.id(&spelling), Some(id), "{name}");
        }
    }
}

#[test]
fn special_tokens_are_found_by_role() {
    assert_eq!(
        roles(&load("bert-base-uncased")),
        ["[MASK]", "[CLS]", "[SEP]", "[PAD]", "[UNK]"]
    );
    assert_eq!(
        roles(&load("byte-level-bpe")),
        ["<mask>", "<s>", "</s>", "<pad>", "<unk>"]
    );
    assert_eq!(
        roles(&load("unigram")),
        ["-", "-", "</s>", "<pad>", "<unk>"]
    );
    assert_eq!(
        roles(&load("gpt2-style")),
        ["-", "<|endoftext|>", "<|endoftext|>", "-", "-"]
    );
}

#[test]
fn sentinels_are_found_in_the_order_of_their_numbers() {
    let tokenizer = load("unigram");
    assert_eq!(tokenizer.special().sentinels, [3, 4, 5]);
    let spelled = tokenizer.special().sentinels.iter();
    assert!(spelled.map(|&id| tokenizer.spelling(id)).eq([
        "<extra_id_0>",
        "<extra_id_1>",
        "<extra_id_2>"
    ]));
    for name in ["bert-base-uncased", "byte-level-bpe", "gpt2-style"] {
        assert!(load(name).special().sentinels.is_empty(), "{name}");
    }

    // As T5 numbers them, the last id first; 3 has no 2 before it. They lie among the
    // ordinary entries, and are special all the same.
    let vocabulary = [
        "[UNK]",
        "[SEP]",
        "<extra_id_3>",
        "<extra_id_1>",
        "<extra_id_0>",
        "extra",
        "_",
        "id",
        "0",
        "<",
        ">",
    ]
    .join("\n");
    let (_folder, config) = written(&[("vocab.txt", &vocabulary)]);
    let tokenizer = Tokenizer::load(&config).unwrap();
    let special = tokenizer.special();
    assert_eq!(special.sentinels, [4, 3]);
    assert_eq!(special.reserved, [0, 1, 3, 4]);
    assert_eq!(pieces(&tokenizer, "<extra_id_0>"), "|<|extra|_|id|_|0|>");
    let again = Tokenizer::from_json("t", tokenizer.to_json(), special.clone()).unwrap();
    assert_eq!(again.special(), special);
}

#[test]
fn sentinels_are_appended_where_the_vocabulary_lacks_them() {
    let with = |name: &str, sentinels: u32| {
        let config = TokenizeConfig {
            sentinels,
            ..config(name)
        };
        Tokenizer::load(&config).unwrap()
    };
    let bert = with("bert-base-uncased", 100);
    let appended: Vec<TokenId> = (30_522..30_622).collect();
    assert_eq!(bert.special().sentinels, appended);
    assert_eq!(bert.vocabulary_size(), 30_622);
    assert_eq!(bert.spelling(30_621), "<extra_id_99>");
    assert!(bert.special().is_reserved(30_621));
    // Text that spells one is text.
    assert!(
        encode(&bert, "<extra_id_0>")
            .tokens
            .iter()
            .all(|&id| id < 30_522)
    );
    // Those that are there stay where they are.
    let unigram = with("unigram", 5);
    let size = load("unigram").vocabulary_size() as TokenId;
    assert_eq!(unigram.special().sentinels, [3, 4, 5, size, size + 1]);
    assert_eq!(with("unigram", 2).special(), load("unigram").special());
}

#[test]
fn manifests_without_sentinels_are_as_they_were() {
    let bert = serde_json::to_value(load("bert-base-uncased").special()).unwrap();
    assert!(bert.get("sentinels").is_none());
    let read: SpecialTokens = serde_json::from_value(bert).unwrap();
    assert_eq!(&read, load("bert-base-uncased").special());
    let unigram = serde_json::to_value(load("unigram").special()).unwrap();
    assert_eq!(unigram["sentinels"], json!([3, 4, 5]));
}

#[test]
fn files_beside_a_tokenizer_name_its_special_tokens() {
    let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n<X>\na\n";
    let (_folder, config) = written(&[
        ("vocab.txt", vocabulary),
        (
            "special_tokens_map.json",
            r#"{"sep_token": {"content": "<X>"}}"#,
        ),
        (
            "tokenizer_config.json",
            r#"{"cls_token": "[MASK]", "do_lower_case": false}"#,
        ),
    ]);
    let tokenizer = Tokenizer::load(&config).unwrap();
    assert_eq!(
        roles(&tokenizer),
        ["[MASK]", "[MASK]", "<X>", "[PAD]", "[UNK]"]
    );
    assert_eq!(tokenizer.special().reserved, [0, 1, 2, 3, 4, 5]);
    assert_eq!(pieces(&tokenizer, "a A"), "|a|[UNK]");
}

#[test]
fn a_missing_mask_token_is_asked_for_only_when_needed() {
    let error = load("gpt2-style").require(Role::Mask).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let message = error.to_string();
    assert!(message.contains("--mask-token"), "{message}");
    assert!(message.contains("--add-special-tokens"), "{message}");
}

#[test]
fn named_special_tokens_are_appended_when_asked_for() {
    let named = TokenizeConfig {
        mask_token: Some("<mask>".into()),
        pad_token: Some("<pad>".into()),
        ..config("gpt2-style")
    };
    let message = Tokenizer::load(&named).err().unwrap().to_string();
    assert!(message.contains("add_special_tokens"), "{message}");
    let size = load("gpt2-style").vocabulary_size();
    let tokenizer = Tokenizer::load(&TokenizeConfig {
        add_special_tokens: true,
        ..named
    })
    .unwrap();
    assert_eq!(tokenizer.special().mask, Some(size as TokenId));
    assert_eq!(tokenizer.special().pad, Some(size as TokenId + 1));
    assert_eq!(tokenizer.vocabulary_size(), size + 2);
    let again = Tokenizer::from_json("t", tokenizer.to_json(), tokenizer.special().clone());
    assert_eq!(again.unwrap().id("<mask>"), Some(size as TokenId));
}

#[test]
fn text_that_spells_a_special_token_is_ordinary_text() {
    for name in ALL {
        let tokenizer = load(name);
        for &id in &tokenizer.special().reserved {
            let spelling = tokenizer.spelling(id);
            for text in [spelling.to_owned(), format!("the {spelling} sea{spelling}")] {
                let out = encode(&tokenizer, &text);
                let reserved = out.tokens.iter().find(|&&id| {
                    tokenizer.special().is_reserved(id) && tokenizer.special().unk != Some(id)
                });
                assert_eq!(reserved, None, "{name}: {text:?}");
                assert!(!out.tokens.is_empty(), "{name}: {text:?}");
            }
        }
    }
}

#[test]
fn a_vocabulary_that_spells_a_special_token_from_text_is_caught() {
    // BPE that merges "<" and "s>" into the special token itself.
    let json = json!({"version": "1.0",
        "added_tokens": [{"id": 3, "content": "<s>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true}],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "BPE", "vocab": {"<": 0, "s": 1, ">": 2, "<s>": 3, "s>": 4},
            "merges": ["s >", "< s>"]}})
    .to_string();
    let (_folder, config) = written(&[("tokenizer.json", &json)]);
    let tokenizer = Tokenizer::load(&config).unwrap();
    let mut out = Encoded::default();
    let refusal = tokenizer.encode("s <s> s", &mut out).unwrap_err();
    assert!(refusal.to_string().contains("<s>"), "{refusal}");
    assert_eq!(out, Encoded::default());
}

#[test]
fn truncation_padding_and_the_old_form_without_a_model_type_are_cleared_up() {
    let path = config("byte-level-bpe").tokenizer.join("tokenizer.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    json["truncation"] = json!({"max_length": 4, "strategy": "LongestFirst", "stride": 0,
        "direction": "Right"});
    json["padding"] = json!({"strategy": {"Fixed": 16}, "direction": "Right", "pad_id": 1,
        "pad_type_id": 0, "pad_token": "<pad>", "pad_to_multiple_of": null});
    json["model"].as_object_mut().unwrap().remove("type");
    let (_folder, config) = written(&[("tokenizer.json", &json.to_string())]);
    let tokenizer = Tokenizer::load(&config).unwrap();
    let text = "It was the best of times, it was the worst of times";
    assert_eq!(
        encode(&tokenizer, text),
        encode(&load("byte-level-bpe"), text)
    );
    assert_eq!(encode(&tokenizer, "a").tokens.len(), 1);
    let written: Value = serde_json::from_str(tokenizer.to_json()).unwrap();
    assert_eq!(written["truncation"], Value::Null);
    assert_eq!(written["padding"], Value::Null);
    assert_eq!(written["model"]["type"], "BPE");
}

#[test]
fn the_written_tokenizer_is_the_same_tokenizer() {
    let text = "Déjà vu: the <mask> old sea's [MASK] 中国 \u{1F600}\n\tend </s>";
    for name in ALL {
        let tokenizer = load(name);
        let again =
            Tokenizer::from_json("t", tokenizer.to_json(), tokenizer.special().clone()).unwrap();
        assert_eq!(again.fingerprint(), tokenizer.fingerprint());
        assert_eq!(encode(&again, text), encode(&tokenizer, text), "{name}");
        assert_eq!(roles(&again), roles(&tokenizer), "{name}");
    }
}

#[test]
fn case_follows_the_option_then_the_file_beside_then_the_vocabulary() {
    let vocabulary = "[UNK]\na\nA\n";
    let (_folder, config) = written(&[("vocab.txt", vocabulary)]);
    let lower =
        |config: &TokenizeConfig| encode(&Tokenizer::load(config).unwrap(), "A").tokens == [1];
    assert!(!lower(&config));
    assert!(lower(&TokenizeConfig {
        lowercase: Some(true),
        ..config.clone()
    }));
    let (_folder, beside) = written(&[
        ("vocab.txt", vocabulary),
        ("tokenizer_config.json", r#"{"do_lower_case": true}"#),
    ]);
    assert!(lower(&beside));
    let (_folder, uncased) = written(&[("vocab.txt", "[UNK]\na\n")]);
    assert!(lower(&uncased));
}

#[test]
fn a_tokenizer_that_cuts_no_words_has_words_at_its_spaces() {
    let json = json!({"version": "1.0",
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "model": {"type": "BPE", "vocab":
            {"▁": 0, "a": 1, "b": 2, "▁a": 3, "▁b": 4}, "merges": ["▁ a", "▁ b"]}})
    .to_string();
    let (_folder, config) = written(&[("tokenizer.json", &json)]);
    let tokenizer = Tokenizer::load(&config).unwrap();
    assert_eq!(pieces(&tokenizer, "ab ba a"), "|▁a b|▁b a|▁a");
}

#[test]
fn files_that_are_no_tokenizer_are_refused_with_a_way_out() {
    for (name, content, expected) in [
        ("vocab.txt", "a\nb\n", "[UNK]"),
        (
            "tokenizer.json",
            "{\"model\": {\"type\": \"BPE\"}}",
            "tokenizers library",
        ),
        ("tokenizer.json", "{", "JSON"),
        ("vocab.json", "{\"a\": 0}", "merges.txt"),
        (
            "vocab.json",
            "{\"a\": \"b\"}",
            "neither a tokenizer nor a vocabulary",
        ),
    ] {
        let (_folder, config) = written(&[(name, content)]);
        let message = Tokenizer::load(&config).err().unwrap().to_string();
        assert!(message.contains(expected), "{message}");
        assert!(
            message.contains(name) || message.contains("merges"),
            "{message}"
        );
    }
    let (_folder, config_of) = written(&[
        ("vocab.json", r#"{"a": 0, "b": 1, "ab": 2}"#),
        ("merges.txt", "#version: 0.2\na b\nab\n"),
    ]);
    let message = Tokenizer::load(&config_of).err().unwrap().to_string();
    assert!(message.contains("merges.txt, line 3"), "{message}");
    let (_folder, config_of) = written(&[(
        "tokenizer.json",
        r#"{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}"#,
    )]);
    let message = Tokenizer::load(&config_of).err().unwrap().to_string();
    assert!(message.contains("line 1 column"), "{message}");
    let (_folder, config_of) = written(&[(
        "tokenizer.json",
        r#"{"model": {"type": "BPE", "vocab": {"a": 0, "b": 4294967294}, "merges": []}}"#,
    )]);
    let message = Tokenizer::load(&config_of).err().unwrap().to_string();
    assert!(
        message.contains("\"b\" with the id 4294967294"),
        "{message}"
    );
    let message = Tokenizer::load(&config("none")).err().unwrap().to_string();
    assert!(message.contains("no such file"), "{message}");
    let error = Tokenizer::load(&TokenizeConfig {
        lowercase: Some(true),
        ..config("unigram")
    });
    assert_eq!(error.err().unwrap().exit_code(), 2);
}

#[test]
fn decoding_gives_back_what_a_byte_level_tokenizer_read() {
    let tokenizer = load("byte-level-bpe");
    let text = "Déjà vu: the old sea's 中国 \u{1F600}\n\tend";
    assert_eq!(tokenizer.decode(&encode(&tokenizer, text).tokens), text);
    let mask = tokenizer.require(Role::Mask).unwrap();
    assert_eq!(tokenizer.decode(&[mask]), "<mask>");
}

/// Words as (kind letter, text), of `text` under `rules`.
fn words(tokenizer: &Tokenizer, rules: WordRules, text: &str) -> Vec<String> {
    let out = encode(tokenizer, text);
    let narrow: Vec<u16> = out.tokens.iter().map(|&id| id as u16).collect();
    let texts = WordTexts::new(tokenizer, rules);
    let slices = [
        crate::base::token::TokenSlice::Narrow(&narrow),
        crate::base::token::TokenSlice::Wide(&out.tokens),
    ];
    let [narrow, wide] = slices.map(|tokens| {
        let mut words = texts.words(tokens, out.word_start.as_slice());
        let mut seen = Vec::new();
        let mut at = 0;
        while let Some(word) = words.next_word() {
            assert_eq!(word.tokens.start, at);
            at = word.tokens.end;
            seen.push(match word.kind {
                WordKind::Text(text) => text.to_owned(),
                WordKind::Punctuation(text) => format!("({text})"),
                WordKind::Unknown => "?".into(),
            });
        }
        assert_eq!(at, tokens.len());
        seen
    });
    assert_eq!(narrow, wide);
    narrow
}

#[test]
fn a_words_text_is_the_same_from_every_kind_of_tokenizer() {
    let text = "The unmistakable Seafaring, isn't";
    for name in [
        "bert-base-uncased",
        "byte-level-bpe",
        "unigram",
        "gpt2-style",
        "wordpiece-cased",
    ] {
        let words = words(&load(name), WordRules::default(), text);
        assert_eq!(words[..2], ["the", "unmistakable"], "{name}");
        assert!(words[2].starts_with("seafaring"), "{name}: {words:?}");
    }
    let cased = WordRules {
        cased: true,
        ..WordRules::default()
    };
    assert_eq!(words(&load("byte-level-bpe"), cased, text)[2], "Seafaring");
}

#[test]
fn punctuation_and_whitespace_have_texts_without_spaces() {
    assert_eq!(
        words(
            &load("byte-level-bpe"),
            WordRules::default(),
            "Sea, 7\n\nsea  ..."
        ),
        ["sea", "(,)", "7", "(Ċ)", "(Ċ)", "sea", "(Ġ)", "(...)"]
    );
}

#[test]
fn texts_are_nfkc_across_token_borders() {
    // Byte-level tokens cut the letters' bytes apart; the word is whole again.
    let text = "Ｃafé \u{FB01}sh ¨ ½";
    assert_eq!(
        words(&load("byte-level-bpe"), WordRules::default(), text),
        ["café", "fish", "(\u{308})", "1⁄2"]
    );
}

#[test]
fn an_unknown_token_is_a_barrier_or_counts_as_itself() {
    let tokenizer = load("bert-base-uncased");
    let text = "sea \u{1F600} sea";
    assert_eq!(
        words(&tokenizer, WordRules::default(), text),
        ["sea", "?", "sea"]
    );
    let rules = WordRules {
        unknown: Unknown::Word,
        ..WordRules::default()
    };
    assert_eq!(words(&tokenizer, rules, text), ["sea", "[UNK]", "sea"]);
    // In SentencePiece the unknown piece is a part of its word.
    let unigram = load("unigram");
    assert_eq!(
        words(&unigram, WordRules::default(), "the a\u{1F600} sea"),
        ["the", "?", "sea"]
    );
    assert_eq!(
        words(&unigram, rules, "the a\u{1F600} sea"),
        ["the", "<unk>", "sea"]
    );
}

#[test]
fn in_token_units_a_text_is_the_spelling_with_its_markers() {
    let rules = WordRules {
        unit: Unit::Token,
        ..WordRules::default()
    };
    assert_eq!(
        words(&load("bert-base-uncased"), rules, "Unaffordable, sea"),
        ["una", "##ff", "##ord", "##able", "(,)", "sea"]
    );
}

#[test]
fn damaged_token_ids_never_panic() {
    let texts = WordTexts::new(&load("unigram"), WordRules::default());
    let tokens = [7u16, 65_535, 8];
    let starts: Boundaries = [true, false, false].into_iter().collect();
    let mut words = texts.words(
        crate::base::token::TokenSlice::Narrow(&tokens),
        starts.as_slice(),
    );
    assert_eq!(words.next_word().unwrap().kind, WordKind::Unknown);
}

proptest::proptest! {
    #[test]
    fn any_text_encodes_and_its_words_have_clean_texts(text in "\\PC{0,40}|[a-zA-Z \u{300}-\u{305}\u{3040}-\u{3050}',.]{0,60}") {
        for name in ["byte-level-bpe", "unigram", "wordpiece-cased"] {
            thread_local! {
                static LOADED: std::cell::RefCell<std::collections::HashMap<String, (Tokenizer, WordTexts)>> = Default::default();
            }
            LOADED.with_borrow_mut(|loaded| {
                let (tokenizer, texts) = loaded.entry(name.to_owned()).or_insert_with(|| {
                    let tokenizer = load(name);
                    let texts = WordTexts::new(&tokenizer, WordRules::default());
                    (tokenizer, texts)
                });
                let out = encode(tokenizer, &text);
                let mut words = texts.words(
                    crate::base::token::TokenSlice::Wide(&out.tokens),
                    out.word_start.as_slice(),
                );
                while let Some(word) = words.next_word() {
                    match word.kind {
                        WordKind::Text(text) => {
                            assert!(text.chars().any(char::is_alphanumeric), "{text:?}");
                            assert!(!text.contains(char::is_whitespace), "{text:?}");
                        }
                        WordKind::Punctuation(text) => {
                            assert!(!text.is_empty());
                            assert!(!text.contains(char::is_whitespace), "{text:?}");
                        }
                        WordKind::Unknown => {}
                    }
                }
            });
        }
    }
}

//! What is passed over, and stretches against whole texts.

use super::*;
use crate::tokenizer::fast::against_library::{awkward, data};
use proptest::prelude::*;
use std::sync::LazyLock;
use tokenizers::Normalizer;
use unicode_segmentation::UnicodeSegmentation;

fn map() -> Precompiled {
    let map = std::fs::read_to_string(data().join("nmt-nfkc.txt")).unwrap();
    let json = format!(
        "{{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"{}\"}}",
        map.trim_end()
    );
    serde_json::from_str(&json).unwrap()
}

static ALL: LazyLock<[Normal; 3]> =
    LazyLock::new(|| [Form::Nfc, Form::Nfkc, Form::Precompiled(map().into())].map(Normal::new));

fn library(form: &Form, text: &str) -> String {
    let mut text = NormalizedString::from(text);
    match form {
        Form::Nfc => drop(text.nfc()),
        Form::Nfkc => drop(text.nfkc()),
        Form::Precompiled(map) => map.normalize(&mut text).unwrap(),
    };
    text.get().to_owned()
}

/// What stays by our tables stays by the library's: alone, and between marks of the lowest
/// and the highest class; and nothing falls apart into a character and one that stays.
#[test]
fn what_stays_is_left_alone_by_the_library() {
    for c in '\0'..=char::MAX {
        let mut decomposed = NormalizedString::from(c.to_string().as_str());
        decomposed.nfd();
        if library(&Form::Nfc, c.encode_utf8(&mut [0; 4])) != c.to_string() {
            // Nothing is composed to it again.
            decomposed.clear();
        }
        for normal in &ALL[..2] {
            for behind in decomposed.get().chars().skip(1) {
                assert!(!normal.stays(behind), "{behind:?} of {c:?}");
            }
            if normal.stays(c) {
                assert_eq!(
                    library(&normal.form, c.encode_utf8(&mut [0; 4])),
                    c.to_string()
                );
                // A mark would change places with one of another class.
                for text in [format!("\u{345}{c}"), format!("\u{5b0}{c}\u{334}")] {
                    let found = library(&normal.form, &text);
                    assert!(found.starts_with(&text[..2]), "{c:?}");
                }
            }
        }
    }
}

/// Between two characters of [`APART`] is a boundary of graphemes, one of each class of
/// UAX #29 that has any there.
#[test]
fn characters_apart_are_graphemes() {
    let others = ['a', '\u{1}', '\n', '\u{ac00}', '\u{ac01}', '\u{2764}', '中'];
    for c in APART.into_iter().flatten() {
        for other in others {
            for pair in [[c, other], [other, c], [c, c]] {
                let text = String::from_iter(pair);
                assert_eq!(text.graphemes(true).count(), 2, "{pair:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn stretches_give_what_the_whole_gives(text in awkward()) {
        for normal in &*ALL {
            prop_assert_eq!(normal.of(&text), library(&normal.form, &text));
        }
    }
}

#[test]
fn text_that_is_normal_is_not_copied() {
    for normal in &*ALL {
        assert!(matches!(
            normal.of("The garden, and the sea."),
            Cow::Borrowed(_)
        ));
    }
    assert!(matches!(ALL[0].of("Ça va\n— 中国, 각"), Cow::Borrowed(_)));
}

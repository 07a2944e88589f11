//! What the reader sees, and that it is what the engine drew.

use super::render::Look;
use super::*;
use crate::config::TokenizeConfig;
use std::path::PathBuf;

const PLAIN: Look = Look {
    width: 80,
    colour: false,
};

/// A row of words; `fates` gives each the id that stands in the input.
fn shown(words: &[&str], input: &[(TokenId, &str)], predicted: &[u32]) -> ShownRow {
    let mut ids = vec![1];
    ids.extend(10..10 + words.len() as TokenId);
    ids.push(2);
    let mut tokens = vec![" [CLS]".to_owned()];
    tokens.extend(words.iter().map(|&word| word.to_owned()));
    tokens.push(" [SEP]".to_owned());
    let (mut input_ids, mut input_tokens) = (ids.clone(), tokens.clone());
    for (place, &(id, text)) in input.iter().enumerate() {
        if id != 0 {
            input_ids[place + 1] = id;
            input_tokens[place + 1] = text.to_owned();
        }
    }
    let last = ids.len() as u32 - 1;
    let copy = ShownCopy {
        key: Key::default(),
        labels: predicted.iter().map(|&place| ids[place as usize]).collect(),
        input: input_ids,
        input_tokens,
        predicted: predicted.to_vec(),
        realised: Realised {
            maskable: words.len() as u64,
            masked: 2,
            predicted: predicted.len() as u64,
            ..Realised::default()
        },
    };
    ShownRow {
        row: 7,
        ids,
        tokens,
        protected: vec![0, last],
        mask: Some(9),
        masks: vec![ShownMask {
            strategy: Strategy::Uniform,
            corruption_rate: 0.4,
            prediction_rate: 0.4,
            copies: vec![copy],
        }],
    }
}

fn one(row: ShownRow, look: Look) -> String {
    Preview { rows: vec![row] }.render(look)
}

const HIDDEN: (TokenId, &str) = (9, " [MASK]");
const LEFT: (TokenId, &str) = (0, "");

#[test]
fn without_colour_brackets_stand_around_what_is_predicted() {
    let words = [" the", " hound", " of", " bask", "er", "ville", " howled"];
    let input = [LEFT, HIDDEN, HIDDEN, LEFT, HIDDEN, LEFT, (50, " sea")];
    let text = one(shown(&words, &input, &[2, 3, 6, 7]), PLAIN);
    assert!(text.contains("the hound of baskerville howled\n"), "{text}");
    assert!(
        text.contains("the [_____ __] bask__[ville ~sea]\n"),
        "{text}"
    );
    assert!(text.contains("masked 28.6 %, predicted 57.1 %"), "{text}");
    for meaning in [
        "[____] masked and predicted",
        "____ masked, not predicted",
        "[~word] replaced by a random token, predicted",
        "[word] left as it is, predicted",
    ] {
        assert!(
            text.replace('\n', " ").contains(meaning),
            "{meaning}: {text}"
        );
    }
    assert!(!text.contains('\x1b'));
}

#[test]
fn with_colour_the_text_is_the_same_without_brackets() {
    let words = [" the", " hound", " howled"];
    let row = shown(&words, &[LEFT, HIDDEN, LEFT], &[2]);
    let text = one(
        row,
        Look {
            colour: true,
            ..PLAIN
        },
    );
    assert!(
        text.contains("the \x1b[1;33m_____ \x1b[0mhowled\n"),
        "{text}"
    );
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let words: Vec<String> = (0..60)
        .map(|n| format!(" {}", "word".repeat(n % 9)))
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut row = shown(&words, &[HIDDEN; 60], &(1..61).collect::<Vec<_>>());
    for strategy in [Strategy::Span, Strategy::Pmi] {
        let mask = ShownMask {
            strategy,
            ..row.masks[0].clone()
        };
        row.masks.push(mask);
    }
    for width in [24, 40, 80, 119, 120, 200] {
        let text = one(row.clone(), Look { width, ..PLAIN });
        for line in text.lines() {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
        let beside = text
            .lines()
            .any(|line| line.contains("uniform") && line.contains("PMI"));
        assert_eq!(beside, width >= 119, "{width}: {text}");
    }
}

#[test]
fn chinese_takes_two_columns_a_character() {
    let words = ["数", "学", "家"];
    let text = one(shown(&words, &[LEFT, HIDDEN, LEFT], &[2]), PLAIN);
    assert!(text.contains("数[__]家"), "{text}");
}

fn request(masking: MaskingConfig, rates: Vec<(Rate, Option<Rate>)>) -> Request {
    Request {
        rows: 2,
        first_row: None,
        length: 32,
        rates,
        strategies: Vec::new(),
        masking,
        seed: 1,
        epoch: 0,
    }
}

fn tokenizer() -> Tokenizer {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/tokenizers");
    Tokenizer::load(&TokenizeConfig {
        tokenizer: data.join("bert-base-uncased/vocab.txt"),
        ..TokenizeConfig::default()
    })
    .unwrap()
}

#[test]
fn rows_of_text_are_masked_as_the_engine_masks_them() {
    let text = "Mr. Sherlock Holmes, who was usually very late in the mornings, save upon those \
                not infrequent occasions when he was up all night, was seated at the breakfast \
                table. I stood upon the hearth-rug and picked up the stick.";
    let rates = vec![(0.15.into(), None), (0.2.into(), Some(0.4.into()))];
    let request = request(MaskingConfig::default(), rates);
    let tokenizer = tokenizer();
    let preview = of_texts(&request, &tokenizer, &[text.to_owned()]).unwrap();
    assert_eq!(preview.rows.len(), 2);
    for row in &preview.rows {
        let names: Vec<Strategy> = row.masks.iter().map(|mask| mask.strategy).collect();
        let three = [Strategy::Uniform, Strategy::Span, Strategy::Word];
        assert_eq!(names, three.repeat(2));
        assert_eq!(row.protected, [0, row.ids.len() as u32 - 1]);
        for (index, mask) in row.masks.iter().enumerate() {
            assert_eq!(mask.copies.len(), 1 + index / 3);
            for copy in &mask.copies {
                for (&place, label) in copy.predicted.iter().zip(&copy.labels) {
                    assert_eq!(row.ids[place as usize], *label);
                    assert_eq!(Some(copy.input[place as usize]), tokenizer.special().mask);
                }
            }
        }
    }
    let rendered = preview.render(PLAIN);
    assert!(rendered.contains("mr . sherlock holmes , who was usually"));
    for part in [
        "15 %",
        "20/40 %",
        "copy 2 of 2",
        "together predicted",
        "whole words",
    ] {
        assert!(rendered.contains(part), "{part}: {rendered}");
    }
    let json: serde_json::Value = serde_json::to_value(&preview).unwrap();
    assert_eq!(json["rows"][1]["masks"][3]["copies"][1]["key"]["copy"], 1);
}

#[test]
fn a_pipeline_shows_its_own_rates_too() {
    let shown = PreviewConfig::default();
    let plain = Request::of_pipeline(&shown, &MaskingConfig::default(), 1);
    assert_eq!(
        plain.rates,
        [0.15, 0.4, 0.8].map(|rate| (Rate::from(rate), None))
    );
    let decoupled = MaskingConfig {
        prediction_rate: Some(0.2.into()),
        ..MaskingConfig::default()
    };
    let rates = Request::of_pipeline(&shown, &decoupled, 1).rates;
    assert_eq!(rates[3], (0.4.into(), Some(0.2.into())));
}

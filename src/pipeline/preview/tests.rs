//! What the reader sees, and that it is what the engine drew.

use super::render::Look;
use super::*;
use crate::config::TokenizeConfig;
use crate::config::pipeline::PreviewConfig;
use serde_json::{Value, json};
use std::path::PathBuf;

mod page;

const PLAIN: Look = Look {
    width: 80,
    colour: false,
};

/// A row of words, [CLS] before and [SEP] behind them, not masked.
fn row(words: &[&str]) -> ShownRow {
    let mut ids = vec![1];
    ids.extend(10..10 + words.len() as TokenId);
    ids.push(2);
    let mut tokens = vec![" [CLS]".to_owned()];
    tokens.extend(words.iter().map(|&word| word.to_owned()));
    tokens.push(" [SEP]".to_owned());
    let last = ids.len() as u32 - 1;
    let opens = |place: &u32| tokens[*place as usize].starts_with(' ');
    ShownRow {
        row: 7,
        word_start: (0..=last).filter(opens).collect(),
        unit_start: Vec::new(),
        ids,
        tokens,
        protected: vec![0, last],
        mask: Some(9),
        masks: Vec::new(),
    }
}

/// One way to mask, with these copies.
fn mask(strategy: Strategy, layout: Layout, copies: Vec<ShownCopy>) -> ShownMask {
    ShownMask {
        way: spelled(&strategy),
        preset: None,
        strategy,
        component: None,
        layout,
        corruption_law: 0.4.into(),
        prediction_law: 0.4.into(),
        corruption_rate: 0.4,
        prediction_rate: 0.4,
        weight: 1.0,
        copies,
    }
}

/// `input` gives each word the id that stands in its place, or 0 where it stays.
fn in_place(row: &ShownRow, input: &[(TokenId, &str)], predicted: &[u32]) -> ShownCopy {
    let (mut ids, mut tokens) = (row.ids.clone(), row.tokens.clone());
    for (place, &(id, text)) in input.iter().enumerate() {
        if id != 0 {
            ids[place + 1] = id;
            tokens[place + 1] = text.to_owned();
        }
    }
    let label = |&place: &u32| row.ids[place as usize];
    ShownCopy {
        labels: predicted.iter().map(label).collect(),
        input: ids,
        input_tokens: tokens,
        predicted: predicted.to_vec(),
        realised: Realised {
            maskable: row.maskable() as u64,
            masked: 2,
            predicted: predicted.len() as u64,
            ..Realised::default()
        },
        ..ShownCopy::default()
    }
}

/// The row without the words at `gone`.
fn removed(row: &ShownRow, gone: &[u32], predicted: &[u32]) -> ShownCopy {
    let places: Vec<u32> = (0..row.ids.len() as u32)
        .filter(|place| !gone.contains(place))
        .collect();
    let copy = in_place(row, &[], predicted);
    ShownCopy {
        input: places.iter().map(|&at| copy.input[at as usize]).collect(),
        input_tokens: places
            .iter()
            .map(|&at| copy.input_tokens[at as usize].clone())
            .collect(),
        places: Some(places),
        ..copy
    }
}

/// "the hound of the moor howled" with sentinels 90 for "hound of" and 91 for "moor".
fn sentinels(row: &ShownRow, predicted: &[u32]) -> ShownCopy {
    let texts = |ids: &[TokenId]| -> Vec<String> {
        let text = |&id: &TokenId| match id {
            90 => " <extra_id_0>".to_owned(),
            91 => " <extra_id_1>".to_owned(),
            id => row.tokens[row.ids.iter().position(|&own| own == id).unwrap()].clone(),
        };
        ids.iter().map(text).collect()
    };
    let input = vec![1, 10, 90, 13, 91, 15, 2];
    let target = vec![90, 11, 12, 91, 14, 2];
    let label = |&place: &u32| target[place as usize];
    ShownCopy {
        input_tokens: texts(&input),
        input,
        places: Some(vec![0, 1, 2, 4, 5, 6, 7]),
        target_tokens: Some(texts(&target)),
        labels: predicted.iter().map(label).collect(),
        target: Some(target),
        predicted: predicted.to_vec(),
        realised: Realised {
            maskable: 6,
            masked: 3,
            predicted: 3,
            ..Realised::default()
        },
        ..ShownCopy::default()
    }
}

/// A preview of one row with a way for each of its masks.
fn preview_of(row: ShownRow) -> Preview {
    let ways = row.masks.iter().map(|mask| ShownWay {
        name: mask.way.clone(),
        masking: MaskingConfig {
            strategy: mask.strategy,
            layout: mask.layout,
            ..MaskingConfig::default()
        },
    });
    Preview {
        version: "1.2.3".into(),
        source: "novel.txt".into(),
        tokenizer: ShownTokenizer::default(),
        seed: 1,
        epoch: 0,
        step: 0,
        length: 8,
        ways: ways.collect(),
        rows: vec![row],
        totals: Vec::new(),
    }
}

fn one(mut row: ShownRow, masks: Vec<ShownMask>, look: Look) -> String {
    row.masks = masks;
    preview_of(row).render(look)
}

/// As [`one`], uniform and in place.
fn shown(words: &[&str], input: &[(TokenId, &str)], predicted: &[u32], look: Look) -> String {
    let row = row(words);
    let copy = in_place(&row, input, predicted);
    let mask = mask(Strategy::Uniform, Layout::InPlace, vec![copy]);
    one(row, vec![mask], look)
}

const HOUND: [&str; 6] = [" the", " hound", " of", " the", " moor", " howled"];
const HIDDEN: (TokenId, &str) = (9, " [MASK]");
const LEFT: (TokenId, &str) = (0, "");

#[test]
fn without_colour_brackets_stand_around_what_is_predicted() {
    let words = [" the", " hound", " of", " bask", "er", "ville", " howled"];
    let input = [LEFT, HIDDEN, HIDDEN, LEFT, HIDDEN, LEFT, (50, " sea")];
    let text = shown(&words, &input, &[2, 3, 6, 7], PLAIN);
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
    let look = Look {
        colour: true,
        ..PLAIN
    };
    let text = shown(&words, &[LEFT, HIDDEN, LEFT], &[2], look);
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
    let row = row(&words);
    let copy = in_place(&row, &[HIDDEN; 60], &(1..61).collect::<Vec<_>>());
    let masks = [Strategy::Uniform, Strategy::Span, Strategy::Pmi]
        .map(|strategy| mask(strategy, Layout::InPlace, vec![copy.clone()]));
    for width in [24, 40, 80, 119, 120, 200] {
        let text = one(row.clone(), masks.to_vec(), Look { width, ..PLAIN });
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
    let text = shown(&words, &[LEFT, HIDDEN, LEFT], &[2], PLAIN);
    assert!(text.contains("数[__]家"), "{text}");
}

#[test]
fn what_is_one_unit_or_span_hangs_together() {
    let words = [" the", " hound", " of", " bask", "er", "ville", " howled"];
    let input = [HIDDEN, HIDDEN, LEFT, HIDDEN, HIDDEN, HIDDEN, HIDDEN];
    let mut row = row(&words);
    row.unit_start = vec![0, 1, 3, 4, 8];
    let copy = in_place(&row, &input, &[1, 2, 4, 5, 6, 7]);
    let look = Look {
        width: 200,
        ..PLAIN
    };
    let text = |strategy| {
        let mask = mask(strategy, Layout::InPlace, vec![copy.clone()]);
        one(row.clone(), vec![mask], look)
    };
    for (strategy, expected) in [
        (Strategy::Uniform, "[___ _____] of [___________ ______]"),
        (Strategy::Word, "[___ _____] of [___________ ______]"),
        (Strategy::Pmi, "[___‿_____] of [___________‿______]"),
        (Strategy::Span, "[___‿_____] of [___________‿______]"),
    ] {
        let text = text(strategy);
        assert!(text.contains(expected), "{text}");
    }
    let whole = "the‿hound of baskerville‿howled";
    assert!(text(Strategy::Pmi).contains(whole));
    assert!(text(Strategy::Pmi).contains("a‿b one unit or span"));
    assert!(!text(Strategy::Word).contains('‿'));
}

#[test]
fn a_span_wider_than_the_column_breaks_between_its_words() {
    let row = row(&HOUND);
    let copy = in_place(&row, &[HIDDEN; 6], &[1, 2, 3, 4, 5, 6]);
    let mask = mask(Strategy::Span, Layout::InPlace, vec![copy]);
    let look = Look { width: 24, ..PLAIN };
    let text = one(row, vec![mask], look);
    assert!(
        text.contains("[___‿_____‿__‿___‿\n      ____‿______]\n"),
        "{text}"
    );
}

#[test]
fn tokens_taken_out_leave_a_gap_that_counts_them() {
    let row = row(&HOUND);
    let copy = removed(&row, &[2, 3, 5, 6], &[2, 3, 5]);
    let mask = mask(Strategy::Uniform, Layout::Removed, vec![copy]);
    let text = one(row, vec![mask], PLAIN);
    assert!(text.contains("the […2] the […1] (…1)\n"), "{text}");
    assert!(text.contains("uniform, removed\n"), "{text}");
    assert!(text.contains("removed 33.3 %"), "{text}");
    assert!(text.contains("; input 4 tokens\n"), "{text}");
    let flat = text.replace('\n', " ");
    assert!(
        flat.contains("[…2] 2 tokens taken out, predicted"),
        "{text}"
    );
    assert!(flat.contains("(…2) 2 tokens taken out, not"), "{text}");
}

#[test]
fn sentinels_stand_in_the_input_and_spell_out_in_the_target() {
    let row = row(&HOUND);
    let all = sentinels(&row, &[0, 1, 2, 3, 4, 5]);
    let some = sentinels(&row, &[0, 1, 3, 5]);
    let text = |copy| {
        let mask = mask(Strategy::Span, Layout::Sentinel, vec![copy]);
        one(row.clone(), vec![mask], PLAIN)
    };
    let text = [text(all), text(some)];
    assert!(text[0].contains("the ⟨0⟩ the ⟨1⟩ howled\n"), "{}", text[0]);
    let target = "target: ⟨0⟩ hound of ⟨1⟩ moor ⟨SEP⟩\n";
    assert!(text[0].contains(target), "{}", text[0]);
    let counted = "behind sentinels 50.0 %, predicted 50.0 %; input 7, target 6 tokens\n";
    assert!(
        text[0].replace("\n      ", " ").contains(counted),
        "{}",
        text[0]
    );
    assert!(text[0].contains("⟨0⟩ sentinel <extra_id_0>"), "{}", text[0]);
    let target = "target: [⟨0⟩ hound] of [⟨1⟩] moor [⟨SEP⟩]\n";
    assert!(text[1].contains(target), "{}", text[1]);
}

#[test]
fn copies_are_numbered_and_summed() {
    let row = row(&HOUND);
    let copies = vec![
        in_place(&row, &[HIDDEN, HIDDEN], &[1, 2]),
        in_place(&row, &[LEFT, LEFT, HIDDEN, HIDDEN], &[3, 4]),
    ];
    let text = one(
        row,
        vec![mask(Strategy::Uniform, Layout::InPlace, copies)],
        PLAIN,
    );
    for part in [
        "copy 1 of 2\n",
        "[___ _____] of the moor howled\n",
        "copy 2 of 2\n",
        "the hound [__ ___] moor howled\n",
        "together predicted 66.7 %\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn what_the_row_drew_stands_above_it() {
    let row = row(&HOUND);
    let plain = mask(
        Strategy::Uniform,
        Layout::InPlace,
        vec![in_place(&row, &[HIDDEN], &[1])],
    );
    let drawn = ShownMask {
        component: Some(1),
        strategy: Strategy::Span,
        corruption_law: "diffusion(0.001)".parse().unwrap(),
        prediction_law: "diffusion(0.001)".parse().unwrap(),
        corruption_rate: 0.25,
        prediction_rate: 0.25,
        weight: 4.0,
        ..plain.clone()
    };
    let look = Look {
        width: 160,
        ..PLAIN
    };
    let half = ShownMask {
        prediction_rate: 0.2,
        ..plain.clone()
    };
    let text = one(row.clone(), vec![plain.clone(), half], look);
    assert!(text.contains("\n40 %  [___] hound"), "{text}");
    assert!(text.contains(" 40/20 %\n"), "{text}");
    let text = one(row, vec![plain, drawn], look);
    assert!(text.contains("\n40 % "), "{text}");
    let head = "component 2: spans, 25 %, of diffusion(0.001), loss weight 4.000";
    assert!(text.contains(head), "{text}");
}

#[test]
fn what_keeps_a_rate_from_being_met_is_told_with_numbers() {
    let row = row(&HOUND);
    let mut copy = in_place(&row, &[HIDDEN], &[1]);
    copy.realised.capped = 15;
    copy.realised.without_sentinel = 7;
    let text = one(
        row,
        vec![mask(Strategy::Uniform, Layout::InPlace, vec![copy])],
        PLAIN,
    );
    let text = text.replace("\n      ", " ");
    assert!(
        text.contains("! max_predictions took 15 labels away: predicted 1 of 6"),
        "{text}"
    );
    assert!(
        text.contains("! 7 selected tokens were left as they are"),
        "{text}"
    );
}

#[test]
fn marks_of_writing_direction_do_not_turn_the_terminal() {
    let text = shown(&[" a\u{202E}b", " c\u{1b}d"], &[], &[], PLAIN);
    assert!(text.contains("a�b c�d"), "{text:?}");
}

fn request(masking: MaskingConfig, rates: Vec<Rates>) -> Request {
    Request {
        rows: 2,
        first_row: None,
        length: Some(32),
        rates,
        ways: Vec::new(),
        masking,
        seed: 1,
        epoch: 0,
        step: 0,
    }
}

fn tokenizer(name: &str) -> Tokenizer {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/tokenizers");
    Tokenizer::load(&TokenizeConfig {
        tokenizer: data.join(name),
        ..TokenizeConfig::default()
    })
    .unwrap()
}

const TEXT: &str = "Mr. Sherlock Holmes, who was usually very late in the mornings, save upon \
                    those not infrequent occasions when he was up all night, was seated at the \
                    breakfast table. I stood upon the hearth-rug and picked up the stick.";

fn preview_of_text(request: &Request, tokenizer: &Tokenizer) -> Result<Preview> {
    let raw = RawText {
        source: "--text".into(),
        texts: vec![TEXT.to_owned()],
        tokenizer,
        tokenizer_name: "vocab.txt".into(),
        units: None,
    };
    of_texts(request, &raw)
}

#[test]
fn rows_of_text_are_masked_as_the_engine_masks_them() {
    let rates = [(0.15, None), (0.2, Some(0.4))].map(|(corruption, prediction)| Rates {
        corruption: Some(Rate::from(corruption)),
        prediction: prediction.map(Rate::from),
    });
    let request = request(MaskingConfig::default(), rates.to_vec());
    let tokenizer = tokenizer("bert-base-uncased");
    let preview = preview_of_text(&request, &tokenizer).unwrap();
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
    for (index, total) in preview.totals.iter().enumerate() {
        let masks = preview.rows.iter().map(|row| &row.masks[index]);
        let predicted = |mask: &ShownMask| -> u64 {
            let copies = mask.copies.iter();
            copies.map(|copy| copy.predicted.len() as u64).sum()
        };
        assert_eq!(total.realised.predicted, masks.map(predicted).sum::<u64>());
    }
    let rendered = preview.render(PLAIN);
    assert!(rendered.contains("mr . sherlock holmes , who was usually"));
    for part in [
        "15 %",
        "20/40 %",
        "copy 2 of 2",
        "together predicted",
        "whole words",
        "all 2 rows: ",
        " in 4 copies",
    ] {
        assert!(rendered.contains(part), "{part}: {rendered}");
    }
}

fn preset(preset: Preset) -> Way {
    Way::configured(preset.config())
}

#[test]
fn programs_get_all_that_was_drawn() {
    let bert = tokenizer("bert-base-uncased");
    let mut request = request(MaskingConfig::default(), Vec::new());
    request.ways = vec![preset(Preset::Wettig20To40), preset(Preset::Mdlm)];
    let json = serde_json::to_value(preview_of_text(&request, &bert).unwrap()).unwrap();
    assert_eq!(json["source"], "--text");
    assert_eq!(json["tokenizer"]["entries"], 30_522);
    assert_eq!(json["ways"][0]["name"], "wettig-20-40");
    assert_eq!(json["ways"][0]["masking"]["prediction_rate"], 0.4);
    let second = &json["rows"][1];
    let mask = &second["masks"][0];
    for (field, value) in [
        ("way", json!("wettig-20-40")),
        ("preset", json!("wettig-20-40")),
        ("strategy", json!("uniform")),
        ("layout", json!("in_place")),
        ("corruption_law", json!(0.2)),
        ("prediction_law", json!(0.4)),
        ("corruption_rate", json!(0.2)),
        ("prediction_rate", json!(0.4)),
        ("weight", json!(1.0)),
    ] {
        assert_eq!(mask[field], value, "{field}");
    }
    let key = json!({"seed": 1, "epoch": 0, "sample": 1, "copy": 1});
    assert_eq!(mask["copies"][1]["key"], key);
    for field in ["component", "places", "target"] {
        let absent = [mask, &mask["copies"][0]].map(|place| place.get(field).is_none());
        assert_eq!(absent, [true, true], "{field}");
    }
    // Rows of one step take their rates from strata: the second of two from above.
    let drawn = [&json["rows"][0], second].map(|row| row["masks"][1]["corruption_rate"].as_f64());
    assert!(drawn[0] < Some(0.51) && drawn[1] > Some(0.49), "{drawn:?}");
    let weight = second["masks"][1]["weight"].as_f64().unwrap();
    assert!((weight * drawn[1].unwrap() - 1.0).abs() < 1e-6);

    let mut of_layout = |layout, tokenizer: &Tokenizer| -> Value {
        request.ways = vec![Way::configured(MaskingConfig {
            mixture: Preset::Ul2.config().mixture[..2].to_vec(),
            ..MaskingConfig::default()
        })];
        request.ways[0].masking = request.ways[0].masking.clone().with_layout(layout);
        let preview = preview_of_text(&request, tokenizer).unwrap();
        serde_json::to_value(preview).unwrap()
    };
    let unigram = tokenizer("unigram");
    for (layout, tokenizer) in [(Layout::Removed, &bert), (Layout::Sentinel, &unigram)] {
        let json = of_layout(layout, tokenizer);
        let mask = &json["rows"][0]["masks"][0];
        assert_eq!(mask["way"], "mixture");
        assert_eq!(mask["layout"], spelled(&layout));
        assert!(mask["component"].as_u64() < Some(2));
        let copy = &mask["copies"][0];
        let length = |field: &str| copy[field].as_array().map(Vec::len);
        assert_eq!(length("places"), length("input"));
        assert_eq!(length("target"), length("target_tokens"));
        assert_eq!(length("target").is_some(), layout == Layout::Sentinel);
        assert_eq!(length("predicted"), length("labels"));
        // Labels stand where `predicted` says: in the target, or in the row.
        let target = if layout == Layout::Sentinel {
            &copy["target"]
        } else {
            &json["rows"][0]["ids"]
        };
        let labels = copy["labels"].as_array().unwrap();
        for (place, label) in copy["predicted"].as_array().unwrap().iter().zip(labels) {
            assert_eq!(&target[place.as_u64().unwrap() as usize], label);
        }
    }
}

#[test]
fn a_schedule_is_shown_at_the_step_asked_for() {
    let bert = tokenizer("bert-base-uncased");
    let mut request = request(MaskingConfig::default(), Vec::new());
    request.ways = vec![preset(Preset::Ankner)];
    let rate = |request: &Request| {
        let preview = preview_of_text(request, &bert)?;
        Ok::<f64, Error>(preview.rows[0].masks[0].corruption_rate)
    };
    assert_eq!(rate(&request).unwrap(), 0.3);
    request.step = 50;
    let message = rate(&request).unwrap_err().to_string();
    assert!(message.contains("schedule_steps = 100000"), "{message}");
    request.ways[0].masking.schedule_steps = Some(100);
    assert!((rate(&request).unwrap() - 0.225).abs() < 1e-12);
}

#[test]
fn rows_are_as_long_as_the_spans_need() {
    let mut request = request(MaskingConfig::default(), Vec::new());
    request.length = None;
    let length = |preset: Preset| request.length(&[Way::configured(preset.config())]);
    assert_eq!(length(Preset::Spanbert).unwrap(), 48);
    assert_eq!(length(Preset::Ul2).unwrap(), 128);
    let ways = [Way::configured(Preset::Ul2.config())];
    request.length = Some(48);
    let message = request.length(&ways).unwrap_err().to_string();
    assert!(message.contains("64, in rows of 48 tokens"), "{message}");
}

#[test]
fn random_tokens_by_unigram_counts_come_from_the_text_itself() {
    let bert = tokenizer("bert-base-uncased");
    let masking = MaskingConfig {
        mask_share: 0.0,
        random_share: 1.0,
        random_ids: crate::config::RandomIds::Unigram,
        ..MaskingConfig::default()
    };
    let mut request = request(masking.clone(), vec![Rates::corrupting(0.8.into())]);
    request.ways = vec![Way::configured(masking)];
    let preview = preview_of_text(&request, &bert).unwrap();
    let mut encoded = Encoded::default();
    bert.encode(TEXT, &mut encoded).unwrap();
    for row in &preview.rows {
        for (place, id) in row.masks[0].copies[0].input.iter().enumerate() {
            assert!(row.protected.contains(&(place as u32)) || encoded.tokens.contains(id));
        }
    }
}

#[test]
fn a_pipeline_shows_its_own_masking_too() {
    let shown = PreviewConfig::default();
    let plain = Request::of_pipeline(&shown, &MaskingConfig::default(), 10, 1);
    let configured = [0.15, 0.4, 0.8].map(|rate| Rates::corrupting(rate.into()));
    assert_eq!(plain.rates, configured);
    let decoupled = MaskingConfig {
        strategy: Strategy::Geometric,
        prediction_rate: Some(0.2.into()),
        ..MaskingConfig::default()
    };
    let request = Request::of_pipeline(&shown, &decoupled, 10, 1);
    let own = Rates {
        corruption: Some(0.4.into()),
        prediction: Some(0.2.into()),
    };
    assert_eq!(request.rates[3], own);
    let names: Vec<String> = request.ways(true).into_iter().map(|way| way.name).collect();
    assert_eq!(names, ["uniform", "span", "pmi", "geometric"]);

    let ul2 = Preset::Ul2.config();
    let request = Request::of_pipeline(&shown, &ul2, 10, 1);
    assert_eq!(request.ways(true).len(), 1);
    assert_eq!((request.rates.len(), request.length), (0, None));
    let ankner = Preset::Ankner.config();
    let request = Request::of_pipeline(&shown, &ankner, 10, 1);
    assert_eq!(request.masking.schedule_steps, Some(10));
}

//! Any configuration and any row: nothing panics, and what is accepted keeps the rules.
//!
//! `make fuzz` for a minute of it; `cargo fuzz run masking` with a nightly compiler.
#![no_main]

use cloze::base::boundaries::Boundaries;
use cloze::base::generator::Key;
use cloze::base::token::SpecialTokens;
use cloze::config::{Layout, MaskingConfig, keys};
use cloze::masking::{MaskedRow, Masker, Row, Stamp, TokenTable, Workspace};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};

const VOCABULARY: u32 = 300;
const MASK: u32 = 4;

fuzz_target!(|bytes: &[u8]| {
    // As a user's TOML: an error at worst.
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(config) = keys::from_toml::<MaskingConfig>("fuzz", text, &[])
    {
        let _ = config.check();
    }
    let _ = structured(&mut Unstructured::new(bytes));
});

fn structured(bytes: &mut Unstructured<'_>) -> Result<()> {
    let mut typed = keys_of(bytes)?;
    if bytes.ratio(1, 4)? {
        let components: Vec<Value> = (0..bytes.int_in_range(1..=3)?)
            .map(|_| {
                let mut keys = keys_of(bytes)?;
                for key in ["schedule_steps", "random_ids", "token_weights", "layout"] {
                    keys.remove(key);
                }
                keys.insert("weight".into(), json!(bytes.int_in_range(0..=9)?));
                Ok(Value::Object(keys))
            })
            .collect::<Result<_>>()?;
        typed.insert("mixture".into(), components.into());
    }
    let Ok(config) = serde_json::from_value::<MaskingConfig>(Value::Object(typed)) else {
        return Ok(());
    };
    let special = SpecialTokens {
        mask: Some(MASK),
        cls: Some(2),
        sep: Some(3),
        pad: Some(0),
        unk: Some(1),
        reserved: (0..5).chain(290..300).collect(),
        sentinels: (290..300).collect(),
    };
    let counts: Vec<u64> = (0..u64::from(VOCABULARY)).map(|id| id % 7).collect();
    let tokens = TokenTable {
        size: VOCABULARY as usize,
        special: &special,
        counts: Some(&counts),
        weights: Some((0..VOCABULARY).map(|id| (id % 5) as f32).collect()),
    };
    let Ok(masker) = Masker::new(&config, &tokens) else {
        return Ok(());
    };
    assert!(config.most_copies() <= 64);
    let mut work = Workspace::new();
    for _ in 0..2 {
        mask(&masker, &special, bytes, &mut work)?;
    }
    Ok(())
}

/// Keys as a user may type them, some of them wrong.
fn keys_of(bytes: &mut Unstructured<'_>) -> Result<Map<String, Value>> {
    let mut keys = Map::new();
    let share = |bytes: &mut Unstructured<'_>| -> Result<f64> {
        Ok(f64::from(bytes.int_in_range(-1i32..=41)?) / 40.0)
    };
    let rate = |bytes: &mut Unstructured<'_>| -> Result<Value> {
        let (a, b) = (share(bytes)?, share(bytes)?);
        Ok(match bytes.int_in_range(0..=8u8)? {
            0 => json!(format!("linear({a}, {b})")),
            1 => json!(format!("cosine({a}, {b})")),
            2 => json!(format!("piecewise(0: {a}, 9: {b})")),
            3 => json!(format!("uniform({a}, {b})")),
            4 => json!(format!("diffusion({a})")),
            5 => json!(format!("antithetic({a})")),
            _ => json!(a),
        })
    };
    if bytes.ratio(1, 8)? {
        let preset = bytes.choose(&cloze::config::Preset::ALL)?;
        keys.insert("preset".into(), json!(preset));
    }
    if bytes.ratio(7, 8)? {
        keys.insert("corruption_rate".into(), rate(bytes)?);
    }
    if bytes.ratio(1, 2)? {
        keys.insert("prediction_rate".into(), rate(bytes)?);
    }
    if bytes.ratio(1, 2)? {
        let (mask, random) = (share(bytes)?, share(bytes)?);
        keys.insert("mask_share".into(), json!(mask));
        keys.insert("random_share".into(), json!(random));
        keys.insert("same_share".into(), json!(1.0 - mask - random));
        keys.insert("extra_same".into(), json!(share(bytes)?));
    }
    for (key, values) in [
        (
            "strategy",
            &["uniform", "word", "pmi", "span", "geometric", "ngram"][..],
        ),
        ("budget", &["fair", "bernoulli", "round", "ceil"]),
        ("overshoot", &["fair", "skip", "take", "truncate"]),
        ("replacement_level", &["token", "word", "unit"]),
        ("random_ids", &["uniform", "unigram"]),
        ("layout", &["in_place", "removed", "sentinel"]),
    ] {
        if bytes.ratio(1, 2)? {
            keys.insert(key.into(), json!(bytes.choose(values)?));
        }
    }
    for key in ["roll_spans", "predict_whole_units"] {
        keys.insert(key.into(), json!(bytes.arbitrary::<bool>()?));
    }
    for key in [
        "span_count",
        "max_span_words",
        "max_predictions",
        "schedule_steps",
    ] {
        if bytes.ratio(1, 4)? {
            keys.insert(key.into(), json!(bytes.int_in_range(0..=20u32)?));
        }
    }
    if bytes.ratio(1, 4)? {
        let mean = f64::from(bytes.int_in_range(0..=80u32)?) / 8.0;
        keys.insert("mean_span_length".into(), json!(mean));
        keys.insert("span_p".into(), json!(share(bytes)?));
    }
    if bytes.ratio(1, 4)? {
        keys.insert("token_weights".into(), json!("weights.tsv"));
    }
    Ok(keys)
}

fn mask(
    masker: &Masker,
    special: &SpecialTokens,
    bytes: &mut Unstructured<'_>,
    work: &mut Workspace,
) -> Result<()> {
    let length = bytes.int_in_range(0..=400usize)?;
    let mut ids = Vec::with_capacity(length);
    let (mut words, mut units) = (Boundaries::new(), Boundaries::new());
    for _ in 0..length {
        let byte = bytes.arbitrary::<u8>().unwrap_or(77);
        ids.push(if byte < 8 { 3 } else { 5 + u32::from(byte) });
        words.push(byte & 3 > 0);
        units.push(byte & 12 > 0);
    }
    let protected: Boundaries = ids.iter().map(|&id| special.is_reserved(id)).collect();
    let row = Row {
        ids: &ids,
        protected: protected.as_slice(),
        word_start: words.as_slice(),
        unit_start: units.as_slice(),
    };
    let key = Key {
        seed: bytes.arbitrary()?,
        epoch: bytes.arbitrary()?,
        sample: bytes.arbitrary()?,
        copy: 0,
    };
    let stamp = Stamp {
        step: bytes.arbitrary()?,
        place: bytes.arbitrary()?,
        rows: bytes.arbitrary()?,
    };
    let drawn = masker.select(&row, key, stamp, work);
    assert!((0.0..=1.0).contains(&drawn.corruption_rate));
    assert!((1..=64).contains(&drawn.copies) && drawn.weight >= 1.0);
    let mut seen = vec![false; length];
    for copy in 0..drawn.copies {
        let mut out = MaskedRow::default();
        masker.write(&row, key, copy, work, &mut out.output());
        let MaskedRow {
            input,
            places,
            target,
            predicted,
            labels,
        } = out;
        match masker.layout() {
            Layout::InPlace => {
                for (place, (&now, &id)) in input.iter().zip(&ids).enumerate() {
                    assert!(now == id || !special.is_reserved(id));
                    if now != id {
                        assert!(now == MASK || !special.is_reserved(now));
                        assert!(!std::mem::replace(&mut seen[place], true), "in two copies");
                    }
                }
            }
            Layout::Removed => assert_eq!(input.len(), places.len()),
            Layout::Sentinel => {
                let sentinels = input.iter().filter(|&&id| id >= 290).count();
                let end = usize::from(!target.is_empty());
                assert_eq!(input.len() + target.len(), length + 2 * sentinels + end);
            }
        }
        assert!(predicted.is_sorted_by(|a, b| a < b));
        assert_eq!(predicted.len(), labels.len());
        let original = if target.is_empty() { &ids } else { &target };
        for (&place, &label) in predicted.iter().zip(&labels) {
            assert_eq!(original[place as usize], label);
            assert!(!target.is_empty() || !special.is_reserved(label));
        }
    }
    Ok(())
}

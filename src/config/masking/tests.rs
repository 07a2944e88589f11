//! What is read, what is refused, and how often rows are emitted.

use super::*;
use serde_json::{Value, json};

fn rates(corruption: f64, prediction: f64) -> MaskingConfig {
    MaskingConfig {
        corruption_rate: corruption.into(),
        prediction_rate: Some(prediction.into()),
        ..MaskingConfig::default()
    }
}

fn read(typed: Value) -> MaskingConfig {
    serde_json::from_value(typed).unwrap()
}

fn refused(typed: Value) -> String {
    match serde_json::from_value::<MaskingConfig>(typed) {
        Ok(config) => config.check().unwrap_err().to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn copies_are_those_of_the_paper() {
    for (corruption, prediction, k) in [
        (0.2, 0.4, 2),
        (0.05, 0.4, 8),
        (0.4, 0.2, 1),
        (0.4, 0.4, 1),
        (0.2, 0.6, 3),
    ] {
        assert_eq!(copies(corruption, prediction), k);
        assert_eq!(rates(corruption, prediction).most_copies(), k);
        assert!(rates(corruption, prediction).check().is_ok());
    }
}

#[test]
fn more_copies_than_the_row_has_room_for_are_refused() {
    let message = rates(0.6, 0.8).check().unwrap_err().to_string();
    assert!(message.contains("2 disjoint copies"), "{message}");
    assert!(message.contains("120 %"), "{message}");
    // Moving rates are looked at where they meet.
    let moving = |corruption: &str, prediction: &str| {
        read(json!({"corruption_rate": corruption, "prediction_rate": prediction})).check()
    };
    assert!(moving("linear(0.3, 0.15)", "0.3").is_ok());
    assert!(moving("linear(0.8, 0.3)", "linear(0.8, 0.6)").is_err());
    assert!(moving("linear(0.8, 0.4)", "linear(0.8, 0.4)").is_ok());
    assert!(moving("uniform(0.1, 0.7)", "0.5").is_ok());
    assert!(moving("uniform(0.1, 0.7)", "0.501").is_err());
    assert!(moving("0.4", "uniform(0.1, 0.8)").is_ok());
    assert!(moving("0.4", "uniform(0.1, 0.9)").is_err());
    assert!(moving("uniform(0.1, 0.7)", "0.1").is_ok());
    assert!(moving("diffusion(0.001)", "0.5").is_err());
}

#[test]
fn what_is_wrong_is_named_and_explained() {
    for (typed, part) in [
        (json!({"corruption_rate": 1.2}), "masking.corruption_rate"),
        (
            json!({"corruption_rate": "lienar(1, 0)"}),
            "corruption_rate",
        ),
        (json!({"mask_share": 0.8}), "found 0.8, expected 1"),
        (json!({"strategy": "words"}), "strategy: unknown variant"),
        (json!({"preset": "bart"}), "preset: unknown variant"),
        (
            json!({"corruption_rate": 0, "prediction_rate": 0.1}),
            "same_share = 1",
        ),
        (
            json!({"layout": "sentinel", "mask_share": 0.8, "same_share": 0.2}),
            "sentinel",
        ),
        (
            json!({"strategy": "span", "token_weights": "w.tsv"}),
            "token_weights",
        ),
        (
            json!({"token_weights": "w.tsv", "overshoot": "skip"}),
            "overshoot",
        ),
        (
            json!({"mixture": [{"weight": 0}]}),
            "masking.mixture[0].weight",
        ),
        (
            json!({"mixture": [{"corruption_rate": 2}]}),
            "masking.mixture[0].corruption_rate",
        ),
        (
            json!({"mixture": [{"layout": "removed"}]}),
            "set it outside",
        ),
        (json!({"mixture": [{"preset": "ul2"}]}), "a mixture itself"),
        (
            json!({"mixture": [{}, {"preset": "llada"}]}),
            "loss weights",
        ),
        (
            json!({"mixture": [{"budget": "fare"}]}),
            "mixture[0]: budget",
        ),
        (json!({"span_p": 0}), "masking.span_p"),
    ] {
        let message = refused(typed.clone());
        assert!(message.contains(part), "{typed}: {message}");
    }
}

#[test]
fn components_take_what_they_do_not_set_from_the_keys_around() {
    let config = read(json!({
        "budget": "ceil", "corruption_rate": 0.2, "layout": "removed",
        "mixture": [{"weight": 3, "strategy": "word"}, {"preset": "spanbert", "corruption_rate": 0.5}],
    }));
    let [first, second] = &config.mixture[..] else {
        panic!("two components")
    };
    assert_eq!((first.weight, second.weight), (3.0, 1.0));
    assert_eq!(first.masking.strategy, Strategy::Word);
    assert_eq!(first.masking.corruption_rate, 0.2.into());
    assert_eq!(first.masking.budget, Budget::Ceil);
    assert_eq!(second.masking.overshoot, Overshoot::Truncate);
    assert_eq!(second.masking.corruption_rate, 0.5.into());
    assert!(config.components().all(|one| one.layout == Layout::Removed));
    let again = read(serde_json::to_value(&config).unwrap());
    assert_eq!(again, config);
}

#[test]
fn keys_beside_the_preset_of_a_mixture_hold_for_its_components() {
    let config = read(json!({"preset": "ul2", "budget": "fair", "layout": "removed"}));
    assert_eq!(config.mixture.len(), 7);
    assert!(config.components().all(|one| one.budget == Budget::Fair));
    assert!(config.components().all(|one| one.layout == Layout::Removed));
    assert_eq!(config.mixture[6].masking.mean_span_length, 64.0);
    let again = read(serde_json::to_value(&config).unwrap());
    assert_eq!(again, config);
}

#[test]
fn spans_longer_than_rows_are_refused() {
    let config = read(json!({"strategy": "span", "mean_span_length": 64}));
    assert!(config.check_rows(66).is_ok());
    let message = config.check_rows(65).unwrap_err().to_string();
    assert!(message.contains("masking.mean_span_length"), "{message}");
    let config = read(json!({"strategy": "geometric"}));
    assert!(
        config
            .check_rows(11)
            .unwrap_err()
            .to_string()
            .contains("max_span_words")
    );
    assert!(read(json!({"preset": "ul2"})).check_rows(64).is_err());
}

#[test]
fn schedules_need_a_number_of_steps() {
    let config = read(json!({"preset": "ankner"}));
    assert!(config.check_steps().is_err());
    assert!(config.with_steps(100).check_steps().is_ok());
}

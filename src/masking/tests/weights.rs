//! Weights of tokens: chances in proportion, rates as asked for.

use super::*;
use crate::config::{Budget, Strategy};
use std::sync::Arc;

fn with(weights: Vec<f32>, config: MaskingConfig) -> Masker {
    let special = special();
    let config = MaskingConfig {
        token_weights: Some("weights.tsv".into()),
        ..config
    };
    let tokens = TokenTable {
        weights: Some(Arc::from(weights)),
        ..TokenTable::new(VOCABULARY, &special)
    };
    Masker::new(&config, &tokens).unwrap()
}

/// Ids 5, 6, 7, … in turn, whose weights are those given, in turn.
fn weighted(pattern: &[f32]) -> (Text, Vec<f32>) {
    let text = Text::of_units(120, &[1]);
    let weights = (0..VOCABULARY)
        .map(|id| pattern[(id + 5 * pattern.len() - 5) % pattern.len()])
        .collect();
    (text, weights)
}

#[test]
fn chances_are_in_proportion_to_the_weights() {
    let pattern = [1.0, 3.0, 0.0, 2.0];
    let (text, weights) = weighted(&pattern);
    for budget in [Budget::Fair, Budget::Bernoulli, Budget::Round, Budget::Ceil] {
        for (rate, prediction) in [(0.15, None), (0.1, Some(0.3)), (0.3, Some(0.15))] {
            let config = MaskingConfig {
                corruption_rate: f64::into(rate),
                prediction_rate: prediction.map(f64::into),
                budget,
                ..MaskingConfig::default()
            };
            let masker = with(weights.clone(), config);
            let mut work = Workspace::new();
            let rounds = 4000;
            let count = masker
                .select(&text.row(), key(0), Stamp::default(), &mut work)
                .copies as usize;
            for number in [0, count - 1] {
                let mut chosen = [0f64; 4];
                for sample in 0..rounds {
                    for place in masked(&copies(&masker, &text, key(sample), &mut work)[number]) {
                        chosen[place as usize % 4] += 1.0 / (30.0 * rounds as f64);
                    }
                }
                for (found, weight) in chosen.iter().zip(pattern) {
                    let expected = rate * 4.0 * f64::from(weight) / 6.0;
                    let error = (expected * (1.0 - expected) / (30.0 * rounds as f64)).sqrt();
                    assert!(
                        (found - expected).abs() <= 4.0 * error,
                        "{budget:?} {rate} copy {number}, weight {weight}: {found}, {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_chance_stops_at_certainty_and_the_others_make_up_for_it() {
    let (text, weights) = weighted(&[1.0, 10.0]);
    let masker = with(
        weights,
        MaskingConfig {
            corruption_rate: 0.7.into(),
            ..MaskingConfig::default()
        },
    );
    let mut work = Workspace::new();
    for sample in 0..200 {
        let places = masked(&copies(&masker, &text, key(sample), &mut work)[0]);
        assert_eq!(places.len(), 84);
        assert_eq!(places.iter().filter(|&&place| place % 2 == 1).count(), 60);
    }
}

#[test]
fn tokens_of_weight_0_are_never_selected() {
    let (text, weights) = weighted(&[0.0, 1.0, 1.0]);
    let masker = with(
        weights,
        MaskingConfig {
            corruption_rate: 0.9.into(),
            ..MaskingConfig::default()
        },
    );
    let copy = &copies(&masker, &text, key(4), &mut Workspace::new())[0];
    // All that may be, though less than was asked for.
    assert_eq!(copy.realised.masked, 80);
    assert!(masked(copy).iter().all(|place| place % 3 != 0));
}

#[test]
fn a_word_has_the_mean_weight_of_its_tokens_and_the_rate_holds() {
    // Words of 1, 2 and 3 tokens; weights 2 and 1 by id.
    let text = Text::of_units(120, &[1, 2, 3]);
    let weights = (0..VOCABULARY)
        .map(|id| if id % 2 == 0 { 2.0 } else { 1.0 })
        .collect();
    let masker = with(
        weights,
        MaskingConfig {
            strategy: Strategy::Pmi,
            corruption_rate: 0.2.into(),
            ..MaskingConfig::default()
        },
    );
    let mut work = Workspace::new();
    let (share, error) = mean(6000, |sample| {
        copies(&masker, &text, key(sample), &mut work)[0]
            .realised
            .masked as f64
            / 120.0
    });
    assert!((share - 0.2).abs() < 3.0 * error, "{share} ± {error}");
    let mut chosen = [0f64; 120];
    for sample in 0..6000 {
        for place in masked(&copies(&masker, &text, key(sample), &mut work)[0]) {
            chosen[place as usize] += 1.0 / 6000.0;
        }
    }
    // Places 0 (id 5, weight 1), 1 and 2 (ids 6 and 7, mean 1.5): 2 : 3, and whole.
    assert_eq!(chosen[1], chosen[2]);
    assert!(
        (chosen[1] / chosen[0] - 1.5).abs() < 0.12,
        "{:?}",
        &chosen[..3]
    );
}

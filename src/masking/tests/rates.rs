//! Realised rates: exact in expectation for every strategy, length and copy.

use super::*;
use crate::config::{Budget, Overshoot, Strategy};

const RATES: [f64; 11] = [0.05, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

fn check(name: &str, (found, error): (f64, f64), expected: f64) {
    assert!(
        (found - expected).abs() <= 3.0 * error + 1e-9,
        "{name}: {found} ± {error}, expected {expected}"
    );
}

fn config(strategy: Strategy, rate: f64) -> MaskingConfig {
    MaskingConfig {
        strategy,
        corruption_rate: rate.into(),
        ..MaskingConfig::default()
    }
}

#[test]
fn every_strategy_realises_every_rate() {
    let text = Text::random(128, 3);
    let mut work = Workspace::new();
    for strategy in Strategy::ALL {
        for budget in [Budget::Fair, Budget::Bernoulli] {
            for rate in RATES {
                let masker = masker(&MaskingConfig {
                    budget,
                    ..config(strategy, rate)
                });
                let shares = mean(1500, |sample| {
                    let all = copies(&masker, &text, key(sample), &mut work);
                    let realised = all[0].realised;
                    assert_eq!(realised.masked, realised.predicted);
                    realised.masked as f64 / realised.maskable as f64
                });
                check(&format!("{strategy:?} {budget:?} {rate}"), shares, rate);
            }
        }
    }
}

#[test]
fn a_unit_is_chosen_as_often_whatever_its_length() {
    let lens = [1, 1, 2, 1, 5, 3, 1, 9];
    let text = Text::of_units(92, &lens);
    let rounds = 6000;
    let mut work = Workspace::new();
    for rate in [0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8] {
        let masker = masker(&config(Strategy::Pmi, rate));
        let mut chosen = [0f64; 10];
        let mut offered = [0f64; 10];
        for sample in 0..rounds {
            let copy = &copies(&masker, &text, key(sample), &mut work)[0];
            for run in text.unit_start.as_slice().runs() {
                offered[run.len()] += 1.0;
                chosen[run.len()] += f64::from(u8::from(copy.input[run.start] == MASK));
            }
        }
        for len in [1, 2, 3, 5, 9] {
            let error = (rate * (1.0 - rate) / offered[len]).sqrt();
            check(
                &format!("units of {len} at {rate}"),
                (chosen[len] / offered[len], error),
                rate,
            );
        }
    }
}

#[test]
fn a_word_is_in_a_sampled_span_about_as_often_whatever_its_length() {
    // The last span is refused in proportion to its length, which costs long words a
    // little: the rule of the source, exact in the number of tokens alone.
    let text = Text::of_units(400, &[1, 1, 2, 1, 5, 3, 1, 9]);
    let text = Text {
        word_start: text.unit_start.clone(),
        ..text
    };
    let mut work = Workspace::new();
    for strategy in [Strategy::Geometric, Strategy::Ngram] {
        for rate in [0.15, 0.4, 0.8] {
            let masker = masker(&config(strategy, rate));
            let (mut chosen, mut offered) = ([0f64; 10], [0f64; 10]);
            for sample in 0..4000 {
                let copy = &copies(&masker, &text, key(sample), &mut work)[0];
                // Away from the edge, where fewer spans reach.
                for run in text.word_start.as_slice().runs().skip(20) {
                    offered[run.len()] += 1.0;
                    chosen[run.len()] += f64::from(u8::from(copy.input[run.start] == MASK));
                }
            }
            for len in [1, 2, 3, 5, 9] {
                let share = chosen[len] / offered[len];
                assert!(
                    (share / rate - 1.0).abs() < 0.06,
                    "{strategy:?} {rate} {len}: {share}"
                );
            }
        }
    }
}

#[test]
fn two_units_of_very_unlike_length_have_the_same_chance() {
    // The plain overshoot rule would take the first in 1/2 and the second in 1/6.
    let text = Text::of_units(10, &[1, 9]);
    let masker = masker(&config(Strategy::Pmi, 0.2));
    let mut work = Workspace::new();
    for place in [0, 5] {
        let chance = mean(20_000, |sample| {
            let copy = &copies(&masker, &text, key(sample), &mut work)[0];
            f64::from(u8::from(copy.input[place] == MASK))
        });
        check(&format!("position {place}"), chance, 0.2);
    }
}

#[test]
fn every_position_has_the_same_chance() {
    let text = Text::of_units(40, &[1]);
    for (strategy, roll) in [(Strategy::Uniform, false), (Strategy::Span, true)] {
        let masker = masker(&MaskingConfig {
            roll_spans: roll,
            ..config(strategy, 0.3)
        });
        let mut work = Workspace::new();
        let rounds = 20_000;
        let mut chosen = [0f64; 40];
        for sample in 0..rounds {
            for place in masked(&copies(&masker, &text, key(sample), &mut work)[0]) {
                chosen[place as usize] += 1.0;
            }
        }
        let error = (0.3 * 0.7 / rounds as f64).sqrt();
        for (place, count) in chosen.iter().enumerate() {
            let share = count / rounds as f64;
            // 4 σ, for 40 places.
            assert!(
                (share - 0.3).abs() < 4.0 * error,
                "{strategy:?} {place}: {share}"
            );
        }
    }
}

#[test]
fn copies_share_the_rates_of_all_strategies() {
    let text = Text::random(128, 4);
    let mut work = Workspace::new();
    for strategy in Strategy::ALL {
        for (corruption, prediction, count) in [
            (0.2, 0.4, 2),
            (0.05, 0.4, 8),
            (0.3, 0.5, 2),
            (0.4, 0.2, 1),
            (0.25, 1.0, 4),
        ] {
            for budget in [Budget::Fair, Budget::Bernoulli] {
                let masker = masker(&MaskingConfig {
                    prediction_rate: Some(prediction.into()),
                    budget,
                    ..config(strategy, corruption)
                });
                let drawn = masker.select(&text.row(), key(0), Stamp::default(), &mut work);
                assert_eq!(drawn.copies, count);
                let name = format!("{strategy:?} {budget:?} {corruption}/{prediction}");
                let labels = mean(1200, |sample| {
                    let all = copies(&masker, &text, key(sample), &mut work);
                    let labels: u64 = all.iter().map(|copy| copy.realised.predicted).sum();
                    labels as f64 / all[0].realised.maskable as f64
                });
                check(&name, labels, prediction);
                for copy in [0, count as usize - 1] {
                    let masks = mean(1200, |sample| {
                        let all = copies(&masker, &text, key(sample), &mut work);
                        all[copy].realised.masked as f64 / all[copy].realised.maskable as f64
                    });
                    check(&format!("{name}, copy {copy}"), masks, corruption);
                }
            }
        }
    }
}

#[test]
fn overshoot_rules_err_on_their_known_side() {
    let text = Text::of_units(100, &[3]);
    let of = |overshoot| {
        let masker = masker(&MaskingConfig {
            overshoot,
            budget: Budget::Round,
            ..config(Strategy::Pmi, 0.4)
        });
        let copy = &copies(&masker, &text, key(9), &mut Workspace::new())[0];
        copy.realised.masked
    };
    // 40 tokens in units of 3 (one of 1, at the row's edge).
    assert!([39, 40].contains(&of(Overshoot::Skip)));
    assert!([40, 42].contains(&of(Overshoot::Take)));
    assert_eq!(of(Overshoot::Truncate), 40);
}

#[test]
fn extra_same_tokens_are_predicted_and_left() {
    let text = Text::of_units(200, &[1]);
    let masker = masker(&MaskingConfig {
        extra_same: 0.05,
        ..config(Strategy::Uniform, 0.4)
    });
    let copy = &copies(&masker, &text, key(1), &mut Workspace::new())[0];
    // 5 % of the 120 that are not selected.
    assert_eq!(copy.realised.masked, 80);
    assert_eq!(copy.realised.same, 6);
    assert_eq!(copy.realised.predicted, 86);
}

#[test]
fn a_cap_that_binds_is_counted() {
    // The published run: at most 20 of 128 tokens, whatever was asked.
    let text = Text::of_units(128, &[1]);
    let capped = MaskingConfig {
        max_predictions: Some(20),
        budget: Budget::Round,
        ..config(Strategy::Uniform, 0.4)
    };
    let copy = &copies(&masker(&capped), &text, key(1), &mut Workspace::new())[0];
    assert_eq!(copy.realised.masked, 20);
    assert_eq!(copy.realised.predicted, 20);
    assert_eq!(copy.realised.capped, 31);
    // Decoupled, the corruption stays what was asked for.
    let decoupled = MaskingConfig {
        prediction_rate: Some(0.2.into()),
        ..capped
    };
    let copy = &copies(&masker(&decoupled), &text, key(1), &mut Workspace::new())[0];
    assert_eq!(copy.realised.masked, 51);
    assert_eq!(copy.realised.predicted, 20);
    assert_eq!(copy.realised.capped, 6);
}

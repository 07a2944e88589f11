//! Rates that move, loss weights and mixtures.

use super::*;
use crate::config::{Budget, Preset, Rate, Strategy};

fn of(rate: &str) -> MaskingConfig {
    MaskingConfig {
        corruption_rate: rate.parse().unwrap(),
        budget: Budget::Bernoulli,
        ..MaskingConfig::default()
    }
}

fn check(name: &str, (found, error): (f64, f64), expected: f64) {
    assert!(
        (found - expected).abs() <= 3.0 * error + 1e-9,
        "{name}: {found} ± {error}, expected {expected}"
    );
}

#[test]
fn a_schedule_follows_the_step_that_is_stamped_on_the_row() {
    let text = Text::of_units(128, &[1]);
    let masker = masker(
        &MaskingConfig {
            prediction_rate: Some("linear(0.1, 0.4)".parse().unwrap()),
            ..of("linear(0.3, 0.15)")
        }
        .with_steps(1000),
    );
    let mut work = Workspace::new();
    for (step, corruption, prediction, count) in [
        (0, 0.3, 0.1, 1),
        (500, 0.225, 0.25, 2),
        (4000, 0.15, 0.4, 3),
    ] {
        let stamp = Stamp {
            step,
            ..Stamp::default()
        };
        let drawn = masker.select(&text.row(), key(0), stamp, &mut work);
        assert!((drawn.corruption_rate - corruption).abs() < 1e-12);
        assert!((drawn.prediction_rate - prediction).abs() < 1e-12);
        assert_eq!((drawn.copies, drawn.weight), (count, 1.0));
        let shares = mean(2000, |sample| {
            let all = copies_at(&masker, &text, key(sample), stamp, &mut work);
            let labels: u64 = all.iter().map(|copy| copy.realised.predicted).sum();
            labels as f64 / 128.0
        });
        check(&format!("labels at step {step}"), shares, prediction);
        let shares = mean(2000, |sample| {
            let all = copies_at(&masker, &text, key(sample), stamp, &mut work);
            all[0].realised.masked as f64 / 128.0
        });
        check(&format!("masks at step {step}"), shares, corruption);
    }
}

#[test]
fn drawn_rates_are_flat_over_their_range() {
    // χ² over 10 cells with 9 degrees: 27.9 is passed with p = 0.001.
    let text = Text::of_units(64, &[1]);
    for rate in ["uniform(0.2, 0.6)", "diffusion(0.2)", "antithetic(0.2)"] {
        let (low, high) = rate.parse::<Rate>().unwrap().range();
        let masker = masker(&of(rate));
        let mut work = Workspace::new();
        let mut cells = [0f64; 10];
        for sample in 0..10_000u64 {
            let stamp = Stamp {
                step: sample / 16,
                place: (sample % 16) as u32,
                rows: 16,
            };
            let drawn = masker.select(&text.row(), key(sample), stamp, &mut work);
            let share = (drawn.corruption_rate - low) / (high - low);
            cells[(share * 10.0) as usize] += 1.0;
        }
        let chi: f64 = cells.iter().map(|c| (c - 1e3).powi(2) / 1e3).sum();
        assert!(chi < 27.9, "{rate}: {chi} {cells:?}");
    }
}

#[test]
fn antithetic_rows_of_a_step_come_from_equal_strata() {
    let masker = masker(&of("antithetic(0.001)"));
    let text = Text::of_units(64, &[1]);
    let mut work = Workspace::new();
    for place in 0..32 {
        let stamp = Stamp {
            step: 7,
            place,
            rows: 32,
        };
        let drawn = masker.select(&text.row(), key(u64::from(place)), stamp, &mut work);
        let t = (drawn.corruption_rate - 0.001) / 0.999;
        assert_eq!((t * 32.0) as u32, place);
    }
}

#[test]
fn weighted_labels_count_every_token_once_in_expectation() {
    // LLaDA, MDLM: Σ 1/t over the labels is the number of tokens, whatever t.
    let text = Text::of_units(100, &[1]);
    for preset in [Preset::Llada, Preset::Mdlm] {
        let masker = masker(&preset.config());
        assert!(masker.is_weighted());
        let mut work = Workspace::new();
        let sums = mean(20_000, |sample| {
            let stamp = Stamp {
                step: sample / 64,
                place: (sample % 64) as u32,
                rows: 64,
            };
            let drawn = masker.select(&text.row(), key(sample), stamp, &mut work);
            let all = copies_at(&masker, &text, key(sample), stamp, &mut work);
            assert!((f64::from(drawn.weight) * drawn.corruption_rate - 1.0).abs() < 1e-6);
            f64::from(drawn.weight) * all[0].realised.predicted as f64
        });
        check(&format!("{preset:?}"), sums, 100.0);
    }
}

#[test]
fn components_are_drawn_by_weight_and_keep_their_own_rates() {
    let config: MaskingConfig = serde_json::from_value(serde_json::json!({
        "mixture": [
            {"weight": 3, "strategy": "span", "corruption_rate": 0.15},
            {"weight": 1, "strategy": "word", "corruption_rate": 0.5, "prediction_rate": 0.25},
        ],
    }))
    .unwrap();
    let masker = masker(&config);
    let text = Text::random(128, 5);
    let mut work = Workspace::new();
    let (mut rows, mut shares) = ([0f64; 2], [0f64; 2]);
    let all = 8000;
    for sample in 0..all {
        let drawn = masker.select(&text.row(), key(sample), Stamp::default(), &mut work);
        let copy = &copies(&masker, &text, key(sample), &mut work)[0];
        rows[drawn.component] += 1.0;
        shares[drawn.component] += copy.realised.masked as f64 / copy.realised.maskable as f64;
    }
    let error = (0.75 * 0.25 / all as f64).sqrt();
    check("weight", (rows[0] / all as f64, error), 0.75);
    check("span", (shares[0] / rows[0], 1e-3), 0.15);
    check("word", (shares[1] / rows[1], 2e-3), 0.5);
}

#[test]
fn a_moving_rate_leaves_the_choice_of_positions_to_the_key() {
    // The same share drawn from a law or written as a number: the same mask.
    let text = Text::of_units(64, &[1]);
    let mut work = Workspace::new();
    for strategy in Strategy::ALL {
        let with = |rate: Rate| {
            masker(&MaskingConfig {
                strategy,
                corruption_rate: rate,
                schedule_steps: Some(10),
                ..MaskingConfig::default()
            })
        };
        let stamp = Stamp {
            step: 5,
            ..Stamp::default()
        };
        let linear = with(Rate::Linear {
            from: 0.5,
            to: 0.25,
        });
        let constant = with(0.375.into());
        assert_eq!(
            copies_at(&linear, &text, key(3), stamp, &mut work),
            copies_at(&constant, &text, key(3), stamp, &mut work),
        );
    }
}

//! The invariants at the top of the rules, for every strategy, budget, overshoot
//! rule and level, on rows of 0 to 600 tokens and rates 0 to 1.

use super::*;
use crate::config::{Budget, Level, Overshoot, Rate, Strategy};
use proptest::prelude::*;
use proptest::strategy::Strategy as _;

fn configs() -> impl proptest::strategy::Strategy<Value = MaskingConfig> {
    let rate = || prop_oneof![Just(0.0), Just(1.0), 0.0..=1.0f64];
    let shares = prop_oneof![
        Just((1.0, 0.0)),
        Just((0.8, 0.1)),
        Just((0.0, 1.0)),
        Just((0.0, 0.0)),
        (0.0..=0.5f64, 0.0..=0.5f64)
    ];
    (
        (
            prop::sample::select(vec![
                Strategy::Uniform,
                Strategy::Word,
                Strategy::Pmi,
                Strategy::Span,
            ]),
            prop::sample::select(vec![
                Budget::Fair,
                Budget::Bernoulli,
                Budget::Round,
                Budget::Ceil,
            ]),
            prop::sample::select(vec![
                Overshoot::Fair,
                Overshoot::Skip,
                Overshoot::Take,
                Overshoot::Truncate,
            ]),
            prop::sample::select(vec![Level::Token, Level::Word, Level::Unit]),
        ),
        (rate(), prop::option::of(rate()), shares),
        (
            prop_oneof![Just(0.0), 0.0..=1.0f64],
            1.0..6.0f64,
            any::<bool>(),
            any::<bool>(),
            prop::option::weighted(0.2, 0u32..40),
        ),
    )
        .prop_map(|(rules, (corruption, prediction, (mask, random)), rest)| {
            let (strategy, budget, overshoot, replacement_level) = rules;
            let (extra_same, mean_span_length, roll_spans, predict_whole_units, cap) = rest;
            MaskingConfig {
                strategy,
                corruption_rate: corruption.into(),
                prediction_rate: prediction.map(Rate::from),
                mask_share: mask,
                random_share: random,
                same_share: 1.0 - mask - random,
                extra_same,
                replacement_level,
                budget,
                overshoot,
                mean_span_length,
                roll_spans,
                predict_whole_units,
                max_predictions: cap,
                ..MaskingConfig::default()
            }
        })
        .prop_filter("a configuration that can work", |config| {
            config.check().is_ok() && config.most_copies() < 50
        })
}

/// The positions that a copy changed for certain, or left a label on without
/// `extra_same`: a part of what it selected.
fn seen(copy: &Copy, text: &Text) -> Vec<u32> {
    (0u32..)
        .zip(copy.input.iter().zip(&text.ids))
        .filter_map(|(place, (input, id))| (input != id).then_some(place))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn rows_obey_the_rules(config in configs(), len in 0usize..600, seed in any::<u64>()) {
        let text = Text::random(len, seed);
        let masker = masker(&config);
        let key = Key { seed, epoch: 3, sample: seed >> 7, copy: 0 };
        let mut work = Workspace::new();
        let all = copies(&masker, &text, key, &mut work);
        prop_assert_eq!(all.len(), config.most_copies() as usize);
        let maskable: Vec<bool> = text.ids.iter().map(|&id| !special().is_reserved(id)).collect();
        let count = maskable.iter().filter(|&&m| m).count() as u64;
        let mut owner = vec![None; len];
        for (number, copy) in all.iter().enumerate() {
            prop_assert_eq!(copy.input.len(), len);
            prop_assert!(copy.predicted.is_sorted_by(|a, b| a < b));
            prop_assert_eq!(copy.predicted.len(), copy.labels.len());
            prop_assert_eq!(copy.realised.predicted, copy.labels.len() as u64);
            prop_assert_eq!(copy.realised.maskable, count);
            for (&place, &label) in copy.predicted.iter().zip(&copy.labels) {
                prop_assert!(maskable[place as usize]);
                prop_assert_eq!(label, text.ids[place as usize]);
            }
            if let Some(cap) = config.max_predictions {
                prop_assert!(copy.labels.len() <= cap as usize);
            } else {
                prop_assert_eq!(copy.realised.capped, 0);
            }
            let mut masks = 0;
            for ((&maskable, &input), &id) in maskable.iter().zip(&copy.input).zip(&text.ids) {
                if !maskable {
                    prop_assert_eq!(input, id);
                }
                masks += u64::from(maskable && input == MASK);
            }
            prop_assert_eq!(masks, copy.realised.masked);
            let changed = seen(copy, &text);
            prop_assert!(changed.len() as u64 <= copy.realised.corrupted());
            let prediction = config.prediction().mean(1);
            let not_last = number + 1 < all.len();
            if config.max_predictions.is_none() && (not_last || prediction == config.corruption_rate.mean(1)) {
                for place in &changed {
                    prop_assert!(copy.predicted.binary_search(place).is_ok(), "selected, not predicted");
                }
            }
            for &place in &changed {
                prop_assert_eq!(owner[place as usize].replace(number), None, "in two copies");
            }
            if config.extra_same == 0.0 {
                for &place in &copy.predicted {
                    let before = owner[place as usize].replace(number);
                    prop_assert!(before.is_none() || before == Some(number), "labelled in two copies");
                }
            }
        }
        // Used buffers change nothing.
        prop_assert_eq!(&all, &copies(&masker, &text, key, &mut work));
    }

    #[test]
    fn exact_selections_meet_both_budgets_exactly(
        (corruption, prediction) in (0.0..=1.0f64, 0.0..=1.0f64),
        span in any::<bool>(),
        budget in prop::sample::select(vec![Budget::Fair, Budget::Round, Budget::Ceil]),
        len in 0usize..600,
        seed in any::<u64>(),
    ) {
        let config = MaskingConfig {
            strategy: if span { Strategy::Span } else { Strategy::Uniform },
            corruption_rate: corruption.into(),
            prediction_rate: Some(prediction.into()),
            budget,
            ..MaskingConfig::default()
        };
        prop_assume!(config.check().is_ok() && config.most_copies() < 30);
        let text = Text::random(len, seed);
        let all = copies(&masker(&config), &text, key(seed), &mut Workspace::new());
        let mut sum = Realised::default();
        all.iter().for_each(|copy| sum.add(&copy.realised));
        let count = all[0].realised.maskable as f64;
        let near = |tokens: u64, rate: f64| {
            let slack = if budget == Budget::Fair { 1.0 } else { 1.0f64.min(count) };
            (tokens as f64 - rate * count).abs() < slack + 1e-6
        };
        prop_assert!(near(sum.predicted, prediction), "{sum:?}");
        prop_assert!(near(sum.corrupted(), corruption * f64::from(config.most_copies())), "{sum:?}");
        for copy in &all {
            prop_assert!((copy.realised.corrupted() as f64 - corruption * count).abs() <= 2.0);
        }
    }

    #[test]
    fn whole_units_are_selected_and_labelled(
        corruption in 0.0..=1.0f64,
        share in 0.0..=1.0f64,
        budget in prop::sample::select(vec![Budget::Fair, Budget::Bernoulli, Budget::Round]),
        overshoot in prop::sample::select(vec![Overshoot::Fair, Overshoot::Skip, Overshoot::Take]),
        seed in any::<u64>(),
    ) {
        let config = MaskingConfig {
            strategy: Strategy::Pmi,
            corruption_rate: corruption.into(),
            prediction_rate: Some((corruption * share).into()),
            predict_whole_units: true,
            budget,
            overshoot,
            ..MaskingConfig::default()
        };
        let text = Text::random(200, seed);
        let all = copies(&masker(&config), &text, key(seed), &mut Workspace::new());
        let masked = masked(&all[0]);
        for (place, &id) in (0u32..).zip(&text.ids).skip(1) {
            let inside = !text.unit_start.as_slice().get(place as usize)
                && !special().is_reserved(id)
                && !special().is_reserved(text.ids[place as usize - 1]);
            if inside {
                for set in [&masked, &all[0].predicted] {
                    prop_assert_eq!(
                        set.binary_search(&place).is_ok(),
                        set.binary_search(&(place - 1)).is_ok()
                    );
                }
            }
        }
    }
}

#[test]
fn another_epoch_sample_or_seed_is_another_mask_and_the_same_key_the_same() {
    for strategy in [
        Strategy::Uniform,
        Strategy::Word,
        Strategy::Pmi,
        Strategy::Span,
    ] {
        let config = MaskingConfig {
            strategy,
            ..MaskingConfig::default()
        };
        let (masker, text) = (masker(&config), Text::random(128, 1));
        let of = |key| copies(&masker, &text, key, &mut Workspace::new());
        let first = of(key(5));
        assert_eq!(first, of(key(5)));
        assert_ne!(first, of(key(6)));
        assert_ne!(first, of(Key { epoch: 1, ..key(5) }));
        assert_ne!(first, of(Key { seed: 8, ..key(5) }));
    }
}

#[test]
fn a_row_without_maskable_tokens_has_no_labels() {
    let mut text = Text::default();
    text.push(2, true, true);
    text.push(3, true, true);
    for budget in [Budget::Fair, Budget::Bernoulli, Budget::Round, Budget::Ceil] {
        let config = MaskingConfig {
            budget,
            ..MaskingConfig::default()
        };
        for text in [&text, &Text::default()] {
            let all = copies(&masker(&config), text, key(0), &mut Workspace::new());
            assert_eq!(all[0].input, text.ids);
            assert_eq!(all[0].realised, Realised::default());
        }
    }
}

#[test]
fn a_tokenizer_without_a_mask_token_is_refused() {
    let special = SpecialTokens {
        mask: None,
        ..special()
    };
    let error = Masker::new(
        &MaskingConfig::default(),
        &TokenTable::new(VOCABULARY, &special),
    )
    .unwrap_err();
    assert!(error.to_string().contains("--mask-token"), "{error}");
    let same = MaskingConfig {
        mask_share: 0.0,
        same_share: 1.0,
        ..MaskingConfig::default()
    };
    assert!(Masker::new(&same, &TokenTable::new(VOCABULARY, &special)).is_ok());
}

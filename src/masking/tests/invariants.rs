//! The invariants at the top of the rules, for every strategy, law, budget, overshoot
//! rule, level, mixture and layout, on rows of 0 to 4096 tokens and rates 0 to 1.

use super::*;
use crate::config::masking::Component;
use crate::config::{Budget, Layout, Level, Overshoot, RandomIds, Rate, Strategy};
use proptest::prelude::*;
use proptest::strategy::Strategy as _;
use std::path::PathBuf;
use std::sync::Arc;

fn laws() -> impl proptest::strategy::Strategy<Value = Rate> {
    let share = || prop_oneof![1 => Just(0.0), 1 => Just(1.0), 6 => 0.0..=1.0f64];
    let ordered = |(a, b): (f64, f64)| (a.min(b), a.max(b));
    prop_oneof![
        6 => share().prop_map(Rate::Constant),
        1 => (share(), share()).prop_map(|(from, to)| Rate::Linear { from, to }),
        1 => (share(), share()).prop_map(|(from, to)| Rate::Cosine { from, to }),
        1 => (share(), share()).prop_map(|(a, b)| Rate::Piecewise(vec![(0, a), (50, b)])),
        1 => (share(), share()).prop_map(move |pair| {
            let (low, high) = ordered(pair);
            Rate::Uniform { low, high }
        }),
        1 => (1e-3..0.5f64).prop_map(|epsilon| Rate::Diffusion { epsilon }),
        1 => (1e-3..0.5f64).prop_map(|epsilon| Rate::Antithetic { epsilon }),
    ]
}

/// One way to mask, which may not be able to work.
fn ways() -> BoxedStrategy<MaskingConfig> {
    let shares = prop_oneof![
        Just((1.0, 0.0)),
        Just((0.8, 0.1)),
        Just((0.0, 1.0)),
        Just((0.0, 0.0)),
        (0.0..=0.5f64, 0.0..=0.5f64)
    ];
    (
        (
            prop::sample::select(Strategy::ALL.to_vec()),
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
        (laws(), prop::option::of(laws()), shares),
        (
            prop_oneof![Just(0.0), 0.0..=1.0f64],
            any::<bool>(),
            prop::option::weighted(0.2, 0u32..40),
            any::<bool>(),
            any::<bool>(),
        ),
        (
            1.0..6.0f64,
            prop::option::weighted(0.2, 1u32..9),
            any::<bool>(),
            0.05..=1.0f64,
            prop::option::of(1u32..12),
        ),
    )
        .prop_map(
            |(rules, (corruption_rate, prediction_rate, (mask, random)), rest, spans)| {
                let (strategy, budget, overshoot, replacement_level) = rules;
                let (extra_same, predict_whole_units, max_predictions, unigram, weighted) = rest;
                let (mean_span_length, span_count, roll_spans, span_p, max_span_words) = spans;
                let weighted =
                    weighted && !strategy.samples_spans() && overshoot == Overshoot::Fair;
                MaskingConfig {
                    strategy,
                    corruption_rate,
                    prediction_rate,
                    schedule_steps: Some(100),
                    mask_share: mask,
                    random_share: random,
                    same_share: 1.0 - mask - random,
                    extra_same,
                    replacement_level,
                    random_ids: if unigram {
                        RandomIds::Unigram
                    } else {
                        RandomIds::Uniform
                    },
                    budget,
                    overshoot,
                    mean_span_length,
                    span_count,
                    roll_spans,
                    span_p,
                    max_span_words,
                    token_weights: weighted.then(|| PathBuf::from("weights.tsv")),
                    predict_whole_units,
                    max_predictions,
                    ..MaskingConfig::default()
                }
            },
        )
        .boxed()
}

fn configs() -> BoxedStrategy<MaskingConfig> {
    let mixtures = (prop::collection::vec((0.1..3.0f64, ways()), 2..4), ways()).prop_map(
        |(components, whole)| {
            let mixture = components
                .into_iter()
                .map(|(weight, masking)| Component { weight, masking })
                .collect();
            // Keys of the whole hold for the components.
            MaskingConfig { mixture, ..whole }.with_layout(Layout::InPlace)
        },
    );
    prop_oneof![4 => ways(), 1 => mixtures]
        .prop_filter("a configuration that can work", |config| {
            config.check().is_ok() && config.most_copies() < 50
        })
        .boxed()
}

/// The same selections, all of them replaced by the mask token.
fn only_masks(config: MaskingConfig) -> MaskingConfig {
    MaskingConfig {
        mask_share: 1.0,
        random_share: 0.0,
        same_share: 0.0,
        extra_same: 0.0,
        mixture: config
            .mixture
            .into_iter()
            .map(|one| Component {
                masking: only_masks(one.masking),
                ..one
            })
            .collect(),
        ..config
    }
}

/// Weights that differ, some of them 0, and counts of tokens.
fn tables(seed: u64) -> (Arc<[f32]>, Vec<u64>) {
    let mut draws = Key {
        seed,
        ..Key::default()
    }
    .generator(Purpose::Order);
    let weights = (0..VOCABULARY)
        .map(|_| (draws.below(6) as f32) / 2.0)
        .collect();
    let counts = (0..VOCABULARY)
        .map(|_| 1 + u64::from(draws.below(9)))
        .collect();
    (weights, counts)
}

fn full_masker(config: &MaskingConfig, seed: u64, sentinels: usize) -> Masker {
    let (weights, counts) = tables(seed);
    let special = with_sentinels(sentinels);
    let tokens = TokenTable {
        counts: Some(&counts),
        weights: Some(weights),
        ..TokenTable::new(VOCABULARY, &special)
    };
    Masker::new(config, &tokens).unwrap()
}

/// Lengths of rows: mostly those of training, sometimes up to 4096.
fn lengths() -> impl proptest::strategy::Strategy<Value = usize> {
    prop_oneof![6 => 0usize..300, 1 => Just(0), 1 => Just(1), 1 => 300usize..=4096]
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
    fn rows_obey_the_rules(
        config in configs(),
        len in lengths(),
        seed in any::<u64>(),
        (step, place) in (0u64..200, 0u32..8),
    ) {
        let text = Text::random(len, seed);
        let masker = full_masker(&config, seed, 20);
        let key = Key { seed, epoch: 3, sample: seed >> 7, copy: 0 };
        let stamp = Stamp { step, place, rows: 8 };
        let mut work = Workspace::new();
        let drawn = masker.select(&text.row(), key, stamp, &mut work);
        let way = config.components().nth(drawn.component).unwrap();
        let (corruption, prediction) = (drawn.corruption_rate, drawn.prediction_rate);
        for (rate, law) in [(corruption, &way.corruption_rate), (prediction, way.prediction())] {
            let (low, high) = law.range();
            prop_assert!((low - 1e-12..=high + 1e-12).contains(&rate));
        }
        let all = copies_at(&masker, &text, key, stamp, &mut work);
        prop_assert_eq!(all.len(), drawn.copies as usize);
        prop_assert!(drawn.copies <= config.most_copies());
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
            if let Some(cap) = way.max_predictions {
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
                prop_assert!(!maskable || input == MASK || !special().is_reserved(input));
            }
            prop_assert_eq!(masks, copy.realised.masked);
            let changed = seen(copy, &text);
            prop_assert!(changed.len() as u64 <= copy.realised.corrupted());
            let not_last = number + 1 < all.len();
            if way.max_predictions.is_none() && (not_last || prediction == corruption) {
                for place in &changed {
                    prop_assert!(copy.predicted.binary_search(place).is_ok(), "selected, not predicted");
                }
            }
            for &place in &changed {
                prop_assert_eq!(owner[place as usize].replace(number), None, "in two copies");
            }
            if way.extra_same == 0.0 {
                for &place in &copy.predicted {
                    let before = owner[place as usize].replace(number);
                    prop_assert!(before.is_none() || before == Some(number), "labelled in two copies");
                }
            }
        }
        // Used buffers change nothing.
        prop_assert_eq!(&all, &copies_at(&masker, &text, key, stamp, &mut work));
    }

    #[test]
    fn layouts_hold_the_same_row(
        config in configs(),
        len in lengths(),
        seed in any::<u64>(),
        sentinels in prop_oneof![1usize..5, Just(4096usize)],
    ) {
        let text = Text::random(len, seed);
        let mut work = Workspace::new();
        let in_place = copies(&full_masker(&config, seed, 1), &text, key(seed), &mut work);
        let of_removed = config.clone().with_layout(Layout::Removed);
        let of_removed = full_masker(&of_removed, seed, 1);
        for (copy, there) in in_place.iter().zip(copies(&of_removed, &text, key(seed), &mut work)) {
            let kept = (0u32..).zip(&copy.input).filter(|&(_, &id)| id != MASK);
            let (places, input): (Vec<u32>, Vec<TokenId>) = kept.unzip();
            prop_assert_eq!((&there.places, &there.input), (&places, &input));
            prop_assert_eq!((&there.predicted, &there.labels), (&copy.predicted, &copy.labels));
            prop_assert_eq!(there.realised, copy.realised);
        }
        let masks = only_masks(config);
        let in_place = copies(&full_masker(&masks, seed, 1), &text, key(seed), &mut work);
        let of_sentinels = full_masker(&masks.with_layout(Layout::Sentinel), seed, sentinels);
        for (copy, there) in in_place.iter().zip(copies(&of_sentinels, &text, key(seed), &mut work)) {
            layouts::check_sentinels(&text, copy, &there);
        }
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
    for strategy in Strategy::ALL {
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

#[test]
fn one_thread_or_eight_draw_the_same_masks() {
    for strategy in Strategy::ALL {
        let config = MaskingConfig {
            strategy,
            corruption_rate: "uniform(0.1, 0.4)".parse().unwrap(),
            prediction_rate: Some(0.4.into()),
            mask_share: 0.8,
            random_share: 0.2,
            ..MaskingConfig::default()
        };
        let (masker, text) = (masker(&config), Text::random(200, 9));
        let rows = &|samples: std::ops::Range<u64>| -> Vec<Vec<Copy>> {
            let mut work = Workspace::new();
            samples
                .map(|sample| copies(&masker, &text, key(sample), &mut work))
                .collect()
        };
        let alone = rows(0..64);
        let together = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|thread| scope.spawn(move || rows(8 * thread..8 * thread + 8)))
                .collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .collect::<Vec<_>>()
        });
        assert_eq!(alone, together, "{strategy:?}");
    }
}

//! Known answers: masks of given keys. They may never change; another
//! implementation that reproduces them draws as this one does.

use super::*;
use crate::config::{Budget, Layout, Overshoot, Preset, RandomIds, Strategy};

/// 40 maskable tokens between `[CLS]` and `[SEP]`, with a `[SEP]` at 20; words of 1, 2, 3
/// tokens in turn, units of 2 words.
fn text() -> Text {
    let mut text = Text::default();
    text.push(2, true, true);
    let mut starts = [1, 2, 3]
        .into_iter()
        .cycle()
        .enumerate()
        .flat_map(|(word, len)| (0..len).map(move |at| (at == 0, at == 0 && word % 2 == 0)));
    for place in 1..42 {
        if place == 20 {
            text.push(3, true, true);
        } else if let Some((word, unit)) = starts.next() {
            text.push(100 + place, word, unit);
        }
    }
    text.push(3, true, true);
    text
}

/// The key of all known answers.
const KEY: Key = Key {
    seed: 11,
    epoch: 2,
    sample: 5,
    copy: 0,
};

/// Corrupted positions with their new ids, and positions with a label.
type Known<'a> = (&'a [(u32, TokenId)], &'a [u32]);

fn check(config: MaskingConfig, known: &[Known<'_>]) {
    let text = text();
    let all = copies(&masker(&config), &text, KEY, &mut Workspace::new());
    assert_eq!(all.len(), known.len());
    for (copy, (corrupted, predicted)) in all.iter().zip(known) {
        let changed: Vec<(u32, TokenId)> = (0u32..)
            .zip(copy.input.iter().zip(&text.ids))
            .filter_map(|(place, (&input, &id))| (input != id).then_some((place, input)))
            .collect();
        assert_eq!(&changed, corrupted);
        assert_eq!(&copy.predicted, predicted);
    }
}

/// 20 % of 40 tokens.
fn of(strategy: Strategy) -> MaskingConfig {
    MaskingConfig {
        strategy,
        corruption_rate: 0.2.into(),
        ..MaskingConfig::default()
    }
}

fn masks<const N: usize>(positions: [u32; N]) -> [(u32, TokenId); N] {
    positions.map(|position| (position, MASK))
}

#[test]
fn uniform_masks_of_a_given_key() {
    let first = [6, 8, 13, 18, 28, 37, 38, 40];
    let second = [1, 4, 7, 12, 19, 23, 26, 31];
    check(of(Strategy::Uniform), &[(&masks(first), &first)]);
    check(
        MaskingConfig {
            prediction_rate: Some(0.3.into()),
            ..of(Strategy::Uniform)
        },
        &[(&masks(first), &first), (&masks(second), &[19, 23, 26, 31])],
    );
    check(
        MaskingConfig {
            prediction_rate: Some(0.1.into()),
            ..of(Strategy::Uniform)
        },
        &[(&masks(first), &[6, 13, 18, 40])],
    );
    check(
        MaskingConfig {
            mask_share: 0.4,
            random_share: 0.3,
            same_share: 0.3,
            ..of(Strategy::Uniform)
        },
        &[(
            &[(6, 4), (13, 4), (18, 4), (37, 4), (38, 4), (40, 636)],
            &first,
        )],
    );
    let each = [3, 13, 15, 21, 31, 33, 34, 40];
    check(
        MaskingConfig {
            budget: Budget::Bernoulli,
            ..of(Strategy::Uniform)
        },
        &[(&masks(each), &each)],
    );
}

#[test]
fn unit_masks_of_a_given_key() {
    let words = [1, 10, 11, 12, 13, 38];
    check(of(Strategy::Word), &[(&masks(words), &words)]);
    let first = [1, 2, 3, 13, 14, 15, 38, 39, 40];
    let second = [8, 9, 10, 11, 12, 26, 27, 28, 41];
    check(of(Strategy::Pmi), &[(&masks(first), &first)]);
    check(
        MaskingConfig {
            prediction_rate: Some(0.3.into()),
            ..of(Strategy::Pmi)
        },
        &[(&masks(first), &first), (&masks(second), &[12, 26, 27, 41])],
    );
    let skipping = [21, 22, 23, 24, 25, 41];
    check(
        MaskingConfig {
            overshoot: Overshoot::Skip,
            budget: Budget::Ceil,
            ..of(Strategy::Pmi)
        },
        &[(&masks(skipping), &skipping)],
    );
}

#[test]
fn span_masks_of_a_given_key() {
    let spans = [6, 7, 8, 32, 33, 34, 35, 41];
    check(of(Strategy::Span), &[(&masks(spans), &spans)]);
}

/// The text of all known answers, in a layout that does not keep it.
fn whole(config: &MaskingConfig, layout: Layout) -> (Vec<TokenId>, Vec<TokenId>, Vec<u32>) {
    let special = with_sentinels(20);
    let config = config.clone().with_layout(layout);
    let masker = Masker::new(&config, &TokenTable::new(VOCABULARY, &special)).unwrap();
    let copy = copies(&masker, &text(), KEY, &mut Workspace::new()).swap_remove(0);
    (copy.input, copy.target, copy.predicted)
}

#[test]
fn word_span_masks_of_a_given_key() {
    let spans = [27, 28, 29, 30, 31, 39, 40];
    check(of(Strategy::Geometric), &[(&masks(spans), &spans)]);
    let spans = [27, 28, 39, 40];
    check(of(Strategy::Ngram), &[(&masks(spans), &spans)]);
    // Both copies together have 7 of their 16: the next span would overshoot, and was
    // refused.
    let second = [27, 28, 29, 30, 31, 39, 40];
    check(
        MaskingConfig {
            prediction_rate: Some(0.3.into()),
            ..of(Strategy::Geometric)
        },
        &[(&[], &[]), (&masks(second), &[31, 39, 40])],
    );
    let cut = [16, 17, 18, 19, 38, 39, 40, 41];
    check(
        MaskingConfig {
            overshoot: Overshoot::Truncate,
            budget: Budget::Ceil,
            ..of(Strategy::Geometric)
        },
        &[(&masks(cut), &cut)],
    );
}

#[test]
fn rolled_and_counted_spans_of_a_given_key() {
    let rolled = [16, 17, 18, 19, 26, 32, 33, 34];
    check(
        MaskingConfig {
            roll_spans: true,
            ..of(Strategy::Span)
        },
        &[(&masks(rolled), &rolled)],
    );
    let two = [10, 11, 12, 13, 14, 15, 16, 41];
    check(
        MaskingConfig {
            span_count: Some(2),
            ..of(Strategy::Span)
        },
        &[(&masks(two), &two)],
    );
}

#[test]
fn rates_and_components_of_a_given_key() {
    let stamp = Stamp {
        step: 3,
        place: 2,
        rows: 4,
    };
    let drawn = |config: &MaskingConfig| {
        masker(config).select(&text().row(), KEY, stamp, &mut Workspace::new())
    };
    let rate = |rate: &str| {
        drawn(&MaskingConfig {
            corruption_rate: rate.parse().unwrap(),
            ..MaskingConfig::default()
        })
        .corruption_rate
    };
    assert_eq!(rate("uniform(0, 1)"), 0.658780119506304);
    assert_eq!(rate("diffusion(0.001)"), 0.6591213393867977);
    assert_eq!(rate("antithetic(0.001)"), 0.6650303348466995);
    let ul2 = Preset::Ul2.config().with_layout(Layout::InPlace);
    assert_eq!(drawn(&ul2).component, 4);
}

#[test]
fn weighted_masks_of_a_given_key() {
    let special = special();
    let weights = (0..VOCABULARY).map(|id| (id % 3) as f32).collect();
    let tokens = TokenTable {
        weights: Some(weights),
        ..TokenTable::new(VOCABULARY, &special)
    };
    let of = |strategy, prediction: Option<f64>| {
        let config = MaskingConfig {
            token_weights: Some("weights.tsv".into()),
            prediction_rate: prediction.map(f64::into),
            ..of(strategy)
        };
        let masker = Masker::new(&config, &tokens).unwrap();
        let all = copies(&masker, &text(), KEY, &mut Workspace::new());
        all.iter().map(masked).collect::<Vec<_>>()
    };
    assert_eq!(
        of(Strategy::Uniform, None),
        [[1, 3, 13, 15, 16, 24, 30, 40]]
    );
    assert_eq!(
        of(Strategy::Uniform, Some(0.4)),
        [
            [7, 21, 25, 28, 33, 36, 37, 40],
            [1, 4, 10, 18, 19, 22, 31, 34]
        ]
    );
    assert_eq!(of(Strategy::Word, None), [[1, 7, 21, 22, 33, 34]]);
}

#[test]
fn unigram_replacements_of_a_given_key() {
    let special = special();
    let counts: Vec<u64> = (0..VOCABULARY as u64).map(|id| id * id).collect();
    let tokens = TokenTable {
        counts: Some(&counts),
        ..TokenTable::new(VOCABULARY, &special)
    };
    let config = MaskingConfig {
        mask_share: 0.0,
        random_share: 1.0,
        random_ids: RandomIds::Unigram,
        ..of(Strategy::Uniform)
    };
    let masker = Masker::new(&config, &tokens).unwrap();
    let copy = &copies(&masker, &text(), KEY, &mut Workspace::new())[0];
    let drawn: Vec<TokenId> = copy
        .predicted
        .iter()
        .map(|&p| copy.input[p as usize])
        .collect();
    assert_eq!(drawn, [914, 719, 330, 830, 986, 984, 913, 566]);
}

#[test]
fn rows_without_their_masks_of_a_given_key() {
    let (input, _, predicted) = whole(&of(Strategy::Span), Layout::Removed);
    assert_eq!(input.len(), 35);
    assert_eq!(input[4..8], [104, 105, 109, 110]);
    assert_eq!(predicted, [6, 7, 8, 32, 33, 34, 35, 41]);
    let (input, target, predicted) = whole(&of(Strategy::Span), Layout::Sentinel);
    assert_eq!(input[4..8], [104, 105, 1000, 109]);
    assert_eq!(input[30..], [1001, 136, 137, 138, 139, 140, 1002, 3]);
    let spelled = [1000, 106, 107, 108, 1001, 132, 133, 134, 135, 1002, 141, 3];
    assert_eq!(target, spelled);
    assert_eq!(predicted, (0..12).collect::<Vec<u32>>());
}

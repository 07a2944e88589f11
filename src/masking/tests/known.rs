//! Known answers: masks of given keys. They may never change; another
//! implementation that reproduces them draws as this one does.

use super::*;
use crate::config::{Budget, Overshoot, Strategy};

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

/// Corrupted positions with their new ids, and positions with a label.
type Known<'a> = (&'a [(u32, TokenId)], &'a [u32]);

fn check(config: MaskingConfig, known: &[Known<'_>]) {
    let text = text();
    let key = Key {
        seed: 11,
        epoch: 2,
        sample: 5,
        copy: 0,
    };
    let all = copies(&masker(&config), &text, key, &mut Workspace::new());
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

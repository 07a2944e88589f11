//! What the published samplers are known to give, as numbers.

use super::*;
use crate::config::{Budget, Layout, Overshoot, Preset, Strategy};
use crate::masking::spans::row_length;

fn one(config: &MaskingConfig, text: &Text, sample: u64) -> Copy {
    copies(&masker(config), text, key(sample), &mut Workspace::new()).swap_remove(0)
}

/// Runs of neighbouring positions: first and length.
fn runs(positions: &[u32]) -> Vec<(u32, usize)> {
    let mut runs: Vec<(u32, usize)> = Vec::new();
    for &position in positions {
        match runs.last_mut() {
            Some((first, len)) if *first + *len as u32 == position => *len += 1,
            _ => runs.push((position, 1)),
        }
    }
    runs
}

#[test]
fn t5_rows_are_as_long_as_its_helper_says() {
    // random_spans_helper: inputs of 64 tokens at 20 %.
    assert_eq!(row_length(64, 0.2, 2.0), (70, 22));
    assert_eq!(row_length(64, 0.2, 1.0), (63, 27));
    // T5's own: 512 at 15 % with spans of 3 tokens.
    assert_eq!(row_length(512, 0.15, 3.0), (568, 114));
    // And the rows that our layout makes of them.
    for (length, rate, mean_span_length) in [(64, 0.2, 2.0), (64, 0.2, 1.0), (512, 0.15, 3.0)] {
        let (tokens, target) = row_length(length, rate, mean_span_length);
        let mut text = Text::of_units(tokens as usize, &[1]);
        text.push(3, true, true);
        let config = MaskingConfig {
            corruption_rate: rate.into(),
            mean_span_length,
            ..Preset::T5.config()
        };
        let special = with_sentinels(200);
        let masker = Masker::new(&config, &TokenTable::new(VOCABULARY, &special)).unwrap();
        let copy = &copies(&masker, &text, key(1), &mut Workspace::new())[0];
        assert_eq!(copy.input.len(), length as usize);
        assert_eq!(copy.target.len(), target as usize);
    }
}

#[test]
fn t5_masks_8_of_32_tokens_in_4_spans() {
    let text = Text::of_units(32, &[1]);
    for sample in 0..50 {
        let config = MaskingConfig {
            corruption_rate: 0.25.into(),
            mean_span_length: 2.0,
            layout: Layout::InPlace,
            ..Preset::T5.config()
        };
        let copy = one(&config, &text, sample);
        assert_eq!(copy.realised.masked, 8);
        assert_eq!(runs(&masked(&copy)).len(), 4);
    }
}

#[test]
fn the_s_denoiser_of_ul2_is_the_end_of_the_row() {
    let text = Text::of_units(100, &[1]);
    let config = Preset::Ul2.config().mixture[2]
        .masking
        .clone()
        .with_layout(Layout::InPlace);
    let copy = one(&config, &text, 3);
    assert_eq!(masked(&copy), (75..100).collect::<Vec<u32>>());
}

#[test]
fn spanbert_spans_have_the_truncated_geometric_law() {
    // One span a row, away from its end: χ² over 1 to 10 words with 9 degrees.
    let text = Text::of_units(400, &[1]);
    let config = MaskingConfig {
        corruption_rate: 0.001.into(),
        overshoot: Overshoot::Take,
        budget: Budget::Ceil,
        mask_share: 1.0,
        random_share: 0.0,
        same_share: 0.0,
        ..Preset::Spanbert.config()
    };
    let masker = masker(&config);
    let mut work = Workspace::new();
    let mut seen = [0f64; 10];
    for sample in 0..20_000 {
        let copy = &copies(&masker, &text, key(sample), &mut work)[0];
        let spans = runs(&masked(copy));
        assert_eq!(spans.len(), 1);
        if spans[0].0 <= 390 {
            seen[spans[0].1 - 1] += 1.0;
        }
    }
    let (count, all): (f64, f64) = (seen.iter().sum(), (0..10).map(|l| 0.8f64.powi(l)).sum());
    let chi: f64 = (0..10)
        .map(|l| {
            let expected = count * 0.8f64.powi(l as i32) / all;
            (seen[l] - expected).powi(2) / expected
        })
        .sum();
    assert!(chi < 27.9, "{chi}: {seen:?}");
    let mean: f64 = (1..).zip(seen).map(|(l, n)| f64::from(l) * n).sum::<f64>() / count;
    assert!((mean - 3.797).abs() < 0.06, "{mean}");
}

#[test]
fn spanbert_cuts_its_last_span_to_the_budget() {
    let text = Text::of_units(128, &[1]);
    for sample in 0..50 {
        let config = MaskingConfig {
            mask_share: 1.0,
            random_share: 0.0,
            same_share: 0.0,
            ..Preset::Spanbert.config()
        };
        assert_eq!(one(&config, &text, sample).realised.masked, 20);
    }
}

#[test]
fn five_to_forty_are_eight_rows_without_overlap() {
    let text = Text::of_units(200, &[1]);
    for strategy in Strategy::ALL {
        let config = MaskingConfig {
            strategy,
            corruption_rate: 0.05.into(),
            prediction_rate: Some(0.4.into()),
            ..MaskingConfig::default()
        };
        let all = copies(&masker(&config), &text, key(2), &mut Workspace::new());
        assert_eq!(all.len(), 8);
        let mut places: Vec<u32> = all.iter().flat_map(masked).collect();
        let count = places.len();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), count, "{strategy:?}");
    }
}

#[test]
fn bert_masks_at_least_one_token_and_15_percent_of_128() {
    assert_eq!(
        one(&Preset::Bert.config(), &Text::of_units(2, &[1]), 0)
            .realised
            .predicted,
        1
    );
    // 126 tokens between [CLS] and [SEP]: 18.9.
    let copy = one(&Preset::Bert.config(), &Text::of_units(126, &[1]), 0);
    assert_eq!(copy.realised.predicted, 19);
}

#[test]
fn wettig_20_40_and_40_20_label_what_they_say() {
    let text = Text::of_units(100, &[1]);
    let all = copies(
        &masker(&Preset::Wettig20To40.config()),
        &text,
        key(0),
        &mut Workspace::new(),
    );
    assert_eq!(all.len(), 2);
    assert!(
        all.iter()
            .all(|copy| copy.realised.masked == 20 && copy.realised.predicted == 20)
    );
    let copy = one(&Preset::Wettig40To20.config(), &text, 0);
    assert_eq!((copy.realised.masked, copy.realised.predicted), (40, 20));
}

//! Shares of the replacement policy, levels, and random ids.

use super::*;
use crate::config::{Level, Strategy};

fn eighty_ten_ten(level: Level) -> MaskingConfig {
    MaskingConfig {
        strategy: Strategy::Pmi,
        mask_share: 0.8,
        random_share: 0.1,
        same_share: 0.1,
        replacement_level: level,
        ..MaskingConfig::default()
    }
}

#[test]
fn eighty_ten_ten_at_forty_percent_is_32_4_4() {
    // χ² over mask, random, same with 2 degrees: 13.8 is passed with p = 0.001.
    let text = Text::random(512, 1);
    let masker = masker(&eighty_ten_ten(Level::Token));
    let mut sum = Realised::default();
    let mut work = Workspace::new();
    for sample in 0..400 {
        let copy = &copies(&masker, &text, key(sample), &mut work)[0];
        assert_eq!(
            copy.realised.predicted,
            copy.realised.corrupted() + copy.realised.same
        );
        sum.add(&copy.realised);
    }
    let all = sum.predicted as f64;
    let chi: f64 = [(sum.masked, 0.8), (sum.random, 0.1), (sum.same, 0.1)]
        .iter()
        .map(|&(found, share)| (found as f64 - share * all).powi(2) / (share * all))
        .sum();
    assert!(chi < 13.8, "{chi}: {sum:?}");
    let share = |count: u64| count as f64 / sum.maskable as f64;
    assert!((share(sum.corrupted()) - 0.36).abs() < 0.003);
    assert!((share(sum.predicted) - 0.40).abs() < 0.003);
}

#[test]
fn random_ids_are_flat_over_the_ordinary_vocabulary() {
    // 994 ordinary ids: χ² with 993 degrees passes 1138 with p = 0.001.
    let text = Text::of_units(500, &[1]);
    let masker = masker(&MaskingConfig {
        corruption_rate: 1.0.into(),
        mask_share: 0.0,
        random_share: 1.0,
        ..MaskingConfig::default()
    });
    let mut cells = vec![0f64; VOCABULARY];
    let mut work = Workspace::new();
    let rounds = 400;
    for sample in 0..rounds {
        for &id in &copies(&masker, &text, key(sample), &mut work)[0].input {
            cells[id as usize] += 1.0;
        }
    }
    let expected = 500.0 * rounds as f64 / 994.0;
    let mut chi = 0.0;
    for (id, &count) in (0..).zip(&cells) {
        if special().is_reserved(id) {
            assert_eq!(count, 0.0, "reserved id {id}");
        } else {
            chi += (count - expected).powi(2) / expected;
        }
    }
    assert!(chi < 1138.0, "{chi}");
}

#[test]
fn one_category_covers_a_token_a_word_or_a_unit() {
    let text = Text::random(600, 2);
    let fate = |copy: &Copy, place: usize| match copy.input[place] {
        MASK => 'm',
        id if id == text.ids[place] => 's',
        _ => 'r',
    };
    for (level, words_agree, units_agree) in [
        (Level::Token, false, false),
        (Level::Word, true, false),
        (Level::Unit, true, true),
    ] {
        let masker = masker(&eighty_ten_ten(level));
        let (mut word_breaks, mut unit_breaks) = (0, 0);
        let mut work = Workspace::new();
        for sample in 0..40 {
            let copy = &copies(&masker, &text, key(sample), &mut work)[0];
            for place in 1..text.ids.len() {
                let both = [place - 1, place]
                    .iter()
                    .all(|&p| copy.predicted.binary_search(&(p as u32)).is_ok());
                // A random id may be the same one by chance: only m against r counts.
                let pair = (fate(copy, place - 1), fate(copy, place));
                if !both || !matches!(pair, ('m', 'r') | ('r', 'm')) {
                    continue;
                }
                word_breaks += u32::from(!text.word_start.as_slice().get(place));
                unit_breaks += u32::from(!text.unit_start.as_slice().get(place));
            }
        }
        assert_eq!(word_breaks == 0, words_agree, "{level:?}: {word_breaks}");
        assert_eq!(unit_breaks == 0, units_agree, "{level:?}: {unit_breaks}");
    }
}

#[test]
fn spans_have_one_category_each() {
    let text = Text::of_units(400, &[1]);
    let masker = masker(&MaskingConfig {
        strategy: Strategy::Span,
        mask_share: 0.5,
        same_share: 0.5,
        roll_spans: true,
        ..MaskingConfig::default()
    });
    let mut work = Workspace::new();
    for sample in 0..50 {
        let copy = &copies(&masker, &text, key(sample), &mut work)[0];
        for pair in copy
            .predicted
            .windows(2)
            .filter(|pair| pair[0] + 1 == pair[1])
        {
            let masked = |place: u32| copy.input[place as usize] == MASK;
            assert_eq!(masked(pair[0]), masked(pair[1]), "a span of two fates");
        }
    }
}

//! Rows that do not keep their length.

use super::*;
use crate::config::{Layout, Strategy};
use std::collections::BTreeMap;

/// The original row is what the input says with each sentinel replaced by what the
/// target says of it; the selection is that of the row in place.
pub fn check_sentinels(text: &Text, in_place: &Copy, copy: &Copy) {
    let is_sentinel = |&id: &TokenId| id as usize >= VOCABULARY;
    let mut spelled: BTreeMap<TokenId, Vec<TokenId>> = BTreeMap::new();
    let mut open = None;
    let (end, spans) = match copy.target.split_last() {
        None => (None, &[][..]),
        Some((end, spans)) => (Some(*end), spans),
    };
    for id in spans {
        if is_sentinel(id) {
            assert!(spelled.insert(*id, Vec::new()).is_none(), "used twice");
            open = Some(*id);
        } else {
            spelled.get_mut(&open.unwrap()).unwrap().push(*id);
        }
    }
    assert_eq!(end, (!spans.is_empty()).then_some(3), "closed by [SEP]");
    let mut row = Vec::new();
    for (&id, &place) in copy.input.iter().zip(&copy.places) {
        assert_eq!(row.len(), place as usize);
        match spelled.get(&id) {
            Some(tokens) => row.extend(tokens),
            None => row.push(id),
        }
    }
    assert_eq!(row, text.ids);
    assert_eq!(copy.input.len(), copy.places.len());
    let sentinels: Vec<TokenId> = copy.input.iter().copied().filter(is_sentinel).collect();
    let in_order = (0..).take(sentinels.len()).map(|i| (VOCABULARY + i) as u32);
    assert!(
        sentinels.iter().copied().eq(in_order),
        "in the order of their numbers"
    );
    assert!(spelled.values().all(|tokens| !tokens.is_empty()));

    for (&position, &label) in copy.predicted.iter().zip(&copy.labels) {
        assert_eq!(copy.target[position as usize], label);
    }
    let of_text = copy.labels.iter().filter(|id| !is_sentinel(id)).count();
    let of_text = of_text - usize::from(end.is_some());
    assert_eq!(copy.realised.predicted, of_text as u64);
    let selected = in_place.realised.masked;
    assert_eq!(
        copy.realised.masked + copy.realised.without_sentinel,
        selected
    );
    if copy.realised.without_sentinel == 0 {
        let places = masked(in_place);
        let tokens: Vec<TokenId> = places.iter().map(|&p| text.ids[p as usize]).collect();
        let spelled: Vec<TokenId> = spans
            .iter()
            .copied()
            .filter(|id| !is_sentinel(id))
            .collect();
        assert_eq!(spelled, tokens);
        assert_eq!(copy.realised, in_place.realised);
    }
}

fn of(layout: Layout, sentinels: usize) -> Masker {
    let config = MaskingConfig {
        strategy: Strategy::Span,
        corruption_rate: 0.25.into(),
        layout,
        ..MaskingConfig::default()
    };
    let special = with_sentinels(sentinels);
    Masker::new(&config, &TokenTable::new(VOCABULARY, &special)).unwrap()
}

#[test]
fn a_row_as_t5_writes_it() {
    let mut text = Text::default();
    for id in [100, 101, 102, 103, 104, 105, 106, 107, 3] {
        text.push(id, true, true);
    }
    let mut work = Workspace::new();
    let copy = &copies(&of(Layout::Sentinel, 8), &text, key(0), &mut work)[0];
    // 2 of 8 tokens in one span, which T5 puts at the end.
    assert_eq!(copy.input, [100, 101, 102, 103, 104, 105, 1000, 3]);
    assert_eq!(copy.places, [0, 1, 2, 3, 4, 5, 6, 8]);
    assert_eq!(copy.target, [1000, 106, 107, 3]);
    assert_eq!(copy.labels, copy.target);
    let copy = &copies(&of(Layout::Removed, 0), &text, key(0), &mut work)[0];
    assert_eq!(copy.input, [100, 101, 102, 103, 104, 105, 3]);
    assert_eq!(copy.places, [0, 1, 2, 3, 4, 5, 8]);
    assert_eq!(
        (&copy.predicted[..], &copy.labels[..]),
        (&[6, 7][..], &[106, 107][..])
    );
}

#[test]
fn spans_beyond_the_sentinels_stay_and_are_counted() {
    let text = Text::of_units(256, &[1]);
    let mut work = Workspace::new();
    let all = &copies(&of(Layout::Sentinel, 100), &text, key(1), &mut work)[0];
    assert_eq!(
        (all.realised.masked, all.realised.without_sentinel),
        (64, 0)
    );
    let few = &copies(&of(Layout::Sentinel, 5), &text, key(1), &mut work)[0];
    assert_eq!(few.realised.masked + few.realised.without_sentinel, 64);
    assert_eq!(few.input.iter().filter(|&&id| id >= 1000).count(), 5);
    assert_eq!(few.realised.predicted, few.realised.masked);
}

#[test]
fn a_row_without_selected_tokens_has_an_empty_target() {
    let mut text = Text::default();
    text.push(2, true, true);
    text.push(3, true, true);
    let copy = &copies(
        &of(Layout::Sentinel, 5),
        &text,
        key(1),
        &mut Workspace::new(),
    )[0];
    assert_eq!(copy.input, text.ids);
    assert!(copy.target.is_empty() && copy.labels.is_empty());
}

#[test]
fn sentinels_are_asked_of_the_tokenizer() {
    let config = MaskingConfig {
        layout: Layout::Sentinel,
        ..MaskingConfig::default()
    };
    let error = Masker::new(&config, &TokenTable::new(VOCABULARY, &special())).unwrap_err();
    assert!(error.to_string().contains("<extra_id_0>"), "{error}");
}

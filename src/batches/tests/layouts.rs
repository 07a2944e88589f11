//! Batches of rows that do not keep their length, and what is stamped on rows.

use super::*;
use crate::config::Budget;

fn read(layout: Masked, rows: RowLayout, config: &MaskingConfig) -> Vec<Batch> {
    let written = corpus(rows, 24, true);
    let config = config.clone().with_layout(layout);
    let special = SpecialTokens {
        sentinels: (500..560).collect(),
        ..special()
    };
    let tokens = TokenTable::new(560, &special);
    let masker = Masker::new(&config, &tokens).unwrap();
    let rows = written.corpus.rows();
    let mut reader = Reader::new(written.corpus, masker, order(rows), Position::default()).unwrap();
    (0..rows / 4).map(|_| reader.read().unwrap()).collect()
}

/// The tokens of each row of a batch, padding left out.
fn rows_of<'a>(values: &'a [u32], lengths: &'a [u32], width: usize) -> Vec<&'a [u32]> {
    let rows = values.chunks(width.max(1)).zip(lengths);
    rows.map(|(row, &length)| &row[..length as usize]).collect()
}

fn configs() -> Vec<MaskingConfig> {
    let of = |strategy, prediction: Option<f64>| MaskingConfig {
        strategy,
        corruption_rate: 0.3.into(),
        prediction_rate: prediction.map(f64::into),
        ..MaskingConfig::default()
    };
    vec![
        of(Strategy::Span, None),
        of(Strategy::Geometric, Some(0.6)),
        of(Strategy::Pmi, Some(0.1)),
    ]
}

#[test]
fn removed_rows_are_those_in_place_without_their_masks() {
    for rows in [RowLayout::Packed, RowLayout::Document, RowLayout::BestFit] {
        for config in configs() {
            let in_place = read(Masked::InPlace, rows, &config);
            let removed = read(Masked::Removed, rows, &config);
            for (there, here) in in_place.iter().zip(&removed) {
                assert_eq!(
                    here.length as u32,
                    here.lengths.iter().copied().max().unwrap()
                );
                assert_eq!(here.input.len(), here.rows * here.length);
                assert_eq!(
                    (&here.predicted, &here.labels),
                    (&there.predicted, &there.labels)
                );
                assert_eq!(here.dense_labels(-100), there.dense_labels(-100));
                let mut kept = Vec::new();
                let mut positions = Vec::new();
                let mut ends = vec![0];
                let mut all = there.position_ids().into_iter();
                let mut runs = there.cu_seqlens[1..].iter().copied().peekable();
                let mut seen = 0;
                for row in rows_of(&there.input, &there.lengths, there.length) {
                    for &id in row {
                        let position = all.next().unwrap();
                        if id != 4 {
                            kept.push(id);
                            positions.push(position);
                        }
                        seen += 1;
                        if runs.next_if_eq(&seen).is_some() {
                            ends.push(kept.len() as u32);
                        }
                    }
                }
                let rows = rows_of(&here.input, &here.lengths, here.length);
                assert_eq!(rows.concat(), kept);
                assert_eq!(here.position_ids(), positions);
                assert_eq!(here.cu_seqlens, ends);
            }
        }
    }
}

#[test]
fn sentinel_rows_and_their_targets_spell_the_rows_in_place() {
    for rows in [RowLayout::Packed, RowLayout::Document, RowLayout::BestFit] {
        for config in configs() {
            let in_place = read(Masked::InPlace, rows, &config);
            let with_sentinels = read(Masked::Sentinel, rows, &config);
            for (there, here) in in_place.iter().zip(&with_sentinels) {
                assert_eq!(here.rows, there.rows);
                assert_eq!(here.realised, there.realised);
                assert_eq!(here.target.len(), here.rows * here.target_length);
                let inputs = rows_of(&here.input, &here.lengths, here.length);
                let places = rows_of(&here.places, &here.lengths, here.length);
                let targets = rows_of(&here.target, &here.target_lengths, here.target_length);
                let masked = rows_of(&there.input, &there.lengths, there.length);
                for (row, input) in inputs.iter().enumerate() {
                    for (&id, &place) in input.iter().zip(places[row]) {
                        let stood = masked[row][place as usize];
                        assert!(id == stood || stood == 4 && (500..560).contains(&id));
                    }
                    let spelled = targets[row].iter().filter(|id| !(500..560).contains(*id));
                    let masks = masked[row].iter().filter(|&&id| id == 4).count();
                    assert_eq!(spelled.count(), masks + usize::from(masks > 0));
                }
                for (&position, &label) in here.predicted.iter().zip(&here.labels) {
                    assert_eq!(here.target[position as usize], label);
                }
                assert!(here.predicted.is_sorted_by(|a, b| a < b));
                let dense = here.dense_labels(-100);
                let labels = dense.iter().filter(|&&label| label != -100).count();
                assert_eq!(labels, here.labels.len());
                assert_eq!(
                    here.run_lengths().sum::<u32>(),
                    here.lengths.iter().sum::<u32>()
                );
            }
        }
    }
}

#[test]
fn steps_and_strata_go_by_the_row_read_not_by_the_batch() {
    let written = corpus(RowLayout::Packed, 16, false);
    let rows = written.corpus.rows();
    let config = MaskingConfig {
        corruption_rate: "antithetic(0.01)".parse().unwrap(),
        budget: Budget::Bernoulli,
        ..MaskingConfig::default()
    };
    let read = |batch_rows: usize, at: u64| {
        let order = Order {
            batch_rows,
            step_rows: 8,
            ..order(rows)
        };
        let masker = masks(&written.corpus, &config);
        let at = Position { epoch: 1, row: at };
        let mut reader = Reader::new(written.corpus.clone(), masker, order, at).unwrap();
        let batches: Vec<Batch> = (0..24 / batch_rows)
            .map(|_| reader.read().unwrap())
            .collect();
        let weights: Vec<f32> = batches.iter().flat_map(|b| b.weights.clone()).collect();
        (batches[0].step, weights)
    };
    // Row 0 of epoch 1 is row `rows` of the training; go on at the first of a step.
    let at = (8 - rows % 8) % 8;
    let (step, weights) = read(8, at);
    assert_eq!(step, (rows + at) / 8);
    assert_eq!((step, &weights), (read(4, at).0, &read(4, at).1));
    assert_eq!(read(8, at + 8).1[..16], weights[8..]);
    for (place, weight) in weights.iter().enumerate() {
        let t = (1.0 / f64::from(*weight) - 0.01) / 0.99;
        assert_eq!((t * 8.0) as usize, place % 8, "{t}");
    }
}

//! Steps that are filled by tokens or by copies.

use super::*;
use crate::batches::reader::Fill;

fn config(corruption: &str, prediction: f64) -> MaskingConfig {
    MaskingConfig {
        corruption_rate: corruption.parse().unwrap(),
        prediction_rate: Some(prediction.into()),
        schedule_steps: Some(12),
        ..MaskingConfig::default()
    }
}

const TOKENS: Fill = Fill {
    target: 200,
    tokens: true,
    copies: false,
    passes: 3,
    first_step: 0,
};

fn reader(written: &Written, config: &MaskingConfig, fill: Fill, at: Position) -> Reader {
    let order = Order {
        fill: Some(fill),
        ..order(written.corpus.rows())
    };
    let masker = masks(&written.corpus, config);
    Reader::new(written.corpus.clone(), masker, order, at).unwrap()
}

/// Rows read, not emitted, and their tokens.
fn read_rows(batches: &[Batch]) -> (u64, u64) {
    let all = batches.iter().flat_map(|b| b.keys.iter().zip(&b.lengths));
    all.filter(|(key, _)| key.copy == 0)
        .fold((0, 0), |(rows, tokens), (_, &length)| {
            (rows + 1, tokens + u64::from(length))
        })
}

fn steps(written: &Written, config: &MaskingConfig, fill: Fill, count: u64) -> Vec<Vec<Batch>> {
    let mut reader = reader(written, config, fill, Position::default());
    (0..count)
        .map(|step| {
            (0..fill.passes)
                .map(|_| {
                    let batch = reader.read().unwrap();
                    assert_eq!(batch.step, step);
                    batch
                })
                .collect()
        })
        .collect()
}

#[test]
fn a_step_ends_with_the_row_that_fills_it() {
    let one = config("0.4", 0.4);
    let copied = config("0.2", 0.5);
    for layout in [RowLayout::Packed, RowLayout::Document, RowLayout::BestFit] {
        let written = corpus(layout, 30, false);
        for (config, fill, k) in [
            (&one, TOKENS, 1),
            (&copied, TOKENS, 3),
            (
                &copied,
                Fill {
                    target: 400,
                    copies: true,
                    ..TOKENS
                },
                3,
            ),
            (
                &copied,
                Fill {
                    target: 14,
                    tokens: false,
                    copies: true,
                    passes: 2,
                    ..TOKENS
                },
                3,
            ),
        ] {
            // Several epochs.
            for step in steps(&written, config, fill, 40) {
                let (rows, tokens) = read_rows(&step);
                let of_one = if fill.tokens { tokens } else { rows };
                let filled = if fill.copies { k * of_one } else { of_one };
                let longest = if fill.tokens { 30 } else { 1 };
                let most = if fill.copies { k * longest } else { longest };
                assert!(
                    (fill.target..fill.target + most).contains(&filled),
                    "{filled}"
                );
                let emitted: usize = step.iter().map(|batch| batch.rows).sum();
                assert_eq!(emitted as u64, k * rows);
                assert!(step.iter().all(|batch| batch.rows > 0));
            }
        }
    }
}

#[test]
fn the_rows_of_a_step_do_not_depend_on_its_passes() {
    let written = corpus(RowLayout::Document, 30, false);
    // The rates move, and with them the copies: by the step that a row is in.
    let config = config("linear(0.5, 0.2)", 0.5);
    let of = |passes| {
        let fill = Fill { passes, ..TOKENS };
        let steps = steps(&written, &config, fill, 20);
        let rows = |step: &Vec<Batch>| -> Vec<Vec<u32>> {
            let rows = step.iter().flat_map(|batch| batch.input.chunks(30));
            rows.map(<[u32]>::to_vec).collect()
        };
        steps.iter().map(rows).collect::<Vec<_>>()
    };
    let whole = of(1);
    assert_eq!(whole, of(2));
    assert_eq!(whole, of(6));
    assert!(whole[19].len() > whole[0].len());
}

#[test]
fn a_filled_stream_goes_on_from_any_step_and_its_keys_make_the_rows_again() {
    let written = corpus(RowLayout::BestFit, 30, false);
    let config = config("linear(0.5, 0.2)", 0.5);
    let batches: Vec<Batch> = steps(&written, &config, TOKENS, 12)
        .into_iter()
        .flatten()
        .collect();
    for first_step in 1..12 {
        let from = 3 * first_step;
        let fill = Fill {
            first_step: first_step as u64,
            ..TOKENS
        };
        let mut reader = reader(&written, &config, fill, batches[from - 1].after);
        for expected in &batches[from..(from + 7).min(batches.len())] {
            assert_eq!(&reader.read().unwrap(), expected);
        }
    }
    let masker = masks(&written.corpus, &config);
    let mut again = masks::BatchMasker::new(&written.corpus, masker).unwrap();
    for batch in &batches {
        let mut anew = again.begin(batch.rows);
        for key in batch.keys.iter().filter(|key| key.copy == 0) {
            let row = written.corpus.row(key.sample).unwrap();
            let stamp = crate::masking::Stamp {
                step: batch.step,
                ..Default::default()
            };
            again.push(&row, *key, stamp, &mut anew);
        }
        assert_eq!(anew.input, batch.input);
        assert_eq!(anew.labels, batch.labels);
        assert_eq!(anew.keys, batch.keys);
    }
}

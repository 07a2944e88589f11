//! Attention against its definition.

use super::*;
use crate::training::matrix::Matrix;

const HEADS: usize = 2;
const HIDDEN: usize = 8;

fn numbers(rows: usize, cols: usize, seed: f64) -> Matrix<f64> {
    let values = (0..rows * cols).map(|i| (i as f64 * 0.37 + seed).sin());
    Matrix::new(rows, cols, values.collect())
}

/// As the definition has it: one query, one head, all keys of the run in reach.
fn plain(qkv: &Matrix<f64>, lengths: &[usize], places: &[u32], reach: usize) -> Vec<f64> {
    let width = HIDDEN / HEADS;
    let mut out = vec![0.0; qkv.rows() * HIDDEN];
    let mut first = 0;
    for &length in lengths {
        for query in first..first + length {
            for head in 0..HEADS {
                let part = |token: usize, which: usize| {
                    &qkv.row(token)[which * HIDDEN + head * width..][..width]
                };
                let apart = |key: usize| places[key].abs_diff(places[query]) as usize;
                let keys = (first..first + length).filter(|&key| apart(key) <= reach);
                let weights: Vec<(usize, f64)> = keys
                    .map(|key| {
                        let pairs = part(query, 0).iter().zip(part(key, 1));
                        let score: f64 = pairs.map(|(q, k)| q * k).sum();
                        (key, (score / (width as f64).sqrt()).exp())
                    })
                    .collect();
                let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
                for (key, weight) in weights {
                    for (column, value) in part(key, 2).iter().enumerate() {
                        out[query * HIDDEN + head * width + column] += weight / sum * value;
                    }
                }
            }
        }
        first += length;
    }
    out
}

/// Runs of several blocks of queries, a reach that ends inside of blocks; with all
/// tokens of the runs there, and with some missing.
#[test]
fn whole_and_local_attention_are_those_of_the_definition_with_their_gradients() {
    let lengths = [150, 3, 64, 1];
    let tokens = lengths.iter().sum();
    let keys: Vec<u64> = (0..tokens as u64).collect();
    let qkv = numbers(tokens, 3 * HIDDEN, 0.5);
    let d_out = numbers(tokens, HIDDEN, 0.1);
    let runs = || lengths.iter().flat_map(|&length| 0..length as u32);
    let whole: Vec<u32> = runs().collect();
    let gaps: Vec<u32> = runs().map(|at| at * 3 / 2 + at / 40 * 30).collect();
    let reaches = [None, Some(0), Some(5), Some(70), Some(1000)];
    let of_gaps = reaches.map(|reach| (reach, &gaps));
    for (reach, places) in reaches
        .map(|reach| (reach, &whole))
        .into_iter()
        .chain(of_gaps)
    {
        let shape = Heads {
            heads: HEADS,
            lengths: &lengths,
            dropout: None,
            keys: &keys,
            places,
            reach,
            queries: None,
        };
        let (context, sums) = forward(&qkv, shape);
        let expected = plain(&qkv, &lengths, places, reach.unwrap_or(usize::MAX));
        for (a, b) in context.iter().zip(&expected) {
            assert!((a - b).abs() < 1e-12, "{reach:?}: {a} {b}");
        }
        let gradient = backward(&qkv, (&context, &sums), &d_out, shape);
        for index in (0..qkv.len()).step_by(97) {
            let loss = |by: f64| -> f64 {
                let mut moved = qkv.clone();
                moved[index] += by;
                let (context, _) = forward(&moved, shape);
                context.iter().zip(d_out.iter()).map(|(c, d)| c * d).sum()
            };
            let slope = (loss(1e-5) - loss(-1e-5)) / 2e-5;
            assert!(
                (slope - gradient[index]).abs() < 1e-8,
                "{reach:?} [{index}]: {slope} {}",
                gradient[index]
            );
        }
    }
}

/// Some of the tokens look, none of the second run.
#[test]
fn queries_alone_have_the_context_and_the_gradients_that_they_have_among_all() {
    let lengths = [150, 3, 64, 1];
    let tokens: usize = lengths.iter().sum();
    let keys: Vec<u64> = (0..tokens as u64).collect();
    let queries: Vec<u32> = (0..tokens as u32)
        .filter(|token| token % 7 < 3 && !(150..153).contains(token))
        .collect();
    // Every second place is missing from the first run.
    let places: Vec<u32> = lengths
        .iter()
        .zip([2, 1, 1, 1])
        .flat_map(|(&length, step)| (0..length as u32).map(move |place| step * place))
        .collect();
    let qkv = numbers(tokens, 3 * HIDDEN, 0.5);
    let d_some = numbers(queries.len(), HIDDEN, 0.1);
    for (reach, rate) in [(None, 0.0), (None, 0.3), (Some(5), 0.3)] {
        let all = Heads {
            heads: HEADS,
            lengths: &lengths,
            dropout: Dropout::new(rate, 1, 2, 3),
            keys: &keys,
            places: &places,
            reach,
            queries: None,
        };
        let some = Heads {
            queries: Some(&queries),
            ..all
        };
        let (context, sums) = forward(&qkv, all);
        let (context_of_some, sums_of_some) = forward(&qkv, some);
        assert_eq!(context.gather(&queries)[..], context_of_some[..]);
        let d_all = d_some.scatter(&queries, tokens);
        let expected = backward(&qkv, (&context, &sums), &d_all, all);
        let of_some = (&context_of_some, &sums_of_some[..]);
        let found = backward(&qkv, of_some, &d_some, some);
        for (a, b) in found.iter().zip(expected.iter()) {
            assert!((a - b).abs() < 1e-12, "{reach:?}: {a} {b}");
        }
    }
}

//! Initial attention on neighbours: heads of the first layer look at the token before,
//! the token behind, two before, two behind, … from the first step on.
//!
//! Positions start as sines and cosines of evenly spaced frequencies, which are all but
//! orthogonal to each other up to `hidden` positions. A shift by δ is then a rotation
//! of each pair, so keys that are queries rotated by −δ match best δ places away. Only
//! the start differs; every weight is learned, and the exported model is the same.
//! After Vaswani et al. 2017 (section 3.5, shifts are linear) and Trockman and Kolter
//! 2023 ("Mimetic initialization of self-attention layers").

use super::parameters::Parameters;
use super::real::Real;
use std::f64::consts::{PI, SQRT_2};

/// Attention score of the neighbour over everything else at the start: e⁸ against up
/// to a few hundred other places leaves it more than nine tenths of the attention.
const PEAK: f64 = 8.0;

/// Positions and tokens are about equally large in the first layer's input.
const POSITION_SHARE: f64 = 0.5;

/// Overwrites positions, and queries and keys of the first layer, of `parameters`.
/// Queries keep the directions that they were drawn with. A model without position
/// embeddings stays as it is.
pub fn begin_on_neighbours<T: Real>(parameters: &mut Parameters<T>, heads: usize) {
    let hidden = parameters.words.cols();
    let deviation = deviation(&parameters.words);
    let (Some(positions), Some(layer)) = (&mut parameters.positions, parameters.layers.first_mut())
    else {
        return;
    };
    for place in 0..positions.rows() {
        for pair in 0..hidden / 2 {
            let angle = place as f64 * frequency(pair, hidden);
            let start = place * hidden + 2 * pair;
            positions[start] = T::from_f64(SQRT_2 * deviation * angle.sin());
            positions[start + 1] = T::from_f64(SQRT_2 * deviation * angle.cos());
        }
    }
    let width = hidden / heads;
    let wanted = (PEAK / ((width as f64).sqrt() * hidden as f64 * POSITION_SHARE)).sqrt();
    let scale = wanted / deviation;
    let weight = &mut layer.qkv.weight;
    for row in 0..hidden {
        let shift = neighbour(row / width);
        for pair in 0..hidden / 2 {
            let query = row * hidden + 2 * pair;
            let key = hidden * hidden + query;
            let a = weight[query].to_f64() * scale;
            let b = weight[query + 1].to_f64() * scale;
            let (sin, cos) = (frequency(pair, hidden) * shift).sin_cos();
            weight[query] = T::from_f64(a);
            weight[query + 1] = T::from_f64(b);
            weight[key] = T::from_f64(a * cos + b * sin);
            weight[key + 1] = T::from_f64(b * cos - a * sin);
        }
    }
}

/// Which neighbour a head begins on: −1, 1, −2, 2, …
fn neighbour(head: usize) -> f64 {
    let distance = (head / 2 + 1) as f64;
    if head.is_multiple_of(2) {
        -distance
    } else {
        distance
    }
}

/// Evenly spaced in (0, π).
fn frequency(pair: usize, hidden: usize) -> f64 {
    PI * (pair as f64 + 0.5) / (hidden / 2) as f64
}

fn deviation<T: Real>(values: &[T]) -> f64 {
    let sum: f64 = values.iter().map(|x| x.to_f64() * x.to_f64()).sum();
    (sum / values.len().max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{InitialAttention, ModelConfig};
    use crate::training::Model;

    #[test]
    fn each_head_scores_its_neighbour_highest_nearly_everywhere() {
        let config = ModelConfig {
            hidden: Some(128),
            heads: Some(4),
            positions: Some(128),
            initial_attention: InitialAttention::Neighbours,
            ..ModelConfig::default()
        };
        let parameters = Model::<f64>::initial(&config, 50, 7).parameters;
        let positions = parameters.positions.unwrap();
        let weight = &parameters.layers[0].qkv.weight;
        let width = 32;
        let project = |row: usize, place: usize| -> f64 {
            let position = positions.row(place);
            weight
                .row(row)
                .iter()
                .zip(position)
                .map(|(w, x)| w * x)
                .sum()
        };
        for head in 0..4 {
            let score = |from: usize, to: usize| -> f64 {
                (head * width..(head + 1) * width)
                    .map(|row| project(row, from) * project(128 + row, to))
                    .sum()
            };
            // Queries are random directions, so now and then another place wins.
            let right = (3..125)
                .filter(|&from| {
                    let best = (0..128).max_by(|&a, &b| score(from, a).total_cmp(&score(from, b)));
                    best == Some((from as f64 + neighbour(head)) as usize)
                })
                .count();
            assert!(right > 110, "head {head}: {right} of 122 places");
        }
    }
}

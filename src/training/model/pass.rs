//! One pass over one batch: what all parts of it share, and the embeddings.

use super::{Model, Noise};
use crate::base::error::Result;
use crate::training::matrix::Matrix;
use crate::training::ops::dropout::Dropout;
use crate::training::ops::norm::{self, RowStatistics};
use crate::training::ops::rotary::Angles;
use crate::training::ops::{embedding, residual};
use crate::training::parameters::{LayerNorm, Linear, Parameters};
use crate::training::real::Real;
use crate::training::tokens::Tokens;

/// One pass over one batch.
pub(super) struct Pass<'a, T> {
    pub model: &'a Model<T>,
    pub tokens: &'a Tokens,
    noise: Option<Noise>,
    /// Rotary angles of layers that see whole runs, and of local ones.
    pub angles: Option<[Angles<T>; 2]>,
}

/// What the backward pass of a layer norm needs.
pub(super) struct Normed<T> {
    /// What went in.
    pub x: Matrix<T>,
    pub statistics: RowStatistics<T>,
}

impl<'a, T: Real> Pass<'a, T> {
    /// A pass; without noise, nothing is dropped.
    pub fn new(model: &'a Model<T>, tokens: &'a Tokens, noise: Option<Noise>) -> Self {
        let width = (model.shape.hidden / model.shape.heads) as usize;
        let places = tokens.runs.iter().copied().max().unwrap_or(0);
        let angles = |theta| Angles::new(places, width, theta);
        Self {
            model,
            tokens,
            noise,
            angles: model
                .shape
                .rotary
                .map(|rotary| [rotary.global_theta, rotary.local_theta].map(angles)),
        }
    }

    /// Dropout sites: 0 embeddings; 1, 2, 3 of each layer the attention weights, the
    /// attention output and the feed-forward output.
    pub fn dropout(&self, layer: Option<usize>, place: u32) -> Option<Dropout> {
        let noise = self.noise?;
        let shape = &self.model.shape;
        let site = layer.map_or(0, |layer| 3 * layer as u32 + place);
        let rate = match (layer, place) {
            (Some(_), 1) => shape.attention_dropout,
            _ => shape.dropout,
        };
        Dropout::new(rate, noise.seed, noise.step, site)
    }

    pub fn norm(&self, x: Matrix<T>, norm: &LayerNorm<T>) -> (Matrix<T>, Normed<T>) {
        let epsilon = self.model.shape.norm_epsilon;
        let (out, statistics) = norm::forward(&x, &norm.weight, norm.bias.as_ref(), epsilon);
        (out, Normed { x, statistics })
    }

    /// Sum of the embeddings, normed, with dropout: `tokens × hidden`.
    pub fn embed(&self) -> (Matrix<T>, Normed<T>) {
        let parameters = &self.model.parameters;
        let sum = embedding::forward(
            &self.tokens.ids,
            &self.tokens.places,
            &parameters.words,
            parameters.positions.as_ref(),
            parameters.token_types.as_ref(),
            &self.model.pool,
        );
        let (mut x, normed) = self.norm(sum, &parameters.embedding_norm);
        residual::apply(&mut x, self.dropout(None, 0), &self.tokens.keys);
        (x, normed)
    }

    pub fn embed_backward(
        &self,
        normed: Normed<T>,
        mut d: Matrix<T>,
        gradients: &mut Parameters<T>,
    ) {
        let parameters = &self.model.parameters;
        residual::apply(&mut d, self.dropout(None, 0), &self.tokens.keys);
        let norm = &parameters.embedding_norm;
        let d = norm_backward(normed, norm, d, &mut gradients.embedding_norm);
        let table = |table: &Matrix<T>, gradient: &mut Matrix<T>, indices: &[u32]| {
            if gradient.rows() == 0 {
                *gradient = d.sibling(table.rows(), table.cols());
                gradient.fill(T::zero());
            }
            embedding::backward(&d, indices, gradient);
        };
        table(&parameters.words, &mut gradients.words, &self.tokens.ids);
        if let (Some(positions), Some(into)) = (&parameters.positions, &mut gradients.positions) {
            table(positions, into, &self.tokens.places);
        }
        if let (Some(types), Some(into)) = (&parameters.token_types, &mut gradients.token_types) {
            let mut sums = d.column_sums().to_vec();
            sums.resize(types.len(), T::zero());
            into.accumulate(Matrix::new(types.rows(), types.cols(), sums));
        }
    }
}

/// The gradient of what a layer norm was given, given that of what it gave.
pub(super) fn norm_backward<T: Real>(
    normed: Normed<T>,
    norm: &LayerNorm<T>,
    dy: Matrix<T>,
    gradients: &mut LayerNorm<T>,
) -> Matrix<T> {
    let parts = norm::backward(&normed.x, &normed.statistics, &norm.weight, dy);
    gradients.weight.accumulate(parts.weight);
    if let Some(bias) = &mut gradients.bias {
        bias.accumulate(parts.bias);
    }
    parts.x
}

/// The gradient of the input `x` of a linear layer, given that of its output.
pub(super) fn linear_backward<T: Real>(
    dy: Matrix<T>,
    x: &Matrix<T>,
    linear: &Linear<T>,
    gradients: &mut Linear<T>,
) -> Result<Matrix<T>> {
    if let Some(bias) = &mut gradients.bias {
        bias.accumulate(dy.column_sums());
    }
    gradients
        .weight
        .accumulate_product(dy.all().t(), &x.all().pack(dy.pool()));
    dy.all().times(linear.weight.all())
}

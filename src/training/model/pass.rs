//! One pass over one batch: what all parts of it share, and the embeddings.

use super::layer::{Stack, Standing};
use super::{Model, Noise};
use crate::base::error::Result;
use crate::training::matrix::Matrix;
use crate::training::ops::dropout::Dropout;
use crate::training::ops::norm::{self, RowStatistics};
use crate::training::ops::{embedding, residual};
use crate::training::parameters::{LayerNorm, Linear, Parameters};
use crate::training::real::Real;
use crate::training::tokens::Tokens;

/// One pass over one batch.
pub(super) struct Pass<'a, T> {
    pub model: &'a Model<T>,
    pub tokens: &'a Tokens,
    /// Without, nothing is dropped.
    pub noise: Option<Noise>,
}

/// What the backward pass of a layer norm needs.
pub(super) struct Normed<T> {
    /// What went in.
    pub x: Matrix<T>,
    pub statistics: RowStatistics<T>,
    norm: LayerNorm<T>,
}

impl<T: Real> Normed<T> {
    /// What came out.
    pub fn again(&self) -> Matrix<T> {
        let LayerNorm { weight, bias } = &self.norm;
        norm::again(&self.x, &self.statistics, weight, bias.as_ref())
    }
}

impl<T: Real> Pass<'_, T> {
    /// The encoder. Only predicted tokens leave it, or all where a decoder follows.
    pub fn encoder(&self) -> Stack<'_, T> {
        let shape = &self.model.shape;
        let tokens = Standing {
            places: &self.tokens.places,
            runs: &self.tokens.runs,
            keys: &self.tokens.keys,
        };
        let leaving = match shape.decoder {
            Some(_) => None,
            None => Some(&self.tokens.predicted[..]),
        };
        let layers = &self.model.parameters.layers;
        Stack::new(
            layers,
            (shape, shape.encoder()),
            tokens,
            leaving,
            self.noise,
            0,
        )
    }

    /// Dropout site 0: the embeddings.
    fn dropout(&self) -> Option<Dropout> {
        let noise = self.noise?;
        Dropout::new(self.model.shape.dropout, noise.seed, noise.step, 0)
    }

    pub fn norm(&self, x: Matrix<T>, norm: &LayerNorm<T>) -> (Matrix<T>, Normed<T>) {
        normed(x, norm, self.model.shape.norm_epsilon)
    }

    /// Sum of the embeddings, normed, with dropout: `tokens × hidden`.
    pub fn embed(&self) -> (Matrix<T>, Normed<T>) {
        let parameters = &self.model.parameters;
        let sum = embedding::forward(self.tokens, parameters, &self.model.pool);
        let (mut x, normed) = self.norm(sum, &parameters.embedding_norm);
        residual::apply(&mut x, self.dropout(), &self.tokens.keys);
        (x, normed)
    }

    pub fn embed_backward(
        &self,
        normed: Normed<T>,
        mut d: Matrix<T>,
        gradients: &mut Parameters<T>,
    ) {
        let parameters = &self.model.parameters;
        residual::apply(&mut d, self.dropout(), &self.tokens.keys);
        let d = norm_backward(normed, d, &mut gradients.embedding_norm);
        let ids = &self.tokens.ids;
        embedding_backward(&parameters.words, &d, ids, &mut gradients.words);
        if let (Some(positions), Some(into)) = (&parameters.positions, &mut gradients.positions) {
            embedding_backward(positions, &d, &self.tokens.places, into);
        }
        if let (Some(types), Some(into)) = (&parameters.token_types, &mut gradients.token_types) {
            if !self.tokens.types.is_empty() {
                return embedding_backward(types, &d, &self.tokens.types, into);
            }
            let mut sums = d.column_sums().to_vec();
            sums.resize(types.len(), T::zero());
            into.accumulate(Matrix::new(types.rows(), types.cols(), sums));
        }
    }
}

/// A layer norm, and what its backward pass needs.
pub(super) fn normed<T: Real>(
    x: Matrix<T>,
    norm: &LayerNorm<T>,
    epsilon: f64,
) -> (Matrix<T>, Normed<T>) {
    let (out, statistics) = norm::forward(&x, &norm.weight, norm.bias.as_ref(), epsilon);
    let normed = Normed {
        x,
        statistics,
        norm: norm.clone(),
    };
    (out, normed)
}

/// Adds the rows of `d` to the rows `indices` of the gradient of `table`.
pub(super) fn embedding_backward<T: Real>(
    table: &Matrix<T>,
    d: &Matrix<T>,
    indices: &[u32],
    gradient: &mut Matrix<T>,
) {
    if gradient.rows() == 0 {
        *gradient = d.sibling(table.rows(), table.cols());
        gradient.fill(T::zero());
    }
    embedding::backward(d, indices, gradient);
}

/// The gradient of what a layer norm was given, given that of what it gave.
pub(super) fn norm_backward<T: Real>(
    normed: Normed<T>,
    dy: Matrix<T>,
    gradients: &mut LayerNorm<T>,
) -> Matrix<T> {
    let parts = norm::backward(&normed.x, &normed.statistics, &normed.norm.weight, dy);
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
    weight_backward(&dy, x, gradients);
    dy.all().times(linear.weight.all())
}

/// The gradients of the parameters of a linear layer with input `x`, given that of its
/// output.
pub(super) fn weight_backward<T: Real>(dy: &Matrix<T>, x: &Matrix<T>, gradients: &mut Linear<T>) {
    if let Some(bias) = &mut gradients.bias {
        bias.accumulate(dy.column_sums());
    }
    let x = x.all().pack(dy.pool());
    gradients.weight.accumulate_product(dy.all().t(), &x);
}

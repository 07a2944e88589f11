//! A layer of the encoder: attention and feed-forward with their residual connections,
//! norms before them (pre) or after (post). The last layer goes on with the predicted
//! tokens only, once attention has seen all.

use super::pass::{Normed, Pass, linear_backward, norm_backward, weight_backward};
use crate::base::error::Result;
use crate::training::matrix::Matrix;
use crate::training::ops::attention::{self, Heads};
use crate::training::ops::rotary::{self, Turn};
use crate::training::ops::{geglu, gelu, residual};
use crate::training::parameters::{Layer, Linear};
use crate::training::real::Real;
use std::borrow::Cow;

/// What the backward pass of a layer needs.
pub(super) struct LayerTape<T> {
    /// Input of queries, keys and values.
    attention_in: Matrix<T>,
    attention_norm: Option<Normed<T>>,
    /// Queries and keys turned by their places, where positions are rotary.
    qkv: Matrix<T>,
    sums: Vec<T>,
    context: Matrix<T>,
    /// Input of the feed-forward layer.
    feed_forward_in: Matrix<T>,
    feed_forward_norm: Normed<T>,
    /// Before and after the activation.
    up: Matrix<T>,
    activated: Matrix<T>,
}

impl<T: Real> Pass<'_, T> {
    /// All layers. The result has a row for each predicted token. Each layer's tape
    /// goes to `keep`.
    pub fn encode(
        &self,
        mut x: Matrix<T>,
        mut keep: impl FnMut(LayerTape<T>),
    ) -> Result<Matrix<T>> {
        let norms_first = self.model.shape.architecture.norms_first();
        for (index, layer) in self.model.parameters.layers.iter().enumerate() {
            let (y, tape) = match norms_first {
                true => self.layer_pre(index, layer, x)?,
                false => self.layer_post(index, layer, x)?,
            };
            keep(tape);
            x = y;
        }
        Ok(x)
    }

    fn heads(&self, layer: usize) -> Heads<'_> {
        let shape = &self.model.shape;
        let local = shape.rotary.filter(|_| shape.is_local(layer));
        Heads {
            heads: shape.heads as usize,
            lengths: &self.tokens.runs,
            dropout: self.dropout(Some(layer), 1),
            keys: &self.tokens.keys,
            reach: local.map(|rotary| rotary.local_attention as usize / 2),
            queries: self.is_last(layer).then_some(&self.tokens.predicted),
        }
    }

    /// Turns queries and keys by their places, where positions are rotary.
    fn turn(&self, layer: usize, qkv: &mut Matrix<T>, turn: Turn) {
        if let Some([global, local]) = &self.angles {
            let angles = if self.model.shape.is_local(layer) {
                local
            } else {
                global
            };
            rotary::apply(qkv, &self.tokens.places, angles, turn);
        }
    }

    /// Names of the rows that leave `layer`: all tokens, or the predicted ones.
    fn keys_after(&self, layer: usize) -> Vec<u64> {
        let keys = &self.tokens.keys;
        if self.is_last(layer) {
            let predicted = self.tokens.predicted.iter();
            predicted.map(|&index| keys[index as usize]).collect()
        } else {
            keys.clone()
        }
    }

    fn is_last(&self, layer: usize) -> bool {
        layer + 1 == self.model.parameters.layers.len()
    }

    fn layer_pre(
        &self,
        index: usize,
        layer: &Layer<T>,
        x: Matrix<T>,
    ) -> Result<(Matrix<T>, LayerTape<T>)> {
        let keys = self.keys_after(index);
        let (attention_in, attention_norm) = match &layer.attention_norm {
            Some(norm) => {
                let (out, normed) = self.norm(x, norm);
                (out, Some(normed))
            }
            None => (x, None),
        };
        let (qkv, sums, context) = self.attend(index, layer, &attention_in)?;
        let x = attention_norm
            .as_ref()
            .map_or(&attention_in, |normed| &normed.x);
        let x = self.rows_after(index, x);
        let mid = self.join(index, 2, &layer.attention_out, &context, &x, &keys)?;
        let (feed_forward_in, feed_forward_norm) = self.norm(mid, &layer.feed_forward_norm);
        let (up, activated) = self.widen(layer, &feed_forward_in)?;
        let mid = &feed_forward_norm.x;
        let y = self.join(index, 3, &layer.down, &activated, mid, &keys)?;
        let tape = LayerTape {
            attention_in,
            attention_norm,
            qkv,
            sums,
            context,
            feed_forward_in,
            feed_forward_norm,
            up,
            activated,
        };
        Ok((y, tape))
    }

    fn layer_post(
        &self,
        index: usize,
        layer: &Layer<T>,
        attention_in: Matrix<T>,
    ) -> Result<(Matrix<T>, LayerTape<T>)> {
        let keys = self.keys_after(index);
        let (qkv, sums, context) = self.attend(index, layer, &attention_in)?;
        let x = self.rows_after(index, &attention_in);
        let sum = self.join(index, 2, &layer.attention_out, &context, &x, &keys)?;
        let (feed_forward_in, attention_norm) = match &layer.attention_norm {
            Some(norm) => {
                let (out, normed) = self.norm(sum, norm);
                (out, Some(normed))
            }
            None => (sum, None),
        };
        let (up, activated) = self.widen(layer, &feed_forward_in)?;
        let sum = self.join(index, 3, &layer.down, &activated, &feed_forward_in, &keys)?;
        let (y, feed_forward_norm) = self.norm(sum, &layer.feed_forward_norm);
        let tape = LayerTape {
            attention_in,
            attention_norm,
            qkv,
            sums,
            context,
            feed_forward_in,
            feed_forward_norm,
            up,
            activated,
        };
        Ok((y, tape))
    }

    /// Packed queries, keys and values; the sums of the weights; the context of the
    /// rows that leave the layer.
    fn attend(
        &self,
        index: usize,
        layer: &Layer<T>,
        x: &Matrix<T>,
    ) -> Result<(Matrix<T>, Vec<T>, Matrix<T>)> {
        let mut qkv = x.all().times(layer.qkv.weight.all().t())?;
        if let Some(bias) = &layer.qkv.bias {
            residual::add_bias(&mut qkv, bias);
        }
        self.turn(index, &mut qkv, Turn::Forward);
        let (context, sums) = attention::forward(&qkv, self.heads(index));
        Ok((qkv, sums, context))
    }

    fn rows_after<'m>(&self, index: usize, x: &'m Matrix<T>) -> Cow<'m, Matrix<T>> {
        match self.is_last(index) {
            true => Cow::Owned(x.gather(&self.tokens.predicted)),
            false => Cow::Borrowed(x),
        }
    }

    fn is_gated(layer: &Layer<T>) -> bool {
        layer.up.weight.rows() > layer.down.weight.cols()
    }

    /// The activation's input, `rows × feed-forward` or twice that, and its output.
    fn widen(&self, layer: &Layer<T>, x: &Matrix<T>) -> Result<(Matrix<T>, Matrix<T>)> {
        if !Self::is_gated(layer) {
            return gelu::forward(x, &layer.up);
        }
        let up = x.all().times(layer.up.weight.all().t())?;
        let activated = geglu::forward(&up);
        Ok((up, activated))
    }

    /// x + drop(branch · weightᵀ + bias).
    fn join(
        &self,
        index: usize,
        site: u32,
        linear: &Linear<T>,
        branch: &Matrix<T>,
        x: &Matrix<T>,
        keys: &[u64],
    ) -> Result<Matrix<T>> {
        let dropout = self.dropout(Some(index), site);
        residual::forward(branch, linear, dropout, keys, x)
    }

    /// From the gradient of a layer's output to that of its input.
    pub fn layer_backward(
        &self,
        index: usize,
        tape: LayerTape<T>,
        dy: Matrix<T>,
        gradients: &mut Layer<T>,
    ) -> Result<Matrix<T>> {
        let layer = &self.model.parameters.layers[index];
        let keys = self.keys_after(index);
        let norms_first = self.model.shape.architecture.norms_first();
        let norm = &layer.feed_forward_norm;
        let into = &mut gradients.feed_forward_norm;
        // Feed-forward. `d_skip` is what passes the residual connection.
        let (mut d_skip, feed_forward_norm) = match norms_first {
            true => (dy, Some(tape.feed_forward_norm)),
            false => (norm_backward(tape.feed_forward_norm, norm, dy, into), None),
        };
        let d = residual::backward(&d_skip, self.dropout(Some(index), 3), &keys);
        weight_backward(&d, &tape.activated, &mut gradients.down);
        let d = match Self::is_gated(layer) {
            true => geglu::backward(&d.all().times(layer.down.weight.all())?, &tape.up),
            false => gelu::backward(&d, &layer.down, &tape.up)?,
        };
        let mut d = linear_backward(d, &tape.feed_forward_in, &layer.up, &mut gradients.up)?;
        if let Some(normed) = feed_forward_norm {
            d = norm_backward(normed, norm, d, into);
        }
        d_skip.accumulate(d);
        let mut normed = tape.attention_norm;
        let mut attention_norm = |d| match (normed.take(), &layer.attention_norm) {
            (Some(normed), Some(norm)) => match &mut gradients.attention_norm {
                Some(into) => norm_backward(normed, norm, d, into),
                None => d,
            },
            _ => d,
        };
        if !norms_first {
            d_skip = attention_norm(d_skip);
        }
        // Attention.
        let d = residual::backward(&d_skip, self.dropout(Some(index), 2), &keys);
        let out = (&layer.attention_out, &mut gradients.attention_out);
        let d = linear_backward(d, &tape.context, out.0, out.1)?;
        if self.is_last(index) {
            let rows = self.tokens.ids.len();
            d_skip = d_skip.scatter(&self.tokens.predicted, rows);
        }
        let mut d = attention::backward(
            &tape.qkv,
            (&tape.context, &tape.sums),
            &d,
            self.heads(index),
        );
        self.turn(index, &mut d, Turn::Back);
        let mut d = linear_backward(d, &tape.attention_in, &layer.qkv, &mut gradients.qkv)?;
        if norms_first {
            d = attention_norm(d);
        }
        d_skip.accumulate(d);
        Ok(d_skip)
    }
}

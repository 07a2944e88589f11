//! Layers of an encoder or a decoder: attention and feed-forward with their residual
//! connections, norms before them (pre) or after (post). The last layer goes on with the
//! tokens that are asked for only, once attention has seen all.

use super::Noise;
use super::pass::{Normed, linear_backward, norm_backward, normed, weight_backward};
use crate::base::error::Result;
use crate::config::{ModelShape, StackShape};
use crate::training::matrix::Matrix;
use crate::training::ops::attention::{self, Heads};
use crate::training::ops::dropout::Dropout;
use crate::training::ops::rotary::{self, Angles, Turn};
use crate::training::ops::{geglu, gelu, residual};
use crate::training::parameters::{Layer, LayerNorm, Linear};
use crate::training::real::Real;
use std::borrow::Cow;

/// What the backward pass of a layer needs.
pub(super) struct LayerTape<T> {
    /// What queries, keys and values are made of.
    attention_in: Input<T>,
    /// Queries and keys turned by their places, where positions are rotary.
    qkv: Matrix<T>,
    sums: Vec<T>,
    context: Matrix<T>,
    /// What the feed-forward layer takes.
    feed_forward_in: Input<T>,
    /// Behind it, where norms come last.
    last_norm: Option<Normed<T>>,
    /// Before the activation. After it there are as many numbers, made again from these.
    up: Matrix<T>,
}

/// What a linear layer takes.
enum Input<T> {
    /// What the norm before it gives: made again, in the time of a hundredth of a product.
    Normed(Normed<T>),
    /// As it is, without a norm of the layer before it.
    Plain(Matrix<T>),
}

impl<T: Real> Input<T> {
    /// Of what comes out of `norm`, where there is one; and that itself.
    fn behind(
        x: Matrix<T>,
        norm: Option<&LayerNorm<T>>,
        epsilon: f64,
    ) -> (Self, Option<Matrix<T>>) {
        match norm {
            Some(norm) => {
                let (out, normed) = normed(x, norm, epsilon);
                (Self::Normed(normed), Some(out))
            }
            None => (Self::Plain(x), None),
        }
    }

    /// What goes around the layer and its norm.
    fn around(&self) -> &Matrix<T> {
        match self {
            Self::Normed(normed) => &normed.x,
            Self::Plain(x) => x,
        }
    }

    /// What the layer took.
    fn again(&self) -> Cow<'_, Matrix<T>> {
        match self {
            Self::Normed(normed) => Cow::Owned(normed.again()),
            Self::Plain(x) => Cow::Borrowed(x),
        }
    }

    /// From the gradient of what the layer took to that of what its norm did.
    fn backward(self, d: Matrix<T>, into: Option<&mut LayerNorm<T>>) -> Matrix<T> {
        match (self, into) {
            (Self::Normed(normed), Some(into)) => norm_backward(normed, d, into),
            _ => d,
        }
    }
}

/// Where the tokens that layers go through stand, and which see each other.
#[derive(Clone, Copy)]
pub(super) struct Standing<'a> {
    /// Place of each token in its attention run, ascending in every run.
    pub places: &'a [u32],
    /// Tokens of each attention run.
    pub runs: &'a [usize],
    /// Name of each token to the dropout.
    pub keys: &'a [u64],
}

/// Layers that follow each other, over the tokens of one batch.
pub(super) struct Stack<'a, T> {
    /// The layers.
    layers: &'a [Layer<T>],
    /// Of the whole model.
    shape: &'a ModelShape,
    heads: usize,
    tokens: Standing<'a>,
    /// Indices of the tokens that leave the last layer; all without.
    leaving: Option<&'a [u32]>,
    noise: Option<Noise>,
    /// Layers before the first of these, which dropout sites are counted from.
    before: usize,
    /// Rotary angles of layers that see whole runs, and of local ones.
    angles: Option<[Angles<T>; 2]>,
}

impl<'a, T: Real> Stack<'a, T> {
    /// The layers of `sizes` in a model of `shape`, `before` layers behind its first.
    /// Only the tokens `leaving` leave the last one. Without noise, nothing is dropped.
    pub fn new(
        layers: &'a [Layer<T>],
        (shape, sizes): (&'a ModelShape, StackShape),
        tokens: Standing<'a>,
        leaving: Option<&'a [u32]>,
        noise: Option<Noise>,
        before: usize,
    ) -> Self {
        let width = (sizes.hidden / sizes.heads) as usize;
        let places = tokens
            .places
            .iter()
            .max()
            .map_or(0, |&last| last as usize + 1);
        let angles = |theta| Angles::new(places, width, theta);
        Self {
            layers,
            shape,
            heads: sizes.heads as usize,
            tokens,
            leaving,
            noise,
            before,
            angles: shape
                .rotary
                .map(|rotary| [rotary.global_theta, rotary.local_theta].map(angles)),
        }
    }

    /// All layers. The result has a row for each token that leaves the last one. Each
    /// layer's tape goes to `keep`.
    pub fn forward(
        &self,
        mut x: Matrix<T>,
        mut keep: impl FnMut(LayerTape<T>),
    ) -> Result<Matrix<T>> {
        let norms_first = self.shape.architecture.norms_first();
        for (index, layer) in self.layers.iter().enumerate() {
            let (y, tape) = match norms_first {
                true => self.layer_pre(index, layer, x)?,
                false => self.layer_post(index, layer, x)?,
            };
            keep(tape);
            x = y;
        }
        Ok(x)
    }

    /// From the gradient `d` of what `forward` gave to that of what it took, given the
    /// tapes it kept.
    pub fn backward(
        &self,
        tapes: Vec<LayerTape<T>>,
        mut d: Matrix<T>,
        gradients: &mut [Layer<T>],
    ) -> Result<Matrix<T>> {
        for (index, tape) in tapes.into_iter().enumerate().rev() {
            d = self.layer_backward(index, tape, d, &mut gradients[index])?;
        }
        Ok(d)
    }

    /// Sites 1, 2 and 3 of each layer: the attention weights, the attention output and
    /// the feed-forward output.
    fn dropout(&self, layer: usize, site: u32) -> Option<Dropout> {
        let noise = self.noise?;
        let rate = match site {
            1 => self.shape.attention_dropout,
            _ => self.shape.dropout,
        };
        let site = 3 * (self.before + layer) as u32 + site;
        Dropout::new(rate, noise.seed, noise.step, site)
    }

    fn heads(&self, layer: usize) -> Heads<'_> {
        let local = self.shape.rotary.filter(|_| self.shape.is_local(layer));
        Heads {
            heads: self.heads,
            lengths: self.tokens.runs,
            dropout: self.dropout(layer, 1),
            keys: self.tokens.keys,
            places: self.tokens.places,
            reach: local.map(|rotary| rotary.local_attention as usize / 2),
            queries: self.leaving(layer),
        }
    }

    /// Turns queries and keys by their places, where positions are rotary.
    fn turn(&self, layer: usize, qkv: &mut Matrix<T>, turn: Turn) {
        if let Some([global, local]) = &self.angles {
            let angles = if self.shape.is_local(layer) {
                local
            } else {
                global
            };
            rotary::apply(qkv, self.tokens.places, angles, turn);
        }
    }

    /// Indices of the rows that leave `layer`; all of them without.
    fn leaving(&self, layer: usize) -> Option<&'a [u32]> {
        self.leaving.filter(|_| layer + 1 == self.layers.len())
    }

    /// Names of the rows that leave `layer`.
    fn keys_after(&self, layer: usize) -> Cow<'a, [u64]> {
        let keys = self.tokens.keys;
        match self.leaving(layer) {
            Some(leaving) => leaving.iter().map(|&index| keys[index as usize]).collect(),
            None => keys.into(),
        }
    }

    fn layer_pre(
        &self,
        index: usize,
        layer: &Layer<T>,
        x: Matrix<T>,
    ) -> Result<(Matrix<T>, LayerTape<T>)> {
        let keys = self.keys_after(index);
        let epsilon = self.shape.norm_epsilon;
        let (attention_in, out) = Input::behind(x, layer.attention_norm.as_ref(), epsilon);
        let around = attention_in.around();
        let (qkv, sums, context) = self.attend(index, layer, out.as_ref().unwrap_or(around))?;
        drop(out);
        let x = self.rows_after(index, around);
        let mid = self.join(index, 2, &layer.attention_out, &context, &x, &keys)?;
        let (out, normed) = normed(mid, &layer.feed_forward_norm, epsilon);
        let (up, activated) = self.widen(layer, &out)?;
        drop(out);
        let y = self.join(index, 3, &layer.down, &activated, &normed.x, &keys)?;
        drop(x);
        let tape = LayerTape {
            attention_in,
            qkv,
            sums,
            context,
            feed_forward_in: Input::Normed(normed),
            last_norm: None,
            up,
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
        let epsilon = self.shape.norm_epsilon;
        let (qkv, sums, context) = self.attend(index, layer, &attention_in)?;
        let x = self.rows_after(index, &attention_in);
        let sum = self.join(index, 2, &layer.attention_out, &context, &x, &keys)?;
        drop(x);
        let (feed_forward_in, out) = Input::behind(sum, layer.attention_norm.as_ref(), epsilon);
        let taken = out.as_ref().unwrap_or(feed_forward_in.around());
        let (up, activated) = self.widen(layer, taken)?;
        let sum = self.join(index, 3, &layer.down, &activated, taken, &keys)?;
        let (y, last_norm) = normed(sum, &layer.feed_forward_norm, epsilon);
        let tape = LayerTape {
            attention_in: Input::Plain(attention_in),
            qkv,
            sums,
            context,
            feed_forward_in,
            last_norm: Some(last_norm),
            up,
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
        match self.leaving(index) {
            Some(leaving) => Cow::Owned(x.gather(leaving)),
            None => Cow::Borrowed(x),
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
        let dropout = self.dropout(index, site);
        residual::forward(branch, linear, dropout, keys, x)
    }

    /// From the gradient of a layer's output to that of its input.
    fn layer_backward(
        &self,
        index: usize,
        tape: LayerTape<T>,
        dy: Matrix<T>,
        gradients: &mut Layer<T>,
    ) -> Result<Matrix<T>> {
        let layer = &self.layers[index];
        let keys = self.keys_after(index);
        let norms_first = self.shape.architecture.norms_first();
        // Feed-forward. `d_skip` is what passes the residual connection.
        let mut d_skip = match tape.last_norm {
            Some(normed) => norm_backward(normed, dy, &mut gradients.feed_forward_norm),
            None => dy,
        };
        let d = residual::backward(&d_skip, self.dropout(index, 3), &keys);
        let (d_up, activated) = match Self::is_gated(layer) {
            true => {
                let mut d = d.all().times(layer.down.weight.all())?;
                (geglu::backward(&mut d, &tape.up), d)
            }
            false => {
                let mut up = tape.up;
                (gelu::backward(&d, &layer.down, &mut up)?, up)
            }
        };
        weight_backward(&d, &activated, &mut gradients.down);
        drop(activated);
        let taken = tape.feed_forward_in.again();
        let mut d = linear_backward(d_up, &taken, &layer.up, &mut gradients.up)?;
        drop(taken);
        if norms_first {
            let into = Some(&mut gradients.feed_forward_norm);
            d = tape.feed_forward_in.backward(d, into);
            d_skip.accumulate(d);
        } else {
            d_skip.accumulate(d);
            let into = gradients.attention_norm.as_mut();
            d_skip = tape.feed_forward_in.backward(d_skip, into);
        }
        // Attention.
        let d = residual::backward(&d_skip, self.dropout(index, 2), &keys);
        let out = (&layer.attention_out, &mut gradients.attention_out);
        let d = linear_backward(d, &tape.context, out.0, out.1)?;
        if let Some(leaving) = self.leaving(index) {
            d_skip = d_skip.scatter(leaving, self.tokens.keys.len());
        }
        let mut d = attention::backward(
            &tape.qkv,
            (&tape.context, &tape.sums),
            &d,
            self.heads(index),
        );
        self.turn(index, &mut d, Turn::Back);
        let taken = tape.attention_in.again();
        let mut d = linear_backward(d, &taken, &layer.qkv, &mut gradients.qkv)?;
        drop(taken);
        d = tape
            .attention_in
            .backward(d, gradients.attention_norm.as_mut());
        d_skip.accumulate(d);
        Ok(d_skip)
    }
}

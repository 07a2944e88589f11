//! The BERT encoder with its masked-language-model head: forward, and backward
//! written by hand. Reads top to bottom as a row travels: embeddings, layers, head.
//!
//! The last layer's feed-forward and all after it run on the predicted tokens only;
//! nothing else of that layer reaches the loss. Memory of a training pass: about
//! (8 hidden + 2 feed-forward) numbers a token and layer, and one block of logits.

use super::matrix::Matrix;
use super::ops::attention::{self, Heads};
use super::ops::cross_entropy::{self, Tally};
use super::ops::dropout::Dropout;
use super::ops::norm::{self, RowStatistics};
use super::ops::{embedding, gelu, residual};
use super::parameters::{Layer, LayerNorm, Linear, Parameters};
use super::real::Real;
use super::tokens::Tokens;
use crate::base::error::Result;
use crate::batches::Batch;
use crate::config::{ModelConfig, Norm};

/// Bytes of logits in memory at a time; see `head_blocks`. glibc keeps blocks of up to
/// 32 MiB (its `DEFAULT_MMAP_THRESHOLD_MAX`) for the next allocation; larger ones
/// come from the kernel and are cleared page by page each time.
const LOGITS: usize = 24 << 20;

/// A model of `config` with a vocabulary of some size.
#[derive(Debug, Clone)]
pub struct Model<T = f32> {
    /// Its sizes.
    pub config: ModelConfig,
    /// Its parameters.
    pub parameters: Parameters<T>,
}

/// What the dropout of a pass depends on.
#[derive(Debug, Clone, Copy)]
pub struct Noise {
    /// The user's seed.
    pub seed: u64,
    /// The optimiser step, from 0.
    pub step: u64,
    /// How many rows of this step came before this batch.
    pub first_row: u64,
}

impl<T: Real> Model<T> {
    /// A fresh model; a function of the seed.
    pub fn initial(config: &ModelConfig, vocabulary: usize, seed: u64) -> Self {
        Self {
            config: config.clone(),
            parameters: Parameters::initial(config, vocabulary, seed),
        }
    }

    /// Number of token ids.
    pub fn vocabulary(&self) -> usize {
        self.parameters.words.rows()
    }

    /// Adds the gradient of the *summed* loss over the labels of `batch` to
    /// `gradients` (whose matrices may be empty), and gives the loss.
    pub fn backward(
        &self,
        batch: &Batch,
        noise: Noise,
        gradients: &mut Parameters<T>,
    ) -> Result<Tally> {
        let mut tally = Tally {
            over: over(batch),
            ..Tally::default()
        };
        if batch.labels.is_empty() {
            return Ok(tally);
        }
        let tokens = self.tokens(batch, noise.first_row)?;
        let pass = Pass {
            model: self,
            tokens: &tokens,
            noise: Some(noise),
        };
        let mut tapes = Vec::with_capacity(self.parameters.layers.len());
        let (x, embedded) = pass.embed();
        let hidden = pass.encode(x, |tape| tapes.push(tape))?;
        let (found, d_hidden) = pass.head(hidden, &batch.labels, gradients)?;
        tally.add(&found);
        let mut d = d_hidden;
        for (index, tape) in tapes.into_iter().enumerate().rev() {
            d = pass.layer_backward(index, tape, d, &mut gradients.layers[index])?;
        }
        pass.embed_backward(embedded, d, gradients);
        Ok(tally)
    }

    /// Loss and accuracy on `batch`, without dropout.
    pub fn evaluate(&self, batch: &Batch) -> Result<Tally> {
        let mut tally = Tally {
            over: over(batch),
            ..Tally::default()
        };
        let weights = self.tokens(batch, 0)?.weights;
        self.each_block_of_logits(batch, |mut logits, first| {
            let block = first..first + logits.rows();
            let labels = &batch.labels[block.clone()];
            let weights = weights.get(block).unwrap_or_default();
            let bias = &self.parameters.head_bias;
            tally.add(&cross_entropy::apply(
                &mut logits,
                bias,
                labels,
                weights,
                false,
            ));
        })?;
        Ok(tally)
    }

    /// Logits at the predicted positions of `batch`, `labels × vocabulary`, without
    /// dropout. As large as that says.
    pub fn logits(&self, batch: &Batch) -> Result<Matrix<T>> {
        let mut all = Vec::new();
        self.each_block_of_logits(batch, |mut logits, _| {
            residual::add_bias(&mut logits, &self.parameters.head_bias);
            all.extend_from_slice(&logits);
        })?;
        Ok(Matrix::new(batch.labels.len(), self.vocabulary(), all))
    }

    fn each_block_of_logits(
        &self,
        batch: &Batch,
        mut take: impl FnMut(Matrix<T>, usize),
    ) -> Result<()> {
        let tokens = self.tokens(batch, 0)?;
        let pass = Pass {
            model: self,
            tokens: &tokens,
            noise: None,
        };
        let (x, _) = pass.embed();
        let hidden = pass.encode(x, drop)?;
        let head = pass.head_transform(hidden)?;
        for block in self.head_blocks(batch.labels.len()) {
            let first = block.start;
            take(
                head.out
                    .part(block)
                    .times(self.parameters.words.all().t())?,
                first,
            );
        }
        Ok(())
    }

    fn tokens(&self, batch: &Batch, first_row: u64) -> Result<Tokens> {
        let positions = self.config.positions as usize;
        Tokens::new(batch, self.vocabulary(), positions, first_row)
    }

    /// Predicted rows in equal blocks whose logits fit `LOGITS` bytes.
    fn head_blocks(&self, labels: usize) -> impl Iterator<Item = std::ops::Range<usize>> + use<T> {
        let most = (LOGITS / (self.vocabulary() * size_of::<T>())).max(1);
        let size = labels.div_ceil(labels.div_ceil(most).max(1)).max(1);
        (0..labels)
            .step_by(size)
            .map(move |start| start..(start + size).min(labels))
    }
}

/// One pass over one batch.
struct Pass<'a, T> {
    model: &'a Model<T>,
    tokens: &'a Tokens,
    noise: Option<Noise>,
}

/// What the backward pass of a layer norm needs.
struct Normed<T> {
    /// What went in.
    x: Matrix<T>,
    statistics: RowStatistics<T>,
}

/// What the backward pass of a layer needs.
struct LayerTape<T> {
    /// Input of queries, keys and values.
    attention_in: Matrix<T>,
    attention_norm: Normed<T>,
    qkv: Matrix<T>,
    sums: Vec<T>,
    context: Matrix<T>,
    /// Input of the feed-forward layer.
    feed_forward_in: Matrix<T>,
    feed_forward_norm: Normed<T>,
    /// Before and after GELU.
    up: Matrix<T>,
    activated: Matrix<T>,
}

/// The head before its decoder.
struct Head<T> {
    hidden: Matrix<T>,
    final_norm: Option<Normed<T>>,
    dense: Matrix<T>,
    norm: Normed<T>,
    out: Matrix<T>,
}

impl<T: Real> Pass<'_, T> {
    /// Dropout sites: 0 embeddings; 1, 2, 3 of each layer the attention weights, the
    /// attention output and the feed-forward output.
    fn dropout(&self, layer: Option<usize>, place: u32) -> Option<Dropout> {
        let noise = self.noise?;
        let config = &self.model.config;
        let site = layer.map_or(0, |layer| 3 * layer as u32 + place);
        let rate = match (layer, place) {
            (Some(_), 1) => config.attention_dropout,
            _ => config.dropout,
        };
        Dropout::new(rate, noise.seed, noise.step, site)
    }

    fn norm(&self, x: Matrix<T>, norm: &LayerNorm<T>) -> (Matrix<T>, Normed<T>) {
        let epsilon = self.model.config.norm_epsilon;
        let (out, statistics) = norm::forward(&x, &norm.weight, &norm.bias, epsilon);
        (out, Normed { x, statistics })
    }

    fn heads(&self, layer: usize) -> Heads<'_> {
        Heads {
            heads: self.model.config.heads as usize,
            lengths: &self.tokens.runs,
            dropout: self.dropout(Some(layer), 1),
            keys: &self.tokens.keys,
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

    // Embeddings: tokens × hidden.

    fn embed(&self) -> (Matrix<T>, Normed<T>) {
        let parameters = &self.model.parameters;
        let sum = embedding::forward(
            &self.tokens.ids,
            &self.tokens.places,
            &parameters.words,
            &parameters.positions,
        );
        let (mut x, normed) = self.norm(sum, &parameters.embedding_norm);
        residual::apply(&mut x, self.dropout(None, 0), &self.tokens.keys);
        (x, normed)
    }

    fn embed_backward(&self, normed: Normed<T>, mut d: Matrix<T>, gradients: &mut Parameters<T>) {
        let parameters = &self.model.parameters;
        residual::apply(&mut d, self.dropout(None, 0), &self.tokens.keys);
        let norm = &parameters.embedding_norm;
        let d = norm_backward(normed, norm, d, &mut gradients.embedding_norm);
        for (table, gradient, indices) in [
            (&parameters.words, &mut gradients.words, &self.tokens.ids),
            (
                &parameters.positions,
                &mut gradients.positions,
                &self.tokens.places,
            ),
        ] {
            if gradient.rows() == 0 {
                *gradient = Matrix::zeros(table.rows(), table.cols());
            }
            embedding::backward(&d, indices, gradient);
        }
    }

    // Layers.

    /// All layers. The result has a row for each predicted token. Each layer's tape
    /// goes to `keep`.
    fn encode(&self, mut x: Matrix<T>, mut keep: impl FnMut(LayerTape<T>)) -> Result<Matrix<T>> {
        for (index, layer) in self.model.parameters.layers.iter().enumerate() {
            let (y, tape) = self.layer(index, layer, x)?;
            keep(tape);
            x = y;
        }
        Ok(x)
    }

    fn layer(
        &self,
        index: usize,
        layer: &Layer<T>,
        x: Matrix<T>,
    ) -> Result<(Matrix<T>, LayerTape<T>)> {
        match self.model.config.norm {
            Norm::Pre => self.layer_pre(index, layer, x),
            Norm::Post => self.layer_post(index, layer, x),
        }
    }

    fn layer_pre(
        &self,
        index: usize,
        layer: &Layer<T>,
        x: Matrix<T>,
    ) -> Result<(Matrix<T>, LayerTape<T>)> {
        let keys = self.keys_after(index);
        let (attention_in, attention_norm) = self.norm(x, &layer.attention_norm);
        let (qkv, sums, context) = self.attend(index, layer, &attention_in)?;
        let x = self.rows_after(index, &attention_norm.x);
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
        let (feed_forward_in, attention_norm) = self.norm(sum, &layer.attention_norm);
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
        residual::add_bias(&mut qkv, &layer.qkv.bias);
        let (context, sums) = attention::forward(&qkv, self.heads(index));
        let context = match self.is_last(index) {
            true => context.gather(&self.tokens.predicted),
            false => context,
        };
        Ok((qkv, sums, context))
    }

    fn rows_after<'m>(&self, index: usize, x: &'m Matrix<T>) -> std::borrow::Cow<'m, Matrix<T>> {
        match self.is_last(index) {
            true => std::borrow::Cow::Owned(x.gather(&self.tokens.predicted)),
            false => std::borrow::Cow::Borrowed(x),
        }
    }

    /// GELU's input and output: rows × feed-forward.
    fn widen(&self, layer: &Layer<T>, x: &Matrix<T>) -> Result<(Matrix<T>, Matrix<T>)> {
        let mut up = x.all().times(layer.up.weight.all().t())?;
        let activated = gelu::forward(&mut up, &layer.up.bias);
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
        let mut out = branch.all().times(linear.weight.all().t())?;
        let dropout = self.dropout(Some(index), site);
        residual::forward(&mut out, &linear.bias, dropout, keys, x);
        Ok(out)
    }

    /// From the gradient of a layer's output to that of its input.
    fn layer_backward(
        &self,
        index: usize,
        tape: LayerTape<T>,
        dy: Matrix<T>,
        gradients: &mut Layer<T>,
    ) -> Result<Matrix<T>> {
        let layer = &self.model.parameters.layers[index];
        let keys = self.keys_after(index);
        let pre = self.model.config.norm == Norm::Pre;
        let feed_forward_norm = tape.feed_forward_norm;
        // Feed-forward. `d_skip` is what passes the residual connection.
        let (mut d_skip, feed_forward_norm) = if pre {
            (dy, Some(feed_forward_norm))
        } else {
            let (norm, into) = (&layer.feed_forward_norm, &mut gradients.feed_forward_norm);
            (norm_backward(feed_forward_norm, norm, dy, into), None)
        };
        let d = residual::backward(&d_skip, self.dropout(Some(index), 3), &keys);
        let mut d = linear_backward(d, &tape.activated, &layer.down, &mut gradients.down)?;
        gelu::backward(&mut d, &tape.up);
        let mut d = linear_backward(d, &tape.feed_forward_in, &layer.up, &mut gradients.up)?;
        let mut attention_norm = Some(tape.attention_norm);
        if let Some(normed) = feed_forward_norm {
            let (norm, into) = (&layer.feed_forward_norm, &mut gradients.feed_forward_norm);
            d = norm_backward(normed, norm, d, into);
            d_skip.accumulate(d);
        } else if let Some(normed) = attention_norm.take() {
            d_skip.accumulate(d);
            let (norm, into) = (&layer.attention_norm, &mut gradients.attention_norm);
            d_skip = norm_backward(normed, norm, d_skip, into);
        }
        // Attention.
        let d = residual::backward(&d_skip, self.dropout(Some(index), 2), &keys);
        let out = (&layer.attention_out, &mut gradients.attention_out);
        let mut d = linear_backward(d, &tape.context, out.0, out.1)?;
        if self.is_last(index) {
            let rows = self.tokens.ids.len();
            d = d.scatter(&self.tokens.predicted, rows);
            d_skip = d_skip.scatter(&self.tokens.predicted, rows);
        }
        let d = attention::backward(&tape.qkv, &tape.sums, &d, self.heads(index));
        let mut d = linear_backward(d, &tape.attention_in, &layer.qkv, &mut gradients.qkv)?;
        if let Some(normed) = attention_norm {
            let (norm, into) = (&layer.attention_norm, &mut gradients.attention_norm);
            d = norm_backward(normed, norm, d, into);
        }
        d_skip.accumulate(d);
        Ok(d_skip)
    }

    // Head: predicted tokens only.

    fn head_transform(&self, hidden: Matrix<T>) -> Result<Head<T>> {
        let parameters = &self.model.parameters;
        let (hidden, final_norm) = match &parameters.final_norm {
            Some(norm) => {
                let (out, normed) = self.norm(hidden, norm);
                (out, Some(normed))
            }
            None => (hidden, None),
        };
        let mut dense = hidden.all().times(parameters.head.weight.all().t())?;
        let activated = gelu::forward(&mut dense, &parameters.head.bias);
        let (out, norm) = self.norm(activated, &parameters.head_norm);
        Ok(Head {
            hidden,
            final_norm,
            dense,
            norm,
            out,
        })
    }

    /// Loss over `labels`, and the gradient of the last layer's output. The logits
    /// exist one block at a time.
    fn head(
        &self,
        hidden: Matrix<T>,
        labels: &[u32],
        gradients: &mut Parameters<T>,
    ) -> Result<(Tally, Matrix<T>)> {
        let parameters = &self.model.parameters;
        let head = self.head_transform(hidden)?;
        let mut tally = Tally::default();
        let mut d_out = Vec::with_capacity(head.out.len());
        for block in self.model.head_blocks(labels.len()) {
            let out = || head.out.part(block.clone());
            let mut logits = out().times(parameters.words.all().t())?;
            let labels = &labels[block.clone()];
            let weights = self.tokens.weights.get(block.clone()).unwrap_or_default();
            let bias = &parameters.head_bias;
            tally.add(&cross_entropy::apply(
                &mut logits,
                bias,
                labels,
                weights,
                true,
            ));
            d_out.extend_from_slice(&logits.all().times(parameters.words.all())?);
            gradients.words.accumulate(logits.all().t().times(out())?);
            gradients.head_bias.accumulate(logits.column_sums());
        }
        let d = Matrix::new(head.out.rows(), head.out.cols(), d_out);
        let norm = (&parameters.head_norm, &mut gradients.head_norm);
        let mut d = norm_backward(head.norm, norm.0, d, norm.1);
        gelu::backward(&mut d, &head.dense);
        let mut d = linear_backward(d, &head.hidden, &parameters.head, &mut gradients.head)?;
        if let (Some(normed), Some(norm), Some(into)) = (
            head.final_norm,
            &parameters.final_norm,
            &mut gradients.final_norm,
        ) {
            d = norm_backward(normed, norm, d, into);
        }
        Ok((tally, d))
    }
}

/// What the loss of `batch` is divided by (see [`Tally::over`]).
fn over(batch: &Batch) -> u64 {
    if batch.weights.is_empty() {
        batch.labels.len() as u64
    } else {
        batch.realised.maskable
    }
}

fn norm_backward<T: Real>(
    normed: Normed<T>,
    norm: &LayerNorm<T>,
    dy: Matrix<T>,
    gradients: &mut LayerNorm<T>,
) -> Matrix<T> {
    let parts = norm::backward(&normed.x, &normed.statistics, &norm.weight, dy);
    gradients.weight.accumulate(parts.weight);
    gradients.bias.accumulate(parts.bias);
    parts.x
}

/// The gradient of the input `x` of a linear layer, given that of its output.
fn linear_backward<T: Real>(
    dy: Matrix<T>,
    x: &Matrix<T>,
    linear: &Linear<T>,
    gradients: &mut Linear<T>,
) -> Result<Matrix<T>> {
    gradients.bias.accumulate(dy.column_sums());
    gradients.weight.accumulate(dy.all().t().times(x.all())?);
    dy.all().times(linear.weight.all())
}

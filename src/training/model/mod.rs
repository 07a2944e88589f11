//! The encoder with its masked-language-model head: forward, and backward written by
//! hand. A row travels through `pass.rs` (embeddings), `layer.rs`, in a model for rows of
//! the layout `removed` `decoder.rs`, and `head.rs`.
//!
//! The last layer's queries, its feed-forward and all after it run on the predicted tokens
//! only; nothing else of that layer reaches the loss. Memory of a training pass: about
//! (8 hidden + 2 feed-forward) numbers a token and layer, and one block of logits.

mod classifier;
mod decoder;
mod head;
mod layer;
mod pass;

use super::matrix::Matrix;
use super::neighbours;
use super::ops::cross_entropy::{self, Prediction, Tally};
use super::ops::residual;
use super::parameters::Parameters;
use super::pool::Pool;
use super::real::Real;
use super::tokens::Tokens;
use crate::base::error::{Error, Result};
use crate::batches::Batch;
use crate::config::{InitialAttention, ModelConfig, ModelShape};
use decoder::Decoder;
use pass::Pass;

/// Bytes of logits in memory at a time; see `head_blocks`. glibc keeps blocks of up to
/// 32 MiB (its `DEFAULT_MMAP_THRESHOLD_MAX`) for the next allocation; larger ones
/// come from the kernel and are cleared page by page each time.
const LOGITS: usize = 24 << 20;

/// A model of some shape with a vocabulary of some size.
#[derive(Debug, Clone)]
pub struct Model<T = f32> {
    /// Its architecture and sizes.
    pub shape: ModelShape,
    /// Its parameters.
    pub parameters: Parameters<T>,
    /// Memory of its passes.
    pool: Pool<T>,
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
        let shape = config.shape();
        let mut parameters = Parameters::initial(&shape, vocabulary, seed);
        if config.initial_attention == InitialAttention::Neighbours {
            neighbours::begin_on_neighbours(&mut parameters, shape.heads as usize);
        }
        Self::new(shape, parameters)
    }

    /// A model of these parameters, which are of this shape.
    pub fn new(shape: ModelShape, parameters: Parameters<T>) -> Self {
        Self {
            shape,
            parameters,
            pool: Pool::default(),
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
        let (encoder, decoder) = (pass.encoder(), Decoder::of(&pass));
        let mut tapes = Vec::with_capacity(self.parameters.layers.len());
        let (x, embedded) = pass.embed();
        let hidden = encoder.forward(x, |tape| tapes.push(tape))?;
        let (found, d) = match decoder {
            None => pass.head(hidden, &batch.labels, gradients)?,
            Some(decoder) => {
                let mut layers = Vec::new();
                let (hidden, tape) = decoder.forward(hidden, |tape| layers.push(tape))?;
                let (found, d) = pass.head(hidden, &batch.labels, gradients)?;
                (found, decoder.backward(tape, layers, d, gradients)?)
            }
        };
        tally.add(&found);
        let d = encoder.backward(tapes, d, &mut gradients.layers)?;
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

    /// What the model makes of each label of `batch`, in their order, without dropout.
    pub fn predictions(&self, batch: &Batch) -> Result<Vec<Prediction>> {
        let mut all = Vec::with_capacity(batch.labels.len());
        self.each_block_of_logits(batch, |mut logits, first| {
            let labels = &batch.labels[first..first + logits.rows()];
            let bias = &self.parameters.head_bias;
            all.extend(cross_entropy::predictions(&mut logits, bias, labels));
        })?;
        Ok(all)
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
        let mut hidden = pass.encoder().forward(x, drop)?;
        if let Some(decoder) = Decoder::of(&pass) {
            (hidden, _) = decoder.forward(hidden, drop)?;
        }
        let head = pass.head_transform(hidden)?;
        let words = &self.parameters.words;
        let decoder = words.all().t().pack(head.out.pool());
        for block in self.head_blocks(batch.labels.len()) {
            let first = block.start;
            let mut logits = head.out.sibling(block.len(), words.rows());
            head.out
                .part(block)
                .times_packed(&decoder, &mut logits, false);
            take(logits, first);
        }
        Ok(())
    }

    /// The tokens of `batch`; refuses one that the model has no room for.
    pub(super) fn tokens(&self, batch: &Batch, first_row: u64) -> Result<Tokens> {
        if batch.layout != self.shape.layout() {
            return Err(Error::mismatch(
                "batch",
                format!("rows of the layout {:?}", batch.layout),
                format!("rows of the layout {:?}", self.shape.layout()),
                "rows that lost tokens are for a model with a decoder, those in place for one \
                 without",
            ));
        }
        let positions = self.shape.positions as usize;
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

/// What the loss of `batch` is divided by (see [`Tally::over`]).
pub(super) fn over(batch: &Batch) -> u64 {
    if batch.weights.is_empty() {
        batch.labels.len() as u64
    } else {
        batch.realised.maskable
    }
}

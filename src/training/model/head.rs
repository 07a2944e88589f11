//! The head, on predicted tokens only: final norm, dense layer, GELU, norm, and the
//! product with the table of word embeddings, with the loss.

use super::pass::{Normed, Pass, linear_backward, norm_backward};
use crate::base::error::Result;
use crate::training::matrix::Matrix;
use crate::training::ops::cross_entropy::{self, Tally};
use crate::training::ops::gelu;
use crate::training::parameters::Parameters;
use crate::training::real::Real;

/// The head before its logits.
pub(super) struct Head<T> {
    hidden: Matrix<T>,
    final_norm: Option<Normed<T>>,
    dense: Matrix<T>,
    norm: Normed<T>,
    pub out: Matrix<T>,
}

impl<T: Real> Pass<'_, T> {
    pub fn head_transform(&self, hidden: Matrix<T>) -> Result<Head<T>> {
        let parameters = &self.model.parameters;
        let (hidden, final_norm) = match parameters.last_norm() {
            Some(norm) => {
                let (out, normed) = self.norm(hidden, norm);
                (out, Some(normed))
            }
            None => (hidden, None),
        };
        let (dense, activated) = gelu::forward(&hidden, &parameters.head)?;
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
    pub fn head(
        &self,
        hidden: Matrix<T>,
        labels: &[u32],
        gradients: &mut Parameters<T>,
    ) -> Result<(Tally, Matrix<T>)> {
        let parameters = &self.model.parameters;
        let pool = hidden.pool().clone();
        let pool = &pool;
        let head = self.head_transform(hidden)?;
        let mut tally = Tally::default();
        let decoder = parameters.words.all().t().pack(pool);
        let back = parameters.words.all().pack(pool);
        let mut d = head.out.sibling(head.out.rows(), head.out.cols());
        for block in self.model.head_blocks(labels.len()) {
            let out = || head.out.part(block.clone());
            let mut logits = head.out.sibling(block.len(), parameters.words.rows());
            out().times_packed(&decoder, &mut logits, false);
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
            let width = d.cols();
            let d = &mut d[block.start * width..block.end * width];
            logits.all().times_packed(&back, d, false);
            let right = out().pack(pool);
            gradients.words.accumulate_product(logits.all().t(), &right);
            gradients.head_bias.accumulate(logits.column_sums());
        }
        let mut d = norm_backward(head.norm, d, &mut gradients.head_norm);
        gelu::backward_in_place(&mut d, &head.dense);
        let mut d = linear_backward(d, &head.hidden, &parameters.head, &mut gradients.head)?;
        if let (Some(normed), Some(into)) = (head.final_norm, gradients.last_norm_mut()) {
            d = norm_backward(normed, d, into);
        }
        Ok((tally, d))
    }
}

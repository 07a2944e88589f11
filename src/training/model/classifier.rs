//! A classifier's passes: the encoder, of which the first token of each row leaves the last
//! layer, and the head on these. BERT: dense, tanh, out. RoBERTa: the same with dropout
//! before the dense layer as well. ModernBERT: dense, GELU, norm, out. Dropout stands before
//! `out` in all of them.

use super::Noise;
use super::pass::{Normed, Pass, linear_backward, norm_backward};
use crate::base::error::Result;
use crate::config::Architecture;
use crate::training::classifier::{Classifier, ClassifierHead, Targets};
use crate::training::matrix::Matrix;
use crate::training::ops::dropout::Dropout;
use crate::training::ops::{cross_entropy, gelu, residual, tanh};
use crate::training::parameters::LayerNorm;
use crate::training::real::Real;
use crate::training::tokens::{SentenceRow, Tokens};

/// What the backward pass of a head needs.
struct HeadTape<T> {
    last_norm: Option<Normed<T>>,
    /// Input of the dense layer.
    pooled: Matrix<T>,
    /// Its output: under tanh behind the activation, under GELU before it.
    dense: Matrix<T>,
    norm: Option<Normed<T>>,
    /// Input of the last layer.
    activated: Matrix<T>,
}

impl<T: Real> Classifier<T> {
    /// Adds the gradient of the *summed* loss of `rows` to `gradients` (whose matrices may
    /// be empty), and gives the loss.
    pub fn backward(
        &self,
        rows: &[&SentenceRow],
        targets: Targets<'_>,
        noise: Noise,
        gradients: &mut Self,
    ) -> Result<f64> {
        let tokens = self.tokens(rows)?;
        let pass = Pass {
            model: &self.model,
            tokens: &tokens,
            noise: Some(noise),
        };
        let encoder = pass.encoder();
        let mut tapes = Vec::with_capacity(self.model.parameters.layers.len());
        let (x, embedded) = pass.embed();
        let hidden = encoder.forward(x, |tape| tapes.push(tape))?;
        let (mut outputs, tape) = pass.classify(&self.head, hidden)?;
        let loss = loss(&mut outputs, targets);
        let d = pass.classify_backward(&self.head, tape, outputs, gradients)?;
        let parameters = &mut gradients.model.parameters;
        let d = encoder.backward(tapes, d, &mut parameters.layers)?;
        pass.embed_backward(embedded, d, parameters);
        Ok(loss)
    }

    /// What the model makes of `rows`, `rows × outputs`, without dropout: a logit for each
    /// class, or a number.
    pub fn outputs(&self, rows: &[&SentenceRow]) -> Result<Matrix<T>> {
        let tokens = self.tokens(rows)?;
        let pass = Pass {
            model: &self.model,
            tokens: &tokens,
            noise: None,
        };
        let (x, _) = pass.embed();
        let hidden = pass.encoder().forward(x, drop)?;
        Ok(pass.classify(&self.head, hidden)?.0)
    }

    fn tokens(&self, rows: &[&SentenceRow]) -> Result<Tokens> {
        let shape = &self.model.shape;
        let types = self.model.parameters.token_types.as_ref();
        Tokens::of_sentences(
            rows,
            [
                self.model.vocabulary(),
                shape.positions as usize,
                types.map_or(0, Matrix::rows),
            ],
        )
    }
}

impl<T: Real> Pass<'_, T> {
    /// Dropout sites behind those of the layers: 1 before the dense layer, 2 before the last.
    fn head_dropout(&self, site: u32) -> Option<Dropout> {
        let (noise, shape) = (self.noise?, &self.model.shape);
        let site = 3 * shape.layers + site;
        Dropout::new(shape.dropout, noise.seed, noise.step, site)
    }

    /// Whether there is dropout before the dense layer.
    fn drops_twice(&self) -> bool {
        matches!(
            self.model.shape.architecture,
            Architecture::Roberta | Architecture::RobertaPrelayernorm
        )
    }

    /// Names to the dropout of the tokens that the head sees.
    fn head_keys(&self) -> Vec<u64> {
        let predicted = self.tokens.predicted.iter();
        predicted
            .map(|&index| self.tokens.keys[index as usize])
            .collect()
    }

    fn classify(
        &self,
        head: &ClassifierHead<T>,
        hidden: Matrix<T>,
    ) -> Result<(Matrix<T>, HeadTape<T>)> {
        let keys = self.head_keys();
        let (mut pooled, last_norm) = self.maybe_norm(hidden, self.model.parameters.last_norm());
        if self.drops_twice() {
            residual::apply(&mut pooled, self.head_dropout(1), &keys);
        }
        let (dense, (mut activated, norm)) = match &head.norm {
            Some(norm) => {
                let (dense, activated) = gelu::forward(&pooled, &head.dense)?;
                (dense, self.maybe_norm(activated, Some(norm)))
            }
            None => {
                let mut dense = pooled.all().times(head.dense.weight.all().t())?;
                if let Some(bias) = &head.dense.bias {
                    residual::add_bias(&mut dense, bias);
                }
                tanh::forward(&mut dense);
                (dense.clone(), (dense, None))
            }
        };
        residual::apply(&mut activated, self.head_dropout(2), &keys);
        let mut outputs = activated.all().times(head.out.weight.all().t())?;
        if let Some(bias) = &head.out.bias {
            residual::add_bias(&mut outputs, bias);
        }
        let tape = HeadTape {
            last_norm,
            pooled,
            dense,
            norm,
            activated,
        };
        Ok((outputs, tape))
    }

    fn maybe_norm(
        &self,
        x: Matrix<T>,
        norm: Option<&LayerNorm<T>>,
    ) -> (Matrix<T>, Option<Normed<T>>) {
        match norm {
            Some(norm) => {
                let (out, normed) = self.norm(x, norm);
                (out, Some(normed))
            }
            None => (x, None),
        }
    }

    /// From the gradient of the outputs to that of the encoder's last layer.
    fn classify_backward(
        &self,
        head: &ClassifierHead<T>,
        tape: HeadTape<T>,
        d: Matrix<T>,
        gradients: &mut Classifier<T>,
    ) -> Result<Matrix<T>> {
        let keys = self.head_keys();
        let into = &mut gradients.head;
        let mut d = linear_backward(d, &tape.activated, &head.out, &mut into.out)?;
        residual::apply(&mut d, self.head_dropout(2), &keys);
        match (tape.norm, &mut into.norm) {
            (Some(normed), Some(into)) => {
                d = norm_backward(normed, d, into);
                gelu::backward_in_place(&mut d, &tape.dense);
            }
            _ => tanh::backward(&mut d, &tape.dense),
        }
        let mut d = linear_backward(d, &tape.pooled, &head.dense, &mut into.dense)?;
        if self.drops_twice() {
            residual::apply(&mut d, self.head_dropout(1), &keys);
        }
        let into = gradients.model.parameters.last_norm_mut();
        if let (Some(normed), Some(into)) = (tape.last_norm, into) {
            d = norm_backward(normed, d, into);
        }
        Ok(d)
    }
}

/// The summed loss of `outputs`, in whose place it leaves its gradient.
fn loss<T: Real>(outputs: &mut Matrix<T>, targets: Targets<'_>) -> f64 {
    match targets {
        Targets::Classes(classes) => {
            let no_bias = Matrix::zeros(1, outputs.cols());
            cross_entropy::apply(outputs, &no_bias, classes, &[], true).loss
        }
        Targets::Numbers(numbers) => {
            let mut sum = 0.0;
            for (output, &number) in outputs.iter_mut().zip(numbers) {
                let error = output.to_f64() - f64::from(number);
                sum += error * error;
                *output = T::from_f64(2.0 * error);
            }
            sum
        }
    }
}

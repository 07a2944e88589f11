//! A model that ends in a few numbers for each row: an encoder of `model/` with a head on
//! the first token, as its architecture has it in `transformers`. What it is and its steps;
//! its passes are in `model/classifier.rs`.
//!
//! Memory of fine-tuning: 16 bytes a parameter beside those of a pass.

use super::matrix::Matrix;
use super::model::{Model, Noise};
use super::optimizer::{self, Slot};
use super::parameters::{LayerNorm, Linear, normal_pair};
use super::real::Real;
use super::tensors::{self, Tensor};
use super::tokens::SentenceRow;
use crate::base::error::{Error, Result};
use crate::base::generator::{Key, Purpose};
use crate::config::{Architecture, OptimizerConfig};
use crate::storage::atomic::Written;
use std::borrow::Cow;
use std::path::Path;

/// What stands between an encoder and the numbers of a row.
#[derive(Debug, Clone)]
pub struct ClassifierHead<T> {
    /// `hidden × hidden`, with tanh behind it, in ModernBERT GELU.
    pub dense: Linear<T>,
    /// Behind that, in ModernBERT alone.
    pub norm: Option<LayerNorm<T>>,
    /// `outputs × hidden`: a row for each class, or one for a number.
    pub out: Linear<T>,
}

/// What a published encoder has of such a head: BERT's pooler, and the head that ModernBERT
/// predicts masked tokens with.
pub type Inherited = Option<(Linear<f32>, Option<LayerNorm<f32>>)>;

/// An encoder with its head. Gradients and moments are of the same type.
#[derive(Debug, Clone)]
pub struct Classifier<T = f32> {
    /// The encoder; its own head is empty.
    pub model: Model<T>,
    /// The head.
    pub head: ClassifierHead<T>,
}

/// What a row should come to.
#[derive(Debug, Clone, Copy)]
pub enum Targets<'a> {
    /// Its class, from 0: the loss is the cross-entropy.
    Classes(&'a [u32]),
    /// A number: the loss is the squared error.
    Numbers(&'a [f32]),
}

impl<T: Real> Classifier<T> {
    /// `model`, whose own head goes, with a head for `outputs` numbers: its weights are from
    /// a normal distribution of the model's initial deviation, its biases 0. A function of
    /// the seed.
    pub fn new(mut model: Model<T>, outputs: usize, seed: u64) -> Self {
        for (_, matrix) in model.parameters.named_mut().into_iter().filter(of_own_head) {
            *matrix = Matrix::empty();
        }
        let hidden = model.shape.hidden as usize;
        let modern = model.shape.architecture == Architecture::Modernbert;
        let deviation = model.shape.initializer_range;
        let linear = |parameter, outputs, bias: bool| Linear {
            weight: drawn(outputs, hidden, deviation, seed, parameter),
            bias: bias.then(|| Matrix::zeros(1, outputs)),
        };
        let head = ClassifierHead {
            dense: linear(0, hidden, !modern),
            norm: modern.then(|| LayerNorm {
                weight: Matrix::new(1, hidden, vec![T::one(); hidden]),
                bias: None,
            }),
            out: linear(1, outputs, true),
        };
        Self { model, head }
    }

    /// Every parameter with its name, in a fixed order.
    pub fn named(&self) -> Vec<(String, &Matrix<T>)> {
        let mut all = self.model.parameters.named();
        all.retain(|(name, _)| !name.starts_with("head"));
        let head = &self.head;
        for (name, linear) in [("dense", &head.dense), ("out", &head.out)] {
            all.push((format!("classifier.{name}.weight"), &linear.weight));
            let bias = linear.bias.as_ref();
            all.extend(bias.map(|bias| (format!("classifier.{name}.bias"), bias)));
        }
        let norm = head.norm.as_ref();
        all.extend(norm.map(|norm| ("classifier.norm.weight".to_owned(), &norm.weight)));
        all
    }

    /// Every parameter to write into, with its name, in the order of `named`.
    pub fn named_mut(&mut self) -> Vec<(String, &mut Matrix<T>)> {
        let names: Vec<String> = self.named().into_iter().map(|(name, _)| name).collect();
        let encoder = self.model.parameters.named_mut().into_iter();
        let mut all: Vec<_> = encoder.filter(|named| !of_own_head(named)).collect();
        let mut head: Vec<&mut Matrix<T>> = Vec::new();
        head.extend(self.head.dense.all());
        head.extend(self.head.out.all());
        head.extend(self.head.norm.iter_mut().flat_map(LayerNorm::all));
        let of_head = names[all.len()..].to_vec();
        all.extend(of_head.into_iter().zip(head));
        all
    }

    /// The same structure with `f` of each matrix.
    pub fn map(&self, f: impl Fn(&Matrix<T>) -> Matrix<T>) -> Self {
        let mut out = self.clone();
        for (_, matrix) in out.named_mut() {
            *matrix = f(matrix);
        }
        out
    }
}

impl Classifier {
    /// Takes over what the encoder was published with.
    pub fn inherit(&mut self, inherited: &Inherited) {
        if let Some((dense, norm)) = inherited {
            self.head.dense = dense.clone();
            self.head.norm = norm.clone();
        }
    }

    /// Writes all parameters to `path`, as safetensors in our own names.
    pub fn write(&self, path: &Path) -> Result<Written> {
        let named = self.named().into_iter();
        let tensors: Vec<Tensor<'_>> = named
            .map(|(name, matrix)| Tensor {
                name,
                shape: vec![matrix.rows(), matrix.cols()],
                values: Cow::Borrowed(&matrix[..]),
            })
            .collect();
        tensors::write(path, &tensors)
    }

    /// Reads what [`write`](Self::write) wrote of a classifier of this shape.
    pub fn read(&mut self, path: &Path) -> Result<()> {
        let mut left = self.named_mut();
        tensors::read_any(path, |tensor| {
            let place = left.iter().position(|(name, matrix)| {
                *name == tensor.name && matrix.len() == tensor.values.len()
            });
            if let Some(place) = place {
                left.swap_remove(place).1.copy_from_slice(&tensor.values);
            }
            Ok(())
        })?;
        match left.first() {
            None => Ok(()),
            Some((name, _)) => Err(tensors::damaged(
                path,
                format!("no {name} of its size"),
                "every parameter of the fine-tuned model".into(),
            )),
        }
    }
}

/// Whether a parameter of an encoder belongs to its own head.
fn of_own_head<M>((name, _): &(String, M)) -> bool {
    name.starts_with("head")
}

fn drawn<T: Real>(
    rows: usize,
    cols: usize,
    deviation: f64,
    seed: u64,
    parameter: u64,
) -> Matrix<T> {
    let key = Key {
        seed,
        sample: parameter,
        copy: COPY_OF_WEIGHTS,
        ..Key::default()
    };
    let mut generator = key.generator(Purpose::Finetune);
    let mut values = Vec::with_capacity(rows * cols + 1);
    while values.len() < rows * cols {
        let (a, b) = normal_pair(&mut generator);
        values.extend([a, b].map(|x| T::from_f64(x * deviation)));
    }
    values.truncate(rows * cols);
    Matrix::new(rows, cols, values)
}

/// Of the purpose `Finetune`, the copy that weights are drawn by; orders are drawn by 0.
const COPY_OF_WEIGHTS: u32 = 1;

/// A classifier on its way, with gradients and moments.
pub struct FineTuning {
    /// As it is now.
    pub classifier: Classifier,
    gradients: Classifier,
    first: Classifier,
    second: Classifier,
    updates: u64,
}

impl FineTuning {
    /// Begins with `classifier`.
    pub fn new(classifier: Classifier) -> Self {
        let zeros = classifier.map(|m| Matrix::zeros(m.rows(), m.cols()));
        Self {
            gradients: classifier.map(|_| Matrix::empty()),
            first: zeros.clone(),
            second: zeros,
            updates: 0,
            classifier,
        }
    }

    /// One step over `rows`, at a learning rate: the mean loss before it.
    ///
    /// # Errors
    /// Rows that the model has no room for, and a loss or gradient that is not finite.
    pub fn step(
        &mut self,
        config: &OptimizerConfig,
        rows: &[&SentenceRow],
        targets: Targets<'_>,
        seed: u64,
        learning_rate: f64,
    ) -> Result<f64> {
        let step = self.updates;
        let noise = Noise {
            seed,
            step,
            first_row: 0,
        };
        let loss = self
            .classifier
            .backward(rows, targets, noise, &mut self.gradients)?;
        let mut scale = 1.0 / rows.len().max(1) as f64;
        let loss = loss * scale;
        let gradients = self.gradients.named().into_iter();
        let norm = optimizer::norm_of(gradients.map(|(_, matrix)| matrix), scale);
        if !loss.is_finite() || !norm.is_finite() {
            return Err(Error::diverged(
                format!("step {}", step + 1),
                format!("loss {loss}, norm of the gradient {norm}"),
                "finite numbers",
                "leave the highest of learning_rates out",
            ));
        }
        if config.clip > 0.0 && norm > config.clip {
            scale *= config.clip / norm;
        }
        let parameters = self.classifier.named_mut().into_iter();
        let gradients = self.gradients.named();
        let moments = self.first.named_mut().into_iter();
        let moments = moments.zip(self.second.named_mut());
        let slots = parameters
            .zip(gradients)
            .zip(moments)
            .map(|((p, g), (m, v))| Slot {
                name: p.0,
                parameter: p.1,
                gradient: g.1,
                first: m.1,
                second: v.1,
            });
        optimizer::update(config, slots, scale, step, learning_rate);
        for (_, gradient) in self.gradients.named_mut() {
            *gradient = Matrix::empty();
        }
        self.updates += 1;
        Ok(loss)
    }
}

#[cfg(test)]
mod tests;

//! The same model in candle's operations, with candle's gradients: for a GPU
//! (`--features cuda`), and on the CPU to check it. In tests it is the oracle of the model
//! by hand, in 64 bits.
//!
//! Memory on the device: 16 bytes a parameter, its casts, and the activations of a pass
//! with every intermediate result; on the host 12 bytes a parameter. Rows are padded, so
//! padding costs here what tokens cost.

mod adam;
pub(super) mod inputs;
mod noise;
mod pass;
mod rows;
mod weights;

use super::engine::Engine;
use super::model::{Model, Noise, over};
use super::ops::cross_entropy::Tally;
use super::optimizer::AdamW;
use super::real::Real;
use crate::base::error::{Error, Result};
use crate::batches::Batch;
use crate::config::train::OptimizerConfig;
use crate::config::{self, ModelShape, Precision};
use adam::Moments;
use candle_core::{DType, Device, Tensor, Var};
use inputs::Inputs;
use noise::Drops;
use pass::{Angles, Losses, Pass};
use weights::Weights;

/// A model on a device, with its parameters in their own kind of numbers and its
/// products in another.
pub struct Network {
    shape: ModelShape,
    weights: Weights,
    angles: Option<[Angles; 2]>,
    active: DType,
    device: Device,
}

impl Network {
    /// Copies `model` to `device`, to multiply matrices of `active`.
    pub fn new<T: Real>(
        model: &Model<T>,
        device: Device,
        active: DType,
    ) -> candle_core::Result<Self> {
        Ok(Self {
            shape: model.shape.clone(),
            weights: Weights::new(&model.parameters, &device)?,
            angles: Angles::of(&model.shape, T::DTYPE, &device)?,
            active,
            device,
        })
    }

    /// Loss of `inputs`, and its gradient for every parameter that has one, in the order
    /// of the parameters. Two leaves, the embeddings and the predicted tokens, cut the way
    /// back where rows were picked.
    pub(super) fn backward(
        &self,
        inputs: &Inputs,
        noise: Noise,
    ) -> candle_core::Result<(Losses, Vec<Option<Tensor>>)> {
        let mut pass = self.pass(inputs, true);
        pass.drops = Some(Drops::new(noise, inputs, &self.device)?);
        let embedded = Var::from_tensor(&self.embed(inputs)?)?;
        let encoded = pass.encode(&embedded)?;
        let picked = Var::from_tensor(&rows::pick(&encoded.detach(), &inputs.predicted)?)?;
        let losses = pass.predict(&picked)?;
        let mut head = losses.sum.backward()?;
        let of_picked = taken(&mut head, &picked)?;
        let of_encoded = rows::add_up(&of_picked, &inputs.predicted, inputs.ids.len())?;
        // What is summed has this gradient at `encoded`. Rows first: a sum of all numbers
        // is one block of threads on a GPU.
        let sum = encoded.mul(&of_encoded)?.sum(1)?.sum_all()?;
        let mut body = sum.backward()?;
        let of_embedded = taken(&mut body, &embedded)?;

        let mut gradients = Vec::with_capacity(self.weights.vars.len());
        for (name, var) in self.weights.names.iter().zip(&self.weights.vars) {
            let size = var.dim(0)?;
            let embedding = match name.as_str() {
                "words" => Some(rows::add_up(&of_embedded, &inputs.ids, size)?),
                "positions" => Some(rows::add_up(&of_embedded, &inputs.places(), size)?),
                "token_types" => Some(first_of(&of_embedded, size)?),
                _ => None,
            };
            let parts = [head.remove(var), body.remove(var), embedding];
            let mut sum = None;
            for part in parts.into_iter().flatten() {
                add(&mut sum, &part)?;
            }
            gradients.push(sum);
        }
        Ok((losses, gradients))
    }

    fn evaluate(&self, inputs: &Inputs) -> candle_core::Result<Losses> {
        let pass = self.pass(inputs, false);
        let encoded = pass.encode(&self.embed(inputs)?)?;
        pass.predict(&rows::pick(&encoded, &inputs.predicted)?)
    }

    fn pass<'a>(&'a self, inputs: &'a Inputs, tracked: bool) -> Pass<'a> {
        Pass {
            shape: &self.shape,
            weights: match tracked {
                true => self.weights.tracked(),
                false => self.weights.untracked(),
            },
            inputs,
            drops: None,
            angles: self.angles.as_ref(),
            active: self.active,
            device: &self.device,
        }
    }

    /// The sum of the embeddings, `rows · length × hidden`, untracked.
    fn embed(&self, inputs: &Inputs) -> candle_core::Result<Tensor> {
        let weights = self.weights.untracked();
        let mut sum = rows::pick(&weights["words"], &inputs.ids)?;
        if let Some(positions) = weights.get("positions") {
            sum = (sum + rows::pick(positions, &inputs.places())?)?;
        }
        if let Some(types) = weights.get("token_types") {
            sum = sum.broadcast_add(&types.narrow(0, 0, 1)?)?;
        }
        Ok(sum)
    }
}

/// The gradient of a leaf, without what it was computed from.
fn taken(store: &mut candle_core::backprop::GradStore, leaf: &Var) -> candle_core::Result<Tensor> {
    match store.remove(leaf) {
        Some(gradient) => Ok(gradient.detach()),
        None => leaf.zeros_like(),
    }
}

/// The sum of all `rows`, and zeros, `size` rows.
fn first_of(rows: &Tensor, size: usize) -> candle_core::Result<Tensor> {
    let ones = Tensor::ones((1, rows.dim(0)?), rows.dtype(), rows.device())?;
    ones.matmul(rows)?.pad_with_zeros(0, 0, size - 1)
}

/// Adds `part` to `sum`. A gradient that candle gives holds on to the pass that it came
/// from; the sum does not.
fn add(sum: &mut Option<Tensor>, part: &Tensor) -> candle_core::Result<()> {
    let part = part.detach();
    *sum = Some(match sum.take() {
        Some(sum) => (sum + part)?,
        None => part,
    });
    Ok(())
}

/// The engine over a [`Network`].
pub struct OnDevice {
    network: Network,
    moments: Moments,
    /// Of each parameter, once there was a label.
    gradients: Vec<Option<Tensor>>,
    /// As of the last checkpoint.
    model: Model,
    adam: AdamW,
}

impl OnDevice {
    /// Goes on from `model` and `adam` on `device`.
    pub fn new(device: Device, precision: Precision, model: Model, adam: AdamW) -> Result<Self> {
        let active = match precision {
            Precision::F32 => DType::F32,
            Precision::Bf16 => DType::BF16,
        };
        let start = || {
            Ok((
                Network::new(&model, device.clone(), active)?,
                Moments {
                    first: weights::upload(&adam.first, &device)?,
                    second: weights::upload(&adam.second, &device)?,
                },
            ))
        };
        let (network, moments) = start().map_err(failed)?;
        Ok(Self {
            gradients: vec![None; network.weights.vars.len()],
            network,
            moments,
            model,
            adam,
        })
    }

    fn inputs(&self, batch: &Batch) -> Result<Inputs> {
        Inputs::new(batch, &self.model.shape, self.model.vocabulary())
    }

    /// All gradients; zero where nothing flowed back.
    fn gradients(&self) -> candle_core::Result<Vec<Tensor>> {
        let vars = self.gradients.iter().zip(&self.network.weights.vars);
        vars.map(|(gradient, var)| match gradient {
            Some(gradient) => Ok(gradient.clone()),
            None => var.zeros_like(),
        })
        .collect()
    }
}

impl Engine for OnDevice {
    fn backward(&mut self, batch: &Batch, noise: Noise) -> Result<Tally> {
        let inputs = self.inputs(batch)?;
        if batch.labels.is_empty() {
            return Ok(unlabelled(batch));
        }
        let mut pass = || {
            let (losses, gradients) = self.network.backward(&inputs, noise)?;
            for (sum, part) in self.gradients.iter_mut().zip(&gradients) {
                if let Some(part) = part {
                    add(sum, part)?;
                }
            }
            tally(batch, &losses)
        };
        pass().map_err(failed)
    }

    fn gradient_norm(&self, scale: f64) -> Result<f64> {
        let norm = || adam::norm(&self.gradients()?);
        Ok(scale * norm().map_err(failed)?)
    }

    fn update(
        &mut self,
        config: &OptimizerConfig,
        scale: f64,
        step: u64,
        learning_rate: f64,
    ) -> Result<()> {
        let gradients = self.gradients().map_err(failed)?;
        let weights = &self.network.weights;
        self.moments
            .update(config, weights, &gradients, scale, step, learning_rate)
            .map_err(failed)?;
        self.gradients.fill(None);
        Ok(())
    }

    fn evaluate(&self, batch: &Batch) -> Result<Tally> {
        let inputs = self.inputs(batch)?;
        if batch.labels.is_empty() {
            return Ok(unlabelled(batch));
        }
        let losses = || tally(batch, &self.network.evaluate(&inputs)?);
        losses().map_err(failed)
    }

    fn state(&mut self) -> Result<(&Model, &AdamW)> {
        let parameters = self.network.weights.tensors();
        let mut copy = || {
            weights::download(&parameters, &mut self.model.parameters)?;
            weights::download(&self.moments.first, &mut self.adam.first)?;
            weights::download(&self.moments.second, &mut self.adam.second)
        };
        copy().map_err(failed)?;
        Ok((&self.model, &self.adam))
    }

    fn finish(mut self: Box<Self>) -> Result<Model> {
        self.state()?;
        Ok(self.model)
    }
}

/// What there is to say of `batch` before its losses.
fn unlabelled(batch: &Batch) -> Tally {
    Tally {
        over: over(batch),
        ..Tally::default()
    }
}

/// Copies what came of `batch` from the device, once.
fn tally(batch: &Batch, losses: &Losses) -> candle_core::Result<Tally> {
    let told = losses.told.to_vec1::<f64>()?;
    Ok(Tally {
        loss: told[0],
        labels: batch.labels.len() as u64,
        correct: told[1] as u64,
        ..unlabelled(batch)
    })
}

/// The device called so.
pub fn open(device: config::Device) -> Result<Device> {
    device.check()?;
    match device {
        config::Device::Cpu | config::Device::Reference => Ok(Device::Cpu),
        config::Device::Cuda(number) => Device::new_cuda(number).map_err(|error| {
            Error::resource(
                "train.device",
                format!("{device}, which does not open ({error})"),
                "a GPU of that number, and a driver that knows CUDA 13",
                "see nvidia-smi, or train on the CPU with train.device = \"cpu\"",
            )
        }),
    }
}

/// An error of candle's; of memory with what to do about it.
fn failed(error: candle_core::Error) -> Error {
    let told = error.to_string();
    if told.contains("OUT_OF_MEMORY") {
        return Error::resource(
            "memory of the device",
            "none left",
            "room for the activations of one pass",
            "raise train.accumulation, which splits a step into more passes",
        );
    }
    Error::library("a pass on the device", error)
}

//! The same model in candle's operations, with candle's gradients: for a GPU
//! (`--features cuda`), and on the CPU to check it. In tests it is the oracle of the model
//! by hand, in 64 bits.
//!
//! Memory on the device: 16 bytes a parameter, its casts, and the activations of a pass
//! with every intermediate result; on the host 12 bytes a parameter. Rows are padded, so
//! padding costs here what tokens cost.

mod adam;
mod inputs;
mod network;
mod noise;
mod pass;
mod rows;
mod weights;

pub use inputs::Inputs;
pub use network::Network;

use super::engine::Engine;
use super::model::{Model, Noise, over};
use super::ops::cross_entropy::{Prediction, Tally};
use super::optimizer::AdamW;
use crate::base::error::{Error, Result};
use crate::batches::Batch;
use crate::config::{self, OptimizerConfig, Precision};
use adam::Moments;
use candle_core::{DType, Device, Tensor};
use pass::{Losses, Scored};

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
    pub fn new(
        device: config::Device,
        precision: Precision,
        model: Model,
        adam: AdamW,
    ) -> Result<Self> {
        let device = open(device)?;
        let start = || {
            let network = Network::new(&model, device.clone(), active(precision))?;
            let moments = Moments {
                first: weights::upload(&adam.first, &device)?,
                second: weights::upload(&adam.second, &device)?,
            };
            Ok((network, moments))
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

    /// All gradients; zero where nothing flowed back.
    fn gradients(&self) -> candle_core::Result<Vec<Tensor>> {
        let vars = self.gradients.iter().zip(&self.network.weights.vars);
        vars.map(|(gradient, var)| match gradient {
            Some(gradient) => Ok(gradient.clone()),
            None => var.as_detached_tensor().zeros_like(),
        })
        .collect()
    }
}

impl Engine for OnDevice {
    fn backward(&mut self, batch: &Batch, noise: Noise) -> Result<Tally> {
        let inputs = Inputs::new(batch, &self.model)?;
        if batch.labels.is_empty() {
            return Ok(unlabelled(batch));
        }
        let mut pass = || {
            let (losses, gradients) = self.network.backward(&inputs, noise)?;
            for (sum, part) in self.gradients.iter_mut().zip(&gradients) {
                if let Some(part) = part {
                    network::add(sum, part)?;
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
        self.drop_gradients()
    }

    fn drop_gradients(&mut self) -> Result<()> {
        self.gradients.fill(None);
        Ok(())
    }

    fn evaluate(&self, batch: &Batch) -> Result<Tally> {
        let inputs = Inputs::new(batch, &self.model)?;
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

/// `model` on `device`, to predict with.
pub fn network(model: &Model, device: config::Device, precision: Precision) -> Result<Network> {
    Network::new(model, open(device)?, active(precision)).map_err(failed)
}

/// What `network`, which is `model`, makes of each label of `batch`, without dropout.
pub fn predictions(network: &Network, model: &Model, batch: &Batch) -> Result<Vec<Prediction>> {
    let inputs = Inputs::new(batch, model)?;
    if batch.labels.is_empty() {
        return Ok(Vec::new());
    }
    let told = || {
        let Scored { loss, logit, sum } = network.predict(&inputs)?;
        let told = Tensor::cat(&[loss, logit, sum], 1)?;
        told.to_dtype(DType::F64)?.to_vec2::<f64>()
    };
    let told = told().map_err(failed)?;
    Ok(told
        .iter()
        .map(|of_label| Prediction {
            loss: of_label[0],
            correct: of_label[1] >= 0.0,
            confidence: of_label[2].recip() as f32,
        })
        .collect())
}

/// The numbers that matrices are multiplied in.
fn active(precision: Precision) -> DType {
    match precision {
        Precision::F32 => DType::F32,
        Precision::Bf16 => DType::BF16,
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
fn open(device: config::Device) -> Result<Device> {
    device.check()?;
    match device {
        config::Device::Cpu | config::Device::Reference => Ok(Device::Cpu),
        config::Device::Cuda(number) => Device::new_cuda(number).map_err(|error| {
            Error::resource(
                "device",
                format!("{device}, which does not open ({error})"),
                "a GPU of that number, and a driver that knows CUDA 13",
                "see nvidia-smi, or leave device out to stay on the CPU",
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
            "take fewer rows a pass: raise train.accumulation, or lower evaluate.batch_size",
        );
    }
    Error::library("a pass on the device", error)
}

//! A model that only predicts: by hand on the CPU, where its bits are the same for any number
//! of threads, or in candle's operations on a GPU.

use super::device::{self, Network};
use super::model::Model;
use super::ops::cross_entropy::Prediction;
use crate::base::error::Result;
use crate::batches::Batch;
use crate::config::{Device, Precision};

/// A model, ready to predict.
pub struct Predictor {
    model: Model,
    network: Option<Network>,
}

impl Predictor {
    /// `model` on `device`, with matrices multiplied in `precision`.
    ///
    /// # Errors
    /// A GPU that is not there, or has no room for the model.
    pub fn new(model: Model, device: Device, precision: Precision) -> Result<Self> {
        let network = match device {
            Device::Cpu => None,
            device => Some(device::network(&model, device, precision)?),
        };
        Ok(Self { model, network })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What it makes of each label of `batch`, in their order, without dropout.
    pub fn predictions(&self, batch: &Batch) -> Result<Vec<Prediction>> {
        match &self.network {
            None => self.model.predictions(batch),
            Some(network) => device::predictions(network, &self.model, batch),
        }
    }
}

//! For tests: the model of `device/` on the CPU in 64 bits, with candle's gradients. The
//! passes by hand are held to it.

use super::device::{Inputs, Network};
use super::model::{Model, Noise};
use crate::batches::Batch;
use candle_core::{DType, Device, Result};
use std::collections::HashMap;

/// Summed loss and the gradient of every parameter by name.
pub fn loss_and_gradients(
    model: &Model<f64>,
    batch: &Batch,
    noise: Noise,
) -> Result<(f64, HashMap<String, Vec<f64>>)> {
    let network = Network::new(model, Device::Cpu, DType::F64)?;
    let inputs = Inputs::new(batch, model).unwrap();
    let (losses, found) = network.backward(&inputs, noise)?;
    let mut gradients = HashMap::new();
    for ((name, matrix), gradient) in model.parameters.named().into_iter().zip(found) {
        let gradient = match gradient {
            Some(gradient) => gradient.flatten_all()?.to_vec1()?,
            None => vec![0.0; matrix.len()],
        };
        gradients.insert(name, gradient);
    }
    Ok((losses.told.to_vec1()?[0], gradients))
}

//! Everything shaped like the parameters, as tensors on a device, in their fixed order.

use crate::training::parameters::Parameters;
use crate::training::real::Real;
use candle_core::{Device, Result, Tensor, Var};
use std::collections::HashMap;

/// The parameters, each `rows × cols` as its [`Matrix`](crate::training::matrix::Matrix).
pub struct Weights {
    pub names: Vec<String>,
    pub vars: Vec<Var>,
}

impl Weights {
    /// Copies `parameters` to `device`.
    pub fn new<T: Real>(parameters: &Parameters<T>, device: &Device) -> Result<Self> {
        let names = parameters.named().into_iter().map(|(name, _)| name);
        let tensors = upload(parameters, device)?;
        Ok(Self {
            names: names.collect(),
            vars: tensors
                .iter()
                .map(Var::from_tensor)
                .collect::<Result<_>>()?,
        })
    }

    /// By name, for a pass whose gradients are wanted.
    pub fn tracked(&self) -> HashMap<&str, Tensor> {
        self.named(|var| var.as_tensor().clone())
    }

    /// By name, for a pass that keeps nothing.
    pub fn untracked(&self) -> HashMap<&str, Tensor> {
        self.named(Var::as_detached_tensor)
    }

    /// The parameters, to be copied from the device.
    pub fn tensors(&self) -> Vec<Tensor> {
        self.vars.iter().map(Var::as_detached_tensor).collect()
    }

    fn named(&self, tensor: impl Fn(&Var) -> Tensor) -> HashMap<&str, Tensor> {
        let vars = self.names.iter().zip(&self.vars);
        vars.map(|(name, var)| (name.as_str(), tensor(var)))
            .collect()
    }
}

/// Copies `parameters` to `device`.
pub fn upload<T: Real>(parameters: &Parameters<T>, device: &Device) -> Result<Vec<Tensor>> {
    let named = parameters.named().into_iter();
    named
        .map(|(_, matrix)| Tensor::from_slice(matrix, (matrix.rows(), matrix.cols()), device))
        .collect()
}

/// Copies `tensors` from their device into `parameters`.
pub fn download(tensors: &[Tensor], parameters: &mut Parameters<f32>) -> Result<()> {
    for ((_, matrix), tensor) in parameters.named_mut().into_iter().zip(tensors) {
        matrix.copy_from_slice(&tensor.flatten_all()?.to_vec1::<f32>()?);
    }
    Ok(())
}

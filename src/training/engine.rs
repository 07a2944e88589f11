//! What the training loop asks of whatever holds the model: passes that add up
//! gradients, a step, an evaluation, and the parameters for a file. The loop is one;
//! [`ByHand`] is the model over plain buffers on the CPU, `device/` the same model in
//! candle's operations.

use super::device::OnDevice;
use super::matrix::Matrix;
use super::model::{Model, Noise};
use super::ops::cross_entropy::Tally;
use super::optimizer::{self, AdamW};
use super::parameters::Parameters;
use crate::base::error::Result;
use crate::batches::Batch;
use crate::config::{Device, OptimizerConfig, TrainConfig};

/// A model in training, with its gradients and the moments of AdamW.
pub trait Engine {
    /// Adds the gradient of the *summed* loss over the labels of `batch` to the
    /// gradients, and gives the loss. Refuses a batch that the model has no room for.
    fn backward(&mut self, batch: &Batch, noise: Noise) -> Result<Tally>;

    /// Norm of all gradients together, each multiplied by `scale`.
    fn gradient_norm(&self, scale: f64) -> Result<f64>;

    /// One update of all parameters by `gradients · scale`, the `step`-th (from 0); the
    /// gradients are zero after. Needs a pass with labels before it.
    fn update(
        &mut self,
        config: &OptimizerConfig,
        scale: f64,
        step: u64,
        learning_rate: f64,
    ) -> Result<()>;

    /// Makes the gradients zero without an update: of a step that is passed over, or given
    /// up between its passes.
    fn drop_gradients(&mut self) -> Result<()>;

    /// Loss and accuracy on `batch`, without dropout.
    fn evaluate(&self, batch: &Batch) -> Result<Tally>;

    /// Parameters and moments as they are now, for a checkpoint.
    fn state(&mut self) -> Result<(&Model, &AdamW)>;

    /// The trained model.
    fn finish(self: Box<Self>) -> Result<Model>;
}

/// The engine that `config` asks for, to go on from `model` and `moments`.
///
/// # Errors
/// A GPU that is not there, or has no room for the model.
pub fn engine(config: &TrainConfig, model: Model, moments: AdamW) -> Result<Box<dyn Engine>> {
    if config.device == Device::Cpu {
        return Ok(Box::new(ByHand::new(model, moments)));
    }
    let engine = OnDevice::new(config.device, config.precision, model, moments)?;
    Ok(Box::new(engine))
}

/// The model by hand, on the CPU: the same bits for any number of threads.
pub struct ByHand {
    model: Model,
    moments: AdamW,
    gradients: Parameters<f32>,
}

impl ByHand {
    /// Goes on from `model` and `moments`.
    pub fn new(model: Model, moments: AdamW) -> Self {
        let gradients = model.parameters.map(|_| Matrix::empty());
        Self {
            model,
            moments,
            gradients,
        }
    }
}

impl Engine for ByHand {
    fn backward(&mut self, batch: &Batch, noise: Noise) -> Result<Tally> {
        self.model.backward(batch, noise, &mut self.gradients)
    }

    fn gradient_norm(&self, scale: f64) -> Result<f64> {
        Ok(optimizer::norm(&self.gradients, scale))
    }

    fn update(
        &mut self,
        config: &OptimizerConfig,
        scale: f64,
        step: u64,
        learning_rate: f64,
    ) -> Result<()> {
        let parameters = &mut self.model.parameters;
        let gradients = &self.gradients;
        self.moments
            .update(config, parameters, gradients, scale, step, learning_rate);
        self.drop_gradients()
    }

    fn drop_gradients(&mut self) -> Result<()> {
        for (_, gradient) in self.gradients.named_mut() {
            *gradient = Matrix::empty();
        }
        Ok(())
    }

    fn evaluate(&self, batch: &Batch) -> Result<Tally> {
        self.model.evaluate(batch)
    }

    fn state(&mut self) -> Result<(&Model, &AdamW)> {
        Ok((&self.model, &self.moments))
    }

    fn finish(self: Box<Self>) -> Result<Model> {
        Ok(self.model)
    }
}

//! AdamW's update of `optimizer.rs`, in operations on tensors.

use super::weights::Weights;
use crate::config::OptimizerConfig;
use candle_core::{DType, Result, Tensor};

/// The two moments of every parameter.
pub struct Moments {
    pub first: Vec<Tensor>,
    pub second: Vec<Tensor>,
}

impl Moments {
    /// One update of `weights` by `gradients · scale`, the `step`-th (from 0).
    pub fn update(
        &mut self,
        config: &OptimizerConfig,
        weights: &Weights,
        gradients: &[Tensor],
        scale: f64,
        step: u64,
        learning_rate: f64,
    ) -> Result<()> {
        let power = step as f64 + 1.0;
        let (beta1, beta2) = (config.beta1, config.beta2);
        let corrected = 1.0 - beta1.powf(power);
        let correction = 1.0 / (1.0 - beta2.powf(power));
        let named = weights.names.iter().zip(&weights.vars);
        let moments = self.first.iter_mut().zip(&mut self.second);
        for (((name, var), gradient), (first, second)) in named.zip(gradients).zip(moments) {
            let (decay, factor) = config.of_parameter(name);
            let kept = 1.0 - factor * learning_rate * decay;
            let rate = factor * learning_rate / corrected;
            let gradient = (gradient * scale)?;
            *first = ((&*first * beta1)? + (&gradient * (1.0 - beta1))?)?;
            *second = ((&*second * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
            let size = ((&*second * correction)?.sqrt()? + config.epsilon)?;
            let moved = ((&*first * rate)? / size)?;
            var.set(&((var.as_detached_tensor() * kept)? - moved)?)?;
        }
        Ok(())
    }
}

/// Norm of all `gradients` together: squares are added a row at a time, rows in 64 bits.
pub fn norm(gradients: &[Tensor]) -> Result<f64> {
    let squares = |gradient: &Tensor| gradient.sqr()?.sum(1)?.to_dtype(DType::F64)?.sum_all();
    let squares = gradients.iter().map(squares).collect::<Result<Vec<_>>>()?;
    let sum: f64 = Tensor::stack(&squares, 0)?.sum_all()?.to_scalar()?;
    Ok(sum.sqrt())
}

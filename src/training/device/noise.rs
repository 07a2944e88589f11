//! Dropout on a device. On the CPU it is that of the model by hand, number for number;
//! a GPU draws its own, seeded by (seed, step, row), so that a resumed run draws the
//! same again: masks made here would have to cross the bus, length² numbers a head.

use super::inputs::Standing;
use crate::base::generator::{Key, Purpose};
use crate::training::model::Noise;
use crate::training::ops::dropout::Dropout;
use candle_core::{Device, Result, Tensor};

/// The dropout of one pass.
pub struct Drops<'a> {
    noise: Noise,
    device: &'a Device,
}

impl<'a> Drops<'a> {
    /// Seeds the generator of `device`, where it has one that can be.
    pub fn new(noise: Noise, device: &'a Device) -> Result<Self> {
        if !device.is_cpu() {
            let key = Key {
                seed: noise.seed,
                epoch: noise.first_row,
                sample: noise.step,
                copy: 0,
            };
            device.set_seed(key.generator(Purpose::Dropout).next_u64())?;
        }
        Ok(Self { noise, device })
    }

    /// `x`, whose rows are those of `tokens`, dropped at `rate`.
    pub fn rows(
        &self,
        x: &Tensor,
        site: u32,
        rate: f64,
        standing: &Standing,
        tokens: &[u32],
    ) -> Result<Tensor> {
        let width = x.dim(1)? as u32;
        self.drop(x, site, rate, |dropout, mask| {
            for &token in tokens {
                let row = dropout.row::<f64>(self.key(standing, token as usize));
                mask.extend((0..width).map(|column| row.factor(column)));
            }
        })
    }

    /// Attention weights, `rows × heads × length × length`, dropped at `rate`. Keys go
    /// by their numbers in their runs.
    pub fn attention(
        &self,
        weights: &Tensor,
        site: u32,
        rate: f64,
        standing: &Standing,
    ) -> Result<Tensor> {
        let (heads, length) = (weights.dim(1)? as u64, standing.length);
        self.drop(weights, site, rate, |dropout, mask| {
            for first in (0..standing.tokens.len()).step_by(length) {
                for head in 1..=heads {
                    for query in first..first + length {
                        let row = dropout.row::<f64>(self.key(standing, query) ^ head << 48);
                        let keys = standing.tokens[first..first + length].iter();
                        let numbers = keys.map(|key| key.map_or(0, |key| key.number));
                        mask.extend(numbers.map(|number| row.factor(number)));
                    }
                }
            }
        })
    }

    /// Name of a token: row of the step, then place in the row as it was.
    fn key(&self, standing: &Standing, token: usize) -> u64 {
        let row = (token / standing.length) as u64;
        let place = standing.tokens[token].map_or(0, |here| here.place_in_row);
        (self.noise.first_row + row) << 24 | u64::from(place)
    }

    fn drop(
        &self,
        x: &Tensor,
        site: u32,
        rate: f64,
        fill: impl Fn(Dropout, &mut Vec<f64>),
    ) -> Result<Tensor> {
        let Some(dropout) = Dropout::new(rate, self.noise.seed, self.noise.step, site) else {
            return Ok(x.clone());
        };
        let mask = match self.device.is_cpu() {
            true => {
                let mut mask = Vec::with_capacity(x.elem_count());
                fill(dropout, &mut mask);
                Tensor::from_vec(mask, x.shape(), self.device)?
            }
            false => {
                let drawn = Tensor::rand(0f32, 1f32, x.shape(), self.device)?;
                let scale = if rate < 1.0 { 1.0 / (1.0 - rate) } else { 0.0 };
                drawn.ge(rate)?.to_dtype(x.dtype())?.affine(scale, 0.0)?
            }
        };
        x.mul(&mask.to_dtype(x.dtype())?)
    }
}

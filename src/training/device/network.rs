//! A pass through the whole model and back.

use super::inputs::{Inputs, Standing};
use super::noise::Drops;
use super::pass::{Angles, Losses, Pass, Scored, Stack};
use super::rows;
use super::weights::Weights;
use crate::config::ModelShape;
use crate::training::model::{Model, Noise};
use crate::training::real::Real;
use candle_core::{DType, Device, Result, Tensor, Var};

/// A model on a device, with its parameters in their own kind of numbers and its
/// products in another.
pub struct Network {
    shape: ModelShape,
    pub(super) weights: Weights,
    /// Rotary angles of the encoder, and of the decoder.
    angles: [Option<[Angles; 2]>; 2],
    active: DType,
    device: Device,
}

impl Network {
    /// Copies `model` to `device`, to multiply matrices of `active`.
    pub fn new<T: Real>(model: &Model<T>, device: Device, active: DType) -> Result<Self> {
        let shape = model.shape.clone();
        let decoder = shape.decoder.unwrap_or(shape.encoder());
        let angles = |sizes| Angles::of(&shape, sizes, T::DTYPE, &device);
        Ok(Self {
            weights: Weights::new(&model.parameters, &device)?,
            angles: [angles(shape.encoder())?, angles(decoder)?],
            shape,
            active,
            device,
        })
    }

    /// Losses of `inputs`, and their gradient for every parameter that has one, in the
    /// order of the parameters. The way is cut where rows are picked: what is picked is a
    /// leaf, and its gradient is handed on to the part before it.
    pub fn backward(&self, inputs: &Inputs, noise: Noise) -> Result<(Losses, Vec<Option<Tensor>>)> {
        let mut gradients = Gradients::new(&self.weights);
        let pass = self.pass(true, Some(Drops::new(noise, &self.device)?));
        let encoder = self.encoder(&pass, inputs)?;
        let embedded = Var::from_tensor(&self.embed(inputs)?)?;
        let mut out = encoder.up_to_last(encoder.embedded(&embedded)?)?;
        let decoder = self.decoder(&pass, inputs)?;
        let mut bridge = None;
        if let Some((decoder, standing)) = &decoder {
            let entered = enter(&pass, &encoder.last(&out, None)?)?;
            let begun = self.begin_decoder(inputs, standing, &entered.detach())?;
            let begun = Var::from_tensor(&begun)?;
            out = decoder.up_to_last(begun.as_tensor().clone())?;
            bridge = Some((entered, begun, *standing));
        }
        let last = decoder.as_ref().map_or(&encoder, |(decoder, _)| decoder);
        let picked = Var::from_tensor(&rows::pick(&out.detach(), &inputs.predicted)?)?;
        let x = last.last(&picked, Some(&inputs.predicted))?;
        let losses = pass.head(&x, &inputs.labels, &inputs.weights)?;

        let of_picked = gradients.flow(&losses.sum, &picked)?;
        let mut of_out = rows::add_up(&of_picked, &inputs.predicted, out.dim(0)?)?;
        if let Some((entered, begun, standing)) = bridge {
            let of_begun = gradients.flow(&weighed(&out, &of_out)?, &begun)?;
            of_out = gradients.leave_decoder(inputs, standing, &of_begun)?;
            out = entered;
        }
        let of_embedded = gradients.flow(&weighed(&out, &of_out)?, &embedded)?;
        gradients.leave_encoder(inputs, &of_embedded)?;
        Ok((losses, gradients.sums))
    }

    /// Losses of `inputs`, without dropout.
    pub fn evaluate(&self, inputs: &Inputs) -> Result<Losses> {
        let pass = self.pass(false, None);
        let x = self.before_head(&pass, inputs)?;
        pass.head(&x, &inputs.labels, &inputs.weights)
    }

    /// What comes of each label of `inputs`, without dropout.
    pub fn predict(&self, inputs: &Inputs) -> Result<Scored> {
        let pass = self.pass(false, None);
        pass.scored(&self.before_head(&pass, inputs)?, &inputs.labels)
    }

    /// What leaves the last layer, a row a label.
    fn before_head(&self, pass: &Pass<'_>, inputs: &Inputs) -> Result<Tensor> {
        let encoder = self.encoder(pass, inputs)?;
        let mut out = encoder.up_to_last(encoder.embedded(&self.embed(inputs)?)?)?;
        let decoder = self.decoder(pass, inputs)?;
        if let Some((decoder, standing)) = &decoder {
            let entered = enter(pass, &encoder.last(&out, None)?)?;
            out = decoder.up_to_last(self.begin_decoder(inputs, standing, &entered)?)?;
        }
        let last = decoder.as_ref().map_or(&encoder, |(decoder, _)| decoder);
        let picked = rows::pick(&out, &inputs.predicted)?;
        last.last(&picked, Some(&inputs.predicted))
    }

    fn pass<'a>(&'a self, tracked: bool, drops: Option<Drops<'a>>) -> Pass<'a> {
        Pass {
            shape: &self.shape,
            weights: match tracked {
                true => self.weights.tracked(),
                false => self.weights.untracked(),
            },
            drops,
            active: self.active,
            device: &self.device,
        }
    }

    fn encoder<'a>(&'a self, pass: &'a Pass<'a>, inputs: &'a Inputs) -> Result<Stack<'a>> {
        let sizes = (self.shape.encoder(), self.angles[0].as_ref());
        Stack::new(pass, sizes, "", 0, &inputs.encoder)
    }

    fn decoder<'a>(
        &'a self,
        pass: &'a Pass<'a>,
        inputs: &'a Inputs,
    ) -> Result<Option<(Stack<'a>, &'a Standing)>> {
        let (Some(sizes), Some(standing)) = (self.shape.decoder, &inputs.decoder) else {
            return Ok(None);
        };
        let sizes = (sizes, self.angles[1].as_ref());
        let before = self.shape.layers as usize;
        let stack = Stack::new(pass, sizes, "decoder.", before, standing)?;
        Ok(Some((stack, standing)))
    }

    /// The sum of the embeddings, `rows · length × hidden`, untracked.
    fn embed(&self, inputs: &Inputs) -> Result<Tensor> {
        let weights = self.weights.untracked();
        let mut sum = rows::pick(&weights["words"], &inputs.ids)?;
        if let Some(positions) = weights.get("positions") {
            sum = (sum + rows::pick(positions, &inputs.encoder.places())?)?;
        }
        if let Some(types) = weights.get("token_types") {
            sum = sum.broadcast_add(&types.narrow(0, 0, 1)?)?;
        }
        Ok(sum)
    }

    /// What the decoder begins with, untracked: what the encoder says at kept places, the
    /// mask with its position at the others.
    fn begin_decoder(
        &self,
        inputs: &Inputs,
        standing: &Standing,
        encoded: &Tensor,
    ) -> Result<Tensor> {
        let weights = self.weights.untracked();
        let size = (standing.tokens.len(), encoded.dim(1)?);
        let mut masks = weights["decoder.mask"].broadcast_as(size)?.contiguous()?;
        if let Some(positions) = weights.get("decoder.positions") {
            masks = (masks + rows::pick(positions, &standing.places())?)?;
        }
        let behind = encoded.dim(0)? as u32;
        let mut source: Vec<u32> = (behind..behind + standing.tokens.len() as u32).collect();
        for (token, place) in inputs.kept(standing).into_iter().enumerate() {
            if let Some(place) = place {
                source[place as usize] = token as u32;
            }
        }
        rows::pick(&Tensor::cat(&[encoded, &masks], 0)?, &source)
    }
}

/// From the encoder's width to the decoder's, in the parameters' kind.
fn enter(pass: &Pass<'_>, encoded: &Tensor) -> Result<Tensor> {
    match pass.weights.contains_key("decoder.entry.weight") {
        true => pass
            .linear(encoded, "decoder.entry")?
            .to_dtype(encoded.dtype()),
        false => Ok(encoded.clone()),
    }
}

/// A number whose gradient at `out` is `gradient`. Rows first: a sum of all numbers at
/// once is one block of threads on a GPU.
fn weighed(out: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    out.mul(gradient)?.sum(1)?.sum_all()
}

/// Gradients of one pass, by parameter, as far as there are any.
struct Gradients<'a> {
    weights: &'a Weights,
    sums: Vec<Option<Tensor>>,
}

impl<'a> Gradients<'a> {
    fn new(weights: &'a Weights) -> Self {
        let sums = vec![None; weights.vars.len()];
        Self { weights, sums }
    }

    /// Takes what flows from `value` to the parameters, and gives what flows to `leaf`.
    fn flow(&mut self, value: &Tensor, leaf: &Var) -> Result<Tensor> {
        let mut store = value.backward()?;
        for (sum, var) in self.sums.iter_mut().zip(&self.weights.vars) {
            if let Some(part) = store.remove(var) {
                add(sum, &part)?;
            }
        }
        match store.remove(leaf) {
            Some(gradient) => Ok(gradient.detach()),
            None => leaf.as_detached_tensor().zeros_like(),
        }
    }

    /// From the gradient of what the decoder began with to that of what entered it.
    fn leave_decoder(
        &mut self,
        inputs: &Inputs,
        standing: &Standing,
        of_begun: &Tensor,
    ) -> Result<Tensor> {
        let kept = inputs.kept(standing);
        let mut is_removed: Vec<bool> = standing.tokens.iter().map(Option::is_some).collect();
        for &place in kept.iter().flatten() {
            is_removed[place as usize] = false;
        }
        let removed: Vec<u32> = (0..)
            .zip(is_removed)
            .filter_map(|(token, is_removed)| is_removed.then_some(token))
            .collect();
        if !removed.is_empty() {
            let of_removed = rows::pick(of_begun, &removed)?;
            self.take("decoder.mask", |_| rows::total(&of_removed))?;
            let all = standing.places();
            let places: Vec<u32> = removed.iter().map(|&token| all[token as usize]).collect();
            self.take("decoder.positions", |size| {
                rows::add_up(&of_removed, &places, size)
            })?;
        }
        // Padding of the encoder is none of the decoder's tokens.
        let zero = standing.tokens.len() as u32;
        let source: Vec<u32> = kept.iter().map(|place| place.unwrap_or(zero)).collect();
        rows::pick(&rows::with_zero(of_begun)?, &source)
    }

    /// From the gradient of the sum of the embeddings to theirs.
    fn leave_encoder(&mut self, inputs: &Inputs, of_sum: &Tensor) -> Result<()> {
        let places = inputs.encoder.places();
        self.take("words", |size| rows::add_up(of_sum, &inputs.ids, size))?;
        self.take("positions", |size| rows::add_up(of_sum, &places, size))?;
        self.take("token_types", |size| {
            rows::total(of_sum)?.pad_with_zeros(0, 0, size - 1)
        })
    }

    /// Adds `gradient`, of so many rows, to that of the parameter called `name`, if there
    /// is one.
    fn take(&mut self, name: &str, gradient: impl FnOnce(usize) -> Result<Tensor>) -> Result<()> {
        let Some(index) = self.weights.names.iter().position(|known| known == name) else {
            return Ok(());
        };
        let rows = self.weights.vars[index].dim(0)?;
        add(&mut self.sums[index], &gradient(rows)?)
    }
}

/// Adds `part` to `sum`. A gradient that candle gives holds on to the pass that it came
/// from; the sum does not.
pub(super) fn add(sum: &mut Option<Tensor>, part: &Tensor) -> Result<()> {
    let part = part.detach();
    *sum = Some(match sum.take() {
        Some(sum) => (sum + part)?,
        None => part,
    });
    Ok(())
}

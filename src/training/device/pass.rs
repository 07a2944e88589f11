//! The encoder and its head in candle's composite operations, as plain as can be:
//! padded rows, a full matrix of attention weights. Of candle it uses nothing whose
//! gradient candle cuts (its fused norms and softmax). Matrix products and what feeds
//! them are of the kind `active`; the residual connection, norms, softmax and loss are of
//! the parameters' own kind, as under PyTorch's autocast.

use super::inputs::Inputs;
use super::noise::Drops;
use super::rows::pick;
use crate::config::ModelShape;
use candle_core::{D, DType, Device, Result, Tensor};
use std::collections::HashMap;

/// One pass over one batch.
pub struct Pass<'a> {
    pub shape: &'a ModelShape,
    pub weights: HashMap<&'a str, Tensor>,
    pub inputs: &'a Inputs,
    /// Dropout; none drops nothing.
    pub drops: Option<Drops<'a>>,
    pub angles: Option<&'a [Angles; 2]>,
    pub active: DType,
    pub device: &'a Device,
}

/// Rotary positions: cosine and sine for each place and pair, `places × width / 2`.
pub struct Angles {
    cos: Tensor,
    sin: Tensor,
}

impl Angles {
    /// Of layers that see whole runs, and of local ones; none where positions are learned.
    pub fn of(shape: &ModelShape, kind: DType, device: &Device) -> Result<Option<[Self; 2]>> {
        let Some(rotary) = shape.rotary else {
            return Ok(None);
        };
        let width = (shape.hidden / shape.heads) as usize;
        let angles = |theta| Self::new(shape.positions as usize, width, theta, kind, device);
        let both = [angles(rotary.global_theta)?, angles(rotary.local_theta)?];
        Ok(Some(both))
    }

    fn new(places: usize, width: usize, theta: f64, kind: DType, device: &Device) -> Result<Self> {
        let half = width / 2;
        let table = |of: fn(f64) -> f64| {
            let angle = |place: usize, pair: usize| {
                of(place as f64 / theta.powf(2.0 * pair as f64 / width as f64))
            };
            let all = (0..places * half).map(|index| angle(index / half, index % half));
            Tensor::from_iter(all, &Device::Cpu)?
                .reshape((places, half))?
                .to_dtype(kind)?
                .to_device(device)
        };
        Ok(Self {
            cos: table(f64::cos)?,
            sin: table(f64::sin)?,
        })
    }
}

/// What one kind of layers sees.
struct View {
    /// Added to attention scores; see [`Inputs::hidden`].
    hidden: Option<Tensor>,
    /// Cosine and sine of every token, `rows × 1 × length × width / 2`.
    angles: Option<[Tensor; 2]>,
}

/// Losses of the predicted tokens.
pub struct Losses {
    /// Their weighted sum, which leads back to every weight.
    pub sum: Tensor,
    /// That sum in 64 bits, and how many labels the model ranks first.
    pub told: Tensor,
}

impl Pass<'_> {
    /// From the sum of the embeddings to the last layer, `rows · length × hidden` both.
    /// Of that layer only attention is done: its feed-forward half is for the predicted
    /// tokens alone.
    pub fn encode(&self, embedded: &Tensor) -> Result<Tensor> {
        let all: Vec<u32> = (0..self.inputs.ids.len() as u32).collect();
        let mut x = self.norm(embedded, "embedding_norm")?;
        x = self.dropout(&x, 0, &all)?;
        let views = self.views()?;
        let last = self.shape.layers as usize - 1;
        for layer in 0..last {
            x = self.attention_half(&x, layer, &views)?;
            x = self.feed_forward_half(&x, layer, &all)?;
        }
        self.attention_half(&x, last, &views)
    }

    /// From the rows of the predicted tokens in `encode`'s output to their losses.
    pub fn predict(&self, x: &Tensor) -> Result<Losses> {
        let last = self.shape.layers as usize - 1;
        let x = self.feed_forward_half(x, last, &self.inputs.predicted)?;
        let x = self.maybe_norm(&x, "final_norm")?;
        let x = self.gelu(&self.linear(&x, "head")?)?;
        let x = self.norm(&x, "head_norm")?;
        let words = self.weight("words")?;
        let logits = self.exact(&self.active(&x)?.matmul(&words.t()?)?)?;
        let logits = (&logits + self.repeated(&self.weights["head_bias"], &logits)?)?;
        let logits = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
        let labels = &self.inputs.labels;
        let labels = Tensor::from_slice(labels, (labels.len(), 1), self.device)?;
        let logit = logits.gather(&labels, 1)?;
        let mut losses = (logits.exp()?.sum_keepdim(D::Minus1)?.log()? - &logit)?;
        if !self.inputs.weights.is_empty() {
            let weights = &self.inputs.weights;
            let weights = Tensor::from_slice(weights, (weights.len(), 1), self.device)?;
            losses = losses.mul(&weights.to_dtype(losses.dtype())?)?;
        }
        let total = |x: Tensor| x.detach().to_dtype(DType::F64)?.sum_all();
        let correct = total(logit.ge(&logit.zeros_like()?)?)?;
        Ok(Losses {
            sum: losses.sum_all()?,
            told: Tensor::stack(&[total(losses)?, correct], 0)?,
        })
    }

    fn weight(&self, name: &str) -> Result<Tensor> {
        self.active(&self.weights[name])
    }

    fn active(&self, x: &Tensor) -> Result<Tensor> {
        x.to_dtype(self.active)
    }

    fn exact(&self, x: &Tensor) -> Result<Tensor> {
        x.to_dtype(self.weights["words"].dtype())
    }

    /// One row, repeated for all of `x`. By a product, whose gradient is a product that
    /// sums in 32 bits along memory: candle's sum over rows adds in the numbers' own kind,
    /// and reads memory across.
    fn repeated(&self, row: &Tensor, x: &Tensor) -> Result<Tensor> {
        Tensor::ones((x.dim(0)?, 1), row.dtype(), self.device)?.matmul(row)
    }

    fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let weight = self.weight(&format!("{name}.weight"))?;
        let out = self.active(x)?.matmul(&weight.t()?)?;
        match self.weights.contains_key(&*format!("{name}.bias")) {
            true => &out + self.repeated(&self.weight(&format!("{name}.bias"))?, &out)?,
            false => Ok(out),
        }
    }

    /// Comes out of the parameters' kind.
    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let x = self.exact(x)?;
        let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
        let deviation = (variance + self.shape.norm_epsilon)?.sqrt()?;
        let weight = self.repeated(&self.weights[&*format!("{name}.weight")], &x)?;
        let normed = centered.broadcast_div(&deviation)?.mul(&weight)?;
        match self.weights.get(&*format!("{name}.bias")) {
            Some(bias) => &normed + self.repeated(bias, &x)?,
            None => Ok(normed),
        }
    }

    /// A norm that some models, or the first layer of some, lack.
    fn maybe_norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        match self.weights.contains_key(&*format!("{name}.weight")) {
            true => self.norm(x, name),
            false => Ok(x.clone()),
        }
    }

    /// Dropout of the rows of `x`, which are those of `tokens`.
    fn dropout(&self, x: &Tensor, site: u32, tokens: &[u32]) -> Result<Tensor> {
        match &self.drops {
            Some(drops) => drops.hidden(x, site, self.shape.dropout, tokens),
            None => Ok(x.clone()),
        }
    }

    /// Without rounding, candle's `gelu_erf` has a backward of six digits only; of rounded
    /// numbers it is one launch that rounds once.
    fn gelu(&self, x: &Tensor) -> Result<Tensor> {
        if x.dtype() != DType::F64 {
            return x.gelu_erf();
        }
        let cumulative = ((x / 2f64.sqrt())?.erf()? + 1.0)?;
        (x * cumulative)? * 0.5
    }

    /// Of layers that see whole runs, and of local ones.
    fn views(&self) -> Result<[View; 2]> {
        let local = self.shape.rotary.map(|rotary| rotary.local_attention / 2);
        Ok([self.view(0, None)?, self.view(1, local)?])
    }

    fn view(&self, which: usize, reach: Option<u32>) -> Result<View> {
        let kind = self.weights["words"].dtype();
        let angles = match self.angles {
            Some(angles) => {
                let (rows, length) = (self.inputs.rows, self.inputs.length);
                let places = self.inputs.places();
                let of = |table| pick(table, &places)?.reshape((rows, 1, length, ()));
                Some([of(&angles[which].cos)?, of(&angles[which].sin)?])
            }
            None => None,
        };
        Ok(View {
            hidden: self.inputs.hidden(reach, kind, self.device)?,
            angles,
        })
    }

    /// Queries or keys, `rows × heads × length × width`, turned by their places: as
    /// complex numbers multiplied by e^(i · angle).
    fn turned(&self, x: Tensor, angles: &[Tensor; 2]) -> Result<Tensor> {
        let half = x.dim(3)? / 2;
        let wide = self.exact(&x)?;
        let (real, imaginary) = (wide.narrow(3, 0, half)?, wide.narrow(3, half, half)?);
        let [cos, sin] = angles;
        let turned = Tensor::cat(
            &[
                (real.broadcast_mul(cos)? - imaginary.broadcast_mul(sin)?)?,
                (real.broadcast_mul(sin)? + imaginary.broadcast_mul(cos)?)?,
            ],
            3,
        )?;
        turned.to_dtype(x.dtype())
    }

    fn attention(&self, x: &Tensor, layer: usize, views: &[View; 2]) -> Result<Tensor> {
        let (rows, length) = (self.inputs.rows, self.inputs.length);
        let (size, heads) = (self.shape.hidden as usize, self.shape.heads as usize);
        let width = size / heads;
        let view = &views[usize::from(self.shape.is_local(layer))];
        let name = format!("layers.{layer}.qkv");
        let weight = self.weight(&format!("{name}.weight"))?;
        let bias = self.weights.get(&*format!("{name}.bias"));
        let x = self.active(x)?;
        // Three products: cut out of one, each would have a gradient as wide as all.
        let part = |which: usize| {
            let out = x.matmul(&weight.narrow(0, which * size, size)?.t()?)?;
            let out = match bias {
                Some(bias) => {
                    let bias = self.active(&bias.narrow(1, which * size, size)?)?;
                    (&out + self.repeated(&bias, &out)?)?
                }
                None => out,
            };
            let heads = out.reshape((rows, length, heads, width))?;
            heads.transpose(1, 2)?.contiguous()
        };
        let (mut queries, mut keys, values) = (part(0)?, part(1)?, part(2)?);
        if let Some(angles) = &view.angles {
            queries = self.turned(queries, angles)?;
            keys = self.turned(keys, angles)?;
        }
        let queries = (queries / (width as f64).sqrt())?;
        let mut scores = self.exact(&queries.matmul(&keys.t()?)?)?;
        if let Some(hidden) = &view.hidden {
            scores = scores.broadcast_add(hidden)?;
        }
        let scores = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?;
        let weights = scores.exp()?;
        let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
        let mut weights = self.active(&weights)?;
        if let Some(drops) = &self.drops {
            let rate = self.shape.attention_dropout;
            weights = drops.attention(&weights, 3 * layer as u32 + 1, rate)?;
        }
        let context = weights.matmul(&values)?.transpose(1, 2)?.contiguous()?;
        context.reshape((rows * length, size))
    }

    /// A layer's attention with its residual connection, and its norm before (pre) or
    /// after (post).
    fn attention_half(&self, x: &Tensor, layer: usize, views: &[View; 2]) -> Result<Tensor> {
        let norm = format!("layers.{layer}.attention_norm");
        let all: Vec<u32> = (0..self.inputs.ids.len() as u32).collect();
        let branch = |x: &Tensor| {
            let context = self.attention(x, layer, views)?;
            let out = self.linear(&context, &format!("layers.{layer}.attention_out"))?;
            self.exact(&self.dropout(&out, 3 * layer as u32 + 2, &all)?)
        };
        match self.shape.architecture.norms_first() {
            true => x + branch(&self.maybe_norm(x, &norm)?)?,
            false => self.norm(&(x + branch(x)?)?, &norm),
        }
    }

    /// The same of the feed-forward layer, on the rows `tokens`.
    fn feed_forward_half(&self, x: &Tensor, layer: usize, tokens: &[u32]) -> Result<Tensor> {
        let norm = format!("layers.{layer}.feed_forward_norm");
        let wide = self.shape.feed_forward as usize;
        let branch = |x: &Tensor| {
            let up = self.linear(x, &format!("layers.{layer}.up"))?;
            let activated = match up.dim(1)? > wide {
                true => self
                    .gelu(&up.narrow(1, 0, wide)?.contiguous()?)?
                    .mul(&up.narrow(1, wide, wide)?)?,
                false => self.gelu(&up)?,
            };
            let out = self.linear(&activated, &format!("layers.{layer}.down"))?;
            self.exact(&self.dropout(&out, 3 * layer as u32 + 3, tokens)?)
        };
        match self.shape.architecture.norms_first() {
            true => x + branch(&self.norm(x, &norm)?)?,
            false => self.norm(&(x + branch(x)?)?, &norm),
        }
    }
}

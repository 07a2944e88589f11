//! For tests: the same model from candle's composite operations and its automatic
//! gradients, in f64 and as plain as can be (padded rows, a full matrix of attention
//! weights, the last layer on all tokens). The fast passes are held to it. Of
//! candle-nn it uses nothing whose gradient candle cuts.

use super::model::{Model, Noise};
use super::ops::dropout::Dropout;
use crate::batches::Batch;
use candle_core::{D, Device, Result, Tensor, Var};
use std::collections::HashMap;

pub struct Oracle<'a> {
    model: &'a Model<f64>,
    batch: &'a Batch,
    noise: Noise,
    vars: HashMap<String, Var>,
    /// Attention run and place in it, of each of `rows · length` tokens; none of padding.
    runs: Vec<Option<(u32, u32)>>,
}

/// Summed loss and the gradient of every parameter by name.
pub fn loss_and_gradients(
    model: &Model<f64>,
    batch: &Batch,
    noise: Noise,
) -> Result<(f64, HashMap<String, Vec<f64>>)> {
    let mut vars = HashMap::new();
    for (name, matrix) in model.parameters.named() {
        let shape = (matrix.rows(), matrix.cols());
        let tensor = Tensor::from_slice(matrix, shape, &Device::Cpu)?;
        vars.insert(name, Var::from_tensor(&tensor)?);
    }
    let oracle = Oracle {
        model,
        batch,
        noise,
        vars,
        runs: runs(batch),
    };
    let loss = oracle.loss()?;
    let store = loss.backward()?;
    let mut gradients = HashMap::new();
    for (name, var) in &oracle.vars {
        let gradient = match store.get(var) {
            Some(gradient) => gradient.flatten_all()?.to_vec1()?,
            None => vec![0.0; var.elem_count()],
        };
        gradients.insert(name.clone(), gradient);
    }
    Ok((loss.to_scalar()?, gradients))
}

fn runs(batch: &Batch) -> Vec<Option<(u32, u32)>> {
    let mut runs = Vec::new();
    let (mut token, mut run) = (0, 0);
    for &length in &batch.lengths {
        for place in 0..batch.length as u32 {
            runs.push((place < length).then(|| {
                run += usize::from(token == batch.cu_seqlens[run + 1]);
                token += 1;
                (run as u32, token - 1 - batch.cu_seqlens[run])
            }));
        }
    }
    runs
}

impl Oracle<'_> {
    fn var(&self, name: &str) -> &Tensor {
        self.vars[name].as_tensor()
    }

    /// The dropout mask of a site for all tokens, `rows · length × width`. Attention
    /// weights go by the key's place in its run.
    fn mask(&self, site: u32, rate: f64, width: usize, head: Option<usize>) -> Result<Tensor> {
        let (rows, length) = (self.batch.rows, self.batch.length);
        let dropout = Dropout::new(rate, self.noise.seed, self.noise.step, site);
        let mut values = Vec::new();
        for row in 0..rows {
            for place in 0..length {
                let key = (self.noise.first_row + row as u64) << 24 | place as u64;
                let key = key ^ head.map_or(0, |head| (head as u64 + 1) << 48);
                let mask = dropout.map(|dropout| dropout.row::<f64>(key));
                let column = |c: u32| match (head, self.runs[row * length + c as usize % length]) {
                    (Some(_), Some((_, place))) => place,
                    _ => c,
                };
                let factor = |c: u32| mask.map_or(1.0, |mask| mask.factor(column(c)));
                values.extend((0..width as u32).map(factor));
            }
        }
        Tensor::from_vec(values, (rows * length, width), &Device::Cpu)
    }

    fn dropout(&self, x: &Tensor, site: u32) -> Result<Tensor> {
        let rate = self.model.shape.dropout;
        x.mul(&self.mask(site, rate, x.dim(1)?, None)?)
    }

    fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        self.biased(x.matmul(&self.var(&format!("{name}.weight")).t()?)?, name)
    }

    fn biased(&self, x: Tensor, name: &str) -> Result<Tensor> {
        match self.vars.get(&format!("{name}.bias")) {
            Some(bias) => x.broadcast_add(bias.as_tensor()),
            None => Ok(x),
        }
    }

    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
        let deviation = (variance + self.model.shape.norm_epsilon)?.sqrt()?;
        let normed = centered
            .broadcast_div(&deviation)?
            .broadcast_mul(self.var(&format!("{name}.weight")))?;
        self.biased(normed, name)
    }

    /// A norm that the first layer of some models lacks.
    fn maybe_norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        match self.vars.contains_key(&format!("{name}.weight")) {
            true => self.norm(x, name),
            false => Ok(x.clone()),
        }
    }

    /// Queries or keys of a head, `rows × length × width`, turned by their places: as
    /// complex numbers multiplied by e^(i · angle).
    fn turned(&self, x: &Tensor, layer: usize) -> Result<Tensor> {
        let Some(rotary) = self.model.shape.rotary else {
            return Ok(x.clone());
        };
        let (rows, length, width) = x.dims3()?;
        let theta = match self.model.shape.is_local(layer) {
            true => rotary.local_theta,
            false => rotary.global_theta,
        };
        let half = width / 2;
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for run in &self.runs {
            let place = f64::from(run.map_or(0, |run| run.1));
            for pair in 0..half {
                let angle = place / theta.powf(2.0 * pair as f64 / width as f64);
                cos.push(angle.cos());
                sin.push(angle.sin());
            }
        }
        let table = |values| Tensor::from_vec(values, (rows, length, half), &Device::Cpu);
        let (cos, sin) = (table(cos)?, table(sin)?);
        let (real, imaginary) = (x.narrow(2, 0, half)?, x.narrow(2, half, half)?);
        Tensor::cat(
            &[
                (real.mul(&cos)? - imaginary.mul(&sin)?)?,
                (real.mul(&sin)? + imaginary.mul(&cos)?)?,
            ],
            2,
        )
    }

    fn attention(&self, x: &Tensor, layer: usize) -> Result<Tensor> {
        let config = &self.model.shape;
        let (rows, length) = (self.batch.rows, self.batch.length);
        let (hidden, heads) = (config.hidden as usize, config.heads as usize);
        let width = hidden / heads;
        let qkv = self.linear(x, &format!("layers.{layer}.qkv"))?;
        let mut hide = Vec::new();
        for row in self.runs.chunks(length) {
            for query in row {
                let reach = config.rotary.filter(|_| config.is_local(layer));
                let reach = reach.map_or(u32::MAX, |rotary| rotary.local_attention / 2);
                let seen = |key: &Option<(u32, u32)>| match (key, query) {
                    (Some(key), Some(query)) => {
                        key.0 == query.0 && key.1.abs_diff(query.1) <= reach
                    }
                    (None, None) => true,
                    _ => false,
                };
                hide.extend(row.iter().map(|key| if seen(key) { 0.0 } else { -1e30 }));
            }
        }
        let hide = Tensor::from_vec(hide, (rows, length, length), &Device::Cpu)?;
        let mut contexts = Vec::new();
        for head in 0..heads {
            let part = |which: usize| {
                qkv.narrow(1, which * hidden + head * width, width)?
                    .contiguous()?
                    .reshape((rows, length, width))
            };
            let queries = self.turned(&part(0)?, layer)?;
            let keys = self.turned(&part(1)?, layer)?;
            let scores = (queries.matmul(&keys.t()?)? / (width as f64).sqrt())?;
            let scores = scores.broadcast_add(&hide)?;
            let scores = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?;
            let weights = scores.exp()?;
            let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
            let site = 3 * layer as u32 + 1;
            let mask = self.mask(site, config.attention_dropout, length, Some(head))?;
            let weights = weights.mul(&mask.reshape((rows, length, length))?)?;
            contexts.push(weights.matmul(&part(2)?)?.reshape((rows * length, width))?);
        }
        Tensor::cat(&contexts, 1)
    }

    /// candle's `gelu_erf` has a backward with constants of seven digits; `erf` has not.
    fn gelu(&self, x: &Tensor) -> Result<Tensor> {
        let cumulative = ((x / 2f64.sqrt())?.erf()? + 1.0)?;
        (x * cumulative)? * 0.5
    }

    fn feed_forward(&self, x: &Tensor, layer: usize) -> Result<Tensor> {
        let up = self.linear(x, &format!("layers.{layer}.up"))?;
        let wide = self.model.shape.feed_forward as usize;
        let mut activated = self.gelu(&up.narrow(1, 0, wide)?)?;
        if up.dim(1)? > wide {
            activated = activated.mul(&up.narrow(1, wide, wide)?)?;
        }
        self.linear(&activated, &format!("layers.{layer}.down"))
    }

    fn layer(&self, x: &Tensor, layer: usize) -> Result<Tensor> {
        let name = |part| format!("layers.{layer}.{part}");
        let site = 3 * layer as u32;
        let attend = |x: &Tensor| {
            let out = self.linear(&self.attention(x, layer)?, &name("attention_out"))?;
            self.dropout(&out, site + 2)
        };
        let feed_forward = |x: &Tensor| self.dropout(&self.feed_forward(x, layer)?, site + 3);
        if self.model.shape.architecture.norms_first() {
            let x = (x + attend(&self.maybe_norm(x, &name("attention_norm"))?)?)?;
            &x + feed_forward(&self.norm(&x, &name("feed_forward_norm"))?)?
        } else {
            let x = self.norm(&(x + attend(x)?)?, &name("attention_norm"))?;
            self.norm(&(&x + feed_forward(&x)?)?, &name("feed_forward_norm"))
        }
    }

    fn loss(&self) -> Result<Tensor> {
        let index = |ids: Vec<u32>| {
            let n = ids.len();
            Tensor::from_vec(ids, n, &Device::Cpu)
        };
        let places = self.runs.iter().map(|run| run.map_or(0, |run| run.1));
        let places = places.collect();
        let words = self.var("words");
        let mut sum = words.index_select(&index(self.batch.input.clone())?, 0)?;
        if let Some(positions) = self.vars.get("positions") {
            sum = (sum + positions.as_tensor().index_select(&index(places)?, 0)?)?;
        }
        if let Some(types) = self.vars.get("token_types") {
            sum = sum.broadcast_add(&types.as_tensor().narrow(0, 0, 1)?)?;
        }
        let mut x = self.dropout(&self.norm(&sum, "embedding_norm")?, 0)?;
        for layer in 0..self.model.parameters.layers.len() {
            x = self.layer(&x, layer)?;
        }
        x = self.maybe_norm(&x, "final_norm")?;
        let x = x.index_select(&index(self.batch.predicted.clone())?, 0)?;
        let x = self.norm(&self.gelu(&self.linear(&x, "head")?)?, "head_norm")?;
        let logits = x
            .matmul(&words.t()?)?
            .broadcast_add(self.var("head_bias"))?;
        let labels = index(self.batch.labels.clone())?;
        candle_nn::loss::cross_entropy(&logits, &labels)? * self.batch.labels.len() as f64
    }
}

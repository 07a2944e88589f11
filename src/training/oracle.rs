//! For tests: the same model from candle's composite operations and its automatic
//! gradients, in f64 and as plain as can be (padded rows, a full matrix of attention
//! weights, the last layer on all tokens). The fast passes are held to it. Of
//! candle-nn it uses nothing whose gradient candle cuts.

use super::model::{Model, Noise};
use super::ops::dropout::Dropout;
use crate::batches::Batch;
use crate::config::{Layout, StackShape};
use candle_core::{D, Device, Result, Tensor, Var};
use std::collections::HashMap;

pub struct Oracle<'a> {
    model: &'a Model<f64>,
    batch: &'a Batch,
    noise: Noise,
    vars: HashMap<String, Var>,
}

/// The rows that a stack of layers goes through, padded, and the stack.
struct Rows {
    rows: usize,
    length: usize,
    /// Each of `rows · length` tokens; none where there is padding.
    tokens: Vec<Option<Token>>,
    /// In front of the names of layers.
    prefix: &'static str,
    /// Layers before them.
    before: usize,
    sizes: StackShape,
}

#[derive(Clone, Copy)]
struct Token {
    /// Its attention run.
    run: u32,
    /// Its number among the tokens of the run that are there.
    number: u32,
    /// Its place in the run, and in the row, with all tokens of them.
    place: u32,
    place_in_row: u32,
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

/// The rows of the encoder.
fn encoded(batch: &Batch, sizes: StackShape) -> Rows {
    let mut tokens = Vec::new();
    let (mut token, mut run) = (0, 0);
    let removed = batch.layout == Layout::Removed;
    for (row, &length) in batch.lengths.iter().enumerate() {
        for column in 0..batch.length as u32 {
            tokens.push((column < length).then(|| {
                while token == batch.cu_seqlens[run + 1] {
                    run += 1;
                }
                token += 1;
                let number = token - 1 - batch.cu_seqlens[run];
                let mut here = Token {
                    run: run as u32,
                    number,
                    place: number,
                    place_in_row: column,
                };
                if removed {
                    here.place_in_row = batch.places[row * batch.length + column as usize];
                    here.place = here.place_in_row - batch.run_starts[run];
                }
                here
            }));
        }
    }
    Rows {
        rows: batch.rows,
        length: batch.length,
        tokens,
        prefix: "",
        before: 0,
        sizes,
    }
}

/// The rows of the decoder: those of a batch of the layout removed, as they were.
fn decoded(batch: &Batch, sizes: StackShape, before: usize) -> Rows {
    let mut tokens = Vec::new();
    let mut run = 0;
    for &length in &batch.row_lengths {
        let mut first = true;
        for place in 0..batch.row_length as u32 {
            tokens.push((place < length).then(|| {
                let next = batch.run_starts.get(run + usize::from(!first));
                if next == Some(&place) && !first {
                    run += 1;
                }
                first = false;
                let number = place - batch.run_starts[run];
                Token {
                    run: run as u32,
                    number,
                    place: number,
                    place_in_row: place,
                }
            }));
        }
        run += 1;
    }
    Rows {
        rows: batch.rows,
        length: batch.row_length,
        tokens,
        prefix: "decoder.",
        before,
        sizes,
    }
}

impl Oracle<'_> {
    fn var(&self, name: &str) -> &Tensor {
        self.vars[name].as_tensor()
    }

    /// The dropout mask of a site for all tokens, `rows · length × width`. Attention
    /// weights go by the key's number in its run.
    fn mask(
        &self,
        rows: &Rows,
        site: u32,
        rate: f64,
        width: usize,
        head: Option<usize>,
    ) -> Result<Tensor> {
        let length = rows.length;
        let dropout = Dropout::new(rate, self.noise.seed, self.noise.step, site);
        let mut values = Vec::new();
        for row in 0..rows.rows {
            for column in 0..length {
                let place = rows.tokens[row * length + column].map_or(0, |t| t.place_in_row);
                let key = (self.noise.first_row + row as u64) << 24 | u64::from(place);
                let key = key ^ head.map_or(0, |head| (head as u64 + 1) << 48);
                let mask = dropout.map(|dropout| dropout.row::<f64>(key));
                let column = |c: u32| match (head, rows.tokens[row * length + c as usize % length])
                {
                    (Some(_), Some(key)) => key.number,
                    _ => c,
                };
                let factor = |c: u32| mask.map_or(1.0, |mask| mask.factor(column(c)));
                values.extend((0..width as u32).map(factor));
            }
        }
        Tensor::from_vec(values, (rows.rows * length, width), &Device::Cpu)
    }

    fn dropout(&self, rows: &Rows, x: &Tensor, site: u32) -> Result<Tensor> {
        let rate = self.model.shape.dropout;
        x.mul(&self.mask(rows, site, rate, x.dim(1)?, None)?)
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
    fn turned(&self, of: &Rows, x: &Tensor, layer: usize) -> Result<Tensor> {
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
        for token in &of.tokens {
            let place = f64::from(token.map_or(0, |token| token.place));
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

    fn attention(&self, of: &Rows, x: &Tensor, layer: usize) -> Result<Tensor> {
        let config = &self.model.shape;
        let (rows, length) = (of.rows, of.length);
        let (hidden, heads) = (of.sizes.hidden as usize, of.sizes.heads as usize);
        let width = hidden / heads;
        let qkv = self.linear(x, &format!("{}layers.{layer}.qkv", of.prefix))?;
        let mut hide = Vec::new();
        for row in of.tokens.chunks(length) {
            for query in row {
                let reach = config.rotary.filter(|_| config.is_local(layer));
                let reach = reach.map_or(u32::MAX, |rotary| rotary.local_attention / 2);
                let seen = |key: &Option<Token>| match (key, query) {
                    (Some(key), Some(query)) => {
                        key.run == query.run && key.place.abs_diff(query.place) <= reach
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
            let queries = self.turned(of, &part(0)?, layer)?;
            let keys = self.turned(of, &part(1)?, layer)?;
            let scores = (queries.matmul(&keys.t()?)? / (width as f64).sqrt())?;
            let scores = scores.broadcast_add(&hide)?;
            let scores = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?;
            let weights = scores.exp()?;
            let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
            let site = 3 * (of.before + layer) as u32 + 1;
            let mask = self.mask(of, site, config.attention_dropout, length, Some(head))?;
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

    fn feed_forward(&self, of: &Rows, x: &Tensor, layer: usize) -> Result<Tensor> {
        let up = self.linear(x, &format!("{}layers.{layer}.up", of.prefix))?;
        let wide = of.sizes.feed_forward as usize;
        let mut activated = self.gelu(&up.narrow(1, 0, wide)?)?;
        if up.dim(1)? > wide {
            activated = activated.mul(&up.narrow(1, wide, wide)?)?;
        }
        self.linear(&activated, &format!("{}layers.{layer}.down", of.prefix))
    }

    fn layer(&self, of: &Rows, x: &Tensor, layer: usize) -> Result<Tensor> {
        let name = |part| format!("{}layers.{layer}.{part}", of.prefix);
        let site = 3 * (of.before + layer) as u32;
        let attend = |x: &Tensor| {
            let out = self.linear(&self.attention(of, x, layer)?, &name("attention_out"))?;
            self.dropout(of, &out, site + 2)
        };
        let feed_forward =
            |x: &Tensor| self.dropout(of, &self.feed_forward(of, x, layer)?, site + 3);
        if self.model.shape.architecture.norms_first() {
            let x = (x + attend(&self.maybe_norm(x, &name("attention_norm"))?)?)?;
            &x + feed_forward(&self.norm(&x, &name("feed_forward_norm"))?)?
        } else {
            let x = self.norm(&(x + attend(x)?)?, &name("attention_norm"))?;
            self.norm(&(&x + feed_forward(&x)?)?, &name("feed_forward_norm"))
        }
    }

    fn loss(&self) -> Result<Tensor> {
        let (shape, batch) = (&self.model.shape, self.batch);
        let rows = encoded(batch, shape.encoder());
        let places = |rows: &Rows| {
            let places = rows.tokens.iter().map(|token| token.map_or(0, |t| t.place));
            index(places.collect())
        };
        let words = self.var("words");
        let mut sum = words.index_select(&index(batch.input.clone())?, 0)?;
        if let Some(positions) = self.vars.get("positions") {
            sum = (sum + positions.as_tensor().index_select(&places(&rows)?, 0)?)?;
        }
        if let Some(types) = self.vars.get("token_types") {
            sum = sum.broadcast_add(&types.as_tensor().narrow(0, 0, 1)?)?;
        }
        let mut x = self.dropout(&rows, &self.norm(&sum, "embedding_norm")?, 0)?;
        for layer in 0..shape.layers as usize {
            x = self.layer(&rows, &x, layer)?;
        }
        x = self.maybe_norm(&x, "final_norm")?;
        if let Some(sizes) = shape.decoder {
            let whole = decoded(batch, sizes, shape.layers as usize);
            x = self.decoder_input(&x, &rows, &whole, &places(&whole)?)?;
            for layer in 0..sizes.layers as usize {
                x = self.layer(&whole, &x, layer)?;
            }
            x = self.maybe_norm(&x, "decoder.final_norm")?;
        }
        let x = x.index_select(&index(batch.predicted.clone())?, 0)?;
        let x = self.norm(&self.gelu(&self.linear(&x, "head")?)?, "head_norm")?;
        let logits = x
            .matmul(&words.t()?)?
            .broadcast_add(self.var("head_bias"))?;
        let labels = index(batch.labels.clone())?;
        candle_nn::loss::cross_entropy(&logits, &labels)? * batch.labels.len() as f64
    }

    /// What the encoder says at kept places, the mask with its position at the others: each
    /// token picks its row of a table of all of the former and one of the latter a place.
    fn decoder_input(
        &self,
        encoded: &Tensor,
        rows: &Rows,
        whole: &Rows,
        places: &Tensor,
    ) -> Result<Tensor> {
        let encoded = match self.vars.contains_key("decoder.entry.weight") {
            true => self.linear(encoded, "decoder.entry")?,
            false => encoded.clone(),
        };
        let mut masks = self
            .var("decoder.mask")
            .broadcast_as((whole.tokens.len(), whole.sizes.hidden as usize))?
            .contiguous()?;
        if let Some(positions) = self.vars.get("decoder.positions") {
            masks = (masks + positions.as_tensor().index_select(places, 0)?)?;
        }
        let mut picked: Vec<u32> = (0..whole.tokens.len() as u32)
            .map(|token| encoded.dims()[0] as u32 + token)
            .collect();
        for (token, here) in rows.tokens.iter().enumerate() {
            if let Some(here) = here {
                let row = token / rows.length;
                picked[row * whole.length + here.place_in_row as usize] = token as u32;
            }
        }
        Tensor::cat(&[encoded, masks], 0)?.index_select(&index(picked)?, 0)
    }
}

fn index(ids: Vec<u32>) -> Result<Tensor> {
    let n = ids.len();
    Tensor::from_vec(ids, n, &Device::Cpu)
}

//! Layers and head in candle's composite operations, as plain as can be: padded rows, a
//! full matrix of attention weights. Of candle they use nothing whose gradient candle
//! cuts (its fused norms and softmax). Matrix products and what feeds them are of the kind
//! `active`; the residual connection, norms, softmax and loss are of the parameters' own
//! kind, as under PyTorch's autocast.

use super::inputs::Standing;
use super::noise::Drops;
use super::rows::pick;
use crate::config::{ModelShape, StackShape};
use candle_core::{D, DType, Device, Result, Tensor};
use std::collections::HashMap;

/// What all parts of a pass share.
pub struct Pass<'a> {
    pub shape: &'a ModelShape,
    pub weights: HashMap<&'a str, Tensor>,
    /// Dropout; none drops nothing.
    pub drops: Option<Drops<'a>>,
    pub active: DType,
    pub device: &'a Device,
}

/// Losses of the predicted tokens.
pub struct Losses {
    /// Their weighted sum, which leads back to every weight.
    pub sum: Tensor,
    /// That sum in 64 bits, and how many labels the model ranks first.
    pub told: Tensor,
}

/// What comes of each label, `labels × 1`.
pub struct Scored {
    /// −ln p.
    pub loss: Tensor,
    /// Its logit, less the largest.
    pub logit: Tensor,
    /// Sum of the exponentials of all logits, less the largest.
    pub sum: Tensor,
}

impl Pass<'_> {
    /// From what leaves the last layer, a row a label, to the losses.
    pub fn head(&self, x: &Tensor, labels: &[u32], weights: &[f32]) -> Result<Losses> {
        let Scored {
            loss: mut losses,
            logit,
            ..
        } = self.scored(x, labels)?;
        if !weights.is_empty() {
            let weights = Tensor::from_slice(weights, (weights.len(), 1), self.device)?;
            losses = losses.mul(&weights.to_dtype(losses.dtype())?)?;
        }
        let total = |x: &Tensor| x.detach().to_dtype(DType::F64)?.sum_all();
        let correct = total(&logit.ge(&logit.zeros_like()?)?)?;
        Ok(Losses {
            told: Tensor::stack(&[total(&losses)?, correct], 0)?,
            sum: losses.sum_all()?,
        })
    }

    /// From what leaves the last layer, a row a label, to what comes of each.
    pub fn scored(&self, x: &Tensor, labels: &[u32]) -> Result<Scored> {
        let x = self.gelu(&self.linear(x, "head")?)?;
        let x = self.active(&self.norm(&x, "head_norm")?)?;
        let logits = self.exact(&x.matmul(&self.weight("words")?.t()?)?)?;
        let logits = (&logits + self.repeated(&self.weights["head_bias"], &logits)?)?;
        let logits = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
        let labels = Tensor::from_slice(labels, (labels.len(), 1), self.device)?;
        let logit = logits.gather(&labels, 1)?;
        let sum = logits.exp()?.sum_keepdim(D::Minus1)?;
        let loss = (sum.log()? - &logit)?;
        Ok(Scored { loss, logit, sum })
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

    /// In the kind `active`.
    pub fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let weight = self.weight(&format!("{name}.weight"))?;
        let out = self.active(x)?.matmul(&weight.t()?)?;
        match self.weights.contains_key(&*format!("{name}.bias")) {
            true => &out + self.repeated(&self.weight(&format!("{name}.bias"))?, &out)?,
            false => Ok(out),
        }
    }

    /// In the parameters' kind.
    pub fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
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
    pub fn maybe_norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        match self.weights.contains_key(&*format!("{name}.weight")) {
            true => self.norm(x, name),
            false => Ok(x.clone()),
        }
    }

    /// The backward of candle's `gelu_erf`, which is one launch and rounds once, has
    /// constants of six digits: too few in 64 bits.
    fn gelu(&self, x: &Tensor) -> Result<Tensor> {
        if x.dtype() != DType::F64 {
            return x.gelu_erf();
        }
        let cumulative = ((x / 2f64.sqrt())?.erf()? + 1.0)?;
        (x * cumulative)? * 0.5
    }
}

/// Rotary positions: cosine and sine for each place and pair, `places × width / 2`.
pub struct Angles {
    cos: Tensor,
    sin: Tensor,
}

impl Angles {
    /// Of layers that see whole runs, and of local ones; none where positions are learned.
    pub fn of(
        shape: &ModelShape,
        sizes: StackShape,
        kind: DType,
        device: &Device,
    ) -> Result<Option<[Self; 2]>> {
        let Some(rotary) = shape.rotary else {
            return Ok(None);
        };
        let width = (sizes.hidden / sizes.heads) as usize;
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

    /// Those of tokens at `places`, `rows × 1 × length × width / 2`.
    fn at(&self, places: &[u32], standing: &Standing) -> Result<[Tensor; 2]> {
        let size = (standing.rows, 1, standing.length, ());
        Ok([
            pick(&self.cos, places)?.reshape(size)?,
            pick(&self.sin, places)?.reshape(size)?,
        ])
    }
}

/// What one kind of layers sees.
struct View {
    /// Added to attention scores; see [`Standing::hidden`].
    hidden: Option<Tensor>,
    /// Cosine and sine of every token.
    angles: Option<[Tensor; 2]>,
}

/// Layers that follow each other, over the rows of one batch.
pub struct Stack<'a> {
    pass: &'a Pass<'a>,
    sizes: StackShape,
    /// In front of the names of parameters.
    prefix: &'static str,
    /// Layers before them, which dropout sites are counted from.
    before: usize,
    standing: &'a Standing,
    /// All tokens.
    all: Vec<u32>,
    /// What layers that see whole runs see, and local ones.
    views: [View; 2],
}

impl<'a> Stack<'a> {
    /// The layers of `sizes` whose names begin with `prefix`, `before` layers behind the
    /// model's first.
    pub fn new(
        pass: &'a Pass<'a>,
        (sizes, angles): (StackShape, Option<&[Angles; 2]>),
        prefix: &'static str,
        before: usize,
        standing: &'a Standing,
    ) -> Result<Self> {
        let places = standing.places();
        let view = |which: usize, reach: Option<u32>| {
            let kind = pass.weights["words"].dtype();
            let angles = angles.map(|angles| angles[which].at(&places, standing));
            Result::Ok(View {
                hidden: standing.hidden(reach, kind, pass.device)?,
                angles: angles.transpose()?,
            })
        };
        let local = pass.shape.rotary.map(|rotary| rotary.local_attention / 2);
        Ok(Self {
            pass,
            sizes,
            prefix,
            before,
            standing,
            all: (0..places.len() as u32).collect(),
            views: [view(0, None)?, view(1, local)?],
        })
    }

    /// The embeddings with their norm and dropout, from their sum.
    pub fn embedded(&self, sum: &Tensor) -> Result<Tensor> {
        self.dropout(&self.pass.norm(sum, "embedding_norm")?, 0, &self.all)
    }

    /// All layers, of the last one attention alone: its feed-forward half may be for few
    /// tokens only.
    pub fn up_to_last(&self, mut x: Tensor) -> Result<Tensor> {
        let last = self.sizes.layers as usize - 1;
        for layer in 0..last {
            x = self.attention_half(&x, layer)?;
            x = self.feed_forward_half(&x, layer, &self.all)?;
        }
        self.attention_half(&x, last)
    }

    /// The rest of the last layer, and the norm behind it, on the rows `tokens`; on all
    /// without.
    pub fn last(&self, x: &Tensor, tokens: Option<&[u32]>) -> Result<Tensor> {
        let tokens = tokens.unwrap_or(&self.all);
        let x = self.feed_forward_half(x, self.sizes.layers as usize - 1, tokens)?;
        self.pass
            .maybe_norm(&x, &format!("{}final_norm", self.prefix))
    }

    fn name(&self, layer: usize, part: &str) -> String {
        format!("{}layers.{layer}.{part}", self.prefix)
    }

    fn site(&self, layer: usize) -> u32 {
        3 * (self.before + layer) as u32
    }

    /// Dropout of the rows of `x`, which are those of `tokens`.
    fn dropout(&self, x: &Tensor, site: u32, tokens: &[u32]) -> Result<Tensor> {
        let rate = self.pass.shape.dropout;
        match &self.pass.drops {
            Some(drops) => drops.rows(x, site, rate, self.standing, tokens),
            None => Ok(x.clone()),
        }
    }

    /// A layer's attention with its residual connection, and its norm before (pre) or
    /// after (post).
    fn attention_half(&self, x: &Tensor, layer: usize) -> Result<Tensor> {
        let (pass, norm) = (self.pass, self.name(layer, "attention_norm"));
        let branch = |x: &Tensor| {
            let context = self.attention(x, layer)?;
            let out = pass.linear(&context, &self.name(layer, "attention_out"))?;
            pass.exact(&self.dropout(&out, self.site(layer) + 2, &self.all)?)
        };
        match pass.shape.architecture.norms_first() {
            true => x + branch(&pass.maybe_norm(x, &norm)?)?,
            false => pass.norm(&(x + branch(x)?)?, &norm),
        }
    }

    /// The same of the feed-forward layer, on the rows `tokens`.
    fn feed_forward_half(&self, x: &Tensor, layer: usize, tokens: &[u32]) -> Result<Tensor> {
        let (pass, norm) = (self.pass, self.name(layer, "feed_forward_norm"));
        let wide = self.sizes.feed_forward as usize;
        let branch = |x: &Tensor| {
            let up = pass.linear(x, &self.name(layer, "up"))?;
            let activated = match up.dim(1)? > wide {
                true => pass
                    .gelu(&up.narrow(1, 0, wide)?.contiguous()?)?
                    .mul(&up.narrow(1, wide, wide)?)?,
                false => pass.gelu(&up)?,
            };
            let out = pass.linear(&activated, &self.name(layer, "down"))?;
            pass.exact(&self.dropout(&out, self.site(layer) + 3, tokens)?)
        };
        match pass.shape.architecture.norms_first() {
            true => x + branch(&pass.norm(x, &norm)?)?,
            false => pass.norm(&(x + branch(x)?)?, &norm),
        }
    }

    fn attention(&self, x: &Tensor, layer: usize) -> Result<Tensor> {
        let pass = self.pass;
        let (rows, length) = (self.standing.rows, self.standing.length);
        let (size, heads) = (self.sizes.hidden as usize, self.sizes.heads as usize);
        let width = size / heads;
        let view = &self.views[usize::from(pass.shape.is_local(layer))];
        let weight = pass.weight(&self.name(layer, "qkv.weight"))?;
        let bias = pass.weights.get(&*self.name(layer, "qkv.bias"));
        let x = pass.active(x)?;
        // Three products: cut out of one, each would have a gradient as wide as all.
        let part = |which: usize| {
            let mut out = x.matmul(&weight.narrow(0, which * size, size)?.t()?)?;
            if let Some(bias) = bias {
                let bias = pass.active(&bias.narrow(1, which * size, size)?)?;
                out = (&out + pass.repeated(&bias, &out)?)?;
            }
            let heads = out.reshape((rows, length, heads, width))?;
            heads.transpose(1, 2)?.contiguous()
        };
        let (mut queries, mut keys, values) = (part(0)?, part(1)?, part(2)?);
        if let Some(angles) = &view.angles {
            queries = self.turned(queries, angles)?;
            keys = self.turned(keys, angles)?;
        }
        let queries = (queries / (width as f64).sqrt())?;
        let mut scores = pass.exact(&queries.matmul(&keys.t()?)?)?;
        if let Some(hidden) = &view.hidden {
            scores = scores.broadcast_add(hidden)?;
        }
        let scores = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?;
        let weights = scores.exp()?;
        let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
        let mut weights = pass.active(&weights)?;
        if let Some(drops) = &pass.drops {
            let rate = pass.shape.attention_dropout;
            weights = drops.attention(&weights, self.site(layer) + 1, rate, self.standing)?;
        }
        let context = weights.matmul(&values)?.transpose(1, 2)?.contiguous()?;
        context.reshape((rows * length, size))
    }

    /// Queries or keys, `rows × heads × length × width`, turned by their places: as
    /// complex numbers multiplied by e^(i · angle).
    fn turned(&self, x: Tensor, [cos, sin]: &[Tensor; 2]) -> Result<Tensor> {
        let half = x.dim(3)? / 2;
        let wide = self.pass.exact(&x)?;
        let (real, imaginary) = (wide.narrow(3, 0, half)?, wide.narrow(3, half, half)?);
        let turned = Tensor::cat(
            &[
                (real.broadcast_mul(cos)? - imaginary.broadcast_mul(sin)?)?,
                (real.broadcast_mul(sin)? + imaginary.broadcast_mul(cos)?)?,
            ],
            3,
        )?;
        turned.to_dtype(x.dtype())
    }
}

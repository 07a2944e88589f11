//! The parameters of the model, and everything shaped like them: gradients and the
//! moments of AdamW. Queries, keys and values are one packed matrix.

use super::matrix::Matrix;
use super::neighbours;
use super::real::Real;
use crate::base::generator::{Generator, Key, Purpose};
use crate::config::{InitialAttention, ModelConfig, Norm};

/// y = x · weightᵀ + bias.
#[derive(Debug, Clone)]
pub struct Linear<T> {
    /// `out × in`.
    pub weight: Matrix<T>,
    /// `1 × out`.
    pub bias: Matrix<T>,
}

/// Weight and bias of a layer norm, `1 × width` each.
#[derive(Debug, Clone)]
pub struct LayerNorm<T> {
    /// Starts at 1.
    pub weight: Matrix<T>,
    /// Starts at 0.
    pub bias: Matrix<T>,
}

/// One layer of the encoder.
#[derive(Debug, Clone)]
pub struct Layer<T> {
    /// Before attention (pre), or after its residual connection (post).
    pub attention_norm: LayerNorm<T>,
    /// Queries, keys, values: `3 hidden × hidden`.
    pub qkv: Linear<T>,
    /// After the heads: `hidden × hidden`.
    pub attention_out: Linear<T>,
    /// Before the feed-forward layer (pre), or after its residual connection (post).
    pub feed_forward_norm: LayerNorm<T>,
    /// `feed_forward × hidden`.
    pub up: Linear<T>,
    /// `hidden × feed_forward`.
    pub down: Linear<T>,
}

/// All parameters.
#[derive(Debug, Clone)]
pub struct Parameters<T> {
    /// Word embeddings, `vocabulary × hidden`; also the decoder of the head.
    pub words: Matrix<T>,
    /// Position embeddings, `positions × hidden`.
    pub positions: Matrix<T>,
    /// After the sum of embeddings.
    pub embedding_norm: LayerNorm<T>,
    /// The encoder.
    pub layers: Vec<Layer<T>>,
    /// After the last layer; pre-LayerNorm only.
    pub final_norm: Option<LayerNorm<T>>,
    /// The head's dense layer, `hidden × hidden`.
    pub head: Linear<T>,
    /// After the head's dense layer.
    pub head_norm: LayerNorm<T>,
    /// Of the decoder, `1 × vocabulary`.
    pub head_bias: Matrix<T>,
}

impl<T: Real> Parameters<T> {
    /// Initial parameters: weights from a normal distribution of standard deviation
    /// `initializer_range`, biases 0, norms 1. A function of the seed.
    pub fn initial(config: &ModelConfig, vocabulary: usize, seed: u64) -> Self {
        let mut fill = Fill {
            deviation: config.initializer_range,
            seed,
            parameter: 0,
        };
        let hidden = config.hidden as usize;
        let wide = config.feed_forward as usize;
        let words = fill.weight(vocabulary, hidden);
        let positions = fill.weight(config.positions as usize, hidden);
        let mut out = Self {
            words,
            positions,
            embedding_norm: LayerNorm::initial(hidden),
            layers: (0..config.layers)
                .map(|_| Layer {
                    attention_norm: LayerNorm::initial(hidden),
                    qkv: fill.linear(3 * hidden, hidden),
                    attention_out: fill.linear(hidden, hidden),
                    feed_forward_norm: LayerNorm::initial(hidden),
                    up: fill.linear(wide, hidden),
                    down: fill.linear(hidden, wide),
                })
                .collect(),
            final_norm: (config.norm == Norm::Pre).then(|| LayerNorm::initial(hidden)),
            head: fill.linear(hidden, hidden),
            head_norm: LayerNorm::initial(hidden),
            head_bias: Matrix::zeros(1, vocabulary),
        };
        if config.initial_attention == InitialAttention::Neighbours {
            neighbours::begin_on_neighbours(&mut out, config.heads as usize);
        }
        out
    }

    /// Sets the head's bias to the logarithm of each token's share, one added to each
    /// count. The model then predicts unigrams before its first step, and all it learns
    /// is context.
    pub fn start_from_unigrams(&mut self, counts: &[u64]) {
        let total: u64 = counts.iter().map(|count| count + 1).sum();
        for (bias, &count) in self.head_bias.iter_mut().zip(counts) {
            *bias = T::from_f64(((count + 1) as f64 / total as f64).ln());
        }
    }

    /// The same structure with `f` of each matrix.
    pub fn map(&self, mut f: impl FnMut(&Matrix<T>) -> Matrix<T>) -> Self {
        let mut out = self.clone();
        for (_, matrix) in out.named_mut() {
            *matrix = f(matrix);
        }
        out
    }

    /// Every parameter with its name, in a fixed order.
    pub fn named(&self) -> Vec<(String, &Matrix<T>)> {
        let mut names = Names(Vec::new());
        names.one("words", &self.words);
        names.one("positions", &self.positions);
        names.norm("embedding_norm", &self.embedding_norm);
        for (index, layer) in self.layers.iter().enumerate() {
            let name = |part| format!("layers.{index}.{part}");
            names.norm(&name("attention_norm"), &layer.attention_norm);
            names.linear(&name("qkv"), &layer.qkv);
            names.linear(&name("attention_out"), &layer.attention_out);
            names.norm(&name("feed_forward_norm"), &layer.feed_forward_norm);
            names.linear(&name("up"), &layer.up);
            names.linear(&name("down"), &layer.down);
        }
        if let Some(norm) = &self.final_norm {
            names.norm("final_norm", norm);
        }
        names.linear("head", &self.head);
        names.norm("head_norm", &self.head_norm);
        names.one("head_bias", &self.head_bias);
        names.0
    }

    /// Every parameter to write into, with its name, in the order of `named`.
    pub fn named_mut(&mut self) -> Vec<(String, &mut Matrix<T>)> {
        let names: Vec<String> = self.named().into_iter().map(|(name, _)| name).collect();
        let mut all = vec![&mut self.words, &mut self.positions];
        all.extend(self.embedding_norm.both());
        for layer in &mut self.layers {
            all.extend(layer.attention_norm.both());
            all.extend(layer.qkv.both());
            all.extend(layer.attention_out.both());
            all.extend(layer.feed_forward_norm.both());
            all.extend(layer.up.both());
            all.extend(layer.down.both());
        }
        all.extend(self.final_norm.iter_mut().flat_map(LayerNorm::both));
        all.extend(self.head.both());
        all.extend(self.head_norm.both());
        all.push(&mut self.head_bias);
        names.into_iter().zip(all).collect()
    }

    /// Number of numbers.
    pub fn count(&self) -> usize {
        self.named().iter().map(|(_, matrix)| matrix.len()).sum()
    }
}

impl<T: Real> LayerNorm<T> {
    fn initial(width: usize) -> Self {
        Self {
            weight: Matrix::new(1, width, vec![T::one(); width]),
            bias: Matrix::zeros(1, width),
        }
    }

    fn both(&mut self) -> [&mut Matrix<T>; 2] {
        [&mut self.weight, &mut self.bias]
    }
}

impl<T> Linear<T> {
    fn both(&mut self) -> [&mut Matrix<T>; 2] {
        [&mut self.weight, &mut self.bias]
    }
}

struct Names<'a, T>(Vec<(String, &'a Matrix<T>)>);

impl<'a, T> Names<'a, T> {
    fn one(&mut self, name: &str, matrix: &'a Matrix<T>) {
        self.0.push((name.to_owned(), matrix));
    }

    fn linear(&mut self, name: &str, linear: &'a Linear<T>) {
        self.one(&format!("{name}.weight"), &linear.weight);
        self.one(&format!("{name}.bias"), &linear.bias);
    }

    fn norm(&mut self, name: &str, norm: &'a LayerNorm<T>) {
        self.one(&format!("{name}.weight"), &norm.weight);
        self.one(&format!("{name}.bias"), &norm.bias);
    }
}

/// Draws initial weights; each parameter has its own stream.
struct Fill {
    deviation: f64,
    seed: u64,
    parameter: u64,
}

impl Fill {
    fn weight<T: Real>(&mut self, rows: usize, cols: usize) -> Matrix<T> {
        let key = Key {
            seed: self.seed,
            epoch: 0,
            sample: self.parameter,
            copy: 0,
        };
        self.parameter += 1;
        let mut generator = key.generator(Purpose::Initialize);
        let mut values = Vec::with_capacity(rows * cols + 1);
        while values.len() < rows * cols {
            let (a, b) = normal_pair(&mut generator);
            values.push(T::from_f64(a * self.deviation));
            values.push(T::from_f64(b * self.deviation));
        }
        values.truncate(rows * cols);
        Matrix::new(rows, cols, values)
    }

    fn linear<T: Real>(&mut self, outputs: usize, inputs: usize) -> Linear<T> {
        Linear {
            weight: self.weight(outputs, inputs),
            bias: Matrix::zeros(1, outputs),
        }
    }
}

/// Two draws of the standard normal distribution (Box and Muller 1958).
fn normal_pair(generator: &mut Generator) -> (f64, f64) {
    // 1 − u is in (0, 1]: its logarithm is finite.
    let radius = (-2.0 * (1.0 - generator.unit()).ln()).sqrt();
    let angle = std::f64::consts::TAU * generator.unit();
    (radius * angle.cos(), radius * angle.sin())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initial_weights_have_their_deviation_and_depend_on_the_seed() {
        let config = ModelConfig::default();
        let parameters = Parameters::<f32>::initial(&config, 500, 7);
        let values: Vec<f64> = parameters.words.iter().map(|&x| f64::from(x)).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let deviation = (values.iter().map(|x| x * x).sum::<f64>() / n).sqrt();
        assert!(mean.abs() < 4.0 * 0.02 / n.sqrt(), "{mean}");
        assert!((deviation / 0.02 - 1.0).abs() < 0.01, "{deviation}");
        let again = Parameters::<f32>::initial(&config, 500, 7);
        let other = Parameters::<f32>::initial(&config, 500, 8);
        assert_eq!(parameters.words[..], again.words[..]);
        assert_ne!(parameters.words[..], other.words[..]);
        assert_ne!(parameters.words[..100], parameters.positions[..100]);
    }

    #[test]
    fn names_are_in_one_order_and_only_pre_layer_norm_has_a_final_norm() {
        for (norm, count) in [(Norm::Pre, 4 * 12 + 11), (Norm::Post, 4 * 12 + 9)] {
            let config = ModelConfig {
                norm,
                ..ModelConfig::default()
            };
            let mut parameters = Parameters::<f32>::initial(&config, 50, 7);
            let names: Vec<(String, usize)> = parameters
                .named()
                .into_iter()
                .map(|(name, matrix)| (name, matrix.len()))
                .collect();
            assert_eq!(names.len(), count);
            let written: Vec<(String, usize)> = parameters
                .named_mut()
                .into_iter()
                .map(|(name, matrix)| (name, matrix.len()))
                .collect();
            assert_eq!(names, written);
        }
    }
}

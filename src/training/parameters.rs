//! The parameters of the model, and everything shaped like them: gradients and the
//! moments of AdamW. Queries, keys and values are one packed matrix.

use super::matrix::Matrix;
use super::real::Real;
use crate::base::generator::{Generator, Key, Purpose};
use crate::config::{Architecture, ModelShape, StackShape};

/// y = x · weightᵀ + bias.
#[derive(Debug, Clone)]
pub struct Linear<T> {
    /// `out × in`.
    pub weight: Matrix<T>,
    /// `1 × out`; ModernBERT has none.
    pub bias: Option<Matrix<T>>,
}

/// Weight and bias of a layer norm, `1 × width` each.
#[derive(Debug, Clone)]
pub struct LayerNorm<T> {
    /// Starts at 1.
    pub weight: Matrix<T>,
    /// Starts at 0; ModernBERT has none.
    pub bias: Option<Matrix<T>>,
}

/// One layer of the encoder, or of the decoder.
#[derive(Debug, Clone)]
pub struct Layer<T> {
    /// Before attention (pre), or after its residual connection (post). The first layer
    /// of ModernBERT's encoder has none: its input is normed already.
    pub attention_norm: Option<LayerNorm<T>>,
    /// Queries, keys, values: `3 hidden × hidden`.
    pub qkv: Linear<T>,
    /// After the heads: `hidden × hidden`.
    pub attention_out: Linear<T>,
    /// Before the feed-forward layer (pre), or after its residual connection (post).
    pub feed_forward_norm: LayerNorm<T>,
    /// `feed_forward × hidden`; gated: twice as many rows, first those that are activated.
    pub up: Linear<T>,
    /// `hidden × feed_forward`.
    pub down: Linear<T>,
}

/// What a model for rows of the layout `removed` has between its encoder and its head.
#[derive(Debug, Clone)]
pub struct Decoder<T> {
    /// From the encoder's width to the decoder's, where they differ: `decoder hidden ×
    /// hidden`.
    pub entry: Option<Linear<T>>,
    /// What stands at the place of a removed token, `1 × decoder hidden`; to it comes
    /// that of its position.
    pub mask: Matrix<T>,
    /// Of the places of removed tokens, `positions × decoder hidden`; none with rotary
    /// positions.
    pub positions: Option<Matrix<T>>,
    /// Layers of the encoder's kind.
    pub layers: Vec<Layer<T>>,
    /// After the last of them; pre-LayerNorm only.
    pub final_norm: Option<LayerNorm<T>>,
}

/// All parameters.
#[derive(Debug, Clone)]
pub struct Parameters<T> {
    /// Word embeddings, `vocabulary × hidden`; also what the head ends in.
    pub words: Matrix<T>,
    /// Position embeddings, `positions × hidden`; none with rotary positions.
    pub positions: Option<Matrix<T>>,
    /// Token-type embeddings, `types × hidden`; every token is of the first type, but for
    /// those of the second sentence of a pair.
    pub token_types: Option<Matrix<T>>,
    /// After the sum of embeddings.
    pub embedding_norm: LayerNorm<T>,
    /// The encoder.
    pub layers: Vec<Layer<T>>,
    /// After the last layer; pre-LayerNorm only.
    pub final_norm: Option<LayerNorm<T>>,
    /// Of a model for rows of the layout `removed`.
    pub decoder: Option<Decoder<T>>,
    /// The head's dense layer, `hidden × hidden`, or behind a decoder `hidden × decoder
    /// hidden`.
    pub head: Linear<T>,
    /// After the head's dense layer.
    pub head_norm: LayerNorm<T>,
    /// Of the logits, `1 × vocabulary`.
    pub head_bias: Matrix<T>,
}

impl<T: Real> Parameters<T> {
    /// Initial parameters: weights from a normal distribution of standard deviation
    /// `initializer_range`, biases 0, norms 1. A function of the seed; the encoder's are
    /// the same with a decoder as without.
    ///
    /// ModernBERT: no weight is further than two deviations out, and the layers whose
    /// output joins the residual connection start smaller by √(2 · layers).
    pub fn initial(shape: &ModelShape, vocabulary: usize, seed: u64) -> Self {
        Self::filled(shape, vocabulary, Some(seed))
    }

    /// Parameters to be read into: weights 0. Costs no memory before they are written.
    pub fn unread(shape: &ModelShape, vocabulary: usize) -> Self {
        Self::filled(shape, vocabulary, None)
    }

    fn filled(shape: &ModelShape, vocabulary: usize, seed: Option<u64>) -> Self {
        let modern = shape.architecture == Architecture::Modernbert;
        let norms_first = shape.architecture.norms_first();
        let mut fill = Fill {
            deviation: shape.initializer_range,
            cutoff: if modern { 2.0 } else { f64::INFINITY },
            biases: !modern,
            gated: modern,
            seed,
            parameter: 0,
        };
        let outwards = |layers: u32| match modern {
            true => shape.initializer_range / (2.0 * f64::from(layers)).sqrt(),
            false => shape.initializer_range,
        };
        let hidden = shape.hidden as usize;
        let words = fill.weight(vocabulary, hidden);
        let positions = (!modern).then(|| fill.weight(shape.positions as usize, hidden));
        let types = shape.token_types as usize;
        let last = shape.decoder.unwrap_or(shape.encoder());
        Self {
            words,
            positions,
            token_types: (types > 0).then(|| Matrix::zeros(types, hidden)),
            // Where ModernBERT's layers begin, the embeddings are normed already.
            layers: fill.layers(shape.encoder(), !modern, outwards(shape.layers)),
            embedding_norm: fill.norm(hidden),
            final_norm: norms_first.then(|| fill.norm(hidden)),
            head: fill.linear(hidden, last.hidden as usize, outwards(shape.layers)),
            head_norm: fill.norm(hidden),
            head_bias: Matrix::zeros(1, vocabulary),
            // Drawn last: a decoder changes no other parameter.
            decoder: shape.decoder.map(|decoder| {
                let width = decoder.hidden as usize;
                let positions = shape.positions as usize;
                Decoder {
                    entry: (width != hidden).then(|| fill.linear(width, hidden, fill.deviation)),
                    mask: fill.weight(1, width),
                    positions: (!modern).then(|| fill.weight(positions, width)),
                    layers: fill.layers(decoder, true, outwards(decoder.layers)),
                    final_norm: norms_first.then(|| fill.norm(width)),
                }
            }),
        }
    }

    /// The norm of what goes into the head, where the last layer leaves that to it.
    pub fn last_norm(&self) -> Option<&LayerNorm<T>> {
        match &self.decoder {
            Some(decoder) => decoder.final_norm.as_ref(),
            None => self.final_norm.as_ref(),
        }
    }

    /// The same, to write into.
    pub fn last_norm_mut(&mut self) -> Option<&mut LayerNorm<T>> {
        match &mut self.decoder {
            Some(decoder) => decoder.final_norm.as_mut(),
            None => self.final_norm.as_mut(),
        }
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

    /// Appends rows to the vocabulary up to `size` words: the mean of those that are there
    /// (Hewitt 2021), a little apart from each other, and their mean bias.
    pub fn extend_vocabulary(&mut self, size: usize, seed: u64) {
        let (rows, width) = (self.words.rows(), self.words.cols());
        if size <= rows {
            return;
        }
        let share = 1.0 / rows as f64;
        let means = self.words.column_sums();
        let variance = self
            .words
            .iter()
            .map(|x| x.to_f64() * x.to_f64())
            .sum::<f64>()
            / self.words.len() as f64;
        let mut fill = Fill {
            deviation: 0.1 * variance.sqrt(),
            cutoff: f64::INFINITY,
            biases: false,
            gated: false,
            seed: Some(seed),
            parameter: 0,
        };
        let mut words = self.words.to_vec();
        let mut added: Matrix<T> = fill.weight(size - rows, width);
        for row in added.chunks_exact_mut(width) {
            for (value, mean) in row.iter_mut().zip(means.iter()) {
                *value += T::from_f64(mean.to_f64() * share);
            }
        }
        words.extend_from_slice(&added);
        self.words = Matrix::new(size, width, words);
        let bias = self.head_bias.iter().map(|x| x.to_f64()).sum::<f64>() * share;
        let mut biases = self.head_bias.to_vec();
        biases.resize(size, T::from_f64(bias));
        self.head_bias = Matrix::new(1, size, biases);
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
        names.maybe("positions", &self.positions);
        names.maybe("token_types", &self.token_types);
        names.norm("embedding_norm", &self.embedding_norm);
        names.layers("", &self.layers);
        if let Some(norm) = &self.final_norm {
            names.norm("final_norm", norm);
        }
        if let Some(decoder) = &self.decoder {
            names.decoder(decoder);
        }
        names.linear("head", &self.head);
        names.norm("head_norm", &self.head_norm);
        names.one("head_bias", &self.head_bias);
        names.0
    }

    /// Every parameter to write into, with its name, in the order of `named`.
    pub fn named_mut(&mut self) -> Vec<(String, &mut Matrix<T>)> {
        let names: Vec<String> = self.named().into_iter().map(|(name, _)| name).collect();
        let mut all = vec![&mut self.words];
        all.extend(&mut self.positions);
        all.extend(&mut self.token_types);
        all.extend(self.embedding_norm.all());
        all.extend(self.layers.iter_mut().flat_map(Layer::all));
        all.extend(self.final_norm.iter_mut().flat_map(LayerNorm::all));
        all.extend(self.decoder.iter_mut().flat_map(Decoder::all));
        all.extend(self.head.all());
        all.extend(self.head_norm.all());
        all.push(&mut self.head_bias);
        names.into_iter().zip(all).collect()
    }

    /// Number of numbers.
    pub fn count(&self) -> usize {
        self.named().iter().map(|(_, matrix)| matrix.len()).sum()
    }
}

impl<T> LayerNorm<T> {
    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Matrix<T>> {
        std::iter::once(&mut self.weight).chain(&mut self.bias)
    }
}

impl<T> Layer<T> {
    fn all(&mut self) -> Vec<&mut Matrix<T>> {
        let mut all = Vec::new();
        all.extend(self.attention_norm.iter_mut().flat_map(LayerNorm::all));
        all.extend(self.qkv.all());
        all.extend(self.attention_out.all());
        all.extend(self.feed_forward_norm.all());
        all.extend(self.up.all());
        all.extend(self.down.all());
        all
    }
}

impl<T> Decoder<T> {
    fn all(&mut self) -> Vec<&mut Matrix<T>> {
        let mut all = Vec::new();
        all.extend(self.entry.iter_mut().flat_map(Linear::all));
        all.push(&mut self.mask);
        all.extend(&mut self.positions);
        all.extend(self.layers.iter_mut().flat_map(Layer::all));
        all.extend(self.final_norm.iter_mut().flat_map(LayerNorm::all));
        all
    }
}

impl<T> Linear<T> {
    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Matrix<T>> {
        std::iter::once(&mut self.weight).chain(&mut self.bias)
    }
}

struct Names<'a, T>(Vec<(String, &'a Matrix<T>)>);

impl<'a, T> Names<'a, T> {
    fn one(&mut self, name: &str, matrix: &'a Matrix<T>) {
        self.0.push((name.to_owned(), matrix));
    }

    fn maybe(&mut self, name: &str, matrix: &'a Option<Matrix<T>>) {
        if let Some(matrix) = matrix {
            self.one(name, matrix);
        }
    }

    fn layers(&mut self, before: &str, layers: &'a [Layer<T>]) {
        for (index, layer) in layers.iter().enumerate() {
            let name = |part| format!("{before}layers.{index}.{part}");
            if let Some(norm) = &layer.attention_norm {
                self.norm(&name("attention_norm"), norm);
            }
            self.linear(&name("qkv"), &layer.qkv);
            self.linear(&name("attention_out"), &layer.attention_out);
            self.norm(&name("feed_forward_norm"), &layer.feed_forward_norm);
            self.linear(&name("up"), &layer.up);
            self.linear(&name("down"), &layer.down);
        }
    }

    fn decoder(&mut self, decoder: &'a Decoder<T>) {
        if let Some(entry) = &decoder.entry {
            self.linear("decoder.entry", entry);
        }
        self.one("decoder.mask", &decoder.mask);
        self.maybe("decoder.positions", &decoder.positions);
        self.layers("decoder.", &decoder.layers);
        if let Some(norm) = &decoder.final_norm {
            self.norm("decoder.final_norm", norm);
        }
    }

    fn linear(&mut self, name: &str, linear: &'a Linear<T>) {
        self.one(&format!("{name}.weight"), &linear.weight);
        self.maybe(&format!("{name}.bias"), &linear.bias);
    }

    fn norm(&mut self, name: &str, norm: &'a LayerNorm<T>) {
        self.one(&format!("{name}.weight"), &norm.weight);
        self.maybe(&format!("{name}.bias"), &norm.bias);
    }
}

/// Draws initial weights; each parameter has its own stream.
struct Fill {
    deviation: f64,
    /// In deviations; what is drawn beyond is drawn again.
    cutoff: f64,
    biases: bool,
    /// Whether feed-forward layers are.
    gated: bool,
    /// Without, weights are 0.
    seed: Option<u64>,
    parameter: u64,
}

impl Fill {
    fn weight<T: Real>(&mut self, rows: usize, cols: usize) -> Matrix<T> {
        let deviation = self.deviation;
        self.draw(rows, cols, deviation)
    }

    fn draw<T: Real>(&mut self, rows: usize, cols: usize, deviation: f64) -> Matrix<T> {
        let Some(seed) = self.seed else {
            return Matrix::zeros(rows, cols);
        };
        let key = Key {
            seed,
            epoch: 0,
            sample: self.parameter,
            copy: 0,
        };
        self.parameter += 1;
        let mut generator = key.generator(Purpose::Initialize);
        let mut values = Vec::with_capacity(rows * cols + 1);
        while values.len() < rows * cols {
            let (a, b) = normal_pair(&mut generator);
            let drawn = [a, b].into_iter().filter(|x| x.abs() <= self.cutoff);
            values.extend(drawn.map(|x| T::from_f64(x * deviation)));
        }
        values.truncate(rows * cols);
        Matrix::new(rows, cols, values)
    }

    /// The layers of an encoder or a decoder: whether the first one has a norm before
    /// attention, and the deviation of weights whose output joins the residual connection.
    fn layers<T: Real>(
        &mut self,
        shape: StackShape,
        first_norm: bool,
        outwards: f64,
    ) -> Vec<Layer<T>> {
        let (hidden, wide) = (shape.hidden as usize, shape.feed_forward as usize);
        let inwards = self.deviation;
        let layer = |index| {
            let attention_norm = (first_norm || index > 0).then(|| self.norm(hidden));
            let qkv = self.linear(3 * hidden, hidden, inwards);
            let attention_out = self.linear(hidden, hidden, outwards);
            Layer {
                attention_norm,
                qkv,
                attention_out,
                feed_forward_norm: self.norm(hidden),
                up: self.linear(if self.gated { 2 * wide } else { wide }, hidden, inwards),
                down: self.linear(hidden, wide, outwards),
            }
        };
        (0..shape.layers).map(layer).collect()
    }

    fn linear<T: Real>(&mut self, outputs: usize, inputs: usize, deviation: f64) -> Linear<T> {
        Linear {
            weight: self.draw(outputs, inputs, deviation),
            bias: self.biases.then(|| Matrix::zeros(1, outputs)),
        }
    }

    fn norm<T: Real>(&self, width: usize) -> LayerNorm<T> {
        LayerNorm {
            weight: Matrix::new(1, width, vec![T::one(); width]),
            bias: self.biases.then(|| Matrix::zeros(1, width)),
        }
    }
}

/// Two draws of the standard normal distribution (Box and Muller 1958).
pub(super) fn normal_pair(generator: &mut Generator) -> (f64, f64) {
    // 1 − u is in (0, 1]: its logarithm is finite.
    let radius = (-2.0 * (1.0 - generator.unit()).ln()).sqrt();
    let angle = std::f64::consts::TAU * generator.unit();
    (radius * angle.cos(), radius * angle.sin())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DecoderConfig, ModelConfig, Size};

    fn initial(architecture: Architecture, vocabulary: usize, seed: u64) -> Parameters<f32> {
        let config = ModelConfig {
            architecture,
            ..ModelConfig::default()
        };
        Parameters::initial(&config.shape(), vocabulary, seed)
    }

    fn deviation(values: &[f32]) -> f64 {
        let squares = values.iter().map(|&x| f64::from(x) * f64::from(x));
        (squares.sum::<f64>() / values.len() as f64).sqrt()
    }

    #[test]
    fn initial_weights_have_their_deviation_and_depend_on_the_seed() {
        let parameters = initial(Architecture::Bert, 500, 7);
        let n = parameters.words.len() as f64;
        let mean = parameters.words.iter().sum::<f32>() as f64 / n;
        assert!(mean.abs() < 4.0 * 0.02 / n.sqrt(), "{mean}");
        let found = deviation(&parameters.words);
        assert!((found / 0.02 - 1.0).abs() < 0.01, "{found}");
        let again = initial(Architecture::Bert, 500, 7);
        let other = initial(Architecture::Bert, 500, 8);
        assert_eq!(parameters.words[..], again.words[..]);
        assert_ne!(parameters.words[..], other.words[..]);
        let positions = parameters.positions.unwrap();
        assert_ne!(parameters.words[..100], positions[..100]);
    }

    #[test]
    fn modernbert_begins_within_two_deviations_and_smaller_where_branches_join() {
        let parameters = initial(Architecture::Modernbert, 500, 7);
        let words = &parameters.words;
        assert!(words.iter().all(|x| x.abs() <= 0.04));
        // Of a normal distribution cut off at two deviations.
        assert!((deviation(words) / 0.02 - 0.8796).abs() < 0.01);
        let ratio = deviation(&parameters.layers[0].up.weight)
            / deviation(&parameters.layers[0].down.weight);
        assert!((ratio - 8f64.sqrt()).abs() < 0.03, "{ratio}");
    }

    /// Millions of numbers in embeddings, encoder and final norm.
    fn millions(architecture: Architecture, size: Size, vocabulary: usize) -> f64 {
        let config = ModelConfig {
            architecture,
            size,
            ..ModelConfig::default()
        };
        let parameters = Parameters::<f32>::unread(&config.shape(), vocabulary);
        let named = parameters.named().into_iter();
        let encoder = named.filter(|(name, _)| !name.starts_with("head"));
        encoder.map(|(_, matrix)| matrix.len()).sum::<usize>() as f64 / 1e6
    }

    #[test]
    fn sizes_are_those_that_their_papers_name() {
        for architecture in [Architecture::Roberta, Architecture::RobertaPrelayernorm] {
            let millions = |size| millions(architecture, size, 50_265);
            assert!((millions(Size::Medium) - 51.0).abs() < 0.5);
            assert!((millions(Size::Base) - 124.0).abs() < 0.5);
            assert!((millions(Size::Large) - 354.0).abs() < 1.0);
        }
        let bert = |size| millions(Architecture::Bert, size, 30_522);
        assert!((bert(Size::Base) - 109.0).abs() < 0.5);
        assert!((bert(Size::Large) - 334.0).abs() < 1.0);
        let modern = |size| millions(Architecture::Modernbert, size, 50_368);
        assert!((modern(Size::Base) - 149.0).abs() < 1.0);
        assert!((modern(Size::Large) - 395.0).abs() < 2.0);
    }

    #[test]
    fn a_decoder_changes_no_parameter_of_the_encoder() {
        for architecture in Architecture::ALL {
            let config = ModelConfig {
                architecture,
                size: Size::Tiny,
                decoder: Some(DecoderConfig::default()),
                ..ModelConfig::default()
            };
            let alone = ModelConfig {
                decoder: None,
                ..config.clone()
            };
            let mut with: Parameters<f32> = Parameters::initial(&config.shape(), 50, 7);
            let read: Vec<_> = with.named().into_iter().map(|(_, m)| m.as_ptr()).collect();
            let written = with.named_mut().into_iter();
            assert!(written.map(|(_, m)| m.as_ptr()).eq(read), "one order");
            let without: Parameters<f32> = Parameters::initial(&alone.shape(), 50, 7);
            let named = with.named().into_iter();
            let mut rest = named.filter(|(name, _)| !name.starts_with("decoder."));
            for (name, expected) in without.named() {
                let (same, found) = rest.next().unwrap();
                assert_eq!((&name, &expected[..]), (&same, &found[..]));
            }
            assert!(rest.next().is_none());
            let decoder = with.decoder.as_ref().unwrap();
            assert_ne!(
                decoder.layers[0].up.weight[..],
                with.layers[0].up.weight[..]
            );
            assert!(
                decoder
                    .layers
                    .iter()
                    .all(|layer| layer.attention_norm.is_some())
            );
        }
    }

    #[test]
    fn names_are_in_one_order_and_each_architecture_has_its_own() {
        for (architecture, count) in [
            (Architecture::RobertaPrelayernorm, 4 * 12 + 11),
            (Architecture::Bert, 4 * 12 + 9),
            (Architecture::Roberta, 4 * 12 + 9),
            (Architecture::Modernbert, 4 * 6 - 1 + 6),
        ] {
            let mut parameters = initial(architecture, 50, 7);
            let names: Vec<(String, usize)> = parameters
                .named()
                .into_iter()
                .map(|(name, matrix)| (name, matrix.len()))
                .collect();
            assert_eq!(names.len(), count, "{architecture:?}");
            let written: Vec<(String, usize)> = parameters
                .named_mut()
                .into_iter()
                .map(|(name, matrix)| (name, matrix.len()))
                .collect();
            assert_eq!(names, written);
        }
    }
}

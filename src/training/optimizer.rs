//! AdamW (Loshchilov and Hutter 2019) in one pass over plain buffers, and the norm to
//! clip by. The moments are exposed, so that a run resumes with the same bits.
//! Memory: two numbers a parameter beside its gradient.

use super::lanes;
use super::matrix::{Matrix, PIECE};
use super::parameters::Parameters;
use super::real::Real;
use crate::config::OptimizerConfig;
use crate::parallel::chunks;

/// Norm of all gradients together, each multiplied by `scale`.
pub fn norm<T: Real>(gradients: &Parameters<T>, scale: f64) -> f64 {
    norm_of(gradients.named().into_iter().map(|(_, m)| m), scale)
}

/// As [`norm`], of these gradients.
pub fn norm_of<'a, T: Real>(gradients: impl Iterator<Item = &'a Matrix<T>>, scale: f64) -> f64 {
    let pieces: Vec<&[T]> = gradients.flat_map(|m| m.chunks(PIECE)).collect();
    let squares = chunks::collect(pieces, |piece| {
        lanes::wide(
            #[inline(always)]
            || lanes::sum_of(piece, |x| x * x).to_f64(),
        )
    });
    scale * squares.iter().sum::<f64>().sqrt()
}

/// AdamW's state: the two moments of every parameter.
#[derive(Debug, Clone)]
pub struct AdamW<T = f32> {
    /// Moving average of gradients.
    pub first: Parameters<T>,
    /// Moving average of their squares.
    pub second: Parameters<T>,
}

impl<T: Real> AdamW<T> {
    /// Moments of zero for `parameters`.
    pub fn new(parameters: &Parameters<T>) -> Self {
        let zeros = parameters.map(|m| Matrix::zeros(m.rows(), m.cols()));
        Self {
            first: zeros.clone(),
            second: zeros,
        }
    }

    /// One update of `parameters` by `gradients · scale`, the `step`-th (from 0). What
    /// decays, and what learns at another rate, follows from the parameter's name.
    pub fn update(
        &mut self,
        config: &OptimizerConfig,
        parameters: &mut Parameters<T>,
        gradients: &Parameters<T>,
        scale: f64,
        step: u64,
        learning_rate: f64,
    ) {
        let moments = self.first.named_mut().into_iter();
        let moments = moments.zip(self.second.named_mut());
        let all = parameters.named_mut().into_iter().zip(gradients.named());
        let slots = all
            .zip(moments)
            .map(|(((name, parameter), (_, gradient)), moments)| {
                let ((_, first), (_, second)) = moments;
                Slot {
                    name,
                    parameter,
                    gradient,
                    first,
                    second,
                }
            });
        update(config, slots, scale, step, learning_rate);
    }
}

/// A parameter with its gradient and its two moments.
pub struct Slot<'a, T> {
    /// Its name.
    pub name: String,
    /// The parameter.
    pub parameter: &'a mut Matrix<T>,
    /// Its gradient, before it is scaled.
    pub gradient: &'a Matrix<T>,
    /// Moving average of gradients.
    pub first: &'a mut Matrix<T>,
    /// Moving average of their squares.
    pub second: &'a mut Matrix<T>,
}

/// One update of the parameters of `slots`; see [`AdamW::update`].
pub fn update<'a, T: Real>(
    config: &OptimizerConfig,
    slots: impl Iterator<Item = Slot<'a, T>>,
    scale: f64,
    step: u64,
    learning_rate: f64,
) {
    let power = step as f64 + 1.0;
    let numbers = Numbers {
        scale: T::from_f64(scale),
        beta1: T::from_f64(config.beta1),
        beta2: T::from_f64(config.beta2),
        epsilon: T::from_f64(config.epsilon),
        correction: T::from_f64(1.0 / (1.0 - config.beta2.powf(power))),
    };
    let corrected = 1.0 - config.beta1.powf(power);
    let mut pieces = Vec::new();
    for slot in slots {
        let (decay, factor) = config.of_parameter(&slot.name);
        let rates = Rates {
            kept: T::from_f64(1.0 - factor * learning_rate * decay),
            rate: T::from_f64(factor * learning_rate / corrected),
        };
        let (p, g) = (slot.parameter, slot.gradient);
        assert_eq!(p.len(), g.len(), "a gradient for every parameter");
        let slices = p.chunks_mut(PIECE).zip(g.chunks(PIECE));
        let moments = slot.first.chunks_mut(PIECE);
        let moments = moments.zip(slot.second.chunks_mut(PIECE));
        for ((p, g), (m, v)) in slices.zip(moments) {
            pieces.push((rates, p, g, m, v));
        }
    }
    type Piece<'a, T> = (Rates<T>, &'a mut [T], &'a [T], &'a mut [T], &'a mut [T]);
    chunks::each(pieces, |(rates, p, g, m, v): Piece<T>| {
        lanes::wide(
            #[inline(always)]
            || numbers.apply(rates, p, g, m, v),
        );
    });
}

/// What differs from parameter to parameter.
#[derive(Clone, Copy)]
struct Rates<T> {
    /// What weight decay leaves.
    kept: T,
    /// Learning rate over the bias correction of the first moment.
    rate: T,
}

struct Numbers<T> {
    scale: T,
    beta1: T,
    beta2: T,
    epsilon: T,
    /// 1 / the bias correction of the second moment.
    correction: T,
}

impl<T: Real> Numbers<T> {
    #[inline(always)]
    fn apply(
        &self,
        Rates { kept, rate }: Rates<T>,
        p: &mut [T],
        g: &[T],
        m: &mut [T],
        v: &mut [T],
    ) {
        let (rise1, rise2) = (T::one() - self.beta1, T::one() - self.beta2);
        for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
            let g = g * self.scale;
            *m = self.beta1 * *m + rise1 * g;
            *v = self.beta2 * *v + rise2 * g * g;
            let size = (*v * self.correction).sqrt() + self.epsilon;
            *p = *p * kept - rate * *m / size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ModelConfig, ParameterGroup};

    fn small() -> Parameters<f64> {
        let config = ModelConfig {
            layers: Some(1),
            hidden: Some(4),
            heads: Some(1),
            feed_forward: Some(4),
            positions: Some(4),
            ..ModelConfig::default()
        };
        Parameters::initial(&config.shape(), 5, 1)
    }

    #[test]
    fn updates_are_those_of_the_paper_and_biases_and_norms_do_not_decay() {
        let config = OptimizerConfig {
            weight_decay: 0.1,
            ..OptimizerConfig::default()
        };
        let start = small();
        let mut parameters = start.clone();
        let mut optimizer = AdamW::new(&parameters);
        for (step, g) in [0.5, -2.0, 0.25].into_iter().enumerate() {
            let gradients = start.map(|m| Matrix::new(m.rows(), m.cols(), vec![g; m.len()]));
            optimizer.update(&config, &mut parameters, &gradients, 0.5, step as u64, 0.01);
        }
        for ((name, start), (_, end)) in start.named().into_iter().zip(parameters.named()) {
            let decays = !["bias", "norm"].iter().any(|part| name.contains(part));
            let (mut p, mut m, mut v) = (start[0], 0.0, 0.0);
            for (t, g) in [0.25, -1.0, 0.125].into_iter().enumerate() {
                p *= if decays { 1.0 - 0.01 * 0.1 } else { 1.0 };
                m = 0.9 * m + 0.1 * g;
                v = 0.98 * v + 0.02 * g * g;
                let t = t as i32 + 1;
                let (mean, square) = (m / (1.0 - 0.9f64.powi(t)), v / (1.0 - 0.98f64.powi(t)));
                p -= 0.01 * mean / (square.sqrt() + 1e-6);
            }
            assert!((end[0] - p).abs() < 1e-12, "{name}: {} {p}", end[0]);
        }
    }

    #[test]
    fn a_group_learns_at_its_own_rate_with_its_own_decay() {
        let group = |name: &str, weight_decay, learning_rate_factor| ParameterGroup {
            parameters: vec![name.into()],
            weight_decay,
            learning_rate_factor,
        };
        let config = OptimizerConfig {
            weight_decay: 0.1,
            groups: vec![
                group("words", None, 0.0),
                group("layers.0.*", Some(0.5), 0.25),
            ],
            ..OptimizerConfig::default()
        };
        let start = small();
        let mut parameters = start.clone();
        let mut optimizer = AdamW::new(&parameters);
        let gradients = start.map(|m| Matrix::new(m.rows(), m.cols(), vec![2.0; m.len()]));
        optimizer.update(&config, &mut parameters, &gradients, 1.0, 0, 0.01);
        for ((name, start), (_, end)) in start.named().into_iter().zip(parameters.named()) {
            // The first step of Adam moves everything by the learning rate.
            let (rate, decay) = match &name[..] {
                "words" => (0.0, 0.0),
                name if name.starts_with("layers.0.") => (0.0025, 0.5),
                name if name.contains("norm") || name.ends_with("bias") => (0.01, 0.0),
                _ => (0.01, 0.1),
            };
            let exact = start[0] * (1.0 - rate * decay) - rate;
            assert!((end[0] - exact).abs() < 1e-8, "{name}: {} {exact}", end[0]);
        }
    }

    #[test]
    fn the_norm_is_over_all_parameters() {
        let gradients = small().map(|m| Matrix::new(m.rows(), m.cols(), vec![3.0; m.len()]));
        let exact = 1.5 * (gradients.count() as f64).sqrt();
        assert!((norm(&gradients, 0.5) - exact).abs() < 1e-9);
    }
}

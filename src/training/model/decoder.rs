//! The decoder of a model for rows of the layout `removed` (MAE-LM, Meng et al. 2023;
//! "Mask More and Mask Later", Liao et al. 2022): from what the encoder says of the tokens
//! that were kept to all tokens of the rows as they were. At the places of the others it
//! sees one learned vector with their positions. Predicted tokens alone leave it.
//!
//! Memory of a training pass: as the encoder's, for all tokens of the rows.

use super::layer::{LayerTape, Stack, Standing};
use super::pass::{Normed, Pass, embedding_backward, linear_backward, norm_backward};
use crate::base::error::Result;
use crate::training::lanes;
use crate::training::matrix::Matrix;
use crate::training::ops::residual;
use crate::training::parameters::{self, Parameters};
use crate::training::real::Real;
use crate::training::tokens::Whole;

/// A decoder over one batch.
pub(super) struct Decoder<'a, T> {
    pass: &'a Pass<'a, T>,
    parameters: &'a parameters::Decoder<T>,
    whole: &'a Whole,
    /// Places of the tokens that were removed.
    removed_places: Vec<u32>,
    stack: Stack<'a, T>,
}

/// What the backward pass of a decoder needs.
pub(super) struct DecoderTape<T> {
    encoder_norm: Option<Normed<T>>,
    /// What the encoder says, normed.
    encoded: Matrix<T>,
}

impl<'a, T: Real> Decoder<'a, T> {
    /// The decoder of `pass`, if its model has one.
    pub fn of(pass: &'a Pass<'a, T>) -> Option<Self> {
        let parameters = pass.model.parameters.decoder.as_ref()?;
        let (shape, whole) = (&pass.model.shape, pass.tokens.whole.as_ref()?);
        let tokens = Standing {
            places: &whole.places,
            runs: &whole.runs,
            keys: &whole.keys,
        };
        let removed = whole.removed.iter();
        Some(Self {
            pass,
            parameters,
            whole,
            removed_places: removed.map(|&index| whole.places[index as usize]).collect(),
            stack: Stack::new(
                &parameters.layers,
                (shape, shape.decoder?),
                tokens,
                Some(&pass.tokens.predicted),
                pass.noise,
                pass.model.parameters.layers.len(),
            ),
        })
    }

    /// From the last layer of the encoder, `kept tokens × hidden`, to the input of the
    /// head, `predicted tokens × decoder hidden`. Each layer's tape goes to `keep`.
    pub fn forward(
        &self,
        hidden: Matrix<T>,
        keep: impl FnMut(LayerTape<T>),
    ) -> Result<(Matrix<T>, DecoderTape<T>)> {
        let (encoded, encoder_norm) = match &self.pass.model.parameters.final_norm {
            Some(norm) => {
                let (out, normed) = self.pass.norm(hidden, norm);
                (out, Some(normed))
            }
            None => (hidden, None),
        };
        let rows = self.whole.keys.len();
        let mut x = match &self.parameters.entry {
            Some(entry) => {
                let mut x = encoded.all().times(entry.weight.all().t())?;
                if let Some(bias) = &entry.bias {
                    residual::add_bias(&mut x, bias);
                }
                x.scatter(&self.whole.kept, rows)
            }
            None => encoded.scatter(&self.whole.kept, rows),
        };
        let width = x.cols();
        for (&index, &place) in self.whole.removed.iter().zip(&self.removed_places) {
            let row = &mut x[index as usize * width..][..width];
            row.copy_from_slice(&self.parameters.mask);
            if let Some(positions) = &self.parameters.positions {
                lanes::add(row, positions.row(place as usize));
            }
        }
        let tape = DecoderTape {
            encoder_norm,
            encoded,
        };
        Ok((self.stack.forward(x, keep)?, tape))
    }

    /// From the gradient of the head's input to that of the encoder's last layer.
    pub fn backward(
        &self,
        tape: DecoderTape<T>,
        layers: Vec<LayerTape<T>>,
        d: Matrix<T>,
        gradients: &mut Parameters<T>,
    ) -> Result<Matrix<T>> {
        let Some(into) = &mut gradients.decoder else {
            return Ok(d);
        };
        let d = self.stack.backward(layers, d, &mut into.layers)?;
        let d_removed = d.gather(&self.whole.removed);
        into.mask.accumulate(d_removed.column_sums());
        if let (Some(positions), Some(into)) = (&self.parameters.positions, &mut into.positions) {
            embedding_backward(positions, &d_removed, &self.removed_places, into);
        }
        let mut d = d.gather(&self.whole.kept);
        if let (Some(entry), Some(into)) = (&self.parameters.entry, &mut into.entry) {
            d = linear_backward(d, &tape.encoded, entry, into)?;
        }
        if let (Some(normed), Some(into)) = (tape.encoder_norm, &mut gradients.final_norm) {
            d = norm_backward(normed, d, into);
        }
        Ok(d)
    }
}

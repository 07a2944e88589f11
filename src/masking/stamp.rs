//! What a row's rates are drawn from besides its key (spec 5).

use super::budget::Rates;

/// Where a row stands in the training: stamped on it by whoever reads rows, so that
/// nothing asks a trainer for its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The optimiser step that the row belongs to, from 0.
    pub step: u64,
    /// Which row of its step it is, from 0, before copies.
    pub place: u32,
    /// Rows of a step, before copies.
    pub rows: u32,
}

impl Default for Stamp {
    /// The only row of the first step.
    fn default() -> Self {
        Self {
            step: 0,
            place: 0,
            rows: 1,
        }
    }
}

/// What was drawn for a row as a whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drawn {
    /// Which component of the mixture; 0 without one.
    pub component: usize,
    /// m_corr of the row.
    pub corruption_rate: f64,
    /// m_pred of the row.
    pub prediction_rate: f64,
    /// k: how often the row is emitted.
    pub copies: u32,
    /// What each of its labels weighs in the loss: 1/m_pred under the diffusion laws,
    /// else 1.
    pub weight: f32,
}

impl Drawn {
    /// Of the rates of a row.
    pub(super) fn new(component: usize, rates: &Rates, weighted: bool) -> Self {
        Self {
            component,
            corruption_rate: rates.corruption,
            prediction_rate: rates.prediction,
            copies: rates.copies as u32,
            weight: if weighted {
                (1.0 / rates.prediction) as f32
            } else {
                1.0
            },
        }
    }
}

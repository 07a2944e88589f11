//! A batch as columns of the kinds that other frameworks take: 64-bit ids and labels,
//! matrices filled up, and where attention runs end. 24 bytes a token are written where a
//! batch has 4, so this belongs on the thread that makes batches.

use super::{Batch, Position};
use crate::config::{Layout, RowLayout};
use crate::masking::Realised;

/// The label of a position that has none: what the loss of PyTorch leaves out.
pub const IGNORED: i64 = -100;

/// How labels are handed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LabelForm {
    /// A matrix with [`IGNORED`] where there is no label.
    #[default]
    Dense,
    /// Positions and labels.
    Sparse,
}

/// A batch in columns. Matrices are flat and row-major.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns {
    /// Rows, copies included.
    pub rows: usize,
    /// Tokens in a row, padding included.
    pub length: usize,
    /// Ids after corruption, `rows × length`.
    pub input_ids: Vec<i64>,
    /// 1 for a token and 0 for padding, `rows × length`.
    pub attention_mask: Vec<i64>,
    /// The position of each token in its attention run, 0 for padding, `rows × length`. Only
    /// where rows hold several runs, or tokens do not stand where they stood.
    pub position_ids: Option<Vec<i64>>,
    /// 0, then the end of each attention run, counted in tokens without padding. Only where
    /// rows hold several runs.
    pub cu_seqlens: Option<Vec<i32>>,
    /// What is to be predicted.
    pub labels: Labels,
    /// What each label of a row weighs in the loss, `rows`; nothing where all weigh 1.
    pub label_weights: Option<Vec<f32>>,
    /// The optimiser step that the batch belongs to.
    pub step: u64,
    /// What was realised.
    pub realised: Realised,
    /// Where the stream stands after it.
    pub after: Position,
}

/// Labels in one of their forms.
#[derive(Debug, Clone, PartialEq)]
pub enum Labels {
    /// `rows × width`, [`IGNORED`] where there is none. The width is that of rows as they
    /// were, or of targets in the layout sentinel.
    Dense {
        /// Row by row.
        labels: Vec<i64>,
        /// Labels in a row.
        width: usize,
    },
    /// Where there is a label in that matrix, flat and ascending, and the label.
    Sparse {
        /// `row · width + place`.
        positions: Vec<i64>,
        /// The id to be predicted.
        labels: Vec<i64>,
        /// Labels in a row of the matrix.
        width: usize,
    },
}

impl Default for Labels {
    fn default() -> Self {
        Self::Dense {
            labels: Vec::new(),
            width: 0,
        }
    }
}

impl Columns {
    /// The columns of `batch`, whose rows are of `rows` layout.
    pub fn new(batch: &Batch, rows: RowLayout, form: LabelForm) -> Self {
        let several = rows == RowLayout::BestFit;
        let moved = batch.layout != Layout::InPlace;
        let mut attention_mask = Vec::with_capacity(batch.input.len());
        for &length in &batch.lengths {
            let filled = attention_mask.len() + batch.length;
            attention_mask.resize(attention_mask.len() + length as usize, 1);
            attention_mask.resize(filled, 0);
        }
        Self {
            rows: batch.rows,
            length: batch.length,
            input_ids: wide(&batch.input),
            attention_mask,
            position_ids: (several || moved).then(|| positions(batch)),
            cu_seqlens: several.then(|| batch.cu_seqlens.iter().map(|&end| end as i32).collect()),
            labels: labels(batch, form),
            label_weights: (!batch.weights.is_empty()).then(|| batch.weights.clone()),
            step: batch.step,
            realised: batch.realised,
            after: batch.after,
        }
    }
}

fn wide(values: &[u32]) -> Vec<i64> {
    values.iter().map(|&value| value.into()).collect()
}

fn labels(batch: &Batch, form: LabelForm) -> Labels {
    let width = match batch.layout {
        Layout::InPlace | Layout::Removed => batch.row_length,
        Layout::Sentinel => batch.target_length,
    };
    match form {
        LabelForm::Dense => Labels::Dense {
            labels: batch.dense_labels(IGNORED),
            width,
        },
        LabelForm::Sparse => Labels::Sparse {
            positions: wide(&batch.predicted),
            labels: wide(&batch.labels),
            width,
        },
    }
}

/// Positions of tokens with padding between, where [`Batch::position_ids`] has none.
fn positions(batch: &Batch) -> Vec<i64> {
    let mut tokens = batch.position_ids().into_iter().map(i64::from);
    let mut positions = Vec::with_capacity(batch.input.len());
    for &length in &batch.lengths {
        let filled = positions.len() + batch.length;
        positions.extend(tokens.by_ref().take(length as usize));
        positions.resize(filled, 0);
    }
    positions
}

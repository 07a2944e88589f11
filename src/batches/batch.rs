//! One batch of masked rows, as the model takes it. All buffers are flat and
//! row-major; predicted positions are carried to the loss, never found again.

use crate::base::token::TokenId;
use crate::masking::Realised;
use serde::{Deserialize, Serialize};

/// Where a stream of batches stands: the next row to be read. Resuming here is
/// arithmetic, not replay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Row within the epoch's order, from 0.
    pub row: u64,
}

/// Masked rows of one length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Number of rows, copies included.
    pub rows: usize,
    /// Tokens in a row, padding included.
    pub length: usize,
    /// Ids after corruption, `rows × length`.
    pub input: Vec<TokenId>,
    /// Tokens of each row before its padding, `rows`.
    pub lengths: Vec<u32>,
    /// 0, then the end of each attention run, row after row, counted in tokens without
    /// padding: what FlashAttention's kernels for variable lengths take (Dao et al.
    /// 2022). A row is one run, or one for each document in the layout `best_fit`;
    /// copies of a row have the same runs.
    pub cu_seqlens: Vec<u32>,
    /// Flat positions (`row · length + place`) that carry a label, ascending.
    pub predicted: Vec<u32>,
    /// The original id at each predicted position.
    pub labels: Vec<TokenId>,
    /// What was realised in this batch.
    pub realised: Realised,
    /// Where the stream stands after this batch.
    pub after: Position,
}

impl Batch {
    /// Enters the attention runs of one more row, given where they end in it.
    pub fn push_runs(&mut self, ends: &[u32]) {
        if self.cu_seqlens.is_empty() {
            self.cu_seqlens.push(0);
        }
        let start = self.cu_seqlens[self.cu_seqlens.len() - 1];
        self.cu_seqlens.extend(ends.iter().map(|end| start + end));
    }

    /// The tokens of each attention run.
    pub fn run_lengths(&self) -> impl Iterator<Item = u32> {
        self.cu_seqlens.windows(2).map(|ends| ends[1] - ends[0])
    }

    /// The position of each token in its attention run, padding left out: as many as
    /// the last of `cu_seqlens` says.
    pub fn position_ids(&self) -> impl Iterator<Item = u32> {
        self.run_lengths().flat_map(|length| 0..length)
    }
}

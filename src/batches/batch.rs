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
    /// Flat positions (`row · length + place`) that carry a label, ascending.
    pub predicted: Vec<u32>,
    /// The original id at each predicted position.
    pub labels: Vec<TokenId>,
    /// What was realised in this batch.
    pub realised: Realised,
    /// Where the stream stands after this batch.
    pub after: Position,
}

//! One batch of masked rows, as the model takes it. All buffers are flat and
//! row-major; predicted positions are carried to the loss, never found again.

use crate::base::generator::Key;
use crate::base::token::TokenId;
use crate::config::Layout;
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
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// Number of rows, copies included.
    pub rows: usize,
    /// What became of the selected tokens.
    pub layout: Layout,
    /// L: tokens in a row as it was read, padding included.
    pub row_length: usize,
    /// Tokens in a row of `input`, padding included: L in place, otherwise as many as
    /// the longest row has.
    pub length: usize,
    /// Ids after corruption, `rows × length`.
    pub input: Vec<TokenId>,
    /// Tokens of each row of `input` before its padding, `rows`.
    pub lengths: Vec<u32>,
    /// Layouts removed and sentinel: the place in its row as it was of each token of
    /// `input` (of a sentinel, that of the first token it stands for), 0 where there is
    /// padding. In place it is empty: every token stands where it stood.
    pub places: Vec<u32>,
    /// 0, then the end of each attention run, row after row, counted in tokens without
    /// padding: what FlashAttention's kernels for variable lengths take (Dao et al.
    /// 2022). A row is one run, or one for each document in the layout `best_fit`;
    /// copies of a row have the same runs.
    pub cu_seqlens: Vec<u32>,
    /// Where there are places: that of the first token of each attention run.
    pub run_starts: Vec<u32>,
    /// Where there are places: the tokens of each row as it was, before its padding.
    pub row_lengths: Vec<u32>,
    /// Layout sentinel: tokens in a row of `target`, padding included.
    pub target_length: usize,
    /// Layout sentinel: the ids to be generated, `rows × target_length`.
    pub target: Vec<TokenId>,
    /// Layout sentinel: tokens of each row of `target` before its padding.
    pub target_lengths: Vec<u32>,
    /// Where there is a label, ascending: `row · row_length + place` in the row as it
    /// was, or in the layout sentinel `row · target_length + place` in the target, where
    /// sentinels and the closing token are to be generated, too.
    pub predicted: Vec<u32>,
    /// The id to be predicted at each of them.
    pub labels: Vec<TokenId>,
    /// What each label of a row weighs in the loss, one a row; empty where all weigh 1.
    /// A weighted loss is divided by the maskable tokens, any other by the labels.
    pub weights: Vec<f32>,
    /// What each row's mask was drawn by, copy included: the same key gives the same row
    /// again.
    pub keys: Vec<Key>,
    /// The optimiser step that the first row belongs to.
    pub step: u64,
    /// What was realised in this batch.
    pub realised: Realised,
    /// Where the stream stands after this batch.
    pub after: Position,
}

impl Batch {
    /// Enters the attention runs of one more row: where they end in the row as it was,
    /// and where its tokens start in `places`, in layouts that have places.
    pub fn push_runs(&mut self, ends: &[u32], from: usize) {
        if self.cu_seqlens.is_empty() {
            self.cu_seqlens.push(0);
        }
        let start = self.cu_seqlens[self.cu_seqlens.len() - 1];
        let places = &self.places[from..];
        let in_place = self.layout == Layout::InPlace;
        if !in_place {
            self.run_starts.push(0);
            self.run_starts
                .extend(&ends[..ends.len().saturating_sub(1)]);
            self.row_lengths.push(ends.last().copied().unwrap_or(0));
        }
        self.cu_seqlens.extend(ends.iter().map(|&end| {
            let kept = match in_place {
                true => end,
                false => places.partition_point(|&place| place < end) as u32,
            };
            start + kept
        }));
    }

    /// Tokens of the rows as they were, padding left out.
    pub fn tokens(&self) -> u64 {
        let lengths = match self.layout {
            Layout::InPlace => &self.lengths,
            Layout::Removed | Layout::Sentinel => &self.row_lengths,
        };
        lengths.iter().map(|&length| u64::from(length)).sum()
    }

    /// The tokens of each attention run.
    pub fn run_lengths(&self) -> impl Iterator<Item = u32> {
        self.cu_seqlens.windows(2).map(|ends| ends[1] - ends[0])
    }

    /// The position of each token in its attention run, padding left out, as many as
    /// the last of `cu_seqlens` says. In the layout removed it is that in the run as it
    /// was, with all its tokens.
    pub fn position_ids(&self) -> Vec<u32> {
        if self.layout != Layout::Removed {
            return self.run_lengths().flat_map(|length| 0..length).collect();
        }
        let rows = self.places.chunks(self.length.max(1)).zip(&self.lengths);
        let mut places = rows.flat_map(|(row, &length)| &row[..length as usize]);
        self.run_lengths()
            .zip(&self.run_starts)
            .flat_map(|(length, start)| {
                places
                    .by_ref()
                    .take(length as usize)
                    .map(move |place| place - start)
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// Labels as a matrix, `ignore` (−100 for PyTorch) where there is none:
    /// `rows × row_length`, or `rows × target_length` in the layout sentinel.
    pub fn dense_labels(&self, ignore: i64) -> Vec<i64> {
        let width = match self.layout {
            Layout::InPlace | Layout::Removed => self.row_length,
            Layout::Sentinel => self.target_length,
        };
        let mut labels = vec![ignore; self.rows * width];
        for (&position, &label) in self.predicted.iter().zip(&self.labels) {
            labels[position as usize] = i64::from(label);
        }
        labels
    }
}

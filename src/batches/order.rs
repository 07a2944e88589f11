//! The order of rows in an epoch: computed from (seed, epoch), not stored.
//!
//! Record batches are permuted (stream `Order` of the key with sample 0). Of the
//! permuted list, as many as hold about `window_tokens` tokens form a window; the
//! rows of window w are permuted together (sample w + 1). So every record batch is
//! decoded once an epoch, and what lies near each other in the shards does not lie
//! near in the epoch. Finding a position again is a look-up, not a replay.

use super::corpus::Corpus;
use crate::base::generator::{Key, Purpose};

/// The permuted record batches of one epoch, in windows.
#[derive(Debug, Clone)]
pub struct Epoch {
    key: Key,
    batches: Vec<u32>,
    windows: Vec<Window>,
    rows: u64,
}

/// Record batches whose rows are permuted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Its number in the epoch.
    pub index: u64,
    /// Its first row in the epoch's order.
    pub first: u64,
    /// Its rows.
    pub rows: u64,
    /// Where its record batches are in the permuted list.
    batches: std::ops::Range<usize>,
}

impl Epoch {
    /// The order of epoch `epoch` over the first `training` rows of `corpus`. Time and
    /// memory grow with the number of record batches only.
    pub fn new(corpus: &Corpus, training: u64, window_tokens: u64, seed: u64, epoch: u64) -> Self {
        let key = Key {
            seed,
            epoch,
            ..Key::default()
        };
        let mut batches: Vec<u32> = (0..corpus.batches() as u32)
            .filter(|&batch| rows_below(corpus, batch, training) > 0)
            .collect();
        key.generator(Purpose::Order).shuffle(&mut batches);
        let mut windows = Vec::new();
        let (mut start, mut first, mut rows, mut tokens) = (0, 0, 0, 0);
        for (index, &batch) in batches.iter().enumerate() {
            rows += rows_below(corpus, batch, training);
            tokens += corpus.shards().batches()[batch as usize].tokens;
            if tokens >= window_tokens || index + 1 == batches.len() {
                windows.push(Window {
                    index: windows.len() as u64,
                    first,
                    rows,
                    batches: start..index + 1,
                });
                first += rows;
                start = index + 1;
                (rows, tokens) = (0, 0);
            }
        }
        Self {
            key,
            batches,
            windows,
            rows: first,
        }
    }

    /// Rows of the epoch.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The window that holds row `row` of the epoch's order.
    pub fn window_of(&self, row: u64) -> &Window {
        let after = self.windows.partition_point(|window| window.first <= row);
        &self.windows[after - 1]
    }

    /// The record batches of `window`, in the order of the permutation.
    pub fn batches_of(&self, window: &Window) -> &[u32] {
        &self.batches[window.batches.clone()]
    }

    /// The permutation of the rows of `window`.
    pub fn rows_of(&self, window: &Window) -> Vec<u32> {
        let mut rows: Vec<u32> = (0..window.rows as u32).collect();
        Key {
            sample: window.index + 1,
            ..self.key
        }
        .generator(Purpose::Order)
        .shuffle(&mut rows);
        rows
    }
}

/// How many rows of record batch `batch` are trained on.
pub fn rows_below(corpus: &Corpus, batch: u32, training: u64) -> u64 {
    let rows = corpus.rows_of(batch as usize);
    rows.end.min(training).saturating_sub(rows.start)
}

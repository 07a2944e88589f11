//! Rows of which one token each is hidden and asked for: what a pseudo-log-likelihood is a
//! sum over (Salazar et al. 2020).

use super::Batch;
use crate::base::token::TokenId;
use crate::config::Layout;

/// Rows that are put into one batch, each one attention run.
pub struct OneHidden {
    batch: Batch,
    mask: TokenId,
    pad: TokenId,
}

impl OneHidden {
    /// An empty batch for rows of up to `row_length` tokens. In place, `mask` stands for the
    /// hidden token; in the layout `removed` nothing does.
    pub fn new(layout: Layout, row_length: usize, mask: TokenId, pad: TokenId) -> Self {
        let length = match layout {
            Layout::InPlace => row_length,
            Layout::Removed | Layout::Sentinel => row_length.saturating_sub(1),
        };
        let batch = Batch {
            layout,
            row_length,
            length,
            ..Batch::default()
        };
        Self { batch, mask, pad }
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.batch.rows
    }

    /// Adds the row `ids`, at most as long as the batch is for, whose token at `place` is
    /// hidden.
    pub fn push(&mut self, ids: &[TokenId], place: usize) {
        let batch = &mut self.batch;
        let base = batch.rows * batch.row_length;
        batch.predicted.push((base + place) as u32);
        batch.labels.push(ids[place]);
        let from = batch.places.len();
        batch.input.extend_from_slice(&ids[..place]);
        if batch.layout == Layout::InPlace {
            batch.input.push(self.mask);
        } else {
            let places = 0..ids.len() as u32;
            batch.places.extend(places.filter(|&p| p as usize != place));
        }
        batch.input.extend_from_slice(&ids[place + 1..]);
        batch.push_runs(&[ids.len() as u32], from);
        let hidden = usize::from(batch.layout != Layout::InPlace);
        batch.lengths.push((ids.len() - hidden) as u32);
        batch.rows += 1;
        let padded = batch.rows * batch.length;
        batch.input.resize(padded, self.pad);
        if batch.layout != Layout::InPlace {
            batch.places.resize(padded, 0);
        }
    }

    /// The batch.
    pub fn finish(self) -> Batch {
        self.batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hidden_token_is_the_label_and_leaves_the_row_or_is_masked() {
        let batch = |layout| {
            let mut rows = OneHidden::new(layout, 4, 9, 0);
            rows.push(&[1, 5, 2], 1);
            rows.push(&[1, 6, 7, 2], 2);
            rows.finish()
        };
        let in_place = batch(Layout::InPlace);
        assert_eq!(in_place.input, [1, 9, 2, 0, 1, 6, 9, 2]);
        assert_eq!(in_place.lengths, [3, 4]);
        assert_eq!(in_place.cu_seqlens, [0, 3, 7]);
        let removed = batch(Layout::Removed);
        assert_eq!(removed.input, [1, 2, 0, 1, 6, 2]);
        assert_eq!(removed.places, [0, 2, 0, 0, 1, 3]);
        assert_eq!(removed.lengths, [2, 3]);
        assert_eq!(removed.cu_seqlens, [0, 2, 5]);
        assert_eq!(removed.row_lengths, [3, 4]);
        for batch in [in_place, removed] {
            assert_eq!(batch.predicted, [1, 6]);
            assert_eq!(batch.labels, [5, 7]);
        }
    }
}

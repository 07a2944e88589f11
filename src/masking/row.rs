//! One row, as masking sees it.

use crate::base::boundaries::BoundarySlice;
use crate::base::token::TokenId;

/// The tokens of a row before its padding, with one bit for each in every plane.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Ids, special tokens included.
    pub ids: &'a [TokenId],
    /// Set where nothing may be corrupted or predicted: special and added tokens.
    /// A unit ends at such a position.
    pub protected: BoundarySlice<'a>,
    /// Set where a word starts. The first token of a row starts one in any case:
    /// a word cut by the row's edge is a shorter word.
    pub word_start: BoundarySlice<'a>,
    /// Set where a unit of the masking vocabulary starts; the words again where the
    /// text was not segmented.
    pub unit_start: BoundarySlice<'a>,
}

impl Row<'_> {
    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

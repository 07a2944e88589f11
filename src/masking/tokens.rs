//! What masks need to know of the tokenizer and the text beside the row at hand.

use crate::base::token::SpecialTokens;
use std::sync::Arc;

/// The tokens of a vocabulary.
#[derive(Debug, Clone)]
pub struct TokenTable<'a> {
    /// Number of ids.
    pub size: usize,
    /// Special tokens by role, and all that are reserved.
    pub special: &'a SpecialTokens,
    /// How often each id occurs, for `random_ids = "unigram"`.
    pub counts: Option<&'a [u64]>,
    /// What scales the chance of each id to be selected, for `token_weights`.
    pub weights: Option<Arc<[f32]>>,
}

impl<'a> TokenTable<'a> {
    /// Tokens without counts and weights.
    pub fn new(size: usize, special: &'a SpecialTokens) -> Self {
        Self {
            size,
            special,
            counts: None,
            weights: None,
        }
    }
}

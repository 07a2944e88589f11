//! Token ids, slices of them as they lie in a shard, and the special tokens by
//! role. A slice costs nothing to make; widening to 32 bits copies.

use serde::{Deserialize, Serialize};

/// Position of a token in the tokenizer's vocabulary.
pub type TokenId = u32;

/// The token ids of one document or row, as wide as they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenSlice<'a> {
    /// Vocabularies of up to 65 536 tokens.
    Narrow(&'a [u16]),
    /// Larger vocabularies.
    Wide(&'a [u32]),
}

impl<'a> TokenSlice<'a> {
    /// Number of tokens.
    pub fn len(&self) -> usize {
        match self {
            Self::Narrow(ids) => ids.len(),
            Self::Wide(ids) => ids.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The id at `index`; panics beyond the end, as slices do.
    pub fn get(&self, index: usize) -> TokenId {
        match self {
            Self::Narrow(ids) => ids[index].into(),
            Self::Wide(ids) => ids[index],
        }
    }

    /// The largest id; `None` of no tokens.
    pub fn max(&self) -> Option<TokenId> {
        match self {
            Self::Narrow(ids) => ids.iter().copied().max().map(TokenId::from),
            Self::Wide(ids) => ids.iter().copied().max(),
        }
    }

    /// The tokens `range`.
    pub fn slice(&self, range: std::ops::Range<usize>) -> TokenSlice<'a> {
        match self {
            Self::Narrow(ids) => TokenSlice::Narrow(&ids[range]),
            Self::Wide(ids) => TokenSlice::Wide(&ids[range]),
        }
    }

    /// Appends all ids to `out`, widened to 32 bits.
    pub fn append_to(&self, out: &mut Vec<TokenId>) {
        match self {
            Self::Narrow(ids) => out.extend(ids.iter().map(|&id| TokenId::from(id))),
            Self::Wide(ids) => out.extend_from_slice(ids),
        }
    }

    /// The ids, widened to 32 bits.
    pub fn to_vec(&self) -> Vec<TokenId> {
        let mut out = Vec::with_capacity(self.len());
        self.append_to(&mut out);
        out
    }
}

/// Whether ids of a vocabulary of `size` entries need 32 bits.
pub fn is_wide(size: usize) -> bool {
    size > 1 << 16
}

/// Special tokens by role. A role is `None` when the tokenizer has no such token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SpecialTokens {
    /// `[MASK]` or `<mask>`: stands where a token was masked.
    pub mask: Option<TokenId>,
    /// `[CLS]` or `<s>`: opens a row; T5 has none.
    pub cls: Option<TokenId>,
    /// `[SEP]` or `</s>`: closes a row and stands between documents.
    pub sep: Option<TokenId>,
    /// `[PAD]` or `<pad>`: fills short rows.
    pub pad: Option<TokenId>,
    /// `[UNK]` or `<unk>`: stands for text that the vocabulary cannot spell.
    pub unk: Option<TokenId>,
    /// Every special or added id, roles and sentinels included, ascending. None of them
    /// is ever masked, predicted or drawn as a random replacement.
    pub reserved: Vec<TokenId>,
    /// `<extra_id_0>`, `<extra_id_1>`, … in the order of their numbers: what stands for
    /// spans in the layout `sentinel` (Raffel et al. 2020). Among the reserved ids. Left
    /// out of manifests when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sentinels: Vec<TokenId>,
}

impl SpecialTokens {
    /// Whether `id` is special or added.
    pub fn is_reserved(&self, id: TokenId) -> bool {
        self.reserved.binary_search(&id).is_ok()
    }
}

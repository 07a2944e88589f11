//! What selected tokens are replaced by (spec 4). The draws are told in
//! [`crate::masking`].

use super::Realised;
use super::TokenTable;
use crate::base::error::{Error, Result};
use crate::base::generator::Generator;
use crate::base::token::TokenId;
use crate::config::{Layout, MaskingConfig, RandomIds};

/// The law of replacement.
#[derive(Debug, Clone)]
pub struct Replacement {
    mask: TokenId,
    mask_below: f64,
    random_below: f64,
    ordinary: Ordinary,
}

/// What a random replacement is drawn from: ids that are not reserved.
#[derive(Debug, Clone)]
enum Ordinary {
    /// All of them alike.
    Uniform {
        count: u32,
        /// `reserved[i] − i`: how many ordinary ids lie below the i-th reserved one.
        below_reserved: Vec<u32>,
    },
    /// As often as the text has them.
    Unigram {
        ids: Vec<TokenId>,
        /// How often these and all before them occur.
        up_to: Vec<u64>,
    },
}

impl Ordinary {
    fn uniform(tokens: &TokenTable<'_>) -> Self {
        let reserved = tokens
            .special
            .reserved
            .iter()
            .filter(|&&id| (id as usize) < tokens.size);
        let below_reserved: Vec<u32> = (0..).zip(reserved).map(|(i, &id)| id - i).collect();
        Self::Uniform {
            count: (tokens.size - below_reserved.len()) as u32,
            below_reserved,
        }
    }

    fn unigram(tokens: &TokenTable<'_>, counts: &[u64]) -> Self {
        let (mut ids, mut up_to, mut sum) = (Vec::new(), Vec::new(), 0);
        for (id, &count) in (0..).zip(counts) {
            if count > 0 && !tokens.special.is_reserved(id) {
                sum += count;
                ids.push(id);
                up_to.push(sum);
            }
        }
        Self::Unigram { ids, up_to }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Uniform { count, .. } => *count == 0,
            Self::Unigram { ids, .. } => ids.is_empty(),
        }
    }

    #[inline]
    fn draw(&self, draws: &mut Generator) -> TokenId {
        match self {
            Self::Uniform {
                count,
                below_reserved,
            } => {
                let rank = draws.below(*count);
                rank + below_reserved.partition_point(|&below| below <= rank) as u32
            }
            Self::Unigram { ids, up_to } => {
                let last = up_to.len() - 1;
                let place = (draws.unit() * up_to[last] as f64) as u64;
                ids[up_to.partition_point(|&sum| sum <= place).min(last)]
            }
        }
    }
}

/// What a group of selected tokens is replaced by.
#[derive(Clone, Copy)]
enum Category {
    Mask,
    Random,
    Same,
}

impl Replacement {
    /// The law of `config` for the tokens of `tokens`.
    pub fn new(config: &MaskingConfig, tokens: &TokenTable<'_>) -> Result<Self> {
        let ordinary = match (config.random_ids, tokens.counts) {
            (RandomIds::Uniform, _) => Ordinary::uniform(tokens),
            (RandomIds::Unigram, Some(counts)) => Ordinary::unigram(tokens, counts),
            // Nothing is ever drawn.
            (RandomIds::Unigram, None) if config.random_share == 0.0 => Ordinary::uniform(tokens),
            (RandomIds::Unigram, None) => {
                return Err(Error::mismatch(
                    "masking.random_ids",
                    "unigram without shards to count tokens in",
                    "shards",
                    "set random_ids = \"uniform\"",
                ));
            }
        };
        if config.random_share > 0.0 && ordinary.is_empty() {
            return Err(Error::mismatch(
                "masking.random_share",
                format!(
                    "{} with no ordinary token in the vocabulary",
                    config.random_share
                ),
                "a vocabulary with tokens that are not special",
                "set random_share = 0",
            ));
        }
        let mask = match tokens.special.mask {
            Some(mask) => mask,
            // Nothing is ever replaced by it, or what is does not stay in the row.
            None if config.mask_share == 0.0 || config.layout != Layout::InPlace => TokenId::MAX,
            None => {
                return Err(Error::mismatch(
                    "tokenizer",
                    "no mask token",
                    "a token that stands where a token was masked",
                    "name it with --mask-token when tokenising (with --add-special-tokens where \
                     the vocabulary lacks it), or set layout = \"removed\"",
                ));
            }
        };
        // Sums of shares may fall short of 1 by a rounding; a share of 0 is never met.
        let random_below = if config.same_share > 0.0 {
            config.mask_share + config.random_share
        } else {
            1.0
        };
        let mask_below = if config.random_share > 0.0 {
            config.mask_share
        } else {
            random_below
        };
        Ok(Self {
            mask,
            mask_below,
            random_below,
            ordinary,
        })
    }

    /// The id that stands where a token was masked.
    pub fn mask(&self) -> TokenId {
        self.mask
    }

    /// Whether every selected token becomes the mask token, so that nothing need be
    /// drawn.
    pub fn only_masks(&self) -> bool {
        self.mask_below >= 1.0
    }

    /// Puts the mask token at each `selected` position of `input`.
    pub fn mask_all(&self, selected: &[u64], input: &mut [TokenId], realised: &mut Realised) {
        for (place, &word) in input.chunks_mut(64).zip(selected) {
            let mut rest = word;
            while rest != 0 {
                place[rest.trailing_zeros() as usize] = self.mask;
                rest &= rest - 1;
            }
            realised.masked += u64::from(word.count_ones());
        }
    }

    /// Draws a category for each group and applies it to the `selected` positions of
    /// `input`. A group opens at a bit of `openings`; without openings each position
    /// is one.
    pub fn apply(
        &self,
        selected: &[u64],
        openings: Option<&[u64]>,
        draws: &mut Generator,
        input: &mut [TokenId],
        realised: &mut Realised,
    ) {
        let Some(openings) = openings else {
            return self.apply_each(selected, draws, input, realised);
        };
        let mut category = Category::Same;
        let mut opened = true;
        for (index, (&word, place)) in selected.iter().zip(input.chunks_mut(64)).enumerate() {
            let mut openings = openings[index];
            let mut rest = word;
            while rest != 0 {
                let bit = rest.trailing_zeros();
                rest &= rest - 1;
                let up_to = u64::MAX >> (63 - bit);
                if opened || openings & up_to != 0 {
                    category = self.draw(draws);
                }
                openings &= !up_to;
                opened = false;
                match category {
                    Category::Mask => {
                        place[bit as usize] = self.mask;
                        realised.masked += 1;
                    }
                    Category::Random => {
                        place[bit as usize] = self.ordinary.draw(draws);
                        realised.random += 1;
                    }
                    Category::Same => realised.same += 1,
                }
            }
            opened |= openings != 0;
        }
    }

    /// As [`Replacement::apply`] with a group for each position. Without a branch on
    /// whether it is masked; the rare other fates have one.
    fn apply_each(
        &self,
        selected: &[u64],
        draws: &mut Generator,
        input: &mut [TokenId],
        realised: &mut Realised,
    ) {
        let (mut all, mut masks, mut random) = (0, 0, 0);
        for (&word, place) in selected.iter().zip(input.chunks_mut(64)) {
            let mut rest = word;
            all += u64::from(word.count_ones());
            while rest != 0 {
                let at = &mut place[rest.trailing_zeros() as usize];
                rest &= rest - 1;
                let u = draws.unit();
                let masked = u < self.mask_below;
                *at = if masked { self.mask } else { *at };
                masks += u64::from(masked);
                if !masked && u < self.random_below {
                    *at = self.ordinary.draw(draws);
                    random += 1;
                }
            }
        }
        realised.masked += masks;
        realised.random += random;
        realised.same += all - masks - random;
    }

    #[inline]
    fn draw(&self, draws: &mut Generator) -> Category {
        let u = draws.unit();
        if u < self.mask_below {
            Category::Mask
        } else if u < self.random_below {
            Category::Random
        } else {
            Category::Same
        }
    }
}

//! Keys of `cloze count`, and the rules of what a counted word is (spec 7).

use crate::base::error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Words of the tokenizer's pre-tokenizer.
    #[default]
    Word,
    /// Tokens, by their spelling in the vocabulary.
    Token,
}

/// What punctuation does to an n-gram.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Punctuation {
    /// No n-gram crosses it.
    #[default]
    Barrier,
    /// It is left out, and n-grams go across it.
    Skip,
    /// It counts as a word.
    Word,
}

/// What a word with an unknown token in it does to an n-gram.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    /// No n-gram crosses it.
    #[default]
    Barrier,
    /// The unknown token counts as itself.
    Word,
}

/// What a word is, for counting and for finding n-grams again. A masking vocabulary
/// carries the rules that it was made with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WordRules {
    /// Count words, or tokens (for Chinese and other scripts whose pre-tokenizer
    /// splits characters, and for piece-level vocabularies).
    pub unit: Unit,
    /// What punctuation does to an n-gram.
    pub punctuation: Punctuation,
    /// What a word with an unknown token in it does to an n-gram.
    pub unknown: Unknown,
    /// Keep upper and lower case apart.
    pub cased: bool,
}

/// Token files to n-gram counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CountConfig {
    /// The longest n-gram, 1 to 5 words.
    pub max_length: u32,
    /// N-grams that occur less often are left out ("over 10 occurrences" in Levine
    /// et al. 2021).
    pub min_count: u64,
    /// Count words, or tokens (for Chinese and other scripts whose pre-tokenizer
    /// splits characters, and for piece-level vocabularies).
    pub unit: Unit,
    /// What punctuation does to an n-gram.
    pub punctuation: Punctuation,
    /// What a word with an unknown token in it does to an n-gram.
    pub unknown: Unknown,
    /// Keep upper and lower case apart.
    pub cased: bool,
}

impl Default for CountConfig {
    fn default() -> Self {
        Self {
            max_length: 5,
            min_count: 11,
            unit: Unit::Word,
            punctuation: Punctuation::Barrier,
            unknown: Unknown::Barrier,
            cased: false,
        }
    }
}

impl CountConfig {
    /// The rules of what a word is.
    pub fn rules(&self) -> WordRules {
        WordRules {
            unit: self.unit,
            punctuation: self.punctuation,
            unknown: self.unknown,
            cased: self.cased,
        }
    }

    /// Refuses what cannot work.
    pub fn check(&self) -> Result<()> {
        if !(1..=5).contains(&self.max_length) {
            return Err(Error::usage(
                "count.max_length",
                self.max_length.to_string(),
                "1 to 5",
                "PMI vocabularies use 5",
            ));
        }
        if self.min_count == 0 {
            return Err(Error::usage(
                "count.min_count",
                "0",
                "at least 1",
                "1 keeps every n-gram",
            ));
        }
        Ok(())
    }
}

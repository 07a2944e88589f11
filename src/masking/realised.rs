//! What was realised: the shares that every batch reports (spec 1).

use serde::{Deserialize, Serialize};

/// How many tokens met which fate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Realised {
    /// Tokens that could be masked: all but special tokens and padding.
    pub maskable: u64,
    /// Replaced by the mask token.
    pub masked: u64,
    /// Replaced by a random token (which may be the same one by chance).
    pub random: u64,
    /// Left as they were though selected, `extra_same` among them.
    pub same: u64,
    /// Carrying a label.
    pub predicted: u64,
    /// Labels that `max_predictions` took away. Not 0 means that the rates are not
    /// those asked for, and that somebody must be told.
    #[serde(default)]
    pub capped: u64,
    /// Selected tokens left as they were because their row has more spans than the
    /// tokenizer has sentinels. Not 0 means that the rates are not those asked for.
    #[serde(default)]
    pub without_sentinel: u64,
}

impl Realised {
    /// Replaced by the mask token or a random one.
    pub fn corrupted(&self) -> u64 {
        self.masked + self.random
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Realised) {
        self.maskable += other.maskable;
        self.masked += other.masked;
        self.random += other.random;
        self.same += other.same;
        self.predicted += other.predicted;
        self.capped += other.capped;
        self.without_sentinel += other.without_sentinel;
    }
}

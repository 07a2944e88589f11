//! Keys of `cloze shard` (spec 9).

use crate::base::error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which of two overlapping n-grams becomes the unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// Drawn (Levine et al. 2021), keyed by (seed, document).
    #[default]
    Random,
    /// The longer one, then the earlier one.
    Longest,
    /// The non-overlapping set with the highest total score.
    Best,
}

/// Token files and a masking vocabulary to shards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShardConfig {
    /// Which of two overlapping n-grams becomes the unit.
    pub overlap: Overlap,
    /// Tokens in a shard, about.
    pub shard_tokens: u64,
    /// Tokens in a record batch, the unit of access, compression and checksum.
    pub batch_tokens: u32,
    /// Level of zstd, 1 to 19. At any, matches of two 16-bit ids count.
    pub zstd_level: i32,
}

impl Default for ShardConfig {
    fn default() -> Self {
        Self {
            overlap: Overlap::Random,
            shard_tokens: 1 << 26,
            batch_tokens: 1 << 16,
            zstd_level: 1,
        }
    }
}

impl ShardConfig {
    /// Refuses what cannot work.
    pub fn check(&self) -> Result<()> {
        super::keys::check_batch_tokens("shard.batch_tokens", self.batch_tokens)?;
        super::keys::check_zstd_level("shard.zstd_level", self.zstd_level)?;
        if self.shard_tokens < u64::from(self.batch_tokens) {
            return Err(Error::usage(
                "shard.shard_tokens",
                self.shard_tokens.to_string(),
                format!("at least batch_tokens, {}", self.batch_tokens),
                "raise shard_tokens or lower batch_tokens",
            ));
        }
        Ok(())
    }
}

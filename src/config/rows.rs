//! Keys of rows (spec 10). The length is chosen when training starts.

use crate::base::error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How documents become rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RowLayout {
    /// Documents joined with a separator between and cut to equal rows.
    #[default]
    Packed,
    /// No row holds two documents; short rows are padded.
    Document,
    /// Whole documents packed by best fit, each between special tokens of its own and
    /// attending to itself alone; those longer than a row are cut.
    BestFit,
}

/// How documents become rows of one length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RowsConfig {
    /// How documents become rows.
    pub layout: RowLayout,
    /// Tokens in a row, the opening and closing special tokens included.
    pub length: u32,
}

impl Default for RowsConfig {
    fn default() -> Self {
        Self {
            layout: RowLayout::Packed,
            length: 128,
        }
    }
}

impl RowsConfig {
    /// Refuses what cannot work.
    pub fn check(&self) -> Result<()> {
        if !(3..=1 << 20).contains(&self.length) {
            return Err(Error::usage(
                "rows.length",
                self.length.to_string(),
                "3 to 1048576 tokens",
                "Wettig et al. use 128",
            ));
        }
        Ok(())
    }
}

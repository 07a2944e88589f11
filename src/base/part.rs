//! Part I of N of a stage: what one machine of many does, alone.

use crate::base::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One of `of` parts, numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Part {
    /// Which part, 0 ≤ index < of.
    pub index: u32,
    /// How many parts there are.
    pub of: u32,
}

impl Part {
    /// The whole, as one part.
    pub const WHOLE: Part = Part { index: 0, of: 1 };

    /// Checks that the index lies within the number of parts.
    pub fn new(index: u32, of: u32) -> Result<Self> {
        if index >= of {
            return Err(Error::usage(
                "--part",
                format!("part {index} of {of}"),
                "a part from 0 to N − 1",
                "number the parts from 0, as in --part 0 --of 4",
            ));
        }
        Ok(Self { index, of })
    }

    /// Whether task `number` belongs to this part.
    pub fn has(&self, number: u64) -> bool {
        number % u64::from(self.of) == u64::from(self.index)
    }

    /// `stem.extension` for the whole, `stem-00001-of-00004.extension` for a part.
    pub fn file_name(&self, stem: &str, extension: &str) -> String {
        if *self == Self::WHOLE {
            format!("{stem}.{extension}")
        } else {
            format!("{stem}-{:05}-of-{:05}.{extension}", self.index, self.of)
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "part {} of {}", self.index, self.of)
    }
}

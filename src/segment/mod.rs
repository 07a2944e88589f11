//! Layer 4, segment: text and masking vocabulary to masking units (spec 9). A unit
//! is an n-gram of the vocabulary or a single word; the result is one bit per token.
//! Not for choosing what is masked: that is drawn when training starts.

pub mod hits;
pub mod overlap;
mod places;
pub mod units;

pub use hits::Finder;
pub use units::{Segmenter, Units};

#[cfg(test)]
mod tests;

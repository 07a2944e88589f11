//! Layer 3, statistics: exact n-gram counts in bounded memory, and the masking
//! vocabulary that their scores rank (spec 8).
//!
//! [`count`](mod@count) reads the corpus once: [`tally`] finds the words that occur often
//! enough and how many windows there are, [`passes`] goes through the words, which
//! [`stream`] and [`ranked`] kept, once or several times, [`windows`] scatters the windows
//! of a pass into buckets by first word, and [`frequent`] counts a bucket, one length after
//! the other; [`groups`] counts all lengths in one scan where windows are sorted. A part of
//! a corpus keeps its windows instead, as a sorted run, and [`join`](mod@join) counts any
//! number of runs. [`trie`] holds counts in memory, [`scores`] scores them, [`ranking`]
//! takes the best, and [`vocabulary`] is what comes out; [`import`] reads published lists
//! instead.

pub mod count;
pub mod dictionary;
pub mod frequent;
pub mod groups;
pub mod import;
pub mod join;
pub mod passes;
pub mod plan;
pub mod ranked;
pub mod ranking;
pub mod scores;
pub mod sort;
pub mod stream;
pub mod tally;
pub mod texts;
pub mod trie;
pub mod vocabulary;
pub mod windows;
pub mod words;

pub use count::{Corpus, CountSink, Counting, Counts, RunSink};
pub use dictionary::{Dictionary, WordId, WordSet};
pub use join::{Join, Run};
pub use vocabulary::{MaskingVocabulary, Provenance};
pub use words::{Document, JoinedCodes, WordCodes, WordSource};

#[cfg(test)]
mod tests;

//! Masking units for a stage: a masking vocabulary on disk made ready for the
//! tokenizer of token files. Opening reads both; about 100 bytes an n-gram.

use crate::base::error::Result;
use crate::config::Overlap;
use crate::parallel;
use crate::segment::{Finder, Units};
use crate::statistics::MaskingVocabulary;
use crate::storage::TokenizerRecord;
use crate::tokenizer::{Tokenizer, WordTexts, read_written};
use std::path::Path;

/// Reads the masking vocabulary at `vocabulary`, whose rules say what a word is, and
/// the tokenizer that `record` names in `folder`. `seed` is for `overlap = random`.
pub fn open(
    vocabulary: &Path,
    folder: &Path,
    record: &TokenizerRecord,
    overlap: Overlap,
    seed: u64,
) -> Result<Units> {
    // Each is the work of one thread.
    let (tokenizer, (rules, found)) = parallel::both(
        parallel::threads(0),
        || read_written(folder, record),
        || {
            let vocabulary = MaskingVocabulary::read(vocabulary)?;
            Ok((vocabulary.provenance.rules, Finder::new(&vocabulary)))
        },
    )?;
    let texts = WordTexts::new(&tokenizer, rules);
    Ok(Units::of(found, texts, overlap, seed))
}

/// As [`open`], for a tokenizer at hand.
pub fn of(vocabulary: &Path, tokenizer: &Tokenizer, overlap: Overlap, seed: u64) -> Result<Units> {
    let vocabulary = MaskingVocabulary::read(vocabulary)?;
    let texts = WordTexts::new(tokenizer, vocabulary.provenance.rules);
    Ok(Units::new(&vocabulary, texts, overlap, seed))
}

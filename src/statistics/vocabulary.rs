//! A masking vocabulary: n-grams of two to five words that are masked as one, each
//! with its score, and what they were made from. It names words by their text, so
//! it belongs to no tokenizer. Memory: the texts and 32 bytes an n-gram.

use crate::base::error::{Error, Result};
use crate::columnar::vocabulary::Entry;
use crate::columnar::{VocabularyFile, write_vocabulary};
use crate::config::WordRules;
use crate::statistics::tally::MAX_LENGTH;
use crate::storage::cache::copy_of_input;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;

/// What a masking vocabulary was made from; the metadata `cloze` of its file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Version of the file format.
    pub format: u32,
    /// The score that ranks: pmi, pmi2, naive, npmi, frequency, or list.
    pub score: String,
    /// How many n-grams were wanted.
    pub size: u64,
    /// Shares of the size for lengths 2, 3, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<Vec<f64>>,
    /// N-grams that occur less often were left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_count: Option<u64>,
    /// The longest n-gram counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
    /// T_1, T_2, …: windows of each length in the corpus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<Vec<u64>>,
    /// What a word is.
    pub rules: WordRules,
    /// Fingerprints of the counts, or of the list.
    pub sources: Vec<String>,
}

/// N-grams with their scores, by length and then by rank.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MaskingVocabulary {
    /// What it was made from.
    pub provenance: Provenance,
    texts: String,
    ends: Vec<usize>,
    counts: Vec<u64>,
    scores: Vec<f64>,
}

impl MaskingVocabulary {
    /// Appends an n-gram: its words joined by one space.
    pub fn push(&mut self, ngram: &str, count: u64, score: f64) {
        self.texts.push_str(ngram);
        self.ends.push(self.texts.len());
        self.counts.push(count);
        self.scores.push(score);
    }

    /// Number of n-grams.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The n-gram at `index`; panics beyond the last one.
    pub fn get(&self, index: usize) -> Entry<'_> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        let ngram = &self.texts[start..self.ends[index]];
        Entry {
            ngram,
            length: words_in(ngram),
            count: self.counts[index],
            score: self.scores[index],
        }
    }

    /// All n-grams in order.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Writes it as Parquet to `out` and hands that back; `place` names it in
    /// messages.
    pub fn write<W: Write + Send>(&self, out: W, place: &str) -> Result<W> {
        let note = serde_json::to_value(&self.provenance)
            .map_err(|error| Error::library(format!("writing {place}"), error))?;
        write_vocabulary(out, place, self.iter(), &note)
    }

    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Self> {
        let file = VocabularyFile::open(&copy_of_input(path)?)?;
        let wrong = |found: String, expected: &str| {
            Error::corrupt(
                path.display().to_string(),
                found,
                expected,
                "make it again with `cloze vocabulary`",
            )
        };
        let provenance = serde_json::from_value(file.note().clone())
            .map_err(|error| wrong(error.to_string(), "the metadata as it was written"))?;
        let mut vocabulary = Self {
            provenance,
            ..Self::default()
        };
        file.read(|entry| {
            let words = words_in(entry.ngram);
            if entry.length != words || !(2..=MAX_LENGTH as u32).contains(&words) {
                return Err(wrong(
                    format!("{:?} of length {}", entry.ngram, entry.length),
                    "n-grams of two to five words",
                ));
            }
            if entry.score.is_nan() {
                return Err(wrong(
                    format!("{:?} without a score", entry.ngram),
                    "a number",
                ));
            }
            vocabulary.push(entry.ngram, entry.count, entry.score);
            Ok(())
        })?;
        Ok(vocabulary)
    }
}

fn words_in(ngram: &str) -> u32 {
    ngram.split(' ').count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vocabulary_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vocabulary.parquet");
        let mut vocabulary = MaskingVocabulary {
            provenance: Provenance {
                format: 1,
                score: "pmi".into(),
                size: 2,
                windows: Some(vec![10, 9]),
                ..Provenance::default()
            },
            ..MaskingVocabulary::default()
        };
        vocabulary.push("kuala lumpur", 12, 9.25);
        vocabulary.push("editor in chief", 11, 8.0);
        let out = std::fs::File::create(&path).unwrap();
        vocabulary.write(out, "test").unwrap();
        assert_eq!(MaskingVocabulary::read(&path).unwrap(), vocabulary);
    }

    #[test]
    fn a_single_word_is_no_masking_unit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vocabulary.parquet");
        let mut vocabulary = MaskingVocabulary::default();
        vocabulary.push("alone", 12, 9.25);
        let out = std::fs::File::create(&path).unwrap();
        vocabulary.write(out, "test").unwrap();
        let message = MaskingVocabulary::read(&path).unwrap_err().to_string();
        assert!(message.contains("\"alone\" of length 1"), "{message}");
    }
}

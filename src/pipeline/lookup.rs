//! A masking vocabulary to ask: n-grams by their text and by their rank, and the units of a
//! text. Memory: the vocabulary, 5 bytes an n-gram to find it by its text, and once units are
//! asked for, what finds them.

use crate::base::error::{Error, Result};
use crate::base::generator::{Key, Purpose};
use crate::columnar::vocabulary::Entry;
use crate::config::{Overlap, TokenizeConfig, Unit};
use crate::segment::Finder;
use crate::segment::hits::Candidates;
use crate::segment::overlap::Resolver;
use crate::statistics::MaskingVocabulary;
use crate::statistics::dictionary::{WordSet, hash};
use crate::statistics::vocabulary::Provenance;
use crate::statistics::words::{SKIPPED, code_of, counted};
use crate::storage::{Artefact, ArtefactKind};
use crate::tokenizer::words::of_ngram;
use crate::tokenizer::{Tokenizer, WordCutter};
use hashbrown::HashTable;
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

/// A masking vocabulary in memory.
pub struct Lookup {
    vocabulary: MaskingVocabulary,
    by_text: HashTable<u32>,
    /// The first n-gram of each length from 0 on.
    firsts: Vec<usize>,
    finder: OnceLock<(Finder, WordSet)>,
}

/// An n-gram of the vocabulary in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which one, in the vocabulary's order.
    pub index: usize,
    /// Where it is in the text, in bytes.
    pub place: Range<usize>,
}

impl Lookup {
    /// Reads the masking vocabulary at `path`; its hash is checked.
    pub fn read(path: &Path) -> Result<Self> {
        let artefact = Artefact::open(path, ArtefactKind::Vocabulary)?;
        for copy in artefact.copies() {
            let (copy, record) = copy?;
            record.check(&copy)?;
        }
        Ok(Self::new(MaskingVocabulary::read(path)?))
    }

    /// Makes `vocabulary` ready.
    pub fn new(vocabulary: MaskingVocabulary) -> Self {
        let hash_of = |&index: &u32| hash(vocabulary.get(index as usize).ngram.as_bytes());
        let mut by_text = HashTable::with_capacity(vocabulary.len());
        let mut firsts = vec![0];
        for index in 0..vocabulary.len() {
            by_text.insert_unique(hash_of(&(index as u32)), index as u32, hash_of);
            let length = vocabulary.get(index).length as usize;
            while firsts.len() <= length {
                firsts.push(index);
            }
        }
        Self {
            vocabulary,
            by_text,
            firsts,
            finder: OnceLock::new(),
        }
    }

    /// Number of n-grams.
    pub fn len(&self) -> usize {
        self.vocabulary.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.vocabulary.is_empty()
    }

    /// What it was made from, and what ranks it.
    pub fn provenance(&self) -> &Provenance {
        &self.vocabulary.provenance
    }

    /// The place of `ngram` in the vocabulary's order, by length and then by rank; its words
    /// may be written as in a text, parted by whitespace.
    pub fn index(&self, ngram: &str) -> Option<usize> {
        let words = of_ngram(ngram, self.vocabulary.provenance.rules);
        self.index_of(&words.join(" "))
    }

    fn index_of(&self, ngram: &str) -> Option<usize> {
        let found = self.by_text.find(hash(ngram.as_bytes()), |&index| {
            self.vocabulary.get(index as usize).ngram == ngram
        });
        found.map(|&index| index as usize)
    }

    /// The n-gram at `index`, and its rank among those of its length, from 1; panics beyond
    /// the last one.
    pub fn get(&self, index: usize) -> (Entry<'_>, usize) {
        let entry = self.vocabulary.get(index);
        (entry, index + 1 - self.firsts[entry.length as usize])
    }

    /// The places of the n-grams of `length` words, best first.
    pub fn of_length(&self, length: usize) -> Range<usize> {
        let first = |length: usize| *self.firsts.get(length).unwrap_or(&self.len());
        first(length)..first(length.saturating_add(1))
    }

    /// The units of several words that `text` is cut into, in order; its words are those of
    /// `cutter`, which must follow the vocabulary's rules ([`cutter`]). `seed` is for
    /// `overlap = random`.
    ///
    /// # Errors
    /// A vocabulary of tokens, and a text that the tokenizer cannot cut.
    pub fn find(
        &self,
        text: &str,
        cutter: &WordCutter,
        overlap: Overlap,
        seed: u64,
    ) -> Result<Vec<Found>> {
        let rules = self.vocabulary.provenance.rules;
        if rules.unit == Unit::Token {
            return Err(Error::usage(
                "find",
                "a masking vocabulary of tokens",
                "one of words",
                "make shards with it: their units are in the column span_start",
            ));
        }
        let (finder, words) = self.finder.get_or_init(|| Finder::new(&self.vocabulary));
        let mut codes = Vec::new();
        let mut places = Vec::new();
        cutter
            .places(text, |word, place| {
                let code = code_of(words, counted(word, rules.punctuation));
                if code != SKIPPED {
                    codes.push(code);
                    places.push(place);
                }
            })
            .map_err(|error| {
                let expected = "text that the tokenizer takes";
                Error::input("find", error.to_string(), expected, "give other text")
            })?;
        let mut hits = Vec::new();
        finder.find(&codes, |_, _| true, &mut Candidates::default(), &mut hits);
        Resolver::default().resolve(&mut hits, overlap, finder.floor(), || {
            let key = Key {
                seed,
                ..Key::default()
            };
            key.generator(Purpose::Resolve)
        });
        let mut ngram = String::new();
        let found = hits.iter().filter_map(|hit| {
            let (start, end) = (hit.start as usize, hit.end as usize);
            ngram.clear();
            words.join(&codes[start..end], &mut ngram);
            Some(Found {
                index: self.index_of(&ngram)?,
                place: trimmed(text, places[start].start..places[end - 1].end),
            })
        });
        Ok(found.collect())
    }
}

/// What cuts text into the words of `lookup`'s rules: a tokenizer's pre-tokenizer, or without
/// one Unicode's word boundaries.
///
/// # Errors
/// A tokenizer that cannot be read, and one that makes a whole text one word.
pub fn cutter(lookup: &Lookup, tokenizer: Option<&Path>) -> Result<WordCutter> {
    let cased = lookup.provenance().rules.cased;
    let Some(path) = tokenizer else {
        return Ok(WordCutter::unicode(cased));
    };
    let tokenizer = Tokenizer::load(&TokenizeConfig {
        tokenizer: path.to_owned(),
        add_special_tokens: true,
        ..TokenizeConfig::default()
    })?;
    WordCutter::of(tokenizer, cased).ok_or_else(|| {
        Error::input(
            path.display().to_string(),
            "a tokenizer without a pre-tokenizer that cuts words",
            "one that does",
            "leave the tokenizer out to cut at Unicode's word boundaries",
        )
    })
}

/// `place` without whitespace at its ends.
fn trimmed(text: &str, place: Range<usize>) -> Range<usize> {
    let inside = &text[place.clone()];
    let start = place.start + inside.len() - inside.trim_start().len();
    start..start + inside.trim().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup() -> Lookup {
        let mut vocabulary = MaskingVocabulary::default();
        vocabulary.push("new york", 12, 9.0);
        vocabulary.push("york city", 11, 8.0);
        vocabulary.push("new york city", 10, 7.5);
        Lookup::new(vocabulary)
    }

    #[test]
    fn ngrams_are_found_as_they_are_written_and_have_a_rank_in_their_length() {
        let lookup = lookup();
        assert_eq!(lookup.index("New  York"), Some(0));
        assert_eq!(lookup.index("york"), None);
        assert_eq!(lookup.get(1).1, 2);
        let (entry, rank) = lookup.get(lookup.index("new york city").unwrap());
        assert_eq!((entry.length, entry.count, rank), (3, 10, 1));
        assert_eq!((lookup.of_length(2), lookup.of_length(3)), (0..2, 2..3));
        assert_eq!((lookup.of_length(1), lookup.of_length(4)), (0..0, 3..3));
    }

    #[test]
    fn units_of_a_text_have_their_places() {
        let lookup = lookup();
        let text = "“New York City”, a new \n york; new, york";
        let cutter = cutter(&lookup, None).unwrap();
        let found = lookup.find(text, &cutter, Overlap::Longest, 1).unwrap();
        let texts: Vec<(usize, &str)> = found
            .iter()
            .map(|unit| (unit.index, &text[unit.place.clone()]))
            .collect();
        assert_eq!(texts, [(2, "New York City"), (0, "new \n york")]);
    }
}

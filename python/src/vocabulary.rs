//! A masking vocabulary to ask: `cloze.artefacts.MaskingVocabulary` is the class around this.

use crate::error::OrException;
use cloze::base::error::Error;
use cloze::config::Overlap;
use cloze::pipeline::lookup;
use cloze::tokenizer::WordCutter;
use pyo3::prelude::*;
use std::path::PathBuf;

/// A masking vocabulary, read.
#[pyclass(frozen, module = "cloze._native")]
pub struct Lookup {
    lookup: lookup::Lookup,
}

/// What cuts text into words.
#[pyclass(frozen, module = "cloze._native")]
pub struct Cutter {
    cutter: WordCutter,
}

/// N-gram, words, count, score, rank among those of its length.
type Entry = (String, u32, u64, f64, usize);

#[pymethods]
impl Lookup {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let lookup = py.detach(|| lookup::Lookup::read(&path)).or_exception()?;
        Ok(Self { lookup })
    }

    fn __len__(&self) -> usize {
        self.lookup.len()
    }

    /// What it was made from, as JSON.
    fn provenance(&self) -> PyResult<String> {
        serde_json::to_string(self.lookup.provenance())
            .map_err(|error| Error::library("writing JSON", error))
            .or_exception()
    }

    fn index(&self, ngram: &str) -> Option<usize> {
        self.lookup.index(ngram)
    }

    fn entry(&self, index: usize) -> Entry {
        let (entry, rank) = self.lookup.get(index);
        let ngram = entry.ngram.to_owned();
        (ngram, entry.length, entry.count, entry.score, rank)
    }

    /// From and to.
    fn of_length(&self, length: usize) -> (usize, usize) {
        let range = self.lookup.of_length(length);
        (range.start, range.end)
    }

    /// What cuts text by this tokenizer, or by Unicode.
    #[pyo3(signature = (tokenizer=None))]
    fn cutter(&self, py: Python<'_>, tokenizer: Option<PathBuf>) -> PyResult<Cutter> {
        let cutter = py.detach(|| lookup::cutter(&self.lookup, tokenizer.as_deref()));
        Ok(Cutter {
            cutter: cutter.or_exception()?,
        })
    }

    /// The units of `text`: which n-gram, and where it is, in characters.
    fn find(
        &self,
        py: Python<'_>,
        text: &str,
        cutter: &Cutter,
        overlap: &str,
        seed: u64,
    ) -> PyResult<Vec<(usize, usize, usize)>> {
        let overlap: Overlap = serde_json::from_value(overlap.into())
            .map_err(|error| {
                let expected = "random, longest or best";
                Error::usage("overlap", error.to_string(), expected, "name one of them")
            })
            .or_exception()?;
        py.detach(|| {
            let found = self.lookup.find(text, &cutter.cutter, overlap, seed)?;
            let mut characters = Characters::new(text);
            Ok(found
                .into_iter()
                .map(|unit| {
                    let start = characters.before(unit.place.start);
                    (unit.index, start, characters.before(unit.place.end))
                })
                .collect())
        })
        .or_exception()
    }
}

/// Places in bytes as places in characters; they ascend.
struct Characters<'a> {
    text: &'a str,
    bytes: usize,
    count: usize,
}

impl<'a> Characters<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            bytes: 0,
            count: 0,
        }
    }

    fn before(&mut self, place: usize) -> usize {
        self.count += self.text[self.bytes..place].chars().count();
        self.bytes = place;
        self.count
    }
}

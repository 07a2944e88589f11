//! A masking vocabulary made ready for one tokenizer, and the segmenter that cuts
//! documents into units by it. Linear in the words of a document, 19 ns a token in
//! `benches/counting.rs`; no memory is asked for per word once the buffers have
//! grown.

use crate::base::boundaries::{Boundaries, BoundarySlice};
use crate::base::generator::{Key, Purpose};
use crate::base::token::TokenSlice;
use crate::config::{Overlap, Punctuation, Unit};
use crate::segment::hits::{Candidates, Finder, Hit};
use crate::segment::overlap::Resolver;
use crate::statistics::dictionary::{WordId, WordSet};
use crate::statistics::vocabulary::MaskingVocabulary;
use crate::statistics::words::{JoinedCodes, WordCodes};
use crate::tokenizer::WordTexts;
use std::borrow::Borrow;

/// A masking vocabulary with the texts of one tokenizer's words; shared between
/// threads, each of which has a [`Segmenter`].
pub struct Units {
    texts: WordTexts,
    words: WordSet,
    codes: WordCodes,
    finder: Finder,
    floor: f64,
    overlap: Overlap,
    seed: u64,
}

impl Units {
    /// Units by `vocabulary` in words with these `texts`, which must follow the
    /// vocabulary's rules. `seed` is for `overlap = random`.
    pub fn new(
        vocabulary: &MaskingVocabulary,
        texts: WordTexts,
        overlap: Overlap,
        seed: u64,
    ) -> Self {
        Self::of(Finder::new(vocabulary), texts, overlap, seed)
    }

    /// As [`Units::new`], with the finder of the vocabulary and the words that it
    /// numbers at hand.
    pub fn of(
        (finder, words): (Finder, WordSet),
        texts: WordTexts,
        overlap: Overlap,
        seed: u64,
    ) -> Self {
        Self {
            codes: WordCodes::new(&texts, &words),
            floor: finder.floor(),
            texts,
            words,
            finder,
            overlap,
            seed,
        }
    }

    /// A segmenter for one thread.
    pub fn segmenter(&self) -> Segmenter<&Self> {
        Segmenter::new(self)
    }
}

/// Cuts documents into units. `U` is a reference to them, counted or not.
pub struct Segmenter<U> {
    units: U,
    joined: JoinedCodes,
    /// Words of the document, those left out not among them.
    codes: Vec<WordId>,
    /// The first token of each.
    starts: Vec<u32>,
    candidates: Candidates,
    hits: Vec<Hit>,
    resolver: Resolver,
}

impl<U: Borrow<Units>> Segmenter<U> {
    /// A segmenter with empty buffers.
    pub fn new(units: U) -> Self {
        Self {
            units,
            joined: JoinedCodes::new(),
            codes: Vec::new(),
            starts: Vec::new(),
            candidates: Candidates::default(),
            hits: Vec::new(),
            resolver: Resolver::default(),
        }
    }

    /// Replaces `span_start` by one bit per token, set where a unit starts: at the
    /// first token and nowhere but at word starts. Returns how many tokens are in
    /// units of two words or more. The same document and seed give the same units.
    ///
    /// Under `unit = token`, an n-gram that begins or ends inside a word is none.
    pub fn segment(
        &mut self,
        document_id: u64,
        tokens: TokenSlice<'_>,
        word_start: BoundarySlice<'_>,
        span_start: &mut Boundaries,
    ) -> u64 {
        let units = self.units.borrow();
        units.codes.of_document(
            (&units.texts, &units.words),
            tokens,
            word_start,
            &mut self.joined,
            &mut self.codes,
            &mut self.starts,
        );
        let whole_words = units.texts.rules().unit == Unit::Word;
        let starts = &self.starts;
        let end_of = |word: usize| {
            if units.texts.rules().punctuation != Punctuation::Skip {
                let next = starts.get(word + 1);
                return next.map_or(tokens.len(), |&next| next as usize);
            }
            // Words that are left out may follow.
            match starts[word] as usize + 1 {
                next if whole_words => word_start.next_set(next),
                next => next,
            }
        };
        let starts_word =
            |token: usize| token == 0 || token == word_start.len() || word_start.get(token);
        let may_be_unit = |start: usize, end: usize| {
            whole_words || starts_word(starts[start] as usize) && starts_word(end_of(end - 1))
        };
        units.finder.find(
            &self.codes,
            may_be_unit,
            &mut self.candidates,
            &mut self.hits,
        );
        self.resolver
            .resolve(&mut self.hits, units.overlap, units.floor, || {
                let key = Key {
                    seed: units.seed,
                    sample: document_id,
                    ..Key::default()
                };
                key.generator(Purpose::Resolve)
            });
        span_start.clear();
        span_start.extend(word_start);
        if !tokens.is_empty() {
            span_start.set(0, true);
        }
        let mut covered = 0;
        for hit in &self.hits {
            let start = starts[hit.start as usize] as usize;
            let end = end_of(hit.end as usize - 1);
            covered += (end - start) as u64;
            for token in start + 1..end {
                span_start.set(token, false);
            }
        }
        covered
    }
}

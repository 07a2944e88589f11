//! Finds the n-grams of a masking vocabulary in running words: a trie over the words
//! that occur in the vocabulary, walked from every position where a filter of the first
//! steps does not rule it out: two bytes an edge instead of eighteen, so that it stays
//! in a core's cache, and no branch, so that many are looked up at a time. What begins
//! where the walk fails is found by the next walk.
//! Memory: 20 bytes a node of the trie, about two nodes an n-gram.

use crate::statistics::dictionary::{WordId, WordSet};
use crate::statistics::vocabulary::MaskingVocabulary;
use crate::statistics::words::BARRIER;
use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;
use std::hash::BuildHasher;

/// An n-gram of the vocabulary in a document, by the places of its words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Place of the first word.
    pub start: u32,
    /// Place behind the last word.
    pub end: u32,
    /// The n-gram's score.
    pub score: f64,
}

impl Hit {
    /// Number of words.
    pub fn len(&self) -> u32 {
        self.end - self.start
    }

    /// Never: an n-gram has two words or more.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

/// The n-grams of a masking vocabulary, to be found.
#[derive(Debug, Clone)]
pub struct Finder {
    words: u32,
    /// From a node by a word to a node. The first nodes are the single words.
    edges: HashTable<Edge>,
    /// First steps that may be there, one bit each by hash.
    filter: Filter,
    /// By node, the single words left out: the score of the n-gram that ends there,
    /// or NaN.
    scores: Vec<f64>,
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    from: u32,
    word: WordId,
    to: u32,
}

/// One bit for each of many hashes, 16 bits an entry: one in sixteen of what is not
/// there seems to be.
#[derive(Debug, Clone, Default)]
struct Filter {
    bits: Vec<u64>,
    shift: u32,
}

impl Filter {
    fn new(entries: usize) -> Self {
        let bits = (16 * entries).next_power_of_two().max(64);
        Self {
            bits: vec![0; bits / 64],
            shift: u64::BITS - bits.ilog2(),
        }
    }

    /// Where the bit of `hash` is, spread anew: the table uses its upper bits as well.
    #[inline]
    fn place(&self, hash: u64) -> usize {
        (hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }

    fn insert(&mut self, hash: u64) {
        let place = self.place(hash);
        self.bits[place / 64] |= 1 << (place % 64);
    }

    #[inline]
    fn may_have(&self, hash: u64) -> bool {
        let place = self.place(hash);
        self.bits[place / 64] >> (place % 64) & 1 == 1
    }
}

#[inline]
fn hash(from: u32, word: WordId) -> u64 {
    FxBuildHasher.hash_one(u64::from(from) << 32 | u64::from(word))
}

impl Finder {
    /// The finder of `vocabulary` and the words that it numbers, which are those of
    /// the vocabulary.
    pub fn new(vocabulary: &MaskingVocabulary) -> (Self, WordSet) {
        let mut texts: Vec<&str> = Vec::new();
        for index in 0..vocabulary.len() {
            texts.extend(vocabulary.get(index).ngram.split(' '));
        }
        texts.sort_unstable();
        texts.dedup();
        let words = WordSet::from_sorted(texts.into_iter());
        let mut finder = Self {
            words: words.len() as u32,
            edges: HashTable::with_capacity(vocabulary.len()),
            filter: Filter::default(),
            scores: Vec::with_capacity(vocabulary.len()),
        };
        for index in 0..vocabulary.len() {
            let entry = vocabulary.get(index);
            finder.insert(&words, entry.ngram, entry.score);
        }
        let first = |edge: &&Edge| edge.from < finder.words;
        finder.filter = Filter::new(finder.edges.iter().filter(first).count());
        for edge in finder.edges.iter().filter(first) {
            finder.filter.insert(hash(edge.from, edge.word));
        }
        (finder, words)
    }

    fn insert(&mut self, words: &WordSet, ngram: &str, score: f64) {
        let mut node = None;
        for word in ngram.split(' ').filter_map(|text| words.find(text)) {
            node = Some(match node {
                None => word,
                Some(from) => self.step(from, word).unwrap_or_else(|| {
                    let to = self.words + self.scores.len() as u32;
                    self.scores.push(f64::NAN);
                    let edge = Edge { from, word, to };
                    self.edges
                        .insert_unique(hash(from, word), edge, |e| hash(e.from, e.word));
                    to
                }),
            });
        }
        // A single word has no score: it is a unit anyhow.
        if let Some(place) = node.and_then(|node| node.checked_sub(self.words)) {
            self.scores[place as usize] = score;
        }
    }

    #[inline]
    fn step(&self, from: u32, word: WordId) -> Option<u32> {
        self.edges
            .find(hash(from, word), |edge| {
                edge.from == from && edge.word == word
            })
            .map(|edge| edge.to)
    }

    /// The lowest score, or 0 where all are above it.
    pub fn floor(&self) -> f64 {
        let scores = self.scores.iter().filter(|score| !score.is_nan());
        scores.fold(0.0, |lowest, &score| lowest.min(score))
    }

    /// Replaces `hits` by the n-grams in `words` that lie in no larger one, in order:
    /// both their starts and their ends ascend. Of the n-grams, only those whose places,
    /// from and to, `may_be_unit` allows count. `starts` is a buffer.
    pub fn find(
        &self,
        words: &[WordId],
        may_be_unit: impl Fn(usize, usize) -> bool,
        starts: &mut Vec<u32>,
        hits: &mut Vec<Hit>,
    ) {
        hits.clear();
        self.starts(words, starts);
        let mut reached = 0;
        for &start in starts.iter() {
            let start = start as usize;
            let mut node = words[start];
            let mut longest = None;
            for (last, &word) in words.iter().enumerate().skip(start + 1) {
                let next = (word != BARRIER).then(|| self.step(node, word));
                let Some(next) = next.flatten() else { break };
                node = next;
                let score = self.scores[(node - self.words) as usize];
                if !score.is_nan() && may_be_unit(start, last + 1) {
                    longest = Some(Hit {
                        start: start as u32,
                        end: last as u32 + 1,
                        score,
                    });
                }
            }
            if let Some(hit) = longest.filter(|hit| hit.end > reached) {
                reached = hit.end;
                hits.push(hit);
            }
        }
    }

    /// Replaces `starts` by the places where an n-gram may start.
    fn starts(&self, words: &[WordId], starts: &mut Vec<u32>) {
        starts.clear();
        starts.resize(words.len(), 0);
        let mut found = 0;
        for (start, pair) in words.windows(2).enumerate() {
            let may_start = (pair[0] != BARRIER)
                & (pair[1] != BARRIER)
                & self.filter.may_have(hash(pair[0], pair[1]));
            starts[found] = start as u32;
            found += usize::from(may_start);
        }
        starts.truncate(found);
    }
}

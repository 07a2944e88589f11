//! Finds the n-grams of a masking vocabulary in running words: a trie over the words
//! that occur in the vocabulary, walked from every position. A walk ends where a step
//! fails; what begins there is found by the next walk.
//!
//! The time is that of waiting for memory, so steps are asked for in bulk: a filter of
//! two bytes an edge, small enough for a core's cache, rules out nearly all that fail;
//! then the first steps of all walks are looked up before any walk goes on. Memory: 34
//! to 66 bytes a node of the trie, about one and a half nodes an n-gram.

use crate::statistics::dictionary::{WordId, WordSet};
use crate::statistics::vocabulary::MaskingVocabulary;
use crate::statistics::words::BARRIER;
use rustc_hash::FxHashSet;

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
    edges: Edges,
    /// Steps that may be there, one bit each by hash.
    filter: Filter,
    /// By node, the single words left out: the score of the n-gram that ends there,
    /// or NaN.
    scores: Vec<f64>,
}

/// Walks under way; buffers that are used again.
#[derive(Debug, Default)]
pub struct Walks {
    /// Places where an n-gram may start.
    starts: Vec<u32>,
    /// The place of the first edge from each.
    edges: Vec<u32>,
    /// The node that each hit ends at.
    ends: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    from: u32,
    word: WordId,
    to: u32,
    /// Whether an n-gram ends at `to`.
    scored: bool,
}

/// No node.
const NONE: u32 = u32::MAX;

/// Edges by hash, each at its place or soon behind it; at most half of the places are
/// taken.
#[derive(Debug, Clone)]
struct Edges {
    slots: Vec<Edge>,
    len: usize,
    shift: u32,
}

const VACANT: Edge = Edge {
    from: NONE,
    word: NONE,
    to: NONE,
    scored: false,
};

impl Edges {
    /// Room for `len` edges before they are placed anew.
    fn with_capacity(len: usize) -> Self {
        let slots = (2 * len).next_power_of_two().max(2);
        Self {
            slots: vec![VACANT; slots],
            len: 0,
            shift: u64::BITS - slots.ilog2(),
        }
    }

    /// The place of an edge, or the vacant one where it would be.
    #[inline]
    fn place(&self, hash: u64, from: u32, word: WordId) -> usize {
        let mut place = (hash >> self.shift) as usize;
        loop {
            let slot = &self.slots[place];
            if (slot.from == from && slot.word == word) || slot.to == NONE {
                return place;
            }
            place = (place + 1) & (self.slots.len() - 1);
        }
    }

    fn insert(&mut self, edge: Edge) {
        if 2 * self.len >= self.slots.len() {
            let mut larger = Self::with_capacity(self.slots.len());
            self.taken().for_each(|edge| larger.insert(*edge));
            *self = larger;
        }
        let place = self.place(hash(edge.from, edge.word), edge.from, edge.word);
        self.slots[place] = edge;
        self.len += 1;
    }

    fn taken(&self) -> impl Iterator<Item = &Edge> {
        self.slots.iter().filter(|edge| edge.to != NONE)
    }
}

/// One bit for each of many hashes, 16 bits an entry: one in sixteen of what is not
/// there seems to be.
#[derive(Debug, Clone)]
struct Filter {
    bits: Vec<u64>,
    shift: u32,
}

impl Filter {
    fn of(edges: &Edges) -> Self {
        let bits = (16 * edges.len).next_power_of_two().max(64);
        let mut filter = Self {
            bits: vec![0; bits / 64],
            shift: u64::BITS - bits.ilog2(),
        };
        for edge in edges.taken() {
            let place = (hash(edge.from, edge.word) >> filter.shift) as usize;
            filter.bits[place / 64] |= 1 << (place % 64);
        }
        filter
    }

    #[inline]
    fn may_have(&self, hash: u64) -> bool {
        let place = (hash >> self.shift) as usize;
        self.bits[place / 64] >> (place % 64) & 1 == 1
    }
}

/// Well spread in its upper bits, which are those used.
#[inline]
fn hash(from: u32, word: WordId) -> u64 {
    let key = u64::from(from) << 32 | u64::from(word);
    let once = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (once ^ once >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

impl Finder {
    /// The finder of `vocabulary` and the words that it numbers, which are those of
    /// the vocabulary.
    pub fn new(vocabulary: &MaskingVocabulary) -> (Self, WordSet) {
        // Most words stand in many n-grams: told apart before they are sorted.
        let mut texts: FxHashSet<&str> = FxHashSet::default();
        for index in 0..vocabulary.len() {
            texts.extend(vocabulary.get(index).ngram.split(' '));
        }
        let mut texts: Vec<&str> = texts.into_iter().collect();
        texts.sort_unstable();
        let words = WordSet::from_sorted(texts.into_iter());
        let mut finder = Self {
            words: words.len() as u32,
            edges: Edges::with_capacity(vocabulary.len()),
            filter: Filter::of(&Edges::with_capacity(0)),
            scores: Vec::with_capacity(vocabulary.len()),
        };
        for index in 0..vocabulary.len() {
            let entry = vocabulary.get(index);
            finder.insert(&words, entry.ngram, entry.score);
        }
        finder.filter = Filter::of(&finder.edges);
        (finder, words)
    }

    fn insert(&mut self, words: &WordSet, ngram: &str, score: f64) {
        let mut node = None;
        // The edge into the node, which a single word has not: it is a unit anyhow.
        let mut last = None;
        for word in ngram.split(' ').filter_map(|text| words.find(text)) {
            let Some(from) = node else {
                node = Some(word);
                continue;
            };
            let mut place = self.edges.place(hash(from, word), from, word);
            if self.edges.slots[place].to == NONE {
                let to = self.words + self.scores.len() as u32;
                self.scores.push(f64::NAN);
                let scored = false;
                self.edges.insert(Edge {
                    from,
                    word,
                    to,
                    scored,
                });
                place = self.edges.place(hash(from, word), from, word);
            }
            node = Some(self.edges.slots[place].to);
            last = Some(place);
        }
        if let Some(place) = last {
            let edge = &mut self.edges.slots[place];
            edge.scored = true;
            self.scores[(edge.to - self.words) as usize] = score;
        }
    }

    /// The lowest score, or 0 where all are above it.
    pub fn floor(&self) -> f64 {
        let scores = self.scores.iter().filter(|score| !score.is_nan());
        scores.fold(0.0, |lowest, &score| lowest.min(score))
    }

    /// Replaces `hits` by the n-grams in `words` that lie in no larger one, in order:
    /// both their starts and their ends ascend. Of the n-grams, only those whose places,
    /// from and to, `may_be_unit` allows count.
    pub fn find(
        &self,
        words: &[WordId],
        may_be_unit: impl Fn(usize, usize) -> bool,
        walks: &mut Walks,
        hits: &mut Vec<Hit>,
    ) {
        hits.clear();
        self.first_steps(words, walks);
        let mut reached = 0;
        let Walks {
            starts,
            edges,
            ends,
        } = walks;
        ends.clear();
        for (&start, &place) in starts.iter().zip(edges.iter()) {
            let start = start as usize;
            let mut edge = &self.edges.slots[place as usize];
            let mut end = start + 2;
            let mut longest = None;
            while edge.to != NONE {
                if edge.scored && may_be_unit(start, end) {
                    longest = Some((end as u32, edge.to));
                }
                let Some(&word) = words.get(end) else { break };
                let hash = hash(edge.to, word);
                if word == BARRIER || !self.filter.may_have(hash) {
                    break;
                }
                edge = &self.edges.slots[self.edges.place(hash, edge.to, word)];
                end += 1;
            }
            if let Some((end, node)) = longest.filter(|&(end, _)| end > reached) {
                reached = end;
                let start = start as u32;
                hits.push(Hit {
                    start,
                    end,
                    score: f64::NAN,
                });
                ends.push(node);
            }
        }
        // By themselves, so that none waits for another.
        for (hit, &node) in hits.iter_mut().zip(ends.iter()) {
            hit.score = self.scores[(node - self.words) as usize];
        }
    }

    /// Replaces `walks` by the places where an n-gram may start, and the place of the
    /// edge from each by its next word. No branch of the first loop hangs on what it
    /// finds, so that the processor runs ahead of the memory.
    fn first_steps(&self, words: &[WordId], walks: &mut Walks) {
        let Walks { starts, edges, .. } = walks;
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
        edges.clear();
        edges.extend(starts.iter().map(|&start| {
            let (from, word) = (words[start as usize], words[start as usize + 1]);
            self.edges.place(hash(from, word), from, word) as u32
        }));
    }
}

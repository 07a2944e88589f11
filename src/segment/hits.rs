//! Finds the n-grams of a masking vocabulary in running words: at every word, the longest
//! one that begins there.
//!
//! The time is that of waiting for memory, so all of a document is asked for step by step,
//! and no question waits for the answer to another: a filter of pairs of words, small
//! enough for a core's cache, rules out two thirds of the words; of the others, the lengths
//! whose fingerprints agree are looked up, one byte each, in a perfect hash; then what
//! seems to be an n-gram is compared with it. Memory: about 40 bytes an n-gram.

use crate::segment::places::Places;
use crate::statistics::dictionary::{WordId, WordSet};
use crate::statistics::tally::MAX_LENGTH;
use crate::statistics::vocabulary::MaskingVocabulary;
use crate::statistics::words::BARRIER;
use rustc_hash::{FxHashMap, FxHashSet};
use std::array::from_fn;

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
    multipliers: Multipliers,
    /// First two words that an n-gram may begin with.
    pairs: Filter,
    /// First three words that an n-gram of more may begin with.
    triples: Filter,
    places: Places,
    /// By place: some bits of the hash of the n-gram there.
    fingerprints: Vec<u8>,
    /// By place.
    ngrams: Vec<Ngram>,
}

/// What may be found in a document; buffers that are used again.
#[derive(Debug, Default)]
pub struct Candidates {
    /// Words where an n-gram may begin.
    starts: Vec<u32>,
    seeming: Vec<Seeming>,
}

/// N-grams that seem to begin at a word.
#[derive(Debug, Clone, Copy, Default)]
struct Seeming {
    start: u32,
    /// Bit n: one of n words.
    lengths: u32,
    /// The place of the longest.
    place: u32,
    /// Whether it is there.
    found: bool,
}

/// An n-gram; two lie in a line of the cache.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
struct Ngram {
    /// Behind its words, [`BARRIER`].
    words: Window,
    /// Number of words; 0 where there is none.
    len: u32,
    score: f64,
}

/// As many words as the longest n-gram has.
type Window = [WordId; MAX_LENGTH];

const VACANT: Ngram = Ngram {
    words: [BARRIER; MAX_LENGTH],
    len: 0,
    score: f64::NAN,
};

/// By number of words: the bits of a window that count.
const COUNTS: [Window; MAX_LENGTH + 1] = {
    let mut counts = [[0; MAX_LENGTH]; MAX_LENGTH + 1];
    let mut len = 0;
    while len <= MAX_LENGTH {
        let mut word = 0;
        while word < len {
            counts[len][word] = u32::MAX;
            word += 1;
        }
        len += 1;
    }
    counts
};

/// Hashes words by their places: a sum of products, of which the upper half is strongly
/// universal (Lemire and Kaser 2014, "Strongly universal string hashing is fast",
/// MULTILINEAR), and which goes on with one more word by one product.
#[derive(Debug, Clone, Copy)]
struct Multipliers([u64; MAX_LENGTH]);

impl Multipliers {
    /// The multipliers numbered `seed`: outputs of SplitMix64, made odd.
    fn new(seed: u64) -> Self {
        Self(from_fn(|place| {
            let step = seed * MAX_LENGTH as u64 + place as u64 + 1;
            let mut z = step.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
            (z ^ z >> 31) | 1
        }))
    }

    /// What `word` adds to the hash of an n-gram with it at `place`. No word adds nothing.
    #[inline]
    fn term(self, place: usize, word: WordId) -> u64 {
        (u64::from(word) + 1).wrapping_mul(self.0[place])
    }

    /// The hash of an n-gram.
    fn hash(self, words: &[WordId]) -> u64 {
        let terms = words.iter().enumerate();
        terms.fold(0, |sum, (place, &word)| {
            sum.wrapping_add(self.term(place, word))
        })
    }

    /// The hash of the first two words and of what follows each.
    #[inline]
    fn hashes(self, words: &Window) -> [u64; MAX_LENGTH - 1] {
        let mut sum = self.term(0, words[0]);
        from_fn(|more| {
            sum = sum.wrapping_add(self.term(more + 1, words[more + 1]));
            sum
        })
    }
}

#[inline]
fn fingerprint(hash: u64) -> u8 {
    (hash >> 24) as u8
}

/// One bit for each of many hashes, 16 bits an entry: one in sixteen of what is not
/// there seems to be.
#[derive(Debug, Clone)]
struct Filter {
    bits: Vec<u64>,
    shift: u32,
}

impl Filter {
    fn of(hashes: &FxHashSet<u64>) -> Self {
        let bits = (16 * hashes.len()).next_power_of_two().max(64);
        let mut filter = Self {
            bits: vec![0; bits / 64],
            shift: u64::BITS - bits.ilog2(),
        };
        for hash in hashes {
            let place = (hash >> filter.shift) as usize;
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

impl Finder {
    /// The finder of `vocabulary` and the words that it numbers, which are those of
    /// the vocabulary. Of two to five words are the n-grams of a vocabulary; others are
    /// not found. Of an n-gram that stands there twice, the later score counts.
    pub fn new(vocabulary: &MaskingVocabulary) -> (Self, WordSet) {
        // Most words stand in many n-grams: each is looked up once a place, and numbered
        // in order of text when all are known.
        let mut met: FxHashMap<&str, WordId> = FxHashMap::default();
        let mut ngrams: Vec<Ngram> = Vec::with_capacity(vocabulary.len());
        for entry in vocabulary.iter() {
            let mut ngram = Ngram {
                score: entry.score,
                ..VACANT
            };
            for text in entry.ngram.split(' ') {
                let next = met.len() as WordId;
                let id = *met.entry(text).or_insert(next);
                if let Some(word) = ngram.words.get_mut(ngram.len as usize) {
                    *word = id;
                }
                ngram.len += 1;
            }
            if (2..=MAX_LENGTH as u32).contains(&ngram.len) {
                ngrams.push(ngram);
            }
        }
        let mut texts: Vec<(&str, WordId)> = met.into_iter().collect();
        texts.sort_unstable();
        let words = WordSet::from_sorted(texts.iter().map(|&(text, _)| text));
        let mut rank = vec![0; texts.len()];
        for (place, (_, met)) in texts.into_iter().enumerate() {
            rank[met as usize] = place as WordId;
        }
        for ngram in &mut ngrams {
            let words = ngram.words[..ngram.len as usize].iter_mut();
            words.for_each(|word| *word = rank[*word as usize]);
        }
        // The first seed does, but for one set of n-grams in very many.
        let mut seed = 0;
        let finder = loop {
            if let Some(finder) = Self::of(&ngrams, Multipliers::new(seed)) {
                break finder;
            }
            seed += 1;
        };
        (finder, words)
    }

    /// The finder of `ngrams` by these multipliers; `None` where two n-grams have the same
    /// hash, or no places.
    fn of(ngrams: &[Ngram], multipliers: Multipliers) -> Option<Self> {
        let hashes = ngrams.iter().map(Ngram::words);
        let mut order: Vec<(u64, usize)> = hashes.map(|w| multipliers.hash(w)).zip(0..).collect();
        order.sort_unstable();
        let mut pairs = FxHashSet::default();
        let mut triples = FxHashSet::default();
        let mut distinct: Vec<(u64, usize)> = Vec::with_capacity(order.len());
        for (hash, index) in order {
            match distinct.last_mut() {
                Some(last) if last.0 == hash => {
                    if ngrams[last.1].words != ngrams[index].words {
                        return None;
                    }
                    last.1 = index;
                }
                _ => distinct.push((hash, index)),
            }
            let words = ngrams[index].words();
            pairs.insert(multipliers.hash(&words[..2]));
            if words.len() > 3 {
                triples.insert(multipliers.hash(&words[..3]));
            }
        }
        let hashes: Vec<u64> = distinct.iter().map(|&(hash, _)| hash).collect();
        let places = Places::of(&hashes)?;
        let mut finder = Self {
            multipliers,
            pairs: Filter::of(&pairs),
            triples: Filter::of(&triples),
            fingerprints: vec![0; places.len()],
            ngrams: vec![VACANT; places.len()],
            places,
        };
        for (hash, index) in distinct {
            let place = finder.places.place(hash);
            finder.fingerprints[place] = fingerprint(hash);
            finder.ngrams[place] = ngrams[index];
        }
        Some(finder)
    }

    /// The lowest score, or 0 where all are above it.
    pub fn floor(&self) -> f64 {
        let scores = self.ngrams.iter().map(|ngram| ngram.score);
        scores.filter(|score| !score.is_nan()).fold(0.0, f64::min)
    }

    /// Replaces `hits` by the n-grams in `words` that lie in no larger one, in order:
    /// both their starts and their ends ascend. Of the n-grams, only those whose places,
    /// from and to, `may_be_unit` allows count.
    pub fn find(
        &self,
        words: &[WordId],
        may_be_unit: impl Fn(usize, usize) -> bool,
        candidates: &mut Candidates,
        hits: &mut Vec<Hit>,
    ) {
        hits.clear();
        self.starts(words, &mut candidates.starts);
        self.seeming(words, candidates);
        let mut reached = 0;
        for seeming in &candidates.seeming {
            let start = seeming.start;
            let hit = |ngram: &Ngram| Hit {
                start,
                end: start + ngram.len,
                score: ngram.score,
            };
            let exact = seeming.found.then(|| &self.ngrams[seeming.place as usize]);
            // Behind the last word no n-gram is, though barriers may seem to be one.
            let rest = &words[start as usize..];
            let shorter = seeming
                .shorter()
                .filter_map(|len| self.get(rest.get(..len as usize)?));
            let longest = exact
                .into_iter()
                .chain(shorter)
                .find(|ngram| may_be_unit(start as usize, (start + ngram.len) as usize))
                .map(hit);
            if let Some(hit) = longest.filter(|hit| hit.end > reached) {
                reached = hit.end;
                hits.push(hit);
            }
        }
    }

    /// Replaces `starts` by the words where an n-gram may begin. Hardly a branch hangs on
    /// what is found, here and in what follows, so that the processor runs ahead of the
    /// memory.
    fn starts(&self, words: &[WordId], starts: &mut Vec<u32>) {
        starts.resize(words.len(), 0);
        let mut found = 0;
        for (start, pair) in words.windows(2).enumerate() {
            let hash = self.multipliers.term(0, pair[0]);
            let hash = hash.wrapping_add(self.multipliers.term(1, pair[1]));
            starts[found] = start as u32;
            found += usize::from(self.pairs.may_have(hash));
        }
        starts.truncate(found);
    }

    /// Replaces what seems to begin at the starts, and says of the longest whether it does.
    fn seeming(&self, words: &[WordId], candidates: &mut Candidates) {
        let Candidates { starts, seeming } = candidates;
        seeming.resize(starts.len(), Seeming::default());
        let mut kept = 0;
        for &start in starts.iter() {
            let mut lengths = 0;
            let mut longest = 0;
            let mut ask = |hash: u64, len: u32| {
                let place = self.places.place(hash);
                let agrees = self.fingerprints[place] == fingerprint(hash);
                lengths |= u32::from(agrees) << len;
                longest = if agrees { place as u32 } else { longest };
            };
            let [two, three, more @ ..] = self.multipliers.hashes(&window(words, start));
            ask(two, 2);
            ask(three, 3);
            // Few are: this branch is foreseen.
            if self.triples.may_have(three) {
                more.into_iter()
                    .zip(4..)
                    .for_each(|(hash, len)| ask(hash, len));
            }
            seeming[kept] = Seeming {
                start,
                lengths,
                place: longest,
                found: false,
            };
            kept += usize::from(lengths != 0);
        }
        seeming.truncate(kept);
        for seeming in seeming {
            let ngram = &self.ngrams[seeming.place as usize];
            let len = seeming.lengths.ilog2();
            let words = window(words, seeming.start);
            let mut differs = ngram.len ^ len;
            for (word, counts) in COUNTS[len as usize].iter().enumerate() {
                differs |= (ngram.words[word] ^ words[word]) & counts;
            }
            seeming.found = differs == 0;
        }
    }

    /// The n-gram of exactly these words.
    fn get(&self, words: &[WordId]) -> Option<&Ngram> {
        let ngram = &self.ngrams[self.places.place(self.multipliers.hash(words))];
        (ngram.words() == words).then_some(ngram)
    }
}

impl Ngram {
    fn words(&self) -> &[WordId] {
        &self.words[..self.len as usize]
    }
}

impl Seeming {
    /// The lengths that seem to be there, but for the longest, in descending order.
    fn shorter(&self) -> impl Iterator<Item = u32> + use<> {
        let lengths = self.lengths;
        (2..lengths.ilog2())
            .rev()
            .filter(move |len| lengths >> len & 1 == 1)
    }
}

/// The words from `start` on; behind the last one, barriers.
#[inline]
fn window(words: &[WordId], start: u32) -> Window {
    let rest = &words[start as usize..];
    match rest.first_chunk() {
        Some(window) => *window,
        None => from_fn(|place| rest.get(place).copied().unwrap_or(BARRIER)),
    }
}

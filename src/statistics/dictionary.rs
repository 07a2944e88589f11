//! Words and their numbers. A word's id is its rank in text order, so ids depend on
//! neither threads nor parts. Memory: a word's text, 16 bytes, and its count.

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;
use std::hash::BuildHasher;

/// Rank of a word, in text order, among the words that are kept.
pub type WordId = u32;

/// Words may have ids below this; what is above marks other things.
pub const MAX_WORDS: usize = (u32::MAX - 16) as usize;

/// Hash of a word's text: the same in every table of this layer.
#[inline]
pub fn hash(text: &[u8]) -> u64 {
    FxBuildHasher.hash_one(text)
}

/// Distinct words in text order, with look-up both ways.
#[derive(Debug, Clone, Default)]
pub struct WordSet {
    texts: String,
    /// Where each word's text ends.
    ends: Vec<u64>,
    table: HashTable<WordId>,
}

impl WordSet {
    /// The words of `texts`, which must be distinct and in text order.
    pub fn from_sorted<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut set = Self::default();
        for text in texts {
            debug_assert!(set.is_empty() || set.text(set.len() as WordId - 1) < text);
            set.texts.push_str(text);
            set.ends.push(set.texts.len() as u64);
        }
        set.index();
        set
    }

    fn index(&mut self) {
        let (texts, ends) = (&self.texts, &self.ends);
        let hash_of = |&id: &WordId| hash(text_of(texts, ends, id).as_bytes());
        self.table.reserve(ends.len(), hash_of);
        for id in 0..ends.len() as WordId {
            self.table.insert_unique(hash_of(&id), id, hash_of);
        }
    }

    /// Number of words.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The text of word `id`; panics where there is no such word.
    #[inline]
    pub fn text(&self, id: WordId) -> &str {
        text_of(&self.texts, &self.ends, id)
    }

    /// The word with this text.
    #[inline]
    pub fn find(&self, text: &str) -> Option<WordId> {
        self.table
            .find(hash(text.as_bytes()), |&id| self.text(id) == text)
            .copied()
    }

    /// Appends the words `ids`, joined by one space, to `out`.
    pub fn join(&self, ids: &[WordId], out: &mut String) {
        for (place, &id) in ids.iter().enumerate() {
            if place > 0 {
                out.push(' ');
            }
            out.push_str(self.text(id));
        }
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        self.texts.capacity() + 8 * self.ends.capacity() + self.table.allocation_size()
    }
}

#[inline]
fn text_of<'a>(texts: &'a str, ends: &[u64], id: WordId) -> &'a str {
    let id = id as usize;
    let start = if id == 0 { 0 } else { ends[id - 1] };
    &texts[start as usize..ends[id] as usize]
}

/// The words that are kept, with their counts.
#[derive(Debug, Clone, Default)]
pub struct Dictionary {
    /// The words.
    pub words: WordSet,
    /// How often each occurs, by id.
    pub counts: Vec<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_by_text_and_by_id() {
        let set = WordSet::from_sorted(["", "a", "ab", "b", "über"].into_iter());
        for (id, text) in ["", "a", "ab", "b", "über"].into_iter().enumerate() {
            assert_eq!(set.text(id as WordId), text);
            assert_eq!(set.find(text), Some(id as WordId));
        }
        assert_eq!(set.find("c"), None);
        let mut joined = String::new();
        set.join(&[3, 1, 4], &mut joined);
        assert_eq!(joined, "b a über");
    }
}

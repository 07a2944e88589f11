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

/// Counts by text while the text is read; a text has a place, from 0 on by first
/// occurrence. Memory: 44 bytes a distinct word, and its text.
#[derive(Debug, Default)]
pub struct TextCounts {
    texts: Vec<u8>,
    entries: Vec<Entry>,
    table: HashTable<Slot>,
}

#[derive(Debug)]
struct Entry {
    start: usize,
    len: u32,
    count: u64,
}

/// What tells one text from another; up to 8 bytes are told by value, without a look at
/// the entry: half of the time of a look-up is spent waiting for it.
#[derive(Debug)]
struct Slot {
    head: u64,
    len: u32,
    place: u32,
}

/// The first 8 bytes of a text; with its length, all of one up to 8 bytes.
#[inline]
fn head(text: &[u8]) -> u64 {
    if let Some(first) = text.first_chunk::<8>() {
        return u64::from_le_bytes(*first);
    }
    match (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32
        }
        _ => text
            .iter()
            .fold(0, |head, &byte| head << 8 | u64::from(byte)),
    }
}

impl Entry {
    #[inline]
    fn text<'a>(&self, texts: &'a [u8]) -> &'a [u8] {
        &texts[self.start..self.start + self.len as usize]
    }
}

impl TextCounts {
    /// Adds `count` occurrences of `text`; returns its place.
    #[inline]
    pub fn add(&mut self, text: &[u8], count: u64) -> u32 {
        let Self {
            texts,
            entries,
            table,
        } = self;
        let hashed = hash(text);
        let (head, len) = (head(text), text.len() as u32);
        let is_same = |slot: &Slot| {
            slot.head == head
                && slot.len == len
                && (len <= 8 || entries[slot.place as usize].text(texts) == text)
        };
        match table.find(hashed, is_same) {
            Some(&Slot { place, .. }) => {
                entries[place as usize].count += count;
                place
            }
            None => self.insert(hashed, text, count),
        }
    }

    #[cold]
    fn insert(&mut self, hashed: u64, text: &[u8], count: u64) -> u32 {
        let place = self.entries.len() as u32;
        self.entries.push(Entry {
            start: self.texts.len(),
            len: text.len() as u32,
            count,
        });
        self.texts.extend_from_slice(text);
        let (texts, entries) = (&self.texts, &self.entries);
        let slot = Slot {
            head: head(text),
            len: text.len() as u32,
            place,
        };
        self.table.insert_unique(hashed, slot, |slot| {
            hash(entries[slot.place as usize].text(texts))
        });
        place
    }

    /// All distinct texts and their counts, by place.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.entries
            .iter()
            .map(|entry| (entry.text(&self.texts), entry.count))
    }

    /// Number of distinct texts.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets all texts, keeps the memory.
    pub fn clear(&mut self) {
        self.texts.clear();
        self.entries.clear();
        self.table.clear();
    }

    /// Bytes of memory in use; growing, it may hold twice that.
    pub fn memory(&self) -> usize {
        self.texts.len() + self.entries.len() * (size_of::<Entry>() + size_of::<Slot>() + 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_told_apart_whatever_their_length() {
        let mut counts = TextCounts::default();
        let mut texts: Vec<String> = Vec::new();
        for len in 0..20 {
            texts.push("a".repeat(len));
            texts.extend((0..len).map(|at| "a".repeat(at) + "b" + &"a".repeat(len - 1 - at)));
        }
        for (place, text) in (0..).zip(&texts) {
            assert_eq!(counts.add(text.as_bytes(), 2), place, "{text}");
        }
        for (place, text) in (0..).zip(&texts) {
            assert_eq!(
                counts.add(text.as_bytes(), u64::from(place)),
                place,
                "{text}"
            );
        }
        assert!(
            counts
                .iter()
                .map(|(_, count)| count)
                .eq((2..).take(texts.len()))
        );
    }

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

//! Counts by text while the text is read; a text has a place, from 0 on by first
//! occurrence, so that frequent ones lie together.
//!
//! Many texts are looked up at a time: first the memory that each will need is touched,
//! in loops without a branch that waits for it, so that the processor fetches many lines
//! at once; then texts are told apart. One by one, a look-up waits for memory longer
//! than everything else takes.
//!
//! Cost: about 15 ns a word of English, half a million distinct ones. Memory: 48 to 64 bytes a
//! distinct text, and the bytes of those that are longer than 15.

use crate::statistics::dictionary::hash;
use crate::tokenizer::Short;
use std::hint::black_box;

/// Texts looked up at a time: their keys stay in the first cache.
const BATCH: usize = 128;

/// The highest byte of the key of a text that is not short.
const LONG: u128 = 0xff << 120;

/// Stands for no text in a batch; no text has this key.
const BREAK: u128 = 0xfe << 120;

/// A short text itself; of another one, its length and hash.
#[inline]
fn key_of(text: &[u8]) -> u128 {
    match Short::of(text) {
        Some(short) => short.key(),
        None => LONG | ((text.len() as u128) << 64) | u128::from(hash(text)),
    }
}

/// Length of the long text that has this key.
#[inline]
fn long_len(key: u128) -> Option<usize> {
    (key >= LONG).then_some((key >> 64) as u32 as usize)
}

/// Both halves of a 128-bit product, folded: every bit of the key has a say.
#[inline]
fn hash_of(key: u128) -> u32 {
    let (low, high) = (key as u64, (key >> 64) as u64);
    let product =
        u128::from(low ^ 0x9e37_79b9_7f4a_7c15) * u128::from(high ^ 0xd1b5_4a32_d192_ed03);
    ((product as u64 ^ (product >> 64) as u64) >> 32) as u32
}

/// Texts, and breaks between them, on their way to be counted.
#[derive(Debug, Default)]
pub struct Batch {
    keys: Vec<u128>,
    hashes: Vec<u32>,
    /// Long texts, one behind the other.
    long: Vec<u8>,
}

impl Batch {
    /// Appends a short text.
    #[inline]
    pub fn push_short(&mut self, text: Short) {
        self.keys.push(text.key());
    }

    /// Appends any text.
    pub fn push(&mut self, text: &[u8]) {
        let key = key_of(text);
        self.keys.push(key);
        if key >= LONG {
            self.long.extend_from_slice(text);
        }
    }

    /// Appends a break.
    #[inline]
    pub fn push_break(&mut self) {
        self.keys.push(BREAK);
    }

    /// Whether it is time to count them.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.keys.len() >= BATCH
    }
}

/// Counts by text.
#[derive(Debug, Default)]
pub struct TextCounts {
    /// A power of two of them, at least twice as many as texts. A text is where the
    /// upper bits of its hash say, or in the next free one behind it.
    slots: Vec<Slot>,
    /// Bits of a hash beside those upper ones.
    shift: u32,
    entries: Vec<Entry>,
    /// Long texts.
    long: Vec<u8>,
}

/// Hash and place of a text.
#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: u32,
    place: u32,
}

const FREE: Slot = Slot {
    hash: 0,
    place: u32::MAX,
};

/// The fewest slots that are made.
const FEWEST_SLOTS: usize = 1 << 8;

/// Half a cache line, and never across two.
#[derive(Debug)]
#[repr(align(32))]
struct Entry {
    key: [u8; 16],
    count: u64,
    /// Where a long text begins.
    long: u64,
}

impl Entry {
    #[inline]
    fn text<'a>(&'a self, long: &'a [u8]) -> &'a [u8] {
        let key = u128::from_le_bytes(self.key);
        match long_len(key) {
            Some(len) => &long[self.long as usize..][..len],
            None => &self.key[..Short::bytes(key).1],
        }
    }
}

impl TextCounts {
    /// Adds `count` occurrences of `text`; returns its place.
    pub fn add(&mut self, text: &[u8], count: u64) -> u32 {
        let key = key_of(text);
        self.add_key(hash_of(key), key, text, count)
    }

    /// Adds every text of `batch`, which is empty then, and hands its place to `each`,
    /// `None` for a break.
    #[inline]
    pub fn add_all(&mut self, batch: &mut Batch, mut each: impl FnMut(Option<u32>)) {
        if self.slots.is_empty() {
            self.grow();
        }
        let mut touched = 0;
        batch
            .hashes
            .extend(batch.keys.iter().map(|&key| hash_of(key)));
        for &hash in &batch.hashes {
            touched ^= self.slots[(hash >> self.shift) as usize].place;
        }
        for &hash in &batch.hashes {
            let place = self.slots[(hash >> self.shift) as usize].place;
            touched ^= self
                .entries
                .get(place as usize)
                .map_or(0, |entry| entry.count as u32);
        }
        black_box(touched);
        let mut long = &batch.long[..];
        for (&key, &hash) in batch.keys.iter().zip(&batch.hashes) {
            if key == BREAK {
                each(None);
                continue;
            }
            let mut text = &[][..];
            if let Some(len) = long_len(key) {
                (text, long) = long.split_at(len);
            }
            each(Some(self.add_key(hash, key, text, 1)));
        }
        batch.keys.clear();
        batch.hashes.clear();
        batch.long.clear();
    }

    /// Adds a text by its key; `text` is looked at where it is long.
    #[inline]
    fn add_key(&mut self, hash: u32, key: u128, text: &[u8], count: u64) -> u32 {
        let last = self.slots.len().wrapping_sub(1);
        let mut at = (hash >> self.shift) as usize;
        while let Some(&slot) = self.slots.get(at & last) {
            if slot.hash == hash
                && let Some(entry) = self.entries.get_mut(slot.place as usize)
                && entry.key == key.to_le_bytes()
                && (key < LONG || entry.text(&self.long) == text)
            {
                entry.count += count;
                return slot.place;
            }
            if slot.place == FREE.place {
                break;
            }
            at += 1;
        }
        self.insert(hash, key, text, count)
    }

    #[cold]
    fn insert(&mut self, hash: u32, key: u128, text: &[u8], count: u64) -> u32 {
        let place = self.entries.len() as u32;
        self.entries.push(Entry {
            key: key.to_le_bytes(),
            count,
            long: self.long.len() as u64,
        });
        if key >= LONG {
            self.long.extend_from_slice(text);
        }
        if self.slots.len() < 2 * self.entries.len() {
            self.grow();
        }
        put(&mut self.slots, self.shift, Slot { hash, place });
        place
    }

    /// Doubles the slots.
    fn grow(&mut self) {
        let slots = (2 * self.slots.len()).max(FEWEST_SLOTS);
        let before = std::mem::replace(&mut self.slots, vec![FREE; slots]);
        self.shift = u32::BITS - slots.trailing_zeros();
        for slot in before.into_iter().filter(|slot| slot.place != FREE.place) {
            put(&mut self.slots, self.shift, slot);
        }
    }

    /// All distinct texts and their counts, by place.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.entries
            .iter()
            .map(|entry| (entry.text(&self.long), entry.count))
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
        self.slots.fill(FREE);
        self.entries.clear();
        self.long.clear();
    }

    /// Bytes of memory in use; growing, it may hold twice that.
    pub fn memory(&self) -> usize {
        self.long.len() + self.entries.len() * (size_of::<Entry>() + 2 * size_of::<Slot>())
    }
}

/// Puts a text into the next slot that is free.
fn put(slots: &mut [Slot], shift: u32, new: Slot) {
    let last = slots.len() - 1;
    let mut at = (new.hash >> shift) as usize;
    while slots[at & last].place != FREE.place {
        at += 1;
    }
    slots[at & last] = new;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

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

    proptest! {
        #[test]
        fn many_at_a_time_are_one_by_one(
            texts in prop::collection::vec(prop::option::of("[ab]{0,4}|[ab]{13,18}|[é東]{4,6}"), 0..900),
        ) {
            let (mut counts, mut expected) = (TextCounts::default(), TextCounts::default());
            let (mut places, mut batch) = (Vec::new(), Batch::default());
            for text in &texts {
                match text.as_deref().map(str::as_bytes) {
                    None => batch.push_break(),
                    Some(text) => match Short::of(text) {
                        Some(short) if text.len() % 2 == 0 => batch.push_short(short),
                        _ => batch.push(text),
                    },
                }
                if batch.is_full() {
                    counts.add_all(&mut batch, |place| places.push(place));
                }
            }
            counts.add_all(&mut batch, |place| places.push(place));
            let mut sums: HashMap<&[u8], u64> = HashMap::new();
            for (text, place) in texts.iter().zip(&places) {
                let alone = text.as_ref().map(|text| expected.add(text.as_bytes(), 1));
                prop_assert_eq!(alone, *place);
                if let Some(text) = text {
                    *sums.entry(text.as_bytes()).or_default() += 1;
                }
            }
            prop_assert_eq!(places.len(), texts.len());
            prop_assert!(counts.iter().eq(expected.iter()));
            prop_assert_eq!(counts.iter().collect::<HashMap<_, _>>(), sums);
        }
    }
}

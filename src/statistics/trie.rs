//! Counts in memory: a row for each n-gram, one level for each length, in order of
//! words. A row knows its prefix (the n-gram without its last word), its suffix
//! (without its first) and its children (with one word more), so that every part of
//! an n-gram is reached by steps, not by look-up.
//!
//! Every part of a kept n-gram is kept too, since it occurs at least as often; a
//! missing one is an error. Memory: 40 bytes an n-gram, and the words.

use crate::base::error::{Error, Result};
use crate::statistics::dictionary::{WordId, WordSet};
use crate::statistics::tally::MAX_LENGTH;
use std::ops::Range;

/// Bytes of memory an n-gram takes; a word of the dictionary takes about twice that.
pub const BYTES_PER_NGRAM: u64 = 40;

/// Place of an n-gram on its level.
pub type Row = u32;

/// All n-grams of one length.
#[derive(Debug, Default)]
pub struct Level {
    last: Vec<WordId>,
    counts: Vec<u64>,
    /// On the level below: the n-gram without its last word. Empty for single words.
    prefix: Vec<Row>,
    /// On the level below: the n-gram without its first word. Empty for single words.
    suffix: Vec<Row>,
    /// Where the children of each row begin on the level above, and of one row more.
    children: Vec<Row>,
    log_p: Vec<f64>,
}

/// Counts of all lengths.
#[derive(Debug)]
pub struct Trie {
    levels: Vec<Level>,
    words: WordSet,
}

impl Level {
    /// Number of n-grams.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Occurrences of an n-gram.
    pub fn count(&self, row: Row) -> u64 {
        self.counts[row as usize]
    }

    /// log p: the natural logarithm of count / T_n.
    #[inline]
    pub fn log_p(&self, row: Row) -> f64 {
        self.log_p[row as usize]
    }

    /// The row below without the last word.
    #[inline]
    pub fn prefix(&self, row: Row) -> Row {
        self.prefix[row as usize]
    }

    /// The row below without the first word.
    #[inline]
    pub fn suffix(&self, row: Row) -> Row {
        self.suffix[row as usize]
    }

    fn children(&self, row: Row) -> Range<usize> {
        // Rows from the last parent on have no entry until the level above is done.
        let at = |row: usize| self.children.get(row).map(|&start| start as usize);
        let end = at(row as usize + 1).unwrap_or(usize::MAX);
        at(row as usize).unwrap_or(end)..end
    }
}

impl Trie {
    /// Number of lengths.
    pub fn lengths(&self) -> usize {
        self.levels.len()
    }

    /// The n-grams of `length` words.
    pub fn level(&self, length: usize) -> &Level {
        &self.levels[length - 1]
    }

    /// The words.
    pub fn words(&self) -> &WordSet {
        &self.words
    }

    /// The words of an n-gram.
    pub fn ngram(&self, length: usize, row: Row) -> [WordId; MAX_LENGTH] {
        let mut words = [0; MAX_LENGTH];
        let mut row = row;
        for length in (1..=length).rev() {
            let level = self.level(length);
            words[length - 1] = level.last[row as usize];
            if length > 1 {
                row = level.prefix(row);
            }
        }
        words
    }

    /// The row of an n-gram, if it was kept.
    pub fn find(&self, words: &[WordId]) -> Option<Row> {
        let (&first, rest) = words.split_first()?;
        let mut row = ((first as usize) < self.level(1).len()).then_some(first)?;
        for (below, &word) in rest.iter().enumerate() {
            row = find_child(&self.levels, below, row, word)?;
        }
        Some(row)
    }
}

/// The child of `row` on level `below` (from 0) that ends with `word`.
fn find_child(levels: &[Level], below: usize, row: Row, word: WordId) -> Option<Row> {
    let above = levels.get(below + 1)?;
    let range = levels[below].children(row);
    let range = range.start.min(above.len())..range.end.min(above.len());
    above.last[range.clone()]
        .binary_search(&word)
        .ok()
        .map(|place| (range.start + place) as Row)
}

/// Fills a [`Trie`], length by length from 1 on, each in order of words.
pub struct TrieBuilder {
    levels: Vec<Level>,
    texts: Vec<String>,
    windows: Vec<u64>,
    /// Words of the n-gram pushed last, and the row of each of its prefixes.
    path: Vec<(WordId, Row)>,
}

impl TrieBuilder {
    /// For counts with these numbers of windows T_1, T_2, ….
    pub fn new(windows: &[u64]) -> Self {
        Self {
            levels: Vec::new(),
            texts: Vec::new(),
            windows: windows.to_vec(),
            path: Vec::new(),
        }
    }

    /// Appends one n-gram. `place` names where it comes from.
    pub fn push(&mut self, place: &str, words: &[WordId], text: &str, count: u64) -> Result<()> {
        let wrong = |expected: &str| {
            Error::corrupt(
                place,
                format!("{text:?} with word ids {words:?}"),
                expected,
                "the counts are damaged or incomplete: run `cloze verify`, then count again",
            )
        };
        let length = words.len();
        if length == 0 || length > self.windows.len() {
            return Err(wrong("an n-gram of a length that was counted"));
        }
        if self.levels.len() + 1 < length || self.levels.len() > length {
            return Err(wrong("all n-grams of each length before the next length"));
        }
        if self.levels.len() < length {
            self.close_children();
            self.levels.push(Level::default());
            self.path.clear();
        }
        let row = Row::try_from(self.levels[length - 1].len())
            .map_err(|_| wrong("at most 4294967295 n-grams of a length"))?;
        let last = words[length - 1];
        if length == 1 {
            if last != row {
                return Err(wrong("every word, in order"));
            }
            self.texts.push(text.to_owned());
        } else {
            let prefix = self
                .prefix(words)
                .ok_or_else(|| wrong("the n-gram without its last word among the counts"))?;
            let suffix = if length == 2 {
                ((last as usize) < self.levels[0].len()).then_some(last)
            } else {
                let prefix_suffix = self.levels[length - 2].suffix(prefix);
                find_child(&self.levels, length - 3, prefix_suffix, last)
            };
            let suffix = suffix
                .ok_or_else(|| wrong("the n-gram without its first word among the counts"))?;
            let [.., below, level] = &mut self.levels[..] else {
                return Err(wrong("a length below"));
            };
            if level.prefix.last().is_some_and(|&before| {
                (before, level.last.last().copied().unwrap_or(0)) >= (prefix, last)
            }) {
                return Err(wrong("n-grams in order, each once"));
            }
            // Every row up to this prefix has its children before here.
            below.children.resize(prefix as usize + 1, row);
            level.prefix.push(prefix);
            level.suffix.push(suffix);
        }
        let windows = self.windows[length - 1];
        let level = &mut self.levels[length - 1];
        level.last.push(last);
        level.counts.push(count);
        level.log_p.push((count as f64 / windows as f64).ln());
        Ok(())
    }

    /// The row of `words` without the last one; what it has in common with the
    /// n-gram before is not looked up again.
    fn prefix(&mut self, words: &[WordId]) -> Option<Row> {
        let prefix = &words[..words.len() - 1];
        let common = self
            .path
            .iter()
            .zip(prefix)
            .take_while(|((before, _), word)| before == *word)
            .count();
        self.path.truncate(common);
        for (place, &word) in prefix.iter().enumerate().skip(common) {
            let row = match self.path.last() {
                None => ((word as usize) < self.levels[0].len()).then_some(word)?,
                Some(&(_, row)) => find_child(&self.levels, place - 1, row, word)?,
            };
            self.path.push((word, row));
        }
        self.path.last().map(|&(_, row)| row)
    }

    /// The last level is complete: rows without children get an empty range.
    fn close_children(&mut self) {
        if let [.., below, level] = &mut self.levels[..] {
            below.children.resize(below.len() + 1, level.len() as Row);
        }
    }

    /// All n-grams are there.
    pub fn finish(mut self) -> Trie {
        self.close_children();
        self.levels.resize_with(self.windows.len(), Level::default);
        Trie {
            levels: self.levels,
            words: WordSet::from_sorted(self.texts.iter().map(String::as_str)),
        }
    }
}

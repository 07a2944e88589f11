//! Where the tokens of one text go. Bits of word starts are gathered 64 at a time.

use super::super::Encoded;

/// Appends words to the tokens of a text; nothing stays if it is dropped before
/// [`Sink::finish`].
pub(super) struct Sink<'a> {
    out: &'a mut Encoded,
    /// Tokens before.
    tokens: usize,
    /// Word starts not yet in `out`, and how many.
    bits: u64,
    count: u32,
    finished: bool,
}

impl<'a> Sink<'a> {
    pub(super) fn new(out: &'a mut Encoded) -> Self {
        Self {
            tokens: out.tokens.len(),
            out,
            bits: 0,
            count: 0,
            finished: false,
        }
    }

    /// Appends a word.
    #[inline]
    pub(super) fn word(&mut self, ids: &[u32]) {
        if let &[id] = ids {
            self.token(id, true);
        } else {
            for (index, &id) in ids.iter().enumerate() {
                self.token(id, index == 0);
            }
        }
    }

    #[inline]
    fn token(&mut self, id: u32, starts: bool) {
        self.out.tokens.push(id);
        self.bits |= u64::from(starts) << self.count;
        self.count += 1;
        if self.count == u64::BITS {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.count > 0 {
            let count = self.count as usize;
            self.out.word_start.push_word(self.bits, count);
        }
        (self.bits, self.count) = (0, 0);
    }

    /// Keeps what was appended.
    pub(super) fn finish(mut self) {
        self.flush();
        self.finished = true;
    }
}

impl Drop for Sink<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.out.tokens.truncate(self.tokens);
            self.out.word_start.truncate(self.tokens);
        }
    }
}

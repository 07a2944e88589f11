//! Where the tokens of one text go. They are gathered in a block, so that a short word is
//! written without asking how many tokens it has.

use super::super::Encoded;
use super::known::IDS;

/// Tokens of a block: a batch of short words fits in.
const BLOCK: usize = 256;

/// Appends words to the tokens of a text; nothing stays if it is dropped before
/// [`Sink::finish`].
pub(super) struct Sink<'a> {
    out: &'a mut Encoded,
    /// Tokens before.
    tokens: usize,
    /// Tokens that are not yet in `out`.
    block: [u32; BLOCK],
    starts: [u64; BLOCK / 64],
    filled: usize,
    finished: bool,
}

impl<'a> Sink<'a> {
    pub(super) fn new(out: &'a mut Encoded) -> Self {
        Self {
            tokens: out.tokens.len(),
            out,
            block: [0; BLOCK],
            starts: [0; BLOCK / 64],
            filled: 0,
            finished: false,
        }
    }

    /// Appends a word of one to [`IDS`] tokens, the first `count` of `ids`.
    #[inline(always)]
    pub(super) fn short(&mut self, ids: [u32; IDS], count: usize) {
        if self.filled + IDS > BLOCK {
            self.flush();
        }
        let at = self.filled;
        self.block[at..at + IDS].copy_from_slice(&ids);
        self.starts[at / 64] |= 1 << (at % 64);
        self.filled = at + count;
    }

    /// Appends a word.
    pub(super) fn word(&mut self, ids: &[u32]) {
        for (index, &id) in ids.iter().enumerate() {
            if self.filled == BLOCK {
                self.flush();
            }
            let at = self.filled;
            self.block[at] = id;
            self.starts[at / 64] |= u64::from(index == 0) << (at % 64);
            self.filled = at + 1;
        }
    }

    #[inline(never)]
    fn flush(&mut self) {
        let tokens = &self.block[..self.filled];
        self.out.tokens.extend_from_slice(tokens);
        for (tokens, starts) in tokens.chunks(64).zip(&mut self.starts) {
            self.out.word_start.push_word(*starts, tokens.len());
            *starts = 0;
        }
        self.filled = 0;
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

//! How counting raw text keeps within its memory M on T threads. What is there all along:
//!
//! * the process, 12 MiB, and the tokenizer, 1 KiB for each of its tokens (measured: 12
//!   MiB; 26 MB for 30 522 tokens, 106 MB for 100 278);
//! * what threads remember of stretches that were cut: 192 bytes each, at most an eighth
//!   of M and 2¹⁷ stretches a thread.
//!
//! Beside it, the larger of what reading takes and what files being written take, since
//! the text has been read by then:
//!
//! * reading: the decompressor's window; 4 MiB a thread for a chunk of 1 MiB, read ahead
//!   where the file is compressed, in buffers that double; and for a tokenizer an eighth
//!   of M, a half where it cuts whole documents and not stretches between whitespace;
//! * writing: 12 MiB for each length of n-grams.
//!
//! The rest, at least 8 MiB, counts. Where it would be less, threads remember a quarter,
//! then nothing, then there are fewer of them, and then the bound is refused. A document of more than 1
//! MiB comes on top, with up to three times its length a thread.

use crate::base::error::{Error, Result};
use crate::base::size::ByteSize;
use crate::tokenizer::LIBRARY_MEMORY_PER_BYTE;
use crate::tokenizer::cutter::{KNOWN_BYTES, MOST_KNOWN};

/// Text in a chunk.
pub(super) const CHUNK: ByteSize = ByteSize::mib(1);

/// Memory of the process before it has read anything.
pub(super) const PROCESS: u64 = 12 << 20;

/// Memory of a tokenizer for each of its tokens.
const PER_TOKEN: u64 = 1 << 10;

const READING: u64 = 4 << 20;
const LEAST_COUNTING: u64 = 8 << 20;
/// What a tokenizer works on at once, at least, where that is a stretch of text.
const LEAST_AT_ONCE: u64 = 1 << 20;

/// What counting a text takes, whatever the memory.
pub(super) struct TextNeed {
    /// Tokens of the tokenizer; 0 without one.
    pub tokens: u64,
    /// Whether the tokenizer cuts documents whole.
    pub whole_documents: bool,
    /// Whether stretches are remembered.
    pub remembers: bool,
    /// Bytes of the decompressor that takes most.
    pub decompressor: u64,
    /// The longest document.
    pub max_document: ByteSize,
    /// Bytes of the files that are written.
    pub writers: u64,
}

/// Memory, divided.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TextMemory {
    /// Threads there is memory for.
    pub threads: usize,
    /// Stretches that a thread may remember.
    pub known: usize,
    /// Bytes for what the tokenizer works on at once, on all threads.
    pub at_once: u64,
    /// What is left to count with.
    pub counting: ByteSize,
}

impl TextNeed {
    /// Divides `memory` among up to `threads` threads; refuses too little of it.
    pub(super) fn divide(&self, memory: ByteSize, threads: usize) -> Result<TextMemory> {
        let longest = self.max_document.0.saturating_mul(LIBRARY_MEMORY_PER_BYTE);
        if self.whole_documents && longest > memory.0 / 2 {
            return Err(Error::usage(
                "--memory",
                format!(
                    "{memory}, with documents of up to {} that the tokenizer cuts whole",
                    self.max_document
                ),
                format!("at least {}", ByteSize(longest.saturating_mul(2))),
                format!(
                    "raise --memory, or lower --max-document to {}",
                    ByteSize(memory.0 / 2 / LIBRARY_MEMORY_PER_BYTE)
                ),
            ));
        }
        let remembered = if self.remembers { memory.0 / 8 } else { 0 };
        let shares = [remembered, remembered / 4, 0];
        (1..=threads)
            .rev()
            .flat_map(|threads| shares.map(|share| (threads, share)))
            .map(|(threads, share)| self.with(memory, threads, share))
            .find_map(Result::ok)
            .map_or_else(|| self.with(memory, 1, 0).map_err(refused(memory)), Ok)
    }

    /// What is left with so many threads and so much memory for stretches, or how much
    /// memory it would take.
    fn with(&self, memory: ByteSize, threads: usize, share: u64) -> Result<TextMemory, u64> {
        let known = (share as usize / threads / KNOWN_BYTES).min(MOST_KNOWN);
        let at_once = match (self.tokens, self.whole_documents) {
            (0, _) => 0,
            (_, true) => memory.0 / 2,
            (_, false) if share > 0 => memory.0 / 8,
            (_, false) => LEAST_AT_ONCE,
        };
        let reading = self.decompressor + READING * threads as u64 + at_once;
        let taken = PROCESS
            + PER_TOKEN * self.tokens
            + (known * threads * KNOWN_BYTES) as u64
            + reading.max(self.writers);
        match memory.0.checked_sub(taken) {
            Some(left) if left >= LEAST_COUNTING => Ok(TextMemory {
                threads,
                known,
                at_once,
                counting: ByteSize(left),
            }),
            _ => Err(taken + LEAST_COUNTING),
        }
    }
}

fn refused(memory: ByteSize) -> impl Fn(u64) -> Error {
    move |least| {
        let least = ByteSize::mib(least.div_ceil(1 << 20));
        Error::usage(
            "--memory",
            memory.to_string(),
            format!("at least {least} for this text, its tokenizer and the files written"),
            format!("give --memory {least} or more, or a smaller --max-length"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHOUT: TextNeed = TextNeed {
        tokens: 0,
        whole_documents: false,
        remembers: false,
        decompressor: 0,
        max_document: ByteSize::mib(16),
        writers: 60 << 20,
    };

    const BERT: TextNeed = TextNeed {
        tokens: 30_522,
        remembers: true,
        ..WITHOUT
    };

    #[test]
    fn all_shares_together_stay_within_the_bound() {
        for need in [WITHOUT, BERT] {
            for mib in [110, 128, 200, 256, 1024, 4096] {
                let memory = ByteSize::mib(mib);
                let divided = need.divide(memory, 8).unwrap();
                let reading = READING * divided.threads as u64 + divided.at_once;
                let all = PROCESS
                    + PER_TOKEN * need.tokens
                    + (divided.known * KNOWN_BYTES * divided.threads) as u64
                    + reading.max(need.writers)
                    + divided.counting.0;
                assert!(all <= memory.0, "{mib} MiB: {divided:?}");
                assert!(divided.counting.0 >= LEAST_COUNTING);
            }
        }
        let roomy = BERT.divide(ByteSize::mib(4096), 2).unwrap();
        assert_eq!((roomy.threads, roomy.known), (2, MOST_KNOWN));
    }

    #[test]
    fn a_small_bound_takes_memory_from_stretches_then_threads_then_is_refused() {
        let tight = BERT.divide(ByteSize::mib(111), 2).unwrap();
        assert_eq!((tight.threads, tight.known), (2, 0));
        let packed = TextNeed {
            decompressor: 96 << 20,
            ..WITHOUT
        };
        let fewer = packed.divide(ByteSize::mib(128), 8).unwrap();
        assert_eq!(fewer.threads, 3);
        let error = packed.divide(ByteSize::mib(119), 8).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("at least 120MiB"), "{error}");
        assert!(packed.divide(ByteSize::mib(120), 8).is_ok());
    }

    #[test]
    fn a_document_that_a_tokenizer_cannot_cut_within_the_bound_is_refused() {
        let whole = TextNeed {
            whole_documents: true,
            remembers: false,
            ..BERT
        };
        assert!(whole.divide(ByteSize::mib(4096), 2).is_ok());
        let message = whole
            .divide(ByteSize::mib(1024), 2)
            .unwrap_err()
            .to_string();
        assert!(message.contains("--max-document to 4MiB"), "{message}");
    }
}

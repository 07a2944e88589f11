//! A word's text of up to 15 bytes in one integer: nearly every word of most texts. Made,
//! lower-cased and compared without a look at memory.

use std::fmt;

/// Most bytes of a short text.
pub const SHORTEST_LONG: usize = 16;

/// A text of up to 15 bytes; the last byte is its length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Short(u128);

const LENGTH: u32 = 120;

impl Short {
    /// `text`, where it is short.
    #[inline]
    pub fn of(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; SHORTEST_LONG];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        (text.len() < SHORTEST_LONG)
            .then(|| Self(u128::from_le_bytes(bytes) | ((text.len() as u128) << LENGTH)))
    }

    /// The first `len` bytes of a text, at most 15; there is nothing behind them.
    #[inline]
    pub(super) fn of_words(low: u64, high: u64, len: usize) -> Self {
        Self(u128::from(low) | (u128::from(high) << 64) | ((len as u128) << LENGTH))
    }

    /// All of it in one integer; no other text has the same, and the highest byte is
    /// the length.
    #[inline]
    pub fn key(self) -> u128 {
        self.0
    }

    /// The text that [`Short::key`] belongs to, and how many of the bytes are the text.
    #[inline]
    pub fn bytes(key: u128) -> ([u8; SHORTEST_LONG], usize) {
        (key.to_le_bytes(), (key >> LENGTH) as usize)
    }
}

impl fmt::Debug for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, len) = Self::bytes(self.0);
        write!(f, "{:?}", String::from_utf8_lossy(&bytes[..len]))
    }
}

//! Text to tokens, one worker's part: by the fast path where the tokenizer has one, by
//! the library otherwise. Both give the same.

use super::fast::Cache;
use super::{Encoded, Tokenizer, Unencodable};
use std::borrow::Borrow;

/// Encodes one text after the other; one for each thread. `T` is a reference to the
/// tokenizer, counted or not.
pub struct Encoder<T> {
    tokenizer: T,
    /// Of the fast path.
    cache: Option<Cache>,
}

impl<T: Borrow<Tokenizer>> Encoder<T> {
    /// An encoder that has met no word yet. Its memory is that of a fast path's cache,
    /// 2.5 to 10 MB.
    pub fn new(tokenizer: T) -> Self {
        Self {
            cache: tokenizer.borrow().fast().ok().map(|fast| fast.cache()),
            tokenizer,
        }
    }

    /// Appends the tokens of `text` to `out`: no special tokens around it, nothing
    /// cut off. On an error `out` is as before.
    pub fn encode(&mut self, text: &str, out: &mut Encoded) -> Result<(), Unencodable> {
        let tokenizer = self.tokenizer.borrow();
        let (Ok(fast), Some(cache)) = (tokenizer.fast(), &mut self.cache) else {
            return tokenizer.encode(text, out);
        };
        fast.encode(text, cache, out).map_err(|error| match error {
            Unencodable::SpecialToken { id, .. } => Unencodable::SpecialToken {
                id,
                spelling: tokenizer.spelling(id).to_owned(),
            },
            failed => failed,
        })
    }
}

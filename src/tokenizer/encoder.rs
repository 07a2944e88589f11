//! Text to tokens, one worker's part: by the fast path where the tokenizer has one, by
//! the library otherwise. Both give the same.

use super::fast::{Cache, Fast};
use super::{Encoded, Tokenizer, Unencodable};

/// Encodes one text after the other; one for each thread.
pub struct Encoder<'a> {
    tokenizer: &'a Tokenizer,
    fast: Option<(&'a Fast, Cache)>,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer, fast: Option<&'a Fast>) -> Self {
        Self {
            tokenizer,
            fast: fast.map(|fast| (fast, fast.cache())),
        }
    }

    /// Appends the tokens of `text` to `out`: no special tokens around it, nothing
    /// cut off. On an error `out` is as before.
    pub fn encode(&mut self, text: &str, out: &mut Encoded) -> Result<(), Unencodable> {
        let Some((fast, cache)) = &mut self.fast else {
            return self.tokenizer.encode(text, out);
        };
        fast.encode(text, cache, out).map_err(|error| match error {
            Unencodable::SpecialToken { id, .. } => Unencodable::SpecialToken {
                id,
                spelling: self.tokenizer.spelling(id).to_owned(),
            },
            failed => failed,
        })
    }
}

//! A text as the library takes it apart before anything cuts words: added tokens that are
//! found in it as it is, its normal form, added tokens that are found in that, and what is
//! left between them.

use super::added::{self, Added, Piece};
use super::normal::Normal;
use super::sink::Sink;
use crate::tokenizer::parsed::Parsed;
use crate::tokenizer::{Encoded, Unencodable};
use std::borrow::Cow;

/// Added tokens and the normaliser of a tokenizer.
pub(super) struct Stretches {
    /// Added tokens of the text as it is.
    raw: Added,
    /// Added tokens of the normalised text.
    normalized: Added,
    normal: Option<Normal>,
}

impl Stretches {
    /// Those of a `tokenizer.json` whose normaliser is `normal`; `Err` is what of them is
    /// not done here.
    pub(super) fn of(tokenizer: &Parsed, normal: Option<Normal>) -> Result<Self, String> {
        let (normalized, raw) = added::read(tokenizer, normal.as_ref())?;
        Ok(Self {
            raw: Added::new(raw),
            normalized: Added::new(normalized),
            normal,
        })
    }

    /// Appends the added tokens of `text` to `out`, and hands what is between them to
    /// `each`; on an error `out` is as before.
    pub(super) fn encode(
        &self,
        text: &str,
        out: &mut Encoded,
        mut each: impl FnMut(&str, &mut Sink<'_>) -> Result<(), Unencodable>,
    ) -> Result<(), Unencodable> {
        let mut sink = Sink::new(out);
        let mut append = |piece: Piece<'_>| match piece {
            Piece::Token(id) => {
                sink.word(&[id]);
                Ok(())
            }
            Piece::Text(text) => each(text, &mut sink),
        };
        self.raw.split(text, |piece| match piece {
            Piece::Text(text) => {
                let normal = self.normal.as_ref();
                let text = normal.map_or(Cow::Borrowed(text), |normal| normal.of(text));
                self.normalized.split(&text, &mut append)
            }
            token => append(token),
        })?;
        sink.finish();
        Ok(())
    }
}

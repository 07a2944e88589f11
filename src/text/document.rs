//! From the bytes of a frame to the text of a document, or the reason why there is
//! none. Text goes on unchanged: what is here checks and never corrects.

use super::format::Shape;
use super::frames::Fault;
use super::json;
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// Files are numbered below 2²⁴ and positions in them below 2⁴⁰.
pub const POSITION_BITS: u32 = 40;

/// Where in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Offset in the (decompressed) file.
    Byte(u64),
    /// Row of a table, from 0.
    Row(u64),
    /// All of it.
    File,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Byte(at) => write!(f, "byte {at}"),
            Self::Row(row) => write!(f, "row {row}"),
            Self::File => f.write_str("file"),
        }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A document that was left out: a line of `rejected.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejection {
    /// Path as in the list of inputs.
    pub file: String,
    /// Where in it: `byte N`, `row N` or `file`.
    pub place: Place,
    /// The id that the document would have had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_id: Option<u64>,
    /// What is wrong with it.
    pub reason: String,
    /// How it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<String>,
}

/// What a reader finds at one place of a file.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// Where it is.
    pub place: Place,
    /// The document's text, or what is wrong with it.
    pub text: Result<Cow<'a, str>, Fault>,
}

/// The id of the document at `place` of file number `file`.
pub fn document_id(file: u32, place: Place) -> Option<u64> {
    match place {
        Place::Byte(position) | Place::Row(position) if position < 1 << POSITION_BITS => {
            Some(u64::from(file) << POSITION_BITS | position)
        }
        _ => None,
    }
}

impl Fault {
    /// A fault of `text`, which is shown by its beginning.
    pub fn of(reason: impl Into<String>, text: &[u8]) -> Self {
        Self {
            reason: reason.into(),
            excerpt: text[..text.len().min(400)].to_vec(),
        }
    }

    /// The beginning of the text, as far as it can be shown.
    pub fn shown(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.excerpt);
        let text: String = text.trim().chars().take(80).collect();
        (!text.is_empty()).then_some(text)
    }
}

/// The text of a frame.
pub(super) fn text_of<'a>(
    content: &'a [u8],
    shape: Shape,
    field: &str,
    max_document: usize,
) -> Result<Cow<'a, str>, Fault> {
    let text = std::str::from_utf8(content).map_err(|error| {
        Fault::of(
            format!("no UTF-8 at its byte {}", error.valid_up_to()),
            content,
        )
    })?;
    let text = match shape {
        Shape::Json => {
            json::text_field(text, field).map_err(|reason| Fault::of(reason, content))?
        }
        Shape::Text(_) | Shape::Rows(_) | Shape::Samples => Cow::Borrowed(text),
    };
    check(&text, max_document)?;
    Ok(text)
}

/// Refuses what no tokenizer should see.
pub(super) fn check(text: &str, max_document: usize) -> Result<(), Fault> {
    let reason = if text.len() > max_document {
        format!("longer than {max_document} bytes")
    } else if let Some(at) = memchr::memchr(0, text.as_bytes()) {
        format!("a NUL at its byte {at}")
    } else if text.trim().is_empty() {
        "an empty document".into()
    } else {
        return Ok(());
    };
    Err(Fault::of(reason, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::frames::Framing;

    const PLAIN: Shape = Shape::Text(Framing::Line);

    #[test]
    fn each_kind_of_unusable_text_has_its_reason() {
        for (bytes, reason) in [
            (&b"caf\xE9 au lait"[..], "no UTF-8 at its byte 3"),
            (b"a\0b", "a NUL at its byte 1"),
            (b" \n\t\xE2\x80\xA8", "an empty document"),
            (b"0123456789a", "longer than 10 bytes"),
        ] {
            let fault = text_of(bytes, PLAIN, "text", 10).unwrap_err();
            assert_eq!(fault.reason, reason);
        }
        let nul = text_of(br#"{"text":"a\u0000"}"#, Shape::Json, "text", 10).unwrap_err();
        assert_eq!(nul.reason, "a NUL at its byte 1");
        assert_eq!(nul.shown().unwrap(), "a\0");
        assert_eq!(text_of(b" a\r\n", PLAIN, "text", 10).unwrap(), " a\r\n");
    }

    #[test]
    fn an_id_holds_file_and_position() {
        assert_eq!(document_id(3, Place::Byte(5)), Some(3 << 40 | 5));
        assert_eq!(
            document_id(3, Place::Row((1 << 40) - 1)),
            Some((4 << 40) - 1)
        );
        assert_eq!(document_id(3, Place::Byte(1 << 40)), None);
        assert_eq!(document_id(3, Place::File), None);
    }
}

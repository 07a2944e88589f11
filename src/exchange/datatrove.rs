//! datatrove's tokenised files (0.10, `pipeline/tokens/tokenizer.py`): `NAME.ds`, all
//! ids one after the other; `NAME.ds.index`, where each document ends, in tokens, u64;
//! `NAME.ds.metadata`, whose first line ends in `|` and the bytes of an id. Without the
//! index, ids come in pieces that are to be cut at separators.

use super::Reading;
use super::numbers::Number;
use super::window::Window;
use crate::base::error::{Error, Result};
use crate::base::token::TokenId;
use crate::storage::place;
use std::path::{Path, PathBuf};

/// Tokens read at once where there is no index.
const PIECE: u64 = 1 << 16;

pub(super) struct Reader {
    ids: Window,
    index: Option<Window>,
    number: Number,
    /// Tokens read.
    at: u64,
    /// Documents read.
    document: u64,
}

/// A file beside `ds`, with `ending` behind its name.
pub(super) fn beside(ds: &Path, ending: &str) -> PathBuf {
    let name = ds.file_name().unwrap_or_default().to_string_lossy();
    ds.with_file_name(format!("{name}{ending}"))
}

impl Reader {
    pub(super) fn open(path: &Path, reading: &Reading) -> Result<Self> {
        let mut ids = Window::open(path)?;
        let index = beside(path, ".index");
        let mut index = match place::exists(&index)? {
            true => Some(Window::open(&index)?),
            false => None,
        };
        if index.is_none() && !reading.separated {
            return Err(Error::usage(
                path.display().to_string(),
                "no .ds.index beside it",
                "where its documents end",
                "copy the index there, or have them end at separators: \
                 --document-end separator",
            ));
        }
        let number = number(&mut ids, index.as_mut(), reading)?;
        let mut reader = Self {
            ids,
            index,
            number,
            at: 0,
            document: 0,
        };
        reader.check()?;
        Ok(reader)
    }

    /// The last document has to end where the file does.
    fn check(&mut self) -> Result<()> {
        let tokens = self.ids.len() / self.number.bytes() as u64;
        let whole = self.ids.len().is_multiple_of(self.number.bytes() as u64);
        let end = match &mut self.index {
            Some(index) => last_end(index)?,
            None => tokens,
        };
        if whole && end == tokens {
            return Ok(());
        }
        Err(Error::corrupt(
            self.ids.path().display().to_string(),
            format!("{} bytes", self.ids.len()),
            format!(
                "{end} ids of {} bytes, as its index says",
                self.number.bytes()
            ),
            "copy the .ds and its .index again, or say with --id-type what ids are stored as",
        ))
    }

    /// Documents of an index, or pieces of the one document that there is without.
    fn next_document(&mut self) -> Result<Option<Vec<TokenId>>> {
        let tokens = self.ids.len() / self.number.bytes() as u64;
        let end = match &mut self.index {
            Some(index) if self.document < index.len() / 8 => index.number(8 * self.document)?,
            Some(_) => return Ok(None),
            None if self.at >= tokens => return Ok(None),
            None => tokens.min(self.at + PIECE),
        };
        let broken = |found: String, expected: String| {
            Error::corrupt(
                format!("{}, document {}", self.ids.path().display(), self.document),
                found,
                expected,
                "copy the .ds and its .index again, or say with --id-type what ids are stored as",
            )
        };
        if end < self.at || end > tokens {
            return Err(broken(
                format!("an end at token {end}"),
                format!("one between {} and {tokens}", self.at),
            ));
        }
        let bytes = self.number.bytes();
        let length = (end - self.at) as usize * bytes;
        let ids = self
            .number
            .ids(self.ids.range(self.at * bytes as u64, length)?);
        match ids {
            Ok(ids) => {
                self.at = end;
                self.document += 1;
                Ok(Some(ids))
            }
            Err(found) => Err(Error::corrupt(
                format!("{}, document {}", self.ids.path().display(), self.document),
                found,
                "token ids: whole numbers from 0 on",
                "say with --id-type what ids are stored as",
            )),
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Option<Vec<TokenId>>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_document().map(|ids| ids.map(Some)).transpose()
    }
}

fn last_end(index: &mut Window) -> Result<u64> {
    match index.len() {
        0 => Ok(0),
        len if len % 8 == 0 => index.number(len - 8),
        len => Err(Error::corrupt(
            index.path().display().to_string(),
            format!("{len} bytes"),
            "8 bytes a document",
            "the index is cut short: copy it again",
        )),
    }
}

/// What ids are stored as: as the user says; or as long as the index and the metadata
/// say; or the widest that gives ids of the vocabulary.
fn number(ids: &mut Window, index: Option<&mut Window>, reading: &Reading) -> Result<Number> {
    if let Some(id_type) = reading.id_type {
        return Ok(id_type.into());
    }
    let size = match index {
        Some(index) => ids.len().checked_div(last_end(index)?),
        None => place::read(&beside(ids.path(), ".metadata"))
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| text.lines().next()?.rsplit_once('|')?.1.trim().parse().ok()),
    };
    let head = ids.len().min(1 << 16) / 8 * 8;
    let found = match size {
        Some(2) => Some(Number::U16),
        Some(4) => Some(Number::U32),
        Some(8) => Some(Number::I64),
        Some(_) => None,
        None if head == 0 => Some(Number::U16),
        None => Number::widest(ids.range(0, head as usize)?, reading.vocabulary_size),
    };
    found.ok_or_else(|| {
        Error::input(
            ids.path().display().to_string(),
            match size {
                Some(size) => format!("ids of {size} bytes"),
                None => "ids that are none of this tokenizer, whatever their width".into(),
            },
            "ids of 2, 4 or 8 bytes",
            "say with --id-type what ids are stored as, and check --tokenizer",
        )
    })
}

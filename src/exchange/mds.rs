//! Ids in MosaicML's MDS shards: a column of arrays, which say what they hold, or of
//! bytes, which do not. Memory: that of `text::mds`.

use super::Reading;
use super::numbers::Number;
use crate::base::error::{Error, Result};
use crate::base::token::TokenId;
use crate::columnar::ids::USUAL;
use crate::text::mds::Samples;
use std::path::Path;

/// The ids of a shard.
pub(super) struct Ids {
    samples: Samples,
    reading: Reading,
    /// What a column of bytes holds, once its first sample was seen.
    number: Option<Number>,
}

/// Opens the column of ids: the one that is named, or a usual one.
pub(super) fn ids(path: &Path, reading: &Reading) -> Result<Ids> {
    let holds_ids = |encoding: &str| encoding == "bytes" || encoding.starts_with("ndarray");
    let named = reading.column.as_deref();
    let wanted: Vec<&str> = named.map_or(USUAL.to_vec(), |name| vec![name]);
    let samples = Samples::open(
        path,
        |names, encodings| {
            wanted.iter().find_map(|&wanted| {
                (0..names.len()).find(|&i| names[i] == wanted && holds_ids(&encodings[i]))
            })
        },
        &format!(
            "a column {} of encoding ndarray or bytes",
            wanted.join(" or ")
        ),
        "name the column that holds the ids with --column; text goes through `cloze tokenize`",
    )?;
    Ok(Ids {
        number: reading.id_type.map(Number::from),
        samples,
        reading: reading.clone(),
    })
}

impl Ids {
    fn next_ids(&mut self) -> Result<Option<Vec<TokenId>>> {
        let encoding = self.samples.encoding().to_owned();
        let Some(bytes) = self.samples.next_bytes()? else {
            return Ok(None);
        };
        let decoded = match encoding.strip_prefix("ndarray") {
            Some(shape) => array(shape, bytes).and_then(|(number, bytes)| number.ids(bytes)),
            None => {
                let size = self.reading.vocabulary_size;
                if self.number.is_none() && !bytes.is_empty() {
                    self.number = Number::widest(bytes, size);
                }
                match self.number {
                    Some(number) => number.ids(bytes),
                    None if bytes.is_empty() => Ok(Vec::new()),
                    None => {
                        Err("bytes that are no ids of this tokenizer, whatever their width".into())
                    }
                }
            }
        };
        decoded.map(Some).map_err(|found| {
            Error::input(
                self.samples.place(),
                found,
                "token ids: whole numbers from 0 on",
                "say with --id-type what ids are stored as, and check --column and --tokenizer",
            )
        })
    }
}

impl Iterator for Ids {
    type Item = Result<Option<Vec<TokenId>>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_ids().map(|ids| ids.map(Some)).transpose()
    }
}

/// The type and the values of an encoded array; `shape` is what follows `ndarray` in the
/// encoding: nothing, `:type` or `:type:shape`. Arrays of several axes are flattened.
fn array<'a>(shape: &str, bytes: &'a [u8]) -> Result<(Number, &'a [u8]), String> {
    let mut known = shape.split(':').skip(1);
    let short = || "an array that is cut short".to_owned();
    let (number, rest) = match known.next() {
        Some(name) => (
            Number::by_name(name).ok_or_else(|| format!("{name}s"))?,
            bytes,
        ),
        None => {
            let (&code, rest) = bytes.split_first().ok_or_else(short)?;
            let number = match code {
                8 => Number::U8,
                9 => Number::I8,
                16 => Number::U16,
                17 => Number::I16,
                32 => Number::U32,
                33 => Number::I32,
                64 => Number::U64,
                65 => Number::I64,
                other => return Err(format!("an array of type {other}")),
            };
            (number, rest)
        }
    };
    if known.next().is_some() {
        return Ok((number, rest));
    }
    // Number of axes and the width of their lengths in one byte, then the lengths.
    let (&axes, rest) = rest.split_first().ok_or_else(short)?;
    let lengths = usize::from(axes >> 2) << (axes & 3);
    rest.get(lengths..)
        .map(|rest| (number, rest))
        .ok_or_else(short)
}

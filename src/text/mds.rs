//! MosaicML's MDS shards (mosaicml-streaming 0.13, `base/format/mds`), read without the
//! index.json beside them, since a shard tells its own columns:
//!
//! ```text
//! samples n u32, n + 1 offsets u32, the columns as JSON, n samples
//! sample: u32 for each column without a fixed size, then the columns' bytes
//! ```
//!
//! A shard is read from its beginning to its end, through zstd, gzip or bzip2 where it
//! is compressed. Memory: 4 bytes a sample of the shard, and one sample.

use super::compression;
use super::frames::{Fault, Frame};
use crate::base::error::{Error, Result};
use crate::storage::cache::copy_of_input;
use serde::Deserialize;
use std::io::{BufRead, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Endings that MosaicML gives to compressed shards.
const COMPRESSED: [&str; 5] = ["zstd", "gz", "bz2", "br", "snappy"];

/// Whether a file of this name is an MDS shard.
pub fn is_shard(name: &str) -> bool {
    let plain = match name.rsplit_once('.') {
        Some((stem, ending)) if COMPRESSED.contains(&ending) => stem,
        _ => name,
    };
    plain.ends_with(".mds")
}

/// What a shard says of its columns.
#[derive(Deserialize)]
struct Columns {
    column_names: Vec<String>,
    column_encodings: Vec<String>,
    column_sizes: Vec<Option<u32>>,
}

/// The samples of one shard, in order, one column of each.
pub struct Samples {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    columns: Columns,
    column: usize,
    /// Where samples begin; the last is where the file ends.
    offsets: Vec<u32>,
    next: usize,
    sample: Vec<u8>,
}

impl Samples {
    /// Opens the shard at `path`. `column` picks among the names and encodings of its
    /// columns; where it finds none, `expected` says what it looked for.
    pub fn open(
        path: &Path,
        column: impl Fn(&[String], &[String]) -> Option<usize>,
        expected: &str,
        remedy: &str,
    ) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".br") || name.ends_with(".snappy") {
            return Err(Error::input(
                path.display().to_string(),
                "a shard compressed with Brotli or Snappy",
                "one compressed with zstd, gzip or bzip2, or not at all",
                "write it again with compression='zstd', or decompress it",
            ));
        }
        let (_, mut reader) =
            compression::open(&copy_of_input(path)?).map_err(|e| Error::io("read", path, e))?;
        let (offsets, columns) = header(path, &mut reader)?;
        let (names, encodings) = (&columns.column_names, &columns.column_encodings);
        let column = column(names, encodings).ok_or_else(|| {
            let shown: Vec<String> = names
                .iter()
                .zip(encodings)
                .map(|(name, encoding)| format!("{name} ({encoding})"))
                .collect();
            let found = format!("columns {}", shown.join(", "));
            Error::input(path.display().to_string(), found, expected, remedy)
        })?;
        Ok(Self {
            path: path.to_owned(),
            reader,
            columns,
            column,
            offsets,
            next: 0,
            sample: Vec::new(),
        })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the next sample begins in the (decompressed) shard.
    pub fn offset(&self) -> u64 {
        self.offsets[self.next].into()
    }

    /// How the column is encoded.
    pub fn encoding(&self) -> &str {
        &self.columns.column_encodings[self.column]
    }

    /// The file and the sample that was read last, for messages.
    pub fn place(&self) -> String {
        let sample = self.next.saturating_sub(1);
        format!("{}, sample {sample}", self.path.display())
    }

    /// The bytes of the column in the next sample.
    pub fn next_bytes(&mut self) -> Result<Option<&[u8]>> {
        let [begin, end] = match self.offsets.get(self.next..self.next + 2) {
            Some(&[begin, end]) => [begin, end],
            _ => return Ok(None),
        };
        self.next += 1;
        self.sample.clear();
        let length = u64::from(end - begin);
        let read = self
            .reader
            .by_ref()
            .take(length)
            .read_to_end(&mut self.sample);
        let range = match read {
            Err(error) => Err(error.to_string()),
            Ok(read) if (read as u64) < length => Err(format!("{read} bytes and the end")),
            Ok(_) => column_of(&self.columns, self.column, &self.sample)
                .ok_or_else(|| format!("{length} bytes that are not its columns")),
        };
        let range = range.map_err(|found| damaged(&self.place(), found))?;
        Ok(Some(&self.sample[range]))
    }
}

fn damaged(place: &str, found: String) -> Error {
    Error::corrupt(
        place,
        found,
        "an MDS shard as MosaicML's MDSWriter writes it",
        "the shard is cut short or damaged: copy it again",
    )
}

/// Reads what comes before the first sample.
fn header(path: &Path, reader: &mut impl Read) -> Result<(Vec<u32>, Columns)> {
    let place = path.display().to_string();
    let mut take = |length: u64| -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match reader.take(length).read_to_end(&mut bytes) {
            Ok(read) if read as u64 == length => Ok(bytes),
            Ok(read) => Err(damaged(
                &place,
                format!("{read} of {length} bytes of its head"),
            )),
            Err(error) => Err(damaged(&place, error.to_string())),
        }
    };
    let number = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let samples = u64::from(number(&take(4)?));
    let offsets: Vec<u32> = take(4 * (samples + 1))?
        .chunks_exact(4)
        .map(number)
        .collect();
    let head = 4 + 4 * (samples + 1);
    let ascending = offsets.is_sorted();
    let json = u64::from(offsets[0])
        .checked_sub(head)
        .filter(|_| ascending);
    let json = json.ok_or_else(|| damaged(&place, "offsets that do not ascend".into()))?;
    let columns: Columns = serde_json::from_slice(&take(json)?)
        .map_err(|error| damaged(&place, format!("columns that are no JSON: {error}")))?;
    let count = columns.column_names.len();
    if columns.column_encodings.len() != count || columns.column_sizes.len() != count {
        return Err(damaged(&place, "columns without encoding or size".into()));
    }
    Ok((offsets, columns))
}

/// Where the bytes of a column lie in a sample.
fn column_of(columns: &Columns, column: usize, sample: &[u8]) -> Option<Range<usize>> {
    let is_fixed = |size: &&Option<u32>| size.is_some_and(|size| size > 0);
    let sized = columns.column_sizes.iter().filter(is_fixed).count();
    let heads = columns.column_sizes.len() - sized;
    let (head, body) = sample.split_at_checked(4 * heads)?;
    let mut sizes = head.chunks_exact(4);
    let mut at = 0usize;
    for (index, size) in columns.column_sizes.iter().enumerate() {
        let size = match size {
            Some(size) if *size > 0 => *size,
            _ => sizes.next()?.try_into().map(u32::from_le_bytes).ok()?,
        };
        let end = at.checked_add(size as usize)?;
        if index == column {
            return (end <= body.len()).then_some(head.len() + at..head.len() + end);
        }
        at = end;
    }
    None
}

/// The texts of a shard, as frames that begin where their sample does.
pub(super) struct Texts {
    samples: Samples,
    broken: bool,
}

impl Texts {
    /// Opens the column `field`, of encoding `str`.
    pub(super) fn open(path: &Path, field: &str) -> Result<Self> {
        let is_text = |name: &str, encoding: &str| name == field && encoding == "str";
        let samples = Samples::open(
            path,
            |names, encodings| (0..names.len()).find(|&i| is_text(&names[i], &encodings[i])),
            &format!("a column {field:?} of encoding str"),
            "name the column that holds the text with --text-field; ids go through `cloze import`",
        )?;
        let broken = false;
        Ok(Self { samples, broken })
    }
}

impl Iterator for Texts {
    type Item = Frame;

    /// A sample that cannot be read is the last one.
    fn next(&mut self) -> Option<Frame> {
        if self.broken {
            return None;
        }
        let start = self.samples.offset();
        let content = match self.samples.next_bytes() {
            Ok(None) => return None,
            Ok(Some(bytes)) => Ok(bytes.to_vec()),
            Err(error) => {
                self.broken = true;
                Err(Fault::of(error.to_string(), b""))
            }
        };
        Some(Frame { start, content })
    }
}

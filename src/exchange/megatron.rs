//! Megatron's indexed dataset: `PREFIX.bin`, all ids one after the other, and
//! `PREFIX.idx`, where sequences and documents end (megatron-core 0.16,
//! `core/datasets/indexed_dataset.py`):
//!
//! ```text
//! "MMIDIDX\0\0", version u64 = 1, type u8, sequences u64, document ends u64,
//! length i32 of each sequence, byte offset i64 of each, document ends i64
//! ```
//!
//! Document d is the sequences `ends[d] .. ends[d + 1]`; the first end is 0. Reading
//! moves four windows of 1 MiB along and holds one document; writing keeps 12 bytes a
//! document, which spill to scratch beyond a bound.

use super::numbers::Number;
use super::window::Window;
use crate::base::error::{Error, Result};
use crate::base::size::ByteSize;
use crate::base::token::TokenId;
use crate::storage::{AtomicFile, Buckets, Written};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 9] = b"MMIDIDX\0\0";
const HEADER: u64 = 34;

/// Where the index of a `.bin` lies.
pub fn index_of(bin: &Path) -> PathBuf {
    bin.with_extension("idx")
}

/// Reads the documents of one indexed dataset.
pub struct Reader {
    bin: Window,
    lengths: Window,
    pointers: Window,
    ends: Window,
    number: Number,
    sequences: u64,
    documents: u64,
    /// The next document.
    document: u64,
    /// Its first sequence.
    sequence: u64,
}

impl Reader {
    /// Opens the dataset of the file `bin`; refuses an index that does not fit it.
    pub fn open(bin: &Path) -> Result<Self> {
        let idx = index_of(bin);
        let mut ends = Window::open(&idx)?;
        let broken = |found: String, expected: &str| {
            Error::corrupt(
                idx.display().to_string(),
                found,
                expected,
                "give a .bin and .idx that Megatron's preprocess_data.py wrote, both whole",
            )
        };
        let expected = "an index of Megatron, version 1 (MMIDIDX)";
        if ends.len() < HEADER {
            return Err(broken(format!("{} bytes", ends.len()), expected));
        }
        let head = ends.range(0, HEADER as usize)?.to_vec();
        if head[..MAGIC.len()] != *MAGIC {
            let found = match &head[..6] {
                b"TNTIDX" => "the older TNTIDX index".to_owned(),
                _ => format!("the bytes {:02X?}", &head[..MAGIC.len()]),
            };
            return Err(broken(found, expected));
        }
        let version = ends.number(9)?;
        if version != 1 {
            return Err(broken(format!("version {version}"), expected));
        }
        let number = number_of(head[17]).ok_or_else(|| {
            broken(
                format!("type {}, which holds no ids", head[17]),
                "integers: types 1 to 5 or 8",
            )
        })?;
        let sequences = ends.number(18)?;
        let all_ends = ends.number(26)?;
        let size = sequences
            .checked_mul(12)
            .zip(all_ends.checked_mul(8))
            .and_then(|(a, b)| a.checked_add(b)?.checked_add(HEADER));
        // The modes of a multimodal dataset, one byte a sequence, may follow.
        let fits = |size: u64| ends.len() == size || ends.len() - size.min(ends.len()) == sequences;
        if !size.is_some_and(|size| size <= ends.len() && fits(size)) {
            return Err(broken(
                format!("{} bytes", ends.len()),
                &format!("{HEADER} + 12 · {sequences} sequences + 8 · {all_ends} document ends"),
            ));
        }
        Ok(Self {
            bin: Window::open(bin)?,
            lengths: Window::open(&idx)?,
            pointers: Window::open(&idx)?,
            ends,
            number,
            sequences,
            documents: all_ends.saturating_sub(1),
            document: 0,
            sequence: 0,
        })
    }

    fn end(&mut self, document: u64) -> Result<u64> {
        self.ends
            .number(HEADER + 12 * self.sequences + 8 * document)
    }

    fn broken(&self, found: String, expected: String) -> Error {
        Error::corrupt(
            format!("{}, document {}", self.ends.path().display(), self.document),
            found,
            expected,
            "the index is damaged or belongs to another .bin: copy both again",
        )
    }

    fn next_document(&mut self) -> Result<Option<Vec<TokenId>>> {
        if self.document >= self.documents {
            return Ok(None);
        }
        let first = self.end(self.document)?;
        let end = self.end(self.document + 1)?;
        if first != self.sequence || end < first || end > self.sequences {
            return Err(self.broken(
                format!("sequences {first} to {end}"),
                format!("from {}, at most {}", self.sequence, self.sequences),
            ));
        }
        let mut ids = Vec::new();
        for sequence in first..end {
            let length = self.lengths.range(HEADER + 4 * sequence, 4)?;
            let length = i32::from_le_bytes([length[0], length[1], length[2], length[3]]);
            let pointers = HEADER + 4 * self.sequences;
            let offset = self.pointers.number(pointers + 8 * sequence)?;
            let length = usize::try_from(length).map_err(|_| {
                self.broken(format!("a sequence of {length} ids"), "0 or more".into())
            })?;
            let bytes = length * self.number.bytes();
            if offset
                .checked_add(bytes as u64)
                .is_none_or(|end| end > self.bin.len())
            {
                return Err(self.broken(
                    format!("{bytes} bytes at {offset} of {}", self.bin.path().display()),
                    format!("a place among its {} bytes", self.bin.len()),
                ));
            }
            match self.number.ids(self.bin.range(offset, bytes)?) {
                Ok(more) => ids.extend(more),
                Err(found) => {
                    return Err(self.broken(found, "token ids: whole numbers from 0 on".into()));
                }
            }
        }
        self.sequence = end;
        self.document += 1;
        Ok(Some(ids))
    }
}

impl Iterator for Reader {
    type Item = Result<Option<Vec<TokenId>>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_document().map(|ids| ids.map(Some)).transpose()
    }
}

fn number_of(code: u8) -> Option<Number> {
    Some(match code {
        1 => Number::U8,
        2 => Number::I8,
        3 => Number::I16,
        4 => Number::I32,
        5 => Number::I64,
        8 => Number::U16,
        _ => return None,
    })
}

/// Writes one indexed dataset, a sequence a document.
pub struct Writer {
    bin: AtomicFile,
    narrow: bool,
    /// Bucket 0: lengths; bucket 1: offsets.
    index: Buckets,
    documents: u64,
    tokens: u64,
    bytes: Vec<u8>,
}

/// The vocabulary from which on Megatron takes 32 bits for an id
/// (`DType.optimal_dtype`).
const WIDE: u64 = 65_500;

impl Writer {
    /// Begins `bin` and its index, for ids below `vocabulary_size`. The index keeps
    /// within `memory` and spills to a file in `scratch`.
    pub fn create(
        bin: &Path,
        vocabulary_size: u64,
        scratch: &Path,
        memory: ByteSize,
    ) -> Result<Self> {
        Ok(Self {
            bin: AtomicFile::create(bin)?,
            narrow: vocabulary_size < WIDE,
            index: Buckets::new(scratch, 2, memory)?,
            documents: 0,
            tokens: 0,
            bytes: Vec::new(),
        })
    }

    /// Appends one document.
    pub fn push(&mut self, ids: &[TokenId]) -> Result<()> {
        let length = i32::try_from(ids.len()).map_err(|_| {
            Error::input(
                format!("{}, document {}", self.bin.path().display(), self.documents),
                format!("{} tokens", ids.len()),
                "at most 2147483647, as Megatron's index has it",
                "split the document",
            )
        })?;
        self.bytes.clear();
        for &id in ids {
            match self.narrow {
                true => self.bytes.extend_from_slice(&(id as u16).to_le_bytes()),
                false => self.bytes.extend_from_slice(&id.to_le_bytes()),
            }
        }
        self.bin.append(&self.bytes)?;
        let offset = self.tokens * if self.narrow { 2 } else { 4 };
        self.index.append(0, &length.to_le_bytes())?;
        self.index.append(1, &offset.to_le_bytes())?;
        self.documents += 1;
        self.tokens += ids.len() as u64;
        Ok(())
    }

    /// Documents and tokens so far.
    pub fn written(&self) -> (u64, u64) {
        (self.documents, self.tokens)
    }

    /// Puts both files in place: the ids first, then the index without which nobody
    /// reads them. What was written of each.
    pub fn finish(self) -> Result<(Written, Written)> {
        let path = index_of(self.bin.path());
        let bin = self.bin.finish()?;
        let mut idx = AtomicFile::create(path)?;
        idx.append(MAGIC)?;
        idx.append(&1u64.to_le_bytes())?;
        idx.append(&[if self.narrow { 8 } else { 4 }])?;
        idx.append(&self.documents.to_le_bytes())?;
        idx.append(&(self.documents + 1).to_le_bytes())?;
        for bucket in 0..2 {
            for bytes in self.index.drain(bucket) {
                idx.append(&bytes?)?;
            }
        }
        for end in 0..=self.documents {
            idx.append(&end.to_le_bytes())?;
        }
        Ok((bin, idx.finish()?))
    }
}

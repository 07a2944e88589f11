//! Cuts a corpus into chunks, the unit of parallel work and of parts: chunk k of
//! file f belongs to part (f + k) mod N. Chunks follow from the inputs alone. Plain
//! files are cut at fixed offsets and read by whoever works on the chunk; compressed
//! files are one stream, cut into documents as it is drawn; tables are decoded as they are
//! drawn, on a thread of their own, and cut by rows.

use super::compression::Compression;
use super::decompress;
use super::document::{self, Outcome, POSITION_BITS, Place};
use super::format::{self, Shape};
use super::frames::{Fault, Frame, Frames, Framing, broken};
use super::{inputs, mds};
use crate::base::error::{Error, Result};
use crate::base::part::Part;
use crate::columnar::text::{TextColumn, TextRows};
use crate::config::TokenizeConfig;
use crate::parallel::ahead::{Ahead, ahead};
use crate::storage::{Input, Lost, place};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io;
use std::iter::Peekable;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a file's text in one chunk (less where token files are to be smaller):
/// a few seconds of tokenising, little in memory on any number of cores.
const CHUNK_BYTES: u64 = 8 << 20;

/// A chunk of a plain file is handed on in so many pieces: what waits to be written is
/// small, and at the end no thread works on alone for long.
const PIECES: u64 = 8;

/// Batches of a table that are decoded ahead.
const TABLE_AHEAD: usize = 2;

/// JSON writes a character in up to three times its UTF-8 bytes (\u00e9).
const JSON_GROWTH: usize = 3;

/// A place between chunks, by file and chunk number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cursor {
    /// Index in the list of inputs.
    pub file: u32,
    /// Chunk of that file.
    pub chunk: u64,
}

/// Some documents of one file: a chunk, or a piece of one.
pub struct Chunk {
    /// Its file and number.
    pub cursor: Cursor,
    /// Nothing of the chunk is left behind it.
    pub ends: bool,
    /// Bytes of input that were passed since the chunk before, for progress.
    pub passed: u64,
    work: Work,
}

enum Work {
    /// Frames that begin in a range of a plain file.
    Range(Shape, Framing, Range<u64>),
    /// Frames of a file that is read as one stream.
    Frames(Shape, Vec<Frame>),
    /// Rows of a table, and where it breaks behind them, if it does.
    Rows(Vec<Rows>, Option<(u64, String)>),
    /// A file that cannot be read.
    Unreadable(String),
}

/// Some rows of a batch of a table.
struct Rows {
    values: Arc<TextRows>,
    range: Range<usize>,
    /// Row of the table that the batch begins with.
    first: u64,
}

/// Input files, and how they are read.
pub struct Corpus {
    files: Vec<PathBuf>,
    config: TokenizeConfig,
    chunk_bytes: u64,
    lost: Lost,
}

impl Corpus {
    /// Finds the input files; opens none.
    pub fn open(config: &TokenizeConfig) -> Result<Self> {
        let files = inputs::find(&config.inputs)?;
        let most = 1usize << (u64::BITS - POSITION_BITS);
        if files.len() > most {
            return Err(Error::usage(
                "tokenize.inputs",
                format!("{} files", files.len()),
                format!("at most {most}"),
                "put several documents into one file, for example as jsonl",
            ));
        }
        Ok(Self {
            files,
            config: config.clone(),
            chunk_bytes: config.file_bytes.0.clamp(1, CHUNK_BYTES),
            lost: Lost::default(),
        })
    }

    /// Input files: a document's id holds the index in this list.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Length of all files together, as far as they can be seen.
    pub fn bytes(&self) -> u64 {
        let length = |path: &PathBuf| place::length(path).ok().flatten().unwrap_or(0);
        self.files.iter().map(length).sum()
    }

    /// Bytes of memory that decompressing takes, by the file that takes most: one is
    /// open at a time. A file that cannot be read takes none.
    pub fn decompressor_memory(&self) -> u64 {
        let memory = |path: &PathBuf| -> io::Result<u64> {
            let mut file = Input::open(path, &self.lost)?;
            match Compression::of(&mut file)? {
                Some(compression) => compression.memory(&mut file),
                None => Ok(0),
            }
        };
        let all = self.files.iter().map(|path| memory(path).unwrap_or(0));
        all.max().unwrap_or(0)
    }

    /// The chunks of `part` from `from` on, in order.
    pub fn chunks(&self, part: Part, from: Cursor) -> Chunks<'_> {
        Chunks {
            corpus: self,
            part,
            from,
            file: from.file,
            open: None,
            passed: 0,
            rest: None,
        }
    }

    /// Hands every document of `chunk`, usable or not, to `each`. An object that cannot be
    /// read to its end is an error: there is no telling what it held.
    pub fn read(&self, chunk: Chunk, each: impl FnMut(Outcome<'_>) -> Result<()>) -> Result<()> {
        self.read_chunk(chunk, each)?;
        self.lost.check()
    }

    fn read_chunk(
        &self,
        chunk: Chunk,
        mut each: impl FnMut(Outcome<'_>) -> Result<()>,
    ) -> Result<()> {
        let path = &self.files[chunk.cursor.file as usize];
        match chunk.work {
            Work::Range(shape, framing, range) => {
                let frames = Input::open(path, &self.lost).and_then(|file| {
                    Frames::from_range(file, framing, self.limit(shape), range.clone())
                });
                match frames {
                    Ok(mut frames) => {
                        frames.try_for_each(|frame| each(self.outcome(&frame, shape)))
                    }
                    Err(error) => each(Outcome {
                        place: Place::Byte(range.start),
                        text: Err(Fault::of(broken(&error), b"")),
                    }),
                }
            }
            Work::Frames(shape, frames) => frames
                .iter()
                .try_for_each(|frame| each(self.outcome(frame, shape))),
            Work::Rows(rows, end) => self.read_rows(&rows, end, each),
            Work::Unreadable(reason) => each(Outcome {
                place: Place::File,
                text: Err(Fault::of(reason, b"")),
            }),
        }
    }

    fn read_rows(
        &self,
        rows: &[Rows],
        end: Option<(u64, String)>,
        mut each: impl FnMut(Outcome<'_>) -> Result<()>,
    ) -> Result<()> {
        let max_document = self.config.max_document.bytes();
        for rows in rows {
            for index in rows.range.clone() {
                let text = match rows.values.get(index) {
                    Some(text) => document::check(text, max_document).map(|()| Cow::Borrowed(text)),
                    None => Err(Fault::of("a missing value", b"")),
                };
                let place = Place::Row(rows.first + index as u64);
                each(Outcome { place, text })?;
            }
        }
        match end {
            None => Ok(()),
            Some((row, reason)) => each(Outcome {
                place: Place::Row(row),
                text: Err(Fault::of(reason, b"")),
            }),
        }
    }

    fn outcome<'a>(&self, frame: &'a Frame, shape: Shape) -> Outcome<'a> {
        let max_document = self.config.max_document.bytes();
        let text = match &frame.content {
            Ok(content) => document::text_of(content, shape, &self.config.text_field, max_document),
            Err(fault) => Err(fault.clone()),
        };
        Outcome {
            place: Place::Byte(frame.start),
            text,
        }
    }

    /// The longest frame of a shape.
    fn limit(&self, shape: Shape) -> usize {
        let max_document = self.config.max_document.bytes();
        match shape {
            Shape::Json => max_document.saturating_mul(JSON_GROWTH),
            _ => max_document,
        }
        // Leaves room for what is added to it.
        .min(usize::MAX / 4)
    }

    /// Begins to cut a file up; one that cannot be read is a chunk that says so.
    fn open_file(&self, path: &Path) -> OpenFile {
        self.try_open(path)
            .unwrap_or_else(|error| OpenFile::Once(0, Some(Work::Unreadable(broken(&error)))))
    }

    fn try_open(&self, path: &Path) -> io::Result<OpenFile> {
        let mut file = Input::open(path, &self.lost)?;
        let Some(length) = file.length()? else {
            return Err(io::Error::other("it is neither a file nor a folder"));
        };
        let compression = Compression::of(&mut file)?;
        let shape = format::shape(path, &self.config)?;
        let framing = match shape {
            Shape::Text(framing) => framing,
            Shape::Json => Framing::Line,
            Shape::Samples => {
                let samples = mds::Texts::open(path, &self.config.text_field);
                return Ok(match samples {
                    Ok(texts) => {
                        let texts: Documents = Box::new(texts);
                        let read = Arc::new(AtomicU64::new(length));
                        OpenFile::Stream(shape, texts.peekable(), read)
                    }
                    Err(error) => OpenFile::Once(length, Some(Work::Unreadable(error.to_string()))),
                });
            }
            Shape::Rows(_) if compression.is_some() => {
                return Err(io::Error::other(
                    "a table inside a compressed file; decompress it first",
                ));
            }
            Shape::Rows(format) => {
                let column = TextColumn::open(path, &self.config.text_field, format);
                return Ok(match column {
                    Ok(column) => OpenFile::Table(Table::new(column, length)?),
                    Err(error) => OpenFile::Once(length, Some(Work::Unreadable(error.to_string()))),
                });
            }
        };
        if let Some(compression) = compression {
            let read = Arc::new(AtomicU64::new(0));
            let plain = decompress::reader(compression, file, read.clone())?;
            let frames = Frames::from_start(plain, framing, self.limit(shape))?;
            let frames: Documents = Box::new(frames);
            return Ok(OpenFile::Stream(shape, frames.peekable(), read));
        }
        Ok(match framing {
            Framing::File => OpenFile::Once(length, Some(Work::Range(shape, framing, 0..u64::MAX))),
            _ => OpenFile::Plain(shape, framing, 0..length),
        })
    }
}

/// The frames of a stream, in order.
type Documents = Box<dyn Iterator<Item = Frame> + Send>;

/// A file being cut into chunks.
enum OpenFile {
    /// What is left of a plain file.
    Plain(Shape, Framing, Range<u64>),
    /// The documents of a file that is read as one stream, and how far it was read.
    Stream(Shape, Peekable<Documents>, Arc<AtomicU64>),
    /// What is left of a table.
    Table(Table),
    /// A file that is one chunk, and its length.
    Once(u64, Option<Work>),
}

impl OpenFile {
    /// The next chunk: its number, what to do, and the bytes of input it passed.
    fn next(&mut self, chunk_bytes: u64) -> Option<(u64, Work, u64)> {
        match self {
            Self::Plain(shape, framing, left) if !left.is_empty() => {
                let range = left.start..left.end.min(left.start + chunk_bytes);
                left.start = range.end;
                let passed = range.end - range.start;
                let number = range.start / chunk_bytes;
                Some((number, Work::Range(*shape, *framing, range), passed))
            }
            Self::Stream(shape, frames, read) => {
                let number = frames.peek()?.start / chunk_bytes;
                let inside = |frame: &Frame| frame.start / chunk_bytes == number;
                let found = std::iter::from_fn(|| frames.next_if(inside)).collect();
                let passed = read.swap(0, Ordering::Relaxed);
                Some((number, Work::Frames(*shape, found), passed))
            }
            Self::Table(table) => table.next(chunk_bytes),
            Self::Once(length, work) => work.take().map(|work| (0, work, *length)),
            Self::Plain(..) => None,
        }
    }
}

/// A table being read, from its first row to its last.
struct Table {
    batches: Ahead<Result<TextRows>>,
    /// What is left of the batch at hand.
    open: Option<Rows>,
    /// Row that the next batch begins with.
    row: u64,
    /// Number of the next chunk.
    number: u64,
    /// Bytes of the file for each batch, and those not yet passed.
    batch_bytes: u64,
    left_bytes: u64,
}

impl Table {
    fn new(column: TextColumn, length: u64) -> io::Result<Self> {
        Ok(Self {
            batch_bytes: column
                .batch_count()
                .map_or(0, |count| length / count.max(1)),
            left_bytes: length,
            batches: ahead(TABLE_AHEAD, move |hand_on| {
                for batch in column {
                    if !hand_on(batch) {
                        break;
                    }
                }
            })?,
            open: None,
            row: 0,
            number: 0,
        })
    }

    /// Rows with `chunk_bytes` of text, or what is left.
    fn next(&mut self, chunk_bytes: u64) -> Option<(u64, Work, u64)> {
        let (mut chunk, mut text, mut passed, mut end) = (Vec::new(), 0, 0, None);
        while text < chunk_bytes && end.is_none() {
            let rows = match self.open.take() {
                Some(rows) => rows,
                None => match self.batches.next() {
                    None => break,
                    Some(Ok(values)) => {
                        passed += self.batch_bytes.min(self.left_bytes - passed);
                        let (first, range) = (self.row, 0..values.len());
                        self.row += values.len() as u64;
                        Rows {
                            values: Arc::new(values),
                            range,
                            first,
                        }
                    }
                    Some(Err(error)) => {
                        end = Some((self.row, error.to_string()));
                        break;
                    }
                },
            };
            let mut at = rows.range.start;
            while at < rows.range.end && text < chunk_bytes {
                text += rows.values.get(at).map_or(0, str::len) as u64;
                at += 1;
            }
            if at < rows.range.end {
                self.open = Some(Rows {
                    values: rows.values.clone(),
                    range: at..rows.range.end,
                    first: rows.first,
                });
            }
            chunk.push(Rows {
                range: rows.range.start..at,
                ..rows
            });
        }
        if chunk.is_empty() && end.is_none() {
            return None;
        }
        let number = self.number;
        self.number += 1;
        self.left_bytes -= passed;
        Some((number, Work::Rows(chunk, end), passed))
    }
}

/// Draws the chunks of one part.
pub struct Chunks<'a> {
    corpus: &'a Corpus,
    part: Part,
    from: Cursor,
    /// The file that `open` is, or the next one to open.
    file: u32,
    open: Option<OpenFile>,
    passed: u64,
    /// What is left of a chunk that is handed on in pieces.
    rest: Option<(Cursor, Shape, Framing, Range<u64>)>,
}

impl Chunks<'_> {
    /// The next piece of a chunk; the last one has what was passed before it.
    fn piece(&mut self) -> Option<Chunk> {
        let (cursor, shape, framing, left) = self.rest.take()?;
        let bytes = self.corpus.chunk_bytes.div_ceil(PIECES);
        let range = left.start..left.end.min(left.start.saturating_add(bytes));
        let ends = range.end == left.end;
        if !ends {
            let left = range.end..left.end;
            self.rest = Some((cursor, shape, framing, left));
        }
        let passed = if ends {
            std::mem::take(&mut self.passed)
        } else {
            let passed = (range.end - range.start).min(self.passed);
            self.passed -= passed;
            passed
        };
        Some(Chunk {
            cursor,
            ends,
            passed,
            work: Work::Range(shape, framing, range),
        })
    }
}

impl Iterator for Chunks<'_> {
    type Item = Result<Chunk>;

    fn next(&mut self) -> Option<Result<Chunk>> {
        if let Some(piece) = self.piece() {
            return Some(Ok(piece));
        }
        loop {
            let path = self.corpus.files.get(self.file as usize)?;
            let open = self.open.get_or_insert_with(|| self.corpus.open_file(path));
            let next = open.next(self.corpus.chunk_bytes);
            if let Err(error) = self.corpus.lost.check() {
                return Some(Err(error));
            }
            let Some((number, work, passed)) = next else {
                self.open = None;
                self.file += 1;
                continue;
            };
            self.passed += passed;
            let cursor = Cursor {
                file: self.file,
                chunk: number,
            };
            if cursor >= self.from && self.part.has(u64::from(self.file) + number) {
                return match work {
                    Work::Range(shape, framing, range) if framing != Framing::File => {
                        self.rest = Some((cursor, shape, framing, range));
                        self.piece().map(Ok)
                    }
                    work => Some(Ok(Chunk {
                        cursor,
                        ends: true,
                        passed: std::mem::take(&mut self.passed),
                        work,
                    })),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! A sorted run: windows of words with their counts, as an Arrow IPC file, zstd per
//! buffer. Columns `word_1`, `word_2`, … hold the row of a word in the run's file of
//! words plus one, 0 where the window has ended, and `count` how often the window
//! occurs. Rows ascend; the footer names the first window, the length and the hash of
//! every record batch, so that any key range of a run is reached without the rest.
//!
//! Memory: one record batch, 28 bytes a window for five words.

use crate::base::error::{Error, Result};
use crate::base::fingerprint;
use crate::columnar::documents::{Index, index_fits, open_index};
use crate::columnar::message::{Column, Encoder, MessageFile, Values};
use crate::columnar::schema;
use crate::storage::FileSource;
use crate::storage::manifest::FORMAT;
use crate::storage::source::ByteSource;
use arrow_array::cast::AsArray;
use arrow_array::types::{UInt32Type, UInt64Type};
use arrow_array::{UInt32Array, UInt64Array};
use arrow_buffer::Buffer;
use arrow_ipc::reader::FileDecoder;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Windows in a record batch. A merge holds one of every run, 450 KB, and decodes two
/// of every run in vain for each piece of its work.
pub const BATCH: usize = 1 << 14;

/// Runs are scratch as a rule: written once, read once or twice.
const ZSTD_LEVEL: i32 = 1;

/// One record batch of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunBatch {
    /// Where its message begins in the file.
    pub offset: u64,
    /// Length of message and body in bytes.
    pub length: u64,
    /// Windows in it.
    pub rows: u64,
    /// xxh3-64 of those bytes.
    pub hash: u64,
    /// Its first window.
    pub first: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunFooter {
    format: u32,
    batches: Vec<RunBatch>,
}

/// Writes one run.
pub struct RunWriter<W: Write> {
    file: MessageFile<W>,
    encoder: Encoder,
    place: String,
    words: Vec<Vec<u32>>,
    counts: Vec<u64>,
    batches: Vec<RunBatch>,
}

impl<W: Write> RunWriter<W> {
    /// Begins a run of windows of up to `length` words on `out`; `place` names it in
    /// messages.
    pub fn new(out: W, place: impl Into<String>, length: usize) -> Result<Self> {
        let place = place.into();
        let schema = Arc::new(schema::run(length));
        Ok(Self {
            file: MessageFile::new(out, schema, &place)?,
            encoder: Encoder::new(ZSTD_LEVEL, &place)?,
            place,
            words: vec![Vec::with_capacity(BATCH); length],
            counts: Vec::with_capacity(BATCH),
            batches: Vec::new(),
        })
    }

    /// Appends a window; they come in ascending order, each once.
    pub fn push(&mut self, window: &[u32], count: u64) -> Result<()> {
        debug_assert_eq!(window.len(), self.words.len());
        for (column, &word) in self.words.iter_mut().zip(window) {
            column.push(word);
        }
        self.counts.push(count);
        if self.counts.len() == BATCH {
            self.close_batch()?;
        }
        Ok(())
    }

    fn close_batch(&mut self) -> Result<()> {
        let rows = self.counts.len();
        let first = self.words.iter().map(|column| column[0]).collect();
        let columns: Vec<Column<'_>> = self
            .words
            .iter()
            .map(|column| Values::of(column))
            .chain([Values::of(&self.counts)])
            .map(Column::Values)
            .collect();
        let message = self.encoder.encode(rows, &columns)?;
        self.words.iter_mut().for_each(Vec::clear);
        self.counts.clear();
        let offset = self.file.append(&message)?;
        self.batches.push(RunBatch {
            offset,
            length: message.len(),
            rows: rows as u64,
            hash: message.hash,
            first,
        });
        Ok(())
    }

    /// Writes what is left and the footer; hands back the sink and the number of
    /// windows.
    pub fn finish(mut self) -> Result<(W, u64)> {
        if !self.counts.is_empty() {
            self.close_batch()?;
        }
        let rows = self.batches.iter().map(|batch| batch.rows).sum();
        let footer = RunFooter {
            format: FORMAT,
            batches: self.batches,
        };
        let json = serde_json::to_string(&footer)
            .map_err(|error| Error::library(format!("writing {}", self.place), error))?;
        Ok((self.file.finish(json)?, rows))
    }
}

/// An open run.
pub struct RunFile {
    source: FileSource,
    index: Index,
    batches: Vec<RunBatch>,
}

/// Some windows of a run, decoded, by column.
pub struct Windows {
    words: Vec<UInt32Array>,
    counts: UInt64Array,
}

impl Windows {
    /// Number of windows.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Places of a window.
    pub fn length(&self) -> usize {
        self.words.len()
    }

    /// The words of every window at one place, plus one; 0 where it has ended.
    #[inline]
    pub fn column(&self, place: usize) -> &[u32] {
        self.words[place].values()
    }

    /// How often each occurs.
    #[inline]
    pub fn counts(&self) -> &[u64] {
        self.counts.values()
    }
}

impl RunFile {
    /// Reads the footer of the run at `path`, of windows of up to `length` words.
    pub fn open(path: &Path, length: usize) -> Result<Self> {
        let source = FileSource::open(path)?;
        let (index, json) = open_index(&source)?;
        let damaged = |found: String| {
            Error::corrupt(
                path.display().to_string(),
                found,
                format!("a run of windows of {length} words"),
                "it is damaged, or of another count: count this part again",
            )
        };
        let footer: RunFooter =
            serde_json::from_str(&json).map_err(|e| damaged(format!("a broken footer: {e}")))?;
        if index.schema.fields() != schema::run(length).fields() {
            return Err(damaged(format!(
                "columns {}",
                schema::as_json(&index.schema)
            )));
        }
        let places: Vec<(u64, u64)> = footer
            .batches
            .iter()
            .map(|batch| (batch.offset, batch.length))
            .collect();
        let firsts = footer
            .batches
            .windows(2)
            .all(|two| two[0].first < two[1].first)
            && footer
                .batches
                .iter()
                .all(|batch| batch.first.len() == length);
        if !index_fits(&index.blocks, &places, index.footer_start) || !firsts {
            return Err(damaged("an index that does not fit the batches".into()));
        }
        Ok(Self {
            source,
            index,
            batches: footer.batches,
        })
    }

    /// Its record batches, in order.
    pub fn batches(&self) -> &[RunBatch] {
        &self.batches
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.source.path()
    }

    /// Reads record batch `index` and checks its hash.
    pub fn batch(&self, index: usize) -> Result<Windows> {
        let record = &self.batches[index];
        let broken = |found: String| {
            Error::corrupt(
                format!(
                    "{}, record batch {index} (bytes {} to {})",
                    self.path().display(),
                    record.offset,
                    record.offset + record.length
                ),
                found,
                format!(
                    "the windows as they were written, hash {:016x}",
                    record.hash
                ),
                "the file is damaged: copy it again from a good copy, or count this part again",
            )
        };
        let bytes = self.source.read(record.offset, record.length as usize)?;
        let found = fingerprint::of_batch(&bytes);
        if found != record.hash {
            return Err(broken(format!("hash {found:016x}")));
        }
        let batch = FileDecoder::new(self.index.schema.clone(), self.index.version)
            .read_record_batch(&self.index.blocks[index], &Buffer::from(bytes))
            .map_err(|e| broken(e.to_string()))?
            .ok_or_else(|| broken("no record batch".into()))?;
        let (counts, words) = match batch.columns() {
            [words @ .., counts] => (counts, words),
            [] => return Err(broken("no columns".into())),
        };
        let windows = Windows {
            words: words
                .iter()
                .map(|column| column.as_primitive::<UInt32Type>().clone())
                .collect(),
            counts: counts.as_primitive::<UInt64Type>().clone(),
        };
        let first = (0..words.len()).map(|place| windows.column(place).first().copied());
        if windows.len() as u64 != record.rows
            || !first.eq(record.first.iter().map(|&word| Some(word)))
        {
            return Err(broken(format!("{} windows", windows.len())));
        }
        Ok(windows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written_run(path: &Path, rows: u32) {
        let out = std::fs::File::create(path).unwrap();
        let mut run = RunWriter::new(out, "test", 3).unwrap();
        for n in 0..rows {
            run.push(&[n / 7 + 1, n % 7 + 1, 0], u64::from(n) + 1)
                .unwrap();
        }
        assert_eq!(run.finish().unwrap().1, u64::from(rows));
    }

    #[test]
    fn windows_come_back_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("windows.arrow");
        written_run(&path, 40_000);
        let run = RunFile::open(&path, 3).unwrap();
        assert_eq!(run.batches().len(), 3);
        let mut at = 0u32;
        for index in 0..3 {
            let windows = run.batch(index).unwrap();
            for row in 0..windows.len() {
                let words: Vec<u32> = (0..3).map(|place| windows.column(place)[row]).collect();
                assert_eq!(words, [at / 7 + 1, at % 7 + 1, 0]);
                assert_eq!(windows.counts()[row], u64::from(at) + 1);
                at += 1;
            }
        }
        assert_eq!(at, 40_000);
    }

    #[test]
    fn a_flipped_byte_anywhere_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("windows.arrow");
        written_run(&path, 40_000);
        let good = std::fs::read(&path).unwrap();
        let read = |bytes: &[u8]| -> Result<Vec<u64>> {
            std::fs::write(&path, bytes).unwrap();
            let run = RunFile::open(&path, 3)?;
            let mut counts = Vec::new();
            for index in 0..run.batches().len() {
                counts.extend_from_slice(run.batch(index)?.counts());
            }
            Ok(counts)
        };
        let expected = read(&good).unwrap();
        for at in (0..good.len()).step_by(good.len() / 199) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            // What is nowhere read may differ; what is read never does.
            if let Ok(found) = read(&bad) {
                assert_eq!(found, expected, "byte {at}");
            }
        }
    }

    #[test]
    fn an_empty_run_is_a_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("windows.arrow");
        written_run(&path, 0);
        assert!(RunFile::open(&path, 3).unwrap().batches().is_empty());
        assert!(RunFile::open(&path, 2).is_err());
    }
}

//! Parquet and Arrow files that are cut short or have a bit changed. Whatever that does to
//! one of them, it is a row less, said so, or other text where nothing guards the text:
//! never a panic, never a row that is gone without a word, and never a difference to the
//! files beside it.

use super::{config, documents, options, rejected};
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use cloze::base::size::ByteSize;
use cloze::config::TokenizeConfig;
use cloze::pipeline::tokenize::tokenize;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const ROWS: usize = 90;

/// Two record batches or row groups of a text column.
fn batches() -> [RecordBatch; 2] {
    [0, ROWS / 2].map(|first| {
        let rows = (first..first + ROWS / 2).map(|row| format!("row {row} of the sea"));
        let column: ArrayRef = Arc::new(StringArray::from_iter_values(rows));
        RecordBatch::try_from_iter([("text", column)]).unwrap()
    })
}

fn in_parquet(compression: Compression) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .build();
    let schema = batches()[0].schema();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).unwrap();
    for batch in batches() {
        writer.write(&batch).unwrap();
        writer.flush().unwrap();
    }
    writer.into_inner().unwrap()
}

fn in_arrow_file(compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default()
        .try_with_compression(compression)
        .unwrap();
    let schema = batches()[0].schema();
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &schema, options).unwrap();
    for batch in batches() {
        writer.write(&batch).unwrap();
    }
    writer.into_inner().unwrap()
}

fn in_arrow_stream() -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches()[0].schema()).unwrap();
    for batch in batches() {
        writer.write(&batch).unwrap();
    }
    writer.into_inner().unwrap()
}

/// Ids and word starts of documents, by document id.
type Documents = BTreeMap<u64, (Vec<u32>, Vec<bool>)>;

/// A folder with a table between two files that are whole.
struct Folder {
    input: PathBuf,
    table: PathBuf,
    out: PathBuf,
    /// What comes of the two files, by document id.
    beside: Documents,
}

impl Folder {
    fn new(at: &Path, name: &str) -> Self {
        let input = at.join("input");
        fs::create_dir(&input).unwrap();
        for name in ["a.jsonl", "z.jsonl"] {
            fs::write(input.join(name), "{\"text\": \"a line of the sea\"}\n").unwrap();
        }
        let mut folder = Self {
            table: input.join(name),
            input,
            out: at.join("out"),
            beside: BTreeMap::new(),
        };
        fs::write(&folder.table, "").unwrap();
        folder.beside = folder.tokenise().0;
        assert_eq!(folder.beside.len(), 2);
        folder
    }

    /// All documents, and how many rejections there are.
    fn tokenise(&self) -> (Documents, usize) {
        let _ = fs::remove_dir_all(&self.out);
        let config = TokenizeConfig {
            max_rejected: 1.0,
            file_bytes: ByteSize(1 << 20),
            ..config(std::slice::from_ref(&self.input))
        };
        tokenize(&config, &self.out, &options(2)).unwrap();
        (documents(&self.out), rejected(&self.out).len())
    }

    /// Rows and rejections of a table of these bytes, in a folder whose other files are as
    /// they were.
    #[track_caller]
    fn with(&self, table: &[u8], how: &str) -> (usize, usize) {
        fs::write(&self.table, table).unwrap();
        let (mut found, rejections) = self.tokenise();
        for (id, document) in &self.beside {
            assert_eq!(found.remove(id).as_ref(), Some(document), "{how}");
        }
        assert!(found.keys().all(|id| id >> 40 == 1), "{how}");
        (found.len(), rejections)
    }

    /// Cuts the table short in `cuts` places and changes a bit in `flips` places.
    fn damage(&self, table: &[u8], cuts: usize, flips: usize) {
        assert_eq!(self.with(table, "whole"), (ROWS, 0));
        for cut in 0..cuts {
            let length = table.len() * cut / cuts;
            let (rows, rejections) = self.with(&table[..length], &format!("cut to {length}"));
            assert!(
                rows < ROWS && rejections == 1,
                "cut to {length}: {rows} rows"
            );
        }
        for flip in 0..flips {
            let (at, bit) = (table.len() * flip / flips, flip % 8);
            let mut damaged = table.to_vec();
            damaged[at] ^= 1 << bit;
            let how = format!("bit {bit} of byte {at} changed");
            let (rows, rejections) = self.with(&damaged, &how);
            assert!(rows == ROWS || rejections > 0, "{how}: {rows} rows");
        }
    }
}

#[test]
fn a_damaged_parquet_file_is_rejected_and_the_others_are_whole() {
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY] {
        let dir = tempfile::tempdir().unwrap();
        Folder::new(dir.path(), "b.parquet").damage(&in_parquet(compression), 20, 120);
    }
}

#[test]
fn a_damaged_arrow_file_is_rejected_and_the_others_are_whole() {
    for compression in [None, Some(CompressionType::ZSTD)] {
        let dir = tempfile::tempdir().unwrap();
        Folder::new(dir.path(), "b.arrow").damage(&in_arrow_file(compression), 20, 120);
    }
}

#[test]
fn a_damaged_arrow_stream_is_rejected_and_the_others_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path(), "b.arrow");
    let stream = in_arrow_stream();
    folder.damage(&stream, 20, 120);
    // Without the mark behind its last batch, or half of it.
    for behind in 1..=8 {
        let cut = &stream[..stream.len() - behind];
        assert_eq!(folder.with(cut, "no end"), (ROWS, 1), "{behind} bytes");
    }
}

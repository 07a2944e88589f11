//! The rows of an artefact for other programs of this process: an Arrow C stream
//! (<https://arrow.apache.org/docs/format/CStreamInterface.html>), which pyarrow, polars and
//! duckdb take. Record batches are handed on one by one as they are decoded, their buffers
//! not copied; a file is opened when the rows before it are read.
//!
//! Cost: one record batch of memory. Every byte is checked: record batches of documents by
//! their own hashes, Parquet files by the manifest's, which reads them once more.

use crate::base::error::{Error, Result};
use crate::base::token::is_wide;
use crate::columnar::documents::DocumentFile;
use crate::columnar::parquet_file::ParquetRows;
use crate::columnar::schema;
use crate::storage::{Artefact, ArtefactKind, FileRecord, FileSource, cache};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{RecordBatch, RecordBatchIterator};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use std::path::PathBuf;
use std::sync::Arc;

/// The name of a capsule that holds a [`RowStream`], by the Arrow PyCapsule interface.
pub const CAPSULE: &std::ffi::CStr = c"arrow_array_stream";

/// An `ArrowArrayStream` of C. Whoever takes it over marks it released; what nobody takes is
/// released when it is dropped.
#[repr(transparent)]
pub struct RowStream {
    _stream: FFI_ArrowArrayStream,
}

impl RowStream {
    /// The rows of token files, shards, n-gram counts or a masking vocabulary, file by file in
    /// the order of their names. Of `columns`, where they are given, those only, in the order
    /// of the file; planes of documents that are not asked for are never decompressed.
    ///
    /// # Errors
    /// Another kind of artefact, and a column that it does not have. What is wrong with a
    /// file is the error of the stream that comes to it.
    pub fn of(artefact: &Artefact, columns: Option<&[String]>) -> Result<Self> {
        let whole = schema_of(artefact)?;
        let chosen = chosen(artefact, &whole, columns)?;
        let schema = whole
            .project(&chosen)
            .map_err(|error| Error::library("choosing columns", error))?;
        let rows = Rows {
            kind: artefact.kind(),
            files: artefact
                .files()
                .map(|(path, record)| (path, record.clone()))
                .collect::<Vec<_>>()
                .into_iter(),
            whole: Arc::new(whole),
            chosen,
            open: None,
        };
        let rows = rows.map(|batch| {
            batch.map_err(|error| ArrowError::ExternalError(Box::new(Shown(error.to_string()))))
        });
        let reader = RecordBatchIterator::new(rows, Arc::new(schema));
        Ok(Self {
            _stream: FFI_ArrowArrayStream::new(Box::new(reader)),
        })
    }
}

/// A message of ours inside the library's error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Shown(String);

/// Columns of all files of the artefact.
fn schema_of(artefact: &Artefact) -> Result<Schema> {
    match artefact.kind() {
        ArtefactKind::Tokens | ArtefactKind::Shards => {
            let size = artefact.tokenizer()?.vocabulary_size;
            let units = artefact.manifests[0].vocabulary.is_some();
            Ok(schema::documents(is_wide(size as usize), units))
        }
        ArtefactKind::Counts => Ok(schema::counts()),
        ArtefactKind::Vocabulary => Ok(schema::vocabulary()),
        other => Err(Error::mismatch(
            artefact.path.display().to_string(),
            other.name(),
            "token files, shards, n-gram counts or a masking vocabulary",
            "other artefacts are no tables",
        )),
    }
}

/// The places of `columns`, ascending.
fn chosen(artefact: &Artefact, whole: &Schema, columns: Option<&[String]>) -> Result<Vec<usize>> {
    let Some(columns) = columns else {
        return Ok((0..whole.fields().len()).collect());
    };
    let mut chosen = columns
        .iter()
        .map(|name| {
            whole.index_of(name).map_err(|_| {
                let known: Vec<&str> = whole.fields().iter().map(|f| f.name().as_str()).collect();
                Error::usage(
                    format!("{}, columns", artefact.path.display()),
                    format!("{name:?}"),
                    format!("some of {}", known.join(", ")),
                    "correct the name",
                )
            })
        })
        .collect::<Result<Vec<_>>>()?;
    chosen.sort_unstable();
    chosen.dedup();
    Ok(chosen)
}

/// Record batches of all files.
struct Rows {
    kind: ArtefactKind,
    files: std::vec::IntoIter<(PathBuf, FileRecord)>,
    whole: SchemaRef,
    chosen: Vec<usize>,
    open: Option<Open>,
}

/// The file at hand.
enum Open {
    Documents {
        file: Box<DocumentFile<FileSource>>,
        next: usize,
    },
    Table(Box<dyn Iterator<Item = Result<RecordBatch>> + Send>),
}

impl Rows {
    fn open(&self, path: PathBuf, record: &FileRecord) -> Result<Open> {
        let path = cache::copy_of(&path, record.bytes, &record.hash)?;
        if matches!(self.kind, ArtefactKind::Tokens | ArtefactKind::Shards) {
            let file = DocumentFile::open(FileSource::open(path)?)?;
            file.check_columns(&self.whole)?;
            return Ok(Open::Documents {
                file: Box::new(file),
                next: 0,
            });
        }
        record.check(&path)?;
        let rows = ParquetRows::open(&path, &self.whole, self.kind.name())?;
        Ok(Open::Table(Box::new(rows.batches_of(&self.chosen)?)))
    }

    fn advance(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            match &mut self.open {
                Some(Open::Documents { file, next }) if *next < file.footer().batches.len() => {
                    *next += 1;
                    return file.decode(*next - 1, &self.chosen).map(Some);
                }
                Some(Open::Table(batches)) => {
                    if let Some(batch) = batches.next() {
                        return batch.map(Some);
                    }
                }
                _ => {}
            }
            let Some((path, record)) = self.files.next() else {
                self.open = None;
                return Ok(None);
            };
            self.open = Some(self.open(path, &record)?);
        }
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

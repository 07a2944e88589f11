//! `cloze export`: token files or shards, to formats that other programs read.
//!
//! Documents go out in the order in which they lie in the files. Record batches are
//! decoded on all threads and written by one. A part takes the files I mod N; a part
//! that was killed is written anew, so split a large export into parts.
//!
//! Cost: one read and one write of every token; Parquet compresses with zstd. Memory: two
//! record batches a thread; Megatron's index (12 bytes a document) spills beyond a
//! quarter of the bound.

use crate::base::boundaries::BoundarySlice;
use crate::base::error::{Error, Result};
use crate::base::size::ByteSize;
use crate::base::token::{TokenId, is_wide};
use crate::columnar::export::{TableWriter, schema};
use crate::columnar::{Document, DocumentBatch, DocumentFile, Projection};
use crate::config::{ExportConfig, ExportFormat};
use crate::exchange::megatron;
use crate::parallel;
use crate::pipeline::stage::{Frame, StageOptions};
use crate::storage::{
    Artefact, ArtefactKind, AtomicFile, FileRecord, FileSource, Manifest, Standing, Written,
    atomic, cache, place,
};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Writes the documents of `source` to the folder `output`.
pub fn export(
    config: &ExportConfig,
    source: &Path,
    output: &Path,
    options: &StageOptions,
) -> Result<Manifest> {
    config.check()?;
    let artefact = Artefact::open_any(source)?;
    if !matches!(artefact.kind(), ArtefactKind::Tokens | ArtefactKind::Shards) {
        return Err(Error::mismatch(
            source.display().to_string(),
            artefact.kind().name(),
            "token files or shards",
            "give the folder that `cloze tokenize`, `import` or `shard` wrote",
        ));
    }
    let record = artefact.tokenizer()?.clone();
    let separator = match config.append_separator {
        true => Some(crate::tokenizer::require(
            &record.special_tokens,
            crate::tokenizer::Role::Sep,
        )?),
        false => None,
    };
    let mut frame = Frame::new(
        ArtefactKind::Export,
        output,
        config,
        vec![artefact.as_input()],
        options,
    )?;
    if let Standing::Done(manifest) = frame.standing(options)? {
        options.progress.note("export", "done before");
        return Ok(*manifest);
    }
    let files = artefact
        .files()
        .enumerate()
        .filter(|&(index, _)| options.part.has(index as u64))
        .map(|(_, (path, file))| cache::copy_of(&path, file.bytes, &file.hash))
        .map(|copy| DocumentFile::open(FileSource::open(copy?)?))
        .collect::<Result<Vec<_>>>()?;
    let total: u64 = files.iter().map(|file| file.footer().tokens()).sum();
    let meter = options.progress.meter("export", "tokens", Some(total));
    let mut out = Output {
        config,
        output,
        options,
        vocabulary_size: record.vocabulary_size,
        tokenizer: &record.fingerprint,
        spans: files.iter().any(DocumentFile::has_spans),
        separator,
        open: None,
        files: Vec::new(),
        names: 0,
        ids: Vec::new(),
    };
    let batches = files
        .iter()
        .flat_map(|file| (0..file.footer().batches.len()).map(move |batch| (file, batch)));
    parallel::ordered(
        options.threads,
        batches.map(Ok),
        || |(file, batch): (&DocumentFile<FileSource>, usize)| file.batch(batch, Projection::ALL),
        |batch: DocumentBatch| {
            options.check_stop()?;
            meter.add(batch.token_count() as u64);
            batch
                .documents()
                .try_for_each(|document| out.push(&document))
        },
    )?;
    let written = out.finish()?;
    options.clear_scratch(output);
    let documents: u64 = files.iter().map(|file| file.footer().rows()).sum();
    meter.finish(&format!("{documents} documents"));
    let tokenizer = artefact.folder().join(&record.file);
    let json = place::read(&tokenizer)?;
    let name = options.part.file_name("tokenizer", "json");
    atomic::write(output.join(&name), &json)?;
    let mut record = record;
    record.file = name;
    frame.manifest().tokenizer = Some(record);
    written.into_iter().for_each(|file| frame.file(file));
    frame.total("documents", documents);
    frame.total("tokens", total);
    frame.finish()
}

/// The files being written.
struct Output<'a> {
    config: &'a ExportConfig,
    output: &'a Path,
    options: &'a StageOptions,
    vocabulary_size: u64,
    tokenizer: &'a str,
    spans: bool,
    separator: Option<TokenId>,
    open: Option<Open>,
    files: Vec<FileRecord>,
    /// Files begun so far.
    names: usize,
    ids: Vec<TokenId>,
}

enum Open {
    Megatron(Box<megatron::Writer>),
    Parquet(Box<TableWriter<AtomicFile>>),
}

impl Output<'_> {
    fn push(&mut self, document: &Document<'_>) -> Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        self.ids.clear();
        document.tokens.append_to(&mut self.ids);
        self.ids.extend(self.separator);
        let words = document.word_start.unwrap_or(BoundarySlice::new(&[], 0, 0));
        let (_, tokens) = match &mut open {
            Open::Megatron(writer) => {
                writer.push(&self.ids)?;
                writer.written()
            }
            Open::Parquet(writer) => {
                writer.push(document.id, &self.ids, words, document.span_start)?;
                writer.written()
            }
        };
        self.open = Some(open);
        match self.config.file_tokens {
            most if most > 0 && tokens >= most => self.close(),
            _ => Ok(()),
        }
    }

    fn stem(&self) -> String {
        let number = self.names - 1;
        match (self.options.part.of, self.options.part.index) {
            (1, _) => format!("tokens-{number:05}"),
            (of, index) => format!("tokens-{index:05}-of-{of:05}-{number:05}"),
        }
    }

    fn path(&self, ending: &str) -> PathBuf {
        self.output.join(format!("{}.{ending}", self.stem()))
    }

    fn begin(&mut self) -> Result<Open> {
        self.names += 1;
        Ok(match self.config.format {
            ExportFormat::Megatron => Open::Megatron(Box::new(megatron::Writer::create(
                &self.path("bin"),
                self.vocabulary_size,
                &self.options.scratch_beside(self.output),
                ByteSize(self.options.memory.0 / 4),
            )?)),
            ExportFormat::Parquet => {
                let path = self.path("parquet");
                let wide = is_wide(self.vocabulary_size as usize);
                Open::Parquet(Box::new(TableWriter::new(
                    AtomicFile::create(&path)?,
                    path.display().to_string(),
                    schema(&self.config.column, wide, self.spans),
                    &json!({
                        "format": crate::storage::manifest::FORMAT,
                        "tokenizer": self.tokenizer,
                        "vocabulary_size": self.vocabulary_size,
                    }),
                )?))
            }
        })
    }

    fn close(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        match open {
            Open::Megatron(writer) => {
                let counted = writer.written();
                let (bin, idx) = writer.finish()?;
                self.record("bin", bin, counted);
                self.record("idx", idx, counted);
            }
            Open::Parquet(writer) => {
                let counted = writer.written();
                let written = writer.finish()?.finish()?;
                self.record("parquet", written, counted);
            }
        }
        Ok(())
    }

    fn record(&mut self, ending: &str, written: Written, (rows, tokens): (u64, u64)) {
        self.files.push(FileRecord {
            name: format!("{}.{ending}", self.stem()),
            bytes: written.bytes,
            hash: written.hash,
            rows,
            tokens: (ending != "idx").then_some(tokens),
        });
    }

    /// The files of the part; an empty corpus is one empty file.
    fn finish(mut self) -> Result<Vec<FileRecord>> {
        if self.names == 0 {
            self.open = Some(self.begin()?);
        }
        self.close()?;
        Ok(self.files)
    }
}

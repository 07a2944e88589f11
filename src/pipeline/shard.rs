//! The stage `shard`: documents drawn into shards by seed, with their masking units.
//!
//! Two passes: every document is appended to its shard's bucket (in memory up to half
//! the bound, then compressed on scratch disk), then each bucket is sorted by key and cut
//! into record batches, which threads segment, compress and hash; putting them one
//! behind the other is all that is left to do in order. A part writes shards I mod N and
//! reads all token files. Moves about 2.2 bytes a token twice, and once more where it
//! spills.

use crate::base::boundaries::{Boundaries, BoundarySlice};
use crate::base::error::{Error, Result};
use crate::base::size::ByteSize;
use crate::base::token::{TokenSlice, is_wide};
use crate::columnar::writer::Layout;
use crate::columnar::{
    BatchBuilder, Document, DocumentFile, DocumentWriter, EncodedBatch, Projection,
};
use crate::config::ShardConfig;
use crate::parallel;
use crate::pipeline::stage::{Frame, StageOptions};
use crate::pipeline::units;
use crate::segment::{Segmenter, Units};
use crate::shard::place::{shard_of, shuffle_key};
use crate::storage::scratch::Buckets;
use crate::storage::{
    Artefact, ArtefactKind, AtomicFile, FileRecord, FileSource, Manifest, Standing, atomic, place,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Bytes of a record before its tokens: key, document id, number of tokens.
const HEADER: usize = 20;

/// What a shard's footer says beside its batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Figures {
    /// Words.
    words: u64,
    /// Masking units.
    units: u64,
    /// Tokens in units of two or more words.
    covered: u64,
}

#[derive(Serialize, Deserialize)]
struct Note {
    fingerprint: String,
    figures: Figures,
}

#[derive(Serialize)]
struct Configuration<'a> {
    #[serde(flatten)]
    shard: &'a ShardConfig,
    seed: u64,
    units: bool,
}

/// Writes the shards of the token files in `tokens` to `output`; with masking units
/// where a `vocabulary` is given.
pub fn shard(
    config: &ShardConfig,
    tokens: &Path,
    vocabulary: Option<&Path>,
    output: &Path,
    options: &StageOptions,
) -> Result<Manifest> {
    config.check()?;
    let artefact = Artefact::open(tokens, ArtefactKind::Tokens)?;
    let masking_vocabulary = vocabulary
        .map(|path| Artefact::open(path, ArtefactKind::Vocabulary))
        .transpose()?;
    let mut inputs = vec![artefact.as_input()];
    inputs.extend(masking_vocabulary.as_ref().map(Artefact::as_input));
    let configuration = Configuration {
        shard: config,
        seed: options.seed,
        units: vocabulary.is_some(),
    };
    let mut frame = Frame::new(
        ArtefactKind::Shards,
        output,
        &configuration,
        inputs,
        options,
    )?;
    if let Standing::Done(manifest) = frame.standing(options)? {
        options.progress.note("shard", "done before");
        return Ok(*manifest);
    }
    let record = artefact.tokenizer()?.clone();
    let tokenizer_file = artefact.folder().join(&record.file);
    let open_units = || {
        vocabulary
            .map(|path| {
                let folder = artefact.folder();
                units::open(path, folder, &record, config.overlap, options.seed)
            })
            .transpose()
    };
    let files = artefact
        .copies()
        .map(|copy| DocumentFile::open(FileSource::open(copy?.0)?))
        .collect::<Result<Vec<_>>>()?;
    let total: u64 = files.iter().map(|file| file.footer().tokens()).sum();
    let shards = u32::try_from(total.div_ceil(config.shard_tokens).max(1)).map_err(|_| {
        Error::usage(
            "shard.shard_tokens",
            config.shard_tokens.to_string(),
            format!("fewer than 2^32 shards of {total} tokens"),
            "raise shard_tokens",
        )
    })?;
    let wide = is_wide(record.vocabulary_size as usize);
    check_memory(total, shards, wide, options)?;
    let stage = Sharding {
        frame: &mut frame,
        options,
        output,
        shards,
        layout: Layout {
            wide,
            spans: vocabulary.is_some(),
            batch_tokens: config.batch_tokens,
            zstd_level: config.zstd_level,
            short_matches: true,
        },
    };
    let figures = stage.write(&files, open_units)?;

    let json = place::read(&tokenizer_file)?;
    atomic::write(output.join(&record.file), &json)?;
    let written = frame.manifest();
    let documents: u64 = written.files.iter().map(|file| file.rows).sum();
    let own_tokens: u64 = written.files.iter().filter_map(|file| file.tokens).sum();
    written.tokenizer = Some(record);
    written.vocabulary = masking_vocabulary.map(|v| v.content_fingerprint());
    frame.total("documents", documents);
    frame.total("tokens", own_tokens);
    frame.total("words", figures.words);
    if vocabulary.is_some() {
        frame.total("units", figures.units);
        frame.total("covered_tokens", figures.covered);
        frame.total(
            "coverage",
            figures.covered as f64 / own_tokens.max(1) as f64,
        );
    }
    frame.finish()
}

/// One shard is in memory while it is sorted and written: ids, bits and what is being
/// encoded.
fn check_memory(tokens: u64, shards: u32, wide: bool, options: &StageOptions) -> Result<()> {
    let shard = ByteSize(tokens * if wide { 5 } else { 3 } / u64::from(shards));
    if shard.0 <= options.memory.0 / 2 {
        return Ok(());
    }
    Err(Error::resource(
        "--memory",
        options.memory.to_string(),
        format!(
            "at least {} for shards of {} tokens",
            ByteSize(2 * shard.0),
            tokens / u64::from(shards)
        ),
        "raise --memory or lower shard_tokens",
    ))
}

struct Sharding<'a> {
    frame: &'a mut Frame,
    options: &'a StageOptions,
    output: &'a Path,
    shards: u32,
    layout: Layout,
}

impl Sharding<'_> {
    /// Writes the shards of this part that are not there yet.
    fn write(
        self,
        files: &[DocumentFile<FileSource>],
        open_units: impl FnOnce() -> Result<Option<Units>> + Send,
    ) -> Result<Figures> {
        let own: Vec<u32> = (0..self.shards)
            .filter(|&shard| self.options.part.has(u64::from(shard)))
            .collect();
        let mut earlier = Vec::new();
        for &shard in &own {
            earlier.push(self.earlier(shard)?);
        }
        let place: Vec<Option<usize>> = (0..self.shards)
            .map(|shard| {
                let at = own.binary_search(&shard).ok()?;
                earlier[at].is_none().then_some(at)
            })
            .collect();
        let scratch = self.options.scratch_beside(self.output);
        let buckets = Buckets::new(&scratch, own.len(), ByteSize(self.options.memory.0 / 2))?;
        // Reading vocabulary and tokenizer is the work of one thread.
        let (units, ()) = parallel::both(self.options.threads, open_units, || {
            if place.iter().all(Option::is_none) {
                return Ok(());
            }
            self.scatter(files, &place, &buckets)
        })?;
        let own_tokens = files.iter().map(|f| f.footer().tokens()).sum();
        let meter = self
            .options
            .progress
            .meter("shard", "tokens", Some(own_tokens));
        let mut figures = Figures::default();
        for (at, &shard) in own.iter().enumerate() {
            self.options.check_stop()?;
            let (record, note) = match earlier[at].take() {
                Some(found) => found,
                None => self.write_shard(shard, &buckets, at, units.as_ref())?,
            };
            meter.add(record.tokens.unwrap_or(0));
            figures.add(&note);
            self.frame.file(record);
        }
        self.options.clear_scratch(self.output);
        let plural = if own.len() == 1 { "" } else { "s" };
        meter.finish(&format!("{} shard{plural}", own.len()));
        Ok(figures)
    }

    fn path(&self, shard: u32) -> PathBuf {
        self.output.join(format!("shard-{shard:05}.arrow"))
    }

    /// A shard that an interrupted run of the same stage finished.
    fn earlier(&self, shard: u32) -> Result<Option<(FileRecord, Figures)>> {
        let path = self.path(shard);
        if !place::exists(&path)? {
            return Ok(None);
        }
        let Ok(file) = FileSource::open(&path).and_then(DocumentFile::open) else {
            return Ok(None);
        };
        let note: Result<Note, _> = serde_json::from_value(file.footer().note.clone());
        match note {
            Ok(note) if note.fingerprint == self.frame.fingerprint => {
                let bytes = place::length(&path)?.unwrap_or(0);
                let record = FileRecord {
                    name: format!("shard-{shard:05}.arrow"),
                    bytes,
                    hash: crate::storage::source::hash_file(&path)?,
                    rows: file.footer().rows(),
                    tokens: Some(file.footer().tokens()),
                };
                Ok(Some((record, note.figures)))
            }
            _ => Ok(None),
        }
    }

    /// First pass: every document to the bucket of its shard.
    fn scatter(
        &self,
        files: &[DocumentFile<FileSource>],
        place: &[Option<usize>],
        buckets: &Buckets,
    ) -> Result<()> {
        let batches: Vec<(usize, usize)> = files
            .iter()
            .enumerate()
            .flat_map(|(file, f)| (0..f.footer().batches.len()).map(move |batch| (file, batch)))
            .collect();
        let projection = Projection {
            span_start: false,
            ..Projection::ALL
        };
        parallel::map(self.options.threads, batches, |(file, batch)| {
            self.options.check_stop()?;
            let documents = files[file].batch(batch, projection)?;
            let mut records: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
            for document in documents.documents() {
                let key = shuffle_key(self.options.seed, document.id);
                if let Some(bucket) = place[shard_of(key, self.shards) as usize] {
                    record(key, &document, records.entry(bucket).or_default())?;
                }
            }
            for (bucket, records) in records {
                buckets.append(bucket, &records)?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Second pass: one bucket, sorted by key, segmented and written.
    fn write_shard(
        &self,
        shard: u32,
        buckets: &Buckets,
        bucket: usize,
        units: Option<&Units>,
    ) -> Result<(FileRecord, Figures)> {
        let pieces = buckets.drain(bucket).collect::<Result<Vec<_>>>()?;
        let records = sorted(&pieces, self.layout.wide);
        let path = self.path(shard);
        let name = path.display().to_string();
        let mut writer = DocumentWriter::new(AtomicFile::create(&path)?, &*name, self.layout)?;
        let mut figures = Figures::default();
        parallel::ordered(
            self.options.threads,
            batches(&records, self.layout.batch_tokens).map(Ok),
            || {
                let mut worker = Worker::new(self.layout, &name, units);
                move |batch: &[Record<'_>]| worker.encode(batch)
            },
            |(batch, counted)| {
                figures.add(&counted);
                writer.append(&batch)
            },
        )?;
        let note = Note {
            fingerprint: self.frame.fingerprint.clone(),
            figures,
        };
        let note = serde_json::to_value(note).map_err(|e| Error::library("shard note", e))?;
        let (file, footer) = writer.finish(note)?;
        let written = file.finish()?;
        let record = FileRecord {
            name: format!("shard-{shard:05}.arrow"),
            bytes: written.bytes,
            hash: written.hash,
            rows: footer.rows(),
            tokens: Some(footer.tokens()),
        };
        Ok((record, figures))
    }
}

impl Figures {
    fn add(&mut self, other: &Figures) {
        self.words += other.words;
        self.units += other.units;
        self.covered += other.covered;
    }
}

/// Makes record batches of records.
struct Worker<'a> {
    layout: Layout,
    name: &'a str,
    segmenter: Option<Segmenter<&'a Units>>,
    builder: Option<BatchBuilder>,
    narrow: Vec<u16>,
    wide: Vec<u32>,
    spans: Boundaries,
}

impl<'a> Worker<'a> {
    fn new(layout: Layout, name: &'a str, units: Option<&'a Units>) -> Self {
        Self {
            layout,
            name,
            segmenter: units.map(Units::segmenter),
            builder: None,
            narrow: Vec::new(),
            wide: Vec::new(),
            spans: Boundaries::new(),
        }
    }

    /// Segments `records` and encodes them as one record batch.
    fn encode(&mut self, records: &[Record<'_>]) -> Result<(EncodedBatch, Figures)> {
        let mut builder = match self.builder.take() {
            Some(builder) => builder,
            None => BatchBuilder::new(self.layout, self.name)?,
        };
        let mut figures = Figures::default();
        for record in records {
            let tokens = record.tokens(self.layout.wide, &mut self.narrow, &mut self.wide);
            let words = BoundarySlice::new(record.words, 0, tokens.len());
            figures.words += words.count() as u64;
            let spans = match &mut self.segmenter {
                Some(segmenter) => {
                    figures.covered += segmenter.segment(record.id, tokens, words, &mut self.spans);
                    figures.units += self.spans.as_slice().count() as u64;
                    Some(self.spans.as_slice())
                }
                None => None,
            };
            builder.push(record.id, tokens, words, spans)?;
        }
        let batch = builder.encode()?;
        self.builder = Some(builder);
        Ok((batch, figures))
    }
}

/// Appends a document as a record: key, id, number of tokens, ids as wide as they are in
/// the file, bits.
fn record(key: u64, document: &Document<'_>, out: &mut Vec<u8>) -> Result<()> {
    let len = document.tokens.len();
    let words = document
        .word_start
        .ok_or_else(|| Error::library("reading token files", "a document without word starts"))?;
    let count = u32::try_from(len)
        .map_err(|_| Error::library("reading token files", "a document of 2^32 tokens"))?;
    out.extend_from_slice(&key.to_le_bytes());
    out.extend_from_slice(&document.id.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    let start = out.len();
    match document.tokens {
        TokenSlice::Narrow(ids) => {
            out.resize(start + 2 * len, 0);
            for (place, id) in out[start..].chunks_exact_mut(2).zip(ids) {
                place.copy_from_slice(&id.to_le_bytes());
            }
        }
        TokenSlice::Wide(ids) => {
            out.resize(start + 4 * len, 0);
            for (place, id) in out[start..].chunks_exact_mut(4).zip(ids) {
                place.copy_from_slice(&id.to_le_bytes());
            }
        }
    }
    words.append_to(out);
    Ok(())
}

/// A document in a bucket.
#[derive(Clone, Copy)]
struct Record<'a> {
    key: u64,
    id: u64,
    /// Number of tokens.
    len: usize,
    tokens: &'a [u8],
    words: &'a [u8],
}

impl Record<'_> {
    /// Its tokens, by way of a buffer.
    fn tokens<'b>(
        &self,
        is_wide: bool,
        narrow: &'b mut Vec<u16>,
        wide: &'b mut Vec<u32>,
    ) -> TokenSlice<'b> {
        if is_wide {
            wide.clear();
            let ids = self.tokens.chunks_exact(4);
            wide.extend(ids.map(|id| u32::from_le_bytes([id[0], id[1], id[2], id[3]])));
            return TokenSlice::Wide(wide);
        }
        narrow.clear();
        let ids = self.tokens.chunks_exact(2);
        narrow.extend(ids.map(|id| u16::from_le_bytes([id[0], id[1]])));
        TokenSlice::Narrow(narrow)
    }
}

/// The records of a bucket by (key, document id): the order of the shard.
fn sorted(pieces: &[Vec<u8>], is_wide: bool) -> Vec<Record<'_>> {
    let width = if is_wide { 4 } else { 2 };
    let mut records = Vec::new();
    for piece in pieces {
        let mut bytes = &piece[..];
        while let Some((header, rest)) = bytes.split_at_checked(HEADER) {
            let number = |range: std::ops::Range<usize>| {
                header[range]
                    .iter()
                    .rev()
                    .fold(0u64, |n, &byte| n << 8 | u64::from(byte))
            };
            let len = number(16..20) as usize;
            let (tokens, rest) = rest.split_at(width * len);
            let (words, rest) = rest.split_at(len.div_ceil(8));
            records.push(Record {
                key: number(0..8),
                id: number(8..16),
                len,
                tokens,
                words,
            });
            bytes = rest;
        }
    }
    records.sort_unstable_by_key(|record| (record.key, record.id));
    records
}

/// Consecutive records as record batches: each is closed once it has `batch_tokens`.
fn batches<'a>(
    records: &'a [Record<'a>],
    batch_tokens: u32,
) -> impl Iterator<Item = &'a [Record<'a>]> {
    let mut tokens = 0;
    records.split_inclusive(move |record| {
        tokens += record.len;
        let full = tokens >= batch_tokens as usize;
        if full {
            tokens = 0;
        }
        full
    })
}

//! The stage `shard`: documents drawn into shards by seed, with their masking units.
//!
//! Two passes: every document is appended to its shard's bucket (in memory up to half
//! the bound, then compressed on scratch disk), then each bucket is sorted by key,
//! segmented and written. A part writes shards I mod N and reads all token files.
//! Moves about 2.2 bytes a token twice, and once more where it spills.

use crate::base::boundaries::{Boundaries, BoundarySlice};
use crate::base::error::{Error, Result};
use crate::base::size::ByteSize;
use crate::base::token::{TokenId, TokenSlice};
use crate::columnar::writer::Layout;
use crate::columnar::{Document, DocumentFile, DocumentWriter, Projection};
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
use std::path::{Path, PathBuf};

/// Documents are segmented in groups of about this many tokens: enough to outweigh a
/// hand-over between threads, little enough that all threads have some.
const GROUP_TOKENS: usize = 1 << 16;

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
    let units = vocabulary
        .map(|path| {
            units::open(
                path,
                artefact.folder(),
                &record,
                config.overlap,
                options.seed,
            )
        })
        .transpose()?;

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
    check_memory(total, shards, options)?;
    let mut stage = Sharding {
        frame: &mut frame,
        options,
        output,
        shards,
        layout: Layout {
            wide: crate::base::token::is_wide(record.vocabulary_size as usize),
            spans: units.is_some(),
            batch_tokens: config.batch_tokens,
        },
        units: units.as_ref(),
    };
    let figures = stage.write(&files)?;

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
    if units.is_some() {
        frame.total("units", figures.units);
        frame.total("covered_tokens", figures.covered);
        frame.total(
            "coverage",
            figures.covered as f64 / own_tokens.max(1) as f64,
        );
    }
    frame.finish()
}

/// One shard is in memory while it is sorted and written.
fn check_memory(tokens: u64, shards: u32, options: &StageOptions) -> Result<()> {
    let shard = ByteSize(tokens * 5 / u64::from(shards));
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
    units: Option<&'a Units>,
}

impl Sharding<'_> {
    /// Writes the shards of this part that are not there yet.
    fn write(&mut self, files: &[DocumentFile<FileSource>]) -> Result<Figures> {
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
        if place.iter().any(Option::is_some) {
            self.scatter(files, &place, &buckets)?;
        }
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
                None => self.write_shard(shard, &buckets, at)?,
            };
            meter.add(record.tokens.unwrap_or(0));
            figures.words += note.words;
            figures.units += note.units;
            figures.covered += note.covered;
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
            let mut bytes = Vec::new();
            for document in documents.documents() {
                let key = shuffle_key(self.options.seed, document.id);
                if let Some(bucket) = place[shard_of(key, self.shards) as usize] {
                    bytes.clear();
                    record(key, &document, &mut bytes)?;
                    buckets.append(bucket, &bytes)?;
                }
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
    ) -> Result<(FileRecord, Figures)> {
        let bytes = buckets.take(bucket)?;
        let groups = groups(sorted(&bytes));
        let path = self.path(shard);
        let name = path.display().to_string();
        let mut writer = DocumentWriter::new(AtomicFile::create(&path)?, name, self.layout)?;
        let mut figures = Figures::default();
        parallel::ordered(
            self.options.threads,
            groups.into_iter().map(Ok),
            || {
                let mut segmenter = self.units.map(Units::segmenter);
                move |group: Vec<Record<'_>>| {
                    group
                        .into_iter()
                        .map(|record| record.segment(segmenter.as_mut()))
                        .collect::<Result<Vec<_>>>()
                }
            },
            |group| {
                for document in group {
                    figures.words += document.words.as_slice().count() as u64;
                    figures.units += document.spans.as_slice().count() as u64;
                    figures.covered += document.covered;
                    writer.push(
                        document.id,
                        &document.tokens,
                        document.words.as_slice(),
                        self.units.map(|_| document.spans.as_slice()),
                    )?;
                }
                Ok(())
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

/// Appends a document as a record: key, id, number of tokens, ids of 32 bits, bits.
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
    for at in 0..len {
        out.extend_from_slice(&document.tokens.get(at).to_le_bytes());
    }
    let bits: Boundaries = words.iter().collect();
    out.extend_from_slice(bits.as_bytes());
    Ok(())
}

/// A document in a bucket.
#[derive(Clone, Copy)]
struct Record<'a> {
    key: u64,
    id: u64,
    tokens: &'a [u8],
    words: &'a [u8],
}

/// A document on its way into a shard.
struct Segmented {
    id: u64,
    tokens: Vec<TokenId>,
    words: Boundaries,
    spans: Boundaries,
    covered: u64,
}

impl Record<'_> {
    fn len(&self) -> usize {
        self.tokens.len() / 4
    }

    fn segment(&self, segmenter: Option<&mut Segmenter<'_>>) -> Result<Segmented> {
        let tokens: Vec<TokenId> = self
            .tokens
            .chunks_exact(4)
            .map(|id| TokenId::from_le_bytes([id[0], id[1], id[2], id[3]]))
            .collect();
        let plane = BoundarySlice::new(self.words, 0, tokens.len());
        let words: Boundaries = plane.iter().collect();
        let mut spans = Boundaries::new();
        let covered = match segmenter {
            Some(segmenter) => {
                segmenter.segment(self.id, TokenSlice::Wide(&tokens), plane, &mut spans)
            }
            None => 0,
        };
        Ok(Segmented {
            id: self.id,
            tokens,
            words,
            spans,
            covered,
        })
    }
}

/// The records of a bucket by (key, document id): the order of the shard.
fn sorted(mut bytes: &[u8]) -> Vec<Record<'_>> {
    let mut records = Vec::new();
    while let Some((header, rest)) = bytes.split_at_checked(HEADER) {
        let number = |range: std::ops::Range<usize>| {
            header[range]
                .iter()
                .rev()
                .fold(0u64, |n, &byte| n << 8 | u64::from(byte))
        };
        let count = number(16..20) as usize;
        let (tokens, rest) = rest.split_at(4 * count);
        let (words, rest) = rest.split_at(count.div_ceil(8));
        records.push(Record {
            key: number(0..8),
            id: number(8..16),
            tokens,
            words,
        });
        bytes = rest;
    }
    records.sort_unstable_by_key(|record| (record.key, record.id));
    records
}

/// Consecutive records in groups of about [`GROUP_TOKENS`].
fn groups(records: Vec<Record<'_>>) -> Vec<Vec<Record<'_>>> {
    let mut groups: Vec<Vec<Record<'_>>> = Vec::new();
    let mut open = GROUP_TOKENS;
    for record in records {
        if open >= GROUP_TOKENS {
            groups.push(Vec::new());
            open = 0;
        }
        open += record.len().max(1);
        if let Some(group) = groups.last_mut() {
            group.push(record);
        }
    }
    groups
}

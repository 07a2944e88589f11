//! `cloze tokenize`: raw text to token files.
//!
//! Chunks of the corpus are tokenised on all threads and written in order, so the
//! files depend on inputs and configuration alone. A token file is cut after a chunk
//! once `file_bytes` of text went in, and its footer says how to go on behind it: a
//! run that was killed goes on after its last finished file.
//!
//! Cost: the tokenizer's. Memory: a few chunks of text and tokens a thread, and what
//! the tokenizer needs for the documents at hand, 12 times their size at worst, or 128
//! times where the library encodes; those are let in only as `memory` allows.

pub(super) mod output;
pub(super) mod rejected;

use crate::base::error::{Error, Result};
use crate::base::part::Part;
use crate::base::size::ByteSize;
use crate::columnar::writer::Layout;
use crate::config::TokenizeConfig;
use crate::parallel::{self, Allowance};
use crate::pipeline::stage::{Frame, StageOptions};
use crate::storage::remote::is_remote;
use crate::storage::{ArtefactKind, InputRecord, Manifest, Standing, TokenizerRecord, atomic};
use crate::text::document::document_id;
use crate::text::{Chunk, Corpus, Cursor, Fault, Rejection};
use crate::tokenizer::{Encoded, Encoder, Tokenizer};
use output::{Output, Totals};
use rejected::RejectedLog;
use serde_json::Value;
use std::path::Path;

/// The documents of one chunk, tokenised.
pub(super) struct Tokenized {
    /// The chunk after it, where nothing of its own is left.
    pub next: Option<Cursor>,
    /// Bytes of input that it took.
    pub passed: u64,
    /// Id and number of tokens of each document.
    pub documents: Vec<(u64, usize)>,
    /// The tokens of all documents.
    pub encoded: Encoded,
    /// Bytes of text behind them.
    pub text_bytes: u64,
    /// Tokens whose word starts go by their spelling, in imported ids.
    pub by_spelling: u64,
    /// Documents that were left out.
    pub rejections: Vec<Rejection>,
}

/// Tokenises `config.inputs` into the folder `output`: token files, `tokenizer.json`,
/// `rejected.jsonl` if anything was rejected, and the manifest.
pub fn tokenize(
    config: &TokenizeConfig,
    output: &Path,
    options: &StageOptions,
) -> Result<Manifest> {
    config.check()?;
    let tokenizer = Tokenizer::load(config)?;
    check_memory(config, tokenizer.memory_per_byte(), options)?;
    let corpus = Corpus::open(config)?;
    let configuration = configuration(config, &tokenizer)?;
    let inputs = corpus.files().iter().map(|path| input_record(path));
    let mut frame = Frame::new(
        ArtefactKind::Tokens,
        output,
        &configuration,
        inputs.collect::<Result<_>>()?,
        options,
    )?;
    let rejected = output.join(options.part.file_name("rejected", "jsonl"));
    if let Standing::Done(manifest) = frame.standing(options)? {
        let totals = Totals::of_manifest(&manifest);
        check_rejected(config.max_rejected, options.part, &totals, &rejected)?;
        return Ok(*manifest);
    }
    let layout = Layout {
        wide: tokenizer.is_wide(),
        spans: false,
        batch_tokens: config.batch_tokens,
        zstd_level: config.zstd_level,
        short_matches: false,
    };
    let mut out = Output::resume(output, options.part, frame.fingerprint.clone(), layout)?;
    let mut log = RejectedLog::resume(&rejected, out.rejected_bytes())?;
    write_all(config, &tokenizer, &corpus, &mut out, &mut log, options)?;
    let (files, totals) = out.finish()?;
    check_rejected(config.max_rejected, options.part, &totals, &rejected)?;
    let json = options.part.file_name("tokenizer", "json");
    atomic::write(output.join(&json), tokenizer.to_json().as_bytes())?;
    frame.manifest().tokenizer = Some(TokenizerRecord {
        file: json,
        fingerprint: tokenizer.fingerprint().to_owned(),
        vocabulary_size: tokenizer.vocabulary_size() as u64,
        special_tokens: tokenizer.special().clone(),
        tokenizer_path: tokenizer.path(),
    });
    files.into_iter().for_each(|file| frame.file(file));
    totals.add_to(&mut frame);
    frame.finish()
}

fn write_all(
    config: &TokenizeConfig,
    tokenizer: &Tokenizer,
    corpus: &Corpus,
    out: &mut Output,
    log: &mut RejectedLog,
    options: &StageOptions,
) -> Result<()> {
    let meter = options
        .progress
        .meter("tokenize", "bytes of input", Some(corpus.bytes()));
    let allowance = Allowance::new(options.memory.0 / tokenizer.memory_per_byte());
    let paths: Vec<String> = corpus
        .files()
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    parallel::ordered(
        options.threads,
        corpus.chunks(options.part, out.next()),
        || {
            let mut encoder = tokenizer.encoder();
            let (allowance, paths) = (&allowance, &paths);
            move |chunk: Chunk| work(corpus, &mut encoder, allowance, paths, chunk)
        },
        |chunk| {
            options.check_stop()?;
            for rejection in &chunk.rejections {
                log.write(rejection)?;
            }
            out.write(&chunk)?;
            if chunk.next.is_some() && out.text_bytes_in_file() >= config.file_bytes.0 {
                out.cut(log.sync()?)?;
            }
            meter.add(chunk.passed);
            Ok(())
        },
    )?;
    out.cut(log.sync()?)?;
    meter.finish(&out.totals().to_string());
    if out.totals().rejected > 0 {
        let place = log.path().display();
        let text = format!("{} documents rejected, see {place}", out.totals().rejected);
        options.progress.warn("tokenize", &text);
    }
    Ok(())
}

/// Reads and tokenises one chunk.
fn work(
    corpus: &Corpus,
    encoder: &mut Encoder<&Tokenizer>,
    allowance: &Allowance,
    paths: &[String],
    chunk: Chunk,
) -> Result<Tokenized> {
    let cursor = chunk.cursor;
    let mut done = Tokenized::begin(cursor, chunk.passed);
    done.next = done.next.filter(|_| chunk.ends);
    corpus.read(chunk, |outcome| {
        let document_id = document_id(cursor.file, outcome.place);
        let tokenised = outcome.text.and_then(|text| {
            let _held = allowance.take(text.len() as u64);
            done.add(encoder, document_id, &text)
                .map_err(|reason| Fault::of(reason, text.as_bytes()))
        });
        if let Err(fault) = tokenised {
            done.rejections.push(Rejection {
                file: paths[cursor.file as usize].clone(),
                place: outcome.place,
                document_id,
                excerpt: fault.shown(),
                reason: fault.reason,
            });
        }
        Ok(())
    })?;
    Ok(done)
}

impl Tokenized {
    pub(super) fn begin(cursor: Cursor, passed: u64) -> Self {
        Self {
            next: Some(Cursor {
                chunk: cursor.chunk + 1,
                ..cursor
            }),
            passed,
            documents: Vec::new(),
            encoded: Encoded::default(),
            text_bytes: 0,
            by_spelling: 0,
            rejections: Vec::new(),
        }
    }

    /// Adds the tokens of one document, or says why it has none.
    fn add(
        &mut self,
        encoder: &mut Encoder<&Tokenizer>,
        id: Option<u64>,
        text: &str,
    ) -> Result<(), String> {
        let id = id.ok_or("it lies beyond 2^40 bytes: split the file")?;
        let before = self.encoded.tokens.len();
        encoder
            .encode(text, &mut self.encoded)
            .map_err(|error| error.to_string())?;
        let tokens = self.encoded.tokens.len() - before;
        if tokens == 0 {
            return Err("the tokenizer makes no token of it".into());
        }
        self.documents.push((id, tokens));
        self.text_bytes += text.len() as u64;
        Ok(())
    }
}

/// What of the configuration changes the files: not where inputs and tokenizer lie
/// (their content counts), what may be rejected, or what makes the same tokens.
fn configuration(config: &TokenizeConfig, tokenizer: &Tokenizer) -> Result<Value> {
    let mut value = serde_json::to_value(config)
        .map_err(|error| Error::library("configuration of tokenize", error))?;
    if let Some(keys) = value.as_object_mut() {
        keys.remove("inputs");
        keys.remove("max_rejected");
        keys.remove("tokenizer_path");
        keys.insert("tokenizer".into(), tokenizer.fingerprint().into());
    }
    Ok(value)
}

/// An input as the manifest names it. What cannot be read is an input all the same:
/// its place in the list counts. An object that cannot be read is an error.
pub(super) fn input_record(path: &Path) -> Result<InputRecord> {
    if is_remote(path) {
        return InputRecord::of(path);
    }
    let found = path.metadata().ok().filter(|found| found.is_file());
    if let Some(record) = found.as_ref().and_then(|_| InputRecord::of(path).ok()) {
        return Ok(record);
    }
    Ok(InputRecord {
        path: path.display().to_string(),
        bytes: found.map_or(0, |found| found.len()),
        fingerprint: "unreadable".into(),
    })
}

fn check_memory(config: &TokenizeConfig, per_byte: u64, options: &StageOptions) -> Result<()> {
    let most = options.memory.0 / per_byte;
    if config.max_document.0 <= most {
        return Ok(());
    }
    Err(Error::usage(
        "tokenize.max_document",
        format!("{} with {} of memory", config.max_document, options.memory),
        format!("at most a {per_byte}th of the memory, as this tokenizer needs it"),
        format!(
            "lower max_document to {}, or raise memory to {}",
            ByteSize(most),
            ByteSize(config.max_document.0.saturating_mul(per_byte))
        ),
    ))
}

/// Refuses a part of which too much was rejected, and a corpus without a document.
pub(super) fn check_rejected(
    max_rejected: f64,
    part: Part,
    totals: &Totals,
    rejected: &Path,
) -> Result<()> {
    let all = totals.documents + totals.rejected;
    if totals.rejected as f64 > max_rejected * all as f64 {
        let share = 100.0 * totals.rejected as f64 / all as f64;
        return Err(Error::input(
            rejected.display().to_string(),
            format!(
                "{} of {all} documents rejected ({share:.3} %), first {}",
                totals.rejected,
                rejected::first_reasons(rejected)?
            ),
            format!("at most {} %", 100.0 * max_rejected),
            "see that file and correct the inputs, or raise --max-rejected and run again",
        ));
    }
    check_any("tokenize.inputs", all, part)
}

/// Refuses a whole corpus without any document, good or rejected, from the inputs that
/// `place` names.
pub(super) fn check_any(place: &str, documents: u64, part: Part) -> Result<()> {
    if documents > 0 || part != Part::WHOLE {
        return Ok(());
    }
    Err(Error::input(
        place,
        "no document in any input",
        "at least one",
        "check the inputs and how they are written (--format, --document)",
    ))
}

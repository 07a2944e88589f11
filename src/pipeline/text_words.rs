//! Raw text as counting sees it: documents straight from the files, words cut by a
//! tokenizer's pre-tokenizer or at Unicode's word boundaries. Nothing is tokenised, and
//! the text is read once. What it takes of the memory: [`text_memory`](super::text_memory).

use crate::base::error::{Error, Result};
use crate::config::{CountConfig, TokenizeConfig, Unit, keys};
use crate::parallel::{self, Allowance};
use crate::pipeline::stage::StageOptions;
use crate::pipeline::text_memory::{CHUNK, TextMemory, TextNeed};
use crate::pipeline::tokenize::{check_any, input_record};
use crate::statistics::{Corpus, Document};
use crate::storage::InputRecord;
use crate::text::{self, Chunk, Cursor, Place};
use crate::tokenizer::LIBRARY_MEMORY_PER_BYTE;
use crate::tokenizer::{Tokenizer, WordCutter};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Files of text, and what cuts their words.
pub(super) struct TextWords {
    config: TokenizeConfig,
    corpus: text::Corpus,
    pub cutter: WordCutter,
}

impl TextWords {
    /// Finds the files and loads the tokenizer, if one is named.
    pub(super) fn open(count: &CountConfig, config: &TokenizeConfig) -> Result<Self> {
        if count.unit == Unit::Token {
            return Err(Error::usage(
                "count.unit",
                "token, of raw text",
                "words",
                "tokens come from token files: run `cloze tokenize`, then count its output",
            ));
        }
        keys::check_share("--max-rejected", config.max_rejected)?;
        let cutter = if config.tokenizer.as_os_str().is_empty() {
            WordCutter::unicode(count.cased)
        } else {
            let tokenizer = Tokenizer::load(config)?;
            WordCutter::of(tokenizer, count.cased).ok_or_else(|| {
                Error::usage(
                    config.tokenizer.display().to_string(),
                    "a tokenizer that cuts no words before its model",
                    "one with a pre-tokenizer",
                    "leave --tokenizer out to cut at Unicode's word boundaries, or tokenise \
                     and count the token files",
                )
            })?
        };
        // Chunks follow from the inputs alone, whatever the memory: so parts do.
        let chunks = TokenizeConfig {
            file_bytes: config.file_bytes.min(CHUNK),
            ..config.clone()
        };
        Ok(Self {
            corpus: text::Corpus::open(&chunks).map_err(as_typed)?,
            config: chunks,
            cutter,
        })
    }

    /// The files, by their content, read by `threads` threads.
    pub(super) fn inputs(&self, threads: usize) -> Result<Vec<InputRecord>> {
        let files = self.corpus.files();
        let mut records = Vec::with_capacity(files.len());
        parallel::ordered(
            threads,
            files.iter().map(Ok),
            || |path: &PathBuf| input_record(path),
            |record| {
                records.push(record);
                Ok(())
            },
        )?;
        Ok(records)
    }

    /// What of the configuration changes which documents there are.
    pub(super) fn configuration(&self) -> Value {
        json!({
            "format": self.config.format,
            "document": self.config.document,
            "text_field": self.config.text_field,
            "max_document": self.config.max_document,
            "words": self.cutter.name(),
        })
    }

    /// Divides the memory, beside `writers` bytes for files being written.
    pub(super) fn memory(&self, writers: u64, options: &StageOptions) -> Result<TextMemory> {
        let tokenizer = self.cutter.tokenizer();
        let need = TextNeed {
            tokens: tokenizer.map_or(0, |found| found.vocabulary_size() as u64),
            whole_documents: tokenizer.is_some_and(|found| !found.cuts_at_whitespace()),
            remembers: tokenizer.is_some_and(|found| found.cuts_at_whitespace()),
            decompressor: self.corpus.decompressor_memory(),
            max_document: self.config.max_document,
            writers,
        };
        need.divide(options.memory, options.threads)
    }

    /// The documents of this part.
    pub(super) fn files<'a>(
        &'a self,
        memory: &TextMemory,
        options: &'a StageOptions,
    ) -> TextFiles<'a> {
        TextFiles {
            text: self,
            options,
            allowance: Allowance::new(memory.at_once / LIBRARY_MEMORY_PER_BYTE),
            documents: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            first: Mutex::new(None),
        }
    }
}

/// Names the inputs as they are given here.
fn as_typed(error: Error) -> Error {
    match error {
        Error::Usage(mut finding) if finding.place == "tokenize.inputs" => {
            finding.place = "--input".into();
            Error::Usage(finding)
        }
        other => other,
    }
}

/// The documents of one part of the files.
pub(super) struct TextFiles<'a> {
    text: &'a TextWords,
    options: &'a StageOptions,
    allowance: Allowance,
    documents: AtomicU64,
    rejected: AtomicU64,
    /// The first rejection that a thread came to: where, and why.
    first: Mutex<Option<(Cursor, String)>>,
}

impl TextFiles<'_> {
    /// How many documents were rejected.
    pub(super) fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    fn reject(&self, cursor: Cursor, place: Place, reason: &str) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.as_ref().is_none_or(|(at, _)| cursor < *at) {
            let file = self.text.corpus.files()[cursor.file as usize].display();
            *first = Some((cursor, format!("{file}, {place}: {reason}")));
        }
    }
}

impl Corpus for TextFiles<'_> {
    type Piece = Chunk;

    fn pieces(&self) -> impl Iterator<Item = Result<Chunk>> + Send {
        self.text
            .corpus
            .chunks(self.options.part, Cursor::default())
    }

    fn known_pieces(&self) -> Option<u64> {
        None
    }

    /// Refuses more rejected documents than may be, and a whole corpus without a document.
    fn check_visited(&self) -> Result<()> {
        let rejected = self.rejected();
        let all = self.documents.load(Ordering::Relaxed) + rejected;
        if rejected == 0 {
            return check_any("--input", all, self.options.part);
        }
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = first.as_ref().map_or("", |(_, reason)| reason);
        let found = format!("{rejected} of {all} documents that cannot be used, first {reason}");
        let most = self.text.config.max_rejected;
        if rejected as f64 > most * all as f64 {
            return Err(Error::input(
                "--input",
                found,
                format!("at most {} %", 100.0 * most),
                "correct the inputs or how they are written (--format, --document), or raise \
                 --max-rejected",
            ));
        }
        self.options.progress.warn("count", &found);
        Ok(())
    }

    fn visit(&self, chunk: Chunk, each: &mut dyn FnMut(Document<'_>) -> Result<()>) -> Result<()> {
        self.options.check_stop()?;
        let cursor = chunk.cursor;
        let held = |text: &str| {
            let at_once = self.text.cutter.at_once(text) as u64;
            (at_once > 0).then(|| self.allowance.take(at_once))
        };
        self.text.corpus.read(chunk, |outcome| {
            match outcome.text {
                Ok(text) => {
                    self.documents.fetch_add(1, Ordering::Relaxed);
                    let _held = held(&text);
                    each(Document::Text(&text))?;
                }
                Err(fault) => self.reject(cursor, outcome.place, &fault.reason),
            }
            Ok(())
        })
    }
}

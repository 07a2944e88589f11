//! Token files of one part, each whole or not there, and what their footers say so
//! that a run goes on after the last one.

use super::Tokenized;
use crate::base::error::{Error, Result};
use crate::base::part::Part;
use crate::columnar::writer::Layout;
use crate::columnar::{DocumentFile, DocumentWriter};
use crate::pipeline::stage::Frame;
use crate::storage::source::hash_file;
use crate::storage::{AtomicFile, FileRecord, FileSource, Manifest, place};
use crate::text::Cursor;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// What the stage has counted so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::pipeline) struct Totals {
    pub documents: u64,
    pub tokens: u64,
    pub words: u64,
    /// Bytes of text, as UTF-8.
    pub text_bytes: u64,
    pub rejected: u64,
    /// Tokens whose word starts go by their spelling, in imported ids.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub by_spelling: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The note in the footer of a token file: the state of the stage behind it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    /// Fingerprint of stage, configuration and inputs.
    fingerprint: String,
    part: Part,
    /// The first chunk that is not in this file or one before.
    next: Cursor,
    /// Of this file and all before.
    totals: Totals,
    /// Length of `rejected.jsonl` then.
    rejected_bytes: u64,
}

/// The token files being written.
pub(in crate::pipeline) struct Output {
    folder: PathBuf,
    layout: Layout,
    records: Vec<FileRecord>,
    /// State behind what was written, in the open file or a finished one.
    state: Note,
    /// State behind the last finished file.
    finished: Note,
    open: Option<DocumentWriter<AtomicFile>>,
    text_bytes_in_file: u64,
}

impl Output {
    /// Finds the finished files of this part in `folder`, and goes on behind them.
    pub(in crate::pipeline) fn resume(
        folder: &Path,
        part: Part,
        fingerprint: String,
        layout: Layout,
    ) -> Result<Self> {
        let begin = Note {
            fingerprint,
            part,
            next: Cursor::default(),
            totals: Totals::default(),
            rejected_bytes: 0,
        };
        let mut output = Self {
            folder: folder.to_owned(),
            layout,
            records: Vec::new(),
            state: begin.clone(),
            finished: begin,
            open: None,
            text_bytes_in_file: 0,
        };
        while let Some((note, record)) = output.finished_file()? {
            output.state = note.clone();
            output.finished = note;
            output.records.push(record);
        }
        let log = folder.join(part.file_name("rejected", "jsonl"));
        if place::length(&log)?.unwrap_or(0) < output.finished.rejected_bytes {
            // The rejections of finished files are gone: they have to be found again.
            place::remove(&output.path_of(0))?;
            let fingerprint = output.finished.fingerprint;
            return Self::resume(folder, part, fingerprint, layout);
        }
        Ok(output)
    }

    fn name_of(&self, number: usize) -> String {
        let number = format!("{number:05}.arrow");
        match self.state.part {
            Part::WHOLE => format!("tokens-{number}"),
            Part { index, of } => format!("tokens-{index:05}-of-{of:05}-{number}"),
        }
    }

    fn path_of(&self, number: usize) -> PathBuf {
        self.folder.join(self.name_of(number))
    }

    /// The next finished file of an earlier run with the same fingerprint, if it is
    /// there and can be opened.
    fn finished_file(&self) -> Result<Option<(Note, FileRecord)>> {
        let number = self.records.len();
        let path = self.path_of(number);
        if !place::exists(&path)? {
            return Ok(None);
        }
        let Ok(file) = FileSource::open(&path).and_then(DocumentFile::open) else {
            return Ok(None);
        };
        let footer = file.footer();
        let Ok(note) = serde_json::from_value::<Note>(footer.note.clone()) else {
            return Ok(None);
        };
        if note.fingerprint != self.state.fingerprint
            || note.part != self.state.part
            || note.next <= self.state.next
        {
            return Ok(None);
        }
        let record = FileRecord {
            name: self.name_of(number),
            bytes: place::length(&path)?.unwrap_or(0),
            hash: hash_file(&path)?,
            rows: footer.rows(),
            tokens: Some(footer.tokens()),
        };
        Ok(Some((note, record)))
    }

    /// The first chunk that is still to be done.
    pub(in crate::pipeline) fn next(&self) -> Cursor {
        self.finished.next
    }

    /// Length of the log of rejections behind the last finished file.
    pub(in crate::pipeline) fn rejected_bytes(&self) -> u64 {
        self.finished.rejected_bytes
    }

    pub(in crate::pipeline) fn totals(&self) -> &Totals {
        &self.state.totals
    }

    pub(in crate::pipeline) fn text_bytes_in_file(&self) -> u64 {
        self.text_bytes_in_file
    }

    /// Writes the documents of one chunk.
    pub(in crate::pipeline) fn write(&mut self, chunk: &Tokenized) -> Result<()> {
        let tokens = &chunk.encoded.tokens;
        let words = chunk.encoded.word_start.as_slice();
        let mut at = 0;
        for &(id, length) in &chunk.documents {
            let range = at..at + length;
            at = range.end;
            let writer = self.writer()?;
            writer.push(id, &tokens[range.clone()], words.slice(range), None)?;
        }
        let totals = &mut self.state.totals;
        totals.documents += chunk.documents.len() as u64;
        totals.tokens += tokens.len() as u64;
        totals.words += words.count() as u64;
        totals.text_bytes += chunk.text_bytes;
        totals.rejected += chunk.rejections.len() as u64;
        totals.by_spelling += chunk.by_spelling;
        self.text_bytes_in_file += chunk.text_bytes;
        self.state.next = chunk.next.unwrap_or(self.state.next);
        Ok(())
    }

    fn writer(&mut self) -> Result<&mut DocumentWriter<AtomicFile>> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let path = self.path_of(self.records.len());
                let file = AtomicFile::create(&path)?;
                DocumentWriter::new(file, path.display().to_string(), self.layout)?
            }
        };
        Ok(self.open.insert(open))
    }

    /// Finishes the open file, if there is one; `rejected_bytes` of the log are on
    /// the disk by now.
    pub(in crate::pipeline) fn cut(&mut self, rejected_bytes: u64) -> Result<()> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        self.state.rejected_bytes = rejected_bytes;
        let note = serde_json::to_value(&self.state)
            .map_err(|error| Error::library("footer of a token file", error))?;
        let (file, footer) = open.finish(note)?;
        let written = file.finish()?;
        self.records.push(FileRecord {
            name: self.name_of(self.records.len()),
            bytes: written.bytes,
            hash: written.hash,
            rows: footer.rows(),
            tokens: Some(footer.tokens()),
        });
        self.finished = self.state.clone();
        self.text_bytes_in_file = 0;
        Ok(())
    }

    /// The files and totals of the part; files that an earlier run made otherwise and
    /// left behind are removed.
    pub(in crate::pipeline) fn finish(self) -> Result<(Vec<FileRecord>, Totals)> {
        for number in self.records.len().. {
            let path = self.path_of(number);
            if !place::exists(&path)? {
                break;
            }
            place::remove(&path)?;
        }
        Ok((self.records, self.state.totals))
    }
}

impl Totals {
    pub(in crate::pipeline) fn of_manifest(manifest: &Manifest) -> Self {
        Self {
            documents: manifest.total("documents"),
            tokens: manifest.total("tokens"),
            words: manifest.total("words"),
            text_bytes: manifest.total("text_bytes"),
            rejected: manifest.total("rejected"),
            by_spelling: manifest.total("tokens_by_spelling"),
        }
    }

    pub(in crate::pipeline) fn add_to(&self, frame: &mut Frame) {
        frame.total("documents", self.documents);
        frame.total("tokens", self.tokens);
        frame.total("words", self.words);
        frame.total("text_bytes", self.text_bytes);
        frame.total("rejected", self.rejected);
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            documents,
            tokens,
            words,
            ..
        } = self;
        write!(f, "{documents} documents, {words} words, {tokens} tokens")
    }
}

//! `cloze verify`: every byte of an artefact. Reads each file once for its hash and
//! decodes it once, record batches of documents on all threads; memory is one record batch a
//! thread.

use crate::base::boundaries::BoundarySlice;
use crate::base::error::{Error, Result};
use crate::columnar::counts::CountsFile;
use crate::columnar::vocabulary::VocabularyFile;
use crate::columnar::{DocumentFile, Projection, RunFile};
use crate::parallel;
use crate::pipeline::stage::StageOptions;
use crate::storage::{Artefact, ArtefactKind, FileRecord, FileSource};
use crate::tokenizer::read_written;
use std::path::Path;

/// What was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Files read.
    pub files: usize,
    /// Bytes read.
    pub bytes: u64,
    /// Rows decoded.
    pub rows: u64,
}

/// Checks every file of the artefact at `path` against its manifest, and that what is
/// in it is what its kind says. The first thing that is wrong is the error.
pub fn verify(path: &Path, options: &StageOptions) -> Result<Verified> {
    let artefact = Artefact::open_any(path)?;
    let all = artefact.files().map(|(_, file)| file.bytes).sum();
    let meter = options.progress.meter("verify", "bytes", Some(all));
    let mut verified = Verified {
        files: 0,
        bytes: 0,
        rows: 0,
    };
    for copy in artefact.copies() {
        let (file, record) = copy?;
        options.check_stop()?;
        check_bytes(&file, record)?;
        options.check_stop()?;
        verified.files += 1;
        verified.bytes += record.bytes;
        verified.rows += match artefact.kind() {
            ArtefactKind::Tokens | ArtefactKind::Shards => {
                check_documents(&artefact, &file, record, options)?
            }
            ArtefactKind::Runs if is_words(&file) => check_counts(&file, record)?,
            ArtefactKind::Runs => check_run(&artefact, &file, record)?,
            ArtefactKind::Counts => check_counts(&file, record)?,
            ArtefactKind::Vocabulary => check_vocabulary(&file, record)?,
            // Their hashes say all.
            ArtefactKind::Run
            | ArtefactKind::Export
            | ArtefactKind::Evaluation
            | ArtefactKind::Finetuning
            | ArtefactKind::Experiment => 0,
        };
        meter.add(record.bytes);
    }
    if let Some(record) = &artefact.manifests[0].tokenizer {
        read_written(artefact.folder(), record)?;
        verified.files += 1;
    }
    meter.finish("all as they were written");
    Ok(verified)
}

/// The file as it was written; where it is not, names the record batch if it can.
fn check_bytes(file: &Path, record: &FileRecord) -> Result<()> {
    record.check(file).map_err(|error| match error {
        Error::Corrupt(mut finding) => {
            if let Some(place) = damaged_place(file) {
                finding.found = place;
            }
            Error::Corrupt(finding)
        }
        other => other,
    })
}

/// Which record batch of a document file is damaged, where that can be told.
fn damaged_place(file: &Path) -> Option<String> {
    let documents = DocumentFile::open(FileSource::open(file).ok()?).ok()?;
    documents.verify().err().map(|error| error.to_string())
}

fn check_documents(
    artefact: &Artefact,
    file: &Path,
    record: &FileRecord,
    options: &StageOptions,
) -> Result<u64> {
    let size = artefact.tokenizer()?.vocabulary_size;
    let documents = DocumentFile::open(FileSource::open(file)?)?;
    let batches = (0..documents.footer().batches.len()).collect();
    let found = parallel::map(options.threads, batches, |index| {
        options.check_stop()?;
        check_batch(&documents, index, size)
    })?;
    let rows = found.iter().map(|(rows, _)| rows).sum();
    let tokens: u64 = found.iter().map(|(_, tokens)| tokens).sum();
    if (rows, Some(tokens)) != (record.rows, record.tokens) {
        return Err(Error::corrupt(
            file.display().to_string(),
            format!("{rows} documents, {tokens} tokens"),
            format!("{} documents, {:?} tokens", record.rows, record.tokens),
            "manifest and file do not belong together: write them again",
        ));
    }
    Ok(rows)
}

/// Documents and tokens of record batch `index`, all as they must be under a vocabulary of
/// `size`.
fn check_batch(
    documents: &DocumentFile<FileSource>,
    index: usize,
    size: u64,
) -> Result<(u64, u64)> {
    let batch = documents.batch(index, Projection::ALL)?;
    let (mut rows, mut tokens) = (0, 0);
    for document in batch.documents() {
        let wrong = |found: String, expected: &str| {
            Err(Error::corrupt(
                format!(
                    "{}, record batch {index}, document {}",
                    documents.path().display(),
                    document.id
                ),
                found,
                expected,
                "write the file again with the stage that made it",
            ))
        };
        if let Some(id) = document.tokens.max()
            && u64::from(id) >= size
        {
            return wrong(
                format!("token id {id}"),
                &format!("ids below the vocabulary size {size}"),
            );
        }
        let Some(words) = document.word_start else {
            return wrong("no word starts".into(), "a word_start plane");
        };
        let len = document.tokens.len();
        if len > 0 && !words.get(0) {
            return wrong("no word start at token 0".into(), "a word at the start");
        }
        if let Some(spans) = document.span_start
            && let Some(at) = first_inside(spans, words)
        {
            return wrong(
                format!("a unit that starts inside a word, at token {at}"),
                "units that start where words do",
            );
        }
        rows += 1;
        tokens += len as u64;
    }
    Ok((rows, tokens))
}

/// The first token where a unit starts and no word.
fn first_inside(spans: BoundarySlice<'_>, words: BoundarySlice<'_>) -> Option<usize> {
    (0..words.len().div_ceil(64)).find_map(|block| {
        let inside = spans.word(block) & !words.word(block);
        (inside != 0).then(|| 64 * block + inside.trailing_zeros() as usize)
    })
}

/// N-grams must be sorted by their word ids, so that ranges can be joined.
fn check_counts(file: &Path, record: &FileRecord) -> Result<u64> {
    let mut before: Vec<u32> = Vec::new();
    let mut rows = 0;
    CountsFile::open(file)?.read(|words, text, _| {
        if rows > 0 && before.as_slice() >= words {
            return Err(Error::corrupt(
                format!("{}, row {rows}", file.display()),
                format!("{text:?} after an n-gram that sorts behind it"),
                "n-grams sorted by word ids, each once",
                "count again",
            ));
        }
        before.clear();
        before.extend_from_slice(words);
        rows += 1;
        Ok(())
    })?;
    check_rows(file, record, rows)
}

/// Whether a file of a run holds its words.
fn is_words(file: &Path) -> bool {
    file.extension()
        .is_some_and(|extension| extension == "parquet")
}

/// Windows must ascend, so that runs can be merged.
fn check_run(artefact: &Artefact, file: &Path, record: &FileRecord) -> Result<u64> {
    let length = artefact.manifests[0].configuration["max_length"].as_u64();
    let run = RunFile::open(file, length.unwrap_or_default() as usize)?;
    let mut before: Vec<u32> = Vec::new();
    let mut rows = 0;
    for index in 0..run.batches().len() {
        let windows = run.batch(index)?;
        for row in 0..windows.len() {
            let window = (0..windows.length()).map(|place| windows.column(place)[row]);
            let window: Vec<u32> = window.collect();
            if rows > 0 && before >= window {
                return Err(Error::corrupt(
                    format!("{}, row {rows}", file.display()),
                    format!("the window {window:?} after {before:?}"),
                    "windows in order, each once",
                    "count this part again",
                ));
            }
            before = window;
            rows += 1;
        }
    }
    check_rows(file, record, rows)
}

/// Lengths ascend, and within a length scores descend: the order of rank.
fn check_vocabulary(file: &Path, record: &FileRecord) -> Result<u64> {
    let mut before: Option<(u32, f64)> = None;
    let mut rows = 0;
    VocabularyFile::open(file)?.read(|entry| {
        let rank = (entry.length, entry.score);
        let in_order = before
            .is_none_or(|(length, score)| rank.0 > length || rank.0 == length && rank.1 <= score);
        if !in_order || entry.ngram.split(' ').count() != entry.length as usize {
            return Err(Error::corrupt(
                format!("{}, row {rows}", file.display()),
                format!("{:?} of length {}", entry.ngram, entry.length),
                "n-grams by length and rank",
                "make the vocabulary again",
            ));
        }
        before = Some(rank);
        rows += 1;
        Ok(())
    })?;
    check_rows(file, record, rows)
}

fn check_rows(file: &Path, record: &FileRecord, rows: u64) -> Result<u64> {
    if rows == record.rows {
        return Ok(rows);
    }
    Err(Error::corrupt(
        file.display().to_string(),
        format!("{rows} rows"),
        format!("{} rows, as its manifest says", record.rows),
        "manifest and file do not belong together: write them again",
    ))
}

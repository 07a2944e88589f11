//! `cloze inspect`: what an artefact is, made from what, its sizes, and a sample as
//! text. Reads manifests and one record batch or the first rows.

use crate::base::error::Result;
use crate::base::size::ByteSize;
use crate::columnar::counts::CountsFile;
use crate::columnar::vocabulary::VocabularyFile;
use crate::columnar::{Document, DocumentFile, Projection};
use crate::evaluation::Evaluation;
use crate::pipeline::evaluate::REPORT;
use crate::pipeline::spiked;
use crate::pipeline::summary::grouped;
use crate::storage::{Artefact, ArtefactKind, FileSource, cache};
use crate::tokenizer::{Tokenizer, read_written};
use std::fmt::Write;
use std::path::Path;

/// Tokens of a document shown as a sample.
const SAMPLE_TOKENS: usize = 60;
/// Rows of a table shown as a sample.
const SAMPLE_ROWS: usize = 10;
/// Files named one by one; more are counted.
const NAMED: usize = 12;

/// Describes the artefact at `path`, or the batch that a training run wrote there.
pub fn inspect(path: &Path) -> Result<String> {
    if spiked::is_one(path) {
        return spiked::show(path);
    }
    let artefact = Artefact::open_any(path)?;
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = describe(&artefact, &mut out);
    match artefact.kind() {
        ArtefactKind::Tokens | ArtefactKind::Shards => sample_documents(&artefact, &mut out)?,
        // A run's words are a file of counts.
        ArtefactKind::Runs | ArtefactKind::Counts => sample_counts(&artefact, &mut out)?,
        ArtefactKind::Vocabulary => sample_vocabulary(&artefact, &mut out)?,
        ArtefactKind::Evaluation => {
            let found = Evaluation::read(&artefact.folder().join(REPORT))?;
            let _ = write!(out, "{found}");
        }
        ArtefactKind::Run
        | ArtefactKind::Export
        | ArtefactKind::Finetuning
        | ArtefactKind::Experiment => {}
    }
    Ok(out)
}

fn describe(artefact: &Artefact, out: &mut String) -> std::fmt::Result {
    let first = &artefact.manifests[0];
    let bytes: u64 = artefact.files().map(|(_, file)| file.bytes).sum();
    let count = artefact.files().count();
    let files = if count == 1 { "file" } else { "files" };
    writeln!(
        out,
        "{}: {}, {count} {files}, {}",
        artefact.path.display(),
        artefact.kind().name(),
        ByteSize(bytes),
    )?;
    writeln!(
        out,
        "  written by cloze {} (format {}), {}, memory bound {}",
        first.cloze, first.format, first.part, first.memory
    )?;
    writeln!(out, "  fingerprint {}", first.fingerprint)?;
    if let Some(tokenizer) = &first.tokenizer {
        let special = &tokenizer.special_tokens;
        let mut roles: Vec<String> = [
            ("mask", special.mask),
            ("cls", special.cls),
            ("sep", special.sep),
            ("pad", special.pad),
            ("unk", special.unk),
        ]
        .iter()
        .filter_map(|(role, id)| id.map(|id| format!("{role} {id}")))
        .collect();
        if !special.sentinels.is_empty() {
            roles.push(format!("{} sentinels", special.sentinels.len()));
        }
        writeln!(
            out,
            "  tokenizer of {} entries ({}), {} path",
            grouped(tokenizer.vocabulary_size),
            roles.join(", "),
            tokenizer.tokenizer_path
        )?;
    }
    writeln!(out, "made from")?;
    for input in first.inputs.iter().take(NAMED) {
        writeln!(
            out,
            "  {}  {}  {}",
            input.path,
            ByteSize(input.bytes),
            input.fingerprint
        )?;
    }
    if first.inputs.len() > NAMED {
        writeln!(out, "  and {} more", first.inputs.len() - NAMED)?;
    }
    writeln!(out, "with\n  {}", first.configuration)?;
    writeln!(out, "holds")?;
    for (name, value) in &first.totals {
        let text = match value.as_u64() {
            Some(_) => grouped(artefact.total(name)),
            None => value.to_string(),
        };
        writeln!(out, "  {:<22} {text}", name.replace('_', " "))?;
    }
    for (path, file) in artefact.files().take(NAMED) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        write!(
            out,
            "  {name}: {}, {} rows",
            ByteSize(file.bytes),
            grouped(file.rows)
        )?;
        match file.tokens {
            Some(tokens) if tokens > 0 => writeln!(
                out,
                ", {} tokens, {:.2} bytes a token",
                grouped(tokens),
                file.bytes as f64 / tokens as f64
            )?,
            _ => writeln!(out)?,
        }
    }
    if count > NAMED {
        writeln!(out, "  and {} more files", count - NAMED)?;
    }
    Ok(())
}

fn sample_documents(artefact: &Artefact, out: &mut String) -> Result<()> {
    let record = artefact.tokenizer()?;
    let tokenizer = read_written(artefact.folder(), record)?;
    let Some((path, file)) = artefact.files().find(|(_, file)| file.rows > 0) else {
        return Ok(());
    };
    let path = cache::copy_of(&path, file.bytes, &file.hash)?;
    let file = DocumentFile::open(FileSource::open(path)?)?;
    let batch = file.batch(0, Projection::ALL)?;
    let document = batch.document(0);
    let _ = writeln!(
        out,
        "sample: document {} (input {}, position {})\n  {}",
        document.id,
        document.id >> 40,
        document.id & ((1 << 40) - 1),
        marked(&document, &tokenizer)
    );
    Ok(())
}

/// The head of a document: words parted by spaces, pieces of a word by `·`, units of
/// several words in `[ ]`.
fn marked(document: &Document<'_>, tokenizer: &Tokenizer) -> String {
    let len = document.tokens.len().min(SAMPLE_TOKENS);
    let starts = |plane: Option<crate::base::boundaries::BoundarySlice<'_>>, at: usize| {
        plane.is_some_and(|bits| at == 0 || bits.get(at))
    };
    let mut out = String::new();
    let mut at = 0;
    while at < len {
        let unit = match document.span_start {
            Some(_) => (at + 1..len)
                .find(|&next| starts(document.span_start, next))
                .unwrap_or(len),
            None => at + 1,
        };
        let words = (at + 1..unit)
            .filter(|&i| starts(document.word_start, i))
            .count();
        if !out.is_empty() && starts(document.word_start, at) {
            out.push(' ');
        }
        if words > 0 {
            out.push('[');
        }
        for i in at..unit {
            if i > at || !starts(document.word_start, i) {
                out.push(if starts(document.word_start, i) {
                    ' '
                } else {
                    '·'
                });
            }
            out += tokenizer.spelling(document.tokens.get(i));
        }
        if words > 0 {
            out.push(']');
        }
        at = unit;
    }
    if document.tokens.len() > len {
        out += " …";
    }
    out
}

fn sample_counts(artefact: &Artefact, out: &mut String) -> Result<()> {
    let mut longest = 0;
    for (path, record) in artefact.files() {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut most: Vec<(u64, String)> = Vec::new();
        if record.rows == 0 || !name.ends_with(".parquet") {
            continue;
        }
        let copy = cache::copy_of(&path, record.bytes, &record.hash)?;
        CountsFile::open(&copy)?.read(|_, text, count| {
            if most.len() < SAMPLE_ROWS || most.last().is_some_and(|(least, _)| count > *least) {
                let at = most.partition_point(|(other, _)| *other >= count);
                most.insert(at, (count, text.to_owned()));
                most.truncate(SAMPLE_ROWS);
            }
            Ok(())
        })?;
        longest += 1;
        if longest > NAMED {
            break;
        }
        let _ = writeln!(out, "most frequent in {name}");
        for (count, text) in most {
            let _ = writeln!(out, "  {:>12}  {text}", grouped(count));
        }
    }
    Ok(())
}

fn sample_vocabulary(artefact: &Artefact, out: &mut String) -> Result<()> {
    for copy in artefact.copies() {
        let (path, _) = copy?;
        let mut shown = (0, 0);
        VocabularyFile::open(&path)?.read(|entry| {
            if shown.0 != entry.length {
                shown = (entry.length, 0);
                let _ = writeln!(out, "best of length {}", entry.length);
            }
            shown.1 += 1;
            if shown.1 <= SAMPLE_ROWS {
                let _ = writeln!(
                    out,
                    "  {:>10.4}  {:>9}  {}",
                    entry.score,
                    grouped(entry.count),
                    entry.ngram
                );
            }
            Ok(())
        })?;
    }
    Ok(())
}

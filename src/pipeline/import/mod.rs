//! `cloze import`: token ids that another program made, to token files as every later
//! stage takes them, with word starts found again from the tokenizer.
//!
//! Files are read one after the other, cut into documents and into chunks of whole
//! documents, which follow from the inputs alone; word starts are found on all threads,
//! and files are written in order. A run that was killed goes on after its last finished
//! file. Ids that the tokenizer does not have end the stage: they are another one's.
//!
//! Cost: a look into a table a token where spellings tell word starts (BERT), else that
//! of tokenising. Memory: two chunks of about half a million tokens a thread, 40 MB a
//! thread of the tokenizer, and what a reader holds (see `exchange`).

mod documents;

use super::tokenize::output::{Output, Totals};
use super::tokenize::rejected::RejectedLog;
use super::tokenize::{Tokenized, check_rejected, input_record};
use crate::base::error::{Error, Result};
use crate::base::fingerprint;
use crate::columnar::writer::Layout;
use crate::config::{DocumentEnd, ImportConfig};
use crate::exchange::{IdFile, Reading, inputs};
use crate::parallel;
use crate::pipeline::stage::{Frame, StageOptions};
use crate::storage::{ArtefactKind, InputRecord, Manifest, Standing, TokenizerRecord, atomic};
use crate::tokenizer::{Tokenizer, WordRestorer, spelling_is_exact};
use documents::{Documents, Drawn, Roles};
use serde_json::Value;
use std::path::Path;

/// A share of tokens by spelling from which on the tokenizer is doubted.
const DOUBTFUL: f64 = 0.1;

/// Imports `config.inputs` into the folder `output`: token files, `tokenizer.json`,
/// `rejected.jsonl` if anything was rejected, and the manifest.
pub fn import(config: &ImportConfig, output: &Path, options: &StageOptions) -> Result<Manifest> {
    config.check()?;
    let tokenizer = Tokenizer::load(&config.tokenizer_keys())?;
    let files = inputs::files(&config.inputs, config.format)?;
    let mut frame = Frame::new(
        ArtefactKind::Tokens,
        output,
        &configuration(config, &tokenizer)?,
        files.iter().map(record).collect::<Result<_>>()?,
        options,
    )?;
    let rejected = output.join(options.part.file_name("rejected", "jsonl"));
    if let Standing::Done(manifest) = frame.standing(options)? {
        let totals = Totals::of_manifest(&manifest);
        check_rejected(config.max_rejected, options.part, &totals, &rejected)?;
        options.progress.note("import", "done before");
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
    write_all(config, &tokenizer, &files, &mut out, &mut log, options)?;
    let (records, totals) = out.finish()?;
    check_rejected(config.max_rejected, options.part, &totals, &rejected)?;
    let json = options.part.file_name("tokenizer", "json");
    atomic::write(output.join(&json), tokenizer.to_json().as_bytes())?;
    frame.manifest().tokenizer = Some(TokenizerRecord {
        file: json,
        fingerprint: tokenizer.fingerprint().to_owned(),
        vocabulary_size: tokenizer.vocabulary_size() as u64,
        special_tokens: tokenizer.special().clone(),
        tokenizer_path: "import".into(),
    });
    records.into_iter().for_each(|file| frame.file(file));
    totals.add_to(&mut frame);
    frame.total("tokens_by_spelling", totals.by_spelling);
    frame.finish()
}

fn write_all(
    config: &ImportConfig,
    tokenizer: &Tokenizer,
    files: &[IdFile],
    out: &mut Output,
    log: &mut RejectedLog,
    options: &StageOptions,
) -> Result<()> {
    let reading = Reading {
        column: config.column.clone(),
        id_type: config.id_type,
        vocabulary_size: tokenizer.vocabulary_size() as u64,
        separated: config.document_end == DocumentEnd::Separator,
    };
    let meter = options.progress.meter("import", "tokens", None);
    let documents = Documents::new(
        files,
        reading,
        Roles::of(tokenizer),
        config,
        options.part,
        out.next(),
    );
    parallel::ordered(
        options.threads,
        documents,
        || {
            let mut words = WordRestorer::new(tokenizer);
            move |drawn: Drawn| Ok(restored(drawn, &mut words))
        },
        |chunk| {
            options.check_stop()?;
            for rejection in &chunk.rejections {
                log.write(rejection)?;
            }
            out.write(&chunk)?;
            if out.text_bytes_in_file() >= config.file_bytes.0 {
                out.cut(log.sync()?)?;
            }
            meter.add(chunk.passed);
            Ok(())
        },
    )?;
    out.cut(log.sync()?)?;
    let totals = out.totals();
    meter.finish(&totals.to_string());
    if totals.rejected > 0 {
        let place = log.path().display();
        let text = format!("{} documents rejected, see {place}", totals.rejected);
        options.progress.warn("import", &text);
    }
    let doubtful = totals.by_spelling as f64 / totals.tokens.max(1) as f64;
    if doubtful > DOUBTFUL {
        let text = format!(
            "{:.1} % of the tokens are not what this tokenizer makes of their text, and their \
             words go by spelling: is it the tokenizer that made them?",
            100.0 * doubtful
        );
        options.progress.warn("import", &text);
    }
    Ok(())
}

/// Finds the word starts of one chunk.
fn restored(drawn: Drawn, words: &mut WordRestorer<&Tokenizer>) -> Tokenized {
    let mut done = Tokenized::begin(drawn.cursor, drawn.ids.len() as u64);
    done.next = Some(drawn.next);
    let mut at = 0;
    for &(_, length) in &drawn.documents {
        let ids = &drawn.ids[at..at + length];
        done.by_spelling += words.restore(ids, &mut done.encoded.word_start);
        done.text_bytes += ids.iter().map(|&id| words.text_bytes(id)).sum::<u64>();
        at += length;
    }
    done.encoded.tokens = drawn.ids;
    done.documents = drawn.documents;
    done.rejections = drawn.rejections;
    done
}

/// What changes the files: not where inputs and tokenizer lie (their content counts),
/// nor what may be rejected. Says by which rule words were found.
fn configuration(config: &ImportConfig, tokenizer: &Tokenizer) -> Result<Value> {
    let mut value = serde_json::to_value(config)
        .map_err(|error| Error::library("configuration of import", error))?;
    if let Some(keys) = value.as_object_mut() {
        keys.remove("inputs");
        keys.remove("max_rejected");
        keys.insert("tokenizer".into(), tokenizer.fingerprint().into());
        let rule = match spelling_is_exact(tokenizer) {
            true => "spelling",
            false => "encoding",
        };
        keys.insert("word_starts".into(), rule.into());
    }
    Ok(value)
}

/// An input as the manifest names it, its index included.
fn record(file: &IdFile) -> Result<InputRecord> {
    let mut record = input_record(&file.path)?;
    if let Some(index) = &file.index {
        let index = input_record(index)?;
        let both = format!("{}\n{}", record.fingerprint, index.fingerprint);
        record.fingerprint = fingerprint::of_bytes(both.as_bytes());
        record.bytes += index.bytes;
    }
    Ok(record)
}

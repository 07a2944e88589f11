//! `cloze inspect` of a batch that a training run wrote since its loss or gradient stood
//! out: what stood out, and each row's key, text and labels.

use crate::base::error::Result;
use crate::config::TokenizeConfig;
use crate::pipeline::summary::grouped;
use crate::tokenizer::Tokenizer;
use crate::training::SpikeFile;
use crate::training::spikes::{ENDING, SpikeRow, Verdict};
use std::fmt::Write;
use std::path::Path;

/// Whether `path` is called as such a file is.
pub fn is_one(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(ENDING) && path.is_file()
}

/// Describes the file at `path`. Its text needs the tokenizer that lies in the folder of
/// its run; elsewhere ids are shown.
pub fn show(path: &Path) -> Result<String> {
    let file = SpikeFile::read(path)?;
    let tokenizer = path
        .parent()
        .and_then(Path::parent)
        .map(|run| run.join("tokenizer.json"))
        .filter(|tokenizer| tokenizer.is_file())
        .map(|tokenizer| {
            Tokenizer::load(&TokenizeConfig {
                tokenizer,
                ..TokenizeConfig::default()
            })
        })
        .transpose()?;
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = describe(path, &file, tokenizer.as_ref(), &mut out);
    Ok(out)
}

fn describe(
    path: &Path,
    file: &SpikeFile,
    tokenizer: Option<&Tokenizer>,
    out: &mut String,
) -> std::fmt::Result {
    let spike = &file.spike;
    let tokens: usize = file.rows.iter().map(|row| row.input.len()).sum();
    let labels: usize = file.rows.iter().map(|row| row.labels.len()).sum();
    let became = match spike.verdict {
        Verdict::Taken => "taken",
        Verdict::Skipped => "passed over",
        Verdict::Stopped => "the end of the run",
    };
    writeln!(
        out,
        "{}: the batch of step {}, {} rows, {} tokens, {} labels",
        path.display(),
        spike.step,
        grouped(file.rows.len() as u64),
        grouped(tokens as u64),
        grouped(labels as u64)
    )?;
    writeln!(out, "  {}", spike.told())?;
    writeln!(
        out,
        "  learning rate {:.3e}; the step was {became}",
        spike.learning_rate
    )?;
    writeln!(
        out,
        "  its rows come again by seed {} and the epoch, row and copy before each; the stream \
         stood at epoch {}, row {}",
        file.seed, file.position.epoch, file.position.row
    )?;
    for row in &file.rows {
        writeln!(
            out,
            "{}/{}/{}  {}",
            row.epoch,
            row.row,
            row.copy,
            text_of(row, tokenizer)
        )?;
    }
    Ok(())
}

/// The tokens of a row as the vocabulary spells them; a predicted one as
/// `input→label`.
fn text_of(row: &SpikeRow, tokenizer: Option<&Tokenizer>) -> String {
    let spelled = |id: u32| match tokenizer.map(|known| known.spelling(id)) {
        Some(spelling) if !spelling.is_empty() => spelling.to_owned(),
        _ => id.to_string(),
    };
    let mut labels = row.predicted.iter().zip(&row.labels).peekable();
    let tokens = (0..).zip(&row.input).map(|(place, &id)| {
        match labels.next_if(|(labelled, _)| **labelled == place) {
            Some((_, &label)) => format!("{}→{}", spelled(id), spelled(label)),
            None => spelled(id),
        }
    });
    tokens.collect::<Vec<_>>().join(" ")
}

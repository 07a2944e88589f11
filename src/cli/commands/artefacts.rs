//! `cloze inspect` and `cloze verify`.

use super::{given, path};
use crate::base::error::Result;
use crate::base::size::ByteSize;
use crate::pipeline;
use crate::pipeline::summary::grouped;
use clap::{ArgMatches, Command};

pub fn inspect_command() -> Command {
    Command::new("inspect")
        .about("What an artefact is, made from what, sizes, a sample as text")
        .arg(path("artefact", "A folder or file that a stage wrote"))
}

pub fn inspect(matches: &ArgMatches) -> Result<()> {
    print!(
        "{}",
        pipeline::inspect::inspect(&given(matches, "artefact"))?
    );
    Ok(())
}

pub fn verify_command() -> Command {
    Command::new("verify")
        .about("Checks every byte of an artefact")
        .arg(path("artefact", "A folder or file that a stage wrote"))
}

pub fn verify(matches: &ArgMatches) -> Result<()> {
    let path = given(matches, "artefact");
    let verified = pipeline::verify::verify(&path)?;
    println!(
        "{}: {} files, {}, {} rows, all as they were written",
        path.display(),
        verified.files,
        ByteSize(verified.bytes),
        grouped(verified.rows)
    );
    Ok(())
}

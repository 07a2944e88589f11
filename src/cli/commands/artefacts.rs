//! `cloze inspect` and `cloze verify`.

use super::{given, path};
use crate::base::error::Result;
use crate::base::size::ByteSize;
use crate::cli::{flags, shared};
use crate::config::{QueryConfig, keys};
use crate::pipeline;
use crate::pipeline::stage::StageOptions;
use crate::pipeline::summary::grouped;
use clap::{Arg, ArgAction, ArgMatches, Command};

pub fn inspect_command() -> Result<Command> {
    let command = Command::new("inspect")
        .about("What an artefact is, made from what, sizes, a sample; and questions to n-grams")
        .arg(path("artefact", "A folder or file that a stage wrote"))
        .arg(
            Arg::new("ngram")
                .long("ngram")
                .help(
                    "Look up this n-gram: count, probability, rank, and the score of every \
                     segmentation",
                )
                .value_name("WORDS")
                .action(ArgAction::Append),
        );
    let command = flags::add::<QueryConfig>(command, &["ngram"])?;
    Ok(shared::add(command))
}

pub fn inspect(matches: &ArgMatches) -> Result<()> {
    let artefact = given(matches, "artefact");
    let mut table = toml::Table::new();
    flags::fill::<QueryConfig>(matches, &mut table)?;
    let config: QueryConfig = keys::from_table("the command line", table)?;
    let text = if config.asks() {
        let options = shared::options(matches, StageOptions::new())?;
        pipeline::query::query(&artefact, &config, &options)?
    } else {
        pipeline::inspect::inspect(&artefact)?
    };
    print!("{text}");
    Ok(())
}

pub fn verify_command() -> Command {
    shared::add_reading(
        Command::new("verify")
            .about("Checks every byte of an artefact")
            .arg(path("artefact", "A folder or file that a stage wrote")),
    )
}

pub fn verify(matches: &ArgMatches) -> Result<()> {
    let path = given(matches, "artefact");
    let options = shared::options(matches, StageOptions::new())?;
    let verified = pipeline::verify::verify(&path, &options)?;
    println!(
        "{}: {} files, {}, {} rows, all as they were written",
        path.display(),
        verified.files,
        ByteSize(verified.bytes),
        grouped(verified.rows)
    );
    Ok(())
}

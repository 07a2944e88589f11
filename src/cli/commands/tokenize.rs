//! `cloze tokenize`.

use super::{given, output};
use crate::base::error::Result;
use crate::cli::{flags, shared};
use crate::config::{TokenizeConfig, keys};
use crate::pipeline::stage::StageOptions;
use crate::pipeline::tokenize::tokenize;
use clap::{Arg, ArgMatches, Command};

pub fn command() -> Result<Command> {
    let command = Command::new("tokenize")
        .about("Raw text to token files")
        .long_about(
            "Raw text to token files: .txt, .md, .jsonl, Parquet, Arrow, WikiExtractor, MosaicML MDS and \
             folders of Hugging Face datasets, plain or compressed (.gz .zst .bz2 .xz).\n\nA document that cannot be read is written to \
             rejected.jsonl with its file, place and reason, and the run goes on.",
        )
        .arg(
            Arg::new("inputs")
                .help("Files, folders and globs")
                .value_name("INPUT")
                .num_args(1..)
                .required(true),
        )
        .arg(output("Folder that the token files go to"));
    Ok(shared::add_all(flags::add::<TokenizeConfig>(
        command,
        &["inputs"],
    )?))
}

pub fn run(matches: &ArgMatches) -> Result<()> {
    let mut table = toml::Table::new();
    flags::fill::<TokenizeConfig>(matches, &mut table)?;
    let inputs = matches
        .get_many::<String>("inputs")
        .into_iter()
        .flatten()
        .map(|input| toml::Value::String(input.clone()))
        .collect();
    table.insert("inputs".into(), toml::Value::Array(inputs));
    let config: TokenizeConfig = keys::from_table("the command line", table)?;
    let options = shared::options(matches, StageOptions::new())?;
    let manifest = tokenize(&config, &given(matches, "output"), &options)?;
    super::print_totals(&manifest);
    Ok(())
}

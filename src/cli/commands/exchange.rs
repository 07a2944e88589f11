//! `cloze import` and `cloze export`.

use super::{given, output, path};
use crate::base::error::Result;
use crate::cli::{flags, shared};
use crate::config::{ExportConfig, ImportConfig, keys};
use crate::pipeline::export::export;
use crate::pipeline::import::import;
use crate::pipeline::stage::StageOptions;
use clap::{Arg, ArgMatches, Command};

pub fn import_command() -> Result<Command> {
    let command = Command::new("import")
        .about("Token ids of another program to token files")
        .long_about(
            "Token ids that another program made to token files: Megatron .bin with .idx, MosaicML \
             MDS, datatrove .ds, Hugging Face datasets (save_to_disk and cache files), Arrow and \
             Parquet with lists of ids.\n\nWhere words start is found again from the tokenizer. \
             Special tokens are left out. The same corpora as text go through `cloze tokenize`.",
        )
        .arg(
            Arg::new("inputs")
                .help("Files, folders, globs, and prefixes of Megatron's")
                .value_name("INPUT")
                .num_args(1..)
                .required(true),
        )
        .arg(output("Folder that the token files go to"));
    Ok(shared::add_all(flags::add::<ImportConfig>(
        command,
        &["inputs"],
    )?))
}

pub fn import_run(matches: &ArgMatches) -> Result<()> {
    let mut table = toml::Table::new();
    flags::fill::<ImportConfig>(matches, &mut table)?;
    let inputs = matches
        .get_many::<String>("inputs")
        .into_iter()
        .flatten()
        .map(|input| toml::Value::String(input.clone()))
        .collect();
    table.insert("inputs".into(), toml::Value::Array(inputs));
    let config: ImportConfig = keys::from_table("the command line", table)?;
    let options = shared::options(matches, StageOptions::new())?;
    let manifest = import(&config, &given(matches, "output"), &options)?;
    super::print_totals(&manifest);
    Ok(())
}

pub fn export_command() -> Result<Command> {
    let command = Command::new("export")
        .about("Token files or shards to Megatron's format or Parquet")
        .arg(path("tokens", "Token files or shards"))
        .arg(output("Folder that the files go to"));
    Ok(shared::add_all(flags::add::<ExportConfig>(command, &[])?))
}

pub fn export_run(matches: &ArgMatches) -> Result<()> {
    let config: ExportConfig = flags::config(matches)?;
    let options = shared::options(matches, StageOptions::new())?;
    let (tokens, output) = (given(matches, "tokens"), given(matches, "output"));
    let manifest = export(&config, &tokens, &output, &options)?;
    super::print_totals(&manifest);
    Ok(())
}

//! `cloze finetune`.

use super::{given, output, path};
use crate::base::error::Result;
use crate::cli::{flags, shared};
use crate::config::FinetuneConfig;
use crate::pipeline::finetune::{Report, finetune};
use crate::pipeline::stage::StageOptions;
use clap::{Arg, ArgMatches, Command, value_parser};
use std::path::PathBuf;

pub fn command() -> Result<Command> {
    let command = Command::new("finetune")
        .about("A model to classifiers of sentences or pairs")
        .arg(path(
            "model",
            "Hugging Face folder of an encoder, or folder that `cloze train` wrote",
        ))
        .arg(
            Arg::new("config")
                .long("config")
                .help("TOML with the keys below")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(output(
            "Folder that report, predictions and the best model go to",
        ));
    Ok(shared::add(shared::add_overwrite(flags::add::<
        FinetuneConfig,
    >(command, &[])?)))
}

pub fn run(matches: &ArgMatches) -> Result<()> {
    let config: FinetuneConfig = flags::config_over_file(matches, "finetune")?;
    let options = shared::options(matches, StageOptions::new())?;
    let folder = given(matches, "output");
    finetune(&config, &given(matches, "model"), &folder, &options)?;
    print!("{}", Report::read(&folder)?);
    Ok(())
}

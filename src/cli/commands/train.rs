//! `cloze train`.

use super::{given, output, path};
use crate::base::error::Result;
use crate::cli::{flags, shared};
use crate::config::TrainConfig;
use crate::pipeline::stage::StageOptions;
use crate::pipeline::train::train;
use clap::{Arg, ArgMatches, Command, value_parser};
use std::path::PathBuf;

pub fn command() -> Result<Command> {
    let command = Command::new("train")
        .about("Shards to a trained model")
        .arg(path("shards", "Folder that `cloze shard` wrote"))
        .arg(
            Arg::new("config")
                .long("config")
                .help("TOML with the keys below, or a pipeline's with a [train] table")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(output(
            "Folder that checkpoints, metrics and the exported model go to",
        ));
    Ok(shared::add(shared::add_overwrite(
        flags::add::<TrainConfig>(command, &[])?,
    )))
}

pub fn run(matches: &ArgMatches) -> Result<()> {
    let config: TrainConfig = flags::config_over_file(matches, "train")?;
    let options = shared::options(matches, StageOptions::new())?;
    let manifest = train(
        &config,
        &given(matches, "shards"),
        &given(matches, "output"),
        &options,
    )?;
    super::print_totals(&manifest);
    Ok(())
}

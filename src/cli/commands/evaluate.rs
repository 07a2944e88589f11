//! `cloze evaluate`.

use super::{given, output, path};
use crate::base::error::Result;
use crate::cli::{flags, shared};
use crate::config::EvaluateConfig;
use crate::evaluation::Evaluation;
use crate::pipeline::evaluate::{REPORT, evaluate};
use crate::pipeline::stage::StageOptions;
use clap::{Arg, ArgMatches, Command, value_parser};
use std::path::PathBuf;

pub fn command() -> Result<Command> {
    let command = Command::new("evaluate")
        .about("A trained model to figures of what it can do, each with its interval")
        .arg(path(
            "model",
            "Folder that `cloze train` wrote, or a Hugging Face folder of a masked language model",
        ))
        .arg(
            Arg::new("shards")
                .long("shards")
                .help("Folder that `cloze shard` wrote; its last rows are held out")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(output("Folder that the figures go to"));
    Ok(shared::add(shared::add_overwrite(flags::add::<
        EvaluateConfig,
    >(command, &[])?)))
}

pub fn run(matches: &ArgMatches) -> Result<()> {
    let config: EvaluateConfig = flags::config(matches)?;
    let options = shared::options(matches, StageOptions::new())?;
    let folder = given(matches, "output");
    let shards = shared::typed::<PathBuf>(matches, "shards");
    evaluate(
        &config,
        &given(matches, "model"),
        shards.as_deref(),
        &folder,
        &options,
    )?;
    print!("{}", Evaluation::read(&folder.join(REPORT))?);
    Ok(())
}

//! `cloze run PIPELINE.toml`.

use super::{given, list, path, set, work};
use crate::base::error::Result;
use crate::cli::shared;
use crate::config::keys;
use crate::pipeline::run::Pipeline;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::path::PathBuf;

pub fn command() -> Command {
    let command = Command::new("run")
        .about("All stages of a pipeline, skipping what is done")
        .arg(path(
            "pipeline",
            "The pipeline's TOML; its paths are relative to it",
        ))
        .args([work(), set()])
        .arg(
            Arg::new("only")
                .long("only")
                .help("Stages to run: tokenize, count, vocabulary, shard, mask, train, evaluate")
                .value_name("STAGE")
                .value_delimiter(',')
                .action(ArgAction::Append),
        );
    shared::add(shared::add_overwrite(command))
}

pub fn run(matches: &ArgMatches) -> Result<()> {
    let file = given(matches, "pipeline");
    let set = list(matches, "set");
    let mut pipeline = Pipeline::read(&file, |table| {
        set.iter().try_for_each(|one| keys::apply(table, one))
    })?;
    if let Some(work) = shared::typed::<PathBuf>(matches, "work") {
        pipeline.work = work;
    }
    let options = shared::options(matches, pipeline.options())?;
    pipeline.config.seed = options.seed;
    let summary = pipeline.run(&list(matches, "only"), &options, |preview| {
        println!("{}", preview.render(super::mask::look_of_terminal()));
    })?;
    println!("\n{summary}");
    Ok(())
}

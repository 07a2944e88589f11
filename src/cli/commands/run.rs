//! `cloze run PIPELINE.toml`.

use super::{given, list, path, set, work};
use crate::base::error::{Error, Result};
use crate::cli::shared;
use crate::config::{PipelineConfig, keys};
use crate::pipeline;
use crate::pipeline::stage::StageOptions;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::path::{Path, PathBuf};

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
    let text = std::fs::read_to_string(&file).map_err(|e| Error::io("read", &file, e))?;
    let mut config: PipelineConfig =
        keys::from_toml(&file.display().to_string(), &text, &list(matches, "set"))?;
    let folder = file.parent().unwrap_or(Path::new(""));
    config.relative_to(folder);
    let work = shared::typed::<PathBuf>(matches, "work")
        .or_else(|| config.work.clone())
        .unwrap_or_else(|| Path::new("runs").join(&config.name));
    let defaults = StageOptions {
        threads: crate::parallel::threads(config.threads),
        memory: config.memory,
        seed: config.seed,
        ..StageOptions::new()
    };
    let options = shared::options(matches, defaults)?;
    config.seed = options.seed;
    let summary = pipeline::run::run(
        &config,
        &work,
        &list(matches, "only"),
        &options,
        |preview| {
            println!("{}", preview.render(super::mask::look_of_terminal()));
        },
    )?;
    println!("\n{summary}");
    Ok(())
}

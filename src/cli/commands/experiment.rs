//! `cloze experiment EXPERIMENT.toml`.

use super::{given, list, path, set, work};
use crate::base::error::Result;
use crate::cli::shared;
use crate::pipeline::experiment::{Do, Experiment};
use crate::pipeline::stage::StageOptions;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::path::{Path, PathBuf};

pub fn command() -> Command {
    let command = Command::new("experiment")
        .about("A grid of trainings over one shard set, measured, with tables and plots")
        .arg(path(
            "experiment",
            "The experiment's TOML; its paths are relative to it",
        ))
        .args([work(), set()])
        .arg(
            Arg::new("report")
                .long("report")
                .help("Trains and measures nothing: tables and plots of what is done")
                .action(ArgAction::SetTrue),
        );
    shared::add_all(command)
}

pub fn run(matches: &ArgMatches) -> Result<()> {
    let mut experiment = Experiment::read(&given(matches, "experiment"), &list(matches, "set"))?;
    let config = &experiment.config;
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
    experiment.config.seed = options.seed;
    let what = match matches.get_flag("report") {
        true => Do::Report,
        false => Do::All,
    };
    match experiment.run(&work, what, &options)? {
        Some(results) => println!("\n{results}\nreport  {}", work.join("report").display()),
        None => println!("this part is done; the report is written once all runs are"),
    }
    Ok(())
}

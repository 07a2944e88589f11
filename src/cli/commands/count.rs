//! `cloze count`.

use super::{given, output};
use crate::base::error::{Error, Result};
use crate::cli::{flags, shared};
use crate::config::{CountConfig, keys};
use crate::pipeline::count::count;
use crate::pipeline::merge::{counted_with, merge, merge_to_run};
use crate::pipeline::runs::count_run;
use crate::pipeline::stage::StageOptions;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::path::PathBuf;

pub fn command() -> Result<Command> {
    let command = Command::new("count")
        .about("Token files to exact n-gram counts, at once or in parts that are merged")
        .arg(
            Arg::new("tokens")
                .help("Folder that `cloze tokenize` wrote")
                .value_name("TOKENS")
                .value_parser(value_parser!(PathBuf))
                .required_unless_present("merge"),
        )
        .arg(
            Arg::new("merge")
                .long("merge")
                .help(
                    "Join the runs in these folders to counts (with --runs: to one run): all \
                     parts of a text, or texts that came later",
                )
                .value_name("RUNS")
                .value_parser(value_parser!(PathBuf))
                .num_args(1..)
                .conflicts_with("tokens"),
        )
        .arg(
            Arg::new("runs")
                .long("runs")
                .help(
                    "Write a sorted run with nothing left out, to be merged with others; \
                     --part I --of N does so too",
                )
                .action(ArgAction::SetTrue),
        )
        .arg(output("Folder that the counts, or the run, go to"));
    Ok(shared::add_all(flags::add::<CountConfig>(command, &[])?))
}

pub fn run(matches: &ArgMatches) -> Result<()> {
    let options = shared::options(matches, StageOptions::new())?;
    let output = given(matches, "output");
    let runs = matches.get_flag("runs");
    let merged: Vec<PathBuf> = matches
        .get_many("merge")
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    let manifest = if merged.is_empty() {
        let config: CountConfig = flags::config(matches)?;
        let tokens = given(matches, "tokens");
        if runs || matches.contains_id("part") {
            count_run(&config, &tokens, &output, &options)?
        } else {
            count(&config, &tokens, &output, &options)?
        }
    } else if runs {
        merge_to_run(&merged, &output, &options)?
    } else {
        merge(
            &merged_config(matches, &merged)?,
            &merged,
            &output,
            &options,
        )?
    };
    super::print_totals(&manifest);
    Ok(())
}

/// What the runs were counted with, and what was typed over it.
fn merged_config(matches: &ArgMatches, runs: &[PathBuf]) -> Result<CountConfig> {
    let mut table = toml::Table::try_from(counted_with(runs)?)
        .map_err(|error| Error::library("configuration of runs", error))?;
    flags::fill::<CountConfig>(matches, &mut table)?;
    keys::from_table("the command line", table)
}

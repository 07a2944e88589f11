//! `cloze count`.

use super::{given, output};
use crate::base::error::{Error, Result};
use crate::cli::{flags, shared};
use crate::config::{CountConfig, TokenizeConfig, keys};
use crate::pipeline::count::{NOT_OF_TEXT, Source, count};
use crate::pipeline::merge::{counted_with, merge, merge_to_run};
use crate::pipeline::runs::count_run;
use crate::pipeline::stage::StageOptions;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::path::PathBuf;

pub fn command() -> Result<Command> {
    let command = Command::new("count")
        .about(
            "Token files, or raw text, to exact n-gram counts, at once or in parts that are merged",
        )
        .arg(
            Arg::new("tokens")
                .help("Folder that `cloze tokenize` wrote")
                .value_name("TOKENS")
                .value_parser(value_parser!(PathBuf))
                .required_unless_present_any(["merge", "input"]),
        )
        .arg(
            Arg::new("input")
                .long("input")
                .help(
                    "Count raw text instead: files, folders and globs; words are cut by \
                     --tokenizer, or without one at Unicode's word boundaries",
                )
                .value_name("INPUT")
                .num_args(1..)
                .conflicts_with_all(["tokens", "merge"]),
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
    let command = flags::add::<CountConfig>(command, &[])?;
    Ok(shared::add_all(flags::add::<TokenizeConfig>(
        command,
        NOT_OF_TEXT,
    )?))
}

/// Token files, or raw text as it is to be read.
fn source(matches: &ArgMatches) -> Result<Source> {
    let inputs: Vec<toml::Value> = matches
        .get_many::<String>("input")
        .into_iter()
        .flatten()
        .map(|input| toml::Value::String(input.clone()))
        .collect();
    let mut table = toml::Table::new();
    flags::fill::<TokenizeConfig>(matches, &mut table)?;
    if inputs.is_empty() {
        if let Some(key) = table.keys().next() {
            return Err(Error::usage(
                format!("--{}", key.replace('_', "-")),
                "a flag for raw text, but no --input",
                "--input with the text to count",
                "leave the flag out to count token files",
            ));
        }
        return Ok(Source::Tokens(given(matches, "tokens")));
    }
    table.insert("inputs".into(), toml::Value::Array(inputs));
    let text: TokenizeConfig = keys::from_table("the command line", table)?;
    Ok(text.into())
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
        let source = source(matches)?;
        if runs || matches.contains_id("part") {
            count_run(&config, source, &output, &options)?
        } else {
            count(&config, source, &output, &options)?
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

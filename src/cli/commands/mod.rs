//! The subcommands: what each takes, and what it does.

mod artefacts;
mod count;
mod evaluate;
mod exchange;
mod experiment;
mod finetune;
mod mask;
mod plot;
mod run;
mod shard;
mod tokenize;
mod train;
mod vocabulary;

use crate::base::error::Result;
use crate::pipeline::summary::grouped;
use crate::storage::Manifest;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::path::PathBuf;

/// All subcommands, in the order of the help.
pub fn all() -> Result<Vec<Command>> {
    Ok(vec![
        run::command(),
        tokenize::command()?,
        exchange::import_command()?,
        count::command()?,
        vocabulary::command()?,
        shard::command()?,
        mask::command()?,
        train::command()?,
        experiment::command(),
        evaluate::command()?,
        finetune::command()?,
        plot::command(),
        exchange::export_command()?,
        artefacts::inspect_command()?,
        artefacts::verify_command(),
    ])
}

/// Runs the subcommand `name`.
pub fn run(name: &str, matches: &ArgMatches) -> Result<()> {
    match name {
        "run" => run::run(matches),
        "tokenize" => tokenize::run(matches),
        "import" => exchange::import_run(matches),
        "export" => exchange::export_run(matches),
        "count" => count::run(matches),
        "vocabulary" => vocabulary::run(matches),
        "shard" => shard::run(matches),
        "mask" => mask::run(matches),
        "train" => train::run(matches),
        "experiment" => experiment::run(matches),
        "evaluate" => evaluate::run(matches),
        "finetune" => finetune::run(matches),
        "plot" => plot::run(matches),
        "inspect" => artefacts::inspect(matches),
        _ => artefacts::verify(matches),
    }
}

/// A path that must be given.
fn path(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .help(help)
        .value_name(name.to_uppercase())
        .value_parser(value_parser!(PathBuf))
        .required(true)
}

/// The flag `--output`.
fn output(help: &'static str) -> Arg {
    Arg::new("output")
        .long("output")
        .short('o')
        .help(help)
        .value_name("PATH")
        .value_parser(value_parser!(PathBuf))
        .required(true)
}

/// The flag `--work`, of what a TOML describes.
fn work() -> Arg {
    Arg::new("work")
        .long("work")
        .help("Folder that everything goes to; without it, `work` of the TOML or runs/NAME")
        .value_name("DIR")
        .value_parser(value_parser!(PathBuf))
}

/// The flag `--set`, of what a TOML describes.
fn set() -> Arg {
    Arg::new("set")
        .long("set")
        .help("Sets a key over the file, as in --set train.steps=500")
        .value_name("KEY=VALUE")
        .action(ArgAction::Append)
}

/// All values of a flag that may be given several times.
fn list(matches: &ArgMatches, name: &str) -> Vec<String> {
    let values = matches.get_many::<String>(name);
    values.into_iter().flatten().cloned().collect()
}

/// The path of a required argument.
fn given(matches: &ArgMatches, name: &str) -> PathBuf {
    matches
        .get_one::<PathBuf>(name)
        .cloned()
        .unwrap_or_default()
}

/// What a stage counted, one total a line.
fn print_totals(manifest: &Manifest) {
    for (name, value) in &manifest.totals {
        let text = match value {
            serde_json::Value::Number(n) => match n.as_u64() {
                Some(whole) => grouped(whole),
                None => format!("{:.4}", n.as_f64().unwrap_or(f64::NAN)),
            },
            other => other.to_string(),
        };
        println!("{:>24}  {text}", name.replace('_', " "));
    }
}

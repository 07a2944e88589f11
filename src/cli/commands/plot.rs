//! `cloze plot`.

use super::{given, output};
use crate::base::error::Result;
use crate::pipeline::plot_runs::{Against, plot_runs};
use clap::{Arg, ArgMatches, Command, value_parser};
use std::path::PathBuf;

pub fn command() -> Command {
    Command::new("plot")
        .about("Draws training runs together: losses, learning rate and rates, as SVG")
        .arg(
            Arg::new("runs")
                .help("Folders that `cloze train` wrote or writes")
                .value_name("RUN")
                .value_parser(value_parser!(PathBuf))
                .num_args(1..)
                .required(true),
        )
        .arg(
            Arg::new("against")
                .long("against")
                .help("What they are drawn against")
                .value_parser(["steps", "tokens"])
                .default_value("steps"),
        )
        .arg(output(
            "File that the picture goes to, which ends in .svg or .png",
        ))
}

pub fn run(matches: &ArgMatches) -> Result<()> {
    let runs: Vec<PathBuf> = matches
        .get_many::<PathBuf>("runs")
        .map(|runs| runs.cloned().collect())
        .unwrap_or_default();
    let against = match matches.get_one::<String>("against").map(String::as_str) {
        Some("tokens") => Against::Tokens,
        _ => Against::Steps,
    };
    plot_runs(&runs, against, &given(matches, "output"))
}

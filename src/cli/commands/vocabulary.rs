//! `cloze vocabulary`.

use super::{given, output, path};
use crate::base::error::Result;
use crate::cli::{flags, shared};
use crate::config::VocabularyConfig;
use crate::pipeline::plot::plot;
use crate::pipeline::stage::StageOptions;
use crate::pipeline::vocabulary::vocabulary;
use clap::{Arg, ArgMatches, Command, value_parser};
use std::path::PathBuf;

pub fn command() -> Result<Command> {
    let command = Command::new("vocabulary")
        .about("N-gram counts, or a published list, to a masking vocabulary")
        .arg(
            path(
                "counts",
                "Folder that `cloze count` wrote; none with --import",
            )
            .required(false)
            .required_unless_present("import"),
        )
        .arg(
            Arg::new("tokens")
                .long("tokens")
                .help("Token files to report the coverage of")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            Arg::new("plot")
                .long("plot")
                .help("Draw coverage and score against rank, with the size marked, as SVG or PNG")
                .value_name("FILE.svg|FILE.png")
                .value_parser(value_parser!(PathBuf))
                .requires("counts"),
        )
        .arg(output("File that the vocabulary goes to, as Parquet"));
    Ok(shared::add(shared::add_overwrite(flags::add::<
        VocabularyConfig,
    >(command, &[])?)))
}

pub fn run(matches: &ArgMatches) -> Result<()> {
    let config: VocabularyConfig = flags::config(matches)?;
    let options = shared::options(matches, StageOptions::new())?;
    let counts = shared::typed::<PathBuf>(matches, "counts");
    let tokens = shared::typed::<PathBuf>(matches, "tokens");
    let manifest = vocabulary(
        &config,
        counts.as_deref(),
        tokens.as_deref(),
        &given(matches, "output"),
        &options,
    )?;
    if let (Some(counts), Some(file)) = (&counts, shared::typed::<PathBuf>(matches, "plot")) {
        plot(&config, counts, &file, &options)?;
    }
    super::print_totals(&manifest);
    Ok(())
}

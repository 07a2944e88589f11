//! `cloze shard`.

use super::{given, output, path};
use crate::base::error::Result;
use crate::cli::{flags, shared};
use crate::config::ShardConfig;
use crate::pipeline::shard::shard;
use crate::pipeline::stage::StageOptions;
use clap::{Arg, ArgMatches, Command, value_parser};
use std::path::PathBuf;

pub fn command() -> Result<Command> {
    let command = Command::new("shard")
        .about("Token files and a masking vocabulary to shards")
        .arg(path("tokens", "Folder that `cloze tokenize` wrote"))
        .arg(
            Arg::new("vocabulary")
                .long("vocabulary")
                .help("Masking vocabulary; without it shards have words only")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(output("Folder that the shards go to"));
    Ok(shared::add_all(flags::add::<ShardConfig>(command, &[])?))
}

pub fn run(matches: &ArgMatches) -> Result<()> {
    let config: ShardConfig = flags::config(matches)?;
    let options = shared::options(matches, StageOptions::new())?;
    let vocabulary = shared::typed::<PathBuf>(matches, "vocabulary");
    let manifest = shard(
        &config,
        &given(matches, "tokens"),
        vocabulary.as_deref(),
        &given(matches, "output"),
        &options,
    )?;
    super::print_totals(&manifest);
    Ok(())
}

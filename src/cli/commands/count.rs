//! `cloze count`.

use super::{given, output, path};
use crate::base::error::Result;
use crate::cli::{flags, shared};
use crate::config::CountConfig;
use crate::pipeline::count::count;
use crate::pipeline::stage::StageOptions;
use clap::{ArgMatches, Command};

pub fn command() -> Result<Command> {
    let command = Command::new("count")
        .about("Token files to exact n-gram counts")
        .arg(path("tokens", "Folder that `cloze tokenize` wrote"))
        .arg(output("Folder that the counts go to"));
    Ok(shared::add_all(flags::add::<CountConfig>(command, &[])?))
}

pub fn run(matches: &ArgMatches) -> Result<()> {
    let config: CountConfig = flags::config(matches)?;
    let options = shared::options(matches, StageOptions::new())?;
    let manifest = count(
        &config,
        &given(matches, "tokens"),
        &given(matches, "output"),
        &options,
    )?;
    super::print_totals(&manifest);
    Ok(())
}

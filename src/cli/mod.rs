//! Layer 8, the command line: one subcommand a stage. It turns what was typed into a
//! configuration, calls the stage and prints its summary. The only place that names
//! clap.

mod commands;
pub mod flags;
mod shared;
mod stop;

use crate::base::error::Result;
use clap::Command;
use std::process::ExitCode;

/// Runs the command that the process was started with. Exit codes: 0 done, 1 failed,
/// 2 wrong use.
pub fn main() -> ExitCode {
    let command = match command() {
        Ok(command) => command,
        Err(error) => return failed(&error),
    };
    let matches = command.get_matches();
    let outcome = match matches.subcommand() {
        Some((name, matches)) => commands::run(name, matches),
        None => Ok(()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &crate::base::error::Error) -> ExitCode {
    eprintln!("cloze: {error}");
    ExitCode::from(error.exit_code())
}

/// The whole command line.
pub fn command() -> Result<Command> {
    let mut command = Command::new("cloze")
        .version(env!("CARGO_PKG_VERSION"))
        .about("The pipeline and trainer for masked language models")
        .subcommand_required(true)
        .arg_required_else_help(true);
    for subcommand in commands::all()? {
        command = command.subcommand(subcommand);
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_well_formed() {
        super::command().unwrap().debug_assert();
    }
}

//! Layer 8, the command line: one subcommand a stage. It turns what was typed into a
//! configuration, calls the stage and prints its summary. The only place that names
//! clap.

mod commands;
pub mod flags;
mod shared;
mod stop;

use crate::base::error::Result;
use clap::Command;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command that the process was started with. Exit codes: 0 done, 1 failed,
/// 2 wrong use.
pub fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os()))
}

/// Runs the command of `arguments`, the first of which is the name of the program; its exit
/// code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let command = match command() {
        Ok(command) => command,
        Err(error) => return failed(&error),
    };
    let matches = match command.try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version come as errors, too; a closed terminal hears of neither.
            let _ = error.print();
            return error.exit_code() as u8;
        }
    };
    let outcome = match matches.subcommand() {
        Some((name, matches)) => commands::run(name, matches),
        None => Ok(()),
    };
    match outcome {
        Ok(()) => 0,
        Err(error) => failed(&error),
    }
}

fn failed(error: &crate::base::error::Error) -> u8 {
    eprintln!("cloze: {error}");
    error.exit_code()
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

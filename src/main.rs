//! The `cloze` command: reads the command line, runs the stage, prints what is wrong.

use std::process::ExitCode;

fn main() -> ExitCode {
    cloze::cli::main()
}

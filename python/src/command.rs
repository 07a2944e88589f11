//! The command line, which the wheel brings as `cloze`.

use pyo3::prelude::*;
use std::ffi::OsString;

/// Runs the command of `arguments`, the first of which is the name of the program; its exit
/// code. It takes over Ctrl-C and prints as the program does.
#[pyfunction]
pub fn run(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| cloze::cli::run(arguments))
}

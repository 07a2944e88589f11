//! Errors of the library as Python's exceptions, with the same text. The classes are those
//! of `cloze/errors.py`; a file that the system refuses is the `OSError` that Python has for
//! the reason.

use cloze::base::error::{Error, Finding};
use pyo3::exceptions::{
    PyFileExistsError, PyFileNotFoundError, PyIsADirectoryError, PyKeyboardInterrupt,
    PyNotADirectoryError, PyOSError, PyPermissionError,
};
use pyo3::prelude::*;
use pyo3::types::PyType;
use std::io;
use std::path::Path;

/// Makes the exception for `error`.
pub fn exception(error: Error) -> PyErr {
    Python::attach(|py| match &error {
        Error::Interrupted => PyKeyboardInterrupt::new_err(error.to_string()),
        Error::Io {
            action,
            path,
            source,
        } => of_system(py, &error, action, path, source),
        Error::Usage(finding) => of_finding(py, "UsageError", &error, finding),
        Error::Input(finding) => of_finding(py, "InputError", &error, finding),
        Error::Missing(finding) => of_finding(py, "MissingError", &error, finding),
        Error::Corrupt(finding) => of_finding(py, "CorruptError", &error, finding),
        Error::Mismatch(finding) => of_finding(py, "MismatchError", &error, finding),
        Error::Resource(finding) => of_finding(py, "ResourceError", &error, finding),
        Error::Diverged(finding) => of_finding(py, "DivergedError", &error, finding),
        _ => named(py, "Error", &error),
    })
}

/// Results of the library, in functions that Python calls.
pub trait OrException<T> {
    /// The value, or the exception for the error.
    fn or_exception(self) -> PyResult<T>;
}

impl<T> OrException<T> for Result<T, Error> {
    fn or_exception(self) -> PyResult<T> {
        self.map_err(exception)
    }
}

fn named(py: Python<'_>, class: &str, error: &Error) -> PyErr {
    let class = py
        .import("cloze.errors")
        .and_then(|module| Ok(module.getattr(class)?.cast_into::<PyType>()?));
    match class {
        Ok(class) => PyErr::from_type(class, error.to_string()),
        Err(missing) => missing,
    }
}

fn of_finding(py: Python<'_>, class: &str, error: &Error, finding: &Finding) -> PyErr {
    let made = named(py, class, error);
    let value = made.value(py);
    for (name, text) in [
        ("place", &finding.place),
        ("found", &finding.found),
        ("expected", &finding.expected),
        ("remedy", &finding.remedy),
    ] {
        if let Err(error) = value.setattr(name, text) {
            return error;
        }
    }
    made
}

/// As Python shows its own: number, words and file, which it puts together itself.
fn of_system(
    py: Python<'_>,
    error: &Error,
    action: &str,
    path: &Path,
    source: &io::Error,
) -> PyErr {
    let class = match source.kind() {
        io::ErrorKind::NotFound => py.get_type::<PyFileNotFoundError>(),
        io::ErrorKind::PermissionDenied => py.get_type::<PyPermissionError>(),
        io::ErrorKind::AlreadyExists => py.get_type::<PyFileExistsError>(),
        io::ErrorKind::IsADirectory => py.get_type::<PyIsADirectoryError>(),
        io::ErrorKind::NotADirectory => py.get_type::<PyNotADirectoryError>(),
        _ => py.get_type::<PyOSError>(),
    };
    let Some(number) = source.raw_os_error() else {
        return PyErr::from_type(class, error.to_string());
    };
    let words = source.to_string();
    let words = words.split(" (os error").next().unwrap_or_default();
    let told = format!("cannot {action}: {words}");
    PyErr::from_type(class, (number, told, path.display().to_string()))
}

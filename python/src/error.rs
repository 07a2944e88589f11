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
        Error::Io { path, source, .. } => of_system(py, &error, path, source),
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

fn of_system(py: Python<'_>, error: &Error, path: &Path, source: &io::Error) -> PyErr {
    let text = error.to_string();
    let made = match source.kind() {
        io::ErrorKind::NotFound => PyFileNotFoundError::new_err(text),
        io::ErrorKind::PermissionDenied => PyPermissionError::new_err(text),
        io::ErrorKind::AlreadyExists => PyFileExistsError::new_err(text),
        io::ErrorKind::IsADirectory => PyIsADirectoryError::new_err(text),
        io::ErrorKind::NotADirectory => PyNotADirectoryError::new_err(text),
        _ => PyOSError::new_err(text),
    };
    let value = made.value(py);
    let number = source.raw_os_error();
    match value
        .setattr("errno", number)
        .and_then(|()| value.setattr("filename", path))
    {
        Ok(()) => made,
        Err(error) => error,
    }
}

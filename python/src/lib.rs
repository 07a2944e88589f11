//! The native part of the Python package `cloze`: classes and functions over the library.
//! Arguments become configurations, results become NumPy arrays, and errors become
//! exceptions; every rule is in the library. What takes long runs without the interpreter's
//! lock and looks for Ctrl-C.
//!
//! `cloze/_native.pyi` says how each looks from Python.

mod arrays;
mod artefact;
mod collator;
mod command;
mod error;
mod loader;
mod page;
mod stages;
mod vocabulary;

use pyo3::prelude::*;

#[pymodule(name = "_native")]
mod native {
    #[pymodule_export]
    use crate::artefact::Artefact;
    #[pymodule_export]
    use crate::collator::Collator;
    #[pymodule_export]
    use crate::command::run;
    #[pymodule_export]
    use crate::loader::{Batches, Shards};
    #[pymodule_export]
    use crate::page::Pages;
    #[pymodule_export]
    use crate::stages::stage;
    #[pymodule_export]
    use crate::vocabulary::{Cutter, Lookup};

    /// The version of cloze.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}

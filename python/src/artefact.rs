//! What a stage wrote: `cloze.artefacts` has the classes around this.

use crate::error::OrException;
use cloze::base::error::Error;
use cloze::columnar::stream::{CAPSULE, RowStream};
use cloze::storage::{self, ArtefactKind};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// An artefact on disk, opened: its manifests were read.
#[pyclass(frozen, module = "cloze._native")]
pub struct Artefact {
    artefact: storage::Artefact,
}

#[pymethods]
impl Artefact {
    /// The artefact at `path`, which has to be of this kind.
    #[new]
    #[pyo3(signature = (path, kind=None))]
    fn new(py: Python<'_>, path: PathBuf, kind: Option<&str>) -> PyResult<Self> {
        let kind = kind.map(kind_named).transpose().or_exception()?;
        let artefact = py.detach(|| match kind {
            Some(kind) => storage::Artefact::open(&path, kind),
            None => storage::Artefact::open_any(&path),
        });
        Ok(Self {
            artefact: artefact.or_exception()?,
        })
    }

    #[getter]
    fn kind(&self) -> String {
        match serde_json::to_value(self.artefact.kind()) {
            Ok(Value::String(name)) => name,
            _ => self.artefact.kind().name().to_owned(),
        }
    }

    /// Rows of all files.
    #[getter]
    fn rows(&self) -> u64 {
        self.artefact.files().map(|(_, file)| file.rows).sum()
    }

    #[getter]
    fn content_fingerprint(&self) -> String {
        self.artefact.content_fingerprint()
    }

    /// The manifests of all parts, as a JSON list.
    fn manifests(&self) -> PyResult<String> {
        json(&self.artefact.manifests).or_exception()
    }

    /// What was counted, over all parts, as a JSON object.
    fn totals(&self) -> PyResult<String> {
        let totals: Map<String, Value> = self.artefact.manifests[0]
            .totals
            .iter()
            .map(|(name, value)| match value.as_u64() {
                Some(_) => (name.clone(), json!(self.artefact.total(name))),
                None => (name.clone(), value.clone()),
            })
            .collect();
        json(&totals).or_exception()
    }

    /// The rows as an `ArrowArrayStream` in a capsule of the Arrow PyCapsule interface.
    #[pyo3(signature = (columns=None))]
    fn stream<'py>(
        &self,
        py: Python<'py>,
        columns: Option<Vec<String>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let stream = RowStream::of(&self.artefact, columns.as_deref()).or_exception()?;
        PyCapsule::new_with_value(py, stream, CAPSULE)
    }
}

fn kind_named(name: &str) -> Result<ArtefactKind, Error> {
    serde_json::from_value(name.into()).map_err(|error| {
        Error::usage(
            "kind",
            format!("{name:?}"),
            error.to_string(),
            "name a kind of artefact",
        )
    })
}

fn json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::library("writing JSON", error))
}

//! Batches as pages for notebooks: `cloze.batch` is the class around this.

use crate::error::OrException;
use cloze::base::error::Result;
use cloze::config::TokenizeConfig;
use cloze::pipeline::preview::batch::{BatchIds, ShownBatch};
use cloze::pipeline::preview::html;
use cloze::storage::{Artefact, place};
use cloze::tokenizer::{Tokenizer, read_written};
use numpy::{PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use std::path::{Path, PathBuf};

/// Makes pages of batches, with a tokenizer that knows what their ids say.
#[pyclass(frozen, module = "cloze._native")]
pub struct Pages {
    tokenizer: Tokenizer,
}

#[pymethods]
impl Pages {
    /// With the tokenizer of the shards at `path`, or the tokenizer there.
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let tokenizer = py.detach(|| tokenizer_at(&path)).or_exception()?;
        Ok(Self { tokenizer })
    }

    /// A page of the first `most` rows, and its line on all rows.
    fn batch(
        &self,
        py: Python<'_>,
        input_ids: PyReadonlyArray2<'_, i64>,
        attention_mask: PyReadonlyArray2<'_, i64>,
        labels: PyReadonlyArray2<'_, i64>,
        most: usize,
    ) -> PyResult<(String, String)> {
        let ids = BatchIds {
            length: input_ids.shape()[1],
            input_ids: input_ids.as_slice()?,
            attention_mask: attention_mask.as_slice()?,
            labels: labels.as_slice()?,
        };
        py.detach(|| {
            let batch = ShownBatch::new(ids, most, &self.tokenizer)?;
            Ok((html::batch(&batch), batch.shares()))
        })
        .or_exception()
    }
}

fn tokenizer_at(path: &Path) -> Result<Tokenizer> {
    let written = place::is_folder(path)?
        .then(|| Artefact::open_any(path))
        .and_then(Result::ok);
    if let Some(artefact) = written {
        return read_written(artefact.folder(), artefact.tokenizer()?);
    }
    Tokenizer::load(&TokenizeConfig {
        tokenizer: path.to_owned(),
        ..TokenizeConfig::default()
    })
}

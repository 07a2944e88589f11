//! Rows of ids that were cut elsewhere, masked: `cloze.collator` is the class around this.

use crate::arrays;
use crate::error::OrException;
use cloze::base::generator::Key;
use cloze::base::token::TokenId;
use cloze::batches::{self, Columns, LabelForm};
use cloze::config::{CollatorConfig, RowLayout, keys};
use cloze::masking::Stamp;
use cloze::pipeline::collator;
use numpy::PyReadonlyArray1;
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::sync::{Mutex, PoisonError};

/// Masks rows of ids.
#[pyclass(frozen, module = "cloze._native")]
pub struct Collator {
    collator: Mutex<batches::Collator>,
    pad: TokenId,
}

#[pymethods]
impl Collator {
    #[new]
    fn new(py: Python<'_>, config: &str) -> PyResult<Self> {
        let opened = py.detach(|| {
            let config: CollatorConfig = keys::from_json("DataCollator", config)?;
            collator::open(&config)
        });
        let collator = opened.or_exception()?;
        Ok(Self {
            pad: collator.pad(),
            collator: Mutex::new(collator),
        })
    }

    /// The token that fills up short rows.
    #[getter]
    fn pad(&self) -> TokenId {
        self.pad
    }

    fn collate<'py>(
        &self,
        py: Python<'py>,
        rows: Vec<Bound<'py, PyAny>>,
        samples: Vec<u64>,
        place: (u64, u64, u64),
        multiple_of: usize,
        sparse: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let (seed, epoch, step) = place;
        if samples.len() != rows.len() {
            let text = format!("{} samples for {} rows", samples.len(), rows.len());
            return Err(PyValueError::new_err(text));
        }
        let mut ids = Vec::new();
        let mut ends = Vec::with_capacity(rows.len());
        for (number, row) in rows.iter().enumerate() {
            append(row, &mut ids).map_err(|error| named(py, number, error))?;
            ends.push(ids.len());
        }
        let form = match sparse {
            true => LabelForm::Sparse,
            false => LabelForm::Dense,
        };
        let columns = py.detach(|| {
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let rows: Vec<(&[TokenId], Key)> = starts
                .zip(&ends)
                .zip(&samples)
                .map(|((start, &end), &sample)| {
                    let key = Key {
                        seed,
                        epoch,
                        sample,
                        copy: 0,
                    };
                    (&ids[start..end], key)
                })
                .collect();
            let first = Stamp {
                step,
                place: 0,
                rows: rows.len() as u32,
            };
            let mut collator = self.collator.lock().unwrap_or_else(PoisonError::into_inner);
            let batch = collator.collate(rows.into_iter(), multiple_of, first)?;
            Ok(Columns::new(&batch, RowLayout::Document, form))
        });
        arrays::dictionary(py, columns.or_exception()?)
    }
}

/// Says which row was wrong.
fn named(py: Python<'_>, row: usize, error: PyErr) -> PyErr {
    let text = format!("row {row}: {}", error.value(py));
    match error.is_instance_of::<PyTypeError>(py) {
        true => PyTypeError::new_err(text),
        false => PyValueError::new_err(text),
    }
}

/// Appends the ids of a list, an array or a tensor.
fn append(row: &Bound<'_, PyAny>, ids: &mut Vec<TokenId>) -> PyResult<()> {
    if let Ok(list) = row.cast::<PyList>() {
        ids.reserve(list.len());
        for id in list.iter() {
            ids.push(id.extract()?);
        }
        return Ok(());
    }
    if let Ok(array) = row.extract::<PyReadonlyArray1<'_, i64>>() {
        return widths(&array, ids);
    }
    if let Ok(array) = row.extract::<PyReadonlyArray1<'_, i32>>() {
        return widths(&array, ids);
    }
    if let Ok(array) = row.extract::<PyReadonlyArray1<'_, u32>>() {
        return widths(&array, ids);
    }
    if let Ok(array) = row.extract::<PyReadonlyArray1<'_, u16>>() {
        return widths(&array, ids);
    }
    if row.hasattr("numpy")? {
        return append(&row.call_method0("numpy")?, ids);
    }
    ids.extend(row.extract::<Vec<TokenId>>()?);
    Ok(())
}

fn widths<T>(array: &PyReadonlyArray1<'_, T>, ids: &mut Vec<TokenId>) -> PyResult<()>
where
    T: numpy::Element + Copy,
    TokenId: TryFrom<T>,
{
    for &id in array.as_array() {
        let id = TokenId::try_from(id);
        ids.push(id.map_err(|_| PyOverflowError::new_err("an id below 0 or above 2³²"))?);
    }
    Ok(())
}

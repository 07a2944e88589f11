//! Columns as NumPy arrays, which take over their memory: nothing is copied.

use cloze::batches::{Columns, Labels};
use numpy::{Element, PyArray1, PyArrayMethods};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The columns by the names that models take them by.
pub fn dictionary(py: Python<'_>, columns: Columns) -> PyResult<Bound<'_, PyDict>> {
    let (rows, length) = (columns.rows, columns.length);
    let out = PyDict::new(py);
    let ids = matrix(py, columns.input_ids, rows, length)?;
    out.set_item(intern!(py, "input_ids"), ids)?;
    let mask = matrix(py, columns.attention_mask, rows, length)?;
    out.set_item(intern!(py, "attention_mask"), mask)?;
    if let Some(positions) = columns.position_ids {
        let positions = matrix(py, positions, rows, length)?;
        out.set_item(intern!(py, "position_ids"), positions)?;
    }
    if let Some(ends) = columns.cu_seqlens {
        out.set_item(intern!(py, "cu_seqlens"), PyArray1::from_vec(py, ends))?;
    }
    match columns.labels {
        Labels::Dense { labels, width } => {
            out.set_item(intern!(py, "labels"), matrix(py, labels, rows, width)?)?;
        }
        Labels::Sparse {
            positions, labels, ..
        } => {
            let positions = PyArray1::from_vec(py, positions);
            out.set_item(intern!(py, "masked_positions"), positions)?;
            let labels = PyArray1::from_vec(py, labels);
            out.set_item(intern!(py, "masked_labels"), labels)?;
        }
    }
    if let Some(weights) = columns.label_weights {
        out.set_item(
            intern!(py, "label_weights"),
            PyArray1::from_vec(py, weights),
        )?;
    }
    Ok(out)
}

fn matrix<T: Element>(
    py: Python<'_>,
    values: Vec<T>,
    rows: usize,
    columns: usize,
) -> PyResult<Bound<'_, numpy::PyArray2<T>>> {
    PyArray1::from_vec(py, values).reshape([rows, columns])
}

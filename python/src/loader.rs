//! Shards as masked batches: `cloze.loader` is the class around these.

use crate::arrays;
use crate::error::OrException;
use cloze::batches::stream::Waited;
use cloze::batches::{Columns, LabelForm, Position, Share, Stream};
use cloze::config::train::ValidationConfig;
use cloze::config::{LoaderConfig, keys};
use cloze::pipeline::loader::{self, Opened};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Between two looks for Ctrl-C.
const PATIENCE: Duration = Duration::from_millis(100);

/// Shards, opened.
#[pyclass(frozen, module = "cloze._native")]
pub struct Shards {
    opened: Opened,
}

#[pymethods]
impl Shards {
    #[new]
    fn new(py: Python<'_>, config: &str) -> PyResult<Self> {
        let opened = py
            .detach(|| {
                let config: LoaderConfig = keys::from_json("Loader", config)?;
                loader::open(&config)
            })
            .or_exception()?;
        Ok(Self { opened })
    }

    #[getter]
    fn rows(&self) -> u64 {
        self.opened.loader.rows()
    }

    #[getter]
    fn fingerprint(&self) -> &str {
        &self.opened.fingerprint
    }

    fn steps(&self, batch_size: u64, ranks: (u64, u64), drop_last: bool) -> PyResult<u64> {
        let share = share(batch_size, ranks, (0, 1), drop_last);
        share.check().or_exception()?;
        Ok(share.steps(self.rows()))
    }

    #[allow(clippy::too_many_arguments)]
    fn start(
        &self,
        batch_size: u64,
        ranks: (u64, u64),
        workers: (u64, u64),
        drop_last: bool,
        position: (u64, u64, u64),
        sparse: bool,
    ) -> PyResult<Batches> {
        let (epoch, row, step) = position;
        let share = share(batch_size, ranks, workers, drop_last);
        let at = Position { epoch, row };
        let form = form(sparse);
        let stream = self.opened.loader.start(share, at, step, form);
        Ok(Batches {
            stream: Mutex::new(Some(stream.or_exception()?)),
            process: std::process::id(),
            step: AtomicU64::new(share.own_step(step)),
            workers: share.workers,
        })
    }

    fn validation<'py>(
        &self,
        py: Python<'py>,
        batch_size: usize,
        masks: (f64, u64, u64),
        sparse: bool,
    ) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let (rate, max_rows, seed) = masks;
        let config = ValidationConfig {
            rate,
            max_rows,
            seed,
            ..ValidationConfig::default()
        };
        let layout = self.opened.loader.row_layout();
        let batches = py
            .detach(|| self.opened.validation(&config, batch_size))
            .or_exception()?;
        batches
            .iter()
            .map(|batch| arrays::dictionary(py, Columns::new(batch, layout, form(sparse))))
            .collect()
    }
}

fn form(sparse: bool) -> LabelForm {
    match sparse {
        true => LabelForm::Sparse,
        false => LabelForm::Dense,
    }
}

fn share(
    batch_rows: u64,
    (rank, ranks): (u64, u64),
    (worker, workers): (u64, u64),
    drop_last: bool,
) -> Share {
    Share {
        batch_rows,
        rank,
        ranks,
        worker,
        workers,
        drop_last,
    }
}

/// Batches of one epoch, made ahead on a thread.
#[pyclass(frozen, module = "cloze._native")]
pub struct Batches {
    stream: Mutex<Option<Stream<Columns>>>,
    /// Where the thread is: a fork has none.
    process: u32,
    /// This worker's next step.
    step: AtomicU64,
    workers: u64,
}

/// A batch, rows of the epoch behind it, and the step after it.
type Handed<'py> = (Bound<'py, PyDict>, u64, u64);

#[pymethods]
impl Batches {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    /// The next batch; behind it, the rows of the epoch, and this worker's next step.
    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Handed<'py>>> {
        loop {
            let waited = py.detach(|| {
                let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
                stream.as_mut().map(|stream| stream.wait(PATIENCE))
            });
            match waited {
                Some(Waited::Batch(columns)) => {
                    let columns = columns.or_exception()?;
                    let row = columns.after.row;
                    let step = self.step.fetch_add(self.workers, Relaxed) + self.workers;
                    return Ok(Some((arrays::dictionary(py, columns)?, row, step)));
                }
                Some(Waited::NotYet) => py.check_signals()?,
                Some(Waited::Over) | None => return Ok(None),
            }
        }
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            let stream = self
                .stream
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner);
            std::mem::forget(stream.take());
        }
    }
}

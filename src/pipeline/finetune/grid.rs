//! The runs of a grid one after the other, each a file as soon as it is done, and of which
//! the weights are kept: two at most.

use super::STAGE;
use super::cell::{Cell, CellResult};
use super::report;
use super::sentences::TaskData;
use crate::base::error::{Error, Result};
use crate::config::FinetuneConfig;
use crate::pipeline::stage::StageOptions;
use crate::training::Classifier;
use std::path::{Path, PathBuf};

/// Where the runs of a grid are.
pub struct Runs {
    folder: PathBuf,
    /// The runs, all seeds of a setting one after the other.
    pub cells: Vec<Cell>,
}

impl Runs {
    /// Of the grid of `config` in the folder `output`.
    pub fn of(config: &FinetuneConfig, output: &Path) -> Self {
        Self {
            folder: output.join("cells"),
            cells: Cell::all(config),
        }
    }

    /// Where a run's result is.
    fn result(&self, cell: &Cell) -> PathBuf {
        self.folder.join(format!("{}.json", cell.name()))
    }

    /// Where the best weights of a run are.
    pub fn weights(&self, cell: &Cell) -> PathBuf {
        self.folder.join(format!("{}.safetensors", cell.name()))
    }

    /// Removes all weights but those of `kept`.
    pub fn remove_weights(&self, kept: &[Cell]) -> Result<()> {
        for cell in &self.cells {
            let path = self.weights(cell);
            if kept.contains(cell) || !path.exists() {
                continue;
            }
            std::fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
        }
        Ok(())
    }

    /// Removes everything.
    fn remove(&self) -> Result<()> {
        match std::fs::remove_dir_all(&self.folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", &self.folder, e))
            }
            _ => Ok(()),
        }
    }
}

/// A grid on its way, of which some runs may be done.
pub struct Grid<'a> {
    /// What it is of.
    pub config: &'a FinetuneConfig,
    /// The sentences.
    pub data: &'a TaskData,
    /// Where its runs are.
    pub runs: &'a Runs,
    /// Tells it on these inputs from others.
    pub fingerprint: &'a str,
    /// Threads, progress and the user's wish to stop.
    pub options: &'a StageOptions,
}

impl Grid<'_> {
    /// All runs, in order; those that are there are not done again. `fresh` makes the model of
    /// a seed.
    pub fn run(&self, fresh: impl Fn(u64) -> Classifier) -> Result<Vec<CellResult>> {
        if self.options.overwrite {
            self.runs.remove()?;
        }
        let cells = &self.runs.cells;
        let mut results = self.done()?;
        if !results.is_empty() {
            let text = format!("{} of {} runs were done before", results.len(), cells.len());
            self.options.progress.note(STAGE, &text);
        }
        let left = &cells[results.len()..];
        let steps = left.iter().map(|cell| cell.steps(self.config, self.data));
        let meter = self
            .options
            .progress
            .meter(STAGE, "steps", Some(steps.sum()));
        for cell in left {
            let classifier = fresh(cell.seed);
            let (best, mut result) =
                cell.train(self.config, self.data, classifier, &meter, self.options)?;
            result.fingerprint = self.fingerprint.to_owned();
            best.write(&self.runs.weights(cell))?;
            let path = self.runs.result(cell);
            result.write(&path)?;
            // As whoever goes on would have it: a number of JSON may differ in its last bit.
            let result = CellResult::read(&path)?;
            let text = format!(
                "{}: {:.4} on dev, best behind epoch {} of {}",
                cell.name(),
                result.dev(),
                result.best,
                result.epochs.len()
            );
            self.options.progress.note(STAGE, &text);
            results.push(result);
            self.runs.remove_weights(&self.needed(&results))?;
        }
        meter.finish(&format!("{} runs", left.len()));
        Ok(results)
    }

    /// The runs that are done, from the first on, as far as the weights are there that may
    /// still be needed.
    fn done(&self) -> Result<Vec<CellResult>> {
        let mut results = Vec::new();
        for cell in &self.runs.cells {
            let path = self.runs.result(cell);
            if !path.exists() {
                break;
            }
            let result = CellResult::read(&path)?;
            if result.fingerprint != self.fingerprint {
                return Err(Error::mismatch(
                    path.display().to_string(),
                    "a run of another configuration, or of other inputs",
                    "runs of this grid",
                    "write to another folder, or redo it with --overwrite",
                ));
            }
            results.push(result);
        }
        let missing = |results: &[CellResult]| {
            let needed = self.needed(results);
            needed.iter().any(|cell| !self.runs.weights(cell).exists())
        };
        while missing(&results) {
            results.pop();
        }
        Ok(results)
    }

    /// Runs whose weights may be exported: of the best setting that is done its best run, and
    /// that of the one on its way.
    fn needed(&self, results: &[CellResult]) -> Vec<Cell> {
        let seeds = self.config.seeds.len();
        let (done, on_its_way) = results.split_at(results.len() / seeds * seeds);
        let done: Vec<&[CellResult]> = done.chunks(seeds).collect();
        let mut needed = Vec::new();
        if !done.is_empty() {
            needed.push(report::best_run(done[report::best_setting(&done)]));
        }
        if !on_its_way.is_empty() {
            needed.push(report::best_run(on_its_way));
        }
        needed
    }
}

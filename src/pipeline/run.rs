//! `cloze run`: all stages of a pipeline's TOML, skipping what is done, and a summary
//! of what came out. Costs what its stages cost.

use crate::base::error::{Error, Result};
use crate::config::{PipelineConfig, keys};
use crate::parallel;
use crate::pipeline::preview::{Preview, Request, html};
use crate::pipeline::stage::StageOptions;
use crate::pipeline::summary::{StageFigures, Summary};
use crate::pipeline::{count, evaluate, preview, shard, tokenize, train, vocabulary};
use crate::progress::memory;
use crate::storage::place;
use crate::storage::{ArtefactKind, Manifest, atomic};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The stages of a pipeline, in order.
pub const STAGES: [&str; 7] = [
    "tokenize",
    "count",
    "vocabulary",
    "shard",
    "mask",
    "train",
    "evaluate",
];

/// A pipeline that is ready to run.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Its stages.
    pub config: PipelineConfig,
    /// The folder that everything goes to.
    pub work: PathBuf,
}

impl Pipeline {
    /// Reads the TOML `file`, `change`d; paths are relative to it.
    ///
    /// # Errors
    /// A file that cannot be read; keys and values that are not a pipeline's.
    pub fn read(file: &Path, change: impl FnOnce(&mut toml::Table) -> Result<()>) -> Result<Self> {
        let text = std::fs::read_to_string(file).map_err(|e| Error::io("read", file, e))?;
        let place = file.display().to_string();
        let mut table = keys::parsed(&place, &text)?;
        change(&mut table)?;
        let mut config: PipelineConfig = keys::from_table(&place, table)?;
        config.relative_to(file.parent().unwrap_or(Path::new("")));
        let usual = Path::new("runs").join(&config.name);
        Ok(Self {
            work: config.work.clone().unwrap_or(usual),
            config,
        })
    }

    /// The options that it asks for.
    pub fn options(&self) -> StageOptions {
        StageOptions {
            threads: parallel::threads(self.config.threads),
            memory: self.config.memory,
            seed: self.config.seed,
            ..StageOptions::new()
        }
    }

    /// Runs its stages; of `only` where it names any. Masked text goes to `show`, and as a page
    /// to `preview.html`. Returns the summary.
    pub fn run(
        &self,
        only: &[String],
        options: &StageOptions,
        mut show: impl FnMut(&Preview),
    ) -> Result<Summary> {
        let Self { config, work } = self;
        config.check()?;
        place::check_local(work, "a pipeline's work")?;
        if let Some(unknown) = only.iter().find(|name| !STAGES.contains(&name.as_str())) {
            return Err(Error::usage(
                "--only",
                format!("{unknown:?}"),
                format!("stages among {}", STAGES.join(", ")),
                "separate several with commas",
            ));
        }
        let wanted = |stage: &str| only.is_empty() || only.iter().any(|name| name == stage);
        let layout = Layout::new(work);
        let mut summary = Summary::read(&layout.figures);
        let options = StageOptions {
            seed: config.seed,
            ..options.clone()
        };

        if wanted("tokenize") {
            let manifest = timed(&mut summary, &layout, "tokenize", &options, || {
                tokenize::tokenize(&config.tokenize, &layout.tokens, &options)
            })?;
            summary.tokenized(&manifest, &layout.tokens);
        }
        if let Some(count) = config.count.as_ref().filter(|_| wanted("count")) {
            let manifest = timed(&mut summary, &layout, "count", &options, || {
                count::count(count, &layout.tokens, &layout.counts, &options)
            })?;
            summary.counted(&manifest, &layout.counts);
        }
        if let Some(vocabulary) = config.vocabulary.as_ref().filter(|_| wanted("vocabulary")) {
            let counts = config.count.as_ref().map(|_| layout.counts.as_path());
            let manifest = timed(&mut summary, &layout, "vocabulary", &options, || {
                vocabulary::vocabulary(
                    vocabulary,
                    counts.filter(|_| vocabulary.import.is_none()),
                    None,
                    &layout.vocabulary,
                    &options,
                )
            })?;
            summary.ranked(&manifest, &layout.vocabulary);
        }
        if wanted("shard") {
            let units = config.vocabulary.as_ref().map(|_| &layout.vocabulary);
            let manifest = timed(&mut summary, &layout, "shard", &options, || {
                shard::shard(
                    &config.shard,
                    &layout.tokens,
                    units.map(PathBuf::as_path),
                    &layout.shards,
                    &options,
                )
            })?;
            summary.sharded(&manifest, &layout.shards);
        }
        if let Some(shown) = config.preview.as_ref().filter(|_| wanted("mask")) {
            let steps = config.train.as_ref().and_then(|train| train.last_step());
            let steps = steps.unwrap_or(1);
            let request = Request::of_pipeline(shown, &config.masking(), steps, options.seed);
            let shown = preview::of_shards(&request, &layout.shards)?;
            atomic::write(&layout.preview, html::page(&shown).as_bytes())?;
            summary.previewed(&layout.preview);
            show(&shown);
        }
        if let Some(train) = config.train.as_ref().filter(|_| wanted("train")) {
            let manifest = timed(&mut summary, &layout, "train", &options, || {
                train::train(train, &layout.shards, &layout.model, &options)
            })?;
            summary.trained(&manifest, &layout.model);
        }
        if let Some(evaluate) = config.evaluate.as_ref().filter(|_| wanted("evaluate")) {
            let manifest = timed(&mut summary, &layout, "evaluate", &options, || {
                let (model, shards) = (&layout.model, Some(layout.shards.as_path()));
                evaluate::evaluate(evaluate, model, shards, &layout.evaluation, &options)
            })?;
            summary.evaluated(&manifest, &layout.evaluation);
        }
        summary.write(&layout.figures)?;
        Ok(summary)
    }
}

/// Where a pipeline's artefacts lie in its work folder.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Token files.
    pub tokens: PathBuf,
    /// N-gram counts.
    pub counts: PathBuf,
    /// The masking vocabulary.
    pub vocabulary: PathBuf,
    /// Shards.
    pub shards: PathBuf,
    /// Masked rows to look at, as a page.
    pub preview: PathBuf,
    /// The training run.
    pub model: PathBuf,
    /// What its model can do.
    pub evaluation: PathBuf,
    /// What the last run measured.
    pub figures: PathBuf,
}

impl Layout {
    /// The layout of the folder `work`.
    pub fn new(work: &Path) -> Self {
        Self {
            tokens: work.join("tokens"),
            counts: work.join("counts"),
            vocabulary: work.join("vocabulary.parquet"),
            shards: work.join("shards"),
            preview: work.join("preview.html"),
            model: work.join("model"),
            evaluation: work.join("evaluation"),
            figures: work.join("figures.json"),
        }
    }
}

/// Runs one stage and keeps what it took. A stage that was done before keeps the
/// figures of the run that did it.
fn timed(
    summary: &mut Summary,
    layout: &Layout,
    stage: &str,
    options: &StageOptions,
    work: impl FnOnce() -> Result<Manifest>,
) -> Result<Manifest> {
    options.check_stop()?;
    memory::reset_peak();
    let began = Instant::now();
    let manifest = work()?;
    let units = match manifest.artefact {
        ArtefactKind::Vocabulary => manifest.total("ngrams"),
        ArtefactKind::Run => manifest.total("tokens_trained"),
        ArtefactKind::Evaluation => manifest.total("labels"),
        _ => manifest.total("tokens"),
    };
    summary.stage(StageFigures {
        stage: stage.to_owned(),
        fingerprint: manifest.fingerprint.clone(),
        units,
        seconds: began.elapsed().as_secs_f64(),
        peak_memory: memory::peak(),
        earlier: false,
    });
    summary.write(&layout.figures)?;
    Ok(manifest)
}

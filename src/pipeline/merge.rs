//! `cloze count --merge`: sorted runs to n-gram counts, or to one run. The counts of
//! any runs of a corpus are, byte for byte, those of the corpus counted at once. Part I
//! of N joins the key ranges I mod N.

use crate::base::error::{Error, Result};
use crate::base::part::Part;
use crate::config::CountConfig;
use crate::pipeline::count::{CountFiles, beside_files};
use crate::pipeline::runs::{OpenRuns, RunFiles};
use crate::pipeline::stage::{Frame, StageOptions};
use crate::statistics::Join;
use crate::storage::{Artefact, ArtefactKind, Manifest, Standing};
use std::path::{Path, PathBuf};

/// The configuration that runs were counted with, `min_count` as usual: what the keys
/// of a merge are where they are not given.
pub fn counted_with(runs: &[PathBuf]) -> Result<CountConfig> {
    let open = OpenRuns::open(runs)?;
    let rules = open.configuration.rules;
    Ok(CountConfig {
        max_length: open.configuration.max_length,
        unit: rules.unit,
        punctuation: rules.punctuation,
        unknown: rules.unknown,
        cased: rules.cased,
        ..CountConfig::default()
    })
}

/// Joins all runs in the folders `runs` to n-gram counts in the folder `output`.
/// `config` may have a smaller `max_length` than the runs, but no other rules.
pub fn merge(
    config: &CountConfig,
    runs: &[PathBuf],
    output: &Path,
    options: &StageOptions,
) -> Result<Manifest> {
    config.check()?;
    let open = OpenRuns::open(runs)?;
    let configuration = &open.configuration;
    if config.rules() != configuration.rules || config.max_length > configuration.max_length {
        return Err(Error::mismatch(
            runs[0].display().to_string(),
            format!(
                "runs of up to {} words under {:?}",
                configuration.max_length, configuration.rules
            ),
            format!(
                "up to {} words under {:?}",
                config.max_length,
                config.rules()
            ),
            "count the parts again with these rules, or leave the flags out",
        ));
    }
    let inputs = open.artefacts.iter().map(Artefact::as_input).collect();
    let mut frame = Frame::new(ArtefactKind::Counts, output, config, inputs, options)?;
    if let Standing::Done(manifest) = frame.standing(options)? {
        options.progress.note("count", "done before");
        return Ok(*manifest);
    }
    let mut files = CountFiles::new(output, config);
    let check = || options.check_stop();
    let join = Join {
        max_length: config.max_length as usize,
        min_count: config.min_count,
        part: options.part,
        memory: beside_files(config, options),
        ..join_all(&open, options, &check)
    };
    let counts = join.counts(&mut files)?;
    files.finish(&mut frame, &counts)?;
    frame.finish()
}

/// Joins all runs in the folders `runs` to one run in the folder `output`.
pub fn merge_to_run(runs: &[PathBuf], output: &Path, options: &StageOptions) -> Result<Manifest> {
    if options.part != Part::WHOLE {
        return Err(Error::usage(
            "--part",
            options.part.to_string(),
            "all runs joined to one run",
            "leave out --part and --of, or leave out --runs to join key ranges to counts",
        ));
    }
    let open = OpenRuns::open(runs)?;
    let inputs = open.artefacts.iter().map(Artefact::as_input).collect();
    let configuration = &open.configuration;
    let mut frame = Frame::new(ArtefactKind::Runs, output, configuration, inputs, options)?;
    if let Standing::Done(manifest) = frame.standing(options)? {
        options.progress.note("count", "done before");
        return Ok(*manifest);
    }
    let mut files = RunFiles::new(output, configuration.max_length, options);
    let check = || options.check_stop();
    let counts = join_all(&open, options, &check).run(&mut files)?;
    files.finish(&mut frame, &counts)?;
    frame.finish()
}

/// A join of all of `open`, nothing left out.
fn join_all<'a>(
    open: &'a OpenRuns,
    options: &StageOptions,
    check: &'a (dyn Fn() -> Result<()> + Sync),
) -> Join<'a> {
    let run_length = open.configuration.max_length as usize;
    Join {
        memory: options.memory,
        threads: options.threads,
        progress: options.progress.clone(),
        ..Join::new(&open.runs, open.totals, run_length, check)
    }
}

//! Sorted runs: what `cloze count --part I --of N` and `cloze count --runs` write. A
//! run holds all words of a part of the corpus and all its windows with their counts,
//! nothing left out, so that any number of runs, of parts or of texts that came later,
//! can be joined to exact counts ([`merge`](crate::pipeline::merge)).
//!
//! Cost: as counting, and about 5 bytes of disk a word. Part I of N takes every N-th
//! record batch of the token files.

use crate::base::error::{Error, Result};
use crate::base::part::Part;
use crate::columnar::{CountsWriter, RunFile, RunWriter};
use crate::config::{CountConfig, WordRules};
use crate::pipeline::count::{Files, OpenSource, Source, add_totals, windows_name};
use crate::pipeline::stage::{Frame, StageOptions};
use crate::statistics::tally::{MAX_LENGTH, Totals};
use crate::statistics::{Corpus, Counting, Counts, Run, RunSink};
use crate::storage::manifest::FORMAT;
use crate::storage::source::hash_file;
use crate::storage::{Artefact, ArtefactKind, AtomicFile, FileRecord, Manifest, Standing, cache};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What changes a run. Runs are joined only where words and rules are the same; how
/// raw text was read may differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunConfiguration {
    /// The longest window.
    pub max_length: u32,
    /// What a word is.
    #[serde(flatten)]
    pub rules: WordRules,
    /// Fingerprint of what cut the text into words.
    pub words: String,
    /// Of raw text, how it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Value>,
}

/// Counts a part of `source`, or all of it, to a sorted run in the folder `output`.
/// `config.min_count` does not count here.
pub fn count_run(
    config: &CountConfig,
    source: impl Into<Source>,
    output: &Path,
    options: &StageOptions,
) -> Result<Manifest> {
    config.check()?;
    let mut source = OpenSource::open(config, &source.into())?;
    let configuration = RunConfiguration {
        max_length: config.max_length,
        rules: config.rules(),
        words: source.words()?,
        text: source.configuration(),
    };
    let inputs = source.inputs(options.threads)?;
    let mut frame = Frame::new(ArtefactKind::Runs, output, &configuration, inputs, options)?;
    if let Standing::Done(manifest) = frame.standing(options)? {
        options.progress.note("count", "done before");
        return Ok(*manifest);
    }
    let mut files = RunFiles::new(output, config.max_length, options);
    let counted = source.count(config, output, options, &mut files)?;
    files.finish(&mut frame, &counted.counts)?;
    counted.add_rejected(&mut frame);
    frame.finish()
}

impl Files for RunFiles<'_> {
    fn count(&mut self, counting: &Counting<'_>, corpus: &impl Corpus) -> Result<Counts> {
        counting.sorted_run(corpus, self)
    }
}

/// Writes the files of a run.
pub(super) struct RunFiles<'a> {
    output: &'a Path,
    length: u32,
    options: &'a StageOptions,
    words: Option<FileRecord>,
    windows: Option<RunWriter<AtomicFile>>,
}

impl<'a> RunFiles<'a> {
    /// Nothing written yet.
    pub(super) fn new(output: &'a Path, length: u32, options: &'a StageOptions) -> Self {
        Self {
            output,
            length,
            options,
            words: None,
            windows: None,
        }
    }

    /// Completes the files, and adds them and what they hold to the manifest.
    pub(super) fn finish(self, frame: &mut Frame, counts: &Counts) -> Result<()> {
        if let (Some(words), Some(windows)) = (self.words, self.windows) {
            let (out, rows) = windows.finish()?;
            let written = out.finish()?;
            frame.file(words);
            frame.file(FileRecord {
                name: windows_file(self.options.part),
                bytes: written.bytes,
                hash: written.hash,
                rows,
                tokens: None,
            });
            frame.total("distinct_windows", rows);
        }
        add_totals(frame, counts, self.length);
        Ok(())
    }
}

impl RunSink for RunFiles<'_> {
    fn begin(&mut self, counts: &Counts) -> Result<()> {
        let name = words_file(self.options.part);
        let path = self.output.join(&name);
        let place = path.display().to_string();
        let mut writer = CountsWriter::new(AtomicFile::create(&path)?, place, 1)?;
        let words = &counts.dictionary.words;
        for (id, count) in (0..).zip(&counts.dictionary.counts) {
            writer.push(&[id], words.text(id), *count)?;
        }
        let (out, rows) = writer.finish(&json!({"format": FORMAT}))?;
        let written = out.finish()?;
        self.words = Some(FileRecord {
            name,
            bytes: written.bytes,
            hash: written.hash,
            rows,
            tokens: None,
        });
        let path = self.output.join(windows_file(self.options.part));
        let place = path.display().to_string();
        let out = AtomicFile::create(&path)?;
        self.windows = Some(RunWriter::new(out, place, self.length as usize)?);
        Ok(())
    }

    fn window(&mut self, window: &[u32], count: u64) -> Result<()> {
        match &mut self.windows {
            Some(windows) => windows.push(window, count),
            None => Err(Error::library("writing a run", "a window before the words")),
        }
    }
}

fn words_file(part: Part) -> String {
    part.file_name("words", "parquet")
}

fn windows_file(part: Part) -> String {
    part.file_name("windows", "arrow")
}

/// Runs that were opened to be joined.
pub(super) struct OpenRuns {
    /// What they were counted with.
    pub configuration: RunConfiguration,
    /// The artefacts they come from.
    pub artefacts: Vec<Artefact>,
    /// All of them.
    pub runs: Vec<Run>,
    /// Sums over them.
    pub totals: Totals,
}

impl OpenRuns {
    /// Opens the runs of all parts in all of `folders`. Refuses runs that were counted
    /// otherwise than the first, and the same runs twice; checks the files of words.
    pub(super) fn open(folders: &[PathBuf]) -> Result<Self> {
        let artefacts = folders
            .iter()
            .map(|folder| Artefact::open(folder, ArtefactKind::Runs))
            .collect::<Result<Vec<_>>>()?;
        let configuration = configuration_of(&artefacts)?;
        let mut contents: Vec<(String, &Artefact)> = Vec::new();
        for artefact in artefacts.iter().filter(|runs| runs.total("words") > 0) {
            let content = artefact.content_fingerprint();
            if let Some((_, same)) = contents.iter().find(|(other, _)| *other == content) {
                return Err(Error::usage(
                    "--merge",
                    format!(
                        "the same runs in {} and {}",
                        same.path.display(),
                        artefact.path.display()
                    ),
                    "each text once",
                    "leave one of them out",
                ));
            }
            contents.push((content, artefact));
        }
        let mut runs = Vec::new();
        let mut totals = Totals::default();
        for artefact in &artefacts {
            for manifest in &artefact.manifests {
                runs.push(open_run(artefact, manifest, configuration.max_length)?);
                totals.add(&totals_of(manifest));
            }
        }
        Ok(Self {
            configuration,
            artefacts,
            runs,
            totals,
        })
    }
}

fn configuration_of(artefacts: &[Artefact]) -> Result<RunConfiguration> {
    let [first, others @ ..] = artefacts else {
        return Err(Error::usage(
            "--merge",
            "no runs",
            "at least one folder of runs",
            "give what `cloze count --part I --of N` or `cloze count --runs` wrote",
        ));
    };
    let configuration = |artefact: &Artefact| -> Result<RunConfiguration> {
        let value = artefact.manifests[0].configuration.clone();
        serde_json::from_value(value).map_err(|error| {
            Error::corrupt(
                artefact.path.display().to_string(),
                error.to_string(),
                "the configuration of a run",
                "count it again",
            )
        })
    };
    let mut expected = configuration(first)?;
    for other in others {
        let found = configuration(other)?;
        let of = |run: &RunConfiguration| (run.max_length, run.rules, run.words.clone());
        if of(&found) != of(&expected) {
            let shown = |artefact: &Artefact| artefact.manifests[0].configuration.to_string();
            return Err(Error::mismatch(
                other.path.display().to_string(),
                format!("runs counted with {}", shown(other)),
                format!("{}, as in {}", shown(first), first.path.display()),
                "count them again with the same rules and the same tokenizer",
            ));
        }
        if found.text != expected.text {
            expected.text = None;
        }
    }
    Ok(expected)
}

fn open_run(artefact: &Artefact, manifest: &Manifest, length: u32) -> Result<Run> {
    let words = artefact.folder().join(words_file(manifest.part));
    let windows = artefact.folder().join(windows_file(manifest.part));
    let mut copies = Vec::new();
    for path in [words, windows] {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let record = manifest.files.iter().find(|file| file.name == name);
        let Some(record) = record else {
            return Err(Error::corrupt(
                artefact.path.display().to_string(),
                format!("no file {name}"),
                "the words and the windows of every part",
                "count this part again",
            ));
        };
        let copy = cache::copy_of(&path, record.bytes, &record.hash)?;
        // Windows are checked as they are read, batch by batch.
        if copies.is_empty() && hash_file(&copy)? != record.hash {
            return Err(Error::corrupt(
                path.display().to_string(),
                "another hash",
                format!("hash {}, as its manifest says", record.hash),
                "the file is damaged: copy it again, or count this part again",
            ));
        }
        copies.push(copy);
    }
    let windows = RunFile::open(&copies[1], length as usize)?;
    Ok(Run {
        words: copies.swap_remove(0),
        windows,
    })
}

fn totals_of(manifest: &Manifest) -> Totals {
    let mut totals = Totals {
        documents: manifest.total("documents"),
        tokens: manifest.total("tokens"),
        windows: [0; MAX_LENGTH],
    };
    for (length, windows) in (1..).zip(&mut totals.windows) {
        *windows = manifest.total(&windows_name(length));
    }
    totals
}

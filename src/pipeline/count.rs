//! The stage `count`: token files, or raw text, to n-gram counts, one Parquet file for each length
//! and key range. A part of the corpus is counted to a sorted run instead
//! ([`runs`](crate::pipeline::runs)), and [`merge`](crate::pipeline::merge) joins the
//! runs of all parts to the same files.

use crate::base::boundaries::BoundarySlice;
use crate::base::error::{Error, Result};
use crate::base::fingerprint::Hasher;
use crate::base::part::Part;
use crate::base::size::ByteSize;
use crate::base::token::TokenSlice;
use crate::columnar::{CountsWriter, DocumentFile, Projection};
use crate::config::{CountConfig, TokenizeConfig, WordRules};
use crate::pipeline::runs::count_run;
use crate::pipeline::stage::{Frame, StageOptions};
use crate::pipeline::text_memory::PROCESS;
use crate::pipeline::text_words::TextWords;
use crate::statistics::{Corpus, CountSink, Counting, Counts, Document, WordSource};
use crate::storage::manifest::FORMAT;
use crate::storage::{
    Artefact, ArtefactKind, AtomicFile, FileRecord, FileSource, InputRecord, Manifest, Standing,
};
use crate::tokenizer::{WordTexts, read_written};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Memory of an output file while it is written: one row group.
const WRITER_MEMORY: u64 = 12 << 20;

/// What is known of pages and row groups until a file is complete: 1.5 % of it, up to
/// 140 MB of file.
const FOOTER_MEMORY: u64 = 2 << 20;

/// Memory of a thread for the record batch that it reads.
const READER_MEMORY: u64 = 4 << 20;

/// What a file of counts says of itself: the metadata `cloze`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CountsNote {
    /// Version of the file format.
    pub format: u32,
    /// Words in its n-grams.
    pub length: u32,
    /// Which key range it holds.
    pub range: u32,
    /// How many key ranges there are.
    pub ranges: u32,
    /// The longest n-gram counted.
    pub max_length: u32,
    /// N-grams that occur less often were left out.
    pub min_count: u64,
    /// What a word is.
    pub rules: WordRules,
    /// T_1, T_2, …: windows of each length in the corpus.
    pub windows: Vec<u64>,
    /// Fingerprint of what was counted, however the corpus was divided.
    pub fingerprint: String,
}

/// Keys of `cloze tokenize` that do not concern words of raw text.
pub const NOT_OF_TEXT: &[&str] = &[
    "inputs",
    "mask_token",
    "cls_token",
    "sep_token",
    "pad_token",
    "unk_token",
    "add_special_tokens",
    "file_bytes",
    "batch_tokens",
];

/// Where words come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A folder of token files.
    Tokens(PathBuf),
    /// Raw text; the words of `tokenizer`, or without one of Unicode. What concerns
    /// special tokens and token files does not count.
    Text(Box<TokenizeConfig>),
}

impl From<&Path> for Source {
    fn from(tokens: &Path) -> Self {
        Self::Tokens(tokens.to_owned())
    }
}

impl From<&PathBuf> for Source {
    fn from(tokens: &PathBuf) -> Self {
        Self::Tokens(tokens.clone())
    }
}

impl From<TokenizeConfig> for Source {
    fn from(text: TokenizeConfig) -> Self {
        Self::Text(Box::new(text))
    }
}

/// What changes counts: the keys, and of raw text how it was read.
#[derive(Serialize)]
struct Configuration<'a> {
    #[serde(flatten)]
    config: &'a CountConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Value>,
}

/// Counts the n-grams of `source` into the folder `output`; of a part of it, the sorted
/// run.
pub fn count(
    config: &CountConfig,
    source: impl Into<Source>,
    output: &Path,
    options: &StageOptions,
) -> Result<Manifest> {
    if options.part != Part::WHOLE {
        return count_run(config, source, output, options);
    }
    config.check()?;
    let mut source = OpenSource::open(config, &source.into())?;
    let configuration = Configuration {
        config,
        text: source.configuration(),
    };
    let inputs = source.inputs(options.threads)?;
    let mut frame = Frame::new(
        ArtefactKind::Counts,
        output,
        &configuration,
        inputs,
        options,
    )?;
    if let Standing::Done(manifest) = frame.standing(options)? {
        options.progress.note("count", "done before");
        return Ok(*manifest);
    }
    let mut files = CountFiles::new(output, config);
    let counted = source.count(config, output, options, &mut files)?;
    files.finish(&mut frame, &counted.counts)?;
    counted.add_rejected(&mut frame);
    frame.finish()
}

/// What counts are written to: n-grams, or a run.
pub(super) trait Files {
    /// Counts `corpus` into the files.
    fn count(&mut self, counting: &Counting<'_>, corpus: &impl Corpus) -> Result<Counts>;
}

impl Files for CountFiles<'_> {
    fn count(&mut self, counting: &Counting<'_>, corpus: &impl Corpus) -> Result<Counts> {
        counting.run(corpus, self)
    }
}

/// A source that can be read.
pub(super) enum OpenSource {
    Tokens(Artefact),
    Text(Box<TextWords>),
}

/// What was counted, and how many documents could not be.
pub(super) struct Counted {
    pub counts: Counts,
    rejected: Option<u64>,
}

impl Counted {
    /// Adds the number of rejected documents to a manifest, where any could be.
    pub(super) fn add_rejected(&self, frame: &mut Frame) {
        if let Some(rejected) = self.rejected {
            frame.total("rejected", rejected);
        }
    }
}

impl OpenSource {
    /// Finds the files of `source`, and what makes words of them.
    pub(super) fn open(config: &CountConfig, source: &Source) -> Result<Self> {
        match source {
            Source::Tokens(path) => Artefact::open(path, ArtefactKind::Tokens).map(Self::Tokens),
            Source::Text(text) => {
                TextWords::open(config, text).map(|text| Self::Text(Box::new(text)))
            }
        }
    }

    /// What it was made from; files of text are read by `threads` threads.
    pub(super) fn inputs(&self, threads: usize) -> Result<Vec<InputRecord>> {
        match self {
            Self::Tokens(artefact) => Ok(vec![artefact.as_input()]),
            Self::Text(text) => text.inputs(threads),
        }
    }

    /// How raw text is read.
    pub(super) fn configuration(&self) -> Option<Value> {
        match self {
            Self::Tokens(_) => None,
            Self::Text(text) => Some(text.configuration()),
        }
    }

    /// Names what makes its words.
    pub(super) fn words(&self) -> Result<String> {
        match self {
            Self::Tokens(artefact) => Ok(artefact.tokenizer()?.fingerprint.clone()),
            Self::Text(text) => Ok(text.cutter.name()),
        }
    }

    /// Counts it into `files`, and leaves no scratch behind.
    pub(super) fn count(
        &mut self,
        config: &CountConfig,
        output: &Path,
        options: &StageOptions,
        files: &mut impl Files,
    ) -> Result<Counted> {
        let scratch = options.scratch_beside(output);
        let check = || options.check_stop();
        let counting = |source, memory, threads| Counting {
            memory,
            threads,
            progress: options.progress.clone(),
            check: &check,
            ..Counting::new(config, source, &scratch)
        };
        let counted = match self {
            Self::Tokens(artefact) => {
                let tokenizer = read_written(artefact.folder(), artefact.tokenizer()?)?;
                let texts = WordTexts::new(&tokenizer, config.rules());
                drop(tokenizer);
                let corpus = TokenFiles::open(artefact, options)?;
                let memory = beside_files(config, options);
                let counting = counting(WordSource::Tokens(&texts), memory, options.threads);
                files.count(&counting, &corpus).map(|counts| (counts, None))
            }
            Self::Text(text) => {
                let memory = text.memory(writers(config), options)?;
                text.cutter.remember(memory.known);
                let corpus = text.files(&memory, options);
                let source = WordSource::Text(&text.cutter, config.rules());
                let counting = counting(source, memory.counting, memory.threads);
                let counts = files.count(&counting, &corpus);
                counts.map(|counts| (counts, Some(corpus.rejected())))
            }
        };
        // The folder holds no file of ours; another stage may still be at work in it.
        options.clear_scratch(output);
        let (counts, rejected) = counted?;
        Ok(Counted { counts, rejected })
    }
}

/// The memory that is left beside the process and open files.
/// Under a small bound, less than 4/3 of these, they take what they need in spite of it.
pub(super) fn beside_files(config: &CountConfig, options: &StageOptions) -> ByteSize {
    let files = writers(config)
        + FOOTER_MEMORY * u64::from(config.max_length)
        + READER_MEMORY * options.threads as u64;
    let taken = PROCESS + files;
    ByteSize(options.memory.0 - taken.min(options.memory.0 / 4 * 3))
}

/// The memory of the files of a key range while they are written.
fn writers(config: &CountConfig) -> u64 {
    WRITER_MEMORY * u64::from(config.max_length)
}

/// The windows of each length, as totals of a manifest name them.
pub(super) fn windows_name(length: u32) -> String {
    format!("windows_{length}")
}

/// Adds what a corpus comes to to a manifest.
pub(super) fn add_totals(frame: &mut Frame, counts: &Counts, max_length: u32) {
    frame.total("documents", counts.totals.documents);
    if counts.totals.tokens > 0 {
        frame.total("tokens", counts.totals.tokens);
    }
    frame.total("words", counts.totals.windows[0]);
    frame.total("distinct_words", counts.distinct_words);
    for (length, windows) in (1..=max_length).zip(counts.totals.windows) {
        frame.total(&windows_name(length), windows);
    }
}

/// The token files of an artefact, by record batches.
pub struct TokenFiles<'a> {
    files: Vec<DocumentFile<FileSource>>,
    /// File and record batch of each piece.
    pieces: Vec<(usize, usize)>,
    options: &'a StageOptions,
}

impl<'a> TokenFiles<'a> {
    /// Opens all files of `artefact`; reads their footers. Every N-th record batch
    /// belongs to a part of N.
    pub fn open(artefact: &Artefact, options: &'a StageOptions) -> Result<Self> {
        let files = artefact
            .copies()
            .map(|copy| DocumentFile::open(FileSource::open(copy?.0)?))
            .collect::<Result<Vec<_>>>()?;
        let pieces = files
            .iter()
            .enumerate()
            .flat_map(|(file, open)| {
                (0..open.footer().batches.len()).map(move |batch| (file, batch))
            })
            .zip(0..)
            .filter(|&(_, number)| options.part.has(number))
            .map(|(piece, _)| piece)
            .collect();
        Ok(Self {
            files,
            pieces,
            options,
        })
    }

    /// Hands id, tokens and word starts of every document of a piece to `each`.
    pub fn documents(
        &self,
        piece: usize,
        mut each: impl FnMut(u64, TokenSlice<'_>, BoundarySlice<'_>) -> Result<()>,
    ) -> Result<()> {
        self.options.check_stop()?;
        let (file, batch) = self.pieces[piece];
        let projection = Projection {
            span_start: false,
            ..Projection::ALL
        };
        let batch = self.files[file].batch(batch, projection)?;
        for document in batch.documents() {
            let word_start = document.word_start.ok_or_else(|| {
                Error::library("reading token files", "a document without word starts")
            })?;
            each(document.id, document.tokens, word_start)?;
        }
        Ok(())
    }
}

impl Corpus for TokenFiles<'_> {
    type Piece = usize;

    fn pieces(&self) -> impl Iterator<Item = Result<usize>> + Send {
        (0..self.pieces.len()).map(Ok)
    }

    fn known_pieces(&self) -> Option<u64> {
        Some(self.pieces.len() as u64)
    }

    fn visit(&self, piece: usize, each: &mut dyn FnMut(Document<'_>) -> Result<()>) -> Result<()> {
        self.documents(piece, |_, tokens, word_start| {
            each(Document::Tokens(tokens, word_start))
        })
    }
}

/// Writes the files of one key range after the other.
pub(super) struct CountFiles<'a> {
    output: &'a Path,
    config: &'a CountConfig,
    /// What is counted, once it is known.
    identity: Option<String>,
    /// Of the range at hand, by length less one.
    open: Vec<OpenFile>,
    written: Vec<FileRecord>,
    ngrams: Vec<u64>,
}

struct OpenFile {
    name: String,
    writer: CountsWriter<AtomicFile>,
    note: CountsNote,
}

impl<'a> CountFiles<'a> {
    /// Nothing written yet.
    pub(super) fn new(output: &'a Path, config: &'a CountConfig) -> Self {
        Self {
            output,
            config,
            identity: None,
            open: Vec::new(),
            written: Vec::new(),
            ngrams: vec![0; config.max_length as usize],
        }
    }

    /// Completes the files, and adds them and what they hold to the manifest.
    pub(super) fn finish(mut self, frame: &mut Frame, counts: &Counts) -> Result<()> {
        self.close()?;
        for file in self.written {
            frame.file(file);
        }
        frame.total("ngrams", self.ngrams.iter().sum::<u64>());
        for (length, ngrams) in (1..).zip(&self.ngrams) {
            frame.total(&format!("ngrams_{length}"), *ngrams);
        }
        // Sums over all parts are totals of the corpus, so one part names them.
        if frame.manifest().part.index == 0 {
            add_totals(frame, counts, self.config.max_length);
        }
        Ok(())
    }

    /// Completes the files of the range at hand.
    fn close(&mut self) -> Result<()> {
        for file in self.open.drain(..) {
            let note = serde_json::to_value(&file.note)
                .map_err(|error| Error::library(format!("writing {}", file.name), error))?;
            let (out, rows) = file.writer.finish(&note)?;
            let written = out.finish()?;
            self.ngrams[file.note.length as usize - 1] += rows;
            self.written.push(FileRecord {
                name: file.name,
                bytes: written.bytes,
                hash: written.hash,
                rows,
                tokens: None,
            });
        }
        Ok(())
    }
}

/// Fingerprint of what is counted: the rules, how many windows there are and which
/// words are kept how often. The same however the corpus was divided.
fn identity(config: &CountConfig, counts: &Counts) -> Result<String> {
    let mut hasher = Hasher::new();
    let rules = serde_json::to_vec(&(config, counts.totals.windows))
        .map_err(|error| Error::library("fingerprint of counts", error))?;
    hasher.update(&rules);
    for (id, count) in (0..).zip(&counts.dictionary.counts) {
        hasher.update(counts.dictionary.words.text(id).as_bytes());
        hasher.update(b" ");
        hasher.update(&count.to_le_bytes());
    }
    Ok(hasher.digest())
}

impl CountSink for CountFiles<'_> {
    fn begin(&mut self, range: u32, counts: &Counts) -> Result<()> {
        self.close()?;
        let identity = match self.identity.take() {
            Some(known) => known,
            None => identity(self.config, counts)?,
        };
        for length in 1..=self.config.max_length {
            let name = match counts.ranges {
                1 => format!("counts-{length}.parquet"),
                _ => format!("counts-{length}-{range:05}.parquet"),
            };
            let path: PathBuf = self.output.join(&name);
            let place = path.display().to_string();
            let writer = CountsWriter::new(AtomicFile::create(&path)?, place, length as usize)?;
            let note = CountsNote {
                format: FORMAT,
                length,
                range,
                ranges: counts.ranges,
                max_length: self.config.max_length,
                min_count: self.config.min_count,
                rules: self.config.rules(),
                windows: counts.totals.windows[..self.config.max_length as usize].to_vec(),
                fingerprint: identity.clone(),
            };
            self.open.push(OpenFile { name, writer, note });
        }
        self.identity = Some(identity);
        Ok(())
    }

    fn ngram(&mut self, words: &[u32], text: &str, count: u64) -> Result<()> {
        self.open[words.len() - 1].writer.push(words, text, count)
    }
}

//! The stage `vocabulary`: n-gram counts, or a published list, to a masking
//! vocabulary. Counts are held in memory: 40 bytes an n-gram, known before they are
//! read. With token files it also measures coverage.

use crate::base::error::{Error, Result};
use crate::base::size::ByteSize;
use crate::columnar::CountsFile;
use crate::config::{Overlap, VocabularyConfig, WordRules};
use crate::parallel;
use crate::pipeline::count::{CountsNote, TokenFiles};
use crate::pipeline::stage::{Frame, StageOptions};
use crate::segment::Units;
use crate::statistics::import::{LIST, import};
use crate::statistics::ranking::{rank, score_name};
use crate::statistics::trie::{BYTES_PER_NGRAM, Trie, TrieBuilder};
use crate::statistics::{Corpus, MaskingVocabulary, Provenance};
use crate::storage::manifest::FORMAT;
use crate::storage::source::hash_file;
use crate::storage::{
    Artefact, ArtefactKind, AtomicFile, FileRecord, InputRecord, Manifest, Standing,
};
use crate::tokenizer::{WordTexts, read_written};
use serde::Serialize;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

const STAGE: &str = "vocabulary";

/// What changes the output: all keys, but of a list only that it is one. Which one it
/// is, its fingerprint among the inputs says.
#[derive(Serialize)]
struct Configuration {
    #[serde(flatten)]
    config: VocabularyConfig,
    imported: bool,
    /// Coverage is measured with overlaps drawn from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

/// Ranks the counts in `counts`, or imports the list that `config` names, into the
/// file `output`. With `tokens`, reports which share of their tokens units of two
/// words or more cover.
pub fn vocabulary(
    config: &VocabularyConfig,
    counts: Option<&Path>,
    tokens: Option<&Path>,
    output: &Path,
    options: &StageOptions,
) -> Result<Manifest> {
    config.check()?;
    let source = Source::open(config, counts)?;
    let tokens = tokens
        .map(|path| Artefact::open(path, ArtefactKind::Tokens))
        .transpose()?;
    let mut inputs = vec![source.input()?];
    inputs.extend(tokens.as_ref().map(Artefact::as_input));
    let configuration = Configuration {
        config: VocabularyConfig {
            import: None,
            ..config.clone()
        },
        imported: config.import.is_some(),
        seed: tokens.as_ref().map(|_| options.seed),
    };
    let fingerprint = inputs[0].fingerprint.clone();
    let kind = ArtefactKind::Vocabulary;
    let mut frame = Frame::new(kind, output, &configuration, inputs, options)?;
    if let Standing::Done(manifest) = frame.standing_of_file(options)? {
        options.progress.note(STAGE, "done before");
        return Ok(*manifest);
    }
    let mut vocabulary = match &source {
        Source::Counts(artefact) => ranked(config, artefact, &mut frame, options)?,
        Source::List(path) => imported(config, path, &mut frame, options)?,
    };
    vocabulary.provenance.sources = vec![fingerprint];

    let place = output.display().to_string();
    let written = vocabulary
        .write(AtomicFile::create(output)?, &place)?
        .finish()?;
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    frame.file(FileRecord {
        name: name.into_owned(),
        bytes: written.bytes,
        hash: written.hash,
        rows: vocabulary.len() as u64,
        tokens: None,
    });
    frame.total("ngrams", vocabulary.len() as u64);
    for length in 2..=5 {
        let ngrams = vocabulary.iter().filter(|entry| entry.length == length);
        frame.total(&format!("ngrams_{length}"), ngrams.count() as u64);
    }
    if let Some(tokens) = &tokens {
        let (covered, all) = coverage(&vocabulary, tokens, options)?;
        let share = covered as f64 / all.max(1) as f64;
        options.progress.note(
            STAGE,
            &format!(
                "{:.1} % of tokens are in units of two or more words",
                100.0 * share
            ),
        );
        frame.total("tokens", all);
        frame.total("covered_tokens", covered);
        frame.total("coverage", share);
    }
    frame.finish_file()
}

/// Where n-grams come from.
enum Source {
    Counts(Artefact),
    List(PathBuf),
}

impl Source {
    fn open(config: &VocabularyConfig, counts: Option<&Path>) -> Result<Self> {
        match (&config.import, counts) {
            (None, Some(counts)) => Artefact::open(counts, ArtefactKind::Counts).map(Self::Counts),
            (Some(list), None) => Ok(Self::List(list.clone())),
            (Some(list), Some(counts)) => Err(Error::usage(
                "vocabulary.import",
                format!("{} and counts in {}", list.display(), counts.display()),
                "one of them",
                "leave out --import to rank the counts",
            )),
            (None, None) => Err(Error::usage(
                "vocabulary",
                "neither counts nor a list",
                "one of them",
                "give the folder that `cloze count` wrote, or --import LIST",
            )),
        }
    }

    fn input(&self) -> Result<InputRecord> {
        match self {
            Self::Counts(artefact) => Ok(artefact.as_input()),
            Self::List(path) => Ok(InputRecord {
                path: path.display().to_string(),
                bytes: std::fs::metadata(path)
                    .map_err(|e| Error::io("read", path, e))?
                    .len(),
                fingerprint: hash_file(path)?,
            }),
        }
    }
}

fn ranked(
    config: &VocabularyConfig,
    counts: &Artefact,
    frame: &mut Frame,
    options: &StageOptions,
) -> Result<MaskingVocabulary> {
    let (trie, note) = load(counts, config.size, options)?;
    let (mut vocabulary, report) = rank(&trie, config);
    for taken in report {
        let lowest = taken.lowest.map_or(String::new(), |score| {
            format!(", the last with score {score:.4}")
        });
        let text = format!(
            "{} of {} n-grams of {} words taken{lowest}",
            taken.taken, taken.candidates, taken.length
        );
        if taken.taken < taken.quota {
            let missing = format!(
                "{text}: {} short of the {} wanted",
                taken.quota - taken.taken,
                taken.quota
            );
            options.progress.warn(STAGE, &missing);
        } else {
            options.progress.note(STAGE, &text);
        }
        frame.total(&format!("candidates_{}", taken.length), taken.candidates);
    }
    vocabulary.provenance = Provenance {
        format: FORMAT,
        score: score_name(config.score).to_owned(),
        size: config.size,
        shares: Some(config.shares.clone()),
        min_count: Some(note.min_count),
        max_length: Some(note.max_length),
        windows: Some(note.windows),
        rules: note.rules,
        sources: Vec::new(),
    };
    Ok(vocabulary)
}

/// All files of counts by length and key range; refuses any that is missing or of
/// another count.
fn open_counts(counts: &Artefact) -> Result<Vec<(CountsFile, CountsNote)>> {
    let mut files = Vec::new();
    for copy in counts.copies() {
        let (path, _) = copy?;
        let file = CountsFile::open(&path)?;
        let note: CountsNote = serde_json::from_value(file.note().clone()).map_err(|error| {
            Error::corrupt(
                path.display().to_string(),
                error.to_string(),
                "the metadata as it was written",
                "count again",
            )
        })?;
        files.push((file, note));
    }
    files.sort_by_key(|(_, note)| (note.length, note.range));
    let complete = files.first().is_none_or(|(_, first)| {
        let expected = (1..=first.max_length)
            .flat_map(|length| (0..first.ranges).map(move |range| (length, range)));
        let found = files.iter().map(|(_, note)| (note.length, note.range));
        found.eq(expected)
            && files
                .iter()
                .all(|(_, note)| note.fingerprint == first.fingerprint)
    });
    if complete {
        return Ok(files);
    }
    Err(Error::mismatch(
        counts.path.display().to_string(),
        format!("{} files that are not one count", files.len()),
        "every key range of every length, of one count",
        "count again into an empty folder",
    ))
}

fn check_memory(
    files: &[(CountsFile, CountsNote)],
    size: u64,
    options: &StageOptions,
) -> Result<()> {
    let rows: u64 = files.iter().map(|(file, _)| file.rows()).sum();
    let of_length = |length: u32| -> u64 {
        let files = files.iter().filter(|(_, note)| note.length == length);
        files.map(|(file, _)| file.rows()).sum()
    };
    // Words twice more for their texts; ranking holds a score and a row for each
    // n-gram of one length, and F for all; what is taken has a text of its own.
    let widest = (2..=5).map(of_length).max().unwrap_or(0);
    let need =
        BYTES_PER_NGRAM * (rows + 2 * of_length(1)) + 12 * widest + 8 * rows + 64 * size.min(rows);
    if need <= options.memory.0 {
        return Ok(());
    }
    Err(Error::resource(
        "--memory",
        options.memory.to_string(),
        format!("{} for {rows} n-grams", ByteSize(need)),
        "raise --memory, or count with a higher min_count",
    ))
}

/// Reads counts into memory, if it is enough for them and for a vocabulary of `size`.
pub(super) fn load(
    counts: &Artefact,
    size: u64,
    options: &StageOptions,
) -> Result<(Trie, CountsNote)> {
    let files = open_counts(counts)?;
    let Some((_, note)) = files.first() else {
        return Err(Error::corrupt(
            counts.path.display().to_string(),
            "no files",
            "n-gram counts",
            "count again",
        ));
    };
    let note = note.clone();
    check_memory(&files, size, options)?;
    let rows: u64 = files.iter().map(|(file, _)| file.rows()).sum();
    let meter = options.progress.meter(STAGE, "n-grams", Some(rows));
    let mut trie = TrieBuilder::new(&note.windows);
    for (file, _) in files {
        options.check_stop()?;
        let (rows, place) = (file.rows(), file.path().display().to_string());
        file.read(|words, text, count| trie.push(&place, words, text, count))?;
        meter.add(rows);
    }
    meter.finish(&format!("{rows} n-grams read"));
    Ok((trie.finish(), note))
}

fn imported(
    config: &VocabularyConfig,
    path: &Path,
    frame: &mut Frame,
    options: &StageOptions,
) -> Result<MaskingVocabulary> {
    let rules: WordRules = config.import_rules.unwrap_or_default();
    let list = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let place = path.display().to_string();
    let (mut vocabulary, lines) = import(BufReader::new(list), &place, rules, config.size)?;
    let left_out = [
        ("blank", lines.blank),
        ("duplicate", lines.duplicate),
        ("of_one_word", lines.single),
        ("of_more_than_five_words", lines.long),
        ("with_punctuation", lines.punctuation),
        ("beyond_the_size", lines.beyond),
    ];
    frame.total("lines", lines.lines);
    for (name, count) in left_out {
        frame.total(&format!("lines_{name}"), count);
        if count > 0 {
            let text = format!("{count} lines {} left out", name.replace('_', " "));
            options.progress.warn(STAGE, &text);
        }
    }
    if vocabulary.is_empty() {
        return Err(Error::input(
            place,
            format!(
                "{} lines without an n-gram of two to five words",
                lines.lines
            ),
            "one n-gram a line, its words parted by spaces",
            "give a list such as those of AI21Labs/pmi-masking",
        ));
    }
    vocabulary.provenance = Provenance {
        format: FORMAT,
        score: LIST.to_owned(),
        size: config.size,
        rules,
        ..Provenance::default()
    };
    Ok(vocabulary)
}

/// Tokens in units of two words or more, and all tokens. Overlaps are resolved as
/// `cloze shard` does by default.
fn coverage(
    vocabulary: &MaskingVocabulary,
    tokens: &Artefact,
    options: &StageOptions,
) -> Result<(u64, u64)> {
    let record = tokens.tokenizer()?;
    let tokenizer = read_written(tokens.folder(), record)?;
    let texts = WordTexts::new(&tokenizer, vocabulary.provenance.rules);
    let units = Units::new(vocabulary, texts, Overlap::default(), options.seed);
    let files = TokenFiles::open(tokens, options)?;
    let (mut covered, mut all) = (0, 0);
    parallel::ordered(
        options.threads,
        files.pieces(),
        || {
            let mut segmenter = units.segmenter();
            let mut spans = crate::base::boundaries::Boundaries::new();
            let files = &files;
            move |piece| {
                let mut sums = (0, 0);
                files.documents(piece, |id, tokens, word_start| {
                    sums.0 += segmenter.segment(id, tokens, word_start, &mut spans);
                    sums.1 += tokens.len() as u64;
                    Ok(())
                })?;
                Ok(sums)
            }
        },
        |sums: (u64, u64)| {
            covered += sums.0;
            all += sums.1;
            Ok(())
        },
    )?;
    Ok((covered, all))
}

//! The files of a task as rows of ids with what they should come to: read, split where there
//! is one file, and tokenised. All of them are in memory.

use crate::base::error::{Error, Result};
use crate::base::generator::{Key, Purpose};
use crate::base::token::TokenId;
use crate::config::{FinetuneConfig, Metric, Task};
use crate::text::table::{self, TableRow, at};
use crate::tokenizer::{Encoded, Encoder, Role, Tokenizer};
use crate::training::{SentenceRow, Targets};
use std::path::{Path, PathBuf};

/// Of the purpose `Finetune`, the copy that held-out sentences are drawn by.
const COPY_OF_SPLIT: u32 = 2;

/// What is true of sentences.
#[derive(Debug, Clone, PartialEq)]
pub enum Labels {
    /// Of each its class, from 0.
    Classes(Vec<u32>),
    /// Of each its number.
    Numbers(Vec<f32>),
}

/// Sentences, or pairs, with their labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Sentences {
    /// The row of each in its file, from 0.
    pub ids: Vec<u64>,
    /// Their tokens.
    pub rows: Vec<SentenceRow>,
    /// Their labels.
    pub labels: Labels,
}

/// A task.
#[derive(Debug)]
pub struct TaskData {
    /// The classes, sorted: as numbers where all of them are whole ones. None of numbers.
    pub classes: Vec<String>,
    /// To train on.
    pub train: Sentences,
    /// To choose by.
    pub dev: Sentences,
    /// To report of.
    pub test: Option<Sentences>,
    /// How many rows lost tokens at their end.
    pub truncated: u64,
}

impl Sentences {
    /// What the sentences `places` should come to, in `buffers`.
    pub fn targets<'a>(
        &self,
        places: &[u32],
        buffers: &'a mut (Vec<u32>, Vec<f32>),
    ) -> Targets<'a> {
        let places = places.iter().map(|&place| place as usize);
        match &self.labels {
            Labels::Classes(classes) => {
                buffers.0.clear();
                buffers.0.extend(places.map(|place| classes[place]));
                Targets::Classes(&buffers.0)
            }
            Labels::Numbers(numbers) => {
                buffers.1.clear();
                buffers.1.extend(places.map(|place| numbers[place]));
                Targets::Numbers(&buffers.1)
            }
        }
    }
}

/// Reads the files of `config` and tokenises them. Where one file is for several uses, `seed`
/// draws which of its rows are held out.
///
/// # Errors
/// What [`table::read`] refuses; a label that is no number, or a class that the training file
/// has not; text that the tokenizer refuses: with file and line.
pub fn read(config: &FinetuneConfig, tokenizer: &Tokenizer, seed: u64) -> Result<TaskData> {
    let mut columns = vec![&config.sentence[..]];
    columns.extend(config.sentence2.as_deref());
    columns.push(&config.label);
    let table = |path: &Path| table::read(path, &columns, config.header);
    let train = table(&config.train)?;
    let classes = match config.task {
        Task::Classification => classes(config, &train)?,
        Task::Regression => Vec::new(),
    };
    let mut rows = Rows::new(config, tokenizer)?;
    let mut sentences = |path: &Path, table: &[TableRow], places: &[usize]| {
        let mut sentences = Sentences {
            ids: places.iter().map(|&place| place as u64).collect(),
            rows: Vec::with_capacity(places.len()),
            labels: labels(config, path, table, places, &classes)?,
        };
        for &place in places {
            sentences.rows.push(rows.row(path, &table[place])?);
        }
        Ok(sentences)
    };
    let [held_dev, held_test, kept] = split(config, train.len(), seed)?;
    let mut other = |path: &Option<PathBuf>, held: &[usize]| match path {
        Some(path) => {
            let table = table(path)?;
            let all: Vec<usize> = (0..table.len()).collect();
            sentences(path, &table, &all).map(Some)
        }
        None if held.is_empty() => Ok(None),
        None => sentences(&config.train, &train, held).map(Some),
    };
    let (dev, test) = (
        other(&config.dev, &held_dev)?,
        other(&config.test, &held_test)?,
    );
    let train = sentences(&config.train, &train, &kept)?;
    let Some(dev) = dev else {
        return Err(Error::usage(
            "finetune.dev",
            "no sentences",
            "a file, or a share of the training file",
            "write --dev FILE",
        ));
    };
    Ok(TaskData {
        classes,
        train,
        dev,
        test,
        truncated: rows.truncated,
    })
}

/// The labels of the training file, each once.
fn classes(config: &FinetuneConfig, train: &[TableRow]) -> Result<Vec<String>> {
    let mut classes: Vec<&String> = train.iter().filter_map(|row| row.cells.last()).collect();
    classes.sort();
    classes.dedup();
    let numbers: Option<Vec<i64>> = classes.iter().map(|class| class.parse().ok()).collect();
    if numbers.is_some() {
        classes.sort_by_key(|class| class.parse::<i64>().ok());
    }
    let refuse = |found: String, expected: &str, remedy: &str| {
        let place = format!("{}, column {}", config.train.display(), config.label);
        Err(Error::input(place, found, expected, remedy))
    };
    if classes.len() < 2 {
        let found = format!("{} class", classes.len());
        return refuse(
            found,
            "two classes or more",
            "name the column of labels with --label",
        );
    }
    if classes.len() > MOST_CLASSES {
        let found = format!("{} different labels", classes.len());
        return refuse(
            found,
            "classes, at most 1000",
            "for numbers, write --task regression",
        );
    }
    if config.metric() == Metric::BinaryF1 && classes.len() > 2 {
        let found = format!("{} classes", classes.len());
        return refuse(found, "two, for binary_f1", "write --metric macro_f1");
    }
    Ok(classes.into_iter().cloned().collect())
}

/// More labels than a set of classes has: numbers, or the wrong column.
const MOST_CLASSES: usize = 1000;

fn labels(
    config: &FinetuneConfig,
    path: &Path,
    table: &[TableRow],
    places: &[usize],
    classes: &[String],
) -> Result<Labels> {
    let refuse = |row: &TableRow, label: &str, expected: String, remedy: &str| {
        let found = format!("the label {label:?}");
        Error::input(at(path, &row.place), found, expected, remedy)
    };
    let labelled = places.iter().map(|&place| &table[place]);
    let labelled = labelled.map(|row| (row, row.cells.last().map_or("", String::as_str)));
    Ok(match config.task {
        Task::Classification => {
            let class = |(row, label): (&TableRow, &str)| {
                let known = classes.iter().position(|class| class == label);
                known.map(|class| class as u32).ok_or_else(|| {
                    let expected = format!("one of {}", classes.join(", "));
                    let remedy = "labels of all files must be among those of the training file";
                    refuse(row, label, expected, remedy)
                })
            };
            Labels::Classes(labelled.map(class).collect::<Result<_>>()?)
        }
        Task::Regression => {
            let number = |(row, label): (&TableRow, &str)| {
                let number = label.trim().parse().ok();
                number
                    .filter(|number: &f32| number.is_finite())
                    .ok_or_else(|| {
                        let remedy = "correct it, or write --task classification";
                        refuse(row, label, "a number".into(), remedy)
                    })
            };
            Labels::Numbers(labelled.map(number).collect::<Result<_>>()?)
        }
    })
}

/// Rows of the training file for dev, for test, and to train on.
fn split(config: &FinetuneConfig, rows: usize, seed: u64) -> Result<[Vec<usize>; 3]> {
    let key = Key {
        seed,
        copy: COPY_OF_SPLIT,
        ..Key::default()
    };
    let mut order: Vec<usize> = (0..rows).collect();
    key.generator(Purpose::Finetune).shuffle(&mut order);
    let counts = config.shares().map(|share| match share > 0.0 {
        true => ((share * rows as f64).round() as usize).max(1),
        false => 0,
    });
    let [dev, test] = counts;
    if dev + test >= rows {
        return Err(Error::input(
            config.train.display().to_string(),
            format!("{rows} rows"),
            format!("more than the {} that are held out", dev + test),
            "give more sentences, or smaller shares",
        ));
    }
    let kept = order.split_off(dev + test);
    let for_test = order.split_off(dev);
    Ok([order, for_test, kept].map(|mut places| {
        places.sort_unstable();
        places
    }))
}

/// What makes rows of ids of sentences.
struct Rows<'a> {
    encoder: Encoder<&'a Tokenizer>,
    cls: TokenId,
    sep: TokenId,
    /// Closing tokens between the sentences of a pair.
    between: usize,
    most: usize,
    truncated: u64,
    encoded: [Encoded; 2],
}

impl<'a> Rows<'a> {
    fn new(config: &FinetuneConfig, tokenizer: &'a Tokenizer) -> Result<Self> {
        let most = config.max_length as usize;
        let between = match config.sentence2 {
            Some(_) => tokenizer.between_pair(),
            None => 0,
        };
        if most < 4 + between {
            return Err(Error::usage(
                "finetune.max_length",
                most.to_string(),
                format!("room for sentences beside {} special tokens", 2 + between),
                "the usual ones are 128 to 512",
            ));
        }
        Ok(Self {
            encoder: tokenizer.encoder(),
            cls: tokenizer.require(Role::Cls)?,
            sep: tokenizer.require(Role::Sep)?,
            between,
            most,
            truncated: 0,
            encoded: [Encoded::default(), Encoded::default()],
        })
    }

    fn row(&mut self, path: &Path, row: &TableRow) -> Result<SentenceRow> {
        let texts = &row.cells[..row.cells.len() - 1];
        for (text, encoded) in texts.iter().zip(&mut self.encoded) {
            encoded.tokens.clear();
            encoded.word_start.truncate(0);
            self.encoder.encode(text, encoded).map_err(|error| {
                Error::input(
                    at(path, &row.place),
                    error.to_string(),
                    "text that the model's tokenizer takes",
                    "correct the sentence, or take it out",
                )
            })?;
        }
        let [first, second] = &mut self.encoded;
        let (first, second) = (&mut first.tokens, &mut second.tokens);
        let room = self.most - 2 - self.between;
        self.truncated += u64::from(first.len() + second.len() > room);
        while first.len() + second.len() > room {
            match first.len() > second.len() {
                true => first.pop(),
                false => second.pop(),
            };
        }
        let mut ids = Vec::with_capacity(first.len() + second.len() + 2 + self.between);
        ids.push(self.cls);
        ids.extend_from_slice(first);
        ids.extend(std::iter::repeat_n(self.sep, self.between));
        let second_begins = ids.len();
        ids.extend_from_slice(second);
        ids.push(self.sep);
        let second = match self.between {
            0 => ids.len(),
            _ => second_begins,
        };
        Ok(SentenceRow { ids, second })
    }
}

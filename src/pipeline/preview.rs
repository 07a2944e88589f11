//! `cloze mask`: the same rows masked at several rates with several strategies, as
//! the engine masks them in training. Table 1 of Wettig et al. 2023 for the user's
//! own text.
//!
//! What is drawn is plain values here ([`Preview`], also as JSON); [`render`] makes
//! text of them. Reads the record batches of the rows that it shows, and no more.

pub mod render;
#[cfg(test)]
mod tests;

use crate::base::error::{Error, Result};
use crate::base::generator::Key;
use crate::base::token::{TokenId, TokenSlice};
use crate::batches::corpus::Corpus;
use crate::batches::cut::{Frame, RowBuffer};
use crate::columnar::Document;
use crate::config::pipeline::PreviewConfig;
use crate::config::{MaskingConfig, Rate, RowLayout, RowsConfig, Strategy};
use crate::masking::{InPlace, Masker, Realised, Stamp, Workspace};
use crate::pipeline::masks;
use crate::shard::ShardSet;
use crate::tokenizer::{Encoded, Role, Tokenizer, read_written};
use serde::Serialize;
use std::path::Path;

/// What to show.
#[derive(Debug, Clone)]
pub struct Request {
    /// How many rows.
    pub rows: u64,
    /// The first row; without it rows from all over the text that begin a document.
    pub first_row: Option<u64>,
    /// Tokens in a row, special tokens included.
    pub length: u32,
    /// m_corr and m_pred of each block, top to bottom.
    pub rates: Vec<(Rate, Option<Rate>)>,
    /// Left to right; none stands for uniform, span, and pmi where there are units,
    /// word where there are none.
    pub strategies: Vec<Strategy>,
    /// Everything else about masks.
    pub masking: MaskingConfig,
    /// Seed of the masks.
    pub seed: u64,
    /// Epoch of the masks.
    pub epoch: u64,
}

/// Masked rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preview {
    /// Row by row.
    pub rows: Vec<ShownRow>,
}

/// One row and its masks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownRow {
    /// Its number, which is the sample id of its masks.
    pub row: u64,
    /// Its tokens.
    pub ids: Vec<TokenId>,
    /// Their texts, with the space in front where there is one.
    pub tokens: Vec<String>,
    /// Positions that are never masked.
    pub protected: Vec<u32>,
    /// The mask token.
    pub mask: Option<TokenId>,
    /// Rate by rate, and within one rate strategy by strategy.
    pub masks: Vec<ShownMask>,
}

/// One row under one strategy at one rate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownMask {
    /// What is selected as one.
    pub strategy: Strategy,
    /// m_corr.
    pub corruption_rate: f64,
    /// m_pred.
    pub prediction_rate: f64,
    /// All copies of the row, for more than one when m_pred > m_corr.
    pub copies: Vec<ShownCopy>,
}

/// One copy of a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownCopy {
    /// The key of its draws (those of `Select` come from copy 0).
    pub key: Key,
    /// Ids after corruption.
    pub input: Vec<TokenId>,
    /// Their texts, the mask token as the tokenizer spells it.
    pub input_tokens: Vec<String>,
    /// Positions that carry a label.
    pub predicted: Vec<u32>,
    /// The original ids there.
    pub labels: Vec<TokenId>,
    /// What was realised.
    pub realised: Realised,
}

impl Request {
    /// What `cloze run` shows: the configured rates with everything else as in the
    /// training, and the training's own rates where they are not among them.
    pub fn of_pipeline(shown: &PreviewConfig, training: &MaskingConfig, seed: u64) -> Self {
        let mut rates: Vec<(Rate, Option<Rate>)> = shown
            .rates
            .iter()
            .map(|&rate| (rate.into(), None))
            .collect();
        let own = (
            training.corruption_rate.clone(),
            training.prediction_rate.clone(),
        );
        if !rates.contains(&own) {
            rates.push(own);
        }
        Self {
            rows: shown.rows.into(),
            first_row: None,
            length: shown.length,
            rates,
            strategies: Vec::new(),
            masking: training.clone(),
            seed,
            epoch: 0,
        }
    }

    fn strategies(&self, units: bool) -> Vec<Strategy> {
        if self.strategies.is_empty() {
            let whole = if units { Strategy::Pmi } else { Strategy::Word };
            return vec![Strategy::Uniform, Strategy::Span, whole];
        }
        self.strategies.clone()
    }

    fn configurations(&self, units: bool) -> Vec<MaskingConfig> {
        let strategies = self.strategies(units);
        let pairs = self
            .rates
            .iter()
            .flat_map(|rates| strategies.iter().map(move |strategy| (rates, strategy)));
        pairs
            .map(
                |((corruption_rate, prediction_rate), &strategy)| MaskingConfig {
                    strategy,
                    corruption_rate: corruption_rate.clone(),
                    prediction_rate: prediction_rate.clone(),
                    ..self.masking.clone()
                },
            )
            .collect()
    }
}

/// Masks rows of the shards (or token files) in `folder`.
pub fn of_shards(request: &Request, folder: &Path) -> Result<Preview> {
    let corpus = Corpus::open(
        ShardSet::open(folder)?,
        &RowsConfig {
            layout: RowLayout::Packed,
            length: request.length,
        },
    )?;
    let record = corpus.shards().tokenizer()?;
    let tokenizer = read_written(corpus.shards().artefact().folder(), record)?;
    let configurations = request.configurations(corpus.shards().has_units());
    for config in &configurations {
        if config.strategy == Strategy::Pmi {
            corpus.check_units()?;
        }
    }
    let shower = Shower::new(request, &tokenizer, &configurations)?;
    let mut rows = Vec::new();
    for number in chosen(request, &corpus) {
        rows.push(shower.show(number, &corpus.row(number)?));
    }
    if rows.is_empty() {
        return Err(Error::input(
            folder.display().to_string(),
            format!("no row {}", request.first_row.unwrap_or(0)),
            format!("one of {} rows", corpus.rows()),
            "give another first row, or shards with text in them",
        ));
    }
    Ok(Preview { rows })
}

/// The rows that are shown: from the first one asked for on, or, of as many record
/// batches as there are rows to show, evenly, the first of each.
fn chosen(request: &Request, corpus: &Corpus) -> Vec<u64> {
    let batches: Vec<u64> = (0..corpus.batches())
        .map(|batch| corpus.rows_of(batch))
        .filter(|rows| !rows.is_empty())
        .map(|rows| rows.start)
        .collect();
    match request.first_row {
        None if (1..=batches.len() as u64).contains(&request.rows) => (0..request.rows as usize)
            .map(|number| batches[number * batches.len() / request.rows as usize])
            .collect(),
        first => {
            let first = first.unwrap_or(0);
            (first..corpus.rows().min(first.saturating_add(request.rows))).collect()
        }
    }
}

/// Masks rows of `texts`, each cut by itself; rows are numbered through. Tokenises
/// about as much text as it shows.
pub fn of_texts(request: &Request, tokenizer: &Tokenizer, texts: &[String]) -> Result<Preview> {
    let rows = RowsConfig {
        layout: RowLayout::Document,
        length: request.length,
    };
    rows.check()?;
    let frame = Frame::new(
        rows.layout,
        rows.length as usize,
        (tokenizer.special().cls, tokenizer.require(Role::Sep)?),
        tokenizer.special(),
        tokenizer.vocabulary_size(),
    );
    let configurations = request.configurations(false);
    let shower = Shower::new(request, tokenizer, &configurations)?;
    let first = request.first_row.unwrap_or(0);
    let wanted = first..;
    // A token is seldom longer than 16 bytes of text.
    let most = first
        .saturating_add(request.rows)
        .saturating_mul(u64::from(request.length) * 16);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut rows = Vec::new();
    let mut number = 0;
    for text in texts {
        if rows.len() as u64 == request.rows {
            break;
        }
        let text = &text[..text.floor_char_boundary(most.min(text.len()))];
        let mut encoded = Encoded::default();
        // A text that spells no tokens has no rows.
        if tokenizer.encode(text, &mut encoded).is_err() {
            continue;
        }
        let document = Document {
            id: 0,
            tokens: TokenSlice::Wide(&encoded.tokens),
            word_start: Some(encoded.word_start.as_slice()),
            span_start: None,
        };
        let room = frame.room() as usize;
        for from in (0..encoded.tokens.len()).step_by(room) {
            if rows.len() as u64 == request.rows {
                return Ok(Preview { rows });
            }
            if wanted.contains(&number) {
                let to = (from + room).min(encoded.tokens.len());
                let row = RowBuffer::of_piece(&frame, &document, from..to);
                rows.push(shower.show(number, &row));
            }
            number += 1;
        }
    }
    if rows.is_empty() {
        return Err(Error::input(
            "the text",
            format!("no row {first}"),
            format!("one of {number} rows"),
            "give more text, or an earlier row",
        ));
    }
    Ok(Preview { rows })
}

/// Masks a row in every way asked for.
struct Shower<'a> {
    request: &'a Request,
    tokenizer: &'a Tokenizer,
    maskers: Vec<(&'a MaskingConfig, Masker)>,
}

impl<'a> Shower<'a> {
    fn new(
        request: &'a Request,
        tokenizer: &'a Tokenizer,
        configurations: &'a [MaskingConfig],
    ) -> Result<Self> {
        let maskers = configurations
            .iter()
            .map(|config| Ok((config, masks::masker(config, tokenizer, None)?)))
            .collect::<Result<_>>()?;
        Ok(Self {
            request,
            tokenizer,
            maskers,
        })
    }

    fn show(&self, number: u64, buffer: &RowBuffer) -> ShownRow {
        let row = buffer.row();
        let protected = (0u32..)
            .zip(row.protected.iter())
            .filter_map(|(place, bit)| bit.then_some(place))
            .collect();
        let mut work = Workspace::new();
        let masks = self
            .maskers
            .iter()
            .map(|(config, masker)| ShownMask {
                strategy: config.strategy,
                corruption_rate: config.corruption_rate.mean(1),
                prediction_rate: config.prediction().mean(1),
                copies: self.copies(masker, number, buffer, &mut work),
            })
            .collect();
        ShownRow {
            row: number,
            ids: row.ids.to_vec(),
            tokens: self.texts(row.ids),
            protected,
            mask: self.tokenizer.special().mask,
            masks,
        }
    }

    fn copies(
        &self,
        masker: &Masker,
        number: u64,
        buffer: &RowBuffer,
        work: &mut Workspace,
    ) -> Vec<ShownCopy> {
        let row = buffer.row();
        let key = Key {
            seed: self.request.seed,
            epoch: self.request.epoch,
            sample: number,
            copy: 0,
        };
        let drawn = masker.select(&row, key, Stamp::default(), work);
        (0..drawn.copies)
            .map(|copy| {
                let (mut input, mut predicted, mut labels) = (Vec::new(), Vec::new(), Vec::new());
                let mut out = InPlace {
                    input: &mut input,
                    predicted: &mut predicted,
                    labels: &mut labels,
                };
                let realised = masker.write(&row, key, copy, work, &mut out);
                ShownCopy {
                    key: Key { copy, ..key },
                    input_tokens: self.texts(&input),
                    input,
                    predicted,
                    labels,
                    realised,
                }
            })
            .collect()
    }

    fn texts(&self, ids: &[TokenId]) -> Vec<String> {
        ids.iter().map(|&id| self.tokenizer.surface(id)).collect()
    }
}

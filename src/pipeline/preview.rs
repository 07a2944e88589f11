//! `cloze mask`: the same rows masked in several ways at several rates, as the engine
//! masks them in training. Table 1 of Wettig et al. 2023 for the user's own text.
//!
//! What is drawn is plain values here ([`Preview`], also as JSON); [`render`] makes
//! text of them and [`html`] a page. [`batch`] is for batches that are there already. Reads the record batches of the rows that it
//! shows, and no more, unless random replacements are drawn from unigram counts: these
//! take one pass over all shards.

pub mod batch;
mod draw;
mod figures;
mod glyphs;
pub mod html;
mod pieces;
pub mod render;
mod request;
#[cfg(test)]
mod tests;

pub use request::{Rates, Request, Way, spelled};

use crate::base::error::{Error, Result};
use crate::base::generator::Key;
use crate::base::token::{TokenId, TokenSlice};
use crate::batches::corpus::Corpus;
use crate::batches::cut::{Frame, RowBuffer};
use crate::batches::{Split, unigram};
use crate::columnar::Document;
use crate::config::{Layout, MaskingConfig, Preset, Rate, RowLayout, RowsConfig, Strategy};
use crate::masking::Realised;
use crate::pipeline::masks;
use crate::segment::Units;
use crate::shard::ShardSet;
use crate::tokenizer::{Encoded, Role, Tokenizer, read_written};
use draw::Shower;
use serde::Serialize;
use std::path::Path;

/// Rows masked in every way at every rate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preview {
    /// Version of cloze that masked them.
    pub version: String,
    /// Where the text comes from, as it was named.
    pub source: String,
    /// What made tokens of it.
    pub tokenizer: ShownTokenizer,
    /// Seed of the masks.
    pub seed: u64,
    /// Epoch of the masks.
    pub epoch: u64,
    /// Optimiser step that schedules are shown at.
    pub step: u64,
    /// Tokens in a row, special tokens included.
    pub length: u32,
    /// Left to right.
    pub ways: Vec<ShownWay>,
    /// Row by row.
    pub rows: Vec<ShownRow>,
    /// What was realised over all rows, in the order of a row's masks.
    pub totals: Vec<ShownTotal>,
}

/// A tokenizer by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ShownTokenizer {
    /// Its file, as it was named.
    pub name: String,
    /// Number of ids.
    pub entries: usize,
    /// Hash of the tokenizer as cloze writes it.
    pub fingerprint: String,
}

/// One way to mask.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownWay {
    /// A preset, a strategy, or `mixture`.
    pub name: String,
    /// All keys, before a block's rates are put on top.
    pub masking: MaskingConfig,
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
    /// Positions where a word begins.
    pub word_start: Vec<u32>,
    /// Positions where a unit of the masking vocabulary begins; nothing without one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unit_start: Vec<u32>,
    /// The mask token.
    pub mask: Option<TokenId>,
    /// Rate by rate, and within one rate way by way.
    pub masks: Vec<ShownMask>,
}

/// One row masked in one way at one rate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownMask {
    /// The way's name.
    pub way: String,
    /// The preset it began from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// What is selected as one; in a mixture, by the component that was drawn.
    pub strategy: Strategy,
    /// Which component of the mixture was drawn, from 0; none without a mixture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<usize>,
    /// What becomes of the selected tokens.
    pub layout: Layout,
    /// Where m_corr comes from: a number, or a law.
    pub corruption_law: Rate,
    /// Where m_pred comes from.
    pub prediction_law: Rate,
    /// m_corr that the row drew.
    pub corruption_rate: f64,
    /// m_pred that the row drew.
    pub prediction_rate: f64,
    /// What each label weighs in the loss.
    pub weight: f32,
    /// All copies of the row, for more than one when m_pred > m_corr.
    pub copies: Vec<ShownCopy>,
}

/// One copy of a row.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ShownCopy {
    /// The key of its draws (those of `Rate` and `Select` come from copy 0).
    pub key: Key,
    /// Ids after corruption.
    pub input: Vec<TokenId>,
    /// Their texts, the mask token as the tokenizer spells it.
    pub input_tokens: Vec<String>,
    /// Layouts removed and sentinel: the place in the row of each token of `input`; of
    /// a sentinel, that of the first token it stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub places: Option<Vec<u32>>,
    /// Layout sentinel: the ids to be generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Vec<TokenId>>,
    /// Their texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_tokens: Option<Vec<String>>,
    /// Positions that carry a label: in the row, or in the target if there is one.
    pub predicted: Vec<u32>,
    /// The ids to be predicted there.
    pub labels: Vec<TokenId>,
    /// What was realised.
    pub realised: Realised,
}

/// What one way at one rate realised over all rows shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownTotal {
    /// The way's name.
    pub way: String,
    /// Where m_corr comes from; nothing in a mixture, where components differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corruption_law: Option<Rate>,
    /// Where m_pred comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prediction_law: Option<Rate>,
    /// m_corr that was asked for, weighted by the maskable tokens of the rows.
    pub corruption_rate: f64,
    /// m_pred that was asked for, weighted alike.
    pub prediction_rate: f64,
    /// Copies of all rows.
    pub copies: u64,
    /// Maskable tokens of the rows, each row once.
    pub maskable: u64,
    /// Summed over all copies of all rows.
    pub realised: Realised,
}

impl ShownTokenizer {
    fn new(name: String, tokenizer: &Tokenizer) -> Self {
        Self {
            name,
            entries: tokenizer.vocabulary_size(),
            fingerprint: tokenizer.fingerprint().to_owned(),
        }
    }
}

/// Raw text and what makes rows of it.
pub struct RawText<'a> {
    /// How the text is named.
    pub source: String,
    /// Documents, each cut by itself.
    pub texts: Vec<String>,
    /// Makes tokens of them.
    pub tokenizer: &'a Tokenizer,
    /// How the tokenizer is named.
    pub tokenizer_name: String,
    /// Makes units of them.
    pub units: Option<&'a Units>,
}

/// Masks rows of the shards (or token files) in `folder`.
pub fn of_shards(request: &Request, folder: &Path) -> Result<Preview> {
    let shards = ShardSet::open(folder)?;
    let ways = request.ways(shards.has_units());
    let length = request.length(&ways)?;
    let rows = RowsConfig {
        layout: RowLayout::Packed,
        length,
    };
    let corpus = Corpus::open(shards, &rows)?;
    let record = corpus.shards().tokenizer()?;
    let tokenizer = read_written(corpus.shards().artefact().folder(), record)?;
    if ways.iter().any(Way::needs_units) {
        corpus.check_units()?;
    }
    let counts = if ways.iter().any(|way| masks::needs_counts(&way.masking)) {
        let all = Split {
            training: corpus.rows(),
            held_out: 0,
        };
        Some(unigram(&corpus, all)?.counts)
    } else {
        None
    };
    let shower = Shower::new(request, &ways, &tokenizer, counts.as_deref())?;
    let rows = chosen(request, &corpus)
        .into_iter()
        .map(|number| Ok((number, corpus.row(number)?)))
        .collect::<Result<Vec<_>>>()?;
    let source = folder.display().to_string();
    if rows.is_empty() {
        return Err(no_row(request, source, corpus.rows()));
    }
    let named = ShownTokenizer::new(record.file.clone(), &tokenizer);
    let mut preview = request.preview(source, named, length, &ways);
    (preview.rows, preview.totals) = shower.show(&rows, corpus.shards().has_units());
    Ok(preview)
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

/// Masks rows of raw text; rows are numbered through. Tokenises about as much text as
/// it shows; unigram counts are those of this text.
pub fn of_texts(request: &Request, raw: &RawText<'_>) -> Result<Preview> {
    let tokenizer = raw.tokenizer;
    let ways = request.ways(raw.units.is_some());
    let length = request.length(&ways)?;
    if raw.units.is_none()
        && let Some(way) = ways.iter().find(|way| way.needs_units())
    {
        return Err(Error::usage(
            way.name.clone(),
            "PMI units of raw text, without a masking vocabulary",
            "a masking vocabulary",
            "give --vocabulary FILE, show shards that have units, or mask whole words: \
             strategy = \"word\"",
        ));
    }
    let rows = RowsConfig {
        layout: RowLayout::Document,
        length,
    };
    rows.check()?;
    let frame = Frame::new(
        rows.layout,
        rows.length as usize,
        (tokenizer.special().cls, tokenizer.require(Role::Sep)?),
        tokenizer.special(),
        tokenizer.vocabulary_size(),
    );
    let documents = encoded(request, raw, length);
    let mut counts = vec![0; tokenizer.vocabulary_size()];
    for &id in documents.iter().flat_map(|document| &document.tokens) {
        counts[id as usize] += u64::from(!tokenizer.special().is_reserved(id));
    }
    let shower = Shower::new(request, &ways, tokenizer, Some(&counts))?;
    let (rows, number) = cut(request, raw, &frame, &documents);
    if rows.is_empty() {
        return Err(no_row(request, raw.source.clone(), number));
    }
    let named = ShownTokenizer::new(raw.tokenizer_name.clone(), tokenizer);
    let mut preview = request.preview(raw.source.clone(), named, length, &ways);
    (preview.rows, preview.totals) = shower.show(&rows, raw.units.is_some());
    Ok(preview)
}

/// The tokens of as many texts, and of each as much, as the rows asked for may need.
fn encoded(request: &Request, raw: &RawText<'_>, length: u32) -> Vec<Encoded> {
    let first = request.first_row.unwrap_or(0);
    let mut wanted = first
        .saturating_add(request.rows)
        .saturating_mul(length.into());
    // A token is seldom longer than 16 bytes of text.
    let most = usize::try_from(wanted.saturating_mul(16)).unwrap_or(usize::MAX);
    let mut documents = Vec::new();
    for text in &raw.texts {
        if wanted == 0 {
            break;
        }
        let text = &text[..text.floor_char_boundary(most.min(text.len()))];
        let mut document = Encoded::default();
        // A text that spells no tokens has no rows.
        if raw.tokenizer.encode(text, &mut document).is_ok() {
            // Each document's last row may hold a single token.
            let rows = document.tokens.len().div_ceil(length as usize) as u64;
            wanted = wanted.saturating_sub(rows * u64::from(length));
            documents.push(document);
        }
    }
    documents
}

/// The rows asked for with their numbers, and the number of rows that were cut.
fn cut(
    request: &Request,
    raw: &RawText<'_>,
    frame: &Frame,
    documents: &[Encoded],
) -> (Vec<(u64, RowBuffer)>, u64) {
    let first = request.first_row.unwrap_or(0);
    let wanted = first..first.saturating_add(request.rows);
    let room = frame.room() as usize;
    let mut segmenter = raw.units.map(Units::segmenter);
    let mut unit_start = Default::default();
    let mut rows = Vec::new();
    let mut number = 0;
    for (id, encoded) in (0..).zip(documents) {
        let tokens = TokenSlice::Wide(&encoded.tokens);
        let word_start = encoded.word_start.as_slice();
        if let Some(segmenter) = &mut segmenter {
            segmenter.segment(id, tokens, word_start, &mut unit_start);
        }
        let document = Document {
            id,
            tokens,
            word_start: Some(word_start),
            span_start: segmenter.is_some().then(|| unit_start.as_slice()),
        };
        for from in (0..encoded.tokens.len()).step_by(room) {
            if wanted.contains(&number) {
                let to = (from + room).min(encoded.tokens.len());
                rows.push((number, RowBuffer::of_piece(frame, &document, from..to)));
            }
            number += 1;
        }
    }
    (rows, number)
}

fn no_row(request: &Request, source: String, rows: u64) -> Error {
    Error::input(
        source,
        format!("no row {}", request.first_row.unwrap_or(0)),
        format!("one of {rows} rows"),
        "give more text, or an earlier row",
    )
}

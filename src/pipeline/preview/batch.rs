//! A batch as it reaches a model, to be looked at. What a token was before is read off its
//! label; of one that was corrupted and is not predicted nobody knows it any more.

use super::{ShownCopy, ShownMask, ShownRow, ShownTokenizer, figures};
use crate::base::error::{Error, Result};
use crate::base::generator::Key;
use crate::base::token::TokenId;
use crate::config::{Layout, MaskingConfig, Strategy};
use crate::masking::Realised;
use crate::tokenizer::Tokenizer;

/// What stands for a token that is not known.
const UNKNOWN: &str = "…";

/// Rows of tokens side by side, each `length` long.
#[derive(Debug, Clone, Copy)]
pub struct BatchIds<'a> {
    /// Tokens in a row.
    pub length: usize,
    /// Ids after corruption.
    pub input_ids: &'a [i64],
    /// 1 for a token, 0 for padding.
    pub attention_mask: &'a [i64],
    /// The id to be predicted; below 0 where there is none.
    pub labels: &'a [i64],
}

/// The first rows of a batch, and what was realised over all.
#[derive(Debug, Clone, PartialEq)]
pub struct ShownBatch {
    /// What made the tokens.
    pub tokenizer: ShownTokenizer,
    /// Rows in the batch.
    pub count: usize,
    /// Tokens in a row.
    pub length: usize,
    /// The first rows, each with one mask of one copy.
    pub rows: Vec<ShownRow>,
    /// Over all rows.
    pub realised: Realised,
}

impl ShownBatch {
    /// Looks at all rows of `ids`, and keeps the first `most`.
    ///
    /// # Errors
    /// Planes of different sizes.
    pub fn new(ids: BatchIds<'_>, most: usize, tokenizer: &Tokenizer) -> Result<Self> {
        let size = ids.input_ids.len();
        if ids.length == 0
            || !size.is_multiple_of(ids.length)
            || [ids.attention_mask.len(), ids.labels.len()] != [size, size]
        {
            return Err(Error::usage(
                "batch",
                format!(
                    "{size} ids, {} of a mask and {} labels in rows of {}",
                    ids.attention_mask.len(),
                    ids.labels.len(),
                    ids.length
                ),
                "as many of each, in whole rows",
                "show a batch as it came",
            ));
        }
        let mut shown = Self {
            tokenizer: ShownTokenizer::new("tokenizer".into(), tokenizer),
            count: size / ids.length,
            length: ids.length,
            rows: Vec::new(),
            realised: Realised::default(),
        };
        let planes = ids
            .input_ids
            .chunks(ids.length)
            .zip(ids.attention_mask.chunks(ids.length))
            .zip(ids.labels.chunks(ids.length));
        for (number, ((input, mask), labels)) in planes.enumerate() {
            let len = mask.iter().take_while(|&&present| present != 0).count();
            let row = row(number as u64, &input[..len], &labels[..len], tokenizer);
            shown.realised.add(&row.masks[0].copies[0].realised);
            if number < most {
                shown.rows.push(row);
            }
        }
        Ok(shown)
    }

    /// What was realised, in words.
    pub fn shares(&self) -> String {
        figures::realised(&self.realised)
    }
}

fn row(number: u64, input: &[i64], labels: &[i64], tokenizer: &Tokenizer) -> ShownRow {
    let special = tokenizer.special();
    let id = |id: i64| TokenId::try_from(id).unwrap_or(TokenId::MAX);
    let mut ids = Vec::with_capacity(input.len());
    let mut copy = ShownCopy {
        key: Key {
            sample: number,
            ..Key::default()
        },
        input: input.iter().copied().map(id).collect(),
        ..ShownCopy::default()
    };
    let mut protected = Vec::new();
    let realised = &mut copy.realised;
    for (place, (&now, &label)) in (0u32..).zip(copy.input.iter().zip(labels)) {
        let is_mask = special.mask == Some(now);
        let before = match (label >= 0, is_mask) {
            (true, _) => id(label),
            (false, true) => TokenId::MAX,
            (false, false) => now,
        };
        if label >= 0 {
            copy.predicted.push(place);
            copy.labels.push(before);
            realised.predicted += 1;
        } else if !is_mask && special.is_reserved(now) {
            protected.push(place);
        }
        realised.masked += u64::from(is_mask && before != now);
        realised.random += u64::from(!is_mask && before != now);
        realised.same += u64::from(label >= 0 && before == now);
        ids.push(before);
    }
    realised.maskable = (ids.len() - protected.len()) as u64;
    copy.input_tokens = texts(&copy.input, tokenizer);
    let shares = (realised.corrupted() + realised.same, realised.predicted);
    let rate = |count: u64| count as f64 / realised.maskable.max(1) as f64;
    let (corruption_rate, prediction_rate) = (rate(shares.0), rate(shares.1));
    let laws = MaskingConfig::default();
    ShownRow {
        row: number,
        tokens: texts(&ids, tokenizer),
        ids,
        protected,
        word_start: Vec::new(),
        unit_start: Vec::new(),
        mask: special.mask,
        masks: vec![ShownMask {
            way: String::new(),
            preset: None,
            strategy: Strategy::Uniform,
            component: None,
            layout: Layout::InPlace,
            corruption_law: laws.corruption_rate.clone(),
            prediction_law: laws.corruption_rate,
            corruption_rate,
            prediction_rate,
            weight: 1.0,
            copies: vec![copy],
        }],
    }
}

fn texts(ids: &[TokenId], tokenizer: &Tokenizer) -> Vec<String> {
    ids.iter()
        .map(|&id| match id {
            TokenId::MAX => format!(" {UNKNOWN}"),
            id => tokenizer.surface(id),
        })
        .collect()
}

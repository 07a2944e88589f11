//! Minimal pairs from a file, judged by a model. In memory: both sentences of each pair.

use super::subject::Subject;
use crate::base::error::{Error, Result};
use crate::base::token::TokenId;
use crate::config::EvaluateConfig;
use crate::evaluation::likelihood::{Around, log_likelihoods};
use crate::evaluation::pairs::JudgedPair;
use crate::text::compression;
use crate::tokenizer::{Encoded, Tokenizer};
use crate::training::{Model, Predictor};
use serde::Deserialize;
use std::collections::HashMap;
use std::io::BufRead;
use std::path::Path;

/// A line of BLiMP, as far as it is used.
#[derive(Deserialize)]
struct Line {
    sentence_good: String,
    sentence_bad: String,
    #[serde(rename = "UID")]
    paradigm: String,
    #[serde(rename = "linguistics_term")]
    phenomenon: Option<String>,
    field: Option<String>,
}

/// The pairs of a file, tokenised.
pub struct PairFile {
    pairs: Vec<JudgedPair>,
    /// Of each pair: the good sentence, then the bad one.
    sentences: Vec<Vec<TokenId>>,
    around: Around,
}

impl PairFile {
    /// Reads the pairs of `file` for `model`; of each paradigm at most as many as `config`
    /// says.
    ///
    /// # Errors
    /// A file that cannot be read, or has no pairs; a line that is none; a sentence for which
    /// the model has no positions: each with its line.
    pub fn read(
        file: &Path,
        config: &EvaluateConfig,
        subject: &Subject,
        (model, tokenizer): (&Model, &Tokenizer),
    ) -> Result<Self> {
        let around = subject.around(tokenizer)?;
        let positions = model.shape.positions as usize;
        let failed = |error| Error::io("read", file, error);
        let (_, mut reader) = compression::open(file).map_err(failed)?;
        let mut encoder = tokenizer.encoder();
        let mut found = Self {
            pairs: Vec::new(),
            sentences: Vec::new(),
            around,
        };
        let most = config.blimp_pairs.map_or(u64::MAX, u64::from);
        let mut of_paradigm: HashMap<String, u64> = HashMap::new();
        let mut bytes = Vec::new();
        for number in 1.. {
            bytes.clear();
            if reader.read_until(b'\n', &mut bytes).map_err(failed)? == 0 {
                break;
            }
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            let place = || format!("{}, line {number}", file.display());
            let line: Line = serde_json::from_slice(&bytes).map_err(|error| {
                Error::input(
                    place(),
                    error.to_string(),
                    "a JSON object with sentence_good, sentence_bad and UID, all text",
                    "give minimal pairs in the form of BLiMP",
                )
            })?;
            let seen = of_paradigm.entry(line.paradigm.clone()).or_default();
            *seen += 1;
            if *seen > most {
                continue;
            }
            for sentence in [&line.sentence_good, &line.sentence_bad] {
                let mut encoded = Encoded::default();
                encoder.encode(sentence, &mut encoded).map_err(|error| {
                    Error::input(
                        place(),
                        format!("{sentence:?}: {error}"),
                        "a sentence that the tokenizer can cut",
                        "take the line out",
                    )
                })?;
                let tokens = encoded.tokens;
                if tokens.is_empty() || tokens.len() + around.tokens() > positions {
                    return Err(Error::input(
                        place(),
                        format!("{sentence:?}, {} tokens", tokens.len()),
                        format!(
                            "1 to {} tokens, for which the model has positions",
                            positions.saturating_sub(around.tokens())
                        ),
                        "take the line out, or evaluate a model with more positions",
                    ));
                }
                found.sentences.push(tokens);
            }
            found.pairs.push(JudgedPair {
                paradigm: line.paradigm,
                phenomenon: line.phenomenon,
                field: line.field,
                line: number,
                good: 0.0,
                bad: 0.0,
            });
        }
        if found.pairs.is_empty() {
            return Err(Error::input(
                file.display().to_string(),
                "no line",
                "minimal pairs",
                "name a file with pairs, or leave blimp out",
            ));
        }
        Ok(found)
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Tokens of all sentences.
    pub fn labels(&self) -> u64 {
        self.sentences
            .iter()
            .map(|tokens| tokens.len() as u64)
            .sum()
    }

    /// The pairs, as `predictor` judges them. `passed` hears after each pass how many are done.
    pub fn judge(
        mut self,
        predictor: &Predictor,
        mut passed: impl FnMut(usize) -> Result<()>,
    ) -> Result<Vec<JudgedPair>> {
        let sentences: Vec<&[TokenId]> = self.sentences.iter().map(Vec::as_slice).collect();
        let found = log_likelihoods(predictor, self.around, &sentences, |done| passed(done / 2))?;
        for (pair, found) in self.pairs.iter_mut().zip(found.chunks_exact(2)) {
            (pair.good, pair.bad) = (found[0], found[1]);
        }
        Ok(self.pairs)
    }
}

//! Pseudo-log-likelihoods of sentences (Salazar et al. 2020): each token hidden in turn,
//! log p of it added up.
//!
//! A sentence of n tokens is n rows, each of n tokens and the special ones around. The
//! model's last layer and its head run on the hidden token of each row only, and no
//! padding goes through it, whatever the lengths. So a sentence costs n (n + 2) tokens of
//! a pass up to the last layer, and n times the head, which is most of it for small models:
//! 2 · hidden · vocabulary operations and as many exponentials as the vocabulary has tokens.

use crate::base::error::Result;
use crate::base::token::TokenId;
use crate::batches::OneHidden;
use crate::training::Model;

/// Tokens of a pass: some hundred rows, so that what each pass costs whatever its rows
/// (laying out the word embeddings for the head) hardly counts.
const TOKENS: usize = 1 << 13;

/// What stands around a sentence, and for a hidden token.
#[derive(Debug, Clone, Copy)]
pub struct Around {
    /// Before it, where the tokenizer has such a token.
    pub cls: Option<TokenId>,
    /// Behind it.
    pub sep: TokenId,
    /// In the place of a hidden token.
    pub mask: TokenId,
    /// Where a batch has no token.
    pub pad: TokenId,
}

impl Around {
    /// Tokens around a sentence.
    pub fn tokens(&self) -> usize {
        1 + usize::from(self.cls.is_some())
    }
}

/// Log-likelihoods of `sentences`, in nats. `passed` hears after each pass how many
/// sentences are done; its error ends the work. A sentence without tokens has 0.
///
/// # Errors
/// A sentence for which the model has no positions, and an id that it does not know.
pub fn log_likelihoods(
    model: &Model,
    around: Around,
    sentences: &[&[TokenId]],
    mut passed: impl FnMut(usize) -> Result<()>,
) -> Result<Vec<f64>> {
    let longest = sentences.iter().map(|sentence| sentence.len()).max();
    let longest = longest.unwrap_or(0) + around.tokens();
    let layout = model.shape.layout();
    let mut found = vec![0.0; sentences.len()];
    let mut hidden = (0..).zip(sentences).flat_map(|(number, sentence)| {
        let places = 0..sentence.len();
        places.map(move |place| (number, place))
    });
    let mut row = Vec::with_capacity(longest);
    loop {
        let mut rows = OneHidden::new(layout, longest, around.mask, around.pad);
        let (mut of_rows, mut tokens): (Vec<usize>, _) = (Vec::new(), 0);
        while tokens < TOKENS
            && let Some((number, place)) = hidden.next()
        {
            row.clear();
            row.extend(around.cls);
            let start = row.len();
            row.extend_from_slice(sentences[number]);
            row.push(around.sep);
            rows.push(&row, start + place);
            of_rows.push(number);
            tokens += row.len();
        }
        let Some(&last) = of_rows.last() else {
            return Ok(found);
        };
        let predictions = model.predictions(&rows.finish())?;
        for (number, prediction) in of_rows.into_iter().zip(&predictions) {
            found[number] -= prediction.loss;
        }
        passed(last)?;
    }
}

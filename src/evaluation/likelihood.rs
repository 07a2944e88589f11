//! Pseudo-log-likelihoods of sentences (Salazar et al. 2020): each token hidden in turn,
//! log p of it added up.
//!
//! A sentence of n tokens is n rows, each of n tokens and the special ones around. The
//! model's last layer and its head run on the hidden token of each row only. On the CPU no
//! padding goes through it; on a GPU hardly any, since sentences of like length share a
//! pass. So a sentence costs n (n + 2) tokens of
//! a pass up to the last layer, and n times the head, which is most of it for small models:
//! 2 · hidden · vocabulary operations and as many exponentials as the vocabulary has tokens.

use crate::base::error::Result;
use crate::base::token::TokenId;
use crate::batches::OneHidden;
use crate::training::Predictor;

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
    predictor: &Predictor,
    around: Around,
    sentences: &[&[TokenId]],
    mut passed: impl FnMut(usize) -> Result<()>,
) -> Result<Vec<f64>> {
    let layout = predictor.model().shape.layout();
    let mut found = vec![0.0; sentences.len()];
    // Sentences of like length together: on a GPU rows of a pass are padded.
    let mut order: Vec<usize> = (0..sentences.len()).collect();
    order.sort_by_key(|&number| sentences[number].len());
    let mut hidden = order.iter().enumerate().flat_map(|(done, &number)| {
        let places = 0..sentences[number].len();
        places.map(move |place| (done, number, place))
    });
    let mut row = Vec::new();
    loop {
        let (mut rows, mut tokens) = (Vec::new(), 0);
        while tokens < TOKENS
            && let Some(one) = hidden.next()
        {
            rows.push(one);
            tokens += sentences[one.1].len() + around.tokens();
        }
        let Some(&(done, longest, _)) = rows.last() else {
            return Ok(found);
        };
        let longest = sentences[longest].len() + around.tokens();
        let mut batch = OneHidden::new(layout, longest, around.mask, around.pad);
        for &(_, number, place) in &rows {
            row.clear();
            row.extend(around.cls);
            let start = row.len();
            row.extend_from_slice(sentences[number]);
            row.push(around.sep);
            batch.push(&row, start + place);
        }
        let predictions = predictor.predictions(&batch.finish())?;
        for (&(_, number, _), prediction) in rows.iter().zip(&predictions) {
            found[number] -= prediction.loss;
        }
        passed(done)?;
    }
}

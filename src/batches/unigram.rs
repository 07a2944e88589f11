//! Entropy of single tokens: the loss of a model that knows how frequent each token
//! is and nothing else. A trained model's validation loss has to be below it.

use super::corpus::{Corpus, Split};
use super::cut::RowBuffer;
use crate::base::error::{Error, Result};
use crate::base::token::{TokenId, TokenSlice};
use crate::columnar::Projection;

/// How frequent tokens are in the training rows, special tokens left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Unigram {
    /// How often each token id occurs.
    pub counts: Vec<u64>,
    /// Tokens counted.
    pub tokens: u64,
    /// Different ones among them.
    pub types: u64,
    /// −Σ p ln p, in nats.
    pub entropy: f64,
}

/// Counts the tokens of the rows below `split.training`. Decodes every record batch
/// once; 8 bytes an entry of the vocabulary and one record batch in memory.
pub fn unigram(corpus: &Corpus, split: Split) -> Result<Unigram> {
    let only_tokens = Projection {
        tokens: true,
        word_start: false,
        span_start: false,
    };
    let mut counts = vec![0u64; corpus.vocabulary()];
    let mut buffer = RowBuffer::default();
    for index in 0..corpus.batches() {
        let rows = corpus.rows_of(index);
        if rows.start >= split.training {
            break;
        }
        let cut = corpus.read(index, only_tokens)?;
        if rows.end <= split.training {
            for document in cut.documents().documents() {
                count(document.tokens, &mut counts)?;
            }
        } else {
            for row in 0..split.training - rows.start {
                cut.fill(corpus.frame(), row, &mut buffer);
                count(TokenSlice::Wide(buffer.row().ids), &mut counts)?;
            }
        }
    }
    for &id in &corpus.shards().special_tokens()?.reserved {
        if let Some(count) = counts.get_mut(id as usize) {
            *count = 0;
        }
    }
    Ok(of_counts(counts))
}

fn count(tokens: TokenSlice<'_>, counts: &mut [u64]) -> Result<()> {
    let beyond = match tokens {
        TokenSlice::Narrow(ids) => add(ids.iter().map(|&id| id.into()), counts),
        TokenSlice::Wide(ids) => add(ids.iter().copied(), counts),
    };
    match beyond {
        None => Ok(()),
        Some(id) => Err(Error::mismatch(
            "shards",
            format!("token id {id}"),
            format!("ids below {}, the size of the vocabulary", counts.len()),
            "tokenizer and shards do not belong together: write the shards again",
        )),
    }
}

/// Counts `ids`; the first one beyond the vocabulary, if any.
fn add(ids: impl Iterator<Item = TokenId>, counts: &mut [u64]) -> Option<TokenId> {
    for id in ids {
        match counts.get_mut(id as usize) {
            Some(count) => *count += 1,
            None => return Some(id),
        }
    }
    None
}

fn of_counts(counts: Vec<u64>) -> Unigram {
    let tokens: u64 = counts.iter().sum();
    let entropy = counts
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| {
            let p = count as f64 / tokens as f64;
            -p * p.ln()
        })
        .sum();
    Unigram {
        tokens,
        types: counts.iter().filter(|&&count| count > 0).count() as u64,
        entropy,
        counts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_equal_tokens_have_the_entropy_of_two_bits() {
        let found = of_counts(vec![3, 0, 3, 3, 3]);
        assert!((found.entropy - 4f64.ln()).abs() < 1e-12);
        assert_eq!((found.tokens, found.types), (12, 4));
        assert_eq!(of_counts(vec![0, 0]).entropy, 0.0);
    }
}

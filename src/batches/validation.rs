//! Validation batches: held-out rows with a rate and a seed of their own, whatever
//! the training masks are, so that losses of different runs compare.

use super::Batch;
use super::corpus::{Corpus, Split};
use super::held_out::HeldOut;
use super::masks::BatchMasker;
use crate::base::error::Result;
use crate::base::generator::Key;
use crate::config::train::ValidationConfig;
use crate::config::{Layout, MaskingConfig};
use crate::masking::{Masker, Stamp, TokenTable};

/// The validation batches of `batch_rows` rows each, the last one shorter. Of more
/// than `max_rows` rows held out, that many are taken, evenly. Masks: uniform at `rate`,
/// all by the mask token, keyed by (`seed`, epoch 0, canonical row), and so the same tokens
/// in each `layout`, whose rows lose them where it is `removed`. All in memory: 4 bytes a
/// token and 8 a label.
pub fn validation(
    corpus: &Corpus,
    split: Split,
    config: &ValidationConfig,
    layout: Layout,
    batch_rows: usize,
) -> Result<Vec<Batch>> {
    let masking = MaskingConfig {
        corruption_rate: config.rate.into(),
        layout,
        ..MaskingConfig::default()
    };
    let tokens = TokenTable::new(corpus.vocabulary(), corpus.shards().special_tokens()?);
    let mut masks = BatchMasker::new(corpus, Masker::new(&masking, &tokens)?)?;
    let mut rows = HeldOut::new(corpus, split, config.max_rows, masks.projection());
    let mut batches: Vec<Batch> = Vec::new();
    while let Some((row, buffer)) = rows.next_row()? {
        if batches.last().is_none_or(|batch| batch.rows == batch_rows) {
            batches.push(masks.begin(batch_rows));
        }
        if let Some(batch) = batches.last_mut() {
            let key = Key {
                seed: config.seed,
                epoch: 0,
                sample: row,
                copy: 0,
            };
            masks.push(buffer, key, Stamp::default(), batch);
        }
    }
    for batch in &mut batches {
        masks.finish(batch);
    }
    Ok(batches)
}

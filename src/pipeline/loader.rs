//! A loader for trainings elsewhere: shards opened, rows counted, masks made ready for their
//! tokenizer.
//!
//! Cost: opening reads manifests, footers and a tokenizer. Layouts other than packed read one
//! bit plane of every record batch, random replacements by unigram counts all tokens once.

use crate::base::error::Result;
use crate::base::fingerprint;
use crate::batches::{
    Batch, Corpus, Draws, Loader, Mixture, Split, reader::WINDOW_TOKENS, unigram, validation,
};
use crate::config::keys::check_share;
use crate::config::train::ValidationConfig;
use crate::config::{Layout, LoaderConfig, MaskingConfig};
use crate::pipeline::masks;
use crate::shard::ShardSet;
use crate::tokenizer::{Tokenizer, read_written};
use std::sync::Arc;

/// A loader with what it was made from.
pub struct Opened {
    /// Gives the batches.
    pub loader: Loader,
    /// Fingerprint of the rows, their order and their masks: streams of equal ones are the
    /// same, whoever shares them.
    pub fingerprint: String,
    /// The tokenizer behind the ids.
    pub tokenizer: Tokenizer,
    layout: Layout,
    sources: Vec<(Arc<Corpus>, Split)>,
}

/// Opens what `config` names.
///
/// # Errors
/// Shards that are missing or damaged, that have no row to read, or do not belong together;
/// masks that cannot work, or need units that shards do not have.
pub fn open(config: &LoaderConfig) -> Result<Opened> {
    config.check()?;
    let sources = config
        .shards
        .iter()
        .map(|folder| {
            let shards = ShardSet::open_by(folder, config.read)?;
            let corpus = Corpus::open(shards, &config.rows())?;
            let split = split(&corpus, config.held_out)?;
            Ok((Arc::new(corpus), split))
        })
        .collect::<Result<Vec<_>>>()?;
    let first = &sources[0].0;
    let record = first.shards().tokenizer()?;
    let tokenizer = read_written(first.shards().artefact().folder(), record)?;
    let counts = counts(&config.masking, &sources)?;
    let masker = masks::masker(&config.masking, &tokenizer, counts.as_deref())?;
    let sizes = sources.iter().map(|(_, split)| split.training).collect();
    let mixture = match &config.weights {
        None => Mixture::whole(sizes)?,
        Some(weights) => Mixture::weighted(sizes, weights)?,
    };
    let draws = Draws {
        seed: config.seed,
        window_tokens: WINDOW_TOKENS,
    };
    let read = sources
        .iter()
        .map(|(corpus, split)| (Arc::clone(corpus), split.training));
    Ok(Opened {
        loader: Loader::new(read.collect(), mixture, masker, draws)?,
        fingerprint: fingerprint_of(config, &sources)?,
        tokenizer,
        layout: config.masking.layout,
        sources,
    })
}

impl Opened {
    /// The rows held out, with the masks of `config` in the layout of the training, in batches
    /// of `batch_rows`: source after source, of each at most `config.max_rows`. `config.share` and `config.every` change
    /// nothing.
    pub fn validation(&self, config: &ValidationConfig, batch_rows: usize) -> Result<Vec<Batch>> {
        check_share("rate", config.rate)?;
        let mut batches = Vec::new();
        for (corpus, split) in &self.sources {
            let rows = batch_rows.max(1);
            batches.extend(validation(corpus, *split, config, self.layout, rows)?);
        }
        Ok(batches)
    }
}

/// All rows, or all but the last ones.
fn split(corpus: &Corpus, held_out: f64) -> Result<Split> {
    if held_out == 0.0 {
        return Ok(Split {
            training: corpus.rows(),
            held_out: 0,
        });
    }
    corpus.split(&ValidationConfig {
        share: held_out,
        ..ValidationConfig::default()
    })
}

/// How often each token occurs in the rows of all sources, if masks go by it.
fn counts(masking: &MaskingConfig, sources: &[(Arc<Corpus>, Split)]) -> Result<Option<Vec<u64>>> {
    if !masks::needs_counts(masking) {
        return Ok(None);
    }
    let mut all: Vec<u64> = Vec::new();
    for (corpus, split) in sources {
        let counts = unigram(corpus, *split)?.counts;
        all.resize(counts.len().max(all.len()), 0);
        for (sum, count) in all.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    Ok(Some(all))
}

fn fingerprint_of(config: &LoaderConfig, sources: &[(Arc<Corpus>, Split)]) -> Result<String> {
    let contents: Vec<String> = sources
        .iter()
        .map(|(corpus, _)| corpus.shards().artefact().content_fingerprint())
        .collect();
    // A file of token weights by what is in it.
    let mut masking = config.masking.clone();
    masking.token_weights = None;
    for component in &mut masking.mixture {
        component.masking.token_weights = None;
    }
    let files: Vec<String> = masks::inputs(&config.masking)?
        .into_iter()
        .map(|input| input.fingerprint)
        .collect();
    fingerprint::of_value(&(
        contents,
        &config.weights,
        config.rows(),
        (masking, files),
        config.seed,
        config.held_out,
    ))
}

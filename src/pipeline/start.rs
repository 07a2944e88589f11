//! What a training run starts from: initial weights, or a model that somebody trained
//! before, with a tokenizer that has to be that of the shards.

use crate::base::error::{Error, Result};
use crate::config::{InitialBias, TokenizeConfig, TrainConfig};
use crate::storage::InputRecord;
use crate::tokenizer::Tokenizer;
use crate::training::{Model, files, import};
use std::path::Path;

/// The files that `config`'s model is read from, as inputs of a stage.
pub fn inputs(config: &TrainConfig) -> Result<Vec<InputRecord>> {
    let Some(folder) = &config.model.from else {
        return Ok(Vec::new());
    };
    let files = files(folder)?;
    files.iter().map(|file| InputRecord::of(file)).collect()
}

/// The model before its first step. `counts` are those of the tokens of the training
/// rows.
///
/// # Errors
/// What [`import`] refuses, rows longer than the model's positions, and shards of another
/// tokenizer than the model's.
pub fn model(
    config: &TrainConfig,
    tokenizer: &Tokenizer,
    counts: &[u64],
    seed: u64,
) -> Result<Model> {
    let size = tokenizer.vocabulary_size();
    let Some(folder) = &config.model.from else {
        let mut model = Model::initial(&config.model(), size, seed);
        if config.model.initial_bias == InitialBias::Unigram {
            model.parameters.start_from_unigrams(counts);
        }
        return Ok(model);
    };
    check_tokenizer(folder, tokenizer)?;
    let mut model = import(folder, &config.model(), seed)?;
    config.check_row_length(&model.shape)?;
    // Tokens that were added to the model's tokenizer.
    model.parameters.extend_vocabulary(size, seed);
    Ok(model)
}

/// Refuses shards whose ids mean something else to the model. A folder without a
/// tokenizer is trusted.
fn check_tokenizer(folder: &Path, tokenizer: &Tokenizer) -> Result<()> {
    match tokenizer_of(folder)? {
        Some(theirs) => check_same_ids(folder, &theirs, tokenizer),
        None => Ok(()),
    }
}

/// The tokenizer beside the model in `folder`, if there is one.
pub(super) fn tokenizer_of(folder: &Path) -> Result<Option<Tokenizer>> {
    let files = ["tokenizer.json", "vocab.txt", "vocab.json"];
    if !files.iter().any(|name| folder.join(name).is_file()) {
        return Ok(None);
    }
    let config = TokenizeConfig {
        tokenizer: folder.to_owned(),
        ..TokenizeConfig::default()
    };
    Tokenizer::load(&config).map(Some)
}

/// Refuses shards of `tokenizer` whose ids mean something else to `theirs`, that of the
/// model in `folder`.
pub(super) fn check_same_ids(
    folder: &Path,
    theirs: &Tokenizer,
    tokenizer: &Tokenizer,
) -> Result<()> {
    let differs = (0..theirs.vocabulary_size() as u32)
        .map(|id| (id, theirs.spelling(id)))
        .find(|(id, spelling)| !spelling.is_empty() && tokenizer.spelling(*id) != *spelling);
    match differs {
        None => Ok(()),
        Some((id, spelling)) => Err(Error::mismatch(
            folder.display().to_string(),
            format!("a tokenizer whose id {id} is {spelling:?}"),
            format!(
                "{:?}, as in the tokenizer of the shards",
                tokenizer.spelling(id)
            ),
            "tokenise the corpus with the model's own tokenizer",
        )),
    }
}

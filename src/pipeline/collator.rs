//! A collator for trainings elsewhere: a tokenizer and a masking vocabulary read, masks made
//! ready for them.

use crate::base::error::Result;
use crate::batches::Collator;
use crate::config::{CollatorConfig, TokenizeConfig};
use crate::pipeline::{masks, units};
use crate::tokenizer::Tokenizer;
use std::sync::Arc;

/// Opens what `config` names.
///
/// # Errors
/// A tokenizer or vocabulary that cannot be read, masks that cannot work, or that need what
/// they lack: a mask token, units, counts of tokens.
pub fn open(config: &CollatorConfig) -> Result<Collator> {
    let tokenizer = Tokenizer::load(&TokenizeConfig {
        tokenizer: config.tokenizer.clone(),
        ..TokenizeConfig::default()
    })?;
    let masker = masks::masker(&config.masking, &tokenizer, None)?;
    let units = config
        .vocabulary
        .as_deref()
        .filter(|_| masker.needs_units())
        .map(|vocabulary| units::of(vocabulary, &tokenizer, config.overlap, config.seed))
        .transpose()?;
    Collator::new(Arc::new(tokenizer), masker, units.map(Arc::new))
}

//! A tokenizer as a user names it: read from its files, its special tokens found by role,
//! and those that are named, missing and asked for appended.
//!
//! Cost: 1 to 3 µs for each piece of the vocabulary.

use super::roles::{self, Role};
use super::{Tokenizer, broken, slot, source};
use crate::base::error::{Error, Result};
use crate::base::token::{SpecialTokens, TokenId};
use crate::config::TokenizeConfig;
use tokenizers::tokenizer::AddedToken;

impl Tokenizer {
    /// Loads `config.tokenizer`, finds the special tokens and sentinels and appends those
    /// that are named, missing and asked for.
    pub fn load(config: &TokenizeConfig) -> Result<Self> {
        let place = config.tokenizer.display().to_string();
        let source = source::read(&config.tokenizer, config.lowercase)?;
        let mut library = source.library;
        library.with_padding(None);
        library
            .with_truncation(None)
            .map_err(|error| broken(&place, error))?;
        let mut special = SpecialTokens::default();
        for role in Role::ALL {
            let named = match role {
                Role::Mask => &config.mask_token,
                Role::Cls => &config.cls_token,
                Role::Sep => &config.sep_token,
                Role::Pad => &config.pad_token,
                Role::Unk => &config.unk_token,
            };
            *slot(&mut special, role) = match named {
                Some(spelling) => Some(named_token(&mut library, &place, role, spelling, config)?),
                None => roles::candidates(role, &source.tokenizer, &source.beside)
                    .iter()
                    .find_map(|spelling| library.token_to_id(spelling)),
            };
        }
        append_sentinels(&mut library, &place, config.sentinels as usize)?;
        special.sentinels = (0..)
            .map_while(|number| library.token_to_id(&roles::sentinel(number)))
            .collect();
        flag_named(&mut library, &special).map_err(|error| broken(&place, error))?;
        let json = library
            .to_string(false)
            .map_err(|error| broken(&place, error))?;
        special.reserved = reserved(&library, &special);
        Self::assemble(
            &place,
            Some(library),
            json,
            special,
            Some(config.tokenizer_path),
        )
    }
}

/// The id of a spelling that the user named; appended if asked for and missing.
fn named_token(
    library: &mut tokenizers::Tokenizer,
    place: &str,
    role: Role,
    spelling: &str,
    config: &TokenizeConfig,
) -> Result<TokenId> {
    if let Some(id) = library.token_to_id(spelling) {
        return Ok(id);
    }
    if !config.add_special_tokens {
        return Err(Error::usage(
            format!("tokenize.{}", role.key()),
            format!("{spelling:?}, which {place} does not have"),
            "a spelling in the vocabulary",
            "correct it, or set add_special_tokens = true to append it",
        ));
    }
    append(library, place, &[spelling.to_owned()])
}

/// Appends what is missing of the first `count` sentinels.
fn append_sentinels(library: &mut tokenizers::Tokenizer, place: &str, count: usize) -> Result<()> {
    let missing: Vec<String> = (0..count)
        .map(roles::sentinel)
        .filter(|spelling| library.token_to_id(spelling).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    append(library, place, &missing).map(drop)
}

/// Appends special tokens behind the last id; the id of the first one.
fn append(
    library: &mut tokenizers::Tokenizer,
    place: &str,
    spellings: &[String],
) -> Result<TokenId> {
    let next = library
        .get_vocab(true)
        .values()
        .max()
        .map_or(0, |id| id + 1);
    let tokens = spellings
        .iter()
        .map(|spelling| AddedToken::from(spelling, true));
    library
        .add_special_tokens(tokens.collect::<Vec<_>>())
        .map_err(|error| broken(place, error))?;
    for (expected, spelling) in (next..).zip(spellings) {
        let id = library.token_to_id(spelling);
        if id != Some(expected) {
            return Err(Error::input(
                place,
                format!("{spelling:?} appended as id {id:?}"),
                format!("it as id {expected}, after the last one"),
                "use a tokenizer whose ids have no holes, or append the token in its file",
            ));
        }
    }
    Ok(next)
}

/// Every id with a role, and the sentinels.
fn named(special: &SpecialTokens) -> impl Iterator<Item = TokenId> {
    let roles = [
        special.mask,
        special.cls,
        special.sep,
        special.pad,
        special.unk,
    ];
    let sentinels = special.sentinels.iter().copied();
    roles.into_iter().flatten().chain(sentinels)
}

/// Flags every token with a role and every sentinel as special, so that its spelling in
/// text is text.
fn flag_named(
    library: &mut tokenizers::Tokenizer,
    special: &SpecialTokens,
) -> tokenizers::Result<()> {
    let added = library.get_added_tokens_decoder();
    let mut tokens = Vec::new();
    for id in named(special) {
        let token = match added.get(&id) {
            Some(token) if token.special => continue,
            Some(token) => token.clone().special(true),
            None => match library.id_to_token(id) {
                Some(spelling) => AddedToken::from(spelling, true),
                None => continue,
            },
        };
        if !tokens.contains(&token) {
            tokens.push(token);
        }
    }
    library.add_special_tokens(tokens).map(drop)
}

/// Every added id, every role and every sentinel, ascending.
fn reserved(library: &tokenizers::Tokenizer, special: &SpecialTokens) -> Vec<TokenId> {
    let mut ids: Vec<TokenId> = library.get_added_tokens_decoder().into_keys().collect();
    ids.extend(named(special));
    ids.sort_unstable();
    ids.dedup();
    ids
}

//! A tokenizer as a user names it: read from its files, its special tokens found by role,
//! and those that are named, missing and asked for appended.
//!
//! Cost: 1 µs for each piece of the vocabulary, 3 to 6 where the library has to read it.

use super::outline::Outline;
use super::parsed::{Parsed, Pieces};
use super::roles::{self, Role};
use super::source::{self, Source};
use super::{Tokenizer, broken, slot};
use crate::base::error::{Error, Result};
use crate::base::token::{SpecialTokens, TokenId};
use crate::config::TokenizeConfig;
use serde_json::Value;
use tokenizers::tokenizer::AddedToken;

impl Tokenizer {
    /// Loads `config.tokenizer`, finds the special tokens and sentinels and appends those
    /// that are named, missing and asked for.
    pub fn load(config: &TokenizeConfig) -> Result<Self> {
        let place = config.tokenizer.display().to_string();
        let mut source = source::read(&config.tokenizer, config.lowercase)?;
        if source.library.is_none()
            && let Some(loaded) = by_outline(config, &place, &mut source)
        {
            return loaded;
        }
        by_library(config, &place, source)
    }
}

fn by_library(config: &TokenizeConfig, place: &str, source: Source) -> Result<Tokenizer> {
    let mut library = match source.library {
        Some(library) => library,
        None => source::library(place, &source.tokenizer.whole().to_string())?,
    };
    let special = specials(
        config,
        place,
        &source.tokenizer,
        &source.beside,
        &mut library,
    )?;
    let json = library
        .to_string(false)
        .map_err(|error| broken(place, error))?;
    let path = Some(config.tokenizer_path);
    Tokenizer::assemble(place, Some(library), json, None, special, path)
}

/// As [`by_library`], without its reading of the vocabulary; `None` where
/// that is needed: a token is to be appended, or the file is not as usual.
fn by_outline(
    config: &TokenizeConfig,
    place: &str,
    source: &mut Source,
) -> Option<Result<Tokenizer>> {
    let mut outline = Outline::of(&source.tokenizer)?;
    for role in Role::ALL {
        match asked(role, config) {
            Some(spelling) if !outline.add(spelling) => return None,
            Some(_) => {}
            None => {
                for spelling in roles::candidates(role, &source.tokenizer, &source.beside) {
                    outline.add(&spelling);
                }
            }
        }
    }
    let mut sentinels = (0..).map(roles::sentinel);
    let count = sentinels.position(|spelling| !outline.add(&spelling))?;
    if count < config.sentinels as usize {
        return None;
    }
    let mut library = outline.library()?;
    let special = match specials(
        config,
        place,
        &source.tokenizer,
        &source.beside,
        &mut library,
    ) {
        Ok(special) => special,
        Err(error) => return Some(Err(error)),
    };
    let around = library.to_string(false).ok()?;
    let json = outline.written(&around)?;
    drop(outline);
    let parsed = match source.tokenizer.pieces {
        Pieces::Ids(_) => Some(Parsed {
            json: Parsed::read(&around).ok()?.json,
            ..std::mem::take(&mut source.tokenizer)
        }),
        // Scores that are written and read again may differ in the last bit; what is read
        // from now on is what was written.
        Pieces::Scores(_) | Pieces::None => None,
    };
    let path = Some(config.tokenizer_path);
    Some(Tokenizer::assemble(
        place, None, json, parsed, special, path,
    ))
}

/// The spelling that the user gives a role.
fn asked(role: Role, config: &TokenizeConfig) -> Option<&str> {
    let named = match role {
        Role::Mask => &config.mask_token,
        Role::Cls => &config.cls_token,
        Role::Sep => &config.sep_token,
        Role::Pad => &config.pad_token,
        Role::Unk => &config.unk_token,
    };
    named.as_deref()
}

/// Special tokens by role, and sentinels: found, appended where that is asked for, and
/// flagged.
fn specials(
    config: &TokenizeConfig,
    place: &str,
    tokenizer: &Parsed,
    beside: &[Value],
    library: &mut tokenizers::Tokenizer,
) -> Result<SpecialTokens> {
    library.with_padding(None);
    library
        .with_truncation(None)
        .map_err(|error| broken(place, error))?;
    let mut special = SpecialTokens::default();
    for role in Role::ALL {
        *slot(&mut special, role) = match asked(role, config) {
            Some(spelling) => Some(named_token(library, place, role, spelling, config)?),
            None => roles::candidates(role, tokenizer, beside)
                .iter()
                .find_map(|spelling| library.token_to_id(spelling)),
        };
    }
    append_sentinels(library, place, config.sentinels as usize)?;
    special.sentinels = (0..)
        .map_while(|number| library.token_to_id(&roles::sentinel(number)))
        .collect();
    flag_named(library, &special).map_err(|error| broken(place, error))?;
    special.reserved = reserved(library, &special);
    Ok(special)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn config(name: &str) -> TokenizeConfig {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tokenizers");
        TokenizeConfig {
            tokenizer: data.join(name),
            ..TokenizeConfig::default()
        }
    }

    fn read(config: &TokenizeConfig) -> Source {
        source::read(&config.tokenizer, config.lowercase).unwrap()
    }

    /// Loaded by outline, if it can be: then it is what the library makes of it.
    fn outlined(config: &TokenizeConfig, change: impl Fn(&mut Value)) -> Option<Tokenizer> {
        let changed = || {
            let mut source = read(config);
            let mut whole = source.tokenizer.whole();
            change(&mut whole);
            source.tokenizer = serde_json::from_value(whole).unwrap();
            source.library = None;
            source
        };
        let loaded = by_outline(config, "here", &mut changed())?.unwrap();
        let reference = by_library(config, "here", changed()).unwrap();
        assert_eq!(loaded.to_json(), reference.to_json());
        assert_eq!(loaded.special(), reference.special());
        assert_eq!(loaded.path(), reference.path());
        assert_eq!(loaded.spellings, reference.spellings);
        Some(loaded)
    }

    const USUAL: [&str; 4] = ["wordpiece-cased", "byte-level-bpe", "gpt2-style", "unigram"];

    #[test]
    fn what_is_loaded_by_outline_is_what_the_library_writes() {
        for name in USUAL {
            let sentinels = outlined(&config(name), |_| {});
            let sentinels = sentinels.unwrap().special().sentinels.len();
            let named = TokenizeConfig {
                mask_token: Some("the".into()),
                unk_token: Some("a".into()),
                ..config(name)
            };
            outlined(&named, |_| {});
            let added = |tokenizer: &mut Value| {
                let pieces = &tokenizer["model"]["vocab"];
                let entries = pieces.as_object().map(serde_json::Map::len);
                let pieces = entries.or(pieces.as_array().map(Vec::len)).unwrap();
                let tokens = tokenizer["added_tokens"].as_array_mut().unwrap();
                // Behind those that are no pieces, as `<mask>` of RoBERTa's kind.
                let behind = |token: &&Value| token["id"].as_u64() >= Some(pieces as u64);
                let next = pieces + tokens.iter().filter(behind).count();
                let sentinel = roles::sentinel(sentinels);
                for (id, spelling) in (next..).zip(["\"model\":{\"type\":\"", &sentinel]) {
                    tokens.push(serde_json::json!({"id": id, "content": spelling,
                        "single_word": false, "lstrip": true, "rstrip": false,
                        "normalized": true, "special": false}));
                }
            };
            let loaded = outlined(&config(name), added).unwrap();
            assert_eq!(loaded.special().sentinels.len(), sentinels + 1, "{name}");
        }
    }

    #[test]
    fn what_is_not_as_usual_is_left_to_the_library() {
        for name in USUAL {
            let missing = TokenizeConfig {
                mask_token: Some("<no such token>".into()),
                add_special_tokens: true,
                ..config(name)
            };
            assert!(outlined(&missing, |_| {}).is_none());
            let sentinels = TokenizeConfig {
                sentinels: 9,
                ..config(name)
            };
            assert!(outlined(&sentinels, |_| {}).is_none());
            let twice = |tokenizer: &mut Value| match &mut tokenizer["model"]["vocab"] {
                Value::Array(pieces) => pieces.push(pieces[9].clone()),
                pieces => {
                    let pieces = pieces.as_object_mut().unwrap();
                    let id = pieces.values().next().unwrap().clone();
                    pieces.insert("twice".into(), id);
                }
            };
            // Of a piece that a list has twice the later one counts.
            assert_eq!(outlined(&config(name), twice).is_some(), name == "unigram");
            let out_of_turn = |tokenizer: &mut Value| {
                let mut token = tokenizer["added_tokens"][0].clone();
                token["content"] = "out of turn".into();
                token["id"] = 1_000_000.into();
                tokenizer["added_tokens"]
                    .as_array_mut()
                    .unwrap()
                    .push(token);
            };
            assert!(outlined(&config(name), out_of_turn).is_none());
        }
        let again = |tokenizer: &mut Value| {
            let merges = tokenizer["model"]["merges"].as_array_mut().unwrap();
            merges.push(merges[0].clone());
        };
        assert!(outlined(&config("gpt2-style"), again).is_none());
        let unknown = |tokenizer: &mut Value| {
            let merges = tokenizer["model"]["merges"].as_array_mut().unwrap();
            merges.push("no piece".into());
        };
        assert!(outlined(&config("gpt2-style"), unknown).is_none());
        // As in T5's file.
        let nameless = |tokenizer: &mut Value| {
            tokenizer["model"].as_object_mut().unwrap().remove("type");
        };
        assert!(outlined(&config("unigram"), nameless).is_some());
        let unknown = |tokenizer: &mut Value| tokenizer["model"]["unk_id"] = 1_000_000.into();
        let mut source = read(&config("unigram"));
        let mut whole = source.tokenizer.whole();
        unknown(&mut whole);
        source.tokenizer = serde_json::from_value(whole).unwrap();
        assert!(by_outline(&config("unigram"), "here", &mut source).is_none());
    }
}

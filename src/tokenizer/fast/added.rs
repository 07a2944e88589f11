//! Added tokens: spellings that are cut out of a text before anything else sees it, as
//! `AddedVocabulary` of the library does. Special ones are text here, but where they
//! stand no other is found.
//!
//! Cost: a filter on one or two bytes, 64 places at a time, 0.1 to 0.3 ns a byte.

use super::normal::Normal;
use crate::tokenizer::parsed::{Parsed, Pieces};
use hashbrown::HashMap;
use std::cmp::Reverse;

/// Added tokens that are looked for at the same time.
#[derive(Debug, Default)]
pub(super) struct Added {
    filters: Vec<Filter>,
    tokens: Vec<Token>,
}

/// What a token starts with: every place where one may start passes a filter.
#[derive(Debug)]
struct Filter {
    first: u8,
    /// Where all tokens that begin with `first` go on with one byte.
    second: Option<u8>,
    /// Its tokens, the longest first.
    tokens: Vec<usize>,
}

/// One added token.
#[derive(Debug, Clone)]
pub(super) struct Token {
    id: u32,
    /// What it is found by.
    spelling: String,
    /// Found in normalised text.
    normalized: bool,
    lstrip: bool,
    rstrip: bool,
    special: bool,
}

/// A stretch of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Text between added tokens, never empty.
    Text(&'a str),
    /// An added token.
    Token(u32),
}

/// Bytes that the filters look at together.
const BLOCK: usize = 64;

/// The added tokens of a `tokenizer.json`, those first that are found in normalised text;
/// or why they must be left to the library.
pub(super) fn read(
    tokenizer: &Parsed,
    normal: Option<&Normal>,
) -> Result<(Vec<Token>, Vec<Token>), String> {
    let known = ids(&tokenizer.pieces);
    let mut next = tokenizer.pieces.len() as u32;
    let mut tokens: Vec<Token> = Vec::new();
    for token in tokenizer.json["added_tokens"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let spelling = token["content"].as_str().unwrap_or_default().to_owned();
        let flag = |name: &str| token[name] == true;
        let id = token["id"].as_u64().and_then(|id| u32::try_from(id).ok());
        let id = id.ok_or_else(|| format!("added token {spelling:?} without an id"))?;
        // As the library numbers them, whatever is written.
        let expected = known(&spelling).unwrap_or_else(|| {
            next += 1;
            next - 1
        });
        if id != expected {
            return Err(format!("added token {spelling:?} with an id out of turn"));
        }
        if flag("single_word") && !flag("special") {
            return Err(format!("added token {spelling:?} that is a single word"));
        }
        if spelling.is_empty() {
            return Err("added token without a spelling".into());
        }
        if let Some(same) = tokens
            .iter()
            .find(|token| token.id == id || token.spelling == spelling)
        {
            let same = &same.spelling;
            return Err(format!(
                "added tokens {same:?} and {spelling:?} with one id"
            ));
        }
        tokens.push(Token {
            id,
            spelling,
            normalized: flag("normalized"),
            lstrip: flag("lstrip"),
            rstrip: flag("rstrip"),
            special: flag("special"),
        });
    }
    let text = || tokens.iter().filter(|token| !token.special);
    if text().any(|token| token.rstrip)
        && text().any(|token| token.spelling.starts_with(char::is_whitespace))
    {
        return Err("added tokens that want the same whitespace".into());
    }
    for token in tokens.iter_mut().filter(|token| token.normalized) {
        if let Some(normal) = normal {
            token.spelling = normal.of(&token.spelling).into_owned();
        }
        if token.spelling.is_empty() {
            return Err("added token that is nothing when normalised".into());
        }
    }
    Ok(tokens.into_iter().partition(|token| token.normalized))
}

/// Ids of the spellings of a model; those that were hidden are as before. A list may have
/// a spelling twice.
fn ids(pieces: &Pieces) -> impl Fn(&str) -> Option<u32> {
    let shown = |spelling| -> &str { str::strip_prefix(spelling, '\0').unwrap_or(spelling) };
    let listed: HashMap<&str, u32> = match pieces {
        Pieces::Scores(pieces) => pieces.iter().map(|(s, _)| shown(s)).zip(0..).collect(),
        Pieces::Ids(_) | Pieces::None => HashMap::new(),
    };
    move |spelling| match pieces {
        Pieces::Ids(pieces) => pieces.id(spelling),
        Pieces::Scores(_) | Pieces::None => listed.get(spelling).copied(),
    }
}

impl Added {
    /// Looks for `tokens`; where all are special there is nothing to look for.
    pub(super) fn new(tokens: Vec<Token>) -> Self {
        if tokens.iter().all(|token| token.special) {
            return Self::default();
        }
        let mut filters: Vec<Filter> = Vec::new();
        for (index, token) in tokens.iter().enumerate() {
            let spelling = token.spelling.as_bytes();
            let (first, second) = (spelling[0], spelling.get(1).copied());
            match filters.iter_mut().find(|filter| filter.first == first) {
                Some(filter) => {
                    filter.second = filter.second.filter(|_| filter.second == second);
                    filter.tokens.push(index);
                }
                None => filters.push(Filter {
                    first,
                    second,
                    tokens: vec![index],
                }),
            }
        }
        for filter in &mut filters {
            let length = |&index: &usize| Reverse(tokens[index].spelling.len());
            filter.tokens.sort_by_key(length);
        }
        Self { filters, tokens }
    }

    /// Hands every stretch of `text` to `each`, in order: at each place the longest
    /// token, none within another, whitespace beside it as the token wants.
    pub(super) fn split<'a, E>(
        &self,
        text: &'a str,
        mut each: impl FnMut(Piece<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut done, mut at) = (0, 0);
        while let Some((start, token)) = self.next(text.as_bytes(), at) {
            at = start + token.spelling.len();
            if token.special {
                continue;
            }
            let (mut start, mut end) = (start, at);
            if token.lstrip {
                start = text[..start].trim_end().len().max(done);
            }
            if token.rstrip {
                // No token begins with whitespace then, so the next one starts behind.
                end = text.len() - text[end..].trim_start().len();
            }
            if done < start {
                each(Piece::Text(&text[done..start]))?;
            }
            each(Piece::Token(token.id))?;
            done = end;
        }
        if done < text.len() {
            each(Piece::Text(&text[done..]))?;
        }
        Ok(())
    }

    /// The first token from byte `at` on, and where it starts.
    fn next(&self, bytes: &[u8], mut at: usize) -> Option<(usize, &Token)> {
        loop {
            let place = self.candidate(bytes, at)?;
            let filters = self.filters.iter();
            let found = filters
                .filter(|filter| filter.first == bytes[place])
                .flat_map(|filter| &filter.tokens)
                .map(|&index| &self.tokens[index])
                .find(|token| bytes[place..].starts_with(token.spelling.as_bytes()));
            if let Some(token) = found {
                return Some((place, token));
            }
            at = place + 1;
        }
    }

    /// The first place from `at` on that passes a filter.
    fn candidate(&self, bytes: &[u8], mut at: usize) -> Option<usize> {
        if self.filters.is_empty() {
            return None;
        }
        while let Some(block) = bytes[at..].first_chunk::<{ BLOCK + 1 }>() {
            let mut passed = [0u8; BLOCK];
            for filter in &self.filters {
                let firsts = block.iter().map(|&byte| byte == filter.first);
                let places = passed.iter_mut().zip(firsts);
                match filter.second {
                    None => places.for_each(|(passed, first)| *passed |= u8::from(first)),
                    Some(second) => {
                        let seconds = block[1..].iter().map(|&byte| byte == second);
                        places.zip(seconds).for_each(|((passed, first), second)| {
                            *passed |= u8::from(first & second);
                        });
                    }
                }
            }
            if let Some(index) = passed.iter().position(|&passed| passed != 0) {
                return Some(at + index);
            }
            at += BLOCK;
        }
        (at..bytes.len()).find(|&at| {
            self.filters.iter().any(|filter| {
                filter.first == bytes[at]
                    && filter
                        .second
                        .is_none_or(|second| bytes.get(at + 1) == Some(&second))
            })
        })
    }
}

//! A tokenizer without most of its vocabulary: enough for the library to flag special
//! tokens and to write all around the model as it does. The pieces themselves are checked
//! and written here, the way the library writes them, so that it need not read them:
//! stages that encode by the fast path, or only read ids, never do.
//!
//! Cost: 0.3 µs for each piece and merge, a tenth of the library's reading.

use super::parsed::{Merges, Numbered, Parsed, Pieces};
use hashbrown::HashSet;
use rustc_hash::FxBuildHasher;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What a `tokenizer.json` says of its pieces, found in order: each with an id of its own,
/// merges of pieces into pieces, each pair once. Anything else is the library's business.
pub(super) struct Outline<'a> {
    tokenizer: &'a Parsed,
    pieces: &'a Numbered,
    /// Of byte-pair encoding.
    merges: Option<&'a Merges>,
    /// Every spelling that the library is to know, and its id.
    known: BTreeMap<String, u32>,
}

impl<'a> Outline<'a> {
    /// Of a `tokenizer.json`; `None` where the library has to read all of it.
    pub(super) fn of(tokenizer: &'a Parsed) -> Option<Self> {
        let Pieces::Ids(pieces) = &tokenizer.pieces else {
            return None;
        };
        let model = tokenizer.model();
        match (kind(tokenizer)?, &tokenizer.merges) {
            ("BPE", Some(_)) => {
                let affixes = ["continuing_subword_prefix", "end_of_word_suffix"];
                let plain = |name: &&str| model[name].as_str().unwrap_or_default().is_empty();
                if !affixes.iter().all(plain) {
                    return None;
                }
            }
            ("WordPiece", None) => {}
            _ => return None,
        }
        let mut outline = Self {
            tokenizer,
            pieces,
            merges: tokenizer.merges.as_ref(),
            known: BTreeMap::new(),
        };
        outline.add_added_tokens()?;
        Some(outline)
    }

    /// Added tokens have the ids that the library gives them: that of their piece, or the
    /// next behind all pieces.
    fn add_added_tokens(&mut self) -> Option<()> {
        let mut next = self.pieces.len() as u32;
        let tokens = &self.tokenizer.json["added_tokens"];
        for token in tokens.as_array().into_iter().flatten() {
            let spelling = token["content"].as_str().filter(|text| !text.is_empty())?;
            let id = self.pieces.id(spelling).unwrap_or_else(|| {
                next += 1;
                next - 1
            });
            if token["id"] != id || self.known.insert(spelling.to_owned(), id).is_some() {
                return None;
            }
        }
        Some(())
    }

    /// Lets the library know `spelling` too. Whether there is such a piece or added token.
    pub(super) fn add(&mut self, spelling: &str) -> bool {
        match self.pieces.id(spelling) {
            Some(id) => {
                self.known.insert(spelling.to_owned(), id);
                true
            }
            None => self.known.contains_key(spelling),
        }
    }

    /// The library's tokenizer, with a model of the pieces that it is to know.
    pub(super) fn library(&self) -> Option<tokenizers::Tokenizer> {
        let known = self.known.iter();
        let known: Map<String, Value> = known.map(|(s, &id)| (s.clone(), id.into())).collect();
        let mut all = self.tokenizer.json.clone();
        let model = &mut all["model"];
        model["type"] = kind(self.tokenizer)?.into();
        model["vocab"] = known.into();
        if self.merges.is_some() {
            model["merges"] = Vec::<Value>::new().into();
        }
        serde_json::from_value(all).ok()
    }

    /// What the library would write, had it read all: `outline` is what it writes of its
    /// part.
    pub(super) fn written(&self, outline: &str) -> Option<String> {
        let mut pieces: Vec<(u32, &str)> = self.pieces.iter().map(|(s, id)| (id, s)).collect();
        pieces.sort_unstable();
        if pieces.windows(2).any(|pair| pair[0].0 == pair[1].0)
            || pieces.last().is_some_and(|&(id, _)| id == u32::MAX)
        {
            return None;
        }
        if let Some(merges) = self.merges {
            check(merges, self.pieces)?;
        }
        // Quotes inside of strings are escaped, so these are the model's own keys.
        let model = outline.rfind("\"model\":{\"type\":\"")?;
        let head = model + outline[model..].find("\"vocab\":{")?;
        let mut out = Vec::with_capacity(64 * self.pieces.len());
        out.extend_from_slice(&outline.as_bytes()[..head]);
        out.extend_from_slice(b"\"vocab\":{");
        for (index, (id, spelling)) in pieces.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            serde_json::to_writer(&mut out, spelling).ok()?;
            out.push(b':');
            serde_json::to_writer(&mut out, id).ok()?;
        }
        out.push(b'}');
        if let Some(merges) = self.merges {
            out.extend_from_slice(b",\"merges\":");
            let sides: Vec<(&str, &str)> = merges.sides().collect();
            serde_json::to_writer(&mut out, &sides).ok()?;
        }
        out.extend_from_slice(b"}}");
        String::from_utf8(out).ok()
    }
}

/// The model's type; older files of byte-pair encoding do not name it.
fn kind(tokenizer: &Parsed) -> Option<&str> {
    match &tokenizer.model()["type"] {
        Value::Null if tokenizer.merges.is_some() => Some("BPE"),
        kind => kind.as_str(),
    }
}

/// Whether all merges are of pieces into pieces, and no pair is twice.
fn check(merges: &Merges, pieces: &Numbered) -> Option<()> {
    let ids = merges.ids(pieces).ok()?;
    let mut pairs = HashSet::with_capacity_and_hasher(ids.len(), FxBuildHasher);
    let mut pairs_of = ids.iter().map(|merge| (merge.left, merge.right));
    pairs_of.all(|pair| pairs.insert(pair)).then_some(())
}

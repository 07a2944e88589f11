//! A tokenizer without most of its vocabulary: enough for the library to flag special
//! tokens and to write all around the model as it does. The pieces themselves are checked
//! and written here, the way the library writes them, so that it need not read them:
//! stages that encode by the fast path, or only read ids, never do.
//!
//! Cost: 0.3 µs for each piece and merge, a tenth of the library's reading.

use super::parsed::{Merges, Numbered, Parsed, Pieces};
use hashbrown::{HashMap, HashSet};
use rustc_hash::FxBuildHasher;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::Write;

/// What a `tokenizer.json` says of its pieces, found in order: each with an id of its own,
/// merges of pieces into pieces, each pair once; or each with a score. Anything else is the
/// library's business.
pub(super) struct Outline<'a> {
    tokenizer: &'a Parsed,
    /// Of pieces with scores: their ids.
    listed: HashMap<&'a str, u32>,
    /// Every spelling that the library is to know, and its id.
    known: BTreeMap<String, u32>,
}

impl<'a> Outline<'a> {
    /// Of a `tokenizer.json`; `None` where the library has to read all of it.
    pub(super) fn of(tokenizer: &'a Parsed) -> Option<Self> {
        let model = tokenizer.model();
        let mut listed = HashMap::new();
        match (kind(tokenizer)?, &tokenizer.pieces, &tokenizer.merges) {
            ("BPE", Pieces::Ids(_), Some(_)) => {
                let affixes = ["continuing_subword_prefix", "end_of_word_suffix"];
                let plain = |name: &&str| model[name].as_str().unwrap_or_default().is_empty();
                if !affixes.iter().all(plain) {
                    return None;
                }
            }
            ("WordPiece", Pieces::Ids(_), None) => {}
            ("Unigram", Pieces::Scores(pieces), None) => {
                let unknown = model["unk_id"].as_u64()?;
                if unknown >= pieces.len() as u64 {
                    return None;
                }
                listed.extend(pieces.iter().map(|(piece, _)| &**piece).zip(0..));
            }
            _ => return None,
        }
        let mut outline = Self {
            tokenizer,
            listed,
            known: BTreeMap::new(),
        };
        outline.add_added_tokens()?;
        Some(outline)
    }

    /// The id of a piece.
    fn id(&self, spelling: &str) -> Option<u32> {
        match &self.tokenizer.pieces {
            Pieces::Ids(pieces) => pieces.id(spelling),
            Pieces::Scores(_) | Pieces::None => self.listed.get(spelling).copied(),
        }
    }

    /// Added tokens have the ids that the library gives them: that of their piece, or the
    /// next behind all pieces.
    fn add_added_tokens(&mut self) -> Option<()> {
        let mut next = self.tokenizer.pieces.len() as u32;
        let tokens = &self.tokenizer.json["added_tokens"];
        for token in tokens.as_array().into_iter().flatten() {
            let spelling = token["content"].as_str().filter(|text| !text.is_empty())?;
            let id = self.id(spelling).unwrap_or_else(|| {
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
        match self.id(spelling) {
            Some(id) => {
                self.known.insert(spelling.to_owned(), id);
                true
            }
            None => self.known.contains_key(spelling),
        }
    }

    /// The library's tokenizer, with a model of the pieces that it is to know. One of scores
    /// has ids by place alone: in its place is one that looks whole words up.
    pub(super) fn library(&self) -> Option<tokenizers::Tokenizer> {
        let known = self.known.iter();
        let known: Map<String, Value> = known.map(|(s, &id)| (s.clone(), id.into())).collect();
        let mut all = self.tokenizer.json.clone();
        let model = &mut all["model"];
        match self.tokenizer.pieces {
            Pieces::Scores(_) => *model = json!({"type": "WordLevel", "unk_token": ""}),
            _ => model["type"] = kind(self.tokenizer)?.into(),
        }
        model["vocab"] = known.into();
        if self.tokenizer.merges.is_some() {
            model["merges"] = Vec::<Value>::new().into();
        }
        serde_json::from_value(all).ok()
    }

    /// What the library would write, had it read all: `outline` is what it writes of its
    /// part.
    pub(super) fn written(&self, outline: &str) -> Option<String> {
        // Quotes inside of strings are escaped, so these are the model's own keys.
        let model = outline.rfind("\"model\":{\"type\":\"")?;
        let mut out = Vec::with_capacity(64 * self.tokenizer.pieces.len());
        match &self.tokenizer.pieces {
            Pieces::Ids(pieces) => {
                let head = model + outline[model..].find("\"vocab\":{")?;
                out.extend_from_slice(&outline.as_bytes()[..head]);
                self.write_ids(pieces, &mut out)?;
            }
            Pieces::Scores(pieces) => {
                out.extend_from_slice(&outline.as_bytes()[..model]);
                self.write_scores(pieces, &mut out)?;
            }
            Pieces::None => return None,
        }
        out.extend_from_slice(b"}}");
        String::from_utf8(out).ok()
    }

    /// Appends pieces by id, and merges.
    fn write_ids(&self, pieces: &Numbered, out: &mut Vec<u8>) -> Option<()> {
        let mut by_id: Vec<(u32, &str)> = pieces.iter().map(|(s, id)| (id, s)).collect();
        by_id.sort_unstable();
        if by_id.windows(2).any(|pair| pair[0].0 == pair[1].0)
            || by_id.last().is_some_and(|&(id, _)| id == u32::MAX)
        {
            return None;
        }
        out.extend_from_slice(b"\"vocab\":{");
        for (index, (id, spelling)) in by_id.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            serde_json::to_writer(&mut *out, spelling).ok()?;
            out.push(b':');
            serde_json::to_writer(&mut *out, id).ok()?;
        }
        out.push(b'}');
        if let Some(merges) = &self.tokenizer.merges {
            check(merges, pieces)?;
            out.extend_from_slice(b",\"merges\":");
            let sides: Vec<(&str, &str)> = merges.sides().collect();
            serde_json::to_writer(&mut *out, &sides).ok()?;
        }
        Some(())
    }

    /// Appends a model of pieces with scores.
    fn write_scores(&self, pieces: &[(String, f64)], out: &mut Vec<u8>) -> Option<()> {
        let model = self.tokenizer.model();
        let fallback = match &model["byte_fallback"] {
            Value::Null => false,
            given => given.as_bool()?,
        };
        let unknown = &model["unk_id"];
        write!(
            out,
            "\"model\":{{\"type\":\"Unigram\",\"unk_id\":{unknown},\"vocab\":"
        )
        .ok()?;
        serde_json::to_writer(&mut *out, pieces).ok()?;
        write!(out, ",\"byte_fallback\":{fallback}").ok()
    }
}

/// The model's type; older files do not name it.
fn kind(tokenizer: &Parsed) -> Option<&str> {
    match (&tokenizer.model()["type"], &tokenizer.pieces) {
        (Value::Null, _) if tokenizer.merges.is_some() => Some("BPE"),
        (Value::Null, Pieces::Scores(_)) => Some("Unigram"),
        (kind, _) => kind.as_str(),
    }
}

/// Whether all merges are of pieces into pieces, and no pair is twice.
fn check(merges: &Merges, pieces: &Numbered) -> Option<()> {
    let ids = merges.ids(pieces).ok()?;
    let mut pairs = HashSet::with_capacity_and_hasher(ids.len(), FxBuildHasher);
    let mut pairs_of = ids.iter().map(|merge| (merge.left, merge.right));
    pairs_of.all(|pair| pairs.insert(pair)).then_some(())
}

//! What a `tokenizer.json` says about byte-level BPE, read to the last setting: one that
//! is not done here is a reason to leave the tokenizer to the library.

use super::merges::{Merge, Merges};
use super::model::Model;
use super::scan::Cuts;
use super::{ByteLevel, Classes};
use crate::tokenizer::fast::added::{self, Added};
use crate::tokenizer::fast::named;
use crate::tokenizer::fast::normal::{Form, Normal};
use hashbrown::{HashMap, HashSet};
use serde_json::Value;

/// The settings of the pre-tokenizer.
struct Cutting {
    cuts: Cuts,
    prefix_space: bool,
}

pub(super) fn read(tokenizer: &Value, barred: &[bool]) -> Result<ByteLevel, String> {
    let normal = match &tokenizer["normalizer"] {
        Value::Null => None,
        normalizer if normalizer["type"] == "NFC" => Some(Normal::new(Form::Nfc)),
        normalizer => return Err(format!("normalizer {}", named(&normalizer["type"]))),
    };
    let Cutting { cuts, prefix_space } = cutting(&tokenizer["pre_tokenizer"])?;
    let (normalized, raw) = added::read(tokenizer, normal.as_ref())?;
    Ok(ByteLevel {
        raw: Added::new(raw),
        normalized: Added::new(normalized),
        normal,
        prefix_space,
        cuts,
        classes: Classes::new(),
        model: model(&tokenizer["model"], barred)?,
    })
}

/// `ByteLevel` alone, or behind a `Split` by a regular expression that is known.
fn cutting(pre_tokenizer: &Value) -> Result<Cutting, String> {
    let flag = |step: &Value, name: &str, default: bool| step[name].as_bool().unwrap_or(default);
    if pre_tokenizer["type"] == "ByteLevel" {
        if !flag(pre_tokenizer, "use_regex", true) {
            return Err("pre-tokenizer ByteLevel that cuts nothing".into());
        }
        return Ok(Cutting {
            cuts: Cuts::Gpt2,
            prefix_space: flag(pre_tokenizer, "add_prefix_space", true),
        });
    }
    let none = Vec::new();
    let steps = pre_tokenizer["pretokenizers"].as_array().unwrap_or(&none);
    let [split, bytes] = &steps[..] else {
        return Err(format!("pre-tokenizer {}", named(&pre_tokenizer["type"])));
    };
    if split["type"] != "Split" || bytes["type"] != "ByteLevel" {
        return Err(format!(
            "pre-tokenizer of {} and {}",
            named(&split["type"]),
            named(&bytes["type"])
        ));
    }
    if flag(bytes, "use_regex", true) || flag(bytes, "add_prefix_space", true) {
        return Err("pre-tokenizer ByteLevel that changes what Split has cut".into());
    }
    // The expression matches all of a text, so it is the same whether what lies between
    // matches is kept or not.
    let inverted = flag(split, "invert", false);
    if !matches!(
        (split["behavior"].as_str(), inverted),
        (Some("Isolated"), _) | (Some("Removed"), true)
    ) {
        return Err(format!(
            "pre-tokenizer Split that is {}",
            named(&split["behavior"])
        ));
    }
    let pattern = split["pattern"]["Regex"].as_str().unwrap_or_default();
    let cuts =
        Cuts::of(pattern).ok_or_else(|| format!("pre-tokenizer Split by {}", split["pattern"]))?;
    Ok(Cutting {
        cuts,
        prefix_space: false,
    })
}

fn model(model: &Value, barred: &[bool]) -> Result<Model, String> {
    for name in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if model[name].as_str().is_some_and(|affix| !affix.is_empty()) {
            return Err(format!("model with {name}"));
        }
    }
    if model["dropout"]
        .as_f64()
        .is_some_and(|dropout| dropout > 0.0)
    {
        return Err("model with dropout".into());
    }
    let mut ids: HashMap<&str, u32> = HashMap::new();
    for (spelling, id) in model["vocab"].as_object().into_iter().flatten() {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
        // The last one stands for no id.
        let id = id.filter(|&id| id < u32::MAX);
        ids.insert(spelling, id.ok_or("vocabulary with broken ids")?);
    }
    let distinct: HashSet<u32> = ids.values().copied().collect();
    if distinct.len() != ids.len() {
        return Err("vocabulary with two spellings of one id".into());
    }
    let letters = alphabet();
    let mut bytes = [u32::MAX; 256];
    for (byte, id) in bytes.iter_mut().enumerate() {
        let letter = letters[byte].to_string();
        match ids.get(letter.as_str()) {
            Some(&known) => *id = known,
            // No UTF-8 has these.
            None if matches!(byte, 0xc0 | 0xc1 | 0xf5..) => {}
            None => return Err(format!("vocabulary without the byte {byte:#04x}")),
        }
    }
    let merges = merges(&model["merges"], &ids)?;
    let mut whole = HashMap::default();
    if model["ignore_merges"] == true {
        let byte_of: HashMap<char, u8> = letters.iter().copied().zip(0..=255).collect();
        for (spelling, &id) in &ids {
            let word: Option<Box<[u8]>> =
                spelling.chars().map(|c| byte_of.get(&c).copied()).collect();
            if let Some(word) = word {
                whole.insert(word, id);
            }
        }
    }
    // Ids that text can become: those of bytes, merges and whole words.
    let made = merges.iter().map(|merge| merge.made);
    let mut reachable: HashSet<u32> = bytes.into_iter().chain(made).collect();
    reachable.extend(whole.values());
    let is_barred = |id: u32| barred.get(id as usize) != Some(&false);
    let barred = ids
        .iter()
        .filter(|&(_, &id)| reachable.contains(&id) && is_barred(id))
        .map(|(spelling, &id)| (id, (*spelling).to_owned()))
        .collect();
    Ok(Model {
        merges: Merges::new(bytes, &merges).ok_or("model with too many merges")?,
        whole,
        barred,
    })
}

/// Pairs of spellings, each written as one text or as two.
fn merges(merges: &Value, ids: &HashMap<&str, u32>) -> Result<Vec<Merge>, String> {
    let mut read = Vec::new();
    for merge in merges.as_array().into_iter().flatten() {
        let (left, right) = match merge {
            Value::String(line) if line.starts_with("#version") => continue,
            Value::String(line) => line.split_once(' ').unwrap_or_default(),
            pair => (
                pair[0].as_str().unwrap_or_default(),
                pair[1].as_str().unwrap_or_default(),
            ),
        };
        let joined = [left, right].concat();
        let id = |spelling: &str| {
            let id = ids.get(spelling).copied();
            id.ok_or_else(|| format!("merge of {spelling:?}, which the vocabulary lacks"))
        };
        read.push(Merge {
            left: id(left)?,
            right: id(right)?,
            made: id(&joined)?,
        });
    }
    Ok(read)
}

/// The letter that stands for each byte (Radford et al. 2019): itself where it shows in
/// Latin-1, otherwise the next one from U+0100 on.
fn alphabet() -> [char; 256] {
    let mut next = '\u{100}'..;
    std::array::from_fn(|byte| match byte as u8 {
        shown @ (b'!'..=b'~' | 0xa1..=0xac | 0xae..) => char::from(shown),
        _ => next.next().unwrap_or_default(),
    })
}

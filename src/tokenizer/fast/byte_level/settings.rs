//! What a `tokenizer.json` says about byte-level BPE, read to the last setting: one that
//! is not done here is a reason to leave the tokenizer to the library.

use super::merges::Merges;
use super::model::Model;
use super::scan::Cuts;
use super::{ByteLevel, Classes};
use crate::tokenizer::fast::named;
use crate::tokenizer::fast::normal::{Form, Normal};
use crate::tokenizer::fast::stretches::Stretches;
use crate::tokenizer::parsed::{Parsed, Pieces};
use hashbrown::HashMap;
use serde_json::Value;

/// The settings of the pre-tokenizer.
struct Cutting {
    cuts: Cuts,
    prefix_space: bool,
}

pub(super) fn read(tokenizer: &Parsed, barred: &[bool]) -> Result<ByteLevel, String> {
    let normal = match &tokenizer.json["normalizer"] {
        Value::Null => None,
        normalizer if normalizer["type"] == "NFC" => Some(Normal::new(Form::Nfc)),
        normalizer => return Err(format!("normalizer {}", named(&normalizer["type"]))),
    };
    let Cutting { cuts, prefix_space } = cutting(&tokenizer.json["pre_tokenizer"])?;
    Ok(ByteLevel {
        stretches: Stretches::of(tokenizer, normal)?,
        prefix_space,
        cuts,
        classes: Classes::new(),
        model: model(tokenizer, barred)?,
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

fn model(tokenizer: &Parsed, barred: &[bool]) -> Result<Model, String> {
    let model = tokenizer.model();
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
    let Pieces::Ids(pieces) = &tokenizer.pieces else {
        return Err("model without ids".into());
    };
    let mut ids: Vec<u32> = pieces.iter().map(|(_, id)| id).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("vocabulary with two spellings of one id".into());
    }
    // It stands for no id.
    if ids.last() == Some(&u32::MAX) {
        return Err("vocabulary with an id of 32 ones".into());
    }
    let letters = alphabet();
    let mut bytes = [u32::MAX; 256];
    for (byte, id) in bytes.iter_mut().enumerate() {
        let letter = letters[byte].to_string();
        match pieces.id(&letter) {
            Some(known) => *id = known,
            // No UTF-8 has these.
            None if matches!(byte, 0xc0 | 0xc1 | 0xf5..) => {}
            None => return Err(format!("vocabulary without the byte {byte:#04x}")),
        }
    }
    let merges = match &tokenizer.merges {
        Some(merges) => merges.ids(pieces)?,
        None => &[],
    };
    let mut whole = HashMap::default();
    if model["ignore_merges"] == true {
        let byte_of: HashMap<char, u8> = letters.iter().copied().zip(0..=255).collect();
        for (spelling, id) in pieces.iter() {
            let word: Option<Box<[u8]>> =
                spelling.chars().map(|c| byte_of.get(&c).copied()).collect();
            if let Some(word) = word {
                whole.insert(word, id);
            }
        }
    }
    // Ids that text can become: those of bytes, merges and whole words.
    let reachable = |id: u32| {
        let mut made = merges.iter().map(|merge| merge.made);
        bytes.contains(&id) || made.any(|made| made == id) || whole.values().any(|&w| w == id)
    };
    let is_barred = |id: u32| barred.get(id as usize) != Some(&false);
    let barred = pieces
        .iter()
        .filter(|&(_, id)| is_barred(id) && reachable(id))
        .map(|(spelling, id)| (id, spelling.to_owned()))
        .collect();
    Ok(Model {
        merges: Merges::new(bytes, merges).ok_or("model with too many merges")?,
        whole,
        barred,
    })
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

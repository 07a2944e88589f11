//! Special tokens by role, from what the user says, the files beside the
//! tokenizer, its own post-processor, and the usual spellings, in this order. And the
//! sentinels of T5 and UL2, by their spelling.

use super::parsed::{Parsed, Pieces};
use serde_json::Value;
use std::fmt;

/// What a special token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Stands where a token was masked.
    Mask,
    /// Opens a row.
    Cls,
    /// Closes a row and stands between documents.
    Sep,
    /// Fills short rows.
    Pad,
    /// Stands for text that the vocabulary cannot spell.
    Unk,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 5] = [Role::Mask, Role::Cls, Role::Sep, Role::Pad, Role::Unk];

    /// The configuration key that names its spelling.
    pub fn key(self) -> &'static str {
        match self {
            Self::Mask => "mask_token",
            Self::Cls => "cls_token",
            Self::Sep => "sep_token",
            Self::Pad => "pad_token",
            Self::Unk => "unk_token",
        }
    }

    /// The spelling proposed when a tokenizer has no such token.
    pub fn example(self) -> &'static str {
        self.spellings()[0]
    }

    /// Keys of `tokenizer_config.json` and `special_tokens_map.json` that name it.
    fn file_keys(self) -> &'static [&'static str] {
        match self {
            Self::Mask => &["mask_token"],
            Self::Cls => &["cls_token", "bos_token"],
            Self::Sep => &["sep_token", "eos_token"],
            Self::Pad => &["pad_token"],
            Self::Unk => &["unk_token"],
        }
    }

    /// Usual spellings: BERT, RoBERTa, T5 and ModernBERT, then GPT-2 and its kin,
    /// whose one special token both opens and closes.
    fn spellings(self) -> &'static [&'static str] {
        match self {
            Self::Mask => &["[MASK]", "<mask>", "<|mask|>"],
            Self::Cls => &["[CLS]", "<s>", "<cls>", "<bos>", "<|endoftext|>"],
            Self::Sep => &["[SEP]", "</s>", "<sep>", "<eos>", "<|endoftext|>"],
            Self::Pad => &["[PAD]", "<pad>", "<|pad|>", "<|padding|>"],
            Self::Unk => &["[UNK]", "<unk>", "<|unk|>"],
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key().trim_end_matches("_token"))
    }
}

/// The spelling of sentinel `number`, from 0 (T5, Raffel et al. 2020; UL2).
pub(super) fn sentinel(number: usize) -> String {
    format!("<extra_id_{number}>")
}

/// Whether `spelling` is a usual one of any role.
pub(super) fn is_usual(spelling: &str) -> bool {
    Role::ALL
        .iter()
        .any(|role| role.spellings().contains(&spelling))
}

/// Spellings that may have `role`, the most certain first. `beside` are the JSON
/// files that lie beside the tokenizer.
pub(super) fn candidates(role: Role, tokenizer: &Parsed, beside: &[Value]) -> Vec<String> {
    let mut found = Vec::new();
    if role == Role::Unk {
        found.extend(model_unknown(tokenizer));
    }
    for key in role.file_keys() {
        for file in beside {
            let value = &file[*key];
            found.extend(
                value
                    .as_str()
                    .or_else(|| value["content"].as_str())
                    .map(str::to_owned),
            );
        }
    }
    let (cls, sep) = row_ends(&tokenizer.json["post_processor"]);
    match role {
        Role::Cls => found.extend(cls),
        Role::Sep => found.extend(sep),
        _ => {}
    }
    found.extend(role.spellings().iter().map(|&spelling| spelling.to_owned()));
    found
}

/// What the model itself emits for what it cannot spell.
fn model_unknown(tokenizer: &Parsed) -> Option<String> {
    let model = tokenizer.model();
    if let Some(spelling) = model["unk_token"].as_str() {
        return Some(spelling.to_owned());
    }
    let id = usize::try_from(model["unk_id"].as_u64()?).ok()?;
    match &tokenizer.pieces {
        Pieces::Scores(pieces) => Some(pieces.get(id)?.0.clone()),
        Pieces::Ids(_) | Pieces::None => None,
    }
}

/// The tokens that a post-processor puts before and after one sequence.
fn row_ends(processor: &Value) -> (Option<String>, Option<String>) {
    let owned = |value: &Value| value.as_str().map(str::to_owned);
    if let Some(processors) = processor["processors"].as_array() {
        return processors
            .iter()
            .map(row_ends)
            .fold((None, None), |(cls, sep), (c, s)| (cls.or(c), sep.or(s)));
    }
    if processor["type"] != "TemplateProcessing" {
        return (owned(&processor["cls"][0]), owned(&processor["sep"][0]));
    }
    let (mut cls, mut sep, mut seen) = (None, None, false);
    for piece in processor["single"].as_array().into_iter().flatten() {
        let token = owned(&piece["SpecialToken"]["id"]);
        match (piece["Sequence"].is_object(), seen) {
            (true, _) => seen = true,
            (false, false) => cls = cls.or(token),
            (false, true) => sep = sep.or(token),
        }
    }
    (cls, sep)
}

/// How many tokens a post-processor puts between the sequences of a pair: two in RoBERTa,
/// one in others, and where there is no post-processor.
pub(super) fn between_pair(processor: &Value) -> usize {
    if let Some(processors) = processor["processors"].as_array() {
        return processors.iter().map(between_pair).max().unwrap_or(1);
    }
    if processor["type"] == "RobertaProcessing" {
        return 2;
    }
    let Some(pair) = processor["pair"].as_array() else {
        return 1;
    };
    let behind = pair
        .iter()
        .skip_while(|piece| !piece["Sequence"].is_object());
    let between = behind
        .skip(1)
        .take_while(|piece| !piece["Sequence"].is_object());
    between.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn files_beside_come_before_the_post_processor_and_usual_spellings_last() {
        let tokenizer = json!({"post_processor": {"type": "RobertaProcessing",
            "sep": ["</end>", 2], "cls": ["<start>", 0]}, "model": {}});
        let tokenizer: Parsed = serde_json::from_value(tokenizer).unwrap();
        let beside = [json!({"cls_token": {"content": "<cls!>"}, "eos_token": "<eos!>"})];
        assert_eq!(
            candidates(Role::Cls, &tokenizer, &beside)[..3],
            ["<cls!>", "<start>", "[CLS]"]
        );
        assert_eq!(
            candidates(Role::Sep, &tokenizer, &beside)[..2],
            ["<eos!>", "</end>"]
        );
        assert_eq!(candidates(Role::Mask, &tokenizer, &beside)[0], "[MASK]");
    }

    #[test]
    fn a_template_names_what_opens_and_closes_a_row() {
        let template = json!({"type": "Sequence", "processors": [
            {"type": "ByteLevel"},
            {"type": "TemplateProcessing", "single": [
                {"SpecialToken": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "Z", "type_id": 0}}]}]});
        assert_eq!(row_ends(&template), (Some("A".into()), Some("Z".into())));
    }

    #[test]
    fn a_pair_is_parted_as_its_post_processor_has_it() {
        let piece = |kind: &str, id: &str| json!({kind: {"id": id, "type_id": 0}});
        let [a, b] = ["A", "B"].map(|id| piece("Sequence", id));
        let end = piece("SpecialToken", "[SEP]");
        let template = |between: &[Value]| {
            let pair = [
                &[end.clone(), a.clone()],
                between,
                &[b.clone(), end.clone()],
            ]
            .concat();
            json!({"type": "TemplateProcessing", "pair": pair})
        };
        let twice = template(&[end.clone(), end.clone()]);
        assert_eq!(between_pair(&template(std::slice::from_ref(&end))), 1);
        assert_eq!(between_pair(&twice), 2);
        assert_eq!(
            between_pair(&json!({"type": "Sequence", "processors": [{}, twice]})),
            2
        );
        assert_eq!(between_pair(&json!({"type": "RobertaProcessing"})), 2);
        assert_eq!(between_pair(&json!({"type": "BertProcessing"})), 1);
        assert_eq!(between_pair(&Value::Null), 1);
    }

    #[test]
    fn the_model_says_what_is_unknown() {
        let unigram = json!({"model": {"unk_id": 1, "vocab": [["a", 0.0], ["?", 0.0]]}});
        let unigram: Parsed = serde_json::from_value(unigram).unwrap();
        assert_eq!(candidates(Role::Unk, &unigram, &[])[0], "?");
    }
}

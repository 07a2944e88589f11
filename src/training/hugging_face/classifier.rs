//! Writes a fine-tuned model as a Hugging Face folder: `transformers` loads it as
//! `AutoModelForSequenceClassification`. The tokenizer's files are the caller's.

use super::export::{Padding, configuration};
use super::names::{Content, Place, head_names, places};
use crate::base::error::{Error, Result};
use crate::base::token::SpecialTokens;
use crate::storage::atomic;
use crate::training::classifier::Classifier;
use crate::training::tensors;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Writes `classifier` into `folder`; `special` says which ids pad, open and close a row,
/// `classes` are the names of its outputs, none of one that gives a number. Gives the names
/// of the files.
pub fn export_classifier(
    classifier: &Classifier,
    special: &SpecialTokens,
    classes: &[String],
    folder: &Path,
) -> Result<Vec<&'static str>> {
    let model = &classifier.model;
    let architecture = model.shape.architecture;
    let head = head_names(architecture);
    let padding = Padding::of(model, special);
    let mut tensors = Vec::new();
    for (name, matrix) in classifier.named() {
        let places = match name
            .strip_prefix("classifier.")
            .map(|part| part.rsplit_once('.'))
        {
            None => places(architecture, Content::MaskedModel, &name),
            Some(None) => Vec::new(),
            Some(Some((part, kind))) => {
                let theirs = match part {
                    "dense" => head.dense,
                    "norm" => head.norm,
                    _ => head.out,
                };
                vec![Place::whole(format!("{theirs}.{kind}"))]
            }
        };
        for place in places {
            tensors.push(padding.tensor(&name, place, matrix));
        }
    }
    tensors::write(&folder.join("model.safetensors"), &tensors)?;
    let mut config = configuration(model, special, &padding);
    if let Value::Object(config) = &mut config {
        config.extend(keys(head.class, classes));
    }
    let json =
        serde_json::to_vec_pretty(&config).map_err(|error| Error::library("config.json", error))?;
    atomic::write(folder.join("config.json"), &json)?;
    Ok(vec!["config.json", "model.safetensors"])
}

/// The keys that a classifier has beside those of its encoder.
fn keys(class: &str, classes: &[String]) -> Map<String, Value> {
    let number = ["LABEL_0".to_owned()];
    let (names, problem) = match classes {
        [] => (&number[..], "regression"),
        classes => (classes, "single_label_classification"),
    };
    let by_id = names.iter().enumerate();
    let id2label: Map<String, Value> = by_id
        .clone()
        .map(|(id, name)| (id.to_string(), json!(name)))
        .collect();
    let label2id: Map<String, Value> = by_id.map(|(id, name)| (name.clone(), json!(id))).collect();
    Map::from_iter([
        ("architectures".to_owned(), json!([class])),
        ("problem_type".to_owned(), json!(problem)),
        ("id2label".to_owned(), Value::Object(id2label)),
        ("label2id".to_owned(), Value::Object(label2id)),
        ("classifier_pooling".to_owned(), json!("cls")),
    ])
}

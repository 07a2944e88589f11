//! The settings of a grid: which keys of `[train]` have which values in each, and what it is
//! called.

use super::GridConfig;
use crate::base::error::{Error, Result};
use crate::config::{TrainConfig, keys};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::Path;
use toml::Value;

/// Keys of train and their values, as they are told.
pub type Values = BTreeMap<String, String>;

/// A training to do, once for every seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// What it is called, fit for a folder.
    pub name: String,
    /// The grid that it is of.
    pub grid: String,
    /// Keys whose values its grid lists, and its own of them.
    pub varied: Values,
    /// All of its keys.
    pub train: TrainConfig,
    keys: Json,
}

impl Setting {
    /// The value of a key of train; of a prediction rate that is not set, the corruption
    /// rate. None where the key has no value.
    fn value(&self, key: &str) -> Option<&Json> {
        let at = |key: &str| {
            let value = self.keys.pointer(&format!("/{}", key.replace('.', "/")));
            value.filter(|value| !value.is_null())
        };
        at(key).or_else(|| match key {
            "masking.prediction_rate" => at("masking.corruption_rate"),
            _ => None,
        })
    }

    /// The value of a key where it is a number.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.value(key).and_then(Json::as_f64)
    }

    /// The value of a key, written out; a dash where it has none.
    pub fn told(&self, key: &str) -> String {
        match self.value(key) {
            Some(Json::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => "–".into(),
        }
    }
}

impl GridConfig {
    /// Its settings, over the keys `shared` by all. Paths are relative to `folder`.
    pub(super) fn settings(
        &self,
        place: &str,
        shared: &toml::Table,
        folder: &Path,
    ) -> Result<Vec<Setting>> {
        check_name("grid", &self.name)?;
        let mut lists = Vec::new();
        flatten(String::new(), &self.train, &mut lists);
        let mut combinations = vec![Vec::new()];
        for Key { path, values, .. } in &lists {
            if values.is_empty() {
                return Err(Error::usage(
                    format!("{place}, grid {}, train.{path}", self.name),
                    "an empty list",
                    "a value, or a list of values to try in turn",
                    "leave the key out, or name values",
                ));
            }
            combinations = combinations
                .into_iter()
                .flat_map(|chosen| {
                    (0..values.len()).map(move |value| {
                        let mut chosen = chosen.clone();
                        chosen.push(value);
                        chosen
                    })
                })
                .collect();
        }
        let setting = |chosen: Vec<usize>| {
            let mut over = toml::Table::new();
            let mut varied = Values::new();
            let mut name = self.name.clone();
            for (key, &choice) in lists.iter().zip(&chosen) {
                let value = key.values[choice].clone();
                if key.varied {
                    let told = told(&value, choice);
                    name += "-";
                    name += &told;
                    varied.insert(key.path.clone(), told);
                }
                set(&mut over, &key.path, value);
            }
            let mut table = shared.clone();
            keys::overlay(&mut table, over);
            let place = format!("{place}, train of {name}");
            let mut train: TrainConfig = keys::from_table(&place, table)?;
            train.relative_to(folder);
            let keys = serde_json::to_value(&train)
                .map_err(|error| Error::library("JSON of a setting", error))?;
            Ok(Setting {
                name,
                grid: self.name.clone(),
                varied,
                train,
                keys,
            })
        };
        combinations.into_iter().map(setting).collect()
    }
}

/// A key and the values that it takes in turn.
struct Key {
    path: String,
    values: Vec<Value>,
    /// Whether they were written as a list.
    varied: bool,
}

/// The dotted keys of `table` and the values that each takes.
fn flatten(path: String, table: &toml::Table, out: &mut Vec<Key>) {
    for (name, value) in table {
        let key = match path.is_empty() {
            true => name.clone(),
            false => format!("{path}.{name}"),
        };
        match value {
            Value::Table(inner) => flatten(key, inner, out),
            Value::Array(values) => out.push(Key {
                path: key,
                values: values.clone(),
                varied: true,
            }),
            value => out.push(Key {
                path: key,
                values: vec![value.clone()],
                varied: false,
            }),
        }
    }
}

fn set(table: &mut toml::Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => drop(table.insert(key.to_owned(), value)),
        Some((name, rest)) => {
            let inner = table
                .entry(name)
                .or_insert_with(|| Value::Table(toml::Table::new()));
            if let Value::Table(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}

/// A value in the name of a setting: itself where it is a number or a word, else the
/// `place` it has in its list, from 1.
fn told(value: &Value, place: usize) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => value.to_string(),
        _ => String::new(),
    };
    let fits = |character: char| character.is_ascii_alphanumeric() || "._".contains(character);
    match !text.is_empty() && text.chars().all(fits) {
        true => text,
        false => format!("{}", place + 1),
    }
}

/// Refuses what cannot name a folder everywhere.
pub(super) fn check_name(key: &str, name: &str) -> Result<()> {
    let fits = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    if !name.is_empty() && !name.starts_with('.') && name.chars().all(fits) {
        return Ok(());
    }
    Err(Error::usage(
        format!("{key}.name"),
        format!("{name:?}"),
        "letters, digits, dots, dashes and underscores",
        "files are called by it",
    ))
}

//! Flags from configuration structures: the keys of a structure's JSON Schema are
//! the flags of its stage, its doc comments their help, its defaults their defaults.
//! A key of an inner table is `--table.key`. So flags, TOML and schema cannot differ.

use crate::base::error::{Error, Result};
use crate::config::keys;
use clap::builder::PossibleValue;
use clap::{Arg, ArgAction, ArgMatches, Command};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::PathBuf;

/// One key of a configuration: its dotted path and the schema of its value.
struct Key {
    path: String,
    schema: Value,
    description: String,
    default: Option<Value>,
}

/// Adds a flag for every key of `T` but those in `except`.
pub fn add<T: JsonSchema>(command: Command, except: &[&str]) -> Result<Command> {
    let mut command = command;
    for key in keys_of::<T>()? {
        if !except.contains(&key.path.as_str()) {
            command = command.arg(flag(&key));
        }
    }
    Ok(command)
}

/// Sets what was typed in `table`; what was not typed is left as it is there.
pub fn fill<T: JsonSchema>(matches: &ArgMatches, table: &mut toml::Table) -> Result<()> {
    for key in keys_of::<T>()? {
        let Ok(Some(typed)) = matches.try_get_many::<String>(&key.path) else {
            continue;
        };
        if matches.value_source(&key.path) != Some(clap::parser::ValueSource::CommandLine) {
            continue;
        }
        let typed: Vec<&String> = typed.collect();
        let value = if kind(&key.schema) == Some("array") {
            toml::Value::Array(typed.iter().map(|text| element(text)).collect())
        } else {
            scalar(&key.schema, typed[typed.len() - 1])
        };
        set(table, &key.path, value)?;
    }
    Ok(())
}

/// Reads a configuration from what was typed alone.
pub fn config<T: JsonSchema + DeserializeOwned>(matches: &ArgMatches) -> Result<T> {
    let mut table = toml::Table::new();
    fill::<T>(matches, &mut table)?;
    keys::from_table("the command line", table)
}

/// Reads a configuration from the TOML that `--config` names, where it does, and what was
/// typed over it. The keys are those of the file's table `stage`; of one without it, all.
pub fn config_over_file<T: JsonSchema + DeserializeOwned>(
    matches: &ArgMatches,
    stage: &str,
) -> Result<T> {
    let Some(file) = matches.get_one::<PathBuf>("config") else {
        return config(matches);
    };
    let text = std::fs::read_to_string(file).map_err(|e| Error::io("read", file, e))?;
    let place = file.display().to_string();
    let mut table = keys::table_of_toml(&place, &text, stage)?;
    fill::<T>(matches, &mut table)?;
    keys::from_table(&place, table)
}

/// Sets a dotted path in a table.
pub fn set(table: &mut toml::Table, path: &str, value: toml::Value) -> Result<()> {
    let mut at = table;
    let mut steps = path.split('.').peekable();
    while let Some(step) = steps.next() {
        if steps.peek().is_none() {
            at.insert(step.to_owned(), value);
            return Ok(());
        }
        at = at
            .entry(step)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()))
            .as_table_mut()
            .ok_or_else(|| Error::usage(path, "a value", "a table", "correct the file"))?;
    }
    Ok(())
}

fn scalar(schema: &Value, text: &str) -> toml::Value {
    let string = || toml::Value::String(text.to_owned());
    if kind(schema) == Some("string") || choices(schema).is_some() {
        return string();
    }
    format!("value = {text}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .filter(|value| !value.is_table())
        .unwrap_or_else(string)
}

/// One value of a list; an inline table where it is written as one.
fn element(text: &str) -> toml::Value {
    let typed = text.trim();
    if typed.starts_with('{')
        && let Ok(mut table) = format!("value = {typed}").parse::<toml::Table>()
        && let Some(value) = table.remove("value")
    {
        return value;
    }
    scalar(&Value::Null, text)
}

fn flag(key: &Key) -> Arg {
    let long = key.path.replace('_', "-");
    let last = key.path.rsplit('.').next().unwrap_or_default();
    let mut help = key.description.replace('\n', " ");
    match &key.default {
        Some(Value::String(text)) if text.is_empty() => {}
        Some(Value::Null) | Some(Value::Object(_)) | None => {}
        Some(Value::String(text)) => help += &format!(" [default: {text}]"),
        Some(Value::Array(values)) if values.is_empty() => {}
        Some(Value::Array(values)) => {
            let values: Vec<String> = values.iter().map(Value::to_string).collect();
            help += &format!(" [default: {}]", values.join(","));
        }
        Some(value) => help += &format!(" [default: {value}]"),
    }
    let arg = Arg::new(key.path.clone())
        .long(long)
        .help(help)
        .value_name(last.to_uppercase());
    let possible = |choices: Vec<(String, String)>| {
        let values = choices.into_iter();
        let values = values.map(|(name, help)| PossibleValue::new(name).help(help));
        values.collect::<Vec<_>>()
    };
    if let Some(choices) = choices(&key.schema) {
        return arg
            .value_parser(possible(choices))
            .hide_possible_values(false);
    }
    let items = key.schema.get("items").unwrap_or(&Value::Null);
    match kind(&key.schema) {
        Some("boolean") => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_parser(["true", "false"]),
        Some("array") if items.get("properties").is_some() => {
            arg.action(ArgAction::Append).value_name("{KEY = VALUE, …}")
        }
        Some("array") => {
            let arg = arg.action(ArgAction::Append).value_delimiter(',');
            match choices(items) {
                Some(choices) => arg.value_parser(possible(choices)),
                None => arg,
            }
        }
        _ => arg.allow_negative_numbers(true),
    }
}

fn keys_of<T: JsonSchema>() -> Result<Vec<Key>> {
    let root = serde_json::to_value(schemars::schema_for!(T))
        .map_err(|error| Error::library("schema of the configuration", error))?;
    let mut keys = Vec::new();
    collect(&root, &root, "", &mut keys);
    Ok(keys)
}

fn collect(root: &Value, schema: &Value, path: &str, out: &mut Vec<Key>) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    for (name, property) in properties {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        let resolved = keys::resolve(root, property);
        if resolved.get("properties").is_some() {
            collect(root, resolved, &path, out);
            continue;
        }
        let text = |schema: &Value| {
            schema
                .get("description")
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let mut schema = resolved.clone();
        if let Some(items) = schema.get_mut("items") {
            *items = keys::resolve(root, items).clone();
        }
        out.push(Key {
            path,
            description: text(property)
                .or_else(|| text(resolved))
                .unwrap_or_default(),
            default: property.get("default").cloned(),
            schema,
        });
    }
}

/// The JSON type, looking through `["string", "null"]`.
fn kind(schema: &Value) -> Option<&str> {
    match schema.get("type") {
        Some(Value::String(kind)) => Some(kind),
        Some(Value::Array(kinds)) => kinds
            .iter()
            .filter_map(Value::as_str)
            .find(|&kind| kind != "null"),
        _ => None,
    }
}

/// Names and help of an enumeration's values.
fn choices(schema: &Value) -> Option<Vec<(String, String)>> {
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return Some(
            values
                .iter()
                .filter_map(|value| Some((value.as_str()?.to_owned(), String::new())))
                .collect(),
        );
    }
    let options = schema.get("oneOf")?.as_array()?;
    options
        .iter()
        .map(|option| {
            let name = option.get("const")?.as_str()?.to_owned();
            let help = option
                .get("description")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .replace('\n', " ");
            Some((name, help))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        CountConfig, EvaluateConfig, Punctuation, Strategy, TrainConfig, VocabularyConfig,
    };

    fn parse<T: JsonSchema + DeserializeOwned>(arguments: &[&str]) -> Result<T> {
        let command = add::<T>(Command::new("test"), &[]).unwrap();
        config(&command.try_get_matches_from(arguments).unwrap())
    }

    #[test]
    fn every_key_is_a_flag() {
        let count: CountConfig =
            parse(&["x", "--min-count", "3", "--punctuation", "skip", "--cased"]).unwrap();
        assert_eq!(count.min_count, 3);
        assert_eq!(count.punctuation, Punctuation::Skip);
        assert!(count.cased);
        assert_eq!(count.max_length, CountConfig::default().max_length);
        let train: TrainConfig = parse(&[
            "x",
            "--masking.corruption-rate",
            "0.2",
            "--masking.prediction-rate=0.4",
        ])
        .unwrap();
        assert_eq!(train.masking.most_copies(), 2);
        let train: TrainConfig = parse(&[
            "x",
            "--masking.corruption-rate",
            "linear(0.3, 0.15)",
            "--masking.mixture",
            "{ weight = 2, strategy = \"word\" }",
            "--masking.mixture",
            "{ strategy = \"span\", mean_span_length = 5 }",
        ])
        .unwrap();
        assert_eq!(
            train.masking.corruption_rate.to_string(),
            "linear(0.3, 0.15)"
        );
        assert_eq!(train.masking.mixture.len(), 2);
        assert_eq!(train.masking.mixture[1].masking.mean_span_length, 5.0);
        let vocabulary: VocabularyConfig =
            parse(&["x", "--shares", "0.5,0.5", "--import", "list.txt"]).unwrap();
        let evaluate: EvaluateConfig =
            parse(&["x", "--strategies", "uniform,pmi", "--blimp-pairs", "3"]).unwrap();
        assert_eq!(evaluate.strategies, [Strategy::Uniform, Strategy::Pmi]);
        assert_eq!(evaluate.blimp_pairs, Some(3));
        assert_eq!(vocabulary.shares, [0.5, 0.5]);
        assert_eq!(vocabulary.import.unwrap().to_str(), Some("list.txt"));
    }

    #[test]
    fn an_unknown_flag_suggests_the_nearest() {
        let command = add::<CountConfig>(Command::new("count"), &[]).unwrap();
        let message = command
            .try_get_matches_from(["count", "--min-cuont", "3"])
            .unwrap_err()
            .to_string();
        assert!(message.contains("--min-count"), "{message}");
    }
}

//! From TOML and `--set key=value` to a configuration: unknown keys are refused
//! with the nearest known one. The known keys are read from the JSON Schema, so
//! there is one list of keys, the structures themselves.

use crate::base::error::{Error, Result};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Refuses a share outside 0 to 1.
pub fn check_share(key: &str, share: f64) -> Result<()> {
    if (0.0..=1.0).contains(&share) {
        return Ok(());
    }
    Err(Error::usage(
        key,
        share.to_string(),
        "a share from 0 to 1",
        "write 40 % as 0.4",
    ))
}

/// Refuses record batches too small to compress or too large to map.
pub fn check_batch_tokens(key: &str, tokens: u32) -> Result<()> {
    if (256..=1 << 24).contains(&tokens) {
        return Ok(());
    }
    Err(Error::usage(
        key,
        tokens.to_string(),
        "256 to 16777216 tokens",
        "65536 suits most corpora",
    ))
}

/// Refuses a level that zstd does not have, or one that takes gigabytes.
pub fn check_zstd_level(key: &str, level: i32) -> Result<()> {
    if (1..=19).contains(&level) {
        return Ok(());
    }
    Err(Error::usage(
        key,
        level.to_string(),
        "1 to 19",
        "see the table in docs/benchmarks.md",
    ))
}

/// Reads a configuration from the TOML `text` of `place`, with `overrides` of the
/// form `table.key=value` on top; a value is TOML, or a bare string.
pub fn from_toml<T: DeserializeOwned + JsonSchema>(
    place: &str,
    text: &str,
    overrides: &[String],
) -> Result<T> {
    let mut table = parsed(place, text)?;
    for assignment in overrides {
        apply(&mut table, assignment)?;
    }
    from_table(place, table)
}

/// The TOML `text` of `place`.
pub fn parsed(place: &str, text: &str) -> Result<toml::Table> {
    toml::from_str(text).map_err(|error| {
        Error::usage(
            place,
            error.to_string().trim_end().to_owned(),
            "valid TOML",
            "correct the line",
        )
    })
}

/// What the TOML `text` of `place` says of one stage: its table `stage`, or where it has
/// none, all of it.
pub fn table_of_toml(place: &str, text: &str, stage: &str) -> Result<toml::Table> {
    let mut table = parsed(place, text)?;
    match table.remove(stage) {
        Some(toml::Value::Table(inner)) => Ok(inner),
        Some(other) => {
            table.insert(stage.to_owned(), other);
            Ok(table)
        }
        None => Ok(table),
    }
}

/// Sets the keys of `over` in `table`; those of inner tables one by one.
pub fn overlay(table: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(over)) => overlay(inner, over),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

/// Reads a configuration from a TOML table; see [`from_toml`].
pub fn from_table<T: DeserializeOwned + JsonSchema>(place: &str, table: toml::Table) -> Result<T> {
    let schema = serde_json::to_value(schemars::schema_for!(T))
        .map_err(|error| Error::library("schema of the configuration", error))?;
    refuse_unknown_keys(place, &schema, &schema, &table, "")?;
    table.try_into().map_err(|error: toml::de::Error| {
        // The key stands behind the message, and nowhere else.
        let shown = error.to_string();
        let key = shown.trim_end().rsplit_once("\nin `");
        let key = key.and_then(|(_, key)| key.strip_suffix('`'));
        Error::usage(
            key.map_or(place.to_owned(), |key| format!("{place}, key {key}")),
            error.message(),
            "a value of the kind that the key takes",
            "see --help of the stage, or schemas/pipeline.schema.json",
        )
    })
}

/// Reads a configuration from the JSON object `text`; see [`from_toml`].
pub fn from_json<T: DeserializeOwned + JsonSchema>(place: &str, text: &str) -> Result<T> {
    from_table(place, table_of_json(place, text)?)
}

/// The JSON object `text` as a table. A key that is null is as if it were not there.
pub fn table_of_json(place: &str, text: &str) -> Result<toml::Table> {
    let wrong = |found: String| Error::usage(place, found, "keys and values", "see its help");
    let mut value: Value = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    drop_nulls(&mut value);
    toml::Table::try_from(value).map_err(|error| wrong(error.to_string()))
}

/// The names of `T`'s keys.
pub fn names<T: JsonSchema>() -> Result<Vec<String>> {
    let schema = serde_json::to_value(schemars::schema_for!(T))
        .map_err(|error| Error::library("schema of the configuration", error))?;
    let keys = schema.get("properties").and_then(Value::as_object);
    Ok(keys
        .into_iter()
        .flat_map(|keys| keys.keys().cloned())
        .collect())
}

/// Parts `table` by who knows each key, the first of `owners` of several; refuses a key that
/// none of them knows.
pub fn parted<const N: usize>(
    place: &str,
    table: toml::Table,
    owners: [&[String]; N],
) -> Result<[toml::Table; N]> {
    let mut parts = std::array::from_fn(|_| toml::Table::new());
    for (key, value) in table {
        let Some(owner) = owners.iter().position(|names| names.contains(&key)) else {
            let known = owners.iter().flat_map(|names| names.iter());
            return Err(unknown(place, &key, &key, known.map(String::as_str)));
        };
        parts[owner].insert(key, value);
    }
    Ok(parts)
}

fn unknown<'a>(place: &str, full: &str, key: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let known: Vec<&str> = known.collect();
    let nearest = known
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)));
    Error::usage(
        format!("{place}, key {full}"),
        "an unknown key",
        format!("one of {}", known.join(", ")),
        match nearest {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => "take it out".into(),
        },
    )
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(keys) => {
            keys.retain(|_, value| !value.is_null());
            keys.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Sets `table.key=value` in `table`.
pub fn apply(table: &mut toml::Table, assignment: &str) -> Result<()> {
    let Some((path, value)) = assignment.split_once('=') else {
        return Err(Error::usage(
            "--set",
            format!("{assignment:?}"),
            "key=value",
            "write for example --set train.steps=500",
        ));
    };
    let value = value.trim();
    let value = format!("value = {value}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    let mut keys: Vec<&str> = path.trim().split('.').collect();
    let last = keys.pop().unwrap_or_default();
    let mut at = table;
    for key in keys {
        at = at
            .entry(key)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()))
            .as_table_mut()
            .ok_or_else(|| {
                Error::usage(
                    "--set",
                    format!("{path}, where {key} is a value"),
                    "a table before each dot",
                    "see the pipeline's TOML for its tables",
                )
            })?;
    }
    at.insert(last.to_owned(), value);
    Ok(())
}

fn refuse_unknown_keys(
    place: &str,
    root: &Value,
    schema: &Value,
    table: &toml::Table,
    path: &str,
) -> Result<()> {
    let schema = resolve(root, schema);
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return Ok(());
    };
    for (key, value) in table {
        let full = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        let Some(property) = properties.get(key) else {
            let known = properties.keys().map(String::as_str);
            return Err(unknown(place, &full, key, known));
        };
        match value {
            toml::Value::Table(inner) => {
                refuse_unknown_keys(place, root, property, inner, &full)?;
            }
            toml::Value::Array(list) => {
                let items = resolve(root, property).get("items").unwrap_or(&Value::Null);
                for (index, one) in list.iter().enumerate() {
                    if let toml::Value::Table(inner) = one {
                        let full = format!("{full}[{index}]");
                        refuse_unknown_keys(place, root, items, inner, &full)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Follows `$ref` and looks through `Option`'s `anyOf`.
pub fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str)
        && let Some(target) = root.pointer(reference.trim_start_matches('#'))
    {
        return resolve(root, target);
    }
    if let Some(options) = schema.get("anyOf").and_then(Value::as_array)
        && let Some(option) = options
            .iter()
            .find(|option| option.get("type").and_then(Value::as_str) != Some("null"))
        && options.len() == 2
        && options
            .iter()
            .any(|option| option.get("type").and_then(Value::as_str) == Some("null"))
    {
        return resolve(root, option);
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LoaderConfig, PipelineConfig, Strategy};

    #[test]
    fn json_is_read_as_toml_is() {
        let text = r#"{"shards": ["a"], "weights": null, "length": 64, "held_out": 0,
            "masking": {"preset": "bert", "strategy": "word", "prediction_rate": null}}"#;
        let config: LoaderConfig = from_json("Loader", text).unwrap();
        assert_eq!((config.length, config.held_out), (64, 0.0));
        assert_eq!(config.masking.strategy, Strategy::Word);
        assert_eq!(config.masking.prediction_rate, None);
        for (text, found) in [
            (
                r#"{"masking": {"strateggy": "word"}}"#,
                "did you mean strategy?",
            ),
            (
                r#"{"masking": {"preset": "burt"}}"#,
                "unknown variant `burt`",
            ),
            (r#"{"length": "long"}"#, "invalid type: string"),
            ("[]", "found "),
        ] {
            let error = from_json::<LoaderConfig>("Loader", text).unwrap_err();
            assert!(error.to_string().contains(found), "{error}");
            assert!(error.to_string().starts_with("Loader"), "{error}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_one() {
        let error =
            from_toml::<PipelineConfig>("p.toml", "[train.masking]\ncoruption_rate = 0.4", &[])
                .unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("train.masking.coruption_rate"),
            "{message}"
        );
        assert!(
            message.contains("did you mean corruption_rate?"),
            "{message}"
        );
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn an_unknown_key_in_a_component_of_a_mixture_is_named_with_its_place() {
        let toml = "[[train.masking.mixture]]\nweight = 1\n[[train.masking.mixture]]\nwieght = 2";
        let message = from_toml::<PipelineConfig>("p.toml", toml, &[])
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("train.masking.mixture[1].wieght"),
            "{message}"
        );
        assert!(message.contains("did you mean weight?"), "{message}");
    }

    #[test]
    fn overrides_go_on_top_of_the_file() {
        let config: PipelineConfig = from_toml(
            "p.toml",
            "seed = 1\n[train]\nsteps = 10",
            &[
                "train.steps=500".into(),
                "tokenize.text_field=body".into(),
                "memory=1GiB".into(),
            ],
        )
        .unwrap();
        assert_eq!(config.train.unwrap().steps, Some(500));
        assert_eq!(config.tokenize.text_field, "body");
        assert_eq!(config.memory.0, 1 << 30);
    }

    #[test]
    fn a_value_of_the_wrong_kind_names_the_key() {
        for (text, place, found) in [
            ("seed = \"one\"", "seed", "invalid type: string \"one\""),
            (
                "[train]\nbudget = \"24hours\"",
                "train.budget",
                "\"24hours\", which is not",
            ),
            ("memory = \"1XB\"", "memory", "\"1XB\", which is not"),
        ] {
            let error = from_toml::<PipelineConfig>("p.toml", text, &[]).unwrap_err();
            let message = error.to_string();
            let expected = format!("p.toml, key {place}: found {found}");
            assert!(message.starts_with(&expected), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }
}

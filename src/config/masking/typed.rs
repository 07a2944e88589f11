//! Reading the keys of masking resolves two shorthands: a [`Preset`] stands for the keys
//! that it sets, and a component of a mixture takes what it does not set from the keys
//! around it. What is written out is the whole, so it reads back as the same.

use super::{Component, MaskingConfig};
use crate::config::Preset;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Keys that hold for all components of a mixture.
const OF_THE_WHOLE: [&str; 5] = [
    "schedule_steps",
    "random_ids",
    "token_weights",
    "layout",
    "mixture",
];

/// Puts `over` on top of `under`.
fn overlay(mut under: Map<String, Value>, over: &Map<String, Value>) -> Map<String, Value> {
    under.extend(over.iter().map(|(key, value)| (key.clone(), value.clone())));
    under
}

/// The keys of `config`, or of the preset that `typed` names.
fn base_of(
    typed: &Map<String, Value>,
    without: &MaskingConfig,
) -> std::result::Result<(Map<String, Value>, Vec<Component>), String> {
    let mut config = match typed.get("preset") {
        None | Some(Value::Null) => without.clone(),
        Some(name) => serde_json::from_value::<Preset>(name.clone())
            .map_err(|error| format!("preset: {error}"))?
            .config(),
    };
    let mixture = std::mem::take(&mut config.mixture);
    match serde_json::to_value(&config) {
        Ok(Value::Object(keys)) => Ok((keys, mixture)),
        _ => Err("keys that are no table".into()),
    }
}

/// Reads keys, naming the one that is wrong.
fn read(keys: Map<String, Value>) -> std::result::Result<MaskingConfig, String> {
    for (key, value) in &keys {
        let alone = Value::Object(Map::from_iter([(key.clone(), value.clone())]));
        if let Err(error) = MaskingConfig::deserialize(alone) {
            return Err(format!("{key}: {error}"));
        }
    }
    MaskingConfig::deserialize(Value::Object(keys)).map_err(|error| error.to_string())
}

fn component(
    typed: Value,
    whole: &MaskingConfig,
    index: usize,
) -> std::result::Result<Component, String> {
    let place = |error: String| format!("mixture[{index}]: {error}");
    let Value::Object(mut typed) = typed else {
        return Err(place("not a table".into()));
    };
    if let Some(key) = OF_THE_WHOLE.iter().find(|&&key| typed.contains_key(key)) {
        return Err(place(format!(
            "{key} holds for the whole mixture: set it outside"
        )));
    }
    let weight = typed.remove("weight").unwrap_or(Value::from(1.0));
    let weight = weight
        .as_f64()
        .ok_or_else(|| place(format!("weight: {weight} is no number")))?;
    let (base, mixture) = base_of(&typed, whole).map_err(place)?;
    if !mixture.is_empty() {
        return Err(place("preset: a mixture itself".into()));
    }
    Ok(Component {
        weight,
        masking: read(overlay(base, &typed)).map_err(place)?,
    })
}

impl<'de> Deserialize<'de> for MaskingConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let wrong = |error: String| <D::Error as de::Error>::custom(format!("masking: {error}"));
        let mut typed = Map::<String, Value>::deserialize(deserializer)?;
        let mixture = typed.remove("mixture");
        let (base, of_preset) = base_of(&typed, &Self::default()).map_err(wrong)?;
        let mut whole = read(overlay(base, &typed)).map_err(wrong)?;
        let unnamed = Self {
            preset: None,
            ..whole.clone()
        };
        whole.mixture = match mixture {
            Some(Value::Array(components)) => components
                .into_iter()
                .enumerate()
                .map(|(index, typed)| component(typed, &unnamed, index))
                .collect::<std::result::Result<_, _>>()
                .map_err(wrong)?,
            Some(other) => return Err(wrong(format!("mixture: {other} is no list of tables"))),
            None => {
                typed.remove("preset");
                OF_THE_WHOLE.iter().for_each(|&key| {
                    typed.remove(key);
                });
                of_preset
                    .into_iter()
                    .map(|one| {
                        let keys = match serde_json::to_value(&one.masking) {
                            Ok(Value::Object(keys)) => overlay(keys, &typed),
                            _ => typed.clone(),
                        };
                        Ok(Component {
                            weight: one.weight,
                            masking: read(keys)?,
                        })
                    })
                    .collect::<std::result::Result<_, String>>()
                    .map_err(wrong)?
            }
        };
        whole.spread();
        Ok(whole)
    }
}

impl<'de> Deserialize<'de> for Component {
    /// A component by itself, with the defaults around it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let typed = Value::deserialize(deserializer)?;
        component(typed, &MaskingConfig::default(), 0).map_err(de::Error::custom)
    }
}

impl Serialize for MaskingConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl Serialize for Component {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut keys = match serde_json::to_value(&self.masking) {
            Ok(Value::Object(keys)) => keys,
            Ok(_) => Map::new(),
            Err(error) => return Err(serde::ser::Error::custom(error)),
        };
        OF_THE_WHOLE.iter().for_each(|&key| {
            keys.remove(key);
        });
        keys.insert("weight".into(), self.weight.into());
        keys.serialize(serializer)
    }
}

impl JsonSchema for Component {
    fn schema_name() -> Cow<'static, str> {
        "Component".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = MaskingConfig::json_schema(generator);
        schema.insert("description".into(), "One way of a mixture.".into());
        if let Some(Value::Object(keys)) = schema.get_mut("properties") {
            OF_THE_WHOLE.iter().for_each(|&key| {
                keys.remove(key);
            });
            let weight = schemars::json_schema!({
                "description": "Rows masked so, relative to the other components.",
                "type": "number",
                "default": 1.0,
            });
            keys.insert("weight".into(), weight.into());
        }
        schema
    }
}

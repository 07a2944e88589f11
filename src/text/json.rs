//! One text field of a JSON object, the rest of it passed over without building it: by a
//! scan ([`super::scan`]) where the line is right, by serde where it says what is wrong.

use super::scan;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// The text in `field` of the JSON object `line`, or the reason why there is none.
/// Of a field that stands twice the last one counts, as in Python.
pub(super) fn text_field<'a>(line: &'a str, field: &str) -> Result<Cow<'a, str>, String> {
    match scan::text_field(line, field) {
        Some(text) => Ok(text),
        None => by_serde(line, field),
    }
}

/// As [`text_field`], by serde alone.
pub(super) fn by_serde<'a>(line: &'a str, field: &str) -> Result<Cow<'a, str>, String> {
    let mut json = serde_json::Deserializer::from_str(line);
    let found = json
        .deserialize_any(ObjectVisitor { field })
        .and_then(|found| json.end().map(|()| found))
        .map_err(|error| format!("no JSON object: {error}"))?;
    match found {
        Some(Field::Text(text)) => Ok(text),
        Some(Field::Other(kind)) => Err(format!("field {field:?} is {kind}, not text")),
        None => Err(format!("no field {field:?}")),
    }
}

enum Field<'a> {
    Text(Cow<'a, str>),
    Other(&'static str),
}

struct ObjectVisitor<'f> {
    field: &'f str,
}

#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for ObjectVisitor<'_> {
    type Value = Option<Field<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Key(key)) = map.next_key()? {
            if key == self.field {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

impl<'de> Deserialize<'de> for Field<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Field<'de>, E> {
        Ok(Field::Other("true or false"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Field<'de>, E> {
        Ok(Field::Other("a number"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Field<'de>, E> {
        Ok(Field::Other("a number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Field<'de>, E> {
        Ok(Field::Other("a number"))
    }

    fn visit_unit<E: Error>(self) -> Result<Field<'de>, E> {
        Ok(Field::Other("null"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Field<'de>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other("an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_found_among_others_and_unescaped() {
        let line = r#" {"id": [1, {"text": "no"}], "text": "a\u00e9\n\"", "x": null} "#;
        assert_eq!(text_field(line, "text").unwrap(), "aé\n\"");
        assert!(matches!(
            text_field(r#"{"body":"plain"}"#, "body"),
            Ok(Cow::Borrowed("plain"))
        ));
        assert_eq!(text_field(r#"{"t":1,"t":"two"}"#, "t").unwrap(), "two");
    }

    #[test]
    fn whatever_is_wrong_with_a_line_is_said() {
        for (line, reason) in [
            ("{\"text\": \"a\"", "no JSON object: EOF"),
            ("{\"text\": \"a\"} x", "no JSON object: trailing characters"),
            ("[\"text\"]", "expected an object"),
            ("plain words", "no JSON object"),
            ("{\"text\": \"\u{1}\"}", "control character"),
            (r#"{"text": "\ud800"}"#, "no JSON object"),
            (r#"{"body": "a"}"#, "no field \"text\""),
            (r#"{"text": null}"#, "is null"),
            (r#"{"text": -1}"#, "is a number"),
            (r#"{"text": 1.5}"#, "is a number"),
            (r#"{"text": true}"#, "is true or false"),
            (r#"{"text": ["a"]}"#, "is a list"),
            (r#"{"text": {"a": 1}}"#, "is an object"),
        ] {
            let found = text_field(line, "text").unwrap_err();
            assert!(found.contains(reason), "{line}: {found}");
        }
    }
}

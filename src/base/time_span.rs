//! Spans of time as people write them: `24h`, `1h30m`, `90s`, `2d`.

use crate::base::error::{Error, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A span of time, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct TimeSpan(pub f64);

const UNITS: [(char, f64); 4] = [('d', 86_400.0), ('h', 3600.0), ('m', 60.0), ('s', 1.0)];

const EXPECTED: &str = "a number with d, h, m or s, or several of them";
const EXAMPLE: &str = "write for example 24h, 1h30m or 90s";

impl TimeSpan {
    /// Its seconds.
    pub fn seconds(self) -> f64 {
        self.0
    }

    /// The two largest units that say something, whole: `3d 4h`, `1h 30m`, `12s`.
    pub fn rough(self) -> String {
        let mut left = self.0.max(0.0).round();
        let mut parts = Vec::new();
        for (unit, seconds) in UNITS {
            let count = (left / seconds).floor();
            left -= count * seconds;
            if count > 0.0 {
                parts.push(format!("{count}{unit}"));
            } else if !parts.is_empty() {
                break;
            }
        }
        parts.truncate(2);
        if parts.is_empty() {
            return "0s".into();
        }
        parts.join(" ")
    }
}

impl FromStr for TimeSpan {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::usage("time", format!("{text:?}"), EXPECTED, EXAMPLE);
        let (mut sum, mut rest) = (0.0, text.trim());
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'));
            let (number, after) = rest.split_at(digits.unwrap_or(rest.len()));
            let mut after = after.trim_start().chars();
            let unit = match after.next() {
                Some(unit) => UNITS.iter().find(|(name, _)| *name == unit),
                // A bare number is seconds.
                None if rest.len() == text.trim().len() => UNITS.last(),
                None => None,
            };
            let number = number.parse::<f64>().map_err(|_| wrong())?;
            sum += number * unit.ok_or_else(wrong)?.1;
            rest = after.as_str().trim_start();
        }
        Ok(Self(sum))
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0;
        for (unit, seconds) in &UNITS[..3] {
            let count = (left / seconds).floor();
            if count > 0.0 {
                write!(f, "{count}{unit}")?;
                left -= count * seconds;
            }
        }
        if left > 0.0 || self.0 == 0.0 {
            write!(f, "{left}s")?;
        }
        Ok(())
    }
}

impl Serialize for TimeSpan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(f64),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Number(seconds) => Ok(Self(seconds)),
            Form::Text(text) => text.parse().map_err(|_| {
                serde::de::Error::custom(format!("{text:?}, which is not {EXPECTED} ({EXAMPLE})"))
            }),
        }
    }
}

impl JsonSchema for TimeSpan {
    fn schema_name() -> Cow<'static, str> {
        "TimeSpan".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A span of time: \"24h\", \"1h30m\", \"90s\", or seconds.",
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": "^\\s*([0-9.]+\\s*[dhms]?\\s*)+$"}
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them_and_written_the_same() {
        for (text, seconds, written) in [
            ("24h", 86_400.0, "1d"),
            ("1h30m", 5400.0, "1h30m"),
            ("90s", 90.0, "1m30s"),
            (" 1.5 h ", 5400.0, "1h30m"),
            ("2d 1s", 172_801.0, "2d1s"),
            ("12", 12.0, "12s"),
            ("0.25s", 0.25, "0.25s"),
        ] {
            let span: TimeSpan = text.parse().unwrap();
            assert_eq!(span.seconds(), seconds, "{text}");
            assert_eq!(span.to_string(), written);
            assert_eq!(written.parse::<TimeSpan>().unwrap(), span);
        }
        for text in ["", "h", "24 hours", "-1h", "1h5", "1..2h", "5x"] {
            let message = text.parse::<TimeSpan>().unwrap_err().to_string();
            assert!(message.contains("1h30m"), "{text}: {message}");
        }
    }

    #[test]
    fn what_is_left_is_told_in_two_units() {
        for (seconds, told) in [
            (0.2, "0s"),
            (59.6, "1m"),
            (4000.0, "1h 6m"),
            (86_400.0 + 61.0, "1d"),
            (93_600.0, "1d 2h"),
        ] {
            assert_eq!(TimeSpan(seconds).rough(), told);
        }
    }
}

//! Rates that stand still or move (spec 5): a number, or a law written as
//! `linear(0.3, 0.15)`. One spelling in TOML, on the command line and in JSON.

use crate::base::error::{Error, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// Where a rate comes from. All rates are shares, 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub enum Rate {
    /// `0.4`: the same for every row.
    Constant(f64),
    /// `linear(0.3, 0.15)`: from the first at step 0 to the second at step
    /// `schedule_steps` and after (Ankner et al. 2023).
    Linear {
        /// At step 0.
        from: f64,
        /// At the end.
        to: f64,
    },
    /// `cosine(0.3, 0.15)`: the same along half a cosine.
    Cosine {
        /// At step 0.
        from: f64,
        /// At the end.
        to: f64,
    },
    /// `piecewise(0: 0.4, 10000: 0.2)`: each rate from its step on, steps ascending
    /// from 0.
    Piecewise(Vec<(u64, f64)>),
    /// `uniform(0.1, 0.5)`: drawn for each row.
    Uniform {
        /// At least.
        low: f64,
        /// Below.
        high: f64,
    },
    /// `diffusion(0.001)`: each row its own t, uniform in [ε, 1), and each of its
    /// labels the loss weight 1/t (LLaDA, Nie et al. 2025).
    Diffusion {
        /// ε, above 0.
        epsilon: f64,
    },
    /// `antithetic(0.001)`: as diffusion, but the rows of a step take t from equal
    /// strata of [ε, 1), row i of n from the i-th (MDLM, Sahoo et al. 2024).
    Antithetic {
        /// ε, above 0.
        epsilon: f64,
    },
}

impl Rate {
    /// The rate at `step` of `steps`; `None` where it is drawn for each row.
    pub fn at(&self, step: u64, steps: u64) -> Option<f64> {
        let done = (step as f64 / steps.max(1) as f64).min(1.0);
        match self {
            Self::Constant(rate) => Some(*rate),
            Self::Linear { from, to } => Some(from + (to - from) * done),
            Self::Cosine { from, to } => {
                let left = (1.0 + (std::f64::consts::PI * done).cos()) / 2.0;
                Some(to + (from - to) * left)
            }
            Self::Piecewise(pieces) => {
                let after = pieces.partition_point(|&(from, _)| from <= step);
                Some(pieces[after.max(1) - 1].1)
            }
            Self::Uniform { .. } | Self::Diffusion { .. } | Self::Antithetic { .. } => None,
        }
    }

    /// The rate of a row that drew `unit` from [0, 1), and that is row `place` of the
    /// `rows` of its step; for laws that [`Rate::at`] has no answer to.
    pub fn of_row(&self, unit: f64, place: u32, rows: u32) -> f64 {
        let (low, high, unit) = match self {
            Self::Uniform { low, high } => (*low, *high, unit),
            Self::Diffusion { epsilon } => (*epsilon, 1.0, unit),
            Self::Antithetic { epsilon } => {
                let stratum = f64::from(place % rows.max(1));
                (*epsilon, 1.0, (stratum + unit) / f64::from(rows.max(1)))
            }
            steady => return steady.range().0,
        };
        low + (high - low) * unit
    }

    /// The lowest and the highest rate.
    pub fn range(&self) -> (f64, f64) {
        match self {
            Self::Constant(rate) => (*rate, *rate),
            Self::Linear { from, to } | Self::Cosine { from, to } => (from.min(*to), from.max(*to)),
            Self::Piecewise(pieces) => pieces.iter().fold((1.0, 0.0), |(low, high), &(_, rate)| {
                (rate.min(low), rate.max(high))
            }),
            Self::Uniform { low, high } => (*low, *high),
            Self::Diffusion { epsilon } | Self::Antithetic { epsilon } => (*epsilon, 1.0),
        }
    }

    /// The mean over all steps, or over all draws.
    pub fn mean(&self, steps: u64) -> f64 {
        match self {
            Self::Piecewise(pieces) => {
                let ends = pieces.iter().skip(1).map(|&(from, _)| from.min(steps));
                let sum: f64 = pieces
                    .iter()
                    .zip(ends.chain([steps]))
                    .map(|(&(from, rate), end)| rate * end.saturating_sub(from) as f64)
                    .sum();
                sum / steps.max(1) as f64
            }
            law => (law.range().0 + law.range().1) / 2.0,
        }
    }

    /// Whether each row draws its own.
    pub fn is_drawn(&self) -> bool {
        matches!(
            self,
            Self::Uniform { .. } | Self::Diffusion { .. } | Self::Antithetic { .. }
        )
    }

    /// Whether labels weigh 1/rate in the loss.
    pub fn is_weighted(&self) -> bool {
        matches!(self, Self::Diffusion { .. } | Self::Antithetic { .. })
    }

    /// Whether it needs to know how many steps there are.
    pub fn needs_steps(&self) -> bool {
        matches!(self, Self::Linear { .. } | Self::Cosine { .. })
    }

    /// Refuses rates that are no shares.
    pub fn check(&self, key: &str) -> Result<()> {
        let (low, high) = self.range();
        let usage = |expected: &str, remedy: &str| {
            Err(Error::usage(
                key,
                self.to_string(),
                expected.to_owned(),
                remedy.to_owned(),
            ))
        };
        if !(0.0 <= low && low <= high && high <= 1.0) {
            return usage("rates from 0 to 1", "write 40 % as 0.4");
        }
        match self {
            Self::Uniform { low, high } if low >= high => usage(
                "the lower bound first",
                "write uniform(0.1, 0.5), or one number for a rate that stands still",
            ),
            Self::Diffusion { epsilon } | Self::Antithetic { epsilon } if *epsilon <= 0.0 => usage(
                "ε above 0",
                "labels weigh 1/t in the loss, so t must stay above 0: LLaDA uses 0.001",
            ),
            Self::Piecewise(pieces)
                if pieces.first().is_none_or(|first| first.0 != 0)
                    || !pieces.is_sorted_by(|a, b| a.0 < b.0) =>
            {
                usage(
                    "steps ascending from 0",
                    "write piecewise(0: 0.4, 10000: 0.2)",
                )
            }
            _ => Ok(()),
        }
    }
}

impl From<f64> for Rate {
    fn from(rate: f64) -> Self {
        Self::Constant(rate)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(rate) => write!(f, "{rate}"),
            Self::Linear { from, to } => write!(f, "linear({from}, {to})"),
            Self::Cosine { from, to } => write!(f, "cosine({from}, {to})"),
            Self::Piecewise(pieces) => {
                let pieces: Vec<String> = pieces
                    .iter()
                    .map(|(from, rate)| format!("{from}: {rate}"))
                    .collect();
                write!(f, "piecewise({})", pieces.join(", "))
            }
            Self::Uniform { low, high } => write!(f, "uniform({low}, {high})"),
            Self::Diffusion { epsilon } => write!(f, "diffusion({epsilon})"),
            Self::Antithetic { epsilon } => write!(f, "antithetic({epsilon})"),
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let text = text.trim();
        if let Ok(rate) = text.parse() {
            return Ok(Self::Constant(rate));
        }
        let wrong = || {
            format!(
                "{text:?} is no rate: write a number from 0 to 1, linear(0.3, 0.15), \
                 cosine(0.3, 0.15), piecewise(0: 0.4, 10000: 0.2), uniform(0.1, 0.5), \
                 diffusion(0.001) or antithetic(0.001)"
            )
        };
        let (law, rest) = text.split_once('(').ok_or_else(wrong)?;
        let inner = rest.trim_end().strip_suffix(')').ok_or_else(wrong)?;
        let parts: Vec<&str> = inner.split(',').map(str::trim).collect();
        let numbers = || -> std::result::Result<Vec<f64>, String> {
            parts
                .iter()
                .map(|part| part.parse().map_err(|_| wrong()))
                .collect()
        };
        match (law.trim(), parts.len()) {
            ("piecewise", _) => parts
                .iter()
                .map(|part| {
                    let (step, rate) = part.split_once(':').ok_or_else(wrong)?;
                    let step = step.trim().parse().map_err(|_| wrong())?;
                    Ok((step, rate.trim().parse().map_err(|_| wrong())?))
                })
                .collect::<std::result::Result<_, String>>()
                .map(Self::Piecewise),
            (law @ ("linear" | "cosine" | "uniform"), 2) => {
                let numbers = numbers()?;
                let (first, second) = (numbers[0], numbers[1]);
                Ok(match law {
                    "linear" => Self::Linear {
                        from: first,
                        to: second,
                    },
                    "cosine" => Self::Cosine {
                        from: first,
                        to: second,
                    },
                    _ => Self::Uniform {
                        low: first,
                        high: second,
                    },
                })
            }
            ("diffusion", 1) => Ok(Self::Diffusion {
                epsilon: numbers()?[0],
            }),
            ("antithetic", 1) => Ok(Self::Antithetic {
                epsilon: numbers()?[0],
            }),
            _ => Err(wrong()),
        }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Constant(rate) => serializer.serialize_f64(*rate),
            law => serializer.collect_str(law),
        }
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Spelled;
        impl de::Visitor<'_> for Spelled {
            type Value = Rate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rate from 0 to 1 or a law such as \"linear(0.3, 0.15)\"")
            }

            fn visit_f64<E: de::Error>(self, rate: f64) -> std::result::Result<Rate, E> {
                Ok(Rate::Constant(rate))
            }

            fn visit_i64<E: de::Error>(self, rate: i64) -> std::result::Result<Rate, E> {
                Ok(Rate::Constant(rate as f64))
            }

            fn visit_u64<E: de::Error>(self, rate: u64) -> std::result::Result<Rate, E> {
                Ok(Rate::Constant(rate as f64))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Rate, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Spelled)
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A share from 0 to 1, or a law: linear(0.3, 0.15), \
                cosine(0.3, 0.15), piecewise(0: 0.4, 10000: 0.2), uniform(0.1, 0.5), \
                diffusion(0.001), antithetic(0.001)",
            "type": ["number", "string"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn every_law_is_read_and_written_the_same() {
        for text in [
            "0.4",
            "linear(0.3, 0.15)",
            "cosine(0.3, 0.15)",
            "piecewise(0: 0.4, 10000: 0.2)",
            "uniform(0.1, 0.5)",
            "diffusion(0.001)",
            "antithetic(0.001)",
        ] {
            assert_eq!(rate(text).to_string(), text);
            let json = serde_json::to_value(rate(text)).unwrap();
            assert_eq!(serde_json::from_value::<Rate>(json).unwrap(), rate(text));
        }
        assert_eq!(rate(" linear( 0.3,0.15 ) "), rate("linear(0.3, 0.15)"));
        for text in [
            "",
            "linear",
            "linear(0.3)",
            "linear(a, b)",
            "piecewise(1)",
            "x(1)",
        ] {
            let message = text.parse::<Rate>().unwrap_err();
            assert!(message.contains("linear(0.3, 0.15)"), "{message}");
        }
    }

    #[test]
    fn schedules_are_functions_of_the_step() {
        let near = |found: Option<f64>, expected: f64| {
            assert!((found.unwrap() - expected).abs() < 1e-12, "{found:?}")
        };
        let linear = rate("linear(0.3, 0.15)");
        near(linear.at(0, 1000), 0.3);
        near(linear.at(500, 1000), 0.225);
        near(linear.at(2000, 1000), 0.15);
        let cosine = rate("cosine(0.4, 0.2)");
        near(cosine.at(0, 100), 0.4);
        near(cosine.at(50, 100), 0.3);
        near(cosine.at(100, 100), 0.2);
        let piecewise = rate("piecewise(0: 0.4, 10: 0.2)");
        near(piecewise.at(9, 20), 0.4);
        near(piecewise.at(10, 20), 0.2);
        assert!((piecewise.mean(20) - 0.3).abs() < 1e-12);
        assert!((piecewise.mean(5) - 0.4).abs() < 1e-12);
        assert_eq!(rate("diffusion(0.1)").at(3, 10), None);
    }

    #[test]
    fn drawn_rates_fill_their_range() {
        assert!((rate("uniform(0.1, 0.5)").of_row(0.5, 0, 1) - 0.3).abs() < 1e-12);
        let antithetic = rate("antithetic(0.2)");
        for place in 0..4 {
            let low = 0.2 + 0.8 * f64::from(place) / 4.0;
            assert!((antithetic.of_row(0.0, place, 4) - low).abs() < 1e-12);
            assert!(antithetic.of_row(0.999, place, 4) < low + 0.2);
        }
    }

    #[test]
    fn rates_that_are_no_shares_are_refused() {
        for text in [
            "1.4",
            "-0.1",
            "NaN",
            "linear(0.3, 1.5)",
            "uniform(0.5, 0.1)",
            "diffusion(0)",
            "piecewise(5: 0.1)",
            "piecewise(0: 0.1, 0: 0.2)",
        ] {
            let message = rate(text).check("masking.corruption_rate").unwrap_err();
            assert!(
                message.to_string().starts_with("masking.corruption_rate"),
                "{message}"
            );
        }
    }
}

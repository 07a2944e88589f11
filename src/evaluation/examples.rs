//! What an evaluation measured of every example, by the name of the measure: what
//! intervals and comparisons between models are made of. A few bytes an example on disk.

use crate::base::error::{Error, Result};
use crate::storage::atomic::{self, Written};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// One example of a measure: a row, a pair of sentences, a sentence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Example {
    /// Its mean: nats a label, or the share that is right.
    pub value: f32,
    /// Over so many labels; 1 where an example is judged as a whole.
    pub weight: f32,
}

/// The examples of several measures, in an order that does not depend on the model: the
/// same place is the same example in every evaluation on the same inputs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Examples {
    measures: BTreeMap<String, Columns>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Columns {
    values: Vec<f32>,
    weights: Vec<f32>,
}

impl Examples {
    /// Adds an example to the measure `name`, behind its others.
    pub fn push(&mut self, name: &str, example: Example) {
        if !self.measures.contains_key(name) {
            self.measures.insert(name.to_owned(), Columns::default());
        }
        if let Some(columns) = self.measures.get_mut(name) {
            columns.values.push(example.value);
            columns.weights.push(example.weight);
        }
    }

    /// The names of the measures, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.measures.keys().map(String::as_str)
    }

    /// The examples of a measure; none where nothing was measured by this name.
    pub fn of(&self, name: &str) -> Vec<Example> {
        let Some(columns) = self.measures.get(name) else {
            return Vec::new();
        };
        let pairs = columns.values.iter().zip(&columns.weights);
        pairs
            .map(|(&value, &weight)| Example { value, weight })
            .collect()
    }

    /// Writes them to `path`, as JSON: for every measure its `values` and `weights`.
    pub fn write(&self, path: &Path) -> Result<Written> {
        let json = serde_json::to_vec(self)
            .map_err(|error| Error::library("JSON of an evaluation's examples", error))?;
        atomic::write(path, &json)
    }

    /// Reads what [`write`](Self::write) wrote.
    ///
    /// # Errors
    /// A file that cannot be read, and one that is no such JSON.
    pub fn read(path: &Path) -> Result<Self> {
        let json = std::fs::read(path).map_err(|error| Error::io("read", path, error))?;
        let damaged = |found: String| {
            Error::corrupt(
                path.display().to_string(),
                found,
                "values and weights of every measure, as `cloze evaluate` writes them",
                "remove the folder it lies in, and evaluate again",
            )
        };
        let examples: Self =
            serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
        for (name, columns) in &examples.measures {
            let (values, weights) = (columns.values.len(), columns.weights.len());
            if values != weights {
                return Err(damaged(format!(
                    "{values} values and {weights} weights of {name}"
                )));
            }
        }
        Ok(examples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_come_back_as_they_were_and_damaged_ones_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("examples.json");
        let mut examples = Examples::default();
        for (value, weight) in [(0.1, 3.0), (1.0 / 3.0, 19.0), (12.5, 0.0)] {
            examples.push("loss@0.15", Example { value, weight });
        }
        let right = Example {
            value: 1.0,
            weight: 1.0,
        };
        examples.push("blimp", right);
        examples.write(&path).unwrap();
        let read = Examples::read(&path).unwrap();
        assert_eq!(read, examples);
        assert_eq!(read.names().collect::<Vec<_>>(), ["blimp", "loss@0.15"]);
        assert_eq!(read.of("blimp"), [right]);
        assert!(read.of("none").is_empty());
        std::fs::write(&path, r#"{"blimp":{"values":[1.0],"weights":[]}}"#).unwrap();
        let error = Examples::read(&path).unwrap_err().to_string();
        assert!(error.contains("1 values and 0 weights of blimp"), "{error}");
    }
}

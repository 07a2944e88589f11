//! Minimal pairs: two sentences that differ in what makes one of them unacceptable
//! (Warstadt et al. 2020). A model is right where it finds the good one likelier.

use super::report::{PairGroup, Pairs};
use super::{Example, Examples, spread};
use serde::Serialize;

/// A pair, and what a model makes of it: a line of `blimp.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JudgedPair {
    /// The paradigm it belongs to.
    pub paradigm: String,
    /// The phenomenon that this belongs to.
    #[serde(skip)]
    pub phenomenon: Option<String>,
    /// The field of linguistics that this belongs to.
    #[serde(skip)]
    pub field: Option<String>,
    /// The line of the file that it stands in, from 1.
    pub line: u64,
    /// Log-likelihood of the good sentence, in nats.
    pub good: f64,
    /// Log-likelihood of the bad one.
    pub bad: f64,
}

impl JudgedPair {
    fn example(&self) -> Example {
        Example {
            value: f32::from(self.good > self.bad),
            weight: 1.0,
        }
    }
}

/// Enters every pair into `examples`, as `blimp` and by its paradigm.
pub fn enter(pairs: &[JudgedPair], examples: &mut Examples) {
    for pair in pairs {
        examples.push("blimp", pair.example());
        examples.push(&format!("blimp/{}", pair.paradigm), pair.example());
    }
}

/// What came of `pairs`, whose sentences have `labels` tokens; none without pairs.
pub fn report(pairs: &[JudgedPair], labels: u64, seed: u64) -> Option<Pairs> {
    let all: Vec<Example> = pairs.iter().map(JudgedPair::example).collect();
    Some(Pairs {
        accuracy: spread(&[&all], seed)?,
        ties: pairs.iter().filter(|pair| pair.good == pair.bad).count() as u64,
        labels,
        by_field: groups(pairs, |pair| pair.field.as_deref(), seed),
        by_phenomenon: groups(pairs, |pair| pair.phenomenon.as_deref(), seed),
        by_paradigm: groups(pairs, |pair| Some(&pair.paradigm), seed),
    })
}

/// The pairs of each name, by name.
fn groups(
    pairs: &[JudgedPair],
    name: impl Fn(&JudgedPair) -> Option<&str>,
    seed: u64,
) -> Vec<PairGroup> {
    let mut examples = Examples::default();
    for pair in pairs {
        if let Some(name) = name(pair) {
            examples.push(name, pair.example());
        }
    }
    let group = |name: &str| {
        Some(PairGroup {
            name: name.to_owned(),
            accuracy: spread(&[&examples.of(name)], seed)?,
        })
    };
    examples.names().filter_map(group).collect()
}

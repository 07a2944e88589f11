//! What an experiment found: every measure of every setting with its spread, and the
//! differences between settings with theirs.

use super::tables;
use crate::base::error::Result;
use crate::config::{ExperimentConfig, Setting};
use crate::evaluation::{Example, Examples, Spread, difference, spread};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A setting and what was measured of its models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// The setting.
    pub setting: String,
    /// Its grid.
    pub grid: String,
    /// Keys of train whose values the grid lists, and its own of them.
    pub varied: BTreeMap<String, String>,
    /// Seeds whose models were measured.
    pub seeds: Vec<u64>,
    /// By measure, over its seeds and the examples of each. Losses are in nats a label,
    /// all others are shares.
    pub measures: BTreeMap<String, Spread>,
}

/// How two settings differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compared {
    /// The setting,
    pub setting: String,
    /// and what is subtracted from it.
    pub against: String,
    /// Seeds that both were trained with; each is a pair.
    pub seeds: Vec<u64>,
    /// By measure.
    pub measures: BTreeMap<String, Spread>,
}

/// What an experiment found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// The experiment.
    pub name: String,
    /// Measures in tables and plots, in their order.
    pub measures: Vec<String>,
    /// Models that were measured.
    pub runs: u64,
    /// Models of all settings and seeds.
    pub wanted: u64,
    /// All settings of which a model was measured.
    pub settings: Vec<Measured>,
    /// Differences between settings.
    pub differences: Vec<Compared>,
}

/// What was measured of the models that are done, by setting and seed.
pub type Done<'a> = BTreeMap<(&'a str, u64), Examples>;

impl Results {
    /// The results of the models `done`.
    pub(super) fn of(
        config: &ExperimentConfig,
        settings: &[Setting],
        done: &Done<'_>,
    ) -> Result<Self> {
        let seeds = |name: &str| -> Vec<u64> {
            let wanted = config.seeds.iter().copied();
            wanted
                .filter(|&seed| done.contains_key(&(name, seed)))
                .collect()
        };
        let measured = settings
            .iter()
            .filter(|setting| !seeds(&setting.name).is_empty())
            .map(|setting| {
                let seeds = seeds(&setting.name);
                let measures = names(done, &[&setting.name])
                    .into_iter()
                    .filter_map(|measure| {
                        let runs = runs(done, &setting.name, &seeds, &measure);
                        let found = spread(&slices(&runs), config.seed)?;
                        Some((measure, found))
                    })
                    .collect();
                Measured {
                    setting: setting.name.clone(),
                    grid: setting.grid.clone(),
                    varied: setting.varied.clone(),
                    seeds,
                    measures,
                }
            })
            .collect::<Vec<_>>();
        let measures = shown(config, &measured);
        let differences = pairs(config, &measured)
            .into_iter()
            .filter_map(|[setting, against]| {
                let mut both = seeds(&setting);
                both.retain(|&seed| done.contains_key(&(&*against, seed)));
                let found: BTreeMap<String, Spread> = measures
                    .iter()
                    .filter_map(|measure| {
                        let left = runs(done, &setting, &both, measure);
                        let right = runs(done, &against, &both, measure);
                        let found = difference(&slices(&left), &slices(&right), config.seed)?;
                        Some((measure.clone(), found))
                    })
                    .collect();
                (!found.is_empty()).then_some(Compared {
                    setting,
                    against,
                    seeds: both,
                    measures: found,
                })
            })
            .collect();
        Ok(Self {
            name: config.name.clone(),
            measures,
            runs: done.len() as u64,
            wanted: (settings.len() * config.seeds.len()) as u64,
            settings: measured,
            differences,
        })
    }

    /// What was measured of the setting `name`.
    pub fn setting(&self, name: &str) -> Option<&Measured> {
        self.settings
            .iter()
            .find(|measured| measured.setting == name)
    }
}

impl fmt::Display for Results {
    /// The table of all settings, and the differences.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", tables::all(self))
    }
}

/// The names of all measures of some settings.
fn names(done: &Done<'_>, settings: &[&str]) -> BTreeSet<String> {
    let of = done.iter().filter(|((name, _), _)| settings.contains(name));
    of.flat_map(|(_, examples)| examples.names().map(str::to_owned))
        .collect()
}

fn runs(done: &Done<'_>, setting: &str, seeds: &[u64], measure: &str) -> Vec<Vec<Example>> {
    seeds
        .iter()
        .filter_map(|&seed| done.get(&(setting, seed)))
        .map(|examples| examples.of(measure))
        .collect()
}

fn slices(runs: &[Vec<Example>]) -> Vec<&[Example]> {
    runs.iter().map(Vec::as_slice).collect()
}

/// The measures in tables and plots: those asked for; else those that all settings have, not
/// of single paradigms, and what training validates only where nothing else is measured.
fn shown(config: &ExperimentConfig, measured: &[Measured]) -> Vec<String> {
    if !config.measures.is_empty() {
        return config.measures.clone();
    }
    let Some(first) = measured.first() else {
        return Vec::new();
    };
    let everywhere = |name: &String| {
        measured
            .iter()
            .all(|setting| setting.measures.contains_key(name))
    };
    let names: Vec<String> = first
        .measures
        .keys()
        .filter(|name| !name.contains('/') && everywhere(name))
        .cloned()
        .collect();
    let (training, others): (Vec<String>, Vec<String>) = names
        .into_iter()
        .partition(|name| name == "validation_loss");
    match others.is_empty() {
        true => training,
        false => others,
    }
}

/// Which settings are compared.
fn pairs(config: &ExperimentConfig, measured: &[Measured]) -> Vec<[String; 2]> {
    if !config.compare.is_empty() {
        return config.compare.clone();
    }
    let Some((first, others)) = measured.split_first() else {
        return Vec::new();
    };
    others
        .iter()
        .map(|other| [other.setting.clone(), first.setting.clone()])
        .collect()
}

//! Keys of `cloze experiment`: a grid of trainings over one shard set, what is measured of
//! each, and the tables and plots that are made of all.

mod grid;

pub use grid::{Setting, Values};

use super::{
    CountConfig, EvaluateConfig, FinetuneConfig, PipelineConfig, ShardConfig, TokenizeConfig,
    TrainConfig, VocabularyConfig,
};
use crate::base::error::{Error, Result};
use crate::base::size::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Trainings that differ in some keys. A list stands for each of its values in turn, and all
/// combinations are trained; for a key whose value is a list itself, write a list of lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GridConfig {
    /// What these trainings are called; behind it comes the value of every list, as in
    /// uniform-0.4.
    pub name: String,
    /// Keys of train, over those that all trainings share.
    #[serde(default)]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub train: toml::Table,
}

/// A picture: measures against a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlotConfig {
    /// Its file, without the ending.
    pub name: String,
    /// Key of train with numbers to draw against.
    #[serde(default = "corruption_rate")]
    pub x: String,
    /// Measures, a panel each; without any, all.
    #[serde(default)]
    pub measures: Vec<String>,
    /// Grids drawn, a line each and for every value of their other keys; without any, all.
    #[serde(default)]
    pub grids: Vec<String>,
}

/// A table: settings and their measures, or one key against another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableConfig {
    /// Its title.
    pub name: String,
    /// Key of train whose values have a row each, with columns; without both, every setting
    /// has a row and every measure a column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<String>,
    /// Key of train whose values have a column each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<String>,
    /// Measures in it; with rows and columns, a table each. Without any, all.
    #[serde(default)]
    pub measures: Vec<String>,
    /// Grids in it; without any, all.
    #[serde(default)]
    pub grids: Vec<String>,
}

fn corruption_rate() -> String {
    "masking.corruption_rate".into()
}

/// An experiment. Paths are relative to the TOML file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ExperimentConfig {
    /// What the experiment is called; names the default work folder, runs/NAME.
    pub name: String,
    /// Seed of the shards, and of the bootstrap.
    pub seed: u64,
    /// Bound on the memory of a stage.
    pub memory: ByteSize,
    /// Threads; 0 takes all cores.
    pub threads: u32,
    /// Where everything is written; without it runs/NAME in the current folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work: Option<PathBuf>,
    /// Shards that are there; without them they are made from text, by the tables tokenize
    /// to shard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<PathBuf>,
    /// Raw text to token files.
    pub tokenize: TokenizeConfig,
    /// Token files to n-gram counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<CountConfig>,
    /// Counts to a masking vocabulary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<VocabularyConfig>,
    /// Token files and masking vocabulary to shards.
    pub shard: ShardConfig,
    /// Seeds that every setting is trained with.
    pub seeds: Vec<u64>,
    /// What all trainings share.
    #[schemars(with = "TrainConfig")]
    pub train: toml::Table,
    /// What they differ in.
    pub grid: Vec<GridConfig>,
    /// What is measured of every model; without it only what training itself validates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluate: Option<EvaluateConfig>,
    /// Tasks that every model is fine-tuned on, by name. The test examples of a task are a
    /// measure by that name.
    pub finetune: BTreeMap<String, FinetuneConfig>,
    /// Measures in tables and plots; without any, all but those of single paradigms.
    pub measures: Vec<String>,
    /// Pairs of settings whose differences are told; without any, each against the first.
    pub compare: Vec<[String; 2]>,
    /// Tables, beside that of all settings.
    pub table: Vec<TableConfig>,
    /// Pictures.
    pub plot: Vec<PlotConfig>,
}

impl Default for ExperimentConfig {
    fn default() -> Self {
        let pipeline = PipelineConfig::default();
        Self {
            name: "experiment".into(),
            seed: pipeline.seed,
            memory: pipeline.memory,
            threads: pipeline.threads,
            work: None,
            shards: None,
            tokenize: pipeline.tokenize,
            count: None,
            vocabulary: None,
            shard: pipeline.shard,
            seeds: vec![1, 2, 3],
            train: toml::Table::new(),
            grid: Vec::new(),
            evaluate: None,
            finetune: BTreeMap::new(),
            measures: Vec::new(),
            compare: Vec::new(),
            table: Vec::new(),
            plot: Vec::new(),
        }
    }
}

impl ExperimentConfig {
    /// The pipeline that makes the shards; none where they are there.
    pub fn pipeline(&self) -> Option<PipelineConfig> {
        self.shards.is_none().then(|| PipelineConfig {
            name: self.name.clone(),
            seed: self.seed,
            memory: self.memory,
            threads: self.threads,
            work: None,
            tokenize: self.tokenize.clone(),
            count: self.count.clone(),
            vocabulary: self.vocabulary.clone(),
            shard: self.shard.clone(),
            preview: None,
            train: None,
            evaluate: None,
        })
    }

    /// All settings, in the order of the file. Paths in them are as they were typed, relative
    /// to `folder`.
    ///
    /// # Errors
    /// Keys and values that `[train]` does not take, and two settings of one name.
    pub fn settings(&self, place: &str, folder: &Path) -> Result<Vec<Setting>> {
        let mut settings = Vec::new();
        let mut names = BTreeSet::new();
        for grid in &self.grid {
            for setting in grid.settings(place, &self.train, folder)? {
                if !names.insert(setting.name.clone()) {
                    return Err(Error::usage(
                        format!("{place}, grid"),
                        format!("two settings called {}", setting.name),
                        "a name for each",
                        "give their grids different names",
                    ));
                }
                settings.push(setting);
            }
        }
        if settings.is_empty() {
            return Err(Error::usage(
                format!("{place}, grid"),
                "no setting",
                "at least one [[grid]]",
                "add [[grid]] with a name and the keys of train that it changes",
            ));
        }
        Ok(settings)
    }

    /// Refuses what cannot work, before anything runs. `settings` are those of
    /// [`settings`](Self::settings).
    pub fn check(&self, settings: &[Setting]) -> Result<()> {
        if let Some(pipeline) = self.pipeline() {
            pipeline.check()?;
        }
        let distinct: BTreeSet<u64> = self.seeds.iter().copied().collect();
        if distinct.len() != self.seeds.len() || distinct.is_empty() {
            return Err(Error::usage(
                "seeds",
                format!("{:?}", self.seeds),
                "different seeds, at least one",
                "write for example seeds = [1, 2, 3]",
            ));
        }
        if let Some(evaluate) = &self.evaluate {
            evaluate.check()?;
        }
        for (name, task) in &self.finetune {
            grid::check_name("finetune", name)?;
            task.check()?;
            if task.seeds != FinetuneConfig::default().seeds {
                return Err(Error::usage(
                    format!("finetune.{name}.seeds"),
                    format!("{:?}", task.seeds),
                    "no seeds: every model is fine-tuned once, with the seed of its training",
                    "leave the key out",
                ));
            }
        }
        for setting in settings {
            setting.train.check()?;
            let positions = setting.train.model().shape().positions;
            let longest = self
                .finetune
                .iter()
                .find(|task| task.1.max_length > positions);
            if let (Some((name, task)), None) = (longest, &setting.train.model.from) {
                return Err(Error::usage(
                    format!("finetune.{name}.max_length"),
                    task.max_length.to_string(),
                    format!("at most the {positions} positions of {}", setting.name),
                    "lower it, or raise train.model.positions",
                ));
            }
        }
        for name in self.compare.iter().flatten() {
            if !settings.iter().any(|setting| setting.name == *name) {
                let known: Vec<&str> = settings.iter().map(|s| s.name.as_str()).collect();
                return Err(Error::usage(
                    "compare",
                    format!("{name:?}"),
                    format!("settings among {}", known.join(", ")),
                    "correct the name",
                ));
            }
        }
        let grids = self.plot.iter().map(|plot| ("plot", &plot.grids));
        let grids = grids.chain(self.table.iter().map(|table| ("table", &table.grids)));
        for (key, name) in grids.flat_map(|(key, names)| names.iter().map(move |n| (key, n))) {
            if !self.grid.iter().any(|grid| grid.name == *name) {
                let known: Vec<&str> = self.grid.iter().map(|g| g.name.as_str()).collect();
                return Err(Error::usage(
                    format!("{key}.grids"),
                    format!("{name:?}"),
                    format!("grids among {}", known.join(", ")),
                    "correct the name",
                ));
            }
        }
        for table in &self.table {
            if table.rows.is_some() != table.columns.is_some() {
                return Err(Error::usage(
                    format!("table {}", table.name),
                    "one of rows and columns",
                    "both keys of train, or neither",
                    "for all settings with their measures leave both out",
                ));
            }
        }
        for plot in &self.plot {
            grid::check_name("plot", &plot.name)?;
        }
        Ok(())
    }

    /// The files that models are measured by.
    pub fn files(&self) -> Vec<&Path> {
        let pairs = self.evaluate.iter().filter_map(|e| e.blimp.as_deref());
        let mut files: Vec<&Path> = pairs.collect();
        for task in self.finetune.values() {
            files.push(&task.train);
            files.extend(
                [&task.dev, &task.test]
                    .into_iter()
                    .flatten()
                    .map(PathBuf::as_path),
            );
        }
        files
    }

    /// Makes the paths relative to `folder`, but for those of the trainings.
    pub fn relative_to(&mut self, folder: &Path) {
        self.tokenize.relative_to(folder);
        if let Some(vocabulary) = &mut self.vocabulary {
            vocabulary.relative_to(folder);
        }
        if let Some(evaluate) = &mut self.evaluate {
            evaluate.relative_to(folder);
        }
        for task in self.finetune.values_mut() {
            task.relative_to(folder);
        }
        for path in [&mut self.work, &mut self.shards].into_iter().flatten() {
            *path = folder.join(&*path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    fn read(text: &str) -> Result<Vec<Setting>> {
        let config: ExperimentConfig = keys::from_toml("e.toml", text, &[])?;
        let settings = config.settings("e.toml", Path::new("folder"))?;
        config.check(&settings)?;
        Ok(settings)
    }

    const HEAD: &str = "shards = \"shards\"\n[train]\nsteps = 10\n[train.masking]\n\
                        corruption_rate = 0.3\n";

    #[test]
    fn a_grid_is_every_combination_of_its_lists() {
        let settings = read(&format!(
            "{HEAD}\n[[grid]]\nname = \"rates\"\ntrain.masking.corruption_rate = [0.15, 0.4]\n\
             train.masking.strategy = [\"uniform\", \"word\"]\n[[grid]]\nname = \"20-40\"\n\
             train.masking.corruption_rate = 0.2\ntrain.masking.prediction_rate = 0.4\n"
        ))
        .unwrap();
        let names: Vec<&str> = settings.iter().map(|s| s.name.as_str()).collect();
        let expected = [
            "rates-0.15-uniform",
            "rates-0.15-word",
            "rates-0.4-uniform",
            "rates-0.4-word",
            "20-40",
        ];
        assert_eq!(names, expected);
        assert_eq!(settings[3].train.steps, Some(10));
        assert_eq!(settings[3].train.masking.corruption_rate, 0.4.into());
        assert_eq!(settings[4].train.masking.prediction_rate, Some(0.4.into()));
        assert_eq!(settings[4].varied, Values::new());
        assert_eq!(settings[0].grid, "rates");
        assert_eq!(settings[0].number("masking.corruption_rate"), Some(0.15));
        // What is predicted where nothing is said of it.
        assert_eq!(settings[0].number("masking.prediction_rate"), Some(0.15));
        assert_eq!(settings[4].number("masking.prediction_rate"), Some(0.4));
        assert_eq!(settings[0].told("masking.strategy"), "uniform");
        assert_eq!(settings[0].told("rows.length"), "128");
    }

    #[test]
    fn a_list_of_lists_is_lists_in_turn() {
        let settings = read(&format!(
            "{HEAD}\n[[grid]]\nname = \"mixed\"\ntrain.masking.mixture = [[{{ weight = 1, \
             strategy = \"word\" }}]]\n"
        ))
        .unwrap();
        assert_eq!(settings.len(), 1);
        assert_eq!(settings[0].name, "mixed-1");
        assert_eq!(settings[0].train.masking.mixture.len(), 1);
    }

    #[test]
    fn what_cannot_work_is_refused_before_anything_runs() {
        for (body, told) in [
            ("", "no setting"),
            ("[[grid]]\nname = \"a b\"\n", "\"a b\""),
            (
                "[[grid]]\nname = \"a\"\n[[grid]]\nname = \"a\"\n",
                "two settings",
            ),
            (
                "[[grid]]\nname = \"a\"\ntrain.maskin.corruption_rate = 0.1\n",
                "did you mean masking?",
            ),
            (
                "[[grid]]\nname = \"a\"\ntrain.masking.corruption_rate = []\n",
                "an empty list",
            ),
            (
                "[[grid]]\nname = \"a\"\ntrain.masking.corruption_rate = [0.4, 1.5]\n",
                "1.5",
            ),
            (
                "[[grid]]\nname = \"a\"\n[[table]]\nname = \"t\"\nrows = \"steps\"\n",
                "one of rows and columns",
            ),
            (
                "[[grid]]\nname = \"a\"\n[[plot]]\nname = \"p\"\ngrids = [\"b\"]\n",
                "plot.grids",
            ),
        ] {
            let error = read(&format!("{HEAD}\n{body}")).unwrap_err().to_string();
            assert!(error.contains(told), "{body}: {error}");
        }
        let error = read("shards = \"s\"\nseeds = [1, 1]\n[[grid]]\nname = \"a\"\n");
        assert!(error.unwrap_err().to_string().contains("different seeds"));
        let error = read("shards = \"s\"\ncompare = [[\"a\", \"b\"]]\n[[grid]]\nname = \"a\"\n");
        assert!(error.unwrap_err().to_string().contains("settings among a"));
    }
}

//! What a pipeline came to: figures of each stage and of what lies where. Kept in
//! `figures.json` of the work folder, since a manifest holds no times.

use crate::base::error::{Error, Result};
use crate::base::size::ByteSize;
use crate::progress::short;
use crate::storage::{Manifest, atomic};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// What one stage took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageFigures {
    /// The stage.
    pub stage: String,
    /// Fingerprint of what it made; other work begins new figures.
    pub fingerprint: String,
    /// Tokens (for the vocabulary: n-grams) it worked on.
    pub units: u64,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Highest resident memory in bytes, where the system tells.
    pub peak_memory: Option<u64>,
    /// Whether the work was done in an earlier run.
    #[serde(skip)]
    pub earlier: bool,
}

/// A line of the summary: what, and how much of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Fact {
    name: String,
    text: String,
}

/// What a pipeline came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    stages: Vec<StageFigures>,
    #[serde(skip)]
    facts: Vec<Fact>,
    #[serde(skip)]
    places: Vec<Fact>,
}

impl Summary {
    /// The figures of earlier runs; none where there are none to read.
    pub fn read(path: &Path) -> Self {
        std::fs::read(path)
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default()
    }

    /// Keeps the figures for the next run.
    pub fn write(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::library("writing the figures", error))?;
        atomic::write(path, &json).map(|_| ())
    }

    /// Takes the figures of a stage. Where the same work has figures already it was
    /// skipped this time, and those stand.
    pub fn stage(&mut self, figures: StageFigures) {
        match self.stages.iter_mut().find(|s| s.stage == figures.stage) {
            Some(known) if known.fingerprint == figures.fingerprint => known.earlier = true,
            Some(known) => *known = figures,
            None => self.stages.push(figures),
        }
    }

    fn fact(&mut self, name: &str, text: String) {
        self.facts.push(Fact {
            name: name.into(),
            text,
        });
    }

    fn place(&mut self, name: &str, path: &Path) {
        self.places.push(Fact {
            name: name.into(),
            text: path.display().to_string(),
        });
    }

    /// What tokenising came to.
    pub fn tokenized(&mut self, manifest: &Manifest, path: &Path) {
        let rejected = manifest.total("rejected");
        let mut text = grouped(manifest.total("documents"));
        if rejected > 0 {
            text += &format!(" ({} rejected, see rejected.jsonl)", grouped(rejected));
        }
        self.fact("documents", text);
        self.fact("tokens", grouped(manifest.total("tokens")));
        self.fact("words", grouped(manifest.total("words")));
        self.place("token files", path);
    }

    /// What counting came to.
    pub fn counted(&mut self, manifest: &Manifest, path: &Path) {
        self.fact("n-grams", grouped(manifest.total("ngrams")));
        self.place("n-gram counts", path);
    }

    /// What ranking came to.
    pub fn ranked(&mut self, manifest: &Manifest, path: &Path) {
        self.fact(
            "vocabulary",
            format!("{} n-grams", grouped(manifest.total("ngrams"))),
        );
        self.place("masking vocabulary", path);
    }

    /// What sharding came to.
    pub fn sharded(&mut self, manifest: &Manifest, path: &Path) {
        if let Some(coverage) = manifest.totals.get("coverage").and_then(|c| c.as_f64()) {
            self.fact(
                "coverage",
                format!(
                    "{:.1} % of tokens are in units of two or more words",
                    100.0 * coverage
                ),
            );
        }
        let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
        let tokens: u64 = manifest.files.iter().filter_map(|file| file.tokens).sum();
        if tokens > 0 {
            self.fact(
                "shards",
                format!(
                    "{} in {}, {:.2} bytes a token",
                    manifest.files.len(),
                    ByteSize(bytes),
                    bytes as f64 / tokens as f64
                ),
            );
        }
        self.place("shards", path);
    }

    /// Where masked rows are shown.
    pub fn previewed(&mut self, path: &Path) {
        self.place("masked rows", path);
    }

    /// What training came to.
    pub fn trained(&mut self, manifest: &Manifest, path: &Path) {
        let number = |name: &str| manifest.totals.get(name).and_then(|n| n.as_f64());
        if let (Some(loss), Some(entropy)) = (number("validation_loss"), number("unigram_entropy"))
        {
            let accuracy = number("validation_accuracy").unwrap_or(0.0);
            self.fact(
                "validation",
                format!(
                    "loss {loss:.3} nats against a unigram entropy of {entropy:.3}; \
                     {:.1} % of masked tokens right",
                    100.0 * accuracy
                ),
            );
        }
        self.place("training run", path);
        self.place("Hugging Face model", &path.join("export"));
    }

    /// What evaluating came to.
    pub fn evaluated(&mut self, manifest: &Manifest, path: &Path) {
        let losses: Vec<String> = manifest
            .totals
            .iter()
            .filter_map(|(name, loss)| {
                let masked = name.strip_prefix("loss@")?;
                Some(format!("{:.3} at {masked}", loss.as_f64()?))
            })
            .collect();
        if !losses.is_empty() {
            self.fact("held-out loss", losses.join(", "));
        }
        if let Some(right) = manifest.totals.get("blimp").and_then(|n| n.as_f64()) {
            self.fact("minimal pairs", format!("{:.1} % right", 100.0 * right));
        }
        self.place("evaluation", path);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fact in &self.facts {
            writeln!(f, "{:>18}  {}", fact.name, fact.text)?;
        }
        if !self.stages.is_empty() {
            writeln!(
                f,
                "\n{:>18}  {:>9}  {:>12}  {:>11}",
                "stage", "seconds", "tokens/s", "peak memory"
            )?;
        }
        for stage in &self.stages {
            let rate = match stage.stage.as_str() {
                "vocabulary" => "–".into(),
                _ => short(stage.units as f64 / stage.seconds.max(1e-9)),
            };
            writeln!(
                f,
                "{:>18}  {:>9.2}  {:>12}  {:>11}{}",
                stage.stage,
                stage.seconds,
                rate,
                stage
                    .peak_memory
                    .map_or("–".into(), |bytes| ByteSize(bytes).to_string()),
                if stage.earlier { "  (done before)" } else { "" }
            )?;
        }
        if !self.places.is_empty() {
            writeln!(f)?;
        }
        for place in &self.places {
            writeln!(f, "{:>18}  {}", place.name, place.text)?;
        }
        Ok(())
    }
}

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(fingerprint: &str, seconds: f64) -> StageFigures {
        StageFigures {
            stage: "count".into(),
            fingerprint: fingerprint.into(),
            units: 1000,
            seconds,
            peak_memory: None,
            earlier: false,
        }
    }

    #[test]
    fn work_done_before_keeps_its_figures() {
        let mut summary = Summary::default();
        summary.stage(figures("a", 10.0));
        summary.stage(figures("a", 0.01));
        assert_eq!(summary.stages[0].seconds, 10.0);
        assert!(summary.to_string().contains("done before"));
        summary.stage(figures("b", 3.0));
        assert_eq!(summary.stages[0].seconds, 3.0);
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(21_332_109), "21 332 109");
    }
}

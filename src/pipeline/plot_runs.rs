//! A picture of training runs together, for `cloze plot`: losses, learning rate and rates
//! against steps or tokens, from each run's `metrics.jsonl`; finished, on the way or ended
//! by a kill alike. What is told of a run is what its configuration differs in.

use crate::base::error::{Error, Result};
use crate::pipeline::chart::{COLOURS, Format, HEIGHT, Page, Panel, Range, WIDTH};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Points drawn of a line; of more, means of neighbours.
const POINTS: usize = 500;
/// Keys told of a run in which it differs from others; more are counted.
const KEYS: usize = 5;
/// Keys that change nothing of what is learnt.
const SILENT: [&str; 3] = ["checkpoint_every", "keep_checkpoints", "log_every"];

/// What runs are drawn against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// Optimiser steps.
    Steps,
    /// Tokens that went through the model.
    Tokens,
}

/// Draws the runs in the folders `runs` to the file `output`.
///
/// # Errors
/// A folder without metrics, a line that is none, and a name that ends neither in .svg nor in .png.
pub fn plot_runs(runs: &[PathBuf], against: Against, output: &Path) -> Result<()> {
    let format = Format::of("--output", output)?;
    let lines: Vec<Run> = runs
        .iter()
        .map(|run| Run::read(run, against))
        .collect::<Result<_>>()?;
    let names = names(runs)?;
    draw(&lines, &names, against).write(output, format)
}

/// A point: how far the run is, and a value.
type Points = Vec<(f64, f64)>;

/// The lines of a run, by the names of `metrics.jsonl`.
struct Run {
    train: BTreeMap<&'static str, Points>,
    validation: Points,
}

impl Run {
    fn read(folder: &Path, against: Against) -> Result<Self> {
        let path = folder.join("metrics.jsonl");
        let text = std::fs::read_to_string(&path).map_err(|error| {
            if error.kind() != std::io::ErrorKind::NotFound {
                return Error::io("read", &path, error);
            }
            Error::input(
                folder.display().to_string(),
                "no metrics.jsonl",
                "the folder of a training run",
                "give what `cloze train --output` was given, or DIR/model of `cloze run`",
            )
        })?;
        let mut run = Self {
            train: BTreeMap::new(),
            validation: Vec::new(),
        };
        let x = match against {
            Against::Steps => "step",
            Against::Tokens => "tokens",
        };
        // A run that writes now, or was killed, may have half a line at the end.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for (number, line) in (1..).zip(whole.lines()) {
            let line: Value = serde_json::from_str(line).map_err(|error| {
                Error::input(
                    format!("{}, line {number}", path.display()),
                    error.to_string(),
                    "a JSON object, as training writes it",
                    "take the line out",
                )
            })?;
            let number = |name: &str| line.get(name).and_then(Value::as_f64);
            let Some(x) = number(x) else {
                continue;
            };
            match line.get("kind").and_then(Value::as_str) {
                Some("train") => {
                    for name in ["loss", "learning_rate", "corrupted", "predicted"] {
                        if let Some(y) = number(name) {
                            run.train.entry(name).or_default().push((x, y));
                        }
                    }
                }
                Some("validation") => run.validation.extend(number("loss").map(|y| (x, y))),
                _ => {}
            }
        }
        Ok(run)
    }

    fn points(&self, name: &str) -> &[(f64, f64)] {
        match name {
            "validation" => &self.validation,
            name => self.train.get(name).map_or(&[], Vec::as_slice),
        }
    }
}

/// What a panel shows: its title, the unit and what values are multiplied by, and which
/// lines, the second dashed.
struct Shown {
    title: &'static str,
    unit: &'static str,
    scale: f64,
    lines: &'static [&'static str],
    /// Whether the axis begins at 0.
    from_zero: bool,
}

const PANELS: [Shown; 4] = [
    Shown {
        title: "training loss, nats a label",
        unit: "",
        scale: 1.0,
        lines: &["loss"],
        from_zero: false,
    },
    Shown {
        title: "validation loss, nats a label",
        unit: "",
        scale: 1.0,
        lines: &["validation"],
        from_zero: false,
    },
    Shown {
        title: "learning rate",
        unit: "",
        scale: 1.0,
        lines: &["learning_rate"],
        from_zero: true,
    },
    Shown {
        title: "tokens corrupted (line) and predicted (dashed)",
        unit: " %",
        scale: 100.0,
        lines: &["corrupted", "predicted"],
        from_zero: true,
    },
];

fn draw(runs: &[Run], names: &[String], against: Against) -> Page {
    let (across, down) = (WIDTH + 90.0, HEIGHT + 100.0);
    let entries = 2.0 * down + 10.0;
    let height = entries + 20.0 * runs.len() as f64 + 10.0;
    let mut page = Page::new(2.0 * across + 20.0, height);
    let all = |line: &'static str| runs.iter().flat_map(move |run| run.points(line));
    let furthest = ["loss", "validation"]
        .into_iter()
        .flat_map(all)
        .fold(0.0, |most: f64, point| most.max(point.0));
    for (shown, index) in PANELS.iter().zip(0u32..) {
        let values = || shown.lines.iter().flat_map(|line| all(line)).map(|p| p.1);
        let lowest = match shown.from_zero {
            true => 0.0,
            false => values().fold(f64::INFINITY, f64::min),
        };
        let mut highest = values().fold(f64::NEG_INFINITY, f64::max);
        if !shown.from_zero {
            // A run that left the finite numbers shall not press the others flat.
            let firsts = runs
                .iter()
                .filter_map(|run| run.points(shown.lines[0]).first());
            let first = firsts
                .map(|point| point.1)
                .fold(f64::NEG_INFINITY, f64::max);
            highest = highest.min(1.5 * first.abs());
        }
        let panel = Panel {
            left: 70.0 + across * f64::from(index % 2),
            top: 48.0 + down * f64::from(index / 2),
            x: Range::linear(0.0, furthest),
            y: Range::linear(shown.scale * lowest, shown.scale * highest),
            title: shown.title,
            unit: shown.unit,
            foot: match against {
                Against::Steps => "steps",
                Against::Tokens => "tokens",
            },
        };
        panel.axes(&mut page);
        for (run, colour) in runs.iter().zip(COLOURS.into_iter().cycle()) {
            for (line, dashed) in shown.lines.iter().zip([false, true]) {
                let points = thinned(run.points(line)).into_iter();
                let points = points.map(|(x, y)| (x, shown.scale * y));
                panel.line(points, colour, dashed, &mut page);
            }
        }
    }
    for ((name, colour), row) in names.iter().zip(COLOURS.into_iter().cycle()).zip(0u32..) {
        let place = (76.0, entries + 20.0 * f64::from(row));
        page.entry(place, colour, name);
    }
    page
}

/// At most [`POINTS`] of them, each the mean of neighbours.
fn thinned(points: &[(f64, f64)]) -> Points {
    let together = points.len().div_ceil(POINTS).max(1);
    points
        .chunks(together)
        .map(|near| {
            let sum = near.iter().fold((0.0, 0.0), |s, p| (s.0 + p.0, s.1 + p.1));
            (sum.0 / near.len() as f64, sum.1 / near.len() as f64)
        })
        .collect()
}

/// What each run is called: its path, and the keys of its configuration that not all runs
/// have alike.
fn names(runs: &[PathBuf]) -> Result<Vec<String>> {
    let configurations: Vec<BTreeMap<String, String>> = runs
        .iter()
        .map(|run| {
            let path = run.join("configuration.json");
            let Ok(text) = std::fs::read_to_string(&path) else {
                return Ok(BTreeMap::new());
            };
            let value: Value = serde_json::from_str(&text).map_err(|error| {
                Error::input(
                    path.display().to_string(),
                    error.to_string(),
                    "the configuration of a run",
                    "remove it: the run's path alone is told then",
                )
            })?;
            let mut keys = BTreeMap::new();
            flatten("", &value, &mut keys);
            Ok(keys)
        })
        .collect::<Result<_>>()?;
    let differs = |key: &String| {
        let mut values = configurations.iter().map(|keys| keys.get(key));
        let first = values.next().flatten();
        values.any(|value| value != first)
    };
    let all = configurations.iter().flat_map(BTreeMap::keys);
    let tells = |key: &&String| differs(key) && !SILENT.contains(&key.as_str());
    let mut keys: Vec<&String> = all.filter(tells).collect();
    keys.sort();
    keys.dedup();
    let told = |(run, configuration): (&PathBuf, &BTreeMap<String, String>)| {
        let mut parts: Vec<String> = keys
            .iter()
            .take(KEYS)
            .map(|key| match configuration.get(*key) {
                Some(value) => format!("{key} = {value}"),
                None => format!("no {key}"),
            })
            .collect();
        if keys.len() > KEYS {
            parts.push(format!("{} keys more", keys.len() - KEYS));
        }
        let path = run.display();
        match parts.is_empty() {
            true => path.to_string(),
            false => format!("{path}: {}", parts.join(", ")),
        }
    };
    Ok(runs.iter().zip(&configurations).map(told).collect())
}

/// The values of `value` by their dotted keys.
fn flatten(path: &str, value: &Value, out: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = match path {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                flatten(&path, value, out);
            }
        }
        Value::String(text) => drop(out.insert(path.to_owned(), text.clone())),
        other => drop(out.insert(path.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::atomic;

    fn run(folder: &Path, name: &str, rate: f64, losses: &[f64]) -> PathBuf {
        let run = folder.join(name);
        let mut lines = String::new();
        for (step, loss) in (1..).zip(losses) {
            lines += &format!(
                "{{\"kind\":\"train\",\"step\":{step},\"loss\":{loss},\"learning_rate\":0.001,\
                 \"tokens\":{},\"corrupted\":{rate},\"predicted\":{rate}}}\n",
                100 * step
            );
        }
        lines += "{\"kind\":\"validation\",\"step\":2,\"loss\":3.5,\"tokens\":200}\n";
        lines += "{\"kind\":\"spike\",\"step\":2,\"loss\":null}\n{\"kind\":\"tr";
        atomic::write(run.join("metrics.jsonl"), lines.as_bytes()).unwrap();
        let configuration =
            format!("{{\"seed\":1,\"masking\":{{\"corruption_rate\":{rate}}},\"a\":[1]}}");
        atomic::write(run.join("configuration.json"), configuration.as_bytes()).unwrap();
        run
    }

    #[test]
    fn runs_are_drawn_together_and_called_by_what_differs() {
        let folder = tempfile::tempdir().unwrap();
        let low = run(folder.path(), "low", 0.15, &[5.0, 4.0, 3.0]);
        let high = run(folder.path(), "a<b", 0.4, &[5.0, 4.5, 1e9]);
        let file = folder.path().join("runs.svg");
        for against in [Against::Steps, Against::Tokens] {
            plot_runs(&[low.clone(), high.clone()], against, &file).unwrap();
            let svg = std::fs::read_to_string(&file).unwrap();
            // Two losses, two learning rates, four rates; single validations, and the legend.
            assert_eq!(svg.matches("stroke-width=\"1.5\"").count(), 8);
            assert_eq!(svg.matches("<circle").count(), 2 + 2);
            assert!(
                svg.contains("low: masking.corruption_rate = 0.15<"),
                "{svg}"
            );
            assert!(
                svg.contains("a&lt;b: masking.corruption_rate = 0.4<"),
                "{svg}"
            );
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
        plot_runs(std::slice::from_ref(&low), Against::Steps, &file).unwrap();
        let svg = std::fs::read_to_string(&file).unwrap();
        assert!(svg.contains("low</text>"), "{svg}");
        let png = folder.path().join("runs.png");
        plot_runs(std::slice::from_ref(&low), Against::Steps, &png).unwrap();
        assert!(
            std::fs::read(&png)
                .unwrap()
                .starts_with(b"\x89PNG\r\n\x1a\n")
        );
        let other = folder.path().join("runs.pdf");
        let error = plot_runs(&[low], Against::Steps, &other).unwrap_err();
        assert!(error.to_string().contains(".svg or .png"), "{error}");
        let none = [folder.path().join("none")];
        let error = plot_runs(&none, Against::Steps, &file).unwrap_err();
        assert!(error.to_string().contains("no metrics.jsonl"), "{error}");
    }

    #[test]
    fn long_lines_are_drawn_as_means_of_neighbours() {
        let points: Points = (0..1200)
            .map(|x| (f64::from(x), f64::from(x % 2)))
            .collect();
        let thin = thinned(&points);
        assert_eq!(thin.len(), 400);
        assert_eq!(thin[0], (1.0, 1.0 / 3.0));
        assert_eq!(thinned(&points[..7]), points[..7]);
        assert!(thinned(&[]).is_empty());
    }
}

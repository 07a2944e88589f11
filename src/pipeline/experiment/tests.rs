//! Tables and plots of made-up measurements.

use super::results::{Done, Results};
use super::{plots, tables};
use crate::config::{ExperimentConfig, Setting, keys};
use crate::evaluation::{Example, Examples};
use std::path::Path;

const TOML: &str = r#"
name = "made up"
shards = "shards"
seeds = [1, 2]

[[grid]]
name = "rates"
train.masking.corruption_rate = [0.15, 0.4]

[[grid]]
name = "20-40"
train.masking.corruption_rate = 0.2
train.masking.prediction_rate = 0.4

[[table]]
name = "Corruption and prediction"
measures = ["blimp"]
rows = "masking.corruption_rate"
columns = "masking.prediction_rate"

[[table]]
name = "Two copies"
grids = ["20-40"]

[[plot]]
name = "by-rate"
"#;

fn experiment() -> (ExperimentConfig, Vec<Setting>) {
    let config: ExperimentConfig = keys::from_toml("e.toml", TOML, &[]).unwrap();
    let settings = config.settings("e.toml", Path::new("")).unwrap();
    config.check(&settings).unwrap();
    (config, settings)
}

/// Four pairs of sentences of which `right` are right, and two rows of such a loss.
fn measured(right: usize, loss: f32) -> Examples {
    let mut examples = Examples::default();
    for pair in 0..4 {
        let value = if pair < right { 1.0 } else { 0.0 };
        examples.push("blimp", Example { value, weight: 1.0 });
        examples.push("blimp/paradigm", Example { value, weight: 1.0 });
    }
    for (value, weight) in [(loss, 3.0), (loss + 1.0, 1.0)] {
        examples.push("loss@0.15", Example { value, weight });
    }
    let value = loss;
    examples.push("validation_loss", Example { value, weight: 1.0 });
    examples
}

fn done(settings: &[Setting]) -> Done<'_> {
    let mut done = Done::new();
    for (setting, right) in settings.iter().zip([1, 2, 3]) {
        for seed in [1, 2] {
            let loss = 5.0 - right as f32 + 0.1 * seed as f32;
            done.insert((&setting.name, seed), measured(right, loss));
        }
    }
    done
}

#[test]
fn measures_are_means_over_seeds_and_differences_are_by_seed() {
    let (config, settings) = experiment();
    let results = Results::of(&config, &settings, &done(&settings)).unwrap();
    assert_eq!((results.runs, results.wanted), (6, 6));
    // Not what training validated where there is more, nor single paradigms.
    assert_eq!(results.measures, ["blimp", "loss@0.15"]);
    let first = results.setting("rates-0.15").unwrap();
    assert_eq!(first.seeds, [1, 2]);
    assert_eq!(first.measures["blimp"].mean, 0.25);
    assert_eq!(first.measures["blimp/paradigm"].mean, 0.25);
    let loss = first.measures["loss@0.15"];
    assert!((loss.mean - (4.15 + 0.25)).abs() < 1e-6, "{loss:?}");
    let deviation = loss.deviation.unwrap();
    assert!((deviation - 0.1 / 2f64.sqrt()).abs() < 1e-6, "{loss:?}");
    let names: Vec<[&str; 2]> = results
        .differences
        .iter()
        .map(|compared| [&*compared.setting, &*compared.against])
        .collect();
    assert_eq!(
        names,
        [["rates-0.4", "rates-0.15"], ["20-40", "rates-0.15"]]
    );
    let apart = results.differences[1].measures["loss@0.15"];
    // Every seed and row differs by 2.
    assert!(
        (apart.mean + 2.0).abs() < 1e-6 && (apart.high + 2.0).abs() < 1e-5,
        "{apart:?}"
    );
    let again = Results::of(&config, &settings, &done(&settings)).unwrap();
    assert_eq!(again, results);
}

#[test]
fn only_seeds_that_both_settings_have_are_compared() {
    let (config, settings) = experiment();
    let mut done = done(&settings);
    done.remove(&("rates-0.15", 1));
    done.remove(&("20-40", 2));
    let results = Results::of(&config, &settings, &done).unwrap();
    assert_eq!((results.runs, results.wanted), (4, 6));
    assert_eq!(results.setting("20-40").unwrap().seeds, [1]);
    let against: Vec<&str> = results
        .differences
        .iter()
        .map(|compared| &*compared.setting)
        .collect();
    assert_eq!(against, ["rates-0.4"]);
    assert_eq!(results.differences[0].seeds, [2]);
    let text = tables::markdown(&config, &settings, &results).unwrap();
    assert!(text.contains("4 of 6 models so far."), "{text}");
}

#[test]
fn tables_tell_means_deviations_and_intervals() {
    let (config, settings) = experiment();
    let results = Results::of(&config, &settings, &done(&settings)).unwrap();
    let text = tables::markdown(&config, &settings, &results).unwrap();
    has(&text, "| rates-0.15 | 2     | 25.0 ± 0.0 [");
    has(&text, "| 20-40 − rates-0.15     | 2     | +50.0 [");
    has(&text, "-2.000 [-2.000, -2.000] *");
    has(&text, "## Corruption and prediction: blimp");
    // Rows by the corruption rate, columns by the prediction rate, 20/40 off the diagonal.
    let row = text
        .lines()
        .find(|line| line.starts_with("| 0.2 "))
        .unwrap();
    let cells: Vec<&str> = row.split('|').map(str::trim).collect();
    assert_eq!(cells[2], "–");
    assert!(cells[3].starts_with("75.0 ±"), "{row}");
    let (_, alone) = text.split_once("## Two copies\n\n").unwrap();
    assert_eq!(alone.lines().count(), 3, "{alone}");
    has(alone, "| 20-40   | 2     | 75.0 ±");
    let csv = tables::csv(&results);
    assert!(csv.starts_with("setting,against,measure,mean,deviation,low,high,seeds,examples\n"));
    assert!(csv.contains("\nrates-0.15,,blimp,0.25,0,"), "{csv}");
    assert!(csv.contains("\n20-40,rates-0.15,blimp,0.5,0,"), "{csv}");
    assert_eq!(csv.lines().count(), 1 + 3 * 4 + 2 * 2);
}

#[test]
fn two_settings_in_one_cell_are_refused() {
    let (mut config, settings) = experiment();
    config.table[0].rows = Some("rows.length".into());
    let results = Results::of(&config, &settings, &done(&settings)).unwrap();
    let error = tables::markdown(&config, &settings, &results).unwrap_err();
    let told = error.to_string();
    assert!(told.contains("rates-0.4 and 20-40 in one cell"), "{told}");
}

#[test]
fn plots_have_a_line_a_grid_and_a_bar_a_setting() {
    let (config, settings) = experiment();
    let results = Results::of(&config, &settings, &done(&settings)).unwrap();
    let svg = plots::draw(&config.plot[0], &settings, &results).unwrap();
    let svg = String::from_utf8(svg).unwrap();
    // Two panels of three bars and one line each, a dot a setting, and two in the legend.
    assert_eq!(svg.matches("stroke-width=\"1.5\"").count(), 2 * (3 + 1));
    assert_eq!(svg.matches("<circle").count(), 2 * 3 + 2);
    assert!(
        svg.contains(">rates</text>") && svg.contains(">20-40</text>"),
        "{svg}"
    );
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    let mut other = config.plot[0].clone();
    other.x = "masking.strategy".into();
    let error = plots::draw(&other, &settings, &results).unwrap_err();
    assert!(error.to_string().contains("is a number"), "{error}");
}

#[track_caller]
fn has(text: &str, part: &str) {
    assert!(text.contains(part), "{part} is not in\n{text}");
}

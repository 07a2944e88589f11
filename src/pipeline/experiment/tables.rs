//! Results as text: Markdown for people, a tidy CSV for other programs.

use super::results::{Measured, Results};
use crate::base::error::{Error, Result};
use crate::config::{ExperimentConfig, Setting, TableConfig};
use crate::evaluation::Spread;
use std::fmt::Write as _;

/// What stands where nothing was measured.
const NOTHING: &str = "–";

/// Every measure of every setting and every difference, one a line.
pub fn csv(results: &Results) -> String {
    let mut out = "setting,against,measure,mean,deviation,low,high,seeds,examples\n".to_owned();
    let mut line = |setting: &str, against: &str, measure: &str, spread: &Spread| {
        let deviation = spread.deviation.map_or(String::new(), |d| d.to_string());
        let Spread {
            mean,
            low,
            high,
            runs,
            examples,
            ..
        } = spread;
        out += &format!(
            "{setting},{against},{measure},{mean},{deviation},{low},{high},{runs},{examples}\n"
        );
    };
    for measured in &results.settings {
        for (measure, spread) in &measured.measures {
            line(&measured.setting, "", measure, spread);
        }
    }
    for compared in &results.differences {
        for (measure, spread) in &compared.measures {
            line(&compared.setting, &compared.against, measure, spread);
        }
    }
    out
}

/// All tables, with what is to be known of their numbers.
///
/// # Errors
/// Two settings in one cell of a table of one key against another.
pub fn markdown(
    config: &ExperimentConfig,
    settings: &[Setting],
    results: &Results,
) -> Result<String> {
    let mut out = format!("# {}\n\n", results.name);
    if results.runs < results.wanted {
        let _ = writeln!(
            out,
            "{} of {} models so far.\n",
            results.runs, results.wanted
        );
    }
    out += &all(results);
    for asked in &config.table {
        let measures = match asked.measures.is_empty() {
            true => &results.measures,
            false => &asked.measures,
        };
        let chosen: Vec<(&Setting, &Measured)> = settings
            .iter()
            .filter(|setting| asked.grids.is_empty() || asked.grids.contains(&setting.grid))
            .filter_map(|setting| Some((setting, results.setting(&setting.name)?)))
            .collect();
        let (Some(rows), Some(columns)) = (&asked.rows, &asked.columns) else {
            let measured = chosen.iter().map(|(_, measured)| *measured);
            let listed = listed(measured, measures);
            let _ = write!(out, "\n## {}\n\n{listed}", asked.name);
            continue;
        };
        for measure in measures {
            let crossed = crossed(asked, [rows, columns], measure, &chosen)?;
            let _ = write!(out, "\n## {}: {measure}\n\n{crossed}", asked.name);
        }
    }
    Ok(out)
}

/// The table of all settings and that of differences.
pub fn all(results: &Results) -> String {
    let mut out = String::from(
        "Mean ± standard deviation over seeds, and the 95 % bootstrap interval over seeds and \
         examples. Losses in nats a label (lower is better), all others in per cent.\n\n",
    );
    out += &listed(results.settings.iter(), &results.measures);
    if results.differences.is_empty() {
        return out;
    }
    out += "\nDifferences, seed by seed and example by example, with their 95 % bootstrap \
            intervals; * where the interval leaves out 0.\n\n";
    let head = head("difference", &results.measures);
    let rows = results.differences.iter().map(|compared| {
        let both = format!("{} − {}", compared.setting, compared.against);
        let mut row = vec![both, compared.seeds.len().to_string()];
        let cell = |name: &String| {
            let spread = compared.measures.get(name);
            spread.map_or(NOTHING.into(), |spread| change(name, spread))
        };
        row.extend(results.measures.iter().map(cell));
        row
    });
    out += &table(&head, &rows.collect::<Vec<_>>());
    out
}

fn head(first: &str, measures: &[String]) -> Vec<String> {
    let mut head = vec![first.to_owned(), "seeds".to_owned()];
    head.extend(measures.iter().cloned());
    head
}

/// A row a setting, a column a measure.
fn listed<'a>(settings: impl Iterator<Item = &'a Measured>, measures: &[String]) -> String {
    let rows = settings.map(|measured| {
        let mut row = vec![measured.setting.clone(), measured.seeds.len().to_string()];
        row.extend(measures.iter().map(|name| cell(measured, name)));
        row
    });
    table(&head("setting", measures), &rows.collect::<Vec<_>>())
}

/// A measure of a setting.
fn cell(measured: &Measured, measure: &str) -> String {
    let spread = measured.measures.get(measure);
    spread.map_or(NOTHING.into(), |spread| value(measure, spread))
}

/// One measure by the values of one key and those of another.
fn crossed(
    asked: &TableConfig,
    keys: [&str; 2],
    measure: &str,
    chosen: &[(&Setting, &Measured)],
) -> Result<String> {
    let mut rows: Vec<String> = Vec::new();
    let mut columns: Vec<String> = Vec::new();
    let mut cells: Vec<(usize, usize, &Measured)> = Vec::new();
    for (setting, measured) in chosen {
        let row = place(&mut rows, setting.told(keys[0]));
        let column = place(&mut columns, setting.told(keys[1]));
        let other = cells.iter().find(|cell| (cell.0, cell.1) == (row, column));
        if let Some((_, _, other)) = other {
            return Err(Error::usage(
                format!("table {}", asked.name),
                format!("{} and {} in one cell", other.setting, setting.name),
                "settings that differ in the keys rows and columns",
                "name the grids that shall be in the table: grids = [\"…\"]",
            ));
        }
        cells.push((row, column, measured));
    }
    let [row_order, column_order] = [&rows, &columns].map(|values| sorted(values));
    let mut head = vec![format!("{} ↓ {} →", keys[0], keys[1])];
    head.extend(column_order.iter().map(|&column| columns[column].clone()));
    let lines = row_order.iter().map(|&row| {
        let mut line = vec![rows[row].clone()];
        line.extend(column_order.iter().map(|&column| {
            let found = cells.iter().find(|cell| (cell.0, cell.1) == (row, column));
            found.map_or(NOTHING.into(), |found| cell(found.2, measure))
        }));
        line
    });
    let lines: Vec<Vec<String>> = lines.collect();
    Ok(table(&head, &lines))
}

/// The place of `value` in `values`, at their end where it is new.
fn place(values: &mut Vec<String>, value: String) -> usize {
    let found = values.iter().position(|known| *known == value);
    found.unwrap_or_else(|| {
        values.push(value);
        values.len() - 1
    })
}

/// The places of `values`, numbers in ascending order, else as they come.
fn sorted(values: &[String]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    let number = |place: &usize| values[*place].parse::<f64>().unwrap_or(f64::INFINITY);
    order.sort_by(|a, b| number(a).total_cmp(&number(b)));
    order
}

fn is_loss(measure: &str) -> bool {
    measure.contains("loss")
}

/// A mean with its spread.
fn value(measure: &str, spread: &Spread) -> String {
    let (scale, digits) = scale(measure);
    let told = |value: f64| format!("{:.digits$}", scale * value);
    let deviation = spread
        .deviation
        .map_or(String::new(), |d| format!(" ± {}", told(d)));
    let (low, high) = (told(spread.low), told(spread.high));
    format!("{}{deviation} [{low}, {high}]", told(spread.mean))
}

/// A difference with its spread.
fn change(measure: &str, spread: &Spread) -> String {
    let (scale, digits) = scale(measure);
    let told = |value: f64| format!("{:+.digits$}", scale * value);
    let apart = match spread.low > 0.0 || spread.high < 0.0 {
        true => " *",
        false => "",
    };
    let (low, high) = (told(spread.low), told(spread.high));
    format!("{} [{low}, {high}]{apart}", told(spread.mean))
}

/// What a measure is multiplied by, and digits behind the point.
pub(super) fn scale(measure: &str) -> (f64, usize) {
    match is_loss(measure) {
        true => (1.0, 3),
        false => (100.0, 1),
    }
}

/// Columns wide enough to be read as they are, too.
fn table(head: &[String], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| &row[column]).chain([&head[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, &width)| {
            let blank = " ".repeat(width - cell.chars().count());
            format!(" {cell}{blank} ")
        });
        format!("|{}|\n", padded.collect::<Vec<_>>().join("|"))
    };
    let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
    let body: String = rows.iter().map(|row| line(row)).collect();
    line(head) + &line(&rule) + &body
}

//! Results as pictures: a panel a measure, a line for every grid and every value of its
//! other keys, a bar from end to end of each interval.

use super::results::Results;
use super::tables::scale;
use crate::base::error::{Error, Result};
use crate::config::{PlotConfig, Setting};
use crate::evaluation::Spread;
use crate::pipeline::chart::{COLOURS, Format, HEIGHT, Page, Panel, Range, Side, WIDTH};

/// A line and its settings by their values of the key that is drawn against.
struct Line<'a> {
    name: String,
    points: Vec<(f64, &'a str)>,
}

/// Draws a picture, as SVG.
///
/// # Errors
/// A picture without a point: no number by its key, or nothing measured.
pub fn draw(plot: &PlotConfig, settings: &[Setting], results: &Results) -> Result<Vec<u8>> {
    let lines = lines(plot, settings);
    let measures = match plot.measures.is_empty() {
        true => &results.measures,
        false => &plot.measures,
    };
    if lines.is_empty() {
        return Err(Error::usage(
            format!("plot {}", plot.name),
            format!("no setting whose {} is a number", plot.x),
            "a key of train with numbers",
            "name another key: x = \"…\"",
        ));
    }
    let down = HEIGHT + 100.0;
    let across = WIDTH + 90.0;
    let panels_down = measures.len().div_ceil(2) as f64;
    let entries = panels_down * down + 10.0;
    let height = entries + 20.0 * lines.len() as f64 + 30.0;
    let panels_across = measures.len().clamp(1, 2) as f64;
    let mut page = Page::new(panels_across * across + 20.0, height);
    let xs = || {
        lines
            .iter()
            .flat_map(|line| line.points.iter().map(|p| p.0))
    };
    let (first, last) = (xs().fold(f64::INFINITY, f64::min), xs().fold(0.0, f64::max));
    let margin = 0.05 * (last - first);
    for (measure, index) in measures.iter().zip(0u32..) {
        let (scale, _) = scale(measure);
        let spread_of = |setting: &str| -> Option<Spread> {
            let measured = results.setting(setting)?;
            measured.measures.get(measure).copied()
        };
        let spreads = || {
            let names = lines
                .iter()
                .flat_map(|line| line.points.iter().map(|p| p.1));
            names.filter_map(spread_of)
        };
        let low = spreads()
            .map(|s| scale * s.low)
            .fold(f64::INFINITY, f64::min);
        let high = spreads()
            .map(|s| scale * s.high)
            .fold(f64::NEG_INFINITY, f64::max);
        let room = 0.03 * (high - low);
        let unit = if scale == 1.0 { "" } else { " %" };
        let panel = Panel {
            left: 70.0 + across * f64::from(index % 2),
            top: 48.0 + down * f64::from(index / 2),
            x: Range::linear(first - margin, last + margin),
            y: Range::linear(low - room, high + room),
            title: measure,
            unit,
            foot: &plot.x,
        };
        panel.axes(&mut page);
        let count = lines.len() as f64;
        for ((line, colour), place) in lines.iter().zip(COLOURS.into_iter().cycle()).zip(0u32..) {
            // Side by side, so that bars at the same value do not hide each other.
            let aside = 0.008 * (last - first) * (f64::from(place) - (count - 1.0) / 2.0);
            let points: Vec<(f64, Spread)> = line
                .points
                .iter()
                .filter_map(|&(x, setting)| Some((x + aside, spread_of(setting)?)))
                .collect();
            for (x, spread) in &points {
                let ends = [spread.low, spread.high].map(|end| (*x, scale * end));
                panel.line(ends, colour, false, &mut page);
                let mean = panel.place((*x, scale * spread.mean));
                page.dot(mean, colour);
            }
            if points.len() > 1 {
                let means = points.iter().map(|(x, spread)| (*x, scale * spread.mean));
                panel.line(means, colour, false, &mut page);
            }
        }
    }
    for ((line, colour), row) in lines.iter().zip(COLOURS.into_iter().cycle()).zip(0u32..) {
        let place = (76.0, entries + 20.0 * f64::from(row));
        page.entry(place, colour, &line.name);
    }
    let seeds = || results.settings.iter().map(|setting| setting.seeds.len());
    let seeds = match (seeds().min(), seeds().max()) {
        (Some(1), Some(1)) => "one seed".into(),
        (Some(least), Some(most)) if least < most => format!("{least} to {most} seeds"),
        (_, most) => format!("{} seeds", most.unwrap_or(0)),
    };
    let note = format!("Bars: 95 % bootstrap intervals over {seeds} and the examples.");
    let foot = (70.0, entries + 20.0 * lines.len() as f64 + 6.0);
    page.text(foot, note, Side::First);
    page.bytes(Format::Svg)
}

fn lines<'a>(plot: &PlotConfig, settings: &'a [Setting]) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'a>> = Vec::new();
    let wanted = |setting: &&Setting| plot.grids.is_empty() || plot.grids.contains(&setting.grid);
    for setting in settings.iter().filter(wanted) {
        let Some(x) = setting.number(&plot.x) else {
            continue;
        };
        let mut name = setting.grid.clone();
        for (key, value) in setting.varied.iter().filter(|(key, _)| **key != plot.x) {
            name += &format!(", {key} = {value}");
        }
        let point = (x, setting.name.as_str());
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push(point),
            None => lines.push(Line {
                name,
                points: vec![point],
            }),
        }
    }
    for line in &mut lines {
        line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    lines
}

//! A picture of a ranking, for `cloze vocabulary --plot`: which share of the corpus's
//! windows the best n-grams of each length cover, and how their score falls with rank;
//! where the vocabulary ends is marked. The same bytes for the same counts.

use crate::base::error::Result;
use crate::config::VocabularyConfig;
use crate::pipeline::chart::{self, COLOURS, Colour, Format, Page, Panel, Range, Side};
use crate::pipeline::stage::StageOptions;
use crate::pipeline::vocabulary::load;
use crate::statistics::ranking::{Curve, Point, curves, score_name};
use crate::storage::{Artefact, ArtefactKind};
use std::path::Path;

const TOP: f64 = 48.0;
/// Left edges of the two panels, with room for the numbers of their axes.
const LEFT: [f64; 2] = [70.0, 560.0];

/// Draws the ranking of `counts` under `config` to the file `output`, which ends in .svg
/// or .png.
pub fn plot(
    config: &VocabularyConfig,
    counts: &Path,
    output: &Path,
    options: &StageOptions,
) -> Result<()> {
    let format = Format::of("--plot", output)?;
    let artefact = Artefact::open(counts, ArtefactKind::Counts)?;
    let (trie, note) = load(&artefact, 0, options)?;
    let curves = curves(&trie, &note.windows, config);
    draw(&curves, score_name(config.score), config.size).write(output, format)
}

/// What a panel shows of a rank.
type Value = fn(&Point) -> f64;

fn draw(curves: &[Curve], score: &str, size: u64) -> Page {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let most_rank = points().map(|point| point.rank).max().unwrap_or(1).max(10) as f64;
    let highest = |value: Value| points().map(value).fold(f64::MIN, f64::max);
    let lowest = points().map(|point| point.score).fold(f64::MAX, f64::min);
    let mut page = Page::new(1000.0, 430.0);
    let panels: [(&str, &str, Value, f64); 2] = [
        (
            "windows of a length that are in the vocabulary",
            " %",
            |point| 100.0 * point.covered,
            0.0,
        ),
        (score, "", |point| point.score, lowest),
    ];
    for ((title, unit, value, bottom), left) in panels.into_iter().zip(LEFT) {
        let panel = Panel {
            left,
            top: TOP,
            x: Range::powers(most_rank),
            y: Range::linear(bottom, highest(value)),
            title,
            unit,
            foot: "rank, which is the size of the vocabulary for this length",
        };
        panel.axes(&mut page);
        for (curve, colour) in curves.iter().zip(COLOURS) {
            let place = |point: &Point| (point.rank as f64, value(point));
            panel.line(curve.points.iter().map(place), colour, false, &mut page);
            if let Some(last) = curve.points.iter().find(|point| point.rank == curve.taken) {
                mark(&panel, place(last), colour, &mut page);
            }
        }
    }
    legend(curves, size, &mut page);
    page
}

/// Marks where the vocabulary ends.
fn mark(panel: &Panel<'_>, end: (f64, f64), colour: Colour, page: &mut Page) {
    let (x, y) = panel.place(end);
    page.line(vec![(x, TOP), (x, panel.bottom())], colour, 1.0, true);
    page.dot((x, y), colour);
}

fn legend(curves: &[Curve], size: u64, page: &mut Page) {
    let y = TOP + chart::HEIGHT + 66.0;
    for ((curve, colour), place) in curves.iter().zip(COLOURS).zip(0..) {
        let x = LEFT[0] + 150.0 * f64::from(place);
        let text = format!("{} words: {}", curve.length, curve.taken);
        page.entry((x, y), colour, &text);
    }
    let text = format!("dots: the best that a vocabulary of {size} takes");
    page.text((LEFT[1] + chart::WIDTH, y), text, Side::Last);
}

//! A picture of a ranking, for `cloze vocabulary --plot`: which share of the corpus's
//! windows the best n-grams of each length cover, and how their score falls with rank;
//! where the vocabulary ends is marked. It is drawn once, as marks on a page, and
//! written as SVG or PNG: the same bytes for the same counts.

mod png;
mod svg;

use crate::base::error::{Error, Result};
use crate::config::VocabularyConfig;
use crate::pipeline::stage::StageOptions;
use crate::pipeline::vocabulary::load;
use crate::statistics::ranking::{Curve, Point, curves, score_name};
use crate::storage::{Artefact, ArtefactKind, atomic};
use std::path::Path;

/// Of the page, in pixels of an SVG; a PNG has twice as many.
const PAGE: (f64, f64) = (1000.0, 430.0);
/// Of a panel's frame.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 300.0;
const TOP: f64 = 48.0;
/// Left edges of the two panels, with room for the numbers of their axes.
const LEFT: [f64; 2] = [70.0, 560.0];

/// Red, green and blue.
type Colour = [u8; 3];

/// One colour a length, told apart by the colour-blind as well (Okabe and Ito 2008).
const COLOURS: [Colour; 4] = [
    [0x00, 0x72, 0xb2],
    [0xd5, 0x5e, 0x00],
    [0x00, 0x9e, 0x73],
    [0xcc, 0x79, 0xa7],
];
const BLACK: Colour = [0; 3];
const FRAME: Colour = [0x88; 3];
const GRID: Colour = [0xee; 3];

/// A place on the page: from its left and its upper edge.
type Place = (f64, f64);

/// What is drawn, in order.
enum Mark {
    /// A line through places.
    Line {
        places: Vec<Place>,
        colour: Colour,
        width: f64,
        dashed: bool,
    },
    /// A filled circle.
    Dot { place: Place, colour: Colour },
    /// A text whose first, middle or last character stands at a place, on its baseline.
    Text {
        place: Place,
        text: String,
        side: Side,
        size: Size,
    },
}

/// Which part of a text stands at its place.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    First,
    Middle,
    Last,
}

#[derive(Clone, Copy, PartialEq)]
enum Size {
    Usual,
    Title,
    Exponent,
}

impl Mark {
    fn line(from: Place, to: Place, colour: Colour) -> Self {
        Self::Line {
            places: vec![from, to],
            colour,
            width: 1.0,
            dashed: false,
        }
    }

    fn text(place: Place, text: impl Into<String>, side: Side) -> Self {
        Self::Text {
            place,
            text: text.into(),
            side,
            size: Size::Usual,
        }
    }
}

/// Draws the ranking of `counts` under `config` to the file `output`, which ends in .svg
/// or .png.
pub fn plot(
    config: &VocabularyConfig,
    counts: &Path,
    output: &Path,
    options: &StageOptions,
) -> Result<()> {
    let write: fn(&[Mark]) -> Result<Vec<u8>> = match output.extension().map(|e| e.to_str()) {
        Some(Some("svg")) => |marks| Ok(svg::page(marks).into_bytes()),
        Some(Some("png")) => png::page,
        _ => {
            return Err(Error::usage(
                "--plot",
                output.display().to_string(),
                "a file that ends in .svg or .png",
                "name it so",
            ));
        }
    };
    let artefact = Artefact::open(counts, ArtefactKind::Counts)?;
    let (trie, note) = load(&artefact, 0, options)?;
    let curves = curves(&trie, &note.windows, config);
    let marks = draw(&curves, score_name(config.score), config.size);
    atomic::write(output, &write(&marks)?).map(drop)
}

/// What a panel shows of a rank.
type Value = fn(&Point) -> f64;

/// A panel: where it stands, and the values at its edges.
struct Panel {
    left: f64,
    most_rank: f64,
    bottom: f64,
    top: f64,
}

impl Panel {
    /// Ranks go by their logarithm.
    fn x(&self, rank: f64) -> f64 {
        self.left + WIDTH * rank.max(1.0).log10() / self.most_rank.log10()
    }

    fn y(&self, value: f64) -> f64 {
        TOP + HEIGHT * (self.top - value) / (self.top - self.bottom)
    }
}

fn draw(curves: &[Curve], score: &str, size: u64) -> Vec<Mark> {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let most_rank = points().map(|point| point.rank).max().unwrap_or(1).max(10) as f64;
    let highest = |value: Value| points().map(value).fold(f64::MIN, f64::max);
    let lowest = points().map(|point| point.score).fold(f64::MAX, f64::min);
    let panels: [(&str, Value, f64, f64); 2] = [
        (
            "windows of a length that are in the vocabulary",
            |point| 100.0 * point.covered,
            0.0,
            100.0 * highest(|point| point.covered),
        ),
        (
            score,
            |point| point.score,
            lowest,
            highest(|point| point.score),
        ),
    ];
    let mut marks = Vec::new();
    for ((title, value, bottom, top), left) in panels.into_iter().zip(LEFT) {
        let (bottom, top) = if top > bottom {
            (bottom, top)
        } else {
            // A single value, or none: it stands in the middle.
            let middle = if top == bottom { top } else { 0.0 };
            (middle - 1.0, middle + 1.0)
        };
        let panel = Panel {
            left,
            most_rank,
            bottom,
            top,
        };
        let unit = if left == LEFT[0] { " %" } else { "" };
        axes(&panel, title, unit, &mut marks);
        for (curve, colour) in curves.iter().zip(COLOURS) {
            line(&panel, curve, value, colour, &mut marks);
        }
    }
    legend(curves, size, &mut marks);
    marks
}

fn axes(panel: &Panel, title: &str, unit: &str, marks: &mut Vec<Mark>) {
    let (left, right, foot) = (panel.left, panel.left + WIDTH, TOP + HEIGHT);
    marks.push(Mark::Text {
        place: (left, TOP - 14.0),
        text: title.to_owned(),
        side: Side::First,
        size: Size::Title,
    });
    for exponent in 0..=panel.most_rank.log10() as i32 {
        let x = panel.x(10f64.powi(exponent));
        marks.push(Mark::line((x, TOP), (x, foot), GRID));
        marks.push(Mark::text((x + 4.0, foot + 18.0), "10", Side::Last));
        marks.push(Mark::Text {
            place: (x + 5.0, foot + 13.0),
            text: exponent.to_string(),
            side: Side::First,
            size: Size::Exponent,
        });
    }
    let step = tick(panel.top - panel.bottom);
    let digits = if step < 1.0 { 2 } else { 0 };
    let mut at = (panel.bottom / step).ceil() * step;
    while at <= panel.top {
        let y = panel.y(at);
        marks.push(Mark::line((left, y), (right, y), GRID));
        let text = format!("{at:.digits$}{unit}");
        marks.push(Mark::text((left - 6.0, y + 4.0), text, Side::Last));
        at += step;
    }
    let corners = [
        (left, TOP),
        (right, TOP),
        (right, foot),
        (left, foot),
        (left, TOP),
    ];
    marks.push(Mark::Line {
        places: corners.to_vec(),
        colour: FRAME,
        width: 1.0,
        dashed: false,
    });
    marks.push(Mark::text(
        (left + WIDTH / 2.0, foot + 38.0),
        "rank, which is the size of the vocabulary for this length",
        Side::Middle,
    ));
}

/// A round distance that a range holds about five times: 1, 2 or 5 times a power of 10.
fn tick(range: f64) -> f64 {
    let rough = range / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0];
    let fits = times.into_iter().find(|times| times * power >= rough);
    fits.unwrap_or(10.0) * power
}

fn line(panel: &Panel, curve: &Curve, value: Value, colour: Colour, marks: &mut Vec<Mark>) {
    let place = |point: &Point| (panel.x(point.rank as f64), panel.y(value(point)));
    marks.push(Mark::Line {
        places: curve.points.iter().map(place).collect(),
        colour,
        width: 1.5,
        dashed: false,
    });
    if let Some(last) = curve.points.iter().find(|point| point.rank == curve.taken) {
        let (x, y) = place(last);
        marks.push(Mark::Line {
            places: vec![(x, TOP), (x, TOP + HEIGHT)],
            colour,
            width: 1.0,
            dashed: true,
        });
        marks.push(Mark::Dot {
            place: (x, y),
            colour,
        });
    }
}

fn legend(curves: &[Curve], size: u64, marks: &mut Vec<Mark>) {
    let y = TOP + HEIGHT + 66.0;
    for ((curve, colour), place) in curves.iter().zip(COLOURS).zip(0..) {
        let x = LEFT[0] + 150.0 * f64::from(place);
        marks.push(Mark::Dot {
            place: (x, y - 4.0),
            colour,
        });
        let text = format!("{} words: {}", curve.length, curve.taken);
        marks.push(Mark::text((x + 10.0, y), text, Side::First));
    }
    let text = format!("dots: the best that a vocabulary of {size} takes");
    marks.push(Mark::text((LEFT[1] + WIDTH, y), text, Side::Last));
}

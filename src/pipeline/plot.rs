//! A picture of a ranking, for `cloze vocabulary --plot`: which share of the corpus's
//! windows the best n-grams of each length cover, and how their score falls with rank;
//! where the vocabulary ends is marked. Plain SVG, the same bytes for the same counts.

use crate::base::error::{Error, Result};
use crate::config::VocabularyConfig;
use crate::pipeline::stage::StageOptions;
use crate::pipeline::vocabulary::load;
use crate::statistics::ranking::{Curve, Point, curves, score_name};
use crate::storage::{Artefact, ArtefactKind, atomic};
use std::fmt::Write;
use std::path::Path;

/// Of a panel's frame, in pixels.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 300.0;
const TOP: f64 = 48.0;
/// Left edges of the two panels, with room for the numbers of their axes.
const LEFT: [f64; 2] = [70.0, 560.0];

/// One colour a length, told apart by the colour-blind as well (Okabe and Ito 2008).
const COLOURS: [&str; 4] = ["#0072B2", "#D55E00", "#009E73", "#CC79A7"];

/// Draws the ranking of `counts` under `config` to the file `output`.
pub fn plot(
    config: &VocabularyConfig,
    counts: &Path,
    output: &Path,
    options: &StageOptions,
) -> Result<()> {
    if output
        .extension()
        .is_none_or(|extension| extension != "svg")
    {
        return Err(Error::usage(
            "--plot",
            output.display().to_string(),
            "a file that ends in .svg",
            "name it so; a browser shows it",
        ));
    }
    let artefact = Artefact::open(counts, ArtefactKind::Counts)?;
    let (trie, note) = load(&artefact, 0, options)?;
    let curves = curves(&trie, &note.windows, config);
    let svg = render(&curves, score_name(config.score), config.size);
    atomic::write(output, svg.as_bytes()).map(drop)
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

fn render(curves: &[Curve], score: &str, size: u64) -> String {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let most_rank = points().map(|point| point.rank).max().unwrap_or(1).max(10) as f64;
    let highest = |value: Value| points().map(value).fold(f64::MIN, f64::max);
    let lowest = points().map(|point| point.score).fold(f64::MAX, f64::min);
    let mut svg = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1000\" height=\"430\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"1000\" height=\"430\" fill=\"white\"/>\n"
    );
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
        axes(&panel, title, unit, &mut svg);
        for (curve, colour) in curves.iter().zip(COLOURS) {
            line(&panel, curve, value, colour, &mut svg);
        }
    }
    legend(curves, size, &mut svg);
    svg.push_str("</svg>\n");
    svg
}

fn axes(panel: &Panel, title: &str, unit: &str, svg: &mut String) {
    let (left, right, foot) = (panel.left, panel.left + WIDTH, TOP + HEIGHT);
    let _ = writeln!(
        svg,
        "<text x=\"{left}\" y=\"{:.0}\" font-weight=\"bold\">{title}</text>\n\
         <rect x=\"{left}\" y=\"{TOP}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" \
         stroke=\"#888\"/>",
        TOP - 14.0
    );
    for exponent in 0..=panel.most_rank.log10() as i32 {
        let x = panel.x(10f64.powi(exponent));
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{foot}\" stroke=\"#eee\"/>\
             <text x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\">10<tspan dy=\"-5\" \
             font-size=\"9\">{exponent}</tspan></text>",
            foot + 18.0
        );
    }
    let step = tick(panel.top - panel.bottom);
    let mut at = (panel.bottom / step).ceil() * step;
    while at <= panel.top {
        let y = panel.y(at);
        let digits = if step < 1.0 { 2 } else { 0 };
        let _ = writeln!(
            svg,
            "<line x1=\"{left}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#eee\"/>\
             <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{at:.digits$}{unit}</text>",
            left - 6.0,
            y + 4.0
        );
        at += step;
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">rank, which is the size of the \
         vocabulary for this length</text>",
        left + WIDTH / 2.0,
        foot + 38.0
    );
}

/// A round distance that a range holds about five times: 1, 2 or 5 times a power of 10.
fn tick(range: f64) -> f64 {
    let rough = range / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0];
    let fits = times.into_iter().find(|times| times * power >= rough);
    fits.unwrap_or(10.0) * power
}

fn line(panel: &Panel, curve: &Curve, value: fn(&Point) -> f64, colour: &str, svg: &mut String) {
    let place = |point: &Point| (panel.x(point.rank as f64), panel.y(value(point)));
    svg.push_str("<polyline points=\"");
    for point in &curve.points {
        let (x, y) = place(point);
        let _ = write!(svg, "{x:.1},{y:.1} ");
    }
    let _ = writeln!(
        svg,
        "\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"
    );
    if let Some(last) = curve.points.iter().find(|point| point.rank == curve.taken) {
        let (x, y) = place(last);
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{:.0}\" stroke=\"{colour}\" \
             stroke-dasharray=\"2 3\"/><circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" \
             fill=\"{colour}\"/>",
            TOP + HEIGHT
        );
    }
}

fn legend(curves: &[Curve], size: u64, svg: &mut String) {
    let y = TOP + HEIGHT + 66.0;
    for ((curve, colour), place) in curves.iter().zip(COLOURS).zip(0..) {
        let x = LEFT[0] + 150.0 * f64::from(place);
        let _ = writeln!(
            svg,
            "<circle cx=\"{x:.0}\" cy=\"{:.0}\" r=\"4\" fill=\"{colour}\"/>\
             <text x=\"{:.0}\" y=\"{y:.0}\">{} words: {}</text>",
            y - 4.0,
            x + 10.0,
            curve.length,
            curve.taken
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.0}\" y=\"{y:.0}\">dots: the best that a vocabulary of {size} takes</text>",
        LEFT[0] + 640.0
    );
}

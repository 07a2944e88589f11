//! Line charts as plain SVG: panels with axes, lines in them, words beside them. The same
//! bytes for the same points.

use crate::base::error::{Error, Result};
use crate::pipeline::preview::html::escaped;
use std::fmt::Write;
use std::path::Path;

/// Of a panel's frame, in pixels.
pub const WIDTH: f64 = 400.0;
/// Of a panel's frame, in pixels.
pub const HEIGHT: f64 = 300.0;

/// Told apart by the colour-blind as well (Okabe and Ito 2008).
pub const COLOURS: [&str; 8] = [
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999",
];

/// Refuses a name of another kind of file than charts are written as.
pub fn check_name(flag: &str, file: &Path) -> Result<()> {
    if file.extension().is_some_and(|extension| extension == "svg") {
        return Ok(());
    }
    Err(Error::usage(
        flag,
        file.display().to_string(),
        "a file that ends in .svg",
        "name it so; a browser shows it",
    ))
}

/// The values of an axis from its first end to its other.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// At the left or at the foot.
    pub low: f64,
    /// At the right or on top.
    pub high: f64,
    /// Whether it goes by the logarithm, from 1.
    pub by_power: bool,
}

impl Range {
    /// From `low` to `high`; a single value, or none, stands in the middle.
    pub fn linear(low: f64, high: f64) -> Self {
        let (low, high) = if high > low {
            (low, high)
        } else {
            let middle = if high == low { high } else { 0.0 };
            (middle - 1.0, middle + 1.0)
        };
        Self {
            low,
            high,
            by_power: false,
        }
    }

    /// Powers of ten from 1 to `high`.
    pub fn powers(high: f64) -> Self {
        Self {
            low: 1.0,
            high,
            by_power: true,
        }
    }

    /// Where `value` lies, 0 at one end and 1 at the other.
    fn share(&self, value: f64) -> f64 {
        match self.by_power {
            true => value.max(1.0).log10() / self.high.log10(),
            false => (value - self.low) / (self.high - self.low),
        }
    }

    /// Round values on the way, about five.
    fn ticks(&self) -> Vec<f64> {
        if self.by_power {
            let most = self.high.log10() as i32;
            return (0..=most).map(|exponent| 10f64.powi(exponent)).collect();
        }
        let step = self.step();
        let first = (self.low / step).ceil();
        let count = (self.high / step).floor() - first;
        (0..=count.max(0.0) as u32)
            .map(|index| (first + f64::from(index)) * step)
            .collect()
    }

    /// A round distance that it holds about five times: 1, 2 or 5 times a power of 10.
    fn step(&self) -> f64 {
        let rough = (self.high - self.low) / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let times = [1.0, 2.0, 5.0, 10.0];
        let fits = times.into_iter().find(|times| times * power >= rough);
        fits.unwrap_or(10.0) * power
    }

    /// How a tick is written.
    fn told(&self, value: f64) -> String {
        let step = self.step();
        if self.high.abs() >= 1e4 {
            // Steps and tokens.
            return match value {
                0.0 => "0".into(),
                v if self.high >= 2e9 => format!("{}G", short(v / 1e9)),
                v if self.high >= 2e6 => format!("{}M", short(v / 1e6)),
                v => format!("{}k", short(v / 1e3)),
            };
        }
        if step < 0.005 && value != 0.0 {
            return format!("{value:.1e}");
        }
        let digits = if step < 1.0 { 2 } else { 0 };
        format!("{value:.digits$}")
    }
}

/// A number of up to three digits after the point, none of them an idle 0.
fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A panel: where it stands, its axes, and what is written on them.
#[derive(Debug, Clone)]
pub struct Panel<'a> {
    /// Left edge of its frame.
    pub left: f64,
    /// Upper edge of its frame.
    pub top: f64,
    /// From left to right.
    pub x: Range,
    /// From foot to top.
    pub y: Range,
    /// Written above.
    pub title: &'a str,
    /// Behind every number of the y axis.
    pub unit: &'a str,
    /// Written below.
    pub foot: &'a str,
}

impl Panel<'_> {
    /// The pixel of a value; what lies beyond an end stands at it.
    pub fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (
            self.left + WIDTH * self.x.share(x).clamp(0.0, 1.0),
            self.top + HEIGHT * (1.0 - self.y.share(y).clamp(0.0, 1.0)),
        )
    }

    /// Lower edge of its frame.
    pub fn bottom(&self) -> f64 {
        self.top + HEIGHT
    }

    /// Draws frame, title, ticks and their lines.
    pub fn axes(&self, svg: &mut String) {
        let (left, right, top, foot) = (self.left, self.left + WIDTH, self.top, self.bottom());
        // Writing to a String cannot fail.
        let _ = writeln!(
            svg,
            "<text x=\"{left}\" y=\"{:.0}\" font-weight=\"bold\">{}</text>\n\
             <rect x=\"{left}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" \
             stroke=\"#888\"/>",
            top - 14.0,
            escaped(self.title)
        );
        for at in self.x.ticks() {
            let x = left + WIDTH * self.x.share(at);
            let told = match self.x.by_power {
                true => format!(
                    "10<tspan dy=\"-5\" font-size=\"9\">{:.0}</tspan>",
                    at.log10()
                ),
                false => self.x.told(at),
            };
            let _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{foot}\" stroke=\"#eee\"/>\
                 <text x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{told}</text>",
                foot + 18.0
            );
        }
        for at in self.y.ticks() {
            let y = top + HEIGHT * (1.0 - self.y.share(at));
            let _ = writeln!(
                svg,
                "<line x1=\"{left}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#eee\"/>\
                 <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}{}</text>",
                left - 6.0,
                y + 4.0,
                self.y.told(at),
                self.unit
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
            left + WIDTH / 2.0,
            foot + 38.0,
            escaped(self.foot)
        );
    }

    /// Draws a line through `points`, broken into dashes where wanted; a single one as a
    /// dot.
    pub fn line(
        &self,
        points: impl IntoIterator<Item = (f64, f64)>,
        colour: &str,
        dashed: bool,
        svg: &mut String,
    ) {
        let places: Vec<(f64, f64)> = points.into_iter().map(|point| self.place(point)).collect();
        if let [(x, y)] = places[..] {
            let _ = writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
            );
            return;
        }
        svg.push_str("<polyline points=\"");
        for (x, y) in places {
            let _ = write!(svg, "{x:.1},{y:.1} ");
        }
        let dashes = if dashed {
            " stroke-dasharray=\"5 4\""
        } else {
            ""
        };
        let _ = writeln!(
            svg,
            "\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"{dashes}/>"
        );
    }
}

/// Opens a picture of this size, white.
pub fn open(width: f64, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    )
}

/// A dot in a colour and what it stands for.
pub fn entry((x, y): (f64, f64), colour: &str, text: &str, svg: &mut String) {
    let _ = writeln!(
        svg,
        "<circle cx=\"{x:.0}\" cy=\"{:.0}\" r=\"4\" fill=\"{colour}\"/>\
         <text x=\"{:.0}\" y=\"{y:.0}\">{}</text>",
        y - 4.0,
        x + 10.0,
        escaped(text)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        let close = |found: Vec<f64>, expected: &[f64]| {
            assert_eq!(found.len(), expected.len(), "{found:?}");
            for (a, b) in found.iter().zip(expected) {
                assert!((a - b).abs() < 1e-9, "{found:?}");
            }
        };
        close(
            Range::linear(0.3, 10.2).ticks(),
            &[2.0, 4.0, 6.0, 8.0, 10.0],
        );
        close(
            Range::linear(-0.1, 0.1).ticks(),
            &[-0.1, -0.05, 0.0, 0.05, 0.1],
        );
        close(Range::powers(5000.0).ticks(), &[1.0, 10.0, 100.0, 1000.0]);
        let one = Range::linear(3.0, 3.0);
        assert_eq!((one.low, one.high), (2.0, 4.0));
        let none = Range::linear(f64::INFINITY, f64::NEG_INFINITY);
        assert_eq!((none.low, none.high), (-1.0, 1.0));
    }

    #[test]
    fn numbers_are_told_short() {
        assert_eq!(Range::linear(0.0, 10.0).told(4.0), "4");
        assert_eq!(Range::linear(0.0, 1.0).told(0.4), "0.40");
        assert_eq!(Range::linear(0.0, 2e-3).told(5e-4), "5.0e-4");
        assert_eq!(Range::linear(0.0, 5e4).told(2e4), "20k");
        assert_eq!(Range::linear(0.0, 5e6).told(2.5e6), "2.5M");
    }
}

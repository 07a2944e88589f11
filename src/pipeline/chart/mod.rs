//! Line charts: panels with axes, lines in them, words beside them. A chart is drawn once,
//! as marks on a page, and written as SVG or PNG: the same bytes for the same points.

mod png;
mod svg;

use crate::base::error::{Error, Result};
use crate::storage::atomic;
use std::path::Path;

/// Of a panel's frame, in pixels of an SVG; a PNG has twice as many.
pub const WIDTH: f64 = 400.0;
/// Of a panel's frame, in pixels of an SVG.
pub const HEIGHT: f64 = 300.0;

/// Red, green and blue.
pub type Colour = [u8; 3];

/// Told apart by the colour-blind as well (Okabe and Ito 2008).
pub const COLOURS: [Colour; 8] = [
    [0x00, 0x72, 0xb2],
    [0xd5, 0x5e, 0x00],
    [0x00, 0x9e, 0x73],
    [0xcc, 0x79, 0xa7],
    [0xe6, 0x9f, 0x00],
    [0x56, 0xb4, 0xe9],
    BLACK,
    [0x99; 3],
];
const BLACK: Colour = [0; 3];
const FRAME: Colour = [0x88; 3];
const GRID: Colour = [0xee; 3];

/// Lengths of a dash and of what is left out behind it, in units of the page.
const DASH: [f64; 2] = [4.0, 3.0];
/// Radius of a dot, in units of the page.
const RADIUS: f64 = 4.0;

/// A place on the page: from its left and its upper edge.
pub type Place = (f64, f64);

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
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Side {
    /// Its first character.
    First,
    /// Its middle.
    Middle,
    /// Its last character.
    Last,
}

#[derive(Clone, Copy, PartialEq)]
enum Size {
    Usual,
    Title,
    Exponent,
}

/// A white page and what is drawn on it.
pub struct Page {
    width: f64,
    height: f64,
    marks: Vec<Mark>,
}

impl Page {
    /// Nothing yet, in pixels of an SVG.
    pub fn new(width: f64, height: f64) -> Self {
        Self {
            width,
            height,
            marks: Vec::new(),
        }
    }

    /// Draws a line.
    pub fn line(&mut self, places: Vec<Place>, colour: Colour, width: f64, dashed: bool) {
        self.marks.push(Mark::Line {
            places,
            colour,
            width,
            dashed,
        });
    }

    /// Draws a filled circle.
    pub fn dot(&mut self, place: Place, colour: Colour) {
        self.marks.push(Mark::Dot { place, colour });
    }

    /// Writes `text`, a part of which stands at `place`.
    pub fn text(&mut self, place: Place, text: impl Into<String>, side: Side) {
        self.sized(place, text, side, Size::Usual);
    }

    /// A dot in a colour and what it stands for.
    pub fn entry(&mut self, (x, y): Place, colour: Colour, text: &str) {
        self.dot((x, y - 4.0), colour);
        self.text((x + 10.0, y), text, Side::First);
    }

    fn sized(&mut self, place: Place, text: impl Into<String>, side: Side, size: Size) {
        self.marks.push(Mark::Text {
            place,
            text: text.into(),
            side,
            size,
        });
    }

    /// The page in a format.
    pub fn bytes(&self, format: Format) -> Result<Vec<u8>> {
        match format {
            Format::Svg => Ok(svg::page(self).into_bytes()),
            Format::Png => png::page(self),
        }
    }

    /// Writes the page to `file`.
    pub fn write(&self, file: &Path, format: Format) -> Result<()> {
        atomic::write(file, &self.bytes(format)?).map(drop)
    }
}

/// What a chart is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines and letters, for browsers and papers.
    Svg,
    /// Pixels, two for each of an SVG.
    Png,
}

impl Format {
    /// That which the name of `file`, given as `flag`, ends in; known before anything is
    /// drawn.
    pub fn of(flag: &str, file: &Path) -> Result<Self> {
        match file.extension().map(|extension| extension.to_str()) {
            Some(Some("svg")) => Ok(Self::Svg),
            Some(Some("png")) => Ok(Self::Png),
            _ => Err(Error::usage(
                flag,
                file.display().to_string(),
                "a file that ends in .svg or .png",
                "name it so",
            )),
        }
    }
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
    pub fn place(&self, (x, y): (f64, f64)) -> Place {
        (
            self.left + WIDTH * self.x.share(x).clamp(0.0, 1.0),
            self.top + HEIGHT * (1.0 - self.y.share(y).clamp(0.0, 1.0)),
        )
    }

    /// Lower edge of its frame.
    pub fn bottom(&self) -> f64 {
        self.top + HEIGHT
    }

    /// Draws title, ticks and their lines, and the frame.
    pub fn axes(&self, page: &mut Page) {
        let (left, right, top, foot) = (self.left, self.left + WIDTH, self.top, self.bottom());
        page.sized((left, top - 14.0), self.title, Side::First, Size::Title);
        for at in self.x.ticks() {
            let x = left + WIDTH * self.x.share(at);
            page.line(vec![(x, top), (x, foot)], GRID, 1.0, false);
            if self.x.by_power {
                let exponent = format!("{:.0}", at.log10());
                page.text((x + 4.0, foot + 18.0), "10", Side::Last);
                page.sized(
                    (x + 5.0, foot + 13.0),
                    exponent,
                    Side::First,
                    Size::Exponent,
                );
            } else {
                page.text((x, foot + 18.0), self.x.told(at), Side::Middle);
            }
        }
        for at in self.y.ticks() {
            let y = top + HEIGHT * (1.0 - self.y.share(at));
            page.line(vec![(left, y), (right, y)], GRID, 1.0, false);
            let told = self.y.told(at) + self.unit;
            page.text((left - 6.0, y + 4.0), told, Side::Last);
        }
        let corners = [
            (left, top),
            (right, top),
            (right, foot),
            (left, foot),
            (left, top),
        ];
        page.line(corners.to_vec(), FRAME, 1.0, false);
        page.text((left + WIDTH / 2.0, foot + 38.0), self.foot, Side::Middle);
    }

    /// Draws a line through `points`, broken into dashes where wanted; a single one as a
    /// dot.
    pub fn line(
        &self,
        points: impl IntoIterator<Item = (f64, f64)>,
        colour: Colour,
        dashed: bool,
        page: &mut Page,
    ) {
        let places: Vec<Place> = points.into_iter().map(|point| self.place(point)).collect();
        match places[..] {
            [place] => page.dot(place, colour),
            _ => page.line(places, colour, 1.5, dashed),
        }
    }
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

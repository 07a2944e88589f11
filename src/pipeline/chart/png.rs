//! Marks as PNG, at twice the resolution of the SVG. Lines and dots cover a pixel by how
//! near its middle they come; letters are pictures that come with the program, so that
//! the bytes depend on no font of the machine.

use super::{BLACK, Colour, DASH, Mark, Page, Place, RADIUS, Side, Size};
use crate::base::error::{Error, Result};
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};
use std::io::Write;

/// Pixels to a unit of the page.
const SCALE: f64 = 2.0;

/// The page as a PNG.
pub(super) fn page(drawn: &Page) -> Result<Vec<u8>> {
    let mut page = Pixels::white(drawn);
    for mark in &drawn.marks {
        match mark {
            Mark::Line {
                places,
                colour,
                width,
                dashed,
            } => page.line(places, *colour, *width, *dashed),
            Mark::Dot { place, colour } => page.dot(*place, *colour),
            Mark::Text {
                place,
                text,
                side,
                size,
            } => page.text(*place, text, *side, *size),
        }
    }
    page.encoded()
        .map_err(|error| Error::library("writing a plot as PNG", error))
}

/// Rows of pixels, the upper one first.
struct Pixels {
    width: usize,
    height: usize,
    pixels: Vec<Colour>,
}

impl Pixels {
    fn white(page: &Page) -> Self {
        let [width, height] = [page.width, page.height].map(|side| (SCALE * side) as usize);
        Self {
            width,
            height,
            pixels: vec![[0xff; 3]; width * height],
        }
    }

    /// Mixes `colour` into a pixel that it covers to `share`, 0 to 1.
    fn cover(&mut self, x: usize, y: usize, colour: Colour, share: f64) {
        if x >= self.width || y >= self.height {
            return;
        }
        let pixel = &mut self.pixels[y * self.width + x];
        for (below, above) in pixel.iter_mut().zip(colour) {
            let mixed = f64::from(*below) * (1.0 - share) + f64::from(above) * share;
            *below = mixed.round() as u8;
        }
    }

    /// Covers what lies within `radius` pixels of lines, each pixel once.
    fn near(&mut self, lines: &[[Place; 2]], radius: f64, colour: Colour) {
        let mut shares = vec![0f64; self.pixels.len()];
        for &[(x1, y1), (x2, y2)] in lines {
            let span = |one: f64, other: f64, most: usize| {
                let first = (one.min(other) - radius - 1.0).max(0.0) as usize;
                let last = (one.max(other) + radius + 2.0).max(0.0) as usize;
                first..last.min(most)
            };
            for y in span(y1, y2, self.height) {
                for x in span(x1, x2, self.width) {
                    let middle = (x as f64 + 0.5, y as f64 + 0.5);
                    let distance = distance(middle, (x1, y1), (x2, y2));
                    let share = (radius + 0.5 - distance).clamp(0.0, 1.0);
                    let place = y * self.width + x;
                    shares[place] = shares[place].max(share);
                }
            }
        }
        for (place, share) in shares.into_iter().enumerate().filter(|&(_, s)| s > 0.0) {
            self.cover(place % self.width, place / self.width, colour, share);
        }
    }

    fn line(&mut self, places: &[Place], colour: Colour, width: f64, dashed: bool) {
        let mut lines: Vec<[Place; 2]> = places
            .array_windows()
            .map(|ends: &[Place; 2]| ends.map(|(x, y)| (SCALE * x, SCALE * y)))
            .collect();
        if dashed {
            lines = lines.into_iter().flat_map(dashes).collect();
        }
        self.near(&lines, SCALE * width / 2.0, colour);
    }

    fn dot(&mut self, (x, y): Place, colour: Colour) {
        let middle = (SCALE * x, SCALE * y);
        self.near(&[[middle, middle]], SCALE * RADIUS, colour);
    }

    fn text(&mut self, (x, y): Place, text: &str, side: Side, size: Size) {
        let (weight, height) = match size {
            Size::Usual => (FontWeight::Regular, RasterHeight::Size20),
            Size::Title => (FontWeight::Bold, RasterHeight::Size20),
            Size::Exponent => (FontWeight::Regular, RasterHeight::Size16),
        };
        let advance = get_raster_width(weight, height);
        let length = advance * text.chars().count();
        let before = match side {
            Side::First => 0,
            Side::Middle => length / 2,
            Side::Last => length,
        };
        let left = ((SCALE * x) as usize).saturating_sub(before);
        // Letters stand on a line that is four fifths down.
        let top = ((SCALE * y) as usize).saturating_sub(height.val() * 4 / 5);
        for (number, letter) in text.chars().enumerate() {
            let Some(raster) = get_raster(letter, weight, height) else {
                continue;
            };
            for (row, line) in raster.rows().enumerate() {
                for (column, &ink) in line.iter().enumerate() {
                    let x = left + number * advance + column;
                    self.cover(x, top + row, BLACK, f64::from(ink) / 255.0);
                }
            }
        }
    }

    /// The page as a file: signature, header, one piece of compressed rows, end
    /// (PNG specification, third edition, sections 5 and 11).
    fn encoded(&self) -> std::io::Result<Vec<u8>> {
        let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
        let mut header = Vec::new();
        for side in [self.width, self.height] {
            header.extend_from_slice(&(side as u32).to_be_bytes());
        }
        // Eight bits a channel, three channels, the one way of compression and of
        // filtering there is, rows in order.
        header.extend_from_slice(&[8, 2, 0, 0, 0]);
        let mut rows = ZlibEncoder::new(Vec::new(), Compression::best());
        for row in self.pixels.chunks(self.width) {
            // Not filtered.
            rows.write_all(&[0])?;
            rows.write_all(row.as_flattened())?;
        }
        for (kind, bytes) in [
            (b"IHDR", &header[..]),
            (b"IDAT", &rows.finish()?),
            (b"IEND", &[]),
        ] {
            let mut checksum = Crc::new();
            checksum.update(kind);
            checksum.update(bytes);
            png.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
            png.extend_from_slice(kind);
            png.extend_from_slice(bytes);
            png.extend_from_slice(&checksum.sum().to_be_bytes());
        }
        Ok(png)
    }
}

/// How far a place is from the nearest one of a line.
fn distance((x, y): Place, (x1, y1): Place, (x2, y2): Place) -> f64 {
    let (along, up) = (x2 - x1, y2 - y1);
    let length = along * along + up * up;
    let at = match length > 0.0 {
        true => (((x - x1) * along + (y - y1) * up) / length).clamp(0.0, 1.0),
        false => 0.0,
    };
    (x - x1 - at * along).hypot(y - y1 - at * up)
}

/// A line in dashes.
fn dashes([(x1, y1), (x2, y2)]: [Place; 2]) -> impl Iterator<Item = [Place; 2]> {
    let [dash, period] = [DASH[0], DASH[0] + DASH[1]].map(|length| SCALE * length);
    let length = (x2 - x1).hypot(y2 - y1);
    let at = move |share: f64| (x1 + share * (x2 - x1), y1 + share * (y2 - y1));
    (0..(length / period).ceil() as u32).map(move |number| {
        let start = f64::from(number) * period;
        [start, (start + dash).min(length)].map(|place| at(place / length))
    })
}

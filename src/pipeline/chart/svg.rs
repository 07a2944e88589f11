//! Marks as SVG: plain elements, no script and no style sheet.

use super::{Colour, DASH, Mark, Page, Place, RADIUS, Side, Size};
use crate::pipeline::preview::html::escaped;
use std::fmt::Write;

/// The page as an SVG.
pub(super) fn page(page: &Page) -> String {
    let (width, height) = (page.width, page.height);
    // Writing to a String cannot fail.
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for mark in &page.marks {
        element(mark, &mut svg);
    }
    svg.push_str("</svg>\n");
    svg
}

fn element(mark: &Mark, svg: &mut String) {
    let _ = match mark {
        Mark::Line {
            places,
            colour,
            width,
            dashed,
        } => writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\"{}/>",
            points(places),
            hex(*colour),
            dashes(*dashed)
        ),
        Mark::Dot {
            place: (x, y),
            colour,
        } => writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{RADIUS}\" fill=\"{}\"/>",
            hex(*colour)
        ),
        Mark::Text {
            place: (x, y),
            text,
            side,
            size,
        } => writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\"{}{}>{}</text>",
            match side {
                Side::First => "",
                Side::Middle => " text-anchor=\"middle\"",
                Side::Last => " text-anchor=\"end\"",
            },
            match size {
                Size::Usual => "",
                Size::Title => " font-weight=\"bold\"",
                Size::Exponent => " font-size=\"9\"",
            },
            escaped(text)
        ),
    };
}

fn dashes(dashed: bool) -> String {
    let [dash, gap] = DASH;
    match dashed {
        true => format!(" stroke-dasharray=\"{dash} {gap}\""),
        false => String::new(),
    }
}

fn points(places: &[Place]) -> String {
    let places: Vec<String> = places
        .iter()
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    places.join(" ")
}

fn hex([red, green, blue]: Colour) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

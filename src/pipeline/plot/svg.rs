//! Marks as SVG: plain elements, no script and no style sheet.

use super::{Colour, Mark, PAGE, Place, Side, Size};
use std::fmt::Write;

/// A page with these marks.
pub(super) fn page(marks: &[Mark]) -> String {
    let (width, height) = PAGE;
    // Writing to a String cannot fail.
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for mark in marks {
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
            if *dashed {
                " stroke-dasharray=\"2 3\""
            } else {
                ""
            }
        ),
        Mark::Dot {
            place: (x, y),
            colour,
        } => writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{}\"/>",
            hex(*colour)
        ),
        Mark::Text {
            place: (x, y),
            text,
            side,
            size,
        } => writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\"{}{}>{text}</text>",
            match side {
                Side::First => "",
                Side::Middle => " text-anchor=\"middle\"",
                Side::Last => " text-anchor=\"end\"",
            },
            match size {
                Size::Usual => "",
                Size::Title => " font-weight=\"bold\"",
                Size::Exponent => " font-size=\"9\"",
            }
        ),
    };
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

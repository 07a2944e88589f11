//! Masked rows as text for people: a column for each strategy where the width allows
//! it, else one under the other; rates from top to bottom.
//!
//! Two things are told of each token. What stands in the input: `____` as wide as the
//! hidden word for the mask token, `~word` for a random one, the word itself where it
//! was left. And whether it carries a label: by colour, or, without colour, by
//! brackets around what is predicted: `[____]`, `[~word]`, `[word]`.

use super::{Preview, ShownCopy, ShownMask, ShownRow};
use crate::config::Strategy;
use std::fmt::Write;

/// Where the text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Columns of the terminal, at least 24.
    pub width: usize,
    /// Use ANSI colours.
    pub colour: bool,
}

/// No column of text is narrower when strategies stand side by side.
const NARROWEST: usize = 34;
/// Between columns.
const GAP: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Title,
    Faint,
    /// Predicted, and hidden by the mask token.
    Masked,
    /// Predicted, and replaced by a random token.
    Random,
    /// Predicted, and left as it is.
    Same,
    /// Corrupted without a label.
    Unlabelled,
}

impl Style {
    fn ansi(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Title => "\x1b[1m",
            Self::Faint => "\x1b[2m",
            Self::Masked => "\x1b[1;33m",
            Self::Random => "\x1b[1;35m",
            Self::Same => "\x1b[1;32m",
            Self::Unlabelled => "\x1b[36m",
        }
    }

    fn is_predicted(self) -> bool {
        matches!(self, Self::Masked | Self::Random | Self::Same)
    }
}

type Glyph = (char, Style);
type Line = Vec<Glyph>;

impl Preview {
    /// The rows as text, with a legend at the end.
    pub fn render(&self, look: Look) -> String {
        let mut out = String::new();
        let mut seen = Vec::new();
        for row in &self.rows {
            row.render(look, &mut seen, &mut out);
        }
        if let Some(legend) = legend(&seen, look.colour) {
            for line in wrap(&legend, look.width) {
                push_line(&line, look.colour, &mut out);
            }
        }
        out
    }
}

impl ShownRow {
    fn render(&self, look: Look, seen: &mut Vec<(Style, bool)>, out: &mut String) {
        let maskable = self.ids.len() - self.protected.len();
        let title = format!(
            "row {}: {} tokens, {maskable} of them maskable",
            self.row,
            self.ids.len()
        );
        for text in [styled(&title, Style::Title), self.original()] {
            for line in wrap(&text, look.width) {
                push_line(&line, look.colour, out);
            }
        }
        out.push('\n');

        let mut strategies: Vec<Strategy> = Vec::new();
        for mask in &self.masks {
            if !strategies.contains(&mask.strategy) {
                strategies.push(mask.strategy);
            }
        }
        let label = self.masks.iter().map(|m| rate(m).chars().count()).max();
        let label = label.unwrap_or(0) + 2;
        let columns = strategies.len().max(1);
        let column = (look.width.saturating_sub(label + GAP * (columns - 1))) / columns;
        if column >= NARROWEST {
            self.render_table(&strategies, (label, column), look, seen, out);
        } else {
            let column = look.width.saturating_sub(label).max(16);
            for strategy in strategies {
                self.render_table(&[strategy], (label, column), look, seen, out);
            }
        }
    }

    fn render_table(
        &self,
        strategies: &[Strategy],
        (label, column): (usize, usize),
        look: Look,
        seen: &mut Vec<(Style, bool)>,
        out: &mut String,
    ) {
        let mut header = styled(&" ".repeat(label), Style::Plain);
        for (index, &strategy) in strategies.iter().enumerate() {
            if index > 0 {
                pad(&mut header, label + index * (column + GAP));
            }
            header.extend(styled(name(strategy), Style::Title));
        }
        push_line(&header, look.colour, out);
        let mut masks: Vec<&ShownMask> = self
            .masks
            .iter()
            .filter(|mask| strategies.contains(&mask.strategy))
            .collect();
        while !masks.is_empty() {
            let rest = masks.split_off(strategies.len().min(masks.len()));
            let cells: Vec<Vec<Line>> = masks
                .iter()
                .map(|mask| self.cell(mask, column, look.colour, seen))
                .collect();
            let height = cells.iter().map(Vec::len).max().unwrap_or(0);
            for at in 0..height {
                let mut line = Line::new();
                if at == 0 {
                    line.extend(styled(&rate(masks[0]), Style::Title));
                }
                for (index, cell) in cells.iter().enumerate() {
                    if let Some(text) = cell.get(at) {
                        pad(&mut line, label + index * (column + GAP));
                        line.extend_from_slice(text);
                    }
                }
                push_line(&line, look.colour, out);
            }
            out.push('\n');
            masks = rest;
        }
    }

    /// The text of one row under one mask, and what was realised.
    fn cell(
        &self,
        mask: &ShownMask,
        width: usize,
        colour: bool,
        seen: &mut Vec<(Style, bool)>,
    ) -> Vec<Line> {
        let count = mask.copies.len();
        let mut lines = Vec::new();
        for (number, copy) in mask.copies.iter().enumerate() {
            if count > 1 {
                let title = format!("copy {} of {count}", number + 1);
                lines.push(styled(&title, Style::Faint));
            }
            lines.extend(wrap(&self.masked(copy, colour, seen), width));
            lines.extend(wrap(&styled(&shares(copy), Style::Faint), width));
        }
        if count > 1 {
            let all: u64 = mask.copies.iter().map(|copy| copy.realised.predicted).sum();
            let maskable = mask.copies[0].realised.maskable;
            let text = format!("together predicted {}", percent(all, maskable));
            lines.extend(wrap(&styled(&text, Style::Faint), width));
        }
        lines
    }

    /// Positions between the special tokens at the row's edges.
    fn inner(&self) -> std::ops::Range<usize> {
        1..self.ids.len().saturating_sub(1).max(1)
    }

    fn is_protected(&self, place: usize) -> bool {
        self.protected.binary_search(&(place as u32)).is_ok()
    }

    /// The space in front of a token, if any, and its visible text.
    fn token(&self, place: usize) -> (bool, String) {
        let text = &self.tokens[place];
        if self.is_protected(place) {
            let bare = text.trim().trim_matches(['[', ']', '<', '>', '|']);
            return (true, format!("⟨{bare}⟩"));
        }
        visible(text)
    }

    fn original(&self) -> Line {
        let mut line = Line::new();
        for place in self.inner() {
            let (space, text) = self.token(place);
            if space && !line.is_empty() {
                line.push((' ', Style::Plain));
            }
            line.extend(styled(&text, Style::Plain));
        }
        line
    }

    fn masked(&self, copy: &ShownCopy, colour: bool, seen: &mut Vec<(Style, bool)>) -> Line {
        let fates: Vec<(Style, Stands)> = (0..self.ids.len())
            .map(|place| self.fate(copy, place))
            .collect();
        let mut line = Line::new();
        for place in self.inner() {
            let (style, stands) = fates[place];
            if style != Style::Plain {
                let kind = (style, stands == Stands::Mask);
                if !seen.contains(&kind) {
                    seen.push(kind);
                }
            }
            let (space, text) = self.token(place);
            if space && !line.is_empty() {
                line.push((' ', Style::Plain));
            }
            let bracket = |neighbour: usize| {
                !colour && style.is_predicted() && !fates[neighbour].0.is_predicted()
            };
            if bracket(place - 1) {
                line.push(('[', style));
            }
            match stands {
                Stands::Mask => {
                    let blank = "_".repeat(columns(&text).max(1));
                    line.extend(styled(&blank, style));
                }
                Stands::Random => {
                    let (_, other) = visible(&copy.input_tokens[place]);
                    line.extend(styled(&format!("~{other}"), style));
                }
                Stands::Original => line.extend(styled(&text, style)),
            }
            if bracket(place + 1) {
                line.push((']', style));
            }
        }
        line
    }

    fn fate(&self, copy: &ShownCopy, place: usize) -> (Style, Stands) {
        let predicted = copy.predicted.binary_search(&(place as u32)).is_ok();
        let stands = if copy.input[place] == self.ids[place] {
            Stands::Original
        } else if Some(copy.input[place]) == self.mask {
            Stands::Mask
        } else {
            Stands::Random
        };
        let style = match (predicted, stands) {
            (true, Stands::Mask) => Style::Masked,
            (true, Stands::Random) => Style::Random,
            (true, Stands::Original) => Style::Same,
            (false, Stands::Original) => Style::Plain,
            (false, _) => Style::Unlabelled,
        };
        (style, stands)
    }
}

/// What stands at a position of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Mask,
    Random,
    Original,
}

fn name(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Uniform => "uniform",
        Strategy::Word => "whole words",
        Strategy::Pmi => "PMI units",
        Strategy::Span => "spans",
        Strategy::Geometric => "geometric spans",
        Strategy::Ngram => "n-gram spans",
    }
}

/// `40 %`, or `20/40 %` where m_pred is not m_corr.
fn rate(mask: &ShownMask) -> String {
    let number = |rate: f64| {
        let text = format!("{:.1}", 100.0 * rate);
        text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
    };
    if mask.corruption_rate == mask.prediction_rate {
        return format!("{} %", number(mask.corruption_rate));
    }
    let (corruption, prediction) = (mask.corruption_rate, mask.prediction_rate);
    format!("{}/{} %", number(corruption), number(prediction))
}

fn percent(count: u64, all: u64) -> String {
    format!("{:.1} %", 100.0 * count as f64 / all.max(1) as f64)
}

fn shares(copy: &ShownCopy) -> String {
    let realised = &copy.realised;
    let mut text = format!("masked {}", percent(realised.masked, realised.maskable));
    for (name, count) in [("random", realised.random), ("same", realised.same)] {
        if count > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, ", {name} {}", percent(count, realised.maskable));
        }
    }
    let _ = write!(
        text,
        ", predicted {}",
        percent(realised.predicted, realised.maskable)
    );
    text
}

/// What the marks that were used mean.
fn legend(seen: &[(Style, bool)], colour: bool) -> Option<Line> {
    let kinds = [
        ((Style::Masked, true), "____", "masked and predicted"),
        (
            (Style::Random, false),
            "~word",
            "replaced by a random token, predicted",
        ),
        ((Style::Same, false), "word", "left as it is, predicted"),
        ((Style::Unlabelled, true), "____", "masked, not predicted"),
        (
            (Style::Unlabelled, false),
            "~word",
            "replaced, not predicted",
        ),
    ];
    let mut line = Line::new();
    for (kind, sample, meaning) in kinds {
        if !seen.contains(&kind) {
            continue;
        }
        if !line.is_empty() {
            line.extend(styled("   ", Style::Plain));
        }
        let sample = if !colour && kind.0.is_predicted() {
            format!("[{sample}]")
        } else {
            sample.to_owned()
        };
        line.extend(styled(&sample, kind.0));
        line.extend(styled(&format!(" {meaning}"), Style::Faint));
    }
    (!line.is_empty()).then_some(line)
}

/// The space in front of a token's text, if any, and the text with what cannot be
/// seen made visible.
fn visible(text: &str) -> (bool, String) {
    let (space, body) = match text.strip_prefix(' ') {
        Some(body) if !body.is_empty() => (true, body),
        _ => (false, text),
    };
    let body = body
        .chars()
        .map(|c| match c {
            '\n' => '⏎',
            c if c.is_whitespace() => '␣',
            c if c.is_control() => '�',
            c => c,
        })
        .collect();
    (space, body)
}

fn styled(text: &str, style: Style) -> Line {
    text.chars().map(|c| (c, style)).collect()
}

/// Columns of a terminal that a character takes: two for Chinese, Japanese, Korean
/// and emoji, none for combining marks (Unicode, East Asian Width, the large blocks).
fn wide(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36F | 0x200B..=0x200F | 0xFE00..=0xFE0F => 0,
        0x1100..=0x115F
        | 0x2E80..=0x303E
        | 0x3041..=0xA4CF
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60
        | 0x1F300..=0x1FAFF
        | 0x20000..=0x3FFFD => 2,
        _ => 1,
    }
}

fn columns(text: &str) -> usize {
    text.chars().map(wide).sum()
}

fn line_columns(line: &[Glyph]) -> usize {
    line.iter().map(|&(c, _)| wide(c)).sum()
}

fn pad(line: &mut Line, to: usize) {
    for _ in line_columns(line)..to {
        line.push((' ', Style::Plain));
    }
}

/// Cuts `text` at spaces into lines of at most `width` columns; a longer word is cut
/// inside.
fn wrap(text: &[Glyph], width: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = Line::new();
    for word in text.split(|&(c, _)| c == ' ') {
        if !line.is_empty() && line_columns(&line) + 1 + line_columns(word) > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push((' ', Style::Plain));
        }
        for &glyph in word {
            if line_columns(&line) + wide(glyph.0) > width {
                lines.push(std::mem::take(&mut line));
            }
            line.push(glyph);
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

fn push_line(line: &[Glyph], colour: bool, out: &mut String) {
    let mut current = Style::Plain;
    for &(c, style) in line {
        // A space looks the same in every style.
        if colour && style != current && c != ' ' {
            if current != Style::Plain {
                out.push_str("\x1b[0m");
            }
            out.push_str(style.ansi());
            current = style;
        }
        out.push(c);
    }
    if current != Style::Plain {
        out.push_str("\x1b[0m");
    }
    while out.ends_with(' ') {
        out.pop();
    }
    out.push('\n');
}

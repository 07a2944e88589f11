//! Masked rows as text for people: a column for each way where the width allows it,
//! else one under the other; rates from top to bottom; what was realised at the end.
//!
//! Two things are told of each token. What stands in the input: `____` as wide as the
//! hidden word for the mask token, `~word` for a random one, the word itself where it
//! was left, `…2` for two tokens taken out, `⟨0⟩` for a sentinel. And whether it carries
//! a label: by colour, or, without colour, by brackets around what is predicted:
//! `[____]`, `[~word]`, `[word]`. What is one unit, word or span hangs together by `‿`.

pub use super::glyphs::Look;

use super::glyphs::{Line, Style, columns, pad, push_line, push_lines, styled, wrap};
use super::pieces::{Piece, Stands};
use super::{Preview, ShownMask, ShownRow, ShownWay, figures};
use crate::config::Strategy;

/// No column of text is narrower when ways stand side by side.
const NARROWEST: usize = 34;
/// Between columns.
const GAP: usize = 3;

impl Style {
    fn of(piece: &Piece) -> Self {
        match (piece.stands, piece.predicted) {
            (Stands::Sentinel(_), _) => Self::Sentinel,
            (Stands::Special, _) | (Stands::Original, false) => Self::Plain,
            (Stands::Original, true) => Self::Same,
            (Stands::Mask | Stands::Gap(_), true) => Self::Masked,
            (Stands::Random, true) => Self::Random,
            (_, false) => Self::Unlabelled,
        }
    }
}

/// Marks that are used, for the legend.
#[derive(Default)]
struct Seen {
    /// By style and sample of [`MARKS`].
    marks: Vec<(Style, &'static str)>,
    joined: bool,
    target: bool,
    unlabelled_target: bool,
}

/// What each mark means: its style, how it looks, and the words for it.
const MARKS: [(Style, &str, &str); 8] = [
    (Style::Masked, "____", "masked and predicted"),
    (
        Style::Random,
        "~word",
        "replaced by a random token, predicted",
    ),
    (Style::Same, "word", "left as it is, predicted"),
    (Style::Masked, "…2", "2 tokens taken out, predicted"),
    (Style::Unlabelled, "____", "masked, not predicted"),
    (Style::Unlabelled, "~word", "replaced, not predicted"),
    (
        Style::Unlabelled,
        "(…2)",
        "2 tokens taken out, not predicted",
    ),
    (
        Style::Sentinel,
        "⟨0⟩",
        "sentinel <extra_id_0>, for what stands behind it in the target",
    ),
];

impl Seen {
    fn note(&mut self, style: Style, stands: Stands) {
        let sample = match (style, stands) {
            (_, Stands::Mask) => "____",
            (_, Stands::Random) => "~word",
            (Style::Unlabelled, Stands::Gap(_)) => "(…2)",
            (_, Stands::Gap(_)) => "…2",
            (_, Stands::Sentinel(_)) => "⟨0⟩",
            (Style::Same, _) => "word",
            _ => return,
        };
        if !self.marks.contains(&(style, sample)) {
            self.marks.push((style, sample));
        }
    }

    /// What the marks that were used mean.
    fn legend(&self, colour: bool) -> Option<Line> {
        let mut parts: Vec<Line> = Vec::new();
        for (style, sample, meaning) in MARKS {
            if !self.marks.contains(&(style, sample)) {
                continue;
            }
            let bracketed = !colour && !matches!(style, Style::Unlabelled | Style::Sentinel);
            let sample = if bracketed {
                format!("[{sample}]")
            } else {
                sample.to_owned()
            };
            let mut part = styled(&sample, style);
            part.extend(styled(&format!(" {meaning}"), Style::Faint));
            parts.push(part);
        }
        if self.joined {
            parts.push(styled("a‿b one unit or span", Style::Faint));
        }
        if self.target {
            let labelled = match (self.unlabelled_target, colour) {
                (false, _) => "all of it predicted",
                (true, false) => "what is in brackets predicted",
                (true, true) => "what is coloured predicted",
            };
            let text = format!("target: what the decoder generates, {labelled}");
            parts.push(styled(&text, Style::Faint));
        }
        let legend = parts.join(&styled("   ", Style::Plain)[..]);
        (!legend.is_empty()).then_some(legend)
    }
}

impl Preview {
    /// The rows as text, with what was realised and a legend at the end.
    pub fn render(&self, look: Look) -> String {
        let mut out = String::new();
        let mut seen = Seen::default();
        let titles: Vec<String> = self.ways.iter().map(figures::title).collect();
        for row in &self.rows {
            row.render(&self.ways, &titles, look, &mut seen, &mut out);
        }
        if self.rows.len() > 1 {
            self.render_totals(&titles, look, &mut out);
        }
        for total in &self.totals {
            for warning in figures::warnings(&total.realised) {
                let text = format!("warning: {}: {warning}", total.way);
                push_lines(&styled(&text, Style::Warning), look, &mut out);
            }
        }
        if let Some(legend) = seen.legend(look.colour) {
            push_lines(&legend, look, &mut out);
        }
        out
    }

    fn render_totals(&self, titles: &[String], look: Look, out: &mut String) {
        let maskable = self.totals.first().map_or(0, |total| total.maskable);
        let text = format!("all {} rows: {maskable} maskable tokens", self.rows.len());
        push_lines(&styled(&text, Style::Title), look, out);
        let all: Vec<(String, String)> = self
            .totals
            .iter()
            .zip(self.ways.iter().cycle())
            .map(|(total, way)| figures::total(total, way.masking.layout))
            .collect();
        let widest = |texts: &mut dyn Iterator<Item = &str>| texts.map(columns).max().unwrap_or(0);
        let first = widest(&mut titles.iter().map(String::as_str)) + 2;
        let second = first + widest(&mut all.iter().map(|(asked, _)| asked.as_str())) + 2;
        for ((asked, realised), title) in all.iter().zip(titles.iter().cycle()) {
            let mut line = styled(title, Style::Plain);
            pad(&mut line, first);
            line.extend(styled(asked, Style::Title));
            pad(&mut line, second);
            line.extend(styled(realised, Style::Faint));
            push_lines(&line, look, out);
        }
        out.push('\n');
    }
}

impl ShownRow {
    fn render(
        &self,
        ways: &[ShownWay],
        titles: &[String],
        look: Look,
        seen: &mut Seen,
        out: &mut String,
    ) {
        let title = format!(
            "row {}: {} tokens, {} of them maskable",
            self.row,
            self.ids.len(),
            self.maskable()
        );
        push_lines(&styled(&title, Style::Title), look, out);
        let mut original = self.original();
        let units = |one: &crate::config::MaskingConfig| one.strategy == Strategy::Pmi;
        if !ways.iter().any(|way| way.masking.components().any(units)) {
            original.iter_mut().for_each(|piece| piece.joined = false);
        }
        push_lines(&line_of(&original, look.colour, seen), look, out);
        out.push('\n');

        let blocks: Vec<&[ShownMask]> = self.masks.chunks(titles.len().max(1)).collect();
        let labels: Vec<Option<String>> =
            blocks.iter().map(|block| figures::label(block)).collect();
        let label = match labels.iter().flatten().map(|label| columns(label)).max() {
            Some(widest) => widest + 2,
            None => 0,
        };
        let count = titles.len().max(1);
        let column = look.width.saturating_sub(label + GAP * (count - 1)) / count;
        let beside = column >= NARROWEST;
        let tables = if beside { 1 } else { count };
        for table in 0..tables {
            let range = if beside { 0..count } else { table..table + 1 };
            let column = if beside {
                column
            } else {
                look.width.saturating_sub(label).max(16)
            };
            let place = |index: usize| label + index * (column + GAP);
            let mut header = Line::new();
            for (index, title) in titles[range.clone()].iter().enumerate() {
                pad(&mut header, place(index));
                header.extend(styled(title, Style::Title));
            }
            push_line(&header, look.colour, out);
            for (block, label) in blocks.iter().zip(&labels) {
                let cells: Vec<Vec<Line>> = block[range.clone()]
                    .iter()
                    .map(|mask| self.cell(mask, label.as_deref(), column, look.colour, seen))
                    .collect();
                let height = cells.iter().map(Vec::len).max().unwrap_or(0);
                for at in 0..height {
                    let mut line = Line::new();
                    if at == 0 {
                        let label = label.as_deref().unwrap_or_default();
                        line.extend(styled(label, Style::Title));
                    }
                    for (index, cell) in cells.iter().enumerate() {
                        if let Some(text) = cell.get(at) {
                            pad(&mut line, place(index));
                            line.extend_from_slice(text);
                        }
                    }
                    push_line(&line, look.colour, out);
                }
                out.push('\n');
            }
        }
    }

    /// The text of one row under one mask, and what was realised.
    fn cell(
        &self,
        mask: &ShownMask,
        label: Option<&str>,
        width: usize,
        colour: bool,
        seen: &mut Seen,
    ) -> Vec<Line> {
        let count = mask.copies.len();
        let mut lines = Vec::new();
        let faint = |text: &str, lines: &mut Vec<Line>| {
            lines.extend(wrap(&styled(text, Style::Faint), width))
        };
        if let Some(head) = figures::head(mask, label) {
            lines.extend(wrap(&styled(&head, Style::Title), width));
        }
        for (number, copy) in mask.copies.iter().enumerate() {
            if count > 1 {
                faint(&format!("copy {} of {count}", number + 1), &mut lines);
            }
            let input = self.input(mask, copy);
            lines.extend(wrap(&line_of(&input, colour, seen), width));
            if let Some(target) = self.target(mask, copy).filter(|pieces| !pieces.is_empty()) {
                lines.extend(wrap(&target_line(&target, colour, seen), width));
            }
            faint(&figures::shares(mask, copy), &mut lines);
            for warning in figures::warnings(&copy.realised) {
                lines.extend(wrap(
                    &styled(&format!("! {warning}"), Style::Warning),
                    width,
                ));
            }
        }
        if count > 1 {
            faint(&figures::together(mask), &mut lines);
        }
        lines
    }
}

/// A row of the input.
fn line_of(pieces: &[Piece], colour: bool, seen: &mut Seen) -> Line {
    let mut line = Line::new();
    for (index, piece) in pieces.iter().enumerate() {
        let style = Style::of(piece);
        seen.note(style, piece.stands);
        if piece.space && !line.is_empty() {
            seen.joined |= piece.joined;
            line.push((if piece.joined { '‿' } else { ' ' }, style));
        }
        let labelled = |piece: Option<&Piece>| piece.is_some_and(|piece| piece.predicted);
        let before = index.checked_sub(1).and_then(|before| pieces.get(before));
        if !colour && piece.predicted && !labelled(before) {
            line.push(('[', style));
        }
        let text = match piece.stands {
            Stands::Mask => "_".repeat(columns(&piece.text).max(1)),
            Stands::Random => format!("~{}", piece.text),
            Stands::Gap(count) if piece.predicted => format!("…{count}"),
            Stands::Gap(count) => format!("(…{count})"),
            Stands::Sentinel(number) => format!("⟨{number}⟩"),
            Stands::Original | Stands::Special => piece.text.clone(),
        };
        line.extend(styled(&text, style));
        if !colour && piece.predicted && !labelled(pieces.get(index + 1)) {
            line.push((']', style));
        }
    }
    line
}

/// A row of the target: brackets only where something is not predicted.
fn target_line(pieces: &[Piece], colour: bool, seen: &mut Seen) -> Line {
    let all = pieces.iter().all(|piece| piece.predicted);
    seen.target = true;
    seen.unlabelled_target |= !all;
    let mut line = styled("target:", Style::Faint);
    for (index, piece) in pieces.iter().enumerate() {
        let style = match piece.stands {
            Stands::Sentinel(_) => Style::Sentinel,
            _ if piece.predicted => Style::Masked,
            _ => Style::Plain,
        };
        if piece.space {
            line.push((' ', style));
        }
        let labelled = |piece: Option<&Piece>| piece.is_some_and(|piece| piece.predicted);
        let before = index.checked_sub(1).and_then(|before| pieces.get(before));
        let brackets = !colour && !all && piece.predicted;
        if brackets && !labelled(before) {
            line.push(('[', style));
        }
        match piece.stands {
            Stands::Sentinel(number) => line.extend(styled(&format!("⟨{number}⟩"), style)),
            _ => line.extend(styled(&piece.text, style)),
        }
        if brackets && !labelled(pieces.get(index + 1)) {
            line.push((']', style));
        }
    }
    line
}

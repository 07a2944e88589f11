//! Setting type on a terminal: styles, columns, and lines of a width.

/// Where the text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Columns of the terminal, at least 24.
    pub width: usize,
    /// Use ANSI colours.
    pub colour: bool,
}

/// What a character tells besides itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Title,
    Faint,
    Warning,
    /// Predicted, and hidden by the mask token or taken out.
    Masked,
    /// Predicted, and replaced by a random token.
    Random,
    /// Predicted, and left as it is.
    Same,
    /// Corrupted without a label.
    Unlabelled,
    /// A sentinel.
    Sentinel,
}

impl Style {
    fn ansi(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Title => "\x1b[1m",
            Self::Faint => "\x1b[2m",
            Self::Warning => "\x1b[1;31m",
            Self::Masked => "\x1b[1;33m",
            Self::Random => "\x1b[1;35m",
            Self::Same => "\x1b[1;32m",
            Self::Unlabelled => "\x1b[36m",
            Self::Sentinel => "\x1b[1;34m",
        }
    }
}

/// A character and its style.
pub type Glyph = (char, Style);
/// Characters on one line, or to be cut into lines.
pub type Line = Vec<Glyph>;

/// `text` in one style.
pub fn styled(text: &str, style: Style) -> Line {
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

/// Columns that `text` takes.
pub fn columns(text: &str) -> usize {
    text.chars().map(wide).sum()
}

fn line_columns(line: &[Glyph]) -> usize {
    line.iter().map(|&(c, _)| wide(c)).sum()
}

/// Fills `line` up with spaces to column `to`.
pub fn pad(line: &mut Line, to: usize) {
    for _ in line_columns(line)..to {
        line.push((' ', Style::Plain));
    }
}

/// Cuts `text` at spaces, and behind what joins a unit, into lines of at most `width`
/// columns; a longer word is cut inside.
pub fn wrap(text: &[Glyph], width: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = Line::new();
    let mut spaced = false;
    for part in text.split_inclusive(|&(c, _)| c == ' ' || c == '‿') {
        let (word, space) = match part.split_last() {
            Some(((' ', _), word)) => (word, true),
            _ => (part, false),
        };
        if !line.is_empty()
            && line_columns(&line) + usize::from(spaced) + line_columns(word) > width
        {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() && spaced {
            line.push((' ', Style::Plain));
        }
        for &glyph in word {
            if line_columns(&line) + wide(glyph.0) > width {
                lines.push(std::mem::take(&mut line));
            }
            line.push(glyph);
        }
        spaced = space;
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// Cuts `text` into lines of `look` and writes them.
pub fn push_lines(text: &[Glyph], look: Look, out: &mut String) {
    for line in wrap(text, look.width) {
        push_line(&line, look.colour, out);
    }
}

/// Writes one line, without spaces at its end.
pub fn push_line(line: &[Glyph], colour: bool, out: &mut String) {
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

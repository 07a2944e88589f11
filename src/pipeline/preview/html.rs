//! Masked rows as one page that can be sent: no script, no font, no image, nothing
//! fetched. About 200 bytes a token and mask.
//!
//! Fates are told apart by colour (Okabe and Ito's, which colour-blind readers tell
//! apart) and by mark: a solid line below what is predicted, a dashed one around what
//! is not, `~` before random tokens, `=` before tokens left as they are.

use super::batch::ShownBatch;
use super::pieces::{Piece, Stands};
use super::{Preview, ShownCopy, ShownMask, ShownRow, ShownTokenizer, figures};

/// Colours and layout; light and dark, narrow screens, and paper.
const STYLE: &str = include_str!("page.css");

/// The marks and what they mean.
const LEGEND: [(&str, &str, &str); 10] = [
    (
        "t m p",
        "the",
        "masked and predicted (point at it, or show hidden words)",
    ),
    ("t r p", "word", "replaced by a random token, predicted"),
    ("t s p", "word", "left as it is, predicted"),
    ("t m c", "the", "masked, not predicted"),
    ("t r c", "word", "replaced by a random token, not predicted"),
    ("t g p", "2", "2 tokens taken out, predicted"),
    ("t g c", "2", "2 tokens taken out, not predicted"),
    (
        "t x",
        "⟨0⟩",
        "sentinel, for what stands behind it in the target",
    ),
    ("t y p", "word", "to be generated"),
    ("u", "several words", "one unit of the masking vocabulary"),
];

/// The page, as UTF-8.
pub fn page(preview: &Preview) -> String {
    let titles: Vec<String> = preview.ways.iter().map(figures::title).collect();
    let mut rows = String::new();
    for row in &preview.rows {
        row_section(row, &titles, &mut rows);
    }
    let facts = [
        ("text", preview.source.clone()),
        ("tokenizer", named(&preview.tokenizer)),
        ("tokens in a row", preview.length.to_string()),
        ("seed", preview.seed.to_string()),
        ("epoch", preview.epoch.to_string()),
        ("step", preview.step.to_string()),
        ("made by", format!("cloze {}", preview.version)),
    ];
    let legend = legend(&rows);
    totals(preview, &titles, &mut rows);
    whole(&preview.source, &facts, &legend, &rows)
}

/// A batch as a page like [`page`], as UTF-8.
pub fn batch(batch: &ShownBatch) -> String {
    let mut rows = String::new();
    for row in &batch.rows {
        for mask in &row.masks {
            let rates = figures::rates(mask.corruption_rate, mask.prediction_rate);
            rows += "<section>\n";
            cell(row, mask, Some(&rates), &mut rows);
            rows += "</section>\n";
        }
    }
    let shown = match batch.count - batch.rows.len() {
        0 => figures::rows(batch.count),
        _ => format!("{} of {}", batch.rows.len(), figures::rows(batch.count)),
    };
    let facts = [
        ("batch", shown),
        ("tokens in a row", batch.length.to_string()),
        ("tokenizer", format!("{} entries", batch.tokenizer.entries)),
        ("all rows", batch.shares()),
    ];
    whole("a batch", &facts, &legend(&rows), &rows)
}

/// A page of `rows` under `facts`.
fn whole(source: &str, facts: &[(&str, String)], legend: &str, rows: &str) -> String {
    let mut out = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n");
    out += "<meta charset=\"utf-8\">\n";
    out += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    // Whatever the text says, a browser fetches and runs nothing.
    out += "<meta http-equiv=\"Content-Security-Policy\" \
            content=\"default-src 'none'; style-src 'unsafe-inline'\">\n";
    out += &format!("<title>Masked text: {}</title>\n", escaped(source));
    out += &format!("<style>\n{STYLE}</style>\n</head>\n<body>\n");
    out += "<h1>Masked text</h1>\n<dl>\n";
    for (name, value) in facts {
        out += &format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escaped(value));
    }
    out += "</dl>\n<input type=\"checkbox\" id=\"reveal\"> \
            <label for=\"reveal\">show hidden words</label>\n";
    out += legend;
    out += "<main>\n";
    out += rows;
    out += "</main>\n</body>\n</html>\n";
    out
}

fn named(tokenizer: &ShownTokenizer) -> String {
    format!("{}, {} entries", tokenizer.name, tokenizer.entries)
}

/// The marks that `rows` uses.
fn legend(rows: &str) -> String {
    let mut out = String::from("<ul class=\"legend\">\n");
    for (class, sample, meaning) in LEGEND {
        if rows.contains(&format!("class=\"{class}")) {
            out += &format!("<li><span class=\"{class}\">{sample}</span> {meaning}</li>\n");
        }
    }
    out + "</ul>\n"
}

fn row_section(row: &ShownRow, titles: &[String], out: &mut String) {
    *out += &format!(
        "<section>\n<h2>Row {}</h2>\n<p class=\"note\">{} tokens, {} of them maskable</p>\n",
        row.row,
        row.ids.len(),
        row.maskable()
    );
    out.push_str("<p class=\"text\" dir=\"auto\">");
    original(row, out);
    out.push_str("</p>\n<table>\n<thead><tr><th scope=\"col\">rate</th>");
    for title in titles {
        *out += &format!("<th scope=\"col\">{}</th>", escaped(title));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for block in row.masks.chunks(titles.len().max(1)) {
        let label = figures::label(block);
        *out += &format!(
            "<tr><th scope=\"row\">{}</th>\n",
            label.as_deref().unwrap_or("its own")
        );
        for (mask, title) in block.iter().zip(titles) {
            *out += &format!("<td data-way=\"{}\">", escaped(title));
            cell(row, mask, label.as_deref(), out);
            out.push_str("</td>\n");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</section>\n");
}

/// The row as it was, units of several words underlined.
fn original(row: &ShownRow, out: &mut String) {
    let pieces = row.original();
    let mut index = 0;
    while index < pieces.len() {
        let unit = 1 + pieces[index + 1..]
            .iter()
            .take_while(|piece| piece.joined)
            .count();
        let several = pieces[index + 1..index + unit]
            .iter()
            .any(|piece| piece.space);
        if pieces[index].space && index > 0 {
            out.push(' ');
        }
        if several {
            out.push_str("<span class=\"u\">");
        }
        for (place, piece) in pieces[index..index + unit].iter().enumerate() {
            if piece.space && place > 0 {
                out.push(' ');
            }
            out.push_str(&escaped(&piece.text));
        }
        if several {
            out.push_str("</span>");
        }
        index += unit;
    }
}

fn cell(row: &ShownRow, mask: &ShownMask, label: Option<&str>, out: &mut String) {
    if let Some(head) = figures::head(mask, label) {
        *out += &format!("<p class=\"head\">{}</p>", escaped(&head));
    }
    let count = mask.copies.len();
    for (number, copy) in mask.copies.iter().enumerate() {
        if count > 1 {
            *out += &format!("<p class=\"note\">copy {} of {count}</p>", number + 1);
        }
        out.push_str("<p class=\"text\" dir=\"auto\">");
        tokens(&row.input(mask, copy), input_class, out);
        out.push_str("</p>");
        if let Some(target) = row.target(mask, copy).filter(|pieces| !pieces.is_empty()) {
            out.push_str("<p class=\"text target\" dir=\"auto\"><b>target</b>");
            tokens(&target, target_class, out);
            out.push_str("</p>");
        }
        bar(copy, out);
        *out += &format!("<p class=\"note\">{}</p>", figures::shares(mask, copy));
        for warning in figures::warnings(&copy.realised) {
            *out += &format!("<p class=\"warning\">{warning}</p>");
        }
    }
    if count > 1 {
        *out += &format!("<p class=\"note\">{}</p>", figures::together(mask));
    }
}

/// What was realised as lengths.
fn bar(copy: &ShownCopy, out: &mut String) {
    let realised = &copy.realised;
    out.push_str("<div class=\"bar\" aria-hidden=\"true\">");
    for (class, count) in [
        ("m", realised.masked),
        ("r", realised.random),
        ("s", realised.same),
    ] {
        if count > 0 {
            let share = 100.0 * count as f64 / realised.maskable.max(1) as f64;
            *out += &format!("<i class=\"{class}\" style=\"width:{share:.1}%\"></i>");
        }
    }
    out.push_str("</div>");
}

/// Tokens, each with its fate; what is one unit, word or span is drawn without a gap.
fn tokens(pieces: &[Piece], class: impl Fn(&Piece) -> Option<&'static str>, out: &mut String) {
    for (index, piece) in pieces.iter().enumerate() {
        let space = if piece.space && index > 0 { " " } else { "" };
        let Some(class) = class(piece) else {
            *out += &format!("{space}{}", escaped(&piece.text));
            continue;
        };
        // The space before what goes on with a unit is part of it.
        let (before, joined, inside) = match piece.joined {
            true => ("", " j", space),
            false => (space, "", ""),
        };
        *out += &format!("{before}<span class=\"t {class}{joined}\"");
        let hides = !matches!(piece.stands, Stands::Original | Stands::Special);
        if hides {
            let original = escaped(&piece.original);
            *out += &format!(" title=\"{original}\" data-o=\"{original}\"");
        }
        let text = match piece.stands {
            Stands::Gap(count) => count.to_string(),
            Stands::Sentinel(number) => format!("⟨{number}⟩"),
            _ => escaped(&piece.text),
        };
        *out += &format!(">{inside}{text}</span>");
    }
}

/// The style of a token of the input that is not as it was.
fn input_class(piece: &Piece) -> Option<&'static str> {
    Some(match (piece.stands, piece.predicted) {
        (Stands::Mask, true) => "m p",
        (Stands::Mask, false) => "m c",
        (Stands::Random, true) => "r p",
        (Stands::Random, false) => "r c",
        (Stands::Original | Stands::Special, true) => "s p",
        (Stands::Gap(_), true) => "g p",
        (Stands::Gap(_), false) => "g c",
        (Stands::Sentinel(_), _) => "x",
        (Stands::Original | Stands::Special, false) => return None,
    })
}

/// The style of a token of the target.
fn target_class(piece: &Piece) -> Option<&'static str> {
    match piece.stands {
        Stands::Sentinel(_) => Some("x"),
        _ => piece.predicted.then_some("y p"),
    }
}

/// What each way realised over all rows.
fn totals(preview: &Preview, titles: &[String], out: &mut String) {
    *out += &format!(
        "<section>\n<h2>Realised over {}</h2>\n<table class=\"totals\">\n<thead><tr>\
         <th scope=\"col\">way</th><th scope=\"col\">asked</th>\
         <th scope=\"col\">realised</th></tr></thead>\n<tbody>\n",
        figures::rows(preview.rows.len())
    );
    let columns = preview.ways.iter().zip(titles).cycle();
    for (total, (way, title)) in preview.totals.iter().zip(columns) {
        let (asked, realised) = figures::total(total, way.masking.layout);
        *out += &format!(
            "<tr><th scope=\"row\">{}</th><td>{asked}</td><td>{realised}",
            escaped(title)
        );
        for warning in figures::warnings(&total.realised) {
            *out += &format!("<p class=\"warning\">{warning}</p>");
        }
        out.push_str("</td></tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</section>\n");
}

/// `text` as it may stand between tags and in attributes.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

//! The page: safe whatever the text says, whole in one file, and telling fates apart.

use super::*;
use crate::pipeline::preview::html::page;

/// A page of one row under one mask.
fn page_of(mut row: ShownRow, masks: Vec<ShownMask>) -> String {
    row.masks = masks;
    page(&preview_of(row))
}

fn masked(words: &[&str], input: &[(TokenId, &str)], predicted: &[u32]) -> String {
    let row = row(words);
    let copy = in_place(&row, input, predicted);
    let mask = mask(Strategy::Uniform, Layout::InPlace, vec![copy]);
    page_of(row, vec![mask])
}

/// The part of a page below its head.
fn body(page: &str) -> &str {
    page.split_once("<body>").unwrap().1
}

#[test]
fn text_stays_text() {
    let words = [
        " <script>alert(1)</script>",
        " \"quoted\"",
        " it's",
        " R&D",
        " &lt;",
        " \u{202E}drowned",
        " 数学",
    ];
    let input = [HIDDEN, HIDDEN, HIDDEN, LEFT, LEFT, LEFT, HIDDEN];
    let page = masked(&words, &input, &[1, 2, 3, 7]);
    assert!(!page.contains("<script"), "{page}");
    assert!(!page.contains('\u{202E}'));
    for spelled in [
        "title=\"&lt;script&gt;alert(1)&lt;/script&gt;\"",
        "title=\"&quot;quoted&quot;\"",
        "title=\"it&#39;s\"",
        " R&amp;D &amp;lt; �drowned ",
        "title=\"数学\"",
    ] {
        assert!(page.contains(spelled), "{spelled}: {page}");
    }

    let mut hostile = preview_of(row(&HOUND));
    hostile.source = "</title><img src=x onerror=alert(1)>".into();
    hostile.tokenizer.name = "<b>".into();
    let page = html::page(&hostile);
    assert!(!page.contains("<img") && !page.contains("<b>,"), "{page}");
}

#[test]
fn nothing_is_fetched_and_nothing_runs() {
    let page = masked(&HOUND, &[HIDDEN, (50, " sea")], &[1, 2]);
    for outside in [
        "http:", "https:", "//", "src=", "href=", "url(", "@import", "<script", "<link",
    ] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("content=\"default-src 'none'; style-src 'unsafe-inline'\""));
    assert!(page.contains("<meta charset=\"utf-8\">"));
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("@media print"));
}

#[test]
fn every_element_that_opens_closes() {
    let row = row(&HOUND);
    let mut copies = vec![in_place(&row, &[HIDDEN, (50, " sea")], &[1, 2, 3]); 2];
    copies[0].realised.capped = 3;
    let masks = vec![
        mask(Strategy::Uniform, Layout::InPlace, copies),
        mask(
            Strategy::Word,
            Layout::Removed,
            vec![removed(&row, &[2, 3], &[2])],
        ),
        mask(
            Strategy::Span,
            Layout::Sentinel,
            vec![sentinels(&row, &[0, 1, 2, 3, 4, 5])],
        ),
    ];
    let page = page_of(row, masks);
    let mut open: Vec<&str> = Vec::new();
    for tag in page
        .split('<')
        .skip(1)
        .map(|rest| rest.split_once('>').unwrap().0)
    {
        let name = tag.split_whitespace().next().unwrap();
        match name.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed), "{page}"),
            None if matches!(name, "!DOCTYPE" | "meta" | "input") => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn each_fate_has_a_class_a_title_and_a_line_of_the_legend() {
    let input = [HIDDEN, (50, " sea"), LEFT, HIDDEN, (51, " fog")];
    let page = masked(&HOUND, &input, &[1, 2, 3]);
    for (span, meaning) in [
        (
            "<span class=\"t m p\" title=\"the\" data-o=\"the\">the</span>",
            "masked and predicted",
        ),
        (
            "<span class=\"t r p\" title=\"hound\" data-o=\"hound\">sea</span>",
            "random token, predicted",
        ),
        (
            "<span class=\"t s p\">of</span>",
            "left as it is, predicted",
        ),
        (
            "<span class=\"t m c\" title=\"the\" data-o=\"the\">the</span>",
            "masked, not predicted",
        ),
        (
            "<span class=\"t r c\" title=\"moor\" data-o=\"moor\">fog</span>",
            "token, not predicted",
        ),
    ] {
        assert!(body(&page).contains(span), "{span}: {page}");
        assert!(page.contains(meaning), "{meaning}: {page}");
    }
    assert!(
        !page.contains("taken out") && !page.contains("sentinel, for"),
        "{page}"
    );
}

#[test]
fn spans_gaps_and_sentinels_are_drawn_as_such() {
    let mut row = row(&HOUND);
    row.unit_start = vec![0, 1, 2, 5, 6, 7];
    let masks = vec![
        mask(
            Strategy::Span,
            Layout::InPlace,
            vec![in_place(&row, &[HIDDEN, HIDDEN], &[1, 2])],
        ),
        mask(
            Strategy::Word,
            Layout::Removed,
            vec![removed(&row, &[2, 3, 5], &[2, 3])],
        ),
        mask(
            Strategy::Span,
            Layout::Sentinel,
            vec![sentinels(&row, &[0, 1, 2, 3, 4, 5])],
        ),
    ];
    let page = page_of(row, masks);
    for part in [
        ">the</span><span class=\"t m p j\" title=\"hound\" data-o=\"hound\"> hound</span> of",
        "<span class=\"t g p\" title=\"hound of\" data-o=\"hound of\">2</span> the",
        "<span class=\"t g c\" title=\"moor\" data-o=\"moor\">1</span>",
        "<span class=\"t x\" title=\"hound of\" data-o=\"hound of\">⟨0⟩</span>",
        "<b>target</b><span class=\"t x\"",
        "<span class=\"t y p\">moor</span>",
        "the <span class=\"u\">hound of the</span> moor",
        "<th scope=\"col\">spans, sentinels</th>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

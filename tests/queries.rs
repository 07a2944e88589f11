//! What `cloze inspect` answers about n-grams, on counts of a novel that the test
//! checks by hand.

use cloze::config::{
    CountConfig, DocumentRule, QueryConfig, Score, TokenizeConfig, VocabularyConfig,
};
use cloze::pipeline::count::count;
use cloze::pipeline::plot::plot;
use cloze::pipeline::query::query;
use cloze::pipeline::stage::StageOptions;
use cloze::pipeline::vocabulary::vocabulary;
use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

fn counts(folder: &Path) -> PathBuf {
    let novel = "tests/data/quickstart/Doyle_Hound_1902.txt";
    let text = TokenizeConfig {
        inputs: vec![format!("{}/{novel}", env!("CARGO_MANIFEST_DIR"))],
        document: DocumentRule::Paragraph,
        ..TokenizeConfig::default()
    };
    let config = CountConfig {
        min_count: 3,
        ..CountConfig::default()
    };
    let output = folder.join("counts");
    count(&config, text, &output, &StageOptions::new()).unwrap();
    output
}

fn ranked(counts: &Path, score: Score, size: u64) -> PathBuf {
    let output = counts.with_file_name(format!("{score:?}-{size}.parquet"));
    let config = VocabularyConfig {
        size,
        score,
        ..VocabularyConfig::default()
    };
    vocabulary(&config, Some(counts), None, &output, &StageOptions::new()).unwrap();
    output
}

fn ask(artefact: &Path, config: QueryConfig) -> String {
    query(artefact, &config, &StageOptions::new()).unwrap()
}

fn ngrams(names: &[&str]) -> QueryConfig {
    QueryConfig {
        ngram: names.iter().map(|&name| name.to_owned()).collect(),
        ..QueryConfig::default()
    }
}

#[test]
fn an_ngram_is_shown_with_the_score_of_every_segmentation() {
    let dir = tempfile::tempdir().unwrap();
    let counts = counts(dir.path());
    let text = ask(
        &counts,
        ngrams(&["Sir Charles's death", "moor zebra", "holmes"]),
    );
    let lines: Vec<&str> = text.lines().collect();
    let parts: Vec<&str> = lines.iter().copied().filter(|l| l.contains('|')).collect();
    // Two cuts can be made or not, but not none.
    assert_eq!(parts.len(), 3, "{text}");
    assert!(
        parts
            .iter()
            .any(|line| line.ends_with("sir | charles's | death"))
    );
    // The likeliest segmentation comes first and decides the score.
    let lowest: f64 = parts[0].split_whitespace().next().unwrap().parse().unwrap();
    assert!(text.contains(&format!("pmi {lowest:.4}, rank ")), "{text}");
    let mut scores = parts.iter().map(|line| {
        line.split_whitespace()
            .next()
            .unwrap()
            .parse::<f64>()
            .unwrap()
    });
    assert!(scores.all(|score| score >= lowest));
    assert!(
        text.contains("moor zebra\n  occurs less than 3 times"),
        "{text}"
    );
    assert!(lines[lines.len() - 2] == "holmes" && lines[lines.len() - 1].contains("windows of 1"));
}

#[test]
fn rank_top_and_neighbourhood_agree_with_the_vocabulary() {
    let dir = tempfile::tempdir().unwrap();
    let counts = counts(dir.path());
    let vocabulary = ranked(&counts, Score::Pmi2, 400);
    let top = |length: u32| QueryConfig {
        top: Some(30),
        length,
        score: Score::Pmi2,
        ..QueryConfig::default()
    };
    for length in 2..=3 {
        let of_counts = ask(&counts, top(length));
        assert_eq!(of_counts.lines().count(), 31);
        assert_eq!(of_counts, ask(&vocabulary, top(length)));
        // The n-gram of rank 7 says so when it is asked for.
        let seventh = of_counts.lines().nth(7).unwrap();
        let ngram = seventh.rsplit("  ").next().unwrap();
        for artefact in [&counts, &vocabulary] {
            let config = QueryConfig {
                score: Score::Pmi2,
                ..ngrams(&[ngram])
            };
            let found = ask(artefact, config);
            assert!(found.contains("rank 7 of "), "{ngram}: {found}");
        }
    }
    let near = QueryConfig {
        near: Some(100),
        sample: 12,
        score: Score::Pmi2,
        ..QueryConfig::default()
    };
    let drawn = ask(&counts, near.clone());
    assert_eq!(drawn, ask(&vocabulary, near.clone()));
    let ranks: Vec<u64> = drawn
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(ranks.len(), 12);
    assert!(ranks.windows(2).all(|two| two[0] < two[1]), "{ranks:?}");
    assert!(ranks[0] >= 88 && ranks[11] <= 112, "{ranks:?}");
    let other_seed = StageOptions {
        seed: 2,
        ..StageOptions::new()
    };
    assert_ne!(drawn, query(&counts, &near, &other_seed).unwrap());
}

#[test]
fn vocabularies_are_compared_at_several_sizes() {
    let dir = tempfile::tempdir().unwrap();
    let counts = counts(dir.path());
    let (pmi, frequency) = (
        ranked(&counts, Score::Pmi, 400),
        ranked(&counts, Score::Frequency, 400),
    );
    let against = |other: &Path| QueryConfig {
        compare: Some(other.to_owned()),
        ..QueryConfig::default()
    };
    let same = ask(&pmi, against(&pmi));
    assert_eq!(same.lines().count(), 8);
    assert!(
        same.lines().skip(2).all(|line| line.contains("100.0%")),
        "{same}"
    );
    let other = ask(&pmi, against(&frequency));
    assert!(!other.lines().nth(4).unwrap().contains("100.0%"), "{other}");
    let error = query(&counts, &against(&pmi), &StageOptions::new()).unwrap_err();
    assert!(error.to_string().contains("masking vocabulary"), "{error}");
}

#[test]
fn questions_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let counts = counts(dir.path());
    for config in [
        ngrams(&["one two three four five six"]),
        QueryConfig {
            top: Some(3),
            length: 1,
            ..QueryConfig::default()
        },
        QueryConfig {
            near: Some(0),
            ..QueryConfig::default()
        },
    ] {
        let error = query(&counts, &config, &StageOptions::new()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
    }
}

#[test]
fn a_ranking_is_drawn_with_the_size_marked() {
    let dir = tempfile::tempdir().unwrap();
    let counts = counts(dir.path());
    let config = VocabularyConfig {
        size: 400,
        ..VocabularyConfig::default()
    };
    let file = dir.path().join("ranking.svg");
    plot(&config, &counts, &file, &StageOptions::new()).unwrap();
    let svg = fs::read_to_string(&file).unwrap();
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    // Two panels of four lengths, each with a line and a dot, and four dots of the legend.
    assert_eq!(svg.matches("stroke-width=\"1.5\"").count(), 8);
    assert_eq!(svg.matches("stroke-dasharray").count(), 8);
    assert_eq!(svg.matches("<circle").count(), 8 + 4);
    assert!(svg.contains("2 words: 200"), "{svg}");
    let again = dir.path().join("again.svg");
    plot(&config, &counts, &again, &StageOptions::new()).unwrap();
    assert_eq!(fs::read_to_string(&again).unwrap(), svg);
    let error = plot(
        &config,
        &counts,
        &dir.path().join("x.gif"),
        &StageOptions::new(),
    );
    assert_eq!(error.unwrap_err().exit_code(), 2);
}

/// Width, height, and how many pixels have each colour, of a PNG as it is written here:
/// three channels of eight bits, rows not filtered.
fn pixels(png: &[u8]) -> (usize, usize, HashMap<[u8; 3], usize>) {
    let rest = png.strip_prefix(b"\x89PNG\r\n\x1a\n").unwrap();
    let number = |at: usize| u32::from_be_bytes(*rest[at..].first_chunk().unwrap()) as usize;
    assert_eq!(&rest[4..8], b"IHDR");
    let (width, height) = (number(8), number(12));
    assert_eq!(&rest[16..21], [8, 2, 0, 0, 0]);
    let behind = 25;
    assert_eq!(&rest[behind + 4..behind + 8], b"IDAT");
    let compressed = &rest[behind + 8..][..number(behind)];
    let mut rows = Vec::new();
    flate2::read::ZlibDecoder::new(compressed)
        .read_to_end(&mut rows)
        .unwrap();
    assert_eq!(rows.len(), height * (1 + 3 * width));
    let mut colours = HashMap::new();
    for row in rows.chunks(1 + 3 * width) {
        assert_eq!(row[0], 0);
        for &pixel in row[1..].as_chunks::<3>().0 {
            *colours.entry(pixel).or_default() += 1;
        }
    }
    (width, height, colours)
}

#[test]
fn a_ranking_is_drawn_as_png_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let counts = counts(dir.path());
    let drawn = |name: &str, size| {
        let config = VocabularyConfig {
            size,
            ..VocabularyConfig::default()
        };
        let file = dir.path().join(name);
        plot(&config, &counts, &file, &StageOptions::new()).unwrap();
        fs::read(file).unwrap()
    };
    let png = drawn("ranking.png", 400);
    assert_eq!(drawn("again.png", 400), png);
    assert!(drawn("other.png", 40) != png);
    let (width, height, colours) = pixels(&png);
    assert_eq!((width, height), (2000, 860));
    assert!(colours[&[255; 3]] > width * height * 9 / 10);
    // A line of at least a panel's width, a dashed one and dots, for each length.
    for colour in [[0, 114, 178], [213, 94, 0], [0, 158, 115], [204, 121, 167]] {
        assert!(colours[&colour] > 1500, "{colour:?}: {}", colours[&colour]);
    }
    // Letters.
    assert!(colours[&[0; 3]] > 500, "{}", colours[&[0; 3]]);
}

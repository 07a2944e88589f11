//! Documents are the same however a corpus is cut, and what is unusable has its reason.

use super::*;
use crate::base::size::ByteSize;
use crate::config::{DocumentRule, TextFormat};
use crate::text::compression::compressed;
use std::collections::BTreeMap;
use std::fs;

/// Where (file, place) to text or `!reason`.
type Found = Vec<(u32, Place, String)>;

fn read(corpus: &Corpus, part: Part, from: Cursor) -> Found {
    let mut found = Vec::new();
    for chunk in corpus.chunks(part, from) {
        let chunk = chunk.unwrap();
        let file = chunk.cursor.file;
        corpus
            .read(chunk, |outcome| {
                let text = match outcome.text {
                    Ok(text) => text.into_owned(),
                    Err(fault) => format!("!{}", fault.reason),
                };
                found.push((file, outcome.place, text));
                Ok(())
            })
            .unwrap();
    }
    found
}

fn corpus(folder: &Path, config: TokenizeConfig) -> Corpus {
    Corpus::open(&TokenizeConfig {
        inputs: vec![folder.display().to_string()],
        ..config
    })
    .unwrap()
}

fn texts(found: &Found) -> Vec<&str> {
    found.iter().map(|(_, _, text)| text.as_str()).collect()
}

#[test]
fn every_size_of_chunk_and_number_of_parts_gives_the_same_documents() {
    let dir = tempfile::tempdir().unwrap();
    let lines: String = (0..200)
        .map(|n| format!("{{\"text\": \"{}\"}}\n", "word ".repeat(n % 17 + 1)))
        .collect();
    fs::write(dir.path().join("a.jsonl"), &lines).unwrap();
    let packed = compressed(Compression::Zstd, lines.as_bytes());
    fs::write(dir.path().join("b.jsonl.zst"), packed).unwrap();
    fs::write(dir.path().join("c.txt"), "one\n\ntwo\nthree\n").unwrap();
    let config = TokenizeConfig {
        document: DocumentRule::Paragraph,
        ..TokenizeConfig::default()
    };
    let whole = read(
        &corpus(dir.path(), config.clone()),
        Part::WHOLE,
        Cursor::default(),
    );
    assert_eq!(whole.len(), 402);
    let plain: Vec<_> = whole
        .iter()
        .filter(|f| f.0 == 0)
        .map(|f| (f.1, &f.2))
        .collect();
    let packed: Vec<_> = whole
        .iter()
        .filter(|f| f.0 == 1)
        .map(|f| (f.1, &f.2))
        .collect();
    assert_eq!(plain, packed);
    for chunk_bytes in [1, 7, 100, 1000] {
        let corpus = corpus(
            dir.path(),
            TokenizeConfig {
                file_bytes: ByteSize(chunk_bytes),
                ..config.clone()
            },
        );
        assert_eq!(read(&corpus, Part::WHOLE, Cursor::default()), whole);
        for of in [2, 5] {
            let mut all: Found = (0..of)
                .flat_map(|index| read(&corpus, Part::new(index, of).unwrap(), Cursor::default()))
                .collect();
            let order = |place| match place {
                Place::Byte(at) | Place::Row(at) => at,
                Place::File => 0,
            };
            all.sort_by_key(|(file, place, _)| (*file, order(*place)));
            assert_eq!(all, whole, "{of} parts of chunks of {chunk_bytes} bytes");
        }
    }
}

#[test]
fn reading_goes_on_from_a_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let text = "one\ntwo\nthree\nfour\n";
    fs::write(dir.path().join("a.txt"), text).unwrap();
    let packed = compressed(Compression::Gzip, text.as_bytes());
    fs::write(dir.path().join("b.txt.gz"), packed).unwrap();
    let config = TokenizeConfig {
        document: DocumentRule::Line,
        file_bytes: ByteSize(5),
        ..TokenizeConfig::default()
    };
    let corpus = corpus(dir.path(), config);
    let mut cursors = Vec::new();
    let mut passed = 0;
    for chunk in corpus.chunks(Part::WHOLE, Cursor::default()) {
        let chunk = chunk.unwrap();
        passed += chunk.passed;
        cursors.push(chunk.cursor);
    }
    assert_eq!(passed, corpus.bytes());
    let whole = read(&corpus, Part::WHOLE, Cursor::default());
    let mut seen = 0;
    for cursor in cursors {
        let rest = read(&corpus, Part::WHOLE, cursor);
        assert!(whole.ends_with(&rest), "{cursor:?}");
        assert!(seen == 0 || rest.len() <= seen);
        seen = rest.len();
    }
}

#[test]
fn every_format_gives_its_documents() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("a.txt", "\u{FEFF}whole\r\nfile"),
        ("b.md", "# Head"),
        ("b0.txt", ""),
        ("c.jsonl", "{\"text\": \"json\"}\n\n"),
        ("wiki_00", "<doc id=\"1\">\nWiki\n\nText\n\n</doc>\n"),
    ] {
        fs::write(dir.path().join(name), content).unwrap();
    }
    let found = read(
        &corpus(dir.path(), TokenizeConfig::default()),
        Part::WHOLE,
        Cursor::default(),
    );
    assert_eq!(
        texts(&found),
        [
            "whole\r\nfile",
            "# Head",
            "!an empty document",
            "json",
            "Wiki\n\nText"
        ]
    );
    assert_eq!(found[0].1, Place::Byte(3));
}

#[test]
fn a_compressed_file_cut_short_keeps_what_came_before_the_cut() {
    let lines: String = (0..20_000u32)
        .map(|n| format!("line {n} {}\n", n.wrapping_mul(2_654_435_761)))
        .collect();
    for (name, compression) in [
        ("a.txt.gz", Compression::Gzip),
        ("a.txt.zst", Compression::Zstd),
        ("a.txt.bz2", Compression::Bzip2),
        ("a.txt.xz", Compression::Xz),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let packed = compressed(compression, lines.as_bytes());
        fs::write(dir.path().join(name), &packed[..packed.len() * 9 / 10]).unwrap();
        let config = TokenizeConfig {
            document: DocumentRule::Line,
            file_bytes: ByteSize(10_000),
            ..TokenizeConfig::default()
        };
        let corpus = corpus(dir.path(), config);
        let found = read(&corpus, Part::WHOLE, Cursor::default());
        let (last, kept) = found.split_last().unwrap();
        assert_eq!(last.2, "!the file is cut short here", "{name}");
        let expected: Vec<&str> = lines.lines().take(kept.len()).collect();
        let kept: Vec<&str> = kept.iter().map(|(_, _, text)| text.as_str()).collect();
        assert_eq!(kept, expected, "{name}");
        // What a decoder holds back at the cut differs; xz and bzip2 work in blocks.
        if matches!(compression, Compression::Gzip) {
            assert!(kept.len() > 15_000, "{name}: {}", kept.len());
        }
    }
}

#[test]
fn a_line_of_a_hundred_megabytes_is_one_rejection() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = String::from("{\"text\": \"before\"}\n{\"text\": \"");
    text.push_str(&"x".repeat(100 << 20));
    text.push_str("\"}\n{\"text\": \"behind\"}\n");
    fs::write(dir.path().join("a.jsonl"), &text).unwrap();
    let found = read(
        &corpus(dir.path(), TokenizeConfig::default()),
        Part::WHOLE,
        Cursor::default(),
    );
    assert_eq!(
        texts(&found),
        ["before", "!longer than 50331648 bytes", "behind"]
    );
    let small = TokenizeConfig {
        max_document: ByteSize(5),
        ..TokenizeConfig::default()
    };
    let found = read(&corpus(dir.path(), small), Part::WHOLE, Cursor::default());
    assert_eq!(texts(&found)[0], "!longer than 15 bytes");
}

#[test]
fn what_cannot_be_read_is_rejected_as_a_file() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("a.txt")).unwrap();
    fs::write(dir.path().join("b.parquet"), "no table").unwrap();
    fs::write(dir.path().join("c.arrow"), "no table").unwrap();
    let packed = compressed(Compression::Gzip, b"PAR1");
    fs::write(dir.path().join("d.parquet.gz"), packed).unwrap();
    fs::write(dir.path().join("e.txt"), "fine").unwrap();
    let socket = dir.path().join("f.txt");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let corpus = corpus(dir.path(), TokenizeConfig::default());
    let found = read(&corpus, Part::WHOLE, Cursor::default());
    let by_file: BTreeMap<u32, &(u32, Place, String)> = found.iter().map(|f| (f.0, f)).collect();
    assert_eq!(by_file.len(), 6);
    for (file, reason) in [
        (0, "cannot be read"),
        (1, "Parquet"),
        (2, "Arrow"),
        (3, "decompress it first"),
        (5, "cannot be read"),
    ] {
        let (_, place, text) = by_file[&file];
        assert_eq!(*place, Place::File);
        assert!(text.starts_with('!') && text.contains(reason), "{text}");
    }
    assert_eq!(by_file[&4].2, "fine");
}

#[test]
fn the_user_can_say_how_files_are_written() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.log"), "{\"body\": \"json\"}\n").unwrap();
    let config = TokenizeConfig {
        format: TextFormat::Jsonl,
        text_field: "body".into(),
        ..TokenizeConfig::default()
    };
    let found = read(&corpus(dir.path(), config), Part::WHOLE, Cursor::default());
    assert_eq!(texts(&found), ["json"]);
}

//! How a file is written, by its name or by what the user says.

use super::compression::{self, without_ending};
use super::frames::Framing;
use super::mds;
use crate::columnar::column::ColumnarFormat;
use crate::config::{DocumentRule, TextFormat, TokenizeConfig};
use std::io::BufRead;
use std::path::Path;

/// How the documents of a file lie in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Plain text in frames of bytes.
    Text(Framing),
    /// A JSON object a line.
    Json,
    /// A document a row.
    Rows(ColumnarFormat),
    /// A document a sample of an MDS shard.
    Samples,
}

/// The shape of the file at `path`.
pub fn shape(path: &Path, config: &TokenizeConfig) -> std::io::Result<Shape> {
    let format = match config.format {
        TextFormat::Auto => by_name(path)?,
        format => format,
    };
    Ok(match format {
        TextFormat::Jsonl => Shape::Json,
        TextFormat::Parquet => Shape::Rows(ColumnarFormat::Parquet),
        TextFormat::Arrow => Shape::Rows(ColumnarFormat::Arrow),
        TextFormat::Wikiextractor => Shape::Text(Framing::Wikiextractor),
        TextFormat::Mds => Shape::Samples,
        TextFormat::Text | TextFormat::Auto => Shape::Text(match config.document {
            DocumentRule::File => Framing::File,
            DocumentRule::Line => Framing::Line,
            DocumentRule::Paragraph => Framing::Paragraph,
        }),
    })
}

fn by_name(path: &Path) -> std::io::Result<TextFormat> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if mds::is_shard(&name) {
        return Ok(TextFormat::Mds);
    }
    let name = without_ending(&name);
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    Ok(match ending.to_ascii_lowercase().as_str() {
        "jsonl" | "ndjson" | "json" => TextFormat::Jsonl,
        "parquet" => TextFormat::Parquet,
        "arrow" | "feather" | "ipc" => TextFormat::Arrow,
        _ if is_wiki(name) => {
            // `WikiExtractor --json` gives its files the same names.
            let mut reader = compression::open(path)?.1;
            match reader.fill_buf()?.trim_ascii_start() {
                [b'{', ..] => TextFormat::Jsonl,
                _ => TextFormat::Wikiextractor,
            }
        }
        _ => TextFormat::Text,
    })
}

/// `wiki_00` and the like, as WikiExtractor names its files.
fn is_wiki(name: &str) -> bool {
    name.strip_prefix("wiki_")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_format_behind_a_compressors_ending() {
        let config = TokenizeConfig::default();
        for (name, expected) in [
            ("a.jsonl", Shape::Json),
            ("a.JSONL.zst", Shape::Json),
            ("a.ndjson.gz", Shape::Json),
            ("a.parquet", Shape::Rows(ColumnarFormat::Parquet)),
            ("a.feather", Shape::Rows(ColumnarFormat::Arrow)),
            ("a.txt.xz", Shape::Text(Framing::File)),
            ("README.md", Shape::Text(Framing::File)),
            ("a", Shape::Text(Framing::File)),
            ("wiki_x", Shape::Text(Framing::File)),
        ] {
            assert_eq!(shape(Path::new(name), &config).unwrap(), expected, "{name}");
        }
        let lines = TokenizeConfig {
            document: DocumentRule::Line,
            format: TextFormat::Text,
            ..config
        };
        assert_eq!(
            shape(Path::new("a.jsonl"), &lines).unwrap(),
            Shape::Text(Framing::Line)
        );
    }

    #[test]
    fn wikiextractor_files_are_told_from_their_json_kin() {
        let dir = tempfile::tempdir().unwrap();
        for (name, content, expected) in [
            (
                "wiki_00",
                "<doc id=\"1\">",
                Shape::Text(Framing::Wikiextractor),
            ),
            ("wiki_01", "{\"text\": 1}", Shape::Json),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            assert_eq!(shape(&path, &TokenizeConfig::default()).unwrap(), expected);
        }
    }
}

//! Files of sentences with labels: the named columns of tab-separated values, JSON lines,
//! Parquet and Arrow, seen through compression. Every cell is text; what a label means is the
//! caller's. For tables that fit into memory.
//!
//! Tab-separated values are as GLUE has them: no quotes, a line a row.

use super::compression::{self, without_ending};
use crate::base::error::{Error, Result};
use crate::columnar::cells::cells;
use crate::columnar::column::ColumnarFormat;
use serde_json::Value;
use std::io::BufRead;
use std::path::Path;

/// A row of the columns that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRow {
    /// Where it is, for messages: `line N` from 1, or `row N` from 0.
    pub place: String,
    /// The cells, in the order that was asked for.
    pub cells: Vec<String>,
}

/// Reads `columns` of the file at `path`. Without a `header`, columns of tab-separated values
/// go by number, from 0.
///
/// # Errors
/// A file that cannot be read or holds no row; a column that is not there; a row without a
/// value.
pub fn read(path: &Path, columns: &[&str], header: bool) -> Result<Vec<TableRow>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ending = without_ending(&name).rsplit_once('.');
    let ending = ending.map_or(String::new(), |(_, ending)| ending.to_ascii_lowercase());
    let rows = match &ending[..] {
        "parquet" => columnar(path, columns, ColumnarFormat::Parquet)?,
        "arrow" | "feather" | "ipc" => columnar(path, columns, ColumnarFormat::Arrow)?,
        "jsonl" | "ndjson" | "json" => json_lines(path, columns)?,
        _ => tab_separated(path, columns, header)?,
    };
    if rows.is_empty() {
        return Err(Error::input(
            path.display().to_string(),
            "no row",
            "sentences with labels",
            "check the path; with a header alone, write --header=false",
        ));
    }
    Ok(rows)
}

fn columnar(path: &Path, columns: &[&str], format: ColumnarFormat) -> Result<Vec<TableRow>> {
    let mut rows: Vec<TableRow> = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        for (row, cell) in cells(path, column, format)?.into_iter().enumerate() {
            let place = format!("row {row}");
            let Some(cell) = cell else {
                return Err(without_value(path, &place, column));
            };
            match index {
                0 => rows.push(TableRow {
                    place,
                    cells: vec![cell],
                }),
                _ => rows[row].cells.push(cell),
            }
        }
    }
    Ok(rows)
}

fn json_lines(path: &Path, columns: &[&str]) -> Result<Vec<TableRow>> {
    let mut rows = Vec::new();
    for (place, line) in lines(path)? {
        let object: Value = serde_json::from_str(&line).map_err(|error| {
            let remedy = "write one JSON object a line";
            Error::input(at(path, &place), error.to_string(), "a JSON object", remedy)
        })?;
        let cell = |column: &&str| match object.get(column) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
            _ => Err(without_value(path, &place, column)),
        };
        rows.push(TableRow {
            cells: columns.iter().map(cell).collect::<Result<_>>()?,
            place,
        });
    }
    Ok(rows)
}

fn tab_separated(path: &Path, columns: &[&str], header: bool) -> Result<Vec<TableRow>> {
    let mut lines = lines(path)?.into_iter();
    let mut places = Vec::new();
    let names = match header {
        true => lines.next().map(|(_, line)| line).unwrap_or_default(),
        false => String::new(),
    };
    let names: Vec<&str> = names.split('\t').map(str::trim).collect();
    for column in columns {
        let place = match header {
            true => names.iter().position(|name| name == column),
            false => column.parse().ok(),
        };
        let Some(place) = place else {
            let (found, expected) = match header {
                true => (
                    match names.iter().all(|name| name.is_empty()) {
                        true => "no line of names".to_owned(),
                        false => format!("columns {}", names.join(", ")),
                    },
                    format!("a column {column:?}"),
                ),
                false => (
                    format!("a column called {column:?}"),
                    "numbers of columns, from 0, where there is no header".to_owned(),
                ),
            };
            return Err(Error::input(
                at(path, "line 1"),
                found,
                expected,
                "see --sentence, --sentence2, --label and --header",
            ));
        };
        places.push(place);
    }
    let mut rows = Vec::new();
    for (place, line) in lines {
        let found: Vec<&str> = line.split('\t').collect();
        let mut cells = Vec::new();
        for (&column, name) in places.iter().zip(columns) {
            match found.get(column) {
                Some(cell) => cells.push((*cell).to_owned()),
                None => return Err(without_value(path, &place, name)),
            }
        }
        rows.push(TableRow { place, cells });
    }
    Ok(rows)
}

/// Lines that are not blank, with their places.
fn lines(path: &Path) -> Result<Vec<(String, String)>> {
    let (_, reader) = compression::open(path).map_err(|e| Error::io("read", path, e))?;
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(reader.split(b'\n')) {
        let place = format!("line {number}");
        let line = line.map_err(|e| Error::io("read", path, e))?;
        let mut line = String::from_utf8(line).map_err(|_| {
            let remedy = "convert the file, for example with iconv";
            Error::input(at(path, &place), "no UTF-8", "UTF-8", remedy)
        })?;
        if line.ends_with('\r') {
            line.pop();
        }
        if number == 1 && line.starts_with('\u{FEFF}') {
            line.remove(0);
        }
        if !line.trim().is_empty() {
            lines.push((place, line));
        }
    }
    Ok(lines)
}

/// A place in a file, for messages.
pub fn at(path: &Path, place: &str) -> String {
    format!("{}, {place}", path.display())
}

fn without_value(path: &Path, place: &str, column: &str) -> Error {
    Error::input(
        at(path, place),
        format!("no value of {column}"),
        "text or a number in every row",
        "complete the row, or take it out",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn rows(name: &str, content: &[u8], columns: &[&str], header: bool) -> Result<Vec<TableRow>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        read(&path, columns, header)
    }

    #[test]
    fn columns_are_found_by_name_or_number_in_every_form() {
        let columns = ["sentence", "label"];
        let tsv = b"\xEF\xBB\xBFlabel\tsentence\r\n1\ta \"good\" one\r\n\r\n0\tbad\r\n";
        let expected = [("line 2", "a \"good\" one", "1"), ("line 4", "bad", "0")];
        let gzip = compression::Compression::Gzip;
        for (name, content) in [
            ("a.tsv", tsv.to_vec()),
            ("a.tsv.gz", compression::compressed(gzip, tsv)),
        ] {
            let found = rows(name, &content, &columns, true).unwrap();
            for (row, (place, sentence, label)) in found.iter().zip(expected) {
                assert_eq!(
                    (&row.place[..], &row.cells[..]),
                    (place, &[sentence.to_owned(), label.to_owned()][..])
                );
            }
            assert_eq!(found.len(), 2);
        }
        let cola = b"gj04\t1\t\tThey sang.\nbc01\t0\t*\tSang they.\n";
        let found = rows("cola.tsv", cola, &["3", "1"], false).unwrap();
        assert_eq!(found[1].cells, ["Sang they.", "0"]);
        let json = b"{\"label\": -1.5, \"sentence\": \"a\\tb\"}\n{\"sentence\": \"c\", \"label\": \"x\"}\n";
        let found = rows("a.jsonl", json, &columns, true).unwrap();
        assert_eq!(found[0].cells, ["a\tb", "-1.5"]);
        assert_eq!(found[1].cells, ["c", "x"]);
    }

    #[test]
    fn what_is_missing_is_named_with_its_place() {
        let columns = ["sentence", "label"];
        for (name, content, header, wanted) in [
            (
                "a.tsv",
                &b"text\tlabel\na\t1\n"[..],
                true,
                "line 1: found columns text, label, expected a column \"sentence\"",
            ),
            (
                "a.tsv",
                b"sentence\tlabel\na\t1\nb\n",
                true,
                "line 3: found no value of label",
            ),
            ("a.tsv", b"a\t1\n", false, "numbers of columns"),
            ("a.tsv", b"sentence\tlabel\n", true, "found no row"),
            ("a.tsv", b"", true, "line 1"),
            ("a.jsonl", b"", true, "found no row"),
            (
                "a.tsv",
                b"sentence\tlabel\n\xE9\t1\n",
                true,
                "line 2: found no UTF-8",
            ),
            (
                "a.jsonl",
                b"{\"sentence\": \"a\"}\n",
                true,
                "line 1: found no value of label",
            ),
            (
                "a.jsonl",
                b"{\"sentence\": 1, \"label\": 1}\nnothing\n",
                true,
                "line 2: found expected",
            ),
        ] {
            let message = rows(name, content, &columns, header)
                .unwrap_err()
                .to_string();
            assert!(message.contains(wanted), "{message}");
        }
    }
}

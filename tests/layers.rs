//! The layers of ARCHITECTURE.md, held to the imports: a file imports from lower
//! layers or its own folder only, and each heavy dependency is named in one place.

use std::fs;
use std::path::{Path, PathBuf};

/// Folder of `src` → layer. Folders of layer 4 are siblings and never import each
/// other; elsewhere a folder may import any folder of a lower or its own layer.
const LAYERS: &[(&str, u32)] = &[
    ("base", 0),
    ("config", 0),
    ("storage", 1),
    ("parallel", 1),
    ("progress", 1),
    ("columnar", 1),
    ("text", 2),
    ("tokenizer", 2),
    ("exchange", 2),
    ("statistics", 3),
    ("segment", 4),
    ("shard", 4),
    ("masking", 4),
    ("batches", 5),
    ("training", 6),
    ("evaluation", 6),
    ("pipeline", 7),
    ("cli", 8),
];
const SIBLINGS: u32 = 4;

/// Crate name as it stands in a path → the only place that names it.
const HEAVY: &[(&str, &[&str])] = &[
    ("rayon", &["parallel/"]),
    ("indicatif", &["progress/"]),
    ("object_store", &["storage/remote/"]),
    ("tokio", &["storage/remote/"]),
    ("rustls", &["storage/remote/"]),
    ("futures_util", &["storage/remote/"]),
    ("arrow_array", &["columnar/"]),
    ("arrow_buffer", &["columnar/"]),
    ("arrow_ipc", &["columnar/"]),
    ("arrow_schema", &["columnar/"]),
    ("parquet", &["columnar/"]),
    ("tokenizers", &["tokenizer/"]),
    ("unicode_segmentation", &["tokenizer/"]),
    ("unicode_categories", &["tokenizer/fast/"]),
    ("unicode_normalization_alignments", &["tokenizer/fast/"]),
    // A PNG is compressed as well as inputs.
    ("flate2", &["text/", "pipeline/chart/png.rs"]),
    ("bzip2", &["text/"]),
    ("liblzma", &["text/"]),
    // Scratch files and record batches are compressed as well as inputs.
    (
        "zstd",
        &["text/", "storage/scratch.rs", "columnar/message.rs"],
    ),
    ("glob", &["text/"]),
    ("memmap2", &["shard/map.rs"]),
    ("candle_core", &["training/"]),
    ("safetensors", &["training/"]),
    ("noto_sans_mono_bitmap", &["pipeline/chart/png.rs"]),
    ("clap", &["cli/"]),
];

fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, out: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let name = path
                .strip_prefix(&root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// The code of a file without comments and strings, up to its unit tests (which may
/// use what they please, but for the layers below them).
fn code(text: &str) -> String {
    text.split("#[cfg(test)]")
        .next()
        .unwrap_or_default()
        .lines()
        .map(|line| match line.find("//") {
            Some(at) if !line[..at].contains('"') => &line[..at],
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn layer_of(folder: &str) -> Option<u32> {
    LAYERS
        .iter()
        .find(|(name, _)| *name == folder)
        .map(|&(_, layer)| layer)
}

/// The folders that `code` names as `crate::FOLDER`, grouped imports included.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("crate::") {
        rest = &rest[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut name = String::new();
            let mut at_head = true;
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => at_head = true,
                    c if at_head && (c.is_alphanumeric() || c == '_') => name.push(c),
                    ':' if at_head => {
                        found.push(std::mem::take(&mut name));
                        at_head = false;
                    }
                    _ => {}
                }
            }
        } else {
            found.push(
                rest.chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect(),
            );
        }
    }
    found
}

/// Whether `code` names the crate `name` at the head of a path.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        let head = !(before.is_alphanumeric() || before == '_' || before == ':' || before == '.');
        let after = &code[at + name.len()..];
        let in_use = code[..at].trim_end().ends_with("use");
        head && (after.starts_with("::") || in_use && after.starts_with(';'))
    })
}

#[test]
fn files_import_from_lower_layers_only() {
    let mut breaches = Vec::new();
    let mut seen = 0;
    for (name, text) in sources() {
        let Some((folder, _)) = name.split_once('/') else {
            continue;
        };
        let own = layer_of(folder).unwrap_or_else(|| panic!("src/{folder} has no layer"));
        for import in imports(&code(&text)) {
            if import == folder {
                continue;
            }
            let Some(other) = layer_of(&import) else {
                breaches.push(format!("{name} imports crate::{import}, which is no layer"));
                continue;
            };
            seen += 1;
            if other > own || other == own && own == SIBLINGS {
                breaches.push(format!(
                    "{name} (layer {own}) imports {import} (layer {other})"
                ));
            }
        }
    }
    assert!(
        seen > 50,
        "only {seen} imports found: the test reads them wrongly"
    );
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn heavy_dependencies_are_named_in_one_place() {
    let mut breaches = Vec::new();
    for (heavy, homes) in HEAVY {
        let mut at_home = 0;
        for (name, text) in sources() {
            if names_crate(&code(&text), heavy) {
                if homes.iter().any(|home| name.starts_with(home)) {
                    at_home += 1;
                } else {
                    breaches.push(format!("{name} names {heavy}, which belongs to {homes:?}"));
                }
            }
        }
        if at_home == 0 {
            breaches.push(format!("nothing in {homes:?} names {heavy}: drop it"));
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn unsafe_code_is_in_one_file() {
    let with_unsafe: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| text.contains("allow(unsafe_code)"))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(with_unsafe, ["shard/map.rs"]);
}

#[test]
fn every_file_says_what_it_is_for() {
    for (name, text) in sources() {
        assert!(
            text.starts_with("//! "),
            "src/{name} does not open with //!"
        );
    }
}

#[test]
fn a_breach_would_be_seen() {
    let source = "use crate::{base::error::Error, training::model};\nuse crate::cli::flags; // crate::text\nuse rayon::prelude::*;";
    assert_eq!(imports(&code(source)), ["base", "training", "cli"]);
    assert!(names_crate(&code(source), "rayon"));
    assert!(!names_crate("crate::columnar::arrow_ipc_like", "arrow_ipc"));
}

//! From what the user named to the files of ids: a Megatron prefix, a `.ds`, an MDS or
//! datasets folder, or any folder or glob with such files in it.

use super::{datatrove, megatron};
use crate::base::error::{Error, Result};
use crate::config::IdFormat;
use crate::storage::place;
use crate::storage::remote::is_remote;
use crate::text::inputs::find;
use crate::text::mds;
use std::path::{Path, PathBuf};

/// How a file of ids is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A `.bin` with its `.idx`.
    Megatron,
    /// An MDS shard.
    Mds,
    /// A `.ds`.
    Datatrove,
    /// An Arrow IPC file or stream.
    Arrow,
    /// A Parquet file.
    Parquet,
}

/// One file of ids, with what lies beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdFile {
    /// The file that holds the ids.
    pub path: PathBuf,
    /// How it is written.
    pub kind: Kind,
    /// Its index, where it has one.
    pub index: Option<PathBuf>,
}

/// All files of ids that `patterns` mean, sorted by path.
pub fn files(patterns: &[String], format: IdFormat) -> Result<Vec<IdFile>> {
    let patterns: Vec<String> = patterns.iter().map(|p| prefixed(p)).collect();
    let mut files = Vec::new();
    for path in find(&patterns)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(kind) = kind(&name, format) else {
            continue;
        };
        let index = match kind {
            Kind::Megatron => Some(megatron::index_of(&path)),
            Kind::Datatrove => Some(datatrove::beside(&path, ".index"))
                .map(|index| Ok(place::exists(&index)?.then_some(index)))
                .transpose()?
                .flatten(),
            _ => None,
        };
        if let Some(missing) = &index
            && !place::exists(missing)?
        {
            return Err(Error::input(
                path.display().to_string(),
                format!("no {} beside it", missing.display()),
                "the index that Megatron writes with it",
                "copy it there; for another format of .bin there is no import",
            ));
        }
        files.push(IdFile { path, kind, index });
    }
    if files.is_empty() {
        return Err(Error::usage(
            "import.inputs",
            format!("no file of ids in {}", patterns.join(", ")),
            "Megatron .bin with .idx, MDS shards, .ds, .arrow or .parquet",
            "name such files, or say with --format how they are written; text goes through \
             `cloze tokenize`",
        ));
    }
    Ok(files)
}

/// Megatron names a dataset by its prefix.
fn prefixed(pattern: &str) -> String {
    if is_remote(Path::new(pattern)) {
        return pattern.to_owned();
    }
    let bin = format!("{pattern}.bin");
    let stem = pattern
        .strip_suffix(".idx")
        .map(|stem| format!("{stem}.bin"));
    match stem {
        Some(bin) if Path::new(&bin).exists() => bin,
        _ if !Path::new(pattern).exists() && Path::new(&bin).exists() => bin,
        _ => pattern.to_owned(),
    }
}

fn kind(name: &str, format: IdFormat) -> Option<Kind> {
    let found = match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("bin") => Some(Kind::Megatron),
        Some("ds") => Some(Kind::Datatrove),
        Some("arrow" | "ipc" | "feather") => Some(Kind::Arrow),
        Some("parquet") => Some(Kind::Parquet),
        _ => mds::is_shard(name).then_some(Kind::Mds),
    };
    let companion = [".idx", ".index", ".metadata", ".loss", ".json"];
    match format {
        IdFormat::Auto => found,
        _ if companion.iter().any(|ending| name.ends_with(ending)) => None,
        IdFormat::Megatron => Some(Kind::Megatron),
        IdFormat::Mds => Some(Kind::Mds),
        IdFormat::Datatrove => Some(Kind::Datatrove),
        IdFormat::Arrow => Some(Kind::Arrow),
        IdFormat::Parquet => Some(Kind::Parquet),
    }
}

//! Folders that say themselves which files are theirs: what Hugging Face datasets wrote
//! with `save_to_disk` (`state.json`), and MosaicML's MDS (`index.json`). Reads one
//! small file a folder.

use crate::base::error::{Error, Result};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// The files of `folder`, in its own order; `None` for a folder that says nothing.
pub(super) fn members(folder: &Path) -> Result<Option<Vec<PathBuf>>> {
    let dictionary = folder.join("dataset_dict.json");
    if let Some(found) = json(&dictionary).filter(|found| found["splits"].is_array()) {
        let splits = texts(&found["splits"], |split| split.as_str());
        return Err(Error::usage(
            folder.display().to_string(),
            format!("a dataset of splits: {}", splits.join(", ")),
            "one split or several, by name",
            format!(
                "name what to read, such as {}",
                folder
                    .join(splits.first().map_or("train", String::as_str))
                    .display()
            ),
        ));
    }
    let state = json(&folder.join("state.json"))
        .map(|state| texts(&state["_data_files"], |file| file["filename"].as_str()));
    let shards = || {
        json(&folder.join("index.json")).map(|index| {
            texts(&index["shards"], |shard| {
                let stored = ["zip_data", "raw_data"].map(|which| &shard[which]["basename"]);
                let mut names = stored.into_iter().filter_map(Value::as_str);
                // A shard may have been decompressed where it lies.
                let here = |name: &&str| folder.join(name).exists();
                names.clone().find(here).or_else(|| names.next())
            })
        })
    };
    let names = state.filter(|names| !names.is_empty()).or_else(shards);
    Ok(names
        .filter(|names| !names.is_empty())
        .map(|names| names.iter().map(|name| folder.join(name)).collect()))
}

fn json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn texts(list: &Value, name: impl Fn(&Value) -> Option<&str>) -> Vec<String> {
    let entries = list.as_array().into_iter().flatten();
    entries
        .filter_map(|entry| name(entry).map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn names(dir: &tempfile::TempDir) -> Option<Vec<String>> {
        let found = members(dir.path()).unwrap()?;
        Some(
            found
                .iter()
                .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
                .collect(),
        )
    }

    #[test]
    fn a_saved_dataset_is_its_data_files_and_not_what_describes_them() {
        let dir = folder(&[
            (
                "state.json",
                r#"{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}"#,
            ),
            ("dataset_info.json", "{}"),
        ]);
        assert_eq!(names(&dir).unwrap(), ["data-00000-of-00001.arrow"]);
    }

    #[test]
    fn shards_are_taken_as_they_lie_there() {
        let index = r#"{"shards": [
            {"raw_data": {"basename": "shard.00000.mds"}, "zip_data": {"basename": "shard.00000.mds.zstd"}},
            {"raw_data": {"basename": "shard.00001.mds"}, "zip_data": {"basename": "shard.00001.mds.zstd"}},
            {"raw_data": {"basename": "shard.00002.mds"}, "zip_data": null}]}"#;
        let dir = folder(&[("index.json", index), ("shard.00001.mds", "")]);
        let expected = ["shard.00000.mds.zstd", "shard.00001.mds", "shard.00002.mds"];
        assert_eq!(names(&dir).unwrap(), expected);
    }

    #[test]
    fn splits_are_not_mixed() {
        let dir = folder(&[("dataset_dict.json", r#"{"splits": ["train", "test"]}"#)]);
        let error = members(dir.path()).unwrap_err().to_string();
        assert!(error.contains("train, test"), "{error}");
    }

    #[test]
    fn any_other_folder_says_nothing() {
        let dir = folder(&[
            ("index.json", "[1]"),
            ("state.json", "no JSON"),
            ("a.txt", ""),
        ]);
        assert_eq!(names(&dir), None);
    }
}

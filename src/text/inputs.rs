//! From what the user named (files, folders, globs) to the list of input files:
//! sorted, each file once. The only place that names glob.

use super::members::members;
use crate::base::error::{Error, Result};
use crate::storage::place;
use crate::storage::remote::{Remote, is_remote};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// All files that `patterns` mean, sorted by path, each once whatever links lead to
/// it (under the shortest path). Folders are searched to the bottom, but for those that
/// say themselves which files are theirs; hidden files are taken only when they are named. A link that leads nowhere is listed, so
/// that it is reported as unreadable; a pattern that means nothing is refused.
pub fn find(patterns: &[String]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = HashSet::new();
    for pattern in patterns {
        let before = found.len() + folders.len();
        let path = Path::new(pattern);
        if is_remote(path) {
            found.extend(objects(pattern)?);
        } else if path.symlink_metadata().is_ok() {
            add(path, &mut found, &mut folders)?;
        } else {
            for path in matches(pattern)? {
                add(&path, &mut found, &mut folders)?;
            }
        }
        if found.len() + folders.len() == before {
            return Err(no_input(pattern));
        }
    }
    if found.is_empty() {
        return Err(no_input(&patterns.join(", ")));
    }
    found.sort_by_cached_key(|path| (path.as_os_str().len(), path.clone()));
    let mut seen = HashSet::new();
    found.retain(|path| seen.insert(fs::canonicalize(path).unwrap_or_else(|_| path.clone())));
    found.sort();
    Ok(found)
}

fn no_input(pattern: &str) -> Error {
    let remedy = match pattern.contains("://") {
        true => "check the URL; stores are s3://, gs://, az:// and http(s)://",
        false => "check the path; quote a glob so that the shell leaves it alone",
    };
    Error::usage(
        "tokenize.inputs",
        format!("no file for {pattern:?}"),
        "a file, a folder with files, or a glob that matches some",
        remedy,
    )
}

const OPTIONS: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

fn no_glob(pattern: &str, error: &glob::PatternError) -> Error {
    Error::usage(
        "tokenize.inputs",
        format!("{pattern:?}: {error}"),
        "a file, a folder or a glob",
        "correct the pattern, or put [ ] around a character that is meant as itself",
    )
}

/// The objects that a URL means: one, those below a folder, or those that a glob matches.
/// Web servers do not say what they have, so there a URL is a file.
fn objects(pattern: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(pattern);
    if pattern.starts_with("http") || place::exists(path)? {
        return Ok(vec![path.to_owned()]);
    }
    // What is listed ends before the first character of a glob.
    let plain = pattern.find(['*', '?', '[']).unwrap_or(pattern.len());
    let folder = match plain == pattern.len() {
        true => pattern.trim_end_matches('/'),
        false => pattern[..plain]
            .rsplit_once('/')
            .map_or(pattern, |(folder, _)| folder),
    };
    let glob = glob::Pattern::new(pattern).map_err(|error| no_glob(pattern, &error))?;
    let below = format!("{folder}/");
    let listed = Remote::new(Path::new(folder))?.list()?;
    let wanted = |url: &PathBuf| {
        let url = url.to_string_lossy();
        match plain == pattern.len() {
            false => glob.matches_with(&url, OPTIONS),
            true => url
                .strip_prefix(&below)
                .is_some_and(|name| !name.split('/').any(|step| step.starts_with('.'))),
        }
    };
    Ok(listed
        .into_iter()
        .map(|object| object.url)
        .filter(wanted)
        .collect())
}

fn matches(pattern: &str) -> Result<Vec<PathBuf>> {
    let paths = glob::glob_with(pattern, OPTIONS).map_err(|error| no_glob(pattern, &error))?;
    // A folder that may not be read matches nothing.
    Ok(paths.filter_map(std::result::Result::ok).collect())
}

/// Adds a file, or the files below a folder that was not searched before.
fn add(path: &Path, found: &mut Vec<PathBuf>, folders: &mut HashSet<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    let real = fs::canonicalize(path).map_err(|error| Error::io("read folder", path, error))?;
    if !folders.insert(real) {
        return Ok(());
    }
    if let Some(mut files) = members(path)? {
        found.append(&mut files);
        return Ok(());
    }
    let entries = fs::read_dir(path).map_err(|error| Error::io("read folder", path, error))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| Error::io("read folder", path, error))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            names.push(entry.path());
        }
    }
    names.sort();
    names.iter().try_for_each(|name| add(name, found, folders))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names(folder: &Path, patterns: &[&str]) -> Vec<String> {
        let patterns: Vec<String> = patterns
            .iter()
            .map(|pattern| folder.join(pattern).display().to_string())
            .collect();
        find(&patterns)
            .unwrap()
            .iter()
            .map(|path| path.strip_prefix(folder).unwrap().display().to_string())
            .collect()
    }

    #[test]
    fn each_file_comes_once_in_order_whatever_leads_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("sub/deep")).unwrap();
        for name in [
            "b.txt",
            "a.txt",
            "sub/c.txt",
            "sub/deep/d.md",
            ".hidden",
            "sub/.x",
        ] {
            fs::write(root.join(name), "x").unwrap();
        }
        symlink(root.join("a.txt"), root.join("sub/link.txt")).unwrap();
        symlink(root, root.join("sub/deep/cycle")).unwrap();
        let all = ["a.txt", "b.txt", "sub/c.txt", "sub/deep/d.md"];
        assert_eq!(names(root, &[""]), all);
        assert_eq!(names(root, &["sub", "b.txt", "*.txt", "a.txt"]), all);
        assert_eq!(names(root, &["**/*.md"]), ["sub/deep/d.md"]);
        assert_eq!(names(root, &["*"]), all);
        assert_eq!(names(root, &[".hidden"]), [".hidden"]);
    }

    #[test]
    fn a_name_with_glob_characters_is_a_name_first() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a[1].txt"), "x").unwrap();
        assert_eq!(names(dir.path(), &["a[1].txt"]), ["a[1].txt"]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_listed() {
        let dir = tempfile::tempdir().unwrap();
        symlink(dir.path().join("none"), dir.path().join("dangling")).unwrap();
        assert_eq!(names(dir.path(), &["dangling"]), ["dangling"]);
        assert_eq!(names(dir.path(), &[""]), ["dangling"]);
    }

    #[test]
    fn no_input_is_wrong_use_that_names_the_pattern() {
        let dir = tempfile::tempdir().unwrap();
        for pattern in ["none.txt", "*.jsonl", ""] {
            let pattern = dir.path().join(pattern).display().to_string();
            let error = find(std::slice::from_ref(&pattern)).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(&pattern), "{error}");
        }
        let remote = find(&["ftp://host/x".into()]).unwrap_err().to_string();
        assert!(remote.contains("s3://"), "{remote}");
        assert!(find(&["a***".into()]).is_err());
    }
}

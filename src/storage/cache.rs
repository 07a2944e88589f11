//! Local copies of objects, for what has to be a file: shards before they are mapped,
//! token files, counts, tables. A folder of bounded size; what was used longest ago goes
//! first, and what any process has open stays. Several processes may share the folder.
//!
//! A copy is named by the hash of its content, and as the object is, where a manifest tells it, and is checked
//! against it before it gets its name; else by URL, length and version. Costs one download
//! an object. `CLOZE_CACHE` names the folder, `CLOZE_CACHE_SIZE` its bound.

use crate::base::error::{Error, Result};
use crate::base::fingerprint::{self, Hasher};
use crate::base::size::ByteSize;
use crate::storage::remote::{Remote, Stream, is_remote};
use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

/// Bound of the folder where none is set.
const DEFAULT_SIZE: ByteSize = ByteSize::mib(64 << 10);

/// A file on its way out that nobody wrote to for a day is left over.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// Downloads of one name wait for each other, by one of these many locks.
const LOCKS: u8 = 64;

/// A folder of local copies.
pub struct Cache {
    folder: PathBuf,
    bound: u64,
    /// Copies that this process uses: a shared lock on each keeps it there.
    used: Mutex<HashMap<PathBuf, File>>,
}

static CACHE: OnceLock<Cache> = OnceLock::new();

/// Sets folder and bound for this process; what is `None` comes from the environment.
/// Holds from the first copy on.
pub fn configure(folder: Option<PathBuf>, bound: Option<ByteSize>) -> Result<()> {
    let made = Cache::new(folder, bound)?;
    CACHE.get_or_init(|| made);
    Ok(())
}

/// The cache of this process.
fn cache() -> Result<&'static Cache> {
    match CACHE.get() {
        Some(cache) => Ok(cache),
        None => {
            let made = Cache::new(None, None)?;
            Ok(CACHE.get_or_init(|| made))
        }
    }
}

/// A local file with the content of `path`, of `bytes` bytes and this `hash`, as a
/// manifest says: `path` itself, or a copy of the object that it names.
pub fn copy_of(path: &Path, bytes: u64, hash: &str) -> Result<PathBuf> {
    match is_remote(path) {
        true => cache()?.copy(path, bytes, hash, Some(hash)),
        false => Ok(path.to_owned()),
    }
}

/// A local file with the content of `path`, an input that no manifest knows.
pub fn copy_of_input(path: &Path) -> Result<PathBuf> {
    if !is_remote(path) {
        return Ok(path.to_owned());
    }
    let object = Remote::new(path)?.object()?.ok_or_else(|| {
        let place = path.display().to_string();
        Error::input(
            place,
            "nothing there (404)",
            "an object to read",
            "check the URL",
        )
    })?;
    let name = format!("{}\n{}\n{}", path.display(), object.bytes, object.version);
    let name = fingerprint::of_bytes(name.as_bytes());
    cache()?.copy(path, object.bytes, &name, None)
}

/// A local folder for files on their way to an object store, and for scratch.
pub fn outgoing() -> Result<PathBuf> {
    static TIDIED: Once = Once::new();
    let folder = cache()?.folder.join("outgoing");
    fs::create_dir_all(&folder).map_err(|e| Error::io("create folder", &folder, e))?;
    TIDIED.call_once(|| remove_older(&folder, STALE));
    Ok(folder)
}

/// Removes files that nobody has written to for so long: a process that was killed left
/// them. What cannot be removed stays.
fn remove_older(folder: &Path, age: Duration) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let written = entry.metadata().and_then(|found| found.modified());
        let old = written.is_ok_and(|time| time.elapsed().is_ok_and(|passed| passed > age));
        if old && entry.path().is_file() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl Cache {
    fn new(folder: Option<PathBuf>, bound: Option<ByteSize>) -> Result<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let home = || {
            let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
            cache.or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".cache")))
        };
        let folder = folder
            .or_else(|| set("CLOZE_CACHE").map(PathBuf::from))
            .or_else(|| home().map(|cache| cache.join("cloze/objects")))
            .unwrap_or_else(|| std::env::temp_dir().join("cloze-objects"));
        let bound = match (bound, set("CLOZE_CACHE_SIZE")) {
            (Some(bound), _) => bound,
            (None, Some(text)) => text.to_string_lossy().parse()?,
            (None, None) => DEFAULT_SIZE,
        };
        Ok(Self {
            folder,
            bound: bound.0,
            used: Mutex::default(),
        })
    }

    /// The copy named `name`, fetched from the URL `path` where it is not there.
    fn copy(&self, path: &Path, bytes: u64, name: &str, hash: Option<&str>) -> Result<PathBuf> {
        let copies = self.folder.join("copies");
        // Some readers look at the name, and people do.
        let called = path.file_name().unwrap_or_default().to_string_lossy();
        let copy = copies.join(format!("{name}-{called}"));
        if self.hold(&copy, bytes)? {
            return Ok(copy);
        }
        let locks = self.folder.join("locks");
        for folder in [&copies, &locks] {
            fs::create_dir_all(folder).map_err(|e| Error::io("create folder", folder, e))?;
        }
        let number = name.bytes().fold(0u8, u8::wrapping_add) % LOCKS;
        let _fetching = lock(&locks.join(number.to_string()))?;
        // Another process may have fetched it meanwhile.
        while !self.hold(&copy, bytes)? {
            self.make_room(path, bytes, &copies, &locks)?;
            fetch(path, bytes, hash, &copy)?;
        }
        Ok(copy)
    }

    /// Keeps the copy where it is, if it is there and whole: it was used just now, and is
    /// until the process ends.
    fn hold(&self, copy: &Path, bytes: u64) -> Result<bool> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.contains_key(copy) {
            return Ok(true);
        }
        let Ok(file) = File::open(copy) else {
            return Ok(false);
        };
        let failed = |error| Error::io("lock", copy, error);
        file.lock_shared().map_err(failed)?;
        // It may have been removed between opening and locking.
        let found = file.metadata().map_err(failed)?;
        let there = fs::metadata(copy).is_ok_and(|there| there.ino() == found.ino());
        if !there || found.len() != bytes {
            return Ok(false);
        }
        // The order of use is all that is lost where the clock cannot be set.
        let _ = file.set_modified(SystemTime::now());
        used.insert(copy.to_owned(), file);
        Ok(true)
    }

    /// Removes what was used longest ago until `bytes` more fit.
    fn make_room(&self, path: &Path, bytes: u64, copies: &Path, locks: &Path) -> Result<()> {
        let _removing = lock(&locks.join("room"))?;
        let failed = |error| Error::io("read folder", copies, error);
        let mut found = Vec::new();
        for entry in fs::read_dir(copies).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Ok(metadata) = entry.metadata() {
                let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                found.push((used, metadata.len(), entry.path()));
            }
        }
        found.sort();
        let mut held: u64 = found.iter().map(|(_, length, _)| length).sum();
        for (_, length, copy) in found {
            if held.saturating_add(bytes) <= self.bound {
                break;
            }
            let Ok(file) = File::open(&copy) else {
                continue;
            };
            match file.try_lock() {
                Ok(()) => {
                    fs::remove_file(&copy).map_err(|e| Error::io("remove", &copy, e))?;
                    held -= length;
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", &copy, error)),
            }
        }
        if held.saturating_add(bytes) <= self.bound {
            return Ok(());
        }
        Err(Error::resource(
            path.display().to_string(),
            format!(
                "{} to keep beside {} in use",
                ByteSize(bytes),
                ByteSize(held)
            ),
            format!(
                "room in {}, which is bounded to {}",
                self.folder.display(),
                ByteSize(self.bound)
            ),
            "raise the bound with --cache-size or CLOZE_CACHE_SIZE, or put the cache on a larger \
             disk with --cache or CLOZE_CACHE",
        ))
    }
}

/// Takes the lock that `path` stands for, waiting for whoever has it; given back with
/// the file.
fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).map_err(|e| Error::io("create", path, e))?;
    file.lock().map_err(|e| Error::io("lock", path, e))?;
    Ok(file)
}

/// Downloads `path` to `copy`, whole or not at all.
fn fetch(path: &Path, bytes: u64, hash: Option<&str>, copy: &Path) -> Result<()> {
    let partial = copy.with_added_extension("partial");
    let written = |error| Error::io("write", &partial, error);
    let mut file = File::create(&partial).map_err(written)?;
    // Making room for another copy leaves it alone.
    file.lock_shared().map_err(written)?;
    let mut hasher = Hasher::new();
    let mut stream = Stream::new(Remote::new(path)?, bytes);
    while let Some(part) = stream.next_part()? {
        hasher.update(&part);
        file.write_all(&part).map_err(written)?;
    }
    let found = hasher.digest();
    if hash.is_some_and(|hash| hash != found) {
        let _ = fs::remove_file(&partial);
        return Err(Error::corrupt(
            path.display().to_string(),
            format!("hash {found}"),
            format!("hash {}, as its manifest says", hash.unwrap_or_default()),
            "the object was replaced or damaged: write it again with the stage that made it",
        ));
    }
    fs::rename(&partial, copy).map_err(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(folder: &Path, bound: u64) -> Cache {
        Cache::new(Some(folder.to_owned()), Some(ByteSize(bound))).unwrap()
    }

    fn put(cache: &Cache, name: &str, bytes: usize, seconds: u64) -> PathBuf {
        let copies = cache.folder.join("copies");
        fs::create_dir_all(&copies).unwrap();
        fs::create_dir_all(cache.folder.join("locks")).unwrap();
        let path = copies.join(name);
        let mut file = File::create(&path).unwrap();
        file.write_all(&vec![7; bytes]).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        file.set_modified(time).unwrap();
        path
    }

    fn make_room(cache: &Cache, bytes: u64) -> Result<()> {
        let (copies, locks) = (cache.folder.join("copies"), cache.folder.join("locks"));
        cache.make_room(Path::new("s3://b/new"), bytes, &copies, &locks)
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_no_more_than_needed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path(), 100);
        let old = put(&cache, "old", 40, 10);
        let newer = put(&cache, "newer", 40, 20);
        make_room(&cache, 20).unwrap();
        assert!(old.exists() && newer.exists());
        make_room(&cache, 60).unwrap();
        assert!(!old.exists() && newer.exists());
    }

    #[test]
    fn what_is_in_use_stays_and_the_bound_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let one = cache(dir.path(), 100);
        let other = cache(dir.path(), 100);
        let copy = put(&one, "used", 90, 10);
        assert!(one.hold(&copy, 90).unwrap());
        for cache in [&one, &other] {
            let error = make_room(cache, 20).unwrap_err().to_string();
            assert!(error.contains("CLOZE_CACHE_SIZE"), "{error}");
        }
        assert!(copy.exists());
        drop(one);
        make_room(&other, 20).unwrap();
        assert!(!copy.exists());
    }

    #[test]
    fn what_a_killed_process_left_goes_after_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let day = Duration::from_secs(24 * 60 * 60);
        for (name, age) in [("old", 2 * day), ("new", day / 2)] {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        remove_older(dir.path(), STALE);
        assert!(!dir.path().join("old").exists() && dir.path().join("new").exists());
    }

    #[test]
    fn a_copy_of_another_length_is_no_copy() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path(), 100);
        let copy = put(&cache, "short", 10, 10);
        assert!(!cache.hold(&copy, 11).unwrap());
        assert!(cache.hold(&copy, 10).unwrap());
    }
}

//! Buckets of bytes that spill to disk: the external memory of counting and of the
//! shard writer. Many threads append records to numbered buckets; all buckets
//! together stay within one bound on memory, and what is over it goes, compressed,
//! to one scratch file. Later each bucket is taken back, once.
//!
//! Cost: a lock and a copy per append (append a few KiB at a time, not a record);
//! a spill compresses with zstd at its lowest level. Disk holds at most the appended
//! bytes and 0.4 % of framing, and is not used again before the end. Not for anything
//! that outlives the process: the file has no name any more when [`Buckets::new`]
//! returns, so the system takes it back however the process ends.

use crate::base::error::{Error, Result};
use crate::base::size::ByteSize;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// zstd level of spilled bytes: the lowest, since the processor is the limit here.
const LEVEL: i32 = 1;

/// A block takes appends until it has this many bytes; it is what is spilled,
/// compressed and handed back as one, so that no copy is larger. 1 MiB compresses
/// as well as more does.
const BLOCK: usize = 1 << 20;

/// A block grows by a quarter, so that at most a fifth of its memory is unused.
const GROWTH: usize = 4;

/// Numbered buckets of bytes under one bound on memory.
pub struct Buckets {
    buckets: Vec<Mutex<Bucket>>,
    /// Bytes of memory that all buckets hold (capacity, not length).
    held: AtomicU64,
    bound: u64,
    spilling: Mutex<()>,
    scratch: Scratch,
}

#[derive(Default)]
struct Bucket {
    /// Oldest first.
    blocks: VecDeque<Block>,
    /// Bytes appended and not yet taken.
    len: u64,
    /// Bytes of memory held (capacity, not length).
    held: u64,
}

enum Block {
    Memory(Vec<u8>),
    Disk {
        offset: u64,
        compressed: usize,
        raw: usize,
    },
}

/// The one file that all buckets spill to, already without a name.
struct Scratch {
    file: File,
    /// The name it had, for messages.
    path: PathBuf,
    end: AtomicU64,
}

impl Buckets {
    /// Empty buckets that hold up to `memory` together and spill to a file in
    /// `folder`, which is made where it is missing.
    pub fn new(folder: &Path, buckets: usize, memory: ByteSize) -> Result<Self> {
        Ok(Self {
            buckets: (0..buckets).map(|_| Mutex::default()).collect(),
            held: AtomicU64::new(0),
            bound: memory.0,
            spilling: Mutex::new(()),
            scratch: Scratch::new(folder)?,
        })
    }

    /// Number of buckets.
    pub fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// Bytes in `bucket` that were appended and not yet taken.
    pub fn len(&self, bucket: usize) -> u64 {
        lock(&self.buckets[bucket]).len
    }

    /// Whether nothing is in any bucket.
    pub fn is_empty(&self) -> bool {
        (0..self.buckets.len()).all(|bucket| self.len(bucket) == 0)
    }

    /// Bytes of scratch disk written so far.
    pub fn spilled(&self) -> ByteSize {
        ByteSize(self.scratch.end.load(Ordering::Relaxed))
    }

    /// Appends `bytes` to `bucket`. They are kept together and in the order of this
    /// thread; between threads the order is that of scheduling. Fails when the disk
    /// is full.
    pub fn append(&self, bucket: usize, bytes: &[u8]) -> Result<()> {
        let grown = lock(&self.buckets[bucket]).append(bytes);
        self.held.fetch_add(grown, Ordering::Relaxed);
        if self.held.load(Ordering::Relaxed) > self.bound {
            self.spill()?;
        }
        Ok(())
    }

    /// Spills the fullest buckets until half of the bound is free again, so that
    /// extents stay large. One thread spills; others that come meanwhile wait,
    /// which is what keeps the bound.
    fn spill(&self) -> Result<()> {
        let _one = self.spilling.lock().unwrap_or_else(PoisonError::into_inner);
        if self.held.load(Ordering::Relaxed) <= self.bound {
            return Ok(());
        }
        let mut fullest: Vec<(u64, usize)> = self
            .buckets
            .iter()
            .enumerate()
            .map(|(index, bucket)| (lock(bucket).held, index))
            .filter(|&(held, _)| held > 0)
            .collect();
        fullest.sort_unstable_by(|a, b| b.cmp(a));
        for (_, index) in fullest {
            if self.held.load(Ordering::Relaxed) <= self.bound / 2 {
                break;
            }
            let freed = lock(&self.buckets[index]).spill(&self.scratch)?;
            self.held.fetch_sub(freed, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes all bytes of `bucket` and leaves it empty. Needs the bucket's length in
    /// memory; [`Buckets::drain`] does not.
    pub fn take(&self, bucket: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let len = self.len(bucket);
        for piece in self.drain(bucket) {
            let piece = piece?;
            if bytes.is_empty() && piece.len() as u64 == len {
                return Ok(piece);
            }
            bytes.reserve_exact((len as usize).saturating_sub(bytes.len()));
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// Takes the bytes of `bucket` piece by piece, in the order of appending; a
    /// piece is one or more whole appends, 1 MiB or the length of one append. Not while
    /// others still append to it.
    pub fn drain(&self, bucket: usize) -> impl Iterator<Item = Result<Vec<u8>>> + '_ {
        std::iter::from_fn(move || {
            let block = {
                let mut state = lock(&self.buckets[bucket]);
                let block = state.blocks.pop_front()?;
                state.len -= block.len() as u64;
                state.held -= block.held();
                self.held.fetch_sub(block.held(), Ordering::Relaxed);
                block
            };
            Some(match block {
                Block::Memory(bytes) => Ok(bytes),
                Block::Disk {
                    offset,
                    compressed,
                    raw,
                } => self.scratch.read(offset, compressed, raw),
            })
        })
    }
}

impl Bucket {
    /// Appends to the last block, or a new one; returns by how much memory grew.
    fn append(&mut self, bytes: &[u8]) -> u64 {
        if bytes.is_empty() {
            return 0;
        }
        let open = matches!(self.blocks.back(), Some(Block::Memory(last)) if last.len() < BLOCK);
        if !open {
            self.blocks.push_back(Block::Memory(Vec::new()));
        }
        let Some(Block::Memory(last)) = self.blocks.back_mut() else {
            return 0;
        };
        let before = last.capacity();
        if before - last.len() < bytes.len() {
            last.reserve_exact(bytes.len().max(last.len() / GROWTH));
        }
        last.extend_from_slice(bytes);
        let grown = (last.capacity() - before) as u64;
        self.len += bytes.len() as u64;
        self.held += grown;
        grown
    }

    /// Writes every block to `scratch`; returns how much memory that freed.
    fn spill(&mut self, scratch: &Scratch) -> Result<u64> {
        let held = self.held;
        for block in &mut self.blocks {
            if let Block::Memory(bytes) = block {
                let spilled = scratch.write(bytes)?;
                self.held -= block.held();
                *block = spilled;
            }
        }
        Ok(held - self.held)
    }
}

impl Block {
    fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::Disk { raw, .. } => *raw,
        }
    }

    /// Bytes of memory.
    fn held(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.capacity() as u64,
            Self::Disk { .. } => 0,
        }
    }
}

/// A thread that panicked leaves its bucket as it was between two appends.
fn lock(bucket: &Mutex<Bucket>) -> MutexGuard<'_, Bucket> {
    bucket.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scratch {
    fn new(folder: &Path) -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("cloze-{}-{number}.scratch", std::process::id()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(|e| Error::io("create", &path, e))?;
        // The open file goes on without its name, and its blocks are freed with it.
        std::fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
        Ok(Self {
            file,
            path,
            end: AtomicU64::new(0),
        })
    }

    fn write(&self, bytes: &[u8]) -> Result<Block> {
        let compressed = zstd::bulk::compress(bytes, LEVEL)
            .map_err(|e| Error::io("compress for", &self.path, e))?;
        let offset = self
            .end
            .fetch_add(compressed.len() as u64, Ordering::Relaxed);
        self.file
            .write_all_at(&compressed, offset)
            .map_err(|e| Error::io("write", &self.path, e))?;
        Ok(Block::Disk {
            offset,
            compressed: compressed.len(),
            raw: bytes.len(),
        })
    }

    fn read(&self, offset: u64, compressed: usize, raw: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; compressed];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(|e| Error::io("read", &self.path, e))?;
        zstd::bulk::decompress(&bytes, raw).map_err(|e| Error::io("decompress", &self.path, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scratch_leaves_nothing_behind_and_stays_within_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let buckets = Buckets::new(folder.path(), 7, ByteSize(10_000)).unwrap();
        for round in 0..1000u32 {
            buckets
                .append(round as usize % 7, &round.to_le_bytes().repeat(25))
                .unwrap();
            assert!(buckets.held.load(Ordering::Relaxed) <= 10_000);
        }
        assert!(buckets.spilled().0 > 0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn threads_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let buckets = Buckets::new(folder.path(), 3, ByteSize(1000)).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8u32 {
                let buckets = &buckets;
                scope.spawn(move || {
                    for n in 0..500u32 {
                        let record = thread * 500 + n;
                        buckets
                            .append(record as usize % 3, &record.to_le_bytes())
                            .unwrap();
                    }
                });
            }
        });
        let mut records = Vec::new();
        for bucket in 0..3 {
            for record in buckets.take(bucket).unwrap().chunks_exact(4) {
                records.push(u32::from_le_bytes(record.try_into().unwrap()));
            }
        }
        records.sort_unstable();
        assert!(records.into_iter().eq(0..4000));
        assert!(buckets.is_empty());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Buckets::new(&file.join("below"), 1, ByteSize(1)).err();
        assert!(error.unwrap().to_string().contains("below"));
    }

    proptest! {
        #[test]
        fn what_is_appended_comes_back_in_order(
            appends in prop::collection::vec((0usize..5, prop::collection::vec(any::<u8>(), 0..40)), 0..120),
            bound in 0u64..600,
            whole in any::<bool>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let buckets = Buckets::new(folder.path(), 5, ByteSize(bound)).unwrap();
            let mut expected = vec![Vec::new(); 5];
            for (bucket, bytes) in &appends {
                buckets.append(*bucket, bytes).unwrap();
                expected[*bucket].extend_from_slice(bytes);
            }
            for (bucket, expected) in expected.iter().enumerate() {
                prop_assert_eq!(buckets.len(bucket), expected.len() as u64);
                let found = if whole {
                    buckets.take(bucket).unwrap()
                } else {
                    buckets.drain(bucket).collect::<Result<Vec<_>>>().unwrap().concat()
                };
                prop_assert_eq!(&found, expected);
                prop_assert_eq!(buckets.len(bucket), 0);
            }
            prop_assert_eq!(buckets.held.load(Ordering::Relaxed), 0);
        }
    }
}

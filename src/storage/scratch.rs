//! Buckets of bytes that spill to disk: the external memory of counting and of the
//! shard writer. Many threads append records to numbered buckets; all buckets
//! together stay within one bound on memory, and what is over it goes, compressed,
//! to one scratch file. Later each bucket is taken back, once, and its memory may take
//! other bytes ([`Buckets::reuse`]); or all is kept, to be read many times
//! ([`Buckets::keep`]).
//!
//! Cost: a lock and a copy per append (append a few KiB at a time, not a record), into
//! blocks that never grow: memory that is touched for the first time costs more than
//! what is copied there (0.15 to 3 s a GB). A spill compresses with zstd at its lowest
//! level. Disk holds at most the appended bytes and 0.4 % of framing, and is not used
//! again before the end. Not for anything that outlives the process: the file has no
//! name any more when [`Buckets::new`] returns, so the system takes it back however the
//! process ends.

use crate::base::error::{Error, Result};
use crate::base::size::ByteSize;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// zstd level of spilled bytes: the lowest, since the processor is the limit here.
const LEVEL: i32 = 1;

/// What is compressed and handed back as one: 1 MiB compresses as well as more does.
const FRAME: usize = 1 << 20;

/// The least that a block has room for.
const LEAST_BLOCK: usize = 1 << 9;

/// Numbered buckets of bytes under one bound on memory.
pub struct Buckets {
    buckets: Vec<Mutex<Bucket>>,
    /// Room of a block: the last ones of all buckets are an eighth of the bound.
    room: usize,
    /// Empty blocks to be used again.
    free: Mutex<Vec<Vec<u8>>>,
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
        let room = memory.bytes() / 8 / buckets.max(1);
        Ok(Self {
            buckets: (0..buckets).map(|_| Mutex::default()).collect(),
            room: room.clamp(LEAST_BLOCK, FRAME),
            free: Mutex::default(),
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
        let grown = lock(&self.buckets[bucket]).append(bytes, || self.block(bytes.len()));
        self.held.fetch_add(grown, Ordering::Relaxed);
        if self.held.load(Ordering::Relaxed) > self.bound {
            self.spill()?;
        }
        Ok(())
    }

    /// An empty block with room for `len` bytes.
    fn block(&self, len: usize) -> Vec<u8> {
        if len <= self.room
            && let Some(block) = lock(&self.free).pop()
        {
            return block;
        }
        Vec::with_capacity(len.max(self.room))
    }

    /// Takes the memory of a piece for bytes that will be appended.
    pub fn reuse(&self, mut piece: Vec<u8>) {
        let mut free = lock(&self.free);
        let all = self.held.load(Ordering::Relaxed) + ((free.len() + 1) * self.room) as u64;
        if piece.capacity() == self.room && all <= self.bound {
            piece.clear();
            free.push(piece);
        }
    }

    /// Spills the fullest buckets until half of the bound is free again, so that
    /// extents stay large. One thread spills; others that come meanwhile wait,
    /// which is what keeps the bound.
    fn spill(&self) -> Result<()> {
        let _one = lock(&self.spilling);
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
            let freed = self.spill_bucket(index)?;
            self.held.fetch_sub(freed, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Writes all that a bucket holds in memory to scratch, several blocks as one;
    /// returns how much memory that freed.
    fn spill_bucket(&self, index: usize) -> Result<u64> {
        let mut bucket = lock(&self.buckets[index]);
        let held = bucket.held;
        let mut spilled = VecDeque::with_capacity(bucket.blocks.len());
        let mut frame = Vec::new();
        let write = |frame: &mut Vec<u8>, spilled: &mut VecDeque<Block>| {
            if !frame.is_empty() {
                spilled.push_back(self.scratch.write(frame)?);
                frame.clear();
            }
            Ok(())
        };
        while let Some(block) = bucket.blocks.pop_front() {
            let Block::Memory(bytes) = block else {
                spilled.push_back(block);
                continue;
            };
            if frame.len() + bytes.len() > FRAME {
                write(&mut frame, &mut spilled)?;
            }
            if frame.is_empty() && bytes.len() >= FRAME / 2 {
                spilled.push_back(self.scratch.write(&bytes)?);
            } else {
                frame.extend_from_slice(&bytes);
            }
            bucket.held -= bytes.capacity() as u64;
            self.reuse(bytes);
        }
        write(&mut frame, &mut spilled)?;
        bucket.blocks = spilled;
        Ok(held - bucket.held)
    }

    /// Takes the bytes of `bucket` piece by piece, in the order of appending; a
    /// piece is one or more whole appends, up to 1 MiB or the length of one append. Not
    /// while others still append to it.
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

    /// Keeps what is in the buckets, to be read any number of times.
    pub fn keep(self) -> Kept {
        let blocks = self.buckets.into_iter().flat_map(|bucket| {
            let bucket = bucket.into_inner().unwrap_or_else(PoisonError::into_inner);
            bucket.blocks
        });
        Kept {
            blocks: blocks.collect(),
            scratch: self.scratch,
        }
    }
}

/// What was in buckets, bucket behind bucket, no longer changed.
pub struct Kept {
    blocks: Vec<Block>,
    scratch: Scratch,
}

impl Kept {
    /// Number of pieces; each is what [`Buckets::drain`] would have handed over.
    pub fn pieces(&self) -> usize {
        self.blocks.len()
    }

    /// The bytes of a piece: as they lie in memory, or read from disk.
    pub fn piece(&self, piece: usize) -> Result<Cow<'_, [u8]>> {
        match &self.blocks[piece] {
            Block::Memory(bytes) => Ok(Cow::Borrowed(bytes)),
            &Block::Disk {
                offset,
                compressed,
                raw,
            } => self.scratch.read(offset, compressed, raw).map(Cow::Owned),
        }
    }

    /// Bytes of scratch disk written.
    pub fn spilled(&self) -> ByteSize {
        ByteSize(self.scratch.end.load(Ordering::Relaxed))
    }
}

impl Bucket {
    /// Appends to the last block, or to a new one that `block` makes; returns by how
    /// much memory grew.
    fn append(&mut self, bytes: &[u8], block: impl FnOnce() -> Vec<u8>) -> u64 {
        self.len += bytes.len() as u64;
        if let Some(Block::Memory(last)) = self.blocks.back_mut()
            && last.capacity() - last.len() >= bytes.len()
        {
            last.extend_from_slice(bytes);
            return 0;
        }
        if bytes.is_empty() {
            return 0;
        }
        let mut new = block();
        new.extend_from_slice(bytes);
        let grown = new.capacity() as u64;
        self.blocks.push_back(Block::Memory(new));
        self.held += grown;
        grown
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

/// A thread that panicked leaves what it had locked as it was between two appends.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
            for piece in buckets.drain(bucket) {
                for record in piece.unwrap().chunks_exact(4) {
                    records.push(u32::from_le_bytes(record.try_into().unwrap()));
                }
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
            bound in 0u64..6000,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let buckets = Buckets::new(folder.path(), 5, ByteSize(bound)).unwrap();
            // The second time in memory that was used before.
            for _ in 0..2 {
                let mut expected = vec![Vec::new(); 5];
                for (bucket, bytes) in &appends {
                    buckets.append(*bucket, bytes).unwrap();
                    expected[*bucket].extend_from_slice(bytes);
                }
                for (bucket, expected) in expected.iter().enumerate() {
                    prop_assert_eq!(buckets.len(bucket), expected.len() as u64);
                    let mut found = Vec::new();
                    for piece in buckets.drain(bucket) {
                        let piece = piece.unwrap();
                        found.extend_from_slice(&piece);
                        buckets.reuse(piece);
                    }
                    prop_assert_eq!(&found, expected);
                    prop_assert_eq!(buckets.len(bucket), 0);
                }
                prop_assert_eq!(buckets.held.load(Ordering::Relaxed), 0);
                let free = lock(&buckets.free).len() * buckets.room;
                prop_assert!(free as u64 <= bound);
            }
            for (bucket, bytes) in &appends {
                buckets.append(*bucket, bytes).unwrap();
            }
            let spilled = buckets.spilled();
            let kept = buckets.keep();
            prop_assert_eq!(kept.spilled(), spilled);
            let mut expected: Vec<(usize, Vec<u8>)> = appends.clone();
            expected.sort_by_key(|&(bucket, _)| bucket);
            let expected: Vec<u8> = expected.into_iter().flat_map(|(_, bytes)| bytes).collect();
            for _ in 0..2 {
                let found: Vec<u8> = (0..kept.pieces())
                    .flat_map(|piece| kept.piece(piece).unwrap().into_owned())
                    .collect();
                prop_assert_eq!(&found, &expected);
            }
        }
    }
}

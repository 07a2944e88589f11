//! A set of shards, opened as one list of record batches. Opening maps every shard (or
//! opens it for `pread`) and reads its footer; it touches no text. A record batch is
//! reached in O(1), a document in the logarithm of the number of record batches.

use crate::base::error::{Error, Result};
use crate::base::token::{SpecialTokens, is_wide};
use crate::columnar::{DocumentBatch, DocumentFile, Projection};
use crate::config::ShardRead;
use crate::shard::map::MappedSource;
use crate::storage::{Artefact, ArtefactKind, ByteSource, FileSource, TokenizerRecord};
use std::path::Path;

/// Where one record batch of the set lies, and how much is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchPlace {
    /// Index of the shard.
    pub shard: u32,
    /// Index of the record batch in that shard.
    pub batch: u32,
    /// Documents in it.
    pub documents: u64,
    /// Tokens in it.
    pub tokens: u64,
}

/// All shards of one folder.
pub struct ShardSet {
    artefact: Artefact,
    shards: Vec<DocumentFile<Box<dyn ByteSource>>>,
    batches: Vec<BatchPlace>,
    /// The first document of each record batch.
    firsts: Vec<u64>,
}

impl ShardSet {
    /// Opens the shards in `folder` (token files serve as well: they are shards
    /// without units). Refuses a file that is missing or not as long as its manifest
    /// says, ids too wide for the file, and shards of which only some have units.
    pub fn open(folder: &Path) -> Result<Self> {
        Self::open_by(folder, ShardRead::Mmap)
    }

    /// As [`ShardSet::open`], read in this way.
    pub fn open_by(folder: &Path, read: ShardRead) -> Result<Self> {
        let artefact = Artefact::open_any(folder)?;
        if !matches!(artefact.kind(), ArtefactKind::Shards | ArtefactKind::Tokens) {
            return Err(Error::mismatch(
                folder.display().to_string(),
                artefact.kind().name(),
                "shards or token files",
                "give the folder that `cloze shard` wrote",
            ));
        }
        let wide = is_wide(artefact.tokenizer()?.vocabulary_size as usize);
        let mut shards = Vec::new();
        let mut batches = Vec::new();
        for copy in artefact.copies() {
            let (path, record) = copy?;
            let source: Box<dyn ByteSource> = match read {
                ShardRead::Mmap => Box::new(MappedSource::open(&path)?),
                ShardRead::Pread => Box::new(FileSource::open(&path)?),
            };
            let found = source.len();
            if found != record.bytes {
                return Err(Error::corrupt(
                    path.display().to_string(),
                    format!("{found} bytes"),
                    format!("{} bytes, as its manifest says", record.bytes),
                    "the file was cut short or replaced: write it again",
                ));
            }
            let file = DocumentFile::open(source)?;
            if file.is_wide() != wide {
                return Err(Error::mismatch(
                    path.display().to_string(),
                    format!("{}-bit ids", if wide { 16 } else { 32 }),
                    format!(
                        "{}-bit ids for a vocabulary of {}",
                        if wide { 32 } else { 16 },
                        artefact.tokenizer()?.vocabulary_size
                    ),
                    "tokenizer and files do not belong together: tokenise again",
                ));
            }
            let shard = shards.len() as u32;
            for (batch, place) in (0..).zip(&file.footer().batches) {
                batches.push(BatchPlace {
                    shard,
                    batch,
                    documents: place.rows,
                    tokens: place.tokens,
                });
            }
            shards.push(file);
        }
        let with_units = shards.iter().filter(|file| file.has_spans()).count();
        if with_units != 0 && with_units != shards.len() {
            return Err(Error::mismatch(
                folder.display().to_string(),
                format!("{with_units} of {} shards with units", shards.len()),
                "all or none",
                "write the shards again into an empty folder",
            ));
        }
        let mut next = 0;
        let firsts = batches.iter().map(|batch| {
            next += batch.documents;
            next - batch.documents
        });
        Ok(Self {
            artefact,
            shards,
            firsts: firsts.collect(),
            batches,
        })
    }

    /// The manifests behind the set.
    pub fn artefact(&self) -> &Artefact {
        &self.artefact
    }

    /// The tokenizer behind the ids.
    pub fn tokenizer(&self) -> Result<&TokenizerRecord> {
        self.artefact.tokenizer()
    }

    /// The special tokens by role.
    pub fn special_tokens(&self) -> Result<&SpecialTokens> {
        Ok(&self.artefact.tokenizer()?.special_tokens)
    }

    /// All record batches: shard by shard, in order.
    pub fn batches(&self) -> &[BatchPlace] {
        &self.batches
    }

    /// Whether the shards hold masking units.
    pub fn has_units(&self) -> bool {
        self.shards.iter().any(DocumentFile::has_spans)
    }

    /// Tokens in the set.
    pub fn tokens(&self) -> u64 {
        self.batches.iter().map(|batch| batch.tokens).sum()
    }

    /// Documents in the set.
    pub fn documents(&self) -> u64 {
        self.batches.iter().map(|batch| batch.documents).sum()
    }

    /// Where document `number` of the set is: its record batch, and its place there.
    /// `None` behind the last one.
    pub fn find(&self, number: u64) -> Option<(usize, usize)> {
        let batch = self
            .firsts
            .partition_point(|&first| first <= number)
            .checked_sub(1)?;
        let place = number - self.firsts[batch];
        (place < self.batches[batch].documents).then_some((batch, place as usize))
    }

    /// Decodes record batch `index` of [`batches`](Self::batches).
    pub fn read(&self, index: usize, projection: Projection) -> Result<DocumentBatch> {
        let place = self.batches[index];
        self.shards[place.shard as usize].batch(place.batch as usize, projection)
    }

    /// Checks every record batch's hash and decodes it.
    pub fn verify(&self) -> Result<()> {
        self.shards.iter().try_for_each(DocumentFile::verify)
    }
}

//! Layer 2, corpora of token ids as other programs keep them: Megatron's indexed
//! datasets, MosaicML's MDS shards, datatrove's `.ds`, and lists of ids in Arrow and
//! Parquet files (Hugging Face datasets). Every format is read as one stream of
//! documents a file, in the order in which it stores them.
//!
//! Memory: a window of 1 MiB and one document a file that is open; for MDS also 4 bytes
//! a sample of one shard, for Arrow and Parquet one record batch of one column. A file
//! that is not what its index says is an error, not a rejected document: whatever is
//! read behind such a place would be noise.

mod datatrove;
pub mod inputs;
mod mds;
pub mod megatron;
mod numbers;
mod window;

pub use inputs::{IdFile, Kind};
pub use numbers::Number;

use crate::base::error::Result;
use crate::base::token::TokenId;
use crate::columnar::column::ColumnarFormat;
use crate::columnar::ids::IdRows;
use crate::config::IdType;

/// The documents of one file, in order; `None` where the file says that one is missing.
pub type Documents = Box<dyn Iterator<Item = Result<Option<Vec<TokenId>>>> + Send>;

/// What the user says about the ids in a file that does not say it itself.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The column that holds them.
    pub column: Option<String>,
    /// What they are stored as.
    pub id_type: Option<IdType>,
    /// Ids are below this, which tells bytes of one width from bytes of another.
    pub vocabulary_size: u64,
    /// Documents end at separators, so a file need not say where they do.
    pub separated: bool,
}

/// Opens the documents of `file`.
pub fn open(file: &IdFile, reading: &Reading) -> Result<Documents> {
    let column = reading.column.as_deref();
    Ok(match file.kind {
        Kind::Megatron => Box::new(megatron::Reader::open(&file.path)?),
        Kind::Mds => Box::new(mds::ids(&file.path, reading)?),
        Kind::Datatrove => Box::new(datatrove::Reader::open(&file.path, reading)?),
        Kind::Arrow => Box::new(IdRows::open(&file.path, column, ColumnarFormat::Arrow)?),
        Kind::Parquet => Box::new(IdRows::open(&file.path, column, ColumnarFormat::Parquet)?),
    })
}

#[cfg(test)]
mod tests;

//! Keys of `cloze import` and `cloze export`: corpora in the formats of other programs.

use super::TokenizeConfig;
use crate::base::error::{Error, Result};
use crate::base::size::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How a corpus of token ids is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IdFormat {
    /// By the file's name, and by what lies in a folder.
    #[default]
    Auto,
    /// Megatron's indexed dataset: PREFIX.bin and PREFIX.idx.
    Megatron,
    /// MosaicML streaming: a folder with index.json and shards, or one .mds file.
    Mds,
    /// datatrove: .ds with .ds.index beside it.
    Datatrove,
    /// Arrow IPC, file or stream, as Hugging Face datasets saves and caches it.
    Arrow,
    /// Apache Parquet.
    Parquet,
}

/// The integers that ids are stored as, where a file does not say so itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IdType {
    /// 16 bits, unsigned.
    Uint16,
    /// 32 bits, signed or unsigned.
    Int32,
    /// 64 bits, signed or unsigned.
    Int64,
}

impl IdType {
    /// From the widest to the narrowest.
    pub const ALL: [IdType; 3] = [Self::Int64, Self::Int32, Self::Uint16];

    /// Bytes of an id.
    pub fn bytes(self) -> usize {
        match self {
            Self::Uint16 => 2,
            Self::Int32 => 4,
            Self::Int64 => 8,
        }
    }
}

/// Where a document of an imported corpus ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DocumentEnd {
    /// Where the format says so: at the end of a row, a sample, or an index entry.
    #[default]
    Stored,
    /// At every separator (`[CLS]`, `[SEP]`, `</s>`, `<|endoftext|>`), and nowhere else: for documents
    /// joined and cut into rows of equal length.
    Separator,
}

/// A corpus of token ids to token files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ImportConfig {
    /// Files, folders and globs.
    pub inputs: Vec<String>,
    /// The tokenizer that made the ids: a vocab.txt, a tokenizer.json, or a folder with
    /// one of them or with vocab.json and merges.txt.
    pub tokenizer: PathBuf,
    /// How the inputs are written.
    pub format: IdFormat,
    /// The column that holds the ids, in Parquet, Arrow and MDS; without it input_ids,
    /// or else tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What ids are stored as, in a .ds file or a column of bytes that does not say so;
    /// without it the widest with which the ids are ids of this tokenizer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_type: Option<IdType>,
    /// Where a document ends. Special tokens are left out either way.
    pub document_end: DocumentEnd,
    /// Lower-case and strip accents, for a vocab.txt only; without it, by
    /// tokenizer_config.json or by whether the vocabulary has upper-case words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lowercase: Option<bool>,
    /// Spelling of the mask token, when it cannot be found by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_token: Option<String>,
    /// Spelling of the token that opens a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cls_token: Option<String>,
    /// Spelling of the token that closes a row and stands between documents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sep_token: Option<String>,
    /// Spelling of the token that fills short rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pad_token: Option<String>,
    /// Spelling of the unknown token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unk_token: Option<String>,
    /// Append the special tokens named above to the vocabulary where it lacks them.
    pub add_special_tokens: bool,
    /// Append <extra_id_0>, <extra_id_1>, … to the vocabulary where it lacks them, so
    /// that it has this many, for the layout `sentinel`; T5 has 100.
    pub sentinels: u32,
    /// Tokens of the longest document; a longer one is rejected.
    pub max_document_tokens: u64,
    /// The share of documents that may be rejected before the stage fails, 0 to 1.
    pub max_rejected: f64,
    /// Text in a token file, about. A run that was stopped goes on after the last
    /// file that was finished.
    pub file_bytes: ByteSize,
    /// Tokens in a record batch, the unit of access, compression and checksum.
    pub batch_tokens: u32,
    /// Level of zstd, 1 to 19.
    pub zstd_level: i32,
}

impl Default for ImportConfig {
    fn default() -> Self {
        let tokenize = TokenizeConfig::default();
        Self {
            inputs: Vec::new(),
            tokenizer: PathBuf::new(),
            format: IdFormat::Auto,
            column: None,
            id_type: None,
            document_end: DocumentEnd::Stored,
            lowercase: None,
            mask_token: None,
            cls_token: None,
            sep_token: None,
            pad_token: None,
            unk_token: None,
            add_special_tokens: false,
            sentinels: 0,
            max_document_tokens: 1 << 22,
            max_rejected: tokenize.max_rejected,
            file_bytes: tokenize.file_bytes,
            batch_tokens: tokenize.batch_tokens,
            zstd_level: tokenize.zstd_level,
        }
    }
}

impl ImportConfig {
    /// The keys that say how a tokenizer is loaded, as `cloze tokenize` has them.
    pub fn tokenizer_keys(&self) -> TokenizeConfig {
        TokenizeConfig {
            inputs: self.inputs.clone(),
            tokenizer: self.tokenizer.clone(),
            lowercase: self.lowercase,
            mask_token: self.mask_token.clone(),
            cls_token: self.cls_token.clone(),
            sep_token: self.sep_token.clone(),
            pad_token: self.pad_token.clone(),
            unk_token: self.unk_token.clone(),
            add_special_tokens: self.add_special_tokens,
            sentinels: self.sentinels,
            max_rejected: self.max_rejected,
            batch_tokens: self.batch_tokens,
            zstd_level: self.zstd_level,
            ..TokenizeConfig::default()
        }
    }

    /// Refuses what cannot work.
    pub fn check(&self) -> Result<()> {
        if self.inputs.is_empty() {
            return Err(Error::usage(
                "import.inputs",
                "no input",
                "at least one file, folder or glob",
                "name what to import",
            ));
        }
        if self.max_document_tokens == 0 {
            return Err(Error::usage(
                "import.max_document_tokens",
                "0",
                "at least 1",
                "raise it, or leave it out",
            ));
        }
        self.tokenizer_keys().check()
    }
}

/// What other programs read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// Megatron's indexed dataset, tokens-00000.bin and .idx: each document one sequence.
    Megatron,
    /// Apache Parquet, one document a row: ids and where words start.
    Parquet,
}

/// Token files or shards to the formats of other programs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ExportConfig {
    /// What to write.
    pub format: ExportFormat,
    /// Name of the column of ids, in Parquet.
    pub column: String,
    /// Put the separator (`[SEP]`, `</s>`, `<|endoftext|>`) behind every document, as
    /// Megatron's --append-eod does.
    pub append_separator: bool,
    /// Tokens in a file, about; 0 puts all into one.
    pub file_tokens: u64,
}

impl Default for ExportConfig {
    fn default() -> Self {
        Self {
            format: ExportFormat::Parquet,
            column: "input_ids".into(),
            append_separator: false,
            file_tokens: 1 << 30,
        }
    }
}

impl ExportConfig {
    /// Refuses what cannot work.
    pub fn check(&self) -> Result<()> {
        let taken = ["document_id", "word_start", "span_start"];
        if self.column.is_empty() || taken.contains(&self.column.as_str()) {
            return Err(Error::usage(
                "export.column",
                format!("{:?}", self.column),
                "a name that no other column has",
                "name it input_ids or tokens",
            ));
        }
        Ok(())
    }
}

//! Keys of `cloze tokenize`.

use crate::base::error::{Error, Result};
use crate::base::size::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How the inputs are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TextFormat {
    /// By the file's name: .jsonl, .parquet, .arrow, .mds, .md, .txt; wiki_NN is
    /// WikiExtractor's; anything else plain text.
    #[default]
    Auto,
    /// Plain text or Markdown.
    Text,
    /// One JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC, file or stream.
    Arrow,
    /// WikiExtractor's `<doc …>` … `</doc>`.
    Wikiextractor,
    /// MosaicML's MDS shards.
    Mds,
}

/// What one document of plain text is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DocumentRule {
    /// The whole file.
    #[default]
    File,
    /// Each line; blank lines are left out.
    Line,
    /// Each run of lines between blank lines.
    Paragraph,
}

/// What turns text into tokens. The tokens are the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenizerPath {
    /// The fast path where it knows the tokenizer, the library otherwise.
    #[default]
    Auto,
    /// The tokenizers library, for comparison: 50 to 100 times slower.
    Library,
}

/// Raw text to token files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TokenizeConfig {
    /// Files, folders and globs; .gz, .zst, .bz2 and .xz are seen by content.
    pub inputs: Vec<String>,
    /// A vocab.txt, a tokenizer.json, or a folder with one of them or with
    /// vocab.json and merges.txt.
    pub tokenizer: PathBuf,
    /// What turns text into tokens; the tokens are the same.
    #[serde(skip_serializing_if = "is_auto")]
    pub tokenizer_path: TokenizerPath,
    /// How the inputs are written.
    pub format: TextFormat,
    /// What one document of plain text is.
    pub document: DocumentRule,
    /// The field or column that holds the text, in jsonl, Parquet, Arrow and MDS.
    pub text_field: String,
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
    #[serde(skip_serializing_if = "is_zero")]
    pub sentinels: u32,
    /// The longest document; a longer one is rejected. A tokenizer needs up to 12 times a
    /// document's size while it works on it, and 128 times where the library does.
    pub max_document: ByteSize,
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

/// More than any row has spans.
const MOST_SENTINELS: u32 = 1 << 16;

/// Configurations without sentinels are written as they always were.
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// The path leaves no trace in the files.
fn is_auto(path: &TokenizerPath) -> bool {
    *path == TokenizerPath::Auto
}

impl Default for TokenizeConfig {
    fn default() -> Self {
        Self {
            inputs: Vec::new(),
            tokenizer: PathBuf::new(),
            tokenizer_path: TokenizerPath::Auto,
            format: TextFormat::Auto,
            document: DocumentRule::File,
            text_field: "text".into(),
            lowercase: None,
            mask_token: None,
            cls_token: None,
            sep_token: None,
            pad_token: None,
            unk_token: None,
            add_special_tokens: false,
            sentinels: 0,
            max_document: ByteSize::mib(16),
            max_rejected: 0.01,
            file_bytes: ByteSize::mib(64),
            batch_tokens: 1 << 16,
            zstd_level: 1,
        }
    }
}

impl TokenizeConfig {
    /// Makes its paths relative to `folder`.
    pub fn relative_to(&mut self, folder: &Path) {
        for input in &mut self.inputs {
            *input = folder.join(&*input).display().to_string();
        }
        if !self.tokenizer.as_os_str().is_empty() {
            self.tokenizer = folder.join(&self.tokenizer);
        }
    }

    /// Refuses what cannot work.
    pub fn check(&self) -> Result<()> {
        if self.inputs.is_empty() {
            return Err(Error::usage(
                "tokenize.inputs",
                "no input",
                "at least one file, folder or glob",
                "name what to tokenise",
            ));
        }
        if self.sentinels > MOST_SENTINELS {
            return Err(Error::usage(
                "tokenize.sentinels",
                self.sentinels.to_string(),
                format!("at most {MOST_SENTINELS}"),
                "a row needs one for each of its spans; T5 has 100",
            ));
        }
        if self.tokenizer.as_os_str().is_empty() {
            return Err(Error::usage(
                "tokenize.tokenizer",
                "nothing",
                "a vocab.txt, a tokenizer.json or a folder with one",
                "give --tokenizer FILE",
            ));
        }
        super::keys::check_share("tokenize.max_rejected", self.max_rejected)?;
        super::keys::check_zstd_level("tokenize.zstd_level", self.zstd_level)?;
        super::keys::check_batch_tokens("tokenize.batch_tokens", self.batch_tokens)
    }
}

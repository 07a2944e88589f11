//! The stages `count` and `vocabulary` on a novel: the same bytes whatever the
//! threads, the memory and the number of parts, merged in whatever way; what does not
//! fit is refused.

mod bounds;
mod failures;
mod parts;
mod raw_text;
mod vocabularies;

use cloze::base::part::Part;
use cloze::base::size::ByteSize;
use cloze::config::CountConfig;
use cloze::config::DocumentRule;
use cloze::config::TokenizeConfig;
use cloze::pipeline::count::count;
use cloze::pipeline::runs::count_run;
use cloze::pipeline::stage::StageOptions;
use cloze::pipeline::tokenize::tokenize;
use cloze::storage::Manifest;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use tempfile::TempDir;

const NOVEL: &str = "Doyle_Hound_1902.txt";

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn options(threads: usize, memory: ByteSize) -> StageOptions {
    StageOptions {
        threads,
        memory,
        ..StageOptions::new()
    }
}

fn usual() -> StageOptions {
    options(2, ByteSize::mib(1024))
}

fn tokens_of(folder: &Path, name: &str, texts: &[&str]) -> PathBuf {
    let output = folder.join(name);
    let quickstart = data("quickstart");
    let config = TokenizeConfig {
        inputs: texts
            .iter()
            .map(|text| quickstart.join(text).display().to_string())
            .collect(),
        tokenizer: data("tokenizers/bert-base-uncased/vocab.txt"),
        document: DocumentRule::Paragraph,
        batch_tokens: 4096,
        ..TokenizeConfig::default()
    };
    tokenize(&config, &output, &options(2, ByteSize::mib(4096))).unwrap();
    output
}

fn low_threshold() -> CountConfig {
    CountConfig {
        min_count: 3,
        ..CountConfig::default()
    }
}

/// Names and bytes of all Parquet files.
fn parquet_files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .filter(|(name, _)| name.ends_with(".parquet"))
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect()
}

fn part(index: u32, of: u32) -> StageOptions {
    StageOptions {
        part: Part::new(index, of).unwrap(),
        ..usual()
    }
}

/// Counts `tokens` to the runs of `of` parts, last part first.
fn runs_of(config: &CountConfig, tokens: &Path, output: &Path, of: u32) {
    for index in (0..of).rev() {
        count_run(config, tokens, output, &part(index, of)).unwrap();
    }
}

/// Raw text as it is read by `tokens_of`.
fn text(tokenizer: Option<&str>) -> TokenizeConfig {
    let novel = data("quickstart/Doyle_Hound_1902.txt");
    TokenizeConfig {
        inputs: vec![novel.display().to_string()],
        tokenizer: tokenizer.map(data).unwrap_or_default(),
        document: DocumentRule::Paragraph,
        ..TokenizeConfig::default()
    }
}

/// Token files of the novel in small record batches, and a low threshold.
struct Novel {
    dir: TempDir,
    tokens: PathBuf,
    config: CountConfig,
}

impl Novel {
    fn tokenised() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            tokens: tokens_of(dir.path(), "tokens", &[NOVEL]),
            dir,
            config: low_threshold(),
        }
    }
}

/// Counts `tokens` into `output`: the manifest, and the files.
fn counted(
    config: &CountConfig,
    tokens: &Path,
    output: &Path,
) -> (Manifest, BTreeMap<String, Vec<u8>>) {
    let manifest = count(config, tokens, output, &usual()).unwrap();
    (manifest, parquet_files(output))
}

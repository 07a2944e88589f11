//! The stage from raw text to token files: what comes out, and that neither threads nor parts
//! nor a kill change a byte; in the other files what is rejected.

mod damaged_tables;
mod refused;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use cloze::base::part::Part;
use cloze::base::size::ByteSize;
use cloze::columnar::{DocumentFile, Projection};
use cloze::config::{DocumentRule, TokenizeConfig, TokenizerPath};
use cloze::pipeline::stage::StageOptions;
use cloze::pipeline::tokenize::tokenize;
use cloze::storage::{Artefact, ArtefactKind, FileSource, Manifest};
use cloze::tokenizer::{Encoded, Tokenizer, read_written};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn config(inputs: &[PathBuf]) -> TokenizeConfig {
    TokenizeConfig {
        inputs: inputs
            .iter()
            .map(|path| path.display().to_string())
            .collect(),
        tokenizer: data("tokenizers/wordpiece-cased"),
        document: DocumentRule::Paragraph,
        file_bytes: ByteSize(20_000),
        ..TokenizeConfig::default()
    }
}

fn options(threads: usize) -> StageOptions {
    StageOptions {
        threads,
        ..StageOptions::new()
    }
}

/// The first 250 000 characters of a novel, whose lines end in CR and LF.
fn novel() -> String {
    let novel = fs::read_to_string(data("quickstart/Doyle_Hound_1902.txt")).unwrap();
    novel.chars().take(250_000).collect()
}

/// Its paragraphs.
fn paragraphs(novel: &str) -> impl Iterator<Item = &str> {
    let paragraphs = novel.split("\r\n\r\n");
    paragraphs.filter(|text| !text.trim().is_empty())
}

/// A folder with a few hundred documents in every kind of file, and one bad line.
fn corpus(folder: &Path) -> PathBuf {
    let input = folder.join("input");
    fs::create_dir(&input).unwrap();
    let novel = novel();
    fs::write(input.join("a novel.txt"), &novel).unwrap();
    let lines: String = paragraphs(&novel)
        .take(300)
        .map(|text| json!({"n": 1, "text": text}).to_string() + "\n")
        .collect();
    fs::write(input.join("b.jsonl"), format!("{lines}{{}}\n")).unwrap();
    let packed = zstd::encode_all(lines.as_bytes(), 3).unwrap();
    fs::write(input.join("c.jsonl.zst"), packed).unwrap();
    let rows: Vec<&str> = novel
        .lines()
        .filter(|line| !line.trim().is_empty())
        .take(900)
        .collect();
    parquet(
        &input.join("d.parquet"),
        "text",
        rows.iter().copied().map(Some).collect(),
    );
    input
}

fn parquet(path: &Path, column: &str, rows: Vec<Option<&str>>) {
    let column: (&str, ArrayRef, bool) = (column, Arc::new(StringArray::from(rows)), true);
    let batch = RecordBatch::try_from_iter_with_nullable([column]).unwrap();
    let file = fs::File::create(path).unwrap();
    let mut writer = ::parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Every file of a folder, hidden ones too.
fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect()
}

fn same_bytes(found: &Path, expected: &Path, when: &str) {
    let (found, expected) = (bytes(found), bytes(expected));
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected), "{when}");
    for (name, bytes) in &expected {
        assert!(found[name] == *bytes, "{name} differs {when}");
    }
}

/// Id to tokens and word starts of all documents of an artefact.
fn documents(folder: &Path) -> BTreeMap<u64, (Vec<u32>, Vec<bool>)> {
    let artefact = Artefact::open(folder, ArtefactKind::Tokens).unwrap();
    let mut all = BTreeMap::new();
    for (path, _) in artefact.files() {
        let file = DocumentFile::open(FileSource::open(path).unwrap()).unwrap();
        for batch in 0..file.footer().batches.len() {
            for document in file.batch(batch, Projection::ALL).unwrap().documents() {
                let words = document.word_start.unwrap().iter().collect();
                let before = all.insert(document.id, (document.tokens.to_vec(), words));
                assert!(before.is_none(), "document {} stands twice", document.id);
            }
        }
    }
    all
}

fn rejected(folder: &Path) -> Vec<Value> {
    fs::read_to_string(folder.join("rejected.jsonl"))
        .unwrap_or_default()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn an_id_leads_back_to_the_text_that_its_tokens_come_from() {
    let dir = tempfile::tempdir().unwrap();
    let input = corpus(dir.path());
    let out = dir.path().join("out");
    let manifest = tokenize(&config(&[input]), &out, &options(2)).unwrap();
    let record = manifest.tokenizer.clone().unwrap();
    let tokenizer = read_written(&out, &record).unwrap();
    let documents = documents(&out);
    assert_eq!(documents.len() as u64, manifest.total("documents"));
    let tokens: usize = documents.values().map(|(tokens, _)| tokens.len()).sum();
    assert_eq!(tokens as u64, manifest.total("tokens"));
    let words = documents
        .values()
        .flat_map(|(_, words)| words)
        .filter(|&&word| word);
    assert_eq!(words.count() as u64, manifest.total("words"));
    assert_eq!(manifest.total("rejected"), 1);
    assert!(manifest.files.len() > 10, "{} files", manifest.files.len());
    let mut of_file = BTreeMap::new();
    for (id, (tokens, words)) in &documents {
        let (file, position) = ((id >> 40) as usize, (id & ((1 << 40) - 1)) as usize);
        *of_file.entry(file).or_insert(0) += 1;
        let source = fs::read(&manifest.inputs[file].path).unwrap();
        let text = match file {
            0 => {
                let text = std::str::from_utf8(&source[position..]).unwrap();
                let lines: Vec<&str> = text
                    .split_inclusive('\n')
                    .take_while(|line| !line.trim().is_empty())
                    .collect();
                let text = lines.concat();
                let text = text.strip_suffix('\n').unwrap_or(&text);
                text.strip_suffix('\r').unwrap_or(text).to_owned()
            }
            1 | 2 => {
                let plain = match file {
                    1 => source,
                    _ => zstd::decode_all(&source[..]).unwrap(),
                };
                let line = plain[position..]
                    .split(|&byte| byte == b'\n')
                    .next()
                    .unwrap();
                let line: Value = serde_json::from_slice(line).unwrap();
                line["text"].as_str().unwrap().to_owned()
            }
            _ => continue,
        };
        let mut encoded = Encoded::default();
        tokenizer.encode(&text, &mut encoded).unwrap();
        assert_eq!(&encoded.tokens, tokens, "{text}");
        assert!(
            encoded
                .word_start
                .as_slice()
                .iter()
                .eq(words.iter().copied())
        );
    }
    assert_eq!((of_file[&1], of_file[&2], of_file[&3]), (300, 300, 900));
}

#[test]
fn any_number_of_threads_writes_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&[corpus(dir.path())]);
    let one = dir.path().join("1");
    tokenize(&config, &one, &options(1)).unwrap();
    for threads in [2, 8] {
        let out = dir.path().join(threads.to_string());
        tokenize(&config, &out, &options(threads)).unwrap();
        same_bytes(&out, &one, &format!("on {threads} threads"));
    }
}

#[test]
fn parts_done_apart_are_together_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&[corpus(dir.path())]);
    let whole = dir.path().join("whole");
    tokenize(&config, &whole, &options(2)).unwrap();
    let out = dir.path().join("parts");
    let mut rejected = 0;
    for index in [2, 0, 1] {
        let options = StageOptions {
            part: Part::new(index, 3).unwrap(),
            ..options(2)
        };
        let manifest = tokenize(
            &TokenizeConfig {
                max_rejected: 0.1,
                ..config.clone()
            },
            &out,
            &options,
        )
        .unwrap();
        rejected += manifest.total("rejected");
        assert!(manifest.total("documents") > 300, "{index}");
    }
    assert_eq!(rejected, 1);
    assert_eq!(documents(&out), documents(&whole));
}

#[test]
fn arrow_files_and_streams_give_their_rows() {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<String> = (0..500).map(|n| format!("row {n} of the sea")).collect();
    let column: ArrayRef = Arc::new(StringArray::from(rows.clone()));
    let batch = RecordBatch::try_from_iter([("text", column)]).unwrap();
    let [file, stream] = ["file.arrow", "stream.arrow"].map(|name| dir.path().join(name));
    let out = fs::File::create(&file).unwrap();
    let mut writer = arrow_ipc::writer::FileWriter::try_new(out, &batch.schema()).unwrap();
    (0..5).for_each(|n| writer.write(&batch.slice(n * 100, 100)).unwrap());
    writer.finish().unwrap();
    let out = fs::File::create(&stream).unwrap();
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(out, &batch.schema()).unwrap();
    (0..5).for_each(|n| writer.write(&batch.slice(n * 100, 100)).unwrap());
    writer.finish().unwrap();

    let out = dir.path().join("out");
    let config = TokenizeConfig {
        file_bytes: ByteSize(1000),
        ..config(&[file, stream])
    };
    let manifest = tokenize(&config, &out, &options(2)).unwrap();
    assert!(manifest.files.len() > 4);
    let tokenizer = Tokenizer::load(&config).unwrap();
    let documents = documents(&out);
    assert_eq!(documents.len(), 1000);
    for (id, (tokens, _)) in documents {
        let mut encoded = Encoded::default();
        let row = (id & ((1 << 40) - 1)) as usize;
        tokenizer.encode(&rows[row], &mut encoded).unwrap();
        assert_eq!(tokens, encoded.tokens);
    }
}

/// The stage in a process of its own, to be killed; does nothing when run as a test.
#[test]
fn stage_in_a_child_process() {
    let Ok(folder) = std::env::var("CLOZE_TEST_FOLDER") else {
        return;
    };
    let folder = Path::new(&folder);
    let out = folder.join(std::env::var("CLOZE_TEST_OUTPUT").unwrap());
    tokenize(&config(&[folder.join("input")]), &out, &options(2)).unwrap();
}

fn child(folder: &Path, out: &str) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "stage_in_a_child_process"])
        .env("CLOZE_TEST_FOLDER", folder)
        .env("CLOZE_TEST_OUTPUT", out)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_stage_killed_at_any_moment_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    corpus(dir.path());
    let began = Instant::now();
    assert!(child(dir.path(), "whole").wait().unwrap().success());
    let time = began.elapsed();
    let whole = dir.path().join("whole");
    let mut unfinished = 0;
    for point in 1..=12u32 {
        let name = format!("killed-{point}");
        let out = dir.path().join(&name);
        // Killed twice on the way, so that going on is interrupted as well.
        for _ in 0..2 {
            let mut child = child(dir.path(), &name);
            std::thread::sleep(time * point / 16 + Duration::from_millis(1));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let tokens = fs::read_dir(&out).into_iter().flatten().filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with("tokens-")
        });
        if tokens.count() > 0 && !out.join("manifest.json").exists() {
            unfinished += 1;
        }
        assert!(child(dir.path(), &name).wait().unwrap().success());
        same_bytes(&out, &whole, &format!("after kills at {point}/16"));
    }
    assert!(unfinished > 0, "no kill fell between two token files");
}

/// As a run leaves it that was killed before its manifest.
fn without_manifest(out: &Path) {
    fs::remove_file(out.join("manifest.json")).unwrap();
}

#[test]
fn going_on_keeps_finished_files_and_drops_what_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&[corpus(dir.path())]);
    let (whole, out) = (dir.path().join("whole"), dir.path().join("out"));
    tokenize(&config, &whole, &options(2)).unwrap();
    tokenize(&config, &out, &options(2)).unwrap();
    let first = out.join("tokens-00000.arrow");
    let made = fs::metadata(&first).unwrap().modified().unwrap();

    without_manifest(&out);
    let third = out.join("tokens-00002.arrow");
    let cut = fs::read(&third).unwrap();
    fs::write(&third, &cut[..cut.len() - 7]).unwrap();
    fs::write(out.join("tokens-00099.arrow"), "of another time").unwrap();
    tokenize(&config, &out, &options(2)).unwrap();
    assert_eq!(fs::metadata(&first).unwrap().modified().unwrap(), made);
    fs::remove_file(out.join("tokens-00099.arrow")).unwrap();
    same_bytes(&out, &whole, "after a damaged file");

    // Without its log of rejections nothing of a run can be kept.
    without_manifest(&out);
    fs::remove_file(out.join("rejected.jsonl")).unwrap();
    tokenize(&config, &out, &options(2)).unwrap();
    same_bytes(&out, &whole, "after the log was lost");
}

#[test]
fn a_finished_stage_is_skipped_and_another_configuration_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&[corpus(dir.path())]);
    let out = dir.path().join("out");
    let manifest = tokenize(&config, &out, &options(2)).unwrap();
    let made = |name: &str| fs::metadata(out.join(name)).unwrap().modified().unwrap();
    let before = (made("manifest.json"), made("tokens-00000.arrow"));
    assert_eq!(tokenize(&config, &out, &options(1)).unwrap(), manifest);
    assert_eq!((made("manifest.json"), made("tokens-00000.arrow")), before);

    let other = TokenizeConfig {
        document: DocumentRule::Line,
        ..config.clone()
    };
    let error = tokenize(&other, &out, &options(2)).unwrap_err().to_string();
    assert!(
        error.contains("document = \"paragraph\" (now \"line\")"),
        "{error}"
    );
    fs::write(dir.path().join("input/e.txt"), "one more\n").unwrap();
    let error = tokenize(&config, &out, &options(2))
        .unwrap_err()
        .to_string();
    assert!(error.contains("other inputs"), "{error}");
    let overwrite = StageOptions {
        overwrite: true,
        ..options(2)
    };
    let manifest = tokenize(&other, &out, &overwrite).unwrap();
    assert_eq!(documents(&out).len() as u64, manifest.total("documents"));
    let listed = manifest.files.len();
    let there = bytes(&out)
        .keys()
        .filter(|name| name.starts_with("tokens-"))
        .count();
    assert_eq!(there, listed);
}

#[test]
fn the_library_writes_the_bytes_of_the_fast_path_and_the_manifest_says_which_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&[corpus(dir.path())]);
    let by_library = TokenizeConfig {
        tokenizer_path: TokenizerPath::Library,
        ..config.clone()
    };
    let [fast, library] = ["fast", "library"].map(|name| dir.path().join(name));
    let path = |config: &TokenizeConfig, out: &Path| {
        let manifest = tokenize(config, out, &options(2)).unwrap();
        manifest.tokenizer.unwrap().tokenizer_path
    };
    assert_eq!(path(&config, &fast), "fast");
    assert_eq!(path(&by_library, &library), "library: asked for");
    let [mut written, mut expected] = [&fast, &library].map(|out| bytes(out));
    for files in [&mut written, &mut expected] {
        assert!(files.remove("manifest.json").is_some());
    }
    assert!(written == expected);
    // The files are the same, so the stage is done either way.
    assert_eq!(path(&by_library, &fast), "fast");
}

#[test]
fn a_vocabulary_over_65536_takes_32_bits() {
    let dir = tempfile::tempdir().unwrap();
    let vocabulary: String = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        .iter()
        .map(|piece| format!("{piece}\n"))
        .chain((5..70_000).map(|n| format!("w{n}\n")))
        .collect();
    fs::write(dir.path().join("vocab.txt"), vocabulary).unwrap();
    let input = dir.path().join("a.txt");
    fs::write(&input, "w5 w65535 w65536 w69999").unwrap();
    let config = TokenizeConfig {
        tokenizer: dir.path().join("vocab.txt"),
        ..config(&[input])
    };
    assert!(Tokenizer::load(&config).unwrap().is_wide());
    let out = dir.path().join("out");
    let manifest = tokenize(&config, &out, &options(1)).unwrap();
    assert_eq!(manifest.tokenizer.unwrap().vocabulary_size, 70_000);
    let (tokens, words) = documents(&out)[&0].clone();
    assert_eq!(tokens, [5, 65_535, 65_536, 69_999]);
    assert_eq!(words, [true; 4]);
}

#[test]
fn the_manifest_names_inputs_tokenizer_and_special_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&[corpus(dir.path())]);
    let out = dir.path().join("out");
    tokenize(&config, &out, &options(2)).unwrap();
    let manifest = Manifest::read(&out.join("manifest.json")).unwrap();
    let names: Vec<&str> = manifest
        .inputs
        .iter()
        .map(|input| input.path.rsplit_once('/').unwrap().1)
        .collect();
    assert_eq!(
        names,
        ["a novel.txt", "b.jsonl", "c.jsonl.zst", "d.parquet"]
    );
    let tokenizer = manifest.tokenizer.unwrap();
    assert_eq!(tokenizer.special_tokens.mask, Some(4));
    let json = fs::read(out.join(&tokenizer.file)).unwrap();
    assert_eq!(
        tokenizer.fingerprint,
        cloze::base::fingerprint::of_bytes(&json)
    );
    assert_eq!(
        manifest.configuration["tokenizer"],
        tokenizer.fingerprint.as_str()
    );
    assert!(manifest.configuration.get("inputs").is_none());
}

/// Texts that tokenizers stumble over.
const AWKWARD: [&str; 8] = [
    "a  b   c    d\t\te\n\n\nf ",
    "e\u{301}te\u{301} ﬁsh ½ İstanbul ΑΣ \u{1F600}\u{1F44D}\u{1F3FD}",
    "\u{200D}\u{AD}\u{FEFF} zero\u{200B}width \u{A0}\u{2003}sea\u{3000}sky",
    "中国的首都是北京。한국어 위키백과 עברית العربية हिन्दी ไทย",
    "don't I'll we've O'Neill's 3.14 1,000,000 $5 C++ @user #tag https://example.org/?q=1",
    "line\r\nend\rs",
    "\u{1}control\u{7F} \u{85}next",
    "[MASK] <mask> [CLS]<s>",
];

/// Written for `tests/python/test_tokenize.py`, which holds the ids and word starts to
/// those of the `tokenizers` package for Python.
#[test]
fn tokens_for_the_reference_are_written() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tokens");
    fs::create_dir_all(&folder).unwrap();
    let novel = novel();
    let texts: String = paragraphs(&novel)
        .take(200)
        .chain(AWKWARD)
        .map(|text| json!({"text": text}).to_string() + "\n")
        .collect();
    let input = folder.join("texts.jsonl");
    fs::write(&input, texts).unwrap();
    for name in [
        "bert-base-uncased",
        "wordpiece-cased",
        "byte-level-bpe",
        "unigram",
        "gpt2-style",
    ] {
        let config = TokenizeConfig {
            tokenizer: data("tokenizers").join(name),
            ..config(std::slice::from_ref(&input))
        };
        let overwrite = StageOptions {
            overwrite: true,
            ..options(2)
        };
        let manifest = tokenize(&config, &folder.join(name), &overwrite).unwrap();
        assert_eq!(manifest.total("rejected"), 0, "{name}");
    }
}

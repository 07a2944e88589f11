//! Rows, order, resume and validation, against a plain re-implementation.

use super::cut::RowBuffer;
use super::*;
use crate::base::boundaries::Boundaries;
use crate::base::generator::{Key, Purpose};
use crate::base::size::ByteSize;
use crate::base::token::{SpecialTokens, TokenId};
use crate::columnar::DocumentWriter;
use crate::columnar::writer::Layout;
use crate::config::train::ValidationConfig;
use crate::config::{Layout as Masked, MaskingConfig, RowLayout, RowsConfig, Strategy};
use crate::masking::{Masker, TokenTable};
use crate::shard::ShardSet;
use crate::storage::manifest::FileRecord;
use crate::storage::{ArtefactKind, Manifest, TokenizerRecord};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

mod collated;
mod fill;
mod layouts;
mod loaders;
mod rows;

const CLS: TokenId = 2;
const SEP: TokenId = 3;
const VOCABULARY: u64 = 500;

struct Doc {
    tokens: Vec<TokenId>,
    words: Boundaries,
    units: Boundaries,
}

/// `count` documents of 1 to 90 tokens, all ids ordinary, in order of a seed.
fn documents(count: usize, seed: u64) -> Vec<Doc> {
    let mut draws = Key {
        seed,
        ..Key::default()
    }
    .generator(Purpose::Shuffle);
    (0..count)
        .map(|_| {
            let len = 1 + draws.below(90) as usize;
            let words: Boundaries = (0..len).map(|at| at == 0 || draws.below(3) > 0).collect();
            let units = words
                .as_slice()
                .iter()
                .enumerate()
                .map(|(at, word)| at == 0 || word && draws.below(2) > 0)
                .collect();
            Doc {
                tokens: (0..len).map(|_| 5 + draws.below(490)).collect(),
                words,
                units,
            }
        })
        .collect()
}

fn special() -> SpecialTokens {
    SpecialTokens {
        pad: Some(0),
        unk: Some(1),
        cls: Some(CLS),
        sep: Some(SEP),
        mask: Some(4),
        reserved: vec![0, 1, 2, 3, 4],
        ..SpecialTokens::default()
    }
}

/// Writes `shards`, each a list of documents, as `cloze shard` would.
fn write(folder: &Path, shards: &[Vec<Doc>], units: bool) {
    write_for(folder, shards, units, (special(), VOCABULARY));
}

fn write_for(
    folder: &Path,
    shards: &[Vec<Doc>],
    units: bool,
    (special_tokens, vocabulary_size): (SpecialTokens, u64),
) {
    let mut files = Vec::new();
    for (index, documents) in shards.iter().enumerate() {
        let name = format!("shard-{index}.arrow");
        let layout = Layout {
            wide: false,
            spans: units,
            batch_tokens: 300,
            zstd_level: 1,
            short_matches: true,
        };
        let mut writer = DocumentWriter::new(Vec::new(), &name, layout).unwrap();
        for (id, document) in (0..).zip(documents) {
            let spans = units.then(|| document.units.as_slice());
            writer
                .push(id, &document.tokens, document.words.as_slice(), spans)
                .unwrap();
        }
        let (bytes, _) = writer.finish(serde_json::json!({})).unwrap();
        std::fs::write(folder.join(&name), &bytes).unwrap();
        files.push(FileRecord {
            name,
            bytes: bytes.len() as u64,
            hash: String::new(),
            rows: documents.len() as u64,
            tokens: None,
        });
    }
    Manifest {
        tokenizer: Some(TokenizerRecord {
            file: "tokenizer.json".into(),
            fingerprint: String::new(),
            vocabulary_size,
            special_tokens,
            tokenizer_path: "library".into(),
        }),
        files,
        ..Manifest::new(ArtefactKind::Shards)
    }
    .write(&folder.join("manifest.json"))
    .unwrap();
}

struct Written {
    _folder: tempfile::TempDir,
    corpus: Arc<Corpus>,
}

fn corpus(layout: RowLayout, length: u32, units: bool) -> Written {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[documents(40, 1), documents(25, 2), documents(3, 3)],
        units,
    );
    let shards = ShardSet::open(folder.path()).unwrap();
    let corpus = Corpus::open(shards, &RowsConfig { layout, length }).unwrap();
    Written {
        _folder: folder,
        corpus: Arc::new(corpus),
    }
}

fn masks(corpus: &Corpus, config: &MaskingConfig) -> Masker {
    let special = corpus.shards().special_tokens().unwrap();
    Masker::new(config, &TokenTable::new(corpus.vocabulary(), special)).unwrap()
}

fn order(training: u64) -> Order {
    Order {
        seed: 9,
        batch_rows: 4,
        step_rows: 4,
        fill: None,
        training,
        window_tokens: 1000,
    }
}

fn all_rows(corpus: &Corpus) -> Vec<RowBuffer> {
    (0..corpus.rows())
        .map(|row| corpus.row(row).unwrap())
        .collect()
}

#[test]
fn packed_rows_are_the_joined_documents_of_each_record_batch() {
    for length in [3, 7, 32, 500] {
        let written = corpus(RowLayout::Packed, length, true);
        let corpus = &written.corpus;
        let room = length as usize - 2;
        let (mut expected, mut starts) = (Vec::new(), Vec::new());
        for index in 0..corpus.batches() {
            let batch = corpus
                .shards()
                .read(index, crate::columnar::Projection::ALL)
                .unwrap();
            let (mut joined, mut bits) = (Vec::new(), Vec::new());
            for document in batch.documents() {
                if !joined.is_empty() {
                    joined.push(SEP);
                    bits.push((true, true));
                }
                joined.extend(document.tokens.to_vec());
                let planes = document.word_start.unwrap().iter();
                bits.extend(planes.zip(document.span_start.unwrap().iter()));
            }
            for (row, bits) in joined.chunks(room).zip(bits.chunks(room)) {
                expected.push([&[CLS], row, &[SEP]].concat());
                starts.push([&[(true, true)], bits, &[(true, true)]].concat());
            }
        }
        let rows = all_rows(corpus);
        assert_eq!(rows.len(), expected.len(), "L = {length}");
        for ((row, ids), starts) in rows.iter().zip(&expected).zip(&starts) {
            let row = row.row();
            assert_eq!(row.ids, ids);
            for (at, &(word, unit)) in starts.iter().enumerate() {
                assert_eq!(row.word_start.get(at), word);
                assert_eq!(row.unit_start.get(at), unit);
                assert_eq!(row.protected.get(at), ids[at] < 5);
            }
        }
    }
}

#[test]
fn document_rows_hold_one_document_each() {
    let written = corpus(RowLayout::Document, 32, false);
    let mut expected = Vec::new();
    for index in 0..written.corpus.batches() {
        let batch = written
            .corpus
            .shards()
            .read(index, crate::columnar::Projection::ALL)
            .unwrap();
        for document in batch.documents() {
            for piece in document.tokens.to_vec().chunks(30) {
                expected.push([&[CLS], piece, &[SEP]].concat());
            }
        }
    }
    let rows = all_rows(&written.corpus);
    assert!(rows.iter().map(|row| row.row().ids).eq(&expected));
}

/// Batches until the end of the second epoch.
fn two_epochs(corpus: &Arc<Corpus>, masking: &MaskingConfig, training: u64) -> Vec<Batch> {
    let mut stream = Stream::open(
        corpus.clone(),
        masks(corpus, masking),
        order(training),
        Position::default(),
    )
    .unwrap();
    let mut batches = Vec::new();
    while batches
        .last()
        .is_none_or(|batch: &Batch| batch.after.epoch < 2)
    {
        batches.push(stream.read().unwrap());
    }
    batches
}

/// The original ids of each row of a batch, without its padding.
fn originals(batch: &Batch) -> Vec<Vec<TokenId>> {
    let mut ids = batch.input.clone();
    for (&place, &label) in batch.predicted.iter().zip(&batch.labels) {
        ids[place as usize] = label;
    }
    ids.chunks(batch.length)
        .zip(&batch.lengths)
        .map(|(row, &len)| row[..len as usize].to_vec())
        .collect()
}

#[test]
fn an_epoch_is_every_training_row_once_in_another_order_each_time() {
    for layout in [RowLayout::Packed, RowLayout::BestFit] {
        an_epoch_is_every_training_row_once(layout);
    }
}

fn an_epoch_is_every_training_row_once(layout: RowLayout) {
    let written = corpus(layout, 16, false);
    let split = written.corpus.split(&ValidationConfig::default()).unwrap();
    assert!(split.training > 100);
    let batches = two_epochs(&written.corpus, &MaskingConfig::default(), split.training);
    let rows: Vec<Vec<TokenId>> = batches.iter().flat_map(originals).collect();
    let training = split.training as usize;
    let mut canonical: Vec<Vec<TokenId>> = all_rows(&written.corpus)[..training]
        .iter()
        .map(|row| row.row().ids.to_vec())
        .collect();
    assert_ne!(rows[..training], canonical);
    assert_ne!(rows[..training], rows[training..2 * training]);
    canonical.sort();
    for epoch in [&rows[..training], &rows[training..2 * training]] {
        let mut epoch = epoch.to_vec();
        epoch.sort();
        assert_eq!(epoch, canonical);
    }
}

#[test]
fn reading_on_from_any_position_gives_the_same_batches() {
    for layout in [RowLayout::Packed, RowLayout::BestFit] {
        reading_on_gives_the_same_batches(layout);
    }
}

fn reading_on_gives_the_same_batches(layout: RowLayout) {
    let written = corpus(layout, 16, true);
    let masking = MaskingConfig {
        strategy: Strategy::Pmi,
        corruption_rate: 0.2.into(),
        prediction_rate: Some(0.4.into()),
        ..MaskingConfig::default()
    };
    let batches = two_epochs(&written.corpus, &masking, written.corpus.rows() - 3);
    for start in (1..batches.len() - 2).step_by(5) {
        let order = order(written.corpus.rows() - 3);
        let at = batches[start - 1].after;
        let mut stream = Stream::open(
            written.corpus.clone(),
            masks(&written.corpus, &masking),
            order,
            at,
        )
        .unwrap();
        for batch in &batches[start..start + 2] {
            assert_eq!(&stream.read().unwrap(), batch);
        }
    }
}

#[test]
fn a_mask_depends_on_seed_epoch_and_row_alone() {
    for layout in [RowLayout::Packed, RowLayout::BestFit] {
        a_mask_depends_on_its_key(layout);
    }
}

fn a_mask_depends_on_its_key(layout: RowLayout) {
    let written = corpus(layout, 16, false);
    let rows = written.corpus.rows();
    let read = |batch_rows, window_tokens| {
        let order = Order {
            batch_rows,
            window_tokens,
            ..order(rows)
        };
        let masking = MaskingConfig::default();
        let mut reader = Reader::new(
            written.corpus.clone(),
            masks(&written.corpus, &masking),
            order,
            Position::default(),
        )
        .unwrap();
        let mut inputs = BTreeSet::new();
        let mut seen = 0;
        while seen < rows as usize {
            let batch = reader.read().unwrap();
            let left = (rows as usize - seen).min(batch.rows);
            inputs.extend(batch.input.chunks(16).take(left).map(<[_]>::to_vec));
            seen += left;
        }
        inputs
    };
    assert_eq!(read(4, 1000), read(7, 1 << 20));
}

#[test]
fn copies_of_a_row_stand_together_and_rows_are_padded() {
    let written = corpus(RowLayout::Document, 32, false);
    let masking = MaskingConfig {
        corruption_rate: 0.2.into(),
        prediction_rate: Some(0.4.into()),
        ..MaskingConfig::default()
    };
    for batch in two_epochs(&written.corpus, &masking, written.corpus.rows()) {
        assert_eq!((batch.rows, batch.length), (8, 32));
        assert_eq!(batch.input.len(), 8 * 32);
        assert_eq!(batch.lengths.len(), 8);
        assert!(batch.predicted.is_sorted_by(|a, b| a < b));
        for (row, (ids, &len)) in batch.input.chunks(32).zip(&batch.lengths).enumerate() {
            assert!(ids[len as usize..].iter().all(|&id| id == 0));
            assert_eq!(batch.lengths[row ^ 1], len);
            assert_eq!((ids[0], ids[len as usize - 1]), (CLS, SEP));
        }
        let rows = originals(&batch);
        assert!(rows.chunks(2).all(|copies| copies[0] == copies[1]));
    }
}

#[test]
fn validation_rows_are_the_last_ones_and_their_masks_stay() {
    for layout in [RowLayout::Packed, RowLayout::BestFit] {
        validation_rows_are_the_last_ones(layout);
    }
}

fn validation_rows_are_the_last_ones(layout: RowLayout) {
    let written = corpus(layout, 16, false);
    let config = ValidationConfig {
        share: 0.1,
        max_rows: 5,
        ..ValidationConfig::default()
    };
    let split = written.corpus.split(&config).unwrap();
    assert_eq!(
        split.held_out,
        (written.corpus.rows() as f64 * 0.1).ceil() as u64
    );
    let batches = validation(&written.corpus, split, &config, Masked::InPlace, 4).unwrap();
    assert_eq!(batches.iter().map(|b| b.rows).collect::<Vec<_>>(), [4, 1]);
    let rows: Vec<Vec<TokenId>> = batches.iter().flat_map(originals).collect();
    for (number, row) in (0..).zip(&rows) {
        let canonical = split.training + number * split.held_out / 5;
        assert_eq!(row, written.corpus.row(canonical).unwrap().row().ids);
    }
    assert_eq!(
        batches,
        validation(&written.corpus, split, &config, Masked::InPlace, 4).unwrap()
    );
    // The same tokens are predicted where they are taken out.
    let removed = validation(&written.corpus, split, &config, Masked::Removed, 4).unwrap();
    for (there, here) in batches.iter().zip(&removed) {
        assert_eq!((here.layout, here.rows), (Masked::Removed, there.rows));
        assert_eq!(here.labels, there.labels);
        assert_eq!(here.predicted, there.predicted);
        assert_eq!(here.tokens(), there.tokens());
        let kept = here.lengths.iter().sum::<u32>() as usize;
        assert_eq!(kept + here.labels.len(), there.tokens() as usize);
        assert_eq!(here.input.len(), here.rows * here.length);
    }
    let all = ValidationConfig {
        share: 0.0,
        max_rows: 100,
        ..config
    };
    let split = written.corpus.split(&all).unwrap();
    assert_eq!(split.held_out, 1);
    assert_eq!(
        validation(&written.corpus, split, &all, Masked::InPlace, 4)
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn nothing_left_to_train_on_is_refused() {
    let written = corpus(RowLayout::Packed, 16, false);
    let config = ValidationConfig {
        share: 1.0,
        ..ValidationConfig::default()
    };
    let message = written.corpus.split(&config).unwrap_err().to_string();
    assert!(
        message.contains("at least one row to train on"),
        "{message}"
    );
}

#[test]
fn units_asked_of_shards_without_them_are_refused() {
    let written = corpus(RowLayout::Packed, 16, false);
    let masking = MaskingConfig {
        strategy: Strategy::Pmi,
        ..MaskingConfig::default()
    };
    let refused = Stream::open(
        written.corpus.clone(),
        masks(&written.corpus, &masking),
        order(10),
        Position::default(),
    );
    let message = refused.err().unwrap().to_string();
    assert!(message.contains("--vocabulary"), "{message}");
}

#[test]
fn the_unigram_entropy_is_that_of_the_training_rows() {
    let written = corpus(RowLayout::Packed, 16, false);
    for training in [written.corpus.rows(), written.corpus.rows() / 2] {
        let split = Split {
            training,
            held_out: 1,
        };
        let mut counts = std::collections::BTreeMap::new();
        for row in &all_rows(&written.corpus)[..training as usize] {
            for &id in row.row().ids.iter().filter(|&&id| id > 4) {
                *counts.entry(id).or_insert(0f64) += 1.0;
            }
        }
        let all: f64 = counts.values().sum();
        let entropy: f64 = counts.values().map(|c| -c / all * (c / all).ln()).sum();
        let found = unigram(&written.corpus, split).unwrap();
        assert_eq!(found.tokens as f64, all);
        assert!((found.entropy - entropy).abs() < 1e-9);
    }
}

#[test]
fn a_stream_that_is_dropped_or_meets_damage_ends_cleanly() {
    let written = corpus(RowLayout::Packed, 16, false);
    let masking = MaskingConfig::default();
    let open = || {
        Stream::open(
            written.corpus.clone(),
            masks(&written.corpus, &masking),
            order(50),
            Position::default(),
        )
        .unwrap()
    };
    drop(open());
    let mut stream = open();
    stream.read().unwrap();
    drop(stream);

    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[documents(40, 1)], false);
    let path = folder.path().join("shard-0.arrow");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[900] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let shards = ShardSet::open(folder.path()).unwrap();
    let corpus = Arc::new(Corpus::open(shards, &RowsConfig::default()).unwrap());
    let mut stream = Stream::open(
        corpus.clone(),
        masks(&corpus, &masking),
        order(10),
        Position::default(),
    )
    .unwrap();
    let message = loop {
        if let Err(error) = stream.read() {
            break error.to_string();
        }
    };
    assert!(message.contains("record batch"), "{message}");
    assert!(stream.read().is_err());
}

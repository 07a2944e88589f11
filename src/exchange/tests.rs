//! What is written comes back, and bytes that are none of a format are an error with a
//! place and never a panic. That the formats are the libraries' own is held by
//! `tests/python/test_exchange.py`.

use super::*;
use crate::base::size::ByteSize;
use crate::base::token::TokenId;
use proptest::prelude::*;
use std::fs;
use std::path::Path;

fn read(path: &Path, kind: Kind, reading: &Reading) -> Result<Vec<Vec<TokenId>>> {
    let file = IdFile {
        path: path.to_owned(),
        kind,
        index: None,
    };
    let rows = open(&file, reading)?.collect::<Result<Vec<_>>>()?;
    Ok(rows.into_iter().flatten().collect())
}

fn write_megatron(folder: &Path, documents: &[Vec<TokenId>], size: u64) {
    let bin = folder.join("x.bin");
    let mut writer = megatron::Writer::create(&bin, size, folder, ByteSize(100)).unwrap();
    for document in documents {
        writer.push(document).unwrap();
    }
    writer.finish().unwrap();
}

/// A shard of one column `tokens`, as MDSWriter lays it out.
fn shard(encoding: &str, samples: &[Vec<u8>]) -> Vec<u8> {
    let json = format!(
        r#"{{"column_names":["tokens"],"column_encodings":["{encoding}"],"column_sizes":[null]}}"#
    );
    let mut out = (samples.len() as u32).to_le_bytes().to_vec();
    let mut at = 4 + 4 * (samples.len() as u32 + 1) + json.len() as u32;
    out.extend(at.to_le_bytes());
    for sample in samples {
        at += 4 + sample.len() as u32;
        out.extend(at.to_le_bytes());
    }
    out.extend(json.as_bytes());
    for sample in samples {
        out.extend((sample.len() as u32).to_le_bytes());
        out.extend(sample);
    }
    out
}

#[test]
fn a_type_is_known_by_ids_that_are_ids_of_the_vocabulary() {
    let ids = [17u32, 0, 40_000, 3];
    let narrow: Vec<u8> = ids
        .iter()
        .flat_map(|&id| (id as u16).to_le_bytes())
        .collect();
    let middle: Vec<u8> = ids.iter().flat_map(|&id| id.to_le_bytes()).collect();
    let wide: Vec<u8> = ids
        .iter()
        .flat_map(|&id| u64::from(id).to_le_bytes())
        .collect();
    assert_eq!(Number::widest(&narrow, 50_257), Some(Number::U16));
    assert_eq!(Number::widest(&middle, 50_257), Some(Number::I32));
    assert_eq!(Number::widest(&wide, 50_257), Some(Number::I64));
    assert_eq!(Number::widest(&narrow, 100), None);
    assert!(
        Number::I32
            .ids(&(-1i32).to_le_bytes())
            .unwrap_err()
            .contains("-1")
    );
    assert!(Number::I32.ids(&[0; 6]).unwrap_err().contains("6 bytes"));
}

#[test]
fn offsets_and_sizes_of_a_shard_are_checked_before_they_are_believed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shard.00000.mds");
    let reading = Reading {
        vocabulary_size: 1000,
        ..Reading::default()
    };
    let whole = shard(
        "ndarray:uint16",
        &[vec![4, 1, 7, 0], vec![4, 2, 7, 0, 8, 0]],
    );
    fs::write(&path, &whole).unwrap();
    assert_eq!(
        read(&path, Kind::Mds, &reading).unwrap(),
        [vec![7], vec![7, 8]]
    );
    for (at, byte, expected) in [
        (0, 0xFF, "bytes of its head"),
        (8, 0, "offsets that do not ascend"),
        (16, b'!', "no JSON"),
        (whole.len() - 10, 0xFF, "not its columns"),
    ] {
        let mut damaged = whole.clone();
        damaged[at] = byte;
        fs::write(&path, damaged).unwrap();
        let error = read(&path, Kind::Mds, &reading).unwrap_err().to_string();
        assert!(
            error.contains(expected) && error.contains("shard.00000"),
            "{error}"
        );
    }
}

#[test]
fn an_index_of_datatrove_ends_where_its_ids_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.ds");
    fs::write(&path, [1, 0, 2, 0, 3, 0]).unwrap();
    let index = |ends: &[u64]| {
        let bytes: Vec<u8> = ends.iter().flat_map(|end| end.to_le_bytes()).collect();
        fs::write(dir.path().join("x.ds.index"), bytes).unwrap();
    };
    let reading = Reading {
        vocabulary_size: 1000,
        ..Reading::default()
    };
    index(&[1, 3]);
    assert_eq!(
        read(&path, Kind::Datatrove, &reading).unwrap(),
        [vec![1], vec![2, 3]]
    );
    index(&[2, 1, 3]);
    let error = read(&path, Kind::Datatrove, &reading).unwrap_err();
    assert!(error.to_string().contains("document 1"), "{error}");
    index(&[1, 4]);
    assert!(read(&path, Kind::Datatrove, &reading).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_written_for_megatron_comes_back(
        documents in prop::collection::vec(prop::collection::vec(0u32..60_000, 0..50), 0..40),
        wide in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        write_megatron(dir.path(), &documents, if wide { 100_000 } else { 60_000 });
        let bin = dir.path().join("x.bin");
        let ids: usize = documents.iter().map(Vec::len).sum();
        let bytes = fs::metadata(&bin).unwrap().len();
        prop_assert_eq!(bytes, ids as u64 * if wide { 4 } else { 2 });
        let found = read(&bin, Kind::Megatron, &Reading::default()).unwrap();
        prop_assert_eq!(found, documents);
    }

    #[test]
    fn a_flipped_byte_is_an_error_or_other_ids_and_never_a_panic(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
        shorten in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let reading = Reading { vocabulary_size: 70_000, ..Reading::default() };
        write_megatron(dir.path(), &[vec![5, 6], vec![], vec![7]], 100);
        let idx = dir.path().join("x.idx");
        let mds = dir.path().join("x.mds");
        let samples = [vec![32, 4, 1, 9, 0, 0, 0], vec![16, 4, 1, 9, 0]];
        fs::write(&mds, shard("ndarray", &samples)).unwrap();
        let (bin, mds_path) = (dir.path().join("x.bin"), mds.clone());
        for (file, path, kind) in [(idx, &bin, Kind::Megatron), (mds, &mds_path, Kind::Mds)] {
            let mut bytes = fs::read(&file).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if shorten {
                bytes.truncate(cut.index(bytes.len()));
            }
            fs::write(&file, bytes).unwrap();
            let _ = read(path, kind, &reading);
        }
    }
}

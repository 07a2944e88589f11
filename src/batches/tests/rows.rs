//! What holds for the rows of every layout, over documents of any length.

use super::*;
use crate::batches::RandomRows;
use crate::columnar::Projection;
use crate::config::ShardRead;
use proptest::prelude::*;

const LAYOUTS: [RowLayout; 3] = [RowLayout::Packed, RowLayout::Document, RowLayout::BestFit];

/// Documents whose tokens have ids of their own, from 5 on: an id says which document
/// it is of, and which place it has there.
fn numbered(documents: &[(usize, u64)]) -> Vec<Doc> {
    let mut next = 5;
    let documents = documents.iter().map(|&(length, bits)| {
        let tokens: Vec<TokenId> = (next..next + length as u32).collect();
        next += length as u32;
        let plane = |turn: u32| -> Boundaries {
            let bits = (0..length as u32).map(|at| bits.rotate_right(at + turn) & 1 == 1);
            bits.collect()
        };
        Doc {
            tokens,
            words: plane(0),
            units: plane(23),
        }
    });
    documents.collect()
}

/// A corpus of `documents` in two shards, of a tokenizer with or without a `[CLS]`.
fn numbered_corpus(documents: &[(usize, u64)], cls: bool, rows: RowsConfig) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let mut first = numbered(documents);
    let second = first.split_off(first.len() / 2);
    let special = SpecialTokens {
        cls: cls.then_some(CLS),
        ..special()
    };
    write_for(folder.path(), &[first, second], true, (special, 1 << 16));
    let shards = ShardSet::open(folder.path()).unwrap();
    let corpus = Arc::new(Corpus::open(shards, &rows).unwrap());
    Written {
        _folder: folder,
        corpus,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn every_token_of_every_document_is_in_one_row_in_order_with_its_bits(
        documents in prop::collection::vec((0usize..150, any::<u64>()), 1..40),
        length in 4u32..60,
        cls in any::<bool>(),
    ) {
        let mut rows_of_documents = None;
        for layout in LAYOUTS {
            let rows = RowsConfig { layout, length };
            let written = numbered_corpus(&documents, cls, rows);
            let corpus = &written.corpus;
            let mut found: Vec<TokenId> = Vec::new();
            let mut bits = Vec::new();
            // For each token the run it lies in.
            let mut runs = Vec::new();
            let mut run = 0;
            for buffer in all_rows(corpus) {
                let row = buffer.row();
                let ends = buffer.ends();
                prop_assert!(row.len() <= length as usize);
                prop_assert_eq!(ends.last().copied(), Some(row.len() as u32));
                prop_assert!(ends.is_sorted_by(|a, b| a < b));
                prop_assert!(layout == RowLayout::BestFit || ends.len() == 1);
                let planes = [row.protected, row.word_start, row.unit_start];
                prop_assert!(planes.iter().all(|plane| plane.len() == row.len()));
                let mut start = 0;
                for &end in ends {
                    let ids = &row.ids[start..end as usize];
                    prop_assert_eq!(ids[0] == CLS, cls);
                    prop_assert_eq!(ids[ids.len() - 1], SEP);
                    prop_assert!(ids.len() > 1 + usize::from(cls), "a run without text");
                    for (place, &id) in (start..).zip(ids) {
                        let words = (row.word_start.get(place), row.unit_start.get(place));
                        prop_assert_eq!(row.protected.get(place), id < 5);
                        if id < 5 {
                            prop_assert_eq!(words, (true, true));
                        } else {
                            found.push(id);
                            bits.push(words);
                            runs.push(run);
                        }
                    }
                    run += 1;
                    start = end as usize;
                }
            }
            // Each once.
            let mut place = vec![usize::MAX; found.len()];
            for (at, &id) in found.iter().enumerate() {
                place[id as usize - 5] = at;
            }
            prop_assert!(place.iter().all(|&at| at != usize::MAX));
            let mut runs_of_pieces = 0;
            for document in numbered(&documents) {
                let places: Vec<usize> =
                    document.tokens.iter().map(|&id| place[id as usize - 5]).collect();
                // A tail packed with an earlier document may lie before what it goes on from.
                let in_order = places.is_sorted_by(|a, b| a < b);
                prop_assert!(layout == RowLayout::BestFit || in_order);
                for (at, &place) in places.iter().enumerate() {
                    let expected =
                        (document.words.as_slice().get(at), document.units.as_slice().get(at));
                    prop_assert_eq!(bits[place], expected);
                }
                if layout != RowLayout::Packed {
                    // A piece is a run to itself, and but for the last a full one.
                    let room = length as usize - 1 - usize::from(cls);
                    for piece in places.chunks(room) {
                        let alone = runs.iter().filter(|&&run| run == runs[piece[0]]).count();
                        prop_assert_eq!(alone, piece.len());
                        prop_assert!(piece.is_sorted_by(|a, b| a + 1 == *b));
                        runs_of_pieces += 1;
                    }
                }
            }
            prop_assert!(layout == RowLayout::Packed || run == runs_of_pieces);
            match layout {
                RowLayout::Document => rows_of_documents = Some(corpus.rows()),
                RowLayout::BestFit => prop_assert!(Some(corpus.rows()) <= rows_of_documents),
                RowLayout::Packed => {}
            }
        }
    }

    #[test]
    fn no_two_rows_of_best_fit_fit_into_one_and_they_go_by_their_first_document(
        documents in prop::collection::vec((0usize..40, any::<u64>()), 1..40),
        length in 4u32..60,
    ) {
        let rows = RowsConfig { layout: RowLayout::BestFit, length };
        let written = numbered_corpus(&documents, true, rows);
        let corpus = &written.corpus;
        for index in 0..corpus.batches() {
            let rows: Vec<RowBuffer> =
                corpus.rows_of(index).map(|row| corpus.row(row).unwrap()).collect();
            let mut lengths: Vec<usize> = rows.iter().map(|row| row.row().len()).collect();
            lengths.sort_unstable();
            prop_assert!(lengths.len() < 2 || lengths[0] + lengths[1] > length as usize);
            // Ids ascend with documents, so both within a row and from row to row.
            let firsts: Vec<TokenId> = rows.iter().map(|row| row.row().ids[1]).collect();
            prop_assert!(firsts.is_sorted());
            for row in &rows {
                let ids: Vec<TokenId> =
                    row.row().ids.iter().copied().filter(|&id| id > 4).collect();
                prop_assert!(ids.is_sorted());
            }
        }
    }
}

#[test]
fn rows_are_the_same_whenever_they_are_cut_and_a_buffer_is_used_again() {
    for layout in LAYOUTS {
        let written = corpus(layout, 24, true);
        let again = corpus(layout, 24, true);
        let rows = all_rows(&written.corpus);
        assert_eq!(rows, all_rows(&again.corpus));
        let mut buffer = RowBuffer::default();
        let mut places = BTreeSet::new();
        for round in 0..2 {
            let mut next = rows.iter();
            for index in 0..written.corpus.batches() {
                let cut = written.corpus.read(index, Projection::ALL).unwrap();
                for row in 0..cut.rows() {
                    cut.fill(written.corpus.frame(), row, &mut buffer);
                    assert_eq!(Some(&buffer), next.next());
                    if round == 1 {
                        places.insert((buffer.row().ids.as_ptr(), buffer.ends().as_ptr()));
                    }
                }
            }
            assert!(next.next().is_none());
        }
        // All rows of the second round lie where the first of them lay.
        assert_eq!(places.len(), 1, "{layout:?}");
    }
}

#[test]
fn documents_that_fit_a_row_share_it_whole() {
    let lengths = [5, 3, 8, 0, 2];
    let documents: Vec<(usize, u64)> = lengths.iter().map(|&length| (length, 7)).collect();
    let folder = tempfile::tempdir().unwrap();
    write_for(
        folder.path(),
        &[numbered(&documents)],
        true,
        (special(), 100),
    );
    let rows = RowsConfig {
        layout: RowLayout::BestFit,
        length: 12,
    };
    let corpus = Corpus::open(ShardSet::open(folder.path()).unwrap(), &rows).unwrap();
    let rows = all_rows(&corpus);
    let ids: Vec<&[TokenId]> = rows.iter().map(|row| row.row().ids).collect();
    // 8 + 2 tokens leave 2 of 12: too few for 2 + 2. 5 + 2 and 3 + 2 fill a row.
    assert_eq!(
        ids,
        [
            &[CLS, 5, 6, 7, 8, 9, SEP, CLS, 10, 11, 12, SEP][..],
            &[CLS, 13, 14, 15, 16, 17, 18, 19, 20, SEP],
            &[CLS, 21, 22, SEP],
        ]
    );
    assert_eq!(rows[0].ends(), [7, 12]);
    assert_eq!(rows[1].ends(), [10]);
}

#[test]
fn attention_runs_of_a_batch_are_those_of_its_rows_and_copies() {
    let masking = MaskingConfig {
        corruption_rate: 0.2.into(),
        prediction_rate: Some(0.4.into()),
        ..MaskingConfig::default()
    };
    for layout in LAYOUTS {
        let written = corpus(layout, 48, false);
        let ends: std::collections::BTreeMap<Vec<TokenId>, Vec<u32>> = all_rows(&written.corpus)
            .iter()
            .map(|row| (row.row().ids.to_vec(), row.ends().to_vec()))
            .collect();
        let mut several = false;
        for batch in two_epochs(&written.corpus, &masking, written.corpus.rows()) {
            let rows = originals(&batch);
            assert_eq!(rows.len(), 8);
            let (mut expected, mut positions) = (vec![0], Vec::new());
            for row in &rows {
                let start = expected[expected.len() - 1];
                let mut from = 0;
                for &end in &ends[row] {
                    expected.push(start + end);
                    positions.extend(0..end - from);
                    from = end;
                }
                several |= ends[row].len() > 1;
            }
            assert_eq!(batch.cu_seqlens, expected);
            assert_eq!(batch.position_ids(), positions);
            let tokens: u32 = batch.lengths.iter().sum();
            assert_eq!(batch.cu_seqlens.last(), Some(&tokens));
        }
        assert_eq!(several, layout == RowLayout::BestFit);
    }
}

#[test]
fn rows_by_number_are_the_canonical_ones_whatever_is_kept() {
    for layout in LAYOUTS {
        let written = corpus(layout, 50, true);
        let rows = all_rows(&written.corpus);
        let whole: usize = (0..written.corpus.batches())
            .map(|at| written.corpus.read(at, Projection::ALL).unwrap())
            .map(|cut| cut.documents().memory())
            .sum();
        for memory in [0, whole / 2, whole] {
            let bound = ByteSize(memory as u64);
            let mut random = RandomRows::new(written.corpus.clone(), Projection::ALL, bound);
            let mut draws = Key::default().generator(Purpose::Order);
            for _ in 0..300 {
                let number = draws.below(rows.len() as u32) as usize;
                let found = random.read(number as u64).unwrap();
                assert_eq!(found.row().ids, rows[number].row().ids);
                assert!(random.memory() <= bound || memory < whole);
            }
            assert!(random.read(rows.len() as u64).is_err());
        }
    }
}

#[test]
fn pread_and_mmap_read_the_same_and_pread_survives_a_cut() {
    let folder = tempfile::tempdir().unwrap();
    let shards = [documents(40, 1), documents(25, 2)];
    write(folder.path(), &shards, true);
    let mapped = ShardSet::open(folder.path()).unwrap();
    let read = ShardSet::open_by(folder.path(), ShardRead::Pread).unwrap();
    assert_eq!(mapped.batches(), read.batches());
    for index in 0..mapped.batches().len() {
        let (a, b) = (
            mapped.read(index, Projection::ALL).unwrap(),
            read.read(index, Projection::ALL).unwrap(),
        );
        for (a, b) in a.documents().zip(b.documents()) {
            assert_eq!((a.id, a.tokens), (b.id, b.tokens));
            assert_eq!((a.word_start, a.span_start), (b.word_start, b.span_start));
        }
    }
    drop(mapped);
    let path = folder.path().join("shard-1.arrow");
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(2000).unwrap();
    let last = read.batches().len() - 1;
    let error = read.read(last, Projection::ALL).unwrap_err().to_string();
    assert!(
        error.contains("shard-1.arrow") && error.contains("cut short"),
        "{error}"
    );
}

#[test]
fn a_document_is_found_by_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let shards = [documents(40, 1), documents(25, 2)];
    write(folder.path(), &shards, true);
    let set = ShardSet::open(folder.path()).unwrap();
    let all = shards.iter().flatten();
    for (number, document) in (0..).zip(all) {
        let (batch, place) = set.find(number).unwrap();
        let batch = set.read(batch, Projection::ALL).unwrap();
        assert_eq!(batch.document(place).tokens.to_vec(), document.tokens);
    }
    assert_eq!(set.find(65), None);
}

//! An epoch shared out: whoever reads it, the rows and their masks are those of a reader.

use super::*;
use crate::batches::columns::IGNORED;
use crate::config::Layout;
use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

const WINDOW: u64 = 1000;

fn draws() -> Draws {
    Draws {
        seed: 9,
        window_tokens: WINDOW,
    }
}

fn loader(sources: &[&Written], config: &MaskingConfig) -> Loader {
    let read: Vec<(Arc<Corpus>, u64)> = sources
        .iter()
        .map(|written| (written.corpus.clone(), written.corpus.rows()))
        .collect();
    let sizes = read.iter().map(|(_, rows)| *rows).collect();
    let masker = masks(&sources[0].corpus, config);
    Loader::new(read, Mixture::whole(sizes).unwrap(), masker, draws()).unwrap()
}

fn read(loader: &Loader, share: Share, epoch: u64, from: u64) -> Vec<Batch> {
    let at = Position { epoch, row: from };
    let steps = loader.read(share, at, 0).unwrap();
    steps.collect::<Result<_, _>>().unwrap()
}

/// The rows of some batches: their ids, and their labels by place.
fn masked_rows(batches: &[Batch]) -> Vec<(Vec<TokenId>, Vec<i64>)> {
    let rows = batches.iter().flat_map(|batch| {
        let labels = batch.dense_labels(IGNORED);
        let labels: Vec<Vec<i64>> = labels.chunks(batch.row_length).map(Into::into).collect();
        let ids: Vec<Vec<TokenId>> = batch.input.chunks(batch.length).map(Into::into).collect();
        ids.into_iter().zip(labels)
    });
    rows.collect()
}

#[test]
fn an_epoch_is_that_of_a_reader() {
    let written = corpus(RowLayout::Packed, 32, true);
    let config = MaskingConfig {
        strategy: Strategy::Pmi,
        ..MaskingConfig::default()
    };
    let loader = loader(&[&written], &config);
    let whole = Share::whole(4);
    for epoch in [0, 3] {
        let found = read(&loader, whole, epoch, 0);
        let at = Position { epoch, row: 0 };
        let masker = masks(&written.corpus, &config);
        let order = order(written.corpus.rows());
        let mut reader = Reader::new(written.corpus.clone(), masker, order, at).unwrap();
        let full = (loader.rows() / 4) as usize;
        for batch in &found[..full] {
            let expected = reader.read().unwrap();
            assert_eq!(
                masked_rows(std::slice::from_ref(&expected)),
                masked_rows(std::slice::from_ref(batch))
            );
            assert_eq!(expected.cu_seqlens, batch.cu_seqlens);
        }
        assert_eq!(found.len() as u64, whole.steps(loader.rows()));
        assert_eq!(found.last().unwrap().after.row, loader.rows());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_ranks_and_workers_read_the_rows_of_one(
        (ranks, workers) in (1u64..5, 1u64..4), batch_rows in 1u64..7, stop in 0u64..4,
    ) {
        let (first, second) = (corpus(RowLayout::BestFit, 40, false), corpus(RowLayout::BestFit, 40, false));
        let loader = loader(&[&first, &second], &MaskingConfig::default());
        let from = stop * batch_rows * ranks;
        let mut alone = masked_rows(&read(&loader, Share::whole(5), 1, from));
        let mut shared = Vec::new();
        for rank in 0..ranks {
            let of = |worker, workers| Share {
                batch_rows, rank, ranks, worker, workers, drop_last: false,
            };
            let together = read(&loader, of(0, 1), 1, from);
            let mut parts: Vec<_> = (0..workers)
                .map(|worker| read(&loader, of(worker, workers), 1, from).into_iter())
                .collect();
            for (step, batch) in together.iter().enumerate() {
                let found = parts[step % workers as usize].next();
                prop_assert_eq!(found.as_ref(), Some(batch));
            }
            prop_assert_eq!(parts.iter_mut().filter_map(Iterator::next).count(), 0);
            shared.extend(masked_rows(&together));
        }
        alone.truncate(shared.len());
        prop_assert_eq!(loader.rows() - from - (shared.len() as u64) < ranks, true);
        alone.sort();
        shared.sort();
        prop_assert_eq!(alone, shared);
    }
}

#[test]
fn rates_that_follow_the_step_do_not_depend_on_who_reads() {
    let written = corpus(RowLayout::Packed, 16, false);
    let config = MaskingConfig {
        corruption_rate: "antithetic(0.01)".parse().unwrap(),
        budget: crate::config::Budget::Bernoulli,
        ..MaskingConfig::default()
    };
    let loader = loader(&[&written], &config);
    let one = read(&loader, Share::whole(8), 1, 0);
    let of = |rank| Share {
        rank,
        ranks: 2,
        ..Share::whole(4)
    };
    let (left, right) = (read(&loader, of(0), 1, 0), read(&loader, of(1), 1, 0));
    for ((whole, left), right) in one.iter().zip(&left).zip(&right) {
        assert_eq!(whole.weights, [&left.weights[..], &right.weights].concat());
        assert_eq!((whole.step, whole.step), (left.step, right.step));
        for (place, weight) in whole.weights.iter().enumerate() {
            // Each row of a step in a stratum of its own.
            let t = (1.0 / f64::from(*weight) - 0.01) / 0.99;
            assert_eq!((t * 8.0) as usize, place, "{t}");
        }
    }
    let steps: Vec<u64> = one.iter().map(|batch| batch.step).collect();
    let first = one.len() as u64;
    assert!(steps.into_iter().eq(first..2 * first));
}

#[test]
fn columns_are_the_batch_in_other_words() {
    for layout in [Layout::InPlace, Layout::Removed] {
        let written = corpus(RowLayout::BestFit, 40, false);
        let config = MaskingConfig::default().with_layout(layout);
        for batch in read(&loader(&[&written], &config), Share::whole(6), 0, 0) {
            let dense = Columns::new(&batch, RowLayout::BestFit, LabelForm::Dense);
            let sparse = Columns::new(&batch, RowLayout::BestFit, LabelForm::Sparse);
            assert_eq!(dense.input_ids.len(), batch.rows * batch.length);
            assert!(
                dense.input_ids.iter().eq(batch
                    .input
                    .iter()
                    .map(|&id| i64::from(id))
                    .collect::<Vec<_>>()
                    .iter())
            );
            let Labels::Dense { labels, width } = &dense.labels else {
                panic!("not dense")
            };
            assert_eq!((*width, labels), (40, &batch.dense_labels(IGNORED)));
            let Labels::Sparse {
                positions,
                labels: ids,
                ..
            } = &sparse.labels
            else {
                panic!("not sparse")
            };
            let found: Vec<(i64, i64)> = (0..)
                .zip(labels)
                .filter(|(_, label)| **label != IGNORED)
                .map(|(place, label)| (place, *label))
                .collect();
            assert!(
                found
                    .into_iter()
                    .eq(positions.iter().copied().zip(ids.iter().copied()))
            );
            let positions = dense.position_ids.unwrap();
            let mut expected = batch.position_ids().into_iter();
            for (row, &length) in batch.lengths.iter().enumerate() {
                for place in 0..batch.length {
                    let at = row * batch.length + place;
                    let token = place < length as usize;
                    assert_eq!(dense.attention_mask[at], i64::from(token));
                    let position = if token { expected.next().unwrap() } else { 0 };
                    assert_eq!(positions[at], i64::from(position));
                }
            }
            let ends: Vec<u32> = dense
                .cu_seqlens
                .unwrap()
                .iter()
                .map(|&end| end as u32)
                .collect();
            assert_eq!(ends, batch.cu_seqlens);
        }
    }
    let written = corpus(RowLayout::Packed, 40, false);
    let batches = read(
        &loader(&[&written], &MaskingConfig::default()),
        Share::whole(6),
        0,
        0,
    );
    let columns = Columns::new(&batches[0], RowLayout::Packed, LabelForm::Dense);
    assert_eq!((columns.position_ids, columns.cu_seqlens), (None, None));
}

#[test]
fn sources_with_masks_of_their_own_rows_and_the_same_words() {
    let first = corpus(RowLayout::Packed, 16, false);
    let second = corpus(RowLayout::Packed, 16, false);
    let both = loader(&[&first, &second], &MaskingConfig::default());
    let rows = masked_rows(&read(&both, Share::whole(4), 0, 0));
    let distinct: BTreeSet<_> = rows.iter().collect();
    // The two have the same text, and masks of their own.
    assert!(distinct.len() as u64 > both.rows() * 9 / 10);
    // The first one's are as if it were alone.
    let alone = read(
        &loader(&[&first], &MaskingConfig::default()),
        Share::whole(4),
        0,
        0,
    );
    assert!(masked_rows(&alone).iter().all(|row| distinct.contains(row)));
}

#[test]
fn what_cannot_be_read_together_is_refused() {
    let first = corpus(RowLayout::Packed, 16, true);
    let folder = tempfile::tempdir().unwrap();
    write_for(
        folder.path(),
        &[documents(5, 1)],
        true,
        (special(), VOCABULARY + 1),
    );
    let shards = ShardSet::open(folder.path()).unwrap();
    let rows = RowsConfig {
        layout: RowLayout::Packed,
        length: 16,
    };
    let other = Arc::new(Corpus::open(shards, &rows).unwrap());
    let mixture = Mixture::whole(vec![3, 3]).unwrap();
    let masker = masks(&first.corpus, &MaskingConfig::default());
    let sources = vec![(first.corpus.clone(), 3), (other, 3)];
    let error = Loader::new(sources, mixture, masker, draws())
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("with the same tokenizer"),
        "{error}"
    );
}

//! Rows that come as ids: the same masks as rows whose words are known.

use super::*;
use crate::config::{Level, Overlap, Strategy, TokenizeConfig, WordRules};
use crate::masking::Stamp;
use crate::segment::Units;
use crate::statistics::vocabulary::MaskingVocabulary;
use crate::tokenizer::{Encoded, Tokenizer, WordTexts};
use proptest::prelude::{ProptestConfig, prop, prop_assert_eq, proptest};

const TEXTS: [&str; 4] = [
    "The whale sank three ships off Nantucket in 1851, and nothing more was heard.",
    "Unaffordable!",
    "caf\u{e9}s, na\u{ef}ve; it's \u{201c}quoted\u{201d} (twice) \u{2014} and again, and again.",
    "A new york minute in new york is not a minute anywhere else in the state of new york.",
];

fn tokenizer(name: &str) -> Arc<Tokenizer> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tokenizers");
    let config = TokenizeConfig {
        tokenizer: folder.join(name),
        mask_token: Some("<mask-of-tests>".into()),
        add_special_tokens: true,
        ..TokenizeConfig::default()
    };
    Tokenizer::load(&config).unwrap().into()
}

fn encoded(tokenizer: &Tokenizer, text: &str) -> Encoded {
    let mut out = Encoded::default();
    tokenizer.encode(text, &mut out).unwrap();
    out
}

fn config(strategy: Strategy) -> MaskingConfig {
    MaskingConfig {
        strategy,
        corruption_rate: 0.5.into(),
        replacement_level: Level::Word,
        ..MaskingConfig::default()
    }
}

fn collator(
    tokenizer: &Arc<Tokenizer>,
    config: &MaskingConfig,
    units: Option<Arc<Units>>,
) -> Collator {
    let table = TokenTable::new(tokenizer.vocabulary_size(), tokenizer.special());
    let masker = Masker::new(config, &table).unwrap();
    Collator::new(Arc::clone(tokenizer), masker, units).unwrap()
}

fn key(sample: u64) -> Key {
    Key {
        seed: 9,
        epoch: 2,
        sample,
        copy: 0,
    }
}

/// The text with a special token on either side, where the tokenizer has one.
fn row(tokenizer: &Tokenizer, text: &str) -> Vec<TokenId> {
    let mut ids = encoded(tokenizer, text).tokens;
    let special = tokenizer.special();
    ids.splice(0..0, special.cls);
    ids.extend(special.sep);
    ids
}

fn collate(collator: &mut Collator, rows: &[Vec<TokenId>], first: u64) -> Batch {
    let rows = (first..)
        .zip(rows)
        .map(|(sample, ids)| (&ids[..], key(sample)));
    let rows: Vec<_> = rows.collect();
    collator
        .collate(rows.iter().copied(), 8, Stamp::default())
        .unwrap()
}

const KINDS: [&str; 4] = [
    "bert-base-uncased",
    "byte-level-bpe",
    "unigram",
    "gpt2-style",
];

#[test]
fn masks_are_those_of_rows_whose_words_the_text_has_shown() {
    for name in KINDS {
        let tokenizer = tokenizer(name);
        for strategy in [Strategy::Uniform, Strategy::Word, Strategy::Span] {
            let config = config(strategy);
            let mut collator = collator(&tokenizer, &config, None);
            for (sample, text) in (0..).zip(TEXTS) {
                let ids = row(&tokenizer, text);
                // What an unknown token stood for cannot be tokenised again.
                if tokenizer
                    .special()
                    .unk
                    .is_some_and(|unk| ids.contains(&unk))
                {
                    continue;
                }
                let found = collate(&mut collator, std::slice::from_ref(&ids), sample);
                let special = tokenizer.special();
                let (front, back) = (special.cls.is_some(), special.sep.is_some());
                let around = |plane: &Boundaries, edge: bool| -> Boundaries {
                    let front = front.then_some(edge);
                    let bits = front.into_iter().chain(plane.as_slice().iter());
                    bits.chain(back.then_some(edge)).collect()
                };
                let words = around(&encoded(&tokenizer, text).word_start, true);
                let none =
                    Boundaries::filled(words.len() - usize::from(front) - usize::from(back), false);
                let mut known = RowBuffer::default();
                known.take(&ids, &around(&none, true), (&words, &words));
                let table = TokenTable::new(tokenizer.vocabulary_size(), special);
                let masker = Masker::new(&config, &table).unwrap();
                let width = ids.len().next_multiple_of(8);
                let mut masks = masks::BatchMasker::of_rows(masker, width, collator.pad());
                let mut expected = masks.begin(1);
                masks.push(&known, key(sample), Stamp::default(), &mut expected);
                masks.finish(&mut expected);
                assert_eq!(found, expected, "{name}, {strategy:?}, {text}");
            }
        }
    }
}

#[test]
fn words_of_a_unit_are_masked_together_and_special_tokens_never() {
    let tokenizer = tokenizer("bert-base-uncased");
    let mut vocabulary = MaskingVocabulary::default();
    vocabulary.push("new york", 10, 1.0);
    let texts = WordTexts::new(&tokenizer, WordRules::default());
    let units = Arc::new(Units::new(&vocabulary, texts, Overlap::Random, 1));
    let mut collator = collator(&tokenizer, &config(Strategy::Pmi), Some(units));
    let ids = row(&tokenizer, TEXTS[3]);
    let (new, york) = (tokenizer.id("new").unwrap(), tokenizer.id("york").unwrap());
    let mut together = 0;
    for sample in 0..50 {
        let batch = collate(&mut collator, std::slice::from_ref(&ids), sample);
        let labels = batch.dense_labels(-100);
        for at in 1..ids.len() {
            if ids[at - 1] == new && ids[at] == york {
                assert_eq!(labels[at - 1] < 0, labels[at] < 0, "sample {sample}");
                together += usize::from(labels[at] >= 0);
            }
        }
        assert!(labels[0] < 0 && labels[ids.len() - 1] < 0);
    }
    assert!((40..110).contains(&together), "{together} of 150");
}

#[test]
fn an_unknown_token_is_never_masked() {
    let tokenizer = tokenizer("bert-base-uncased");
    let id = |piece: &str| tokenizer.id(piece).unwrap();
    let unknown = tokenizer.special().unk.unwrap();
    let ids = vec![id("una"), unknown, id("##able"), id("the")];
    let mut collator = collator(&tokenizer, &config(Strategy::Word), None);
    let mut masked = 0;
    for sample in 0..20 {
        let labels = collate(&mut collator, std::slice::from_ref(&ids), sample).dense_labels(-100);
        assert!(labels[1] < 0);
        masked += usize::from(labels[2] >= 0);
    }
    assert!(masked > 0);
}

#[test]
fn units_need_a_vocabulary_and_ids_a_place_in_the_tokenizer() {
    let tokenizer = tokenizer("bert-base-uncased");
    let table = TokenTable::new(tokenizer.vocabulary_size(), tokenizer.special());
    let masker = Masker::new(&config(Strategy::Pmi), &table).unwrap();
    let error = Collator::new(Arc::clone(&tokenizer), masker, None)
        .err()
        .unwrap();
    assert!(error.to_string().contains("masking vocabulary"), "{error}");
    let size = tokenizer.vocabulary_size() as TokenId;
    let rows = [vec![5, 6], vec![7, size]];
    let rows = rows.iter().map(|ids| (&ids[..], key(0)));
    let mut collator = collator(&tokenizer, &config(Strategy::Word), None);
    let error = collator.collate(rows, 1, Stamp::default()).unwrap_err();
    assert!(error.to_string().contains("row 1, token 1"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever stands beside it, and however wide the batch is.
    #[test]
    fn a_rows_masks_follow_from_its_key_alone(
        rows in prop::collection::vec(prop::collection::vec(0u32..400, 0..40), 1..6),
    ) {
        let tokenizer = tokenizer("gpt2-style");
        let mut collator = collator(&tokenizer, &config(Strategy::Word), None);
        let size = tokenizer.vocabulary_size() as u32;
        let rows: Vec<Vec<u32>> = rows
            .into_iter()
            .map(|ids| ids.into_iter().map(|id| id % size).collect())
            .collect();
        let together = collate(&mut collator, &rows, 0);
        prop_assert_eq!(together.length % 8, 0);
        let labels = together.dense_labels(-100);
        for (sample, ids) in rows.iter().enumerate() {
            let alone = collate(&mut collator, std::slice::from_ref(ids), sample as u64);
            let within = sample * together.length..sample * together.length + ids.len();
            prop_assert_eq!(&together.input[within.clone()], &alone.input[..ids.len()]);
            prop_assert_eq!(&labels[within], &alone.dense_labels(-100)[..ids.len()]);
            prop_assert_eq!(together.lengths[sample] as usize, ids.len());
        }
    }
}

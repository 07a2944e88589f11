//! Segmentation against the examples of its sources and against brute force.

use super::hits::{Candidates, Finder, Hit};
use super::overlap::Resolver;
use super::units::Units;
use crate::base::boundaries::Boundaries;
use crate::base::generator::{Key, Purpose};
use crate::base::token::{SpecialTokens, TokenId, TokenSlice};
use crate::config::{Overlap, Punctuation, Unit, WordRules};
use crate::statistics::vocabulary::MaskingVocabulary;
use crate::tokenizer::{Tokenizer, WordTexts};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A tokenizer whose tokens are the words of `text` (pieces with `##`), in order of
/// first appearance behind `[UNK]`.
fn tokenizer(text: &str) -> Tokenizer {
    let mut vocabulary: BTreeMap<&str, usize> = BTreeMap::from([("[UNK]", 0)]);
    for piece in text.split_whitespace() {
        let next = vocabulary.len();
        vocabulary.entry(piece).or_insert(next);
    }
    let json = serde_json::json!({
        "version": "1.0",
        "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": null,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": false},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        }
    });
    let special = SpecialTokens {
        unk: Some(0),
        reserved: vec![0],
        ..SpecialTokens::default()
    };
    Tokenizer::from_json("test", &json.to_string(), special).unwrap()
}

fn vocabulary(ngrams: &[(&str, f64)]) -> MaskingVocabulary {
    let mut vocabulary = MaskingVocabulary::default();
    for (ngram, score) in ngrams {
        vocabulary.push(ngram, 0, *score);
    }
    vocabulary
}

/// The units of `text`, each as its tokens joined by a space, and the covered tokens.
fn units(
    text: &str,
    ngrams: &[(&str, f64)],
    rules: WordRules,
    overlap: Overlap,
    document: u64,
) -> (Vec<String>, u64) {
    let tokenizer = tokenizer(text);
    let pieces: Vec<&str> = text.split_whitespace().collect();
    let tokens: Vec<TokenId> = pieces.iter().map(|p| tokenizer.id(p).unwrap()).collect();
    let word_start: Boundaries = pieces.iter().map(|p| !p.starts_with("##")).collect();
    let texts = WordTexts::new(&tokenizer, rules);
    let units = Units::new(&vocabulary(ngrams), texts, overlap, 7);
    let mut spans = Boundaries::new();
    let covered = units.segmenter().segment(
        document,
        TokenSlice::Wide(&tokens),
        word_start.as_slice(),
        &mut spans,
    );
    assert_eq!(spans.len(), tokens.len());
    let cut = spans.as_slice().runs().map(|run| pieces[run].join(" "));
    (cut.collect(), covered)
}

const WAY: [(&str, f64); 2] = [("by the way", 1.0), ("the way out", 2.0)];

/// README of AI21Labs/pmi-masking, section 2: of overlapping entries one is chosen at
/// random, and the remaining tokens are units of their own.
#[test]
fn by_the_way_out_is_cut_at_random() {
    let mut seen = BTreeMap::new();
    for document in 0..1000 {
        let (units, covered) = units(
            "by the way out",
            &WAY,
            WordRules::default(),
            Overlap::Random,
            document,
        );
        assert_eq!(covered, 3);
        *seen.entry(units.join("|")).or_insert(0) += 1;
    }
    let counts: Vec<i32> = seen.values().copied().collect();
    assert!(
        seen.keys()
            .map(String::as_str)
            .eq(["by the way|out", "by|the way out"])
    );
    // Standard deviation 16; five of them.
    assert!(counts.iter().all(|&n| (420..=580).contains(&n)), "{seen:?}");
}

/// The same README: an entry that contains others is the unit.
#[test]
fn the_united_states_air_force_is_one_unit() {
    let ngrams = [
        ("the united states", 9.0),
        ("air force", 8.0),
        ("the united states air force", 1.0),
    ];
    for overlap in [Overlap::Random, Overlap::Longest, Overlap::Best] {
        let text = "in the united states air force today";
        let (units, covered) = units(text, &ngrams, WordRules::default(), overlap, 3);
        assert_eq!(units, ["in", "the united states air force", "today"]);
        assert_eq!(covered, 5);
    }
}

#[test]
fn best_and_longest_follow_score_and_length() {
    let rules = WordRules::default();
    let (best, _) = units("by the way out", &WAY, rules, Overlap::Best, 0);
    assert_eq!(best, ["by", "the way out"]);
    // Equal length: the earlier one.
    let (longest, _) = units("by the way out", &WAY, rules, Overlap::Longest, 0);
    assert_eq!(longest, ["by the way", "out"]);
    // Scores below zero must not make single words the best choice.
    let negative = [
        ("by the way", -20.0),
        ("the way out", -9.0),
        ("out there", -30.0),
    ];
    let (best, covered) = units("by the way out there", &negative, rules, Overlap::Best, 0);
    assert_eq!(best, ["by", "the way out", "there"]);
    assert_eq!(covered, 3);
}

#[test]
fn units_are_whole_words_and_words_keep_their_pieces() {
    let text = "ku ##ala lump ##ur is big";
    let ngrams = [("kuala lumpur", 1.0)];
    let (units, covered) = units(text, &ngrams, WordRules::default(), Overlap::Random, 0);
    assert_eq!(units, ["ku ##ala lump ##ur", "is", "big"]);
    assert_eq!(covered, 4);
}

#[test]
fn punctuation_is_a_barrier_or_goes_into_the_unit() {
    let ngrams = [("rock roll", 1.0)];
    let text = "rock - roll - on";
    let (barrier, _) = units(text, &ngrams, WordRules::default(), Overlap::Random, 0);
    assert_eq!(barrier, ["rock", "-", "roll", "-", "on"]);
    let skip = WordRules {
        punctuation: Punctuation::Skip,
        ..WordRules::default()
    };
    let (skipped, covered) = units(text, &ngrams, skip, Overlap::Random, 0);
    assert_eq!(skipped, ["rock - roll", "-", "on"]);
    assert_eq!(covered, 3);
}

#[test]
fn under_unit_token_no_unit_cuts_a_word() {
    let ngrams = [("b ##c", 1.0), ("a b", 2.0), ("c d", 3.0)];
    let rules = WordRules {
        unit: Unit::Token,
        ..WordRules::default()
    };
    let (units, _) = units("a b ##c c d", &ngrams, rules, Overlap::Best, 0);
    assert_eq!(units, ["a", "b ##c", "c d"]);
}

const LETTERS: [&str; 3] = ["a", "b", "c"];

fn hits_of(words: &[u32], ngrams: &BTreeSet<Vec<u32>>) -> (Vec<Hit>, Finder) {
    let text = |ngram: &Vec<u32>| {
        let letters: Vec<&str> = ngram.iter().map(|&w| LETTERS[w as usize]).collect();
        letters.join(" ")
    };
    let mut vocabulary = MaskingVocabulary::default();
    for (place, ngram) in ngrams.iter().enumerate() {
        vocabulary.push(&text(ngram), 0, score_of(place));
    }
    let (finder, numbered) = Finder::new(&vocabulary);
    let codes: Vec<u32> = words
        .iter()
        .map(|&w| numbered.find(LETTERS[w as usize]).unwrap_or(u32::MAX))
        .collect();
    let mut hits = Vec::new();
    finder.find(&codes, |_, _| true, &mut Candidates::default(), &mut hits);
    (hits, finder)
}

/// Few scores, so that equal sums come up; below zero for some vocabularies.
fn score_of(place: usize) -> f64 {
    (place % 3) as f64 - 1.0
}

fn brute_force_hits(words: &[u32], ngrams: &BTreeSet<Vec<u32>>) -> Vec<Hit> {
    let mut all = Vec::new();
    for start in 0..words.len() {
        for end in start + 2..=words.len() {
            if let Some(place) = ngrams.iter().position(|ngram| ngram == &words[start..end]) {
                all.push(Hit {
                    start: start as u32,
                    end: end as u32,
                    score: score_of(place),
                });
            }
        }
    }
    let contained = |hit: &Hit| {
        all.iter().any(|other| {
            other.start <= hit.start && hit.end <= other.end && other.len() > hit.len()
        })
    };
    all.iter().filter(|hit| !contained(hit)).copied().collect()
}

fn overlap(a: &Hit, b: &Hit) -> bool {
    a.start < b.end && b.start < a.end
}

fn resolved(hits: &[Hit], rule: Overlap, floor: f64, document: u64) -> Vec<Hit> {
    let mut left = hits.to_vec();
    let key = Key {
        sample: document,
        ..Key::default()
    };
    Resolver::default().resolve(&mut left, rule, floor, || key.generator(Purpose::Resolve));
    left
}

/// Every set of hits that do not overlap.
fn independent_sets(hits: &[Hit]) -> Vec<Vec<Hit>> {
    (0..1u32 << hits.len())
        .map(|mask| {
            let chosen = (0..hits.len()).filter(|&i| mask >> i & 1 == 1);
            chosen.map(|i| hits[i]).collect::<Vec<Hit>>()
        })
        .filter(|set| set.windows(2).all(|pair| !overlap(&pair[0], &pair[1])))
        .collect()
}

proptest! {
    #[test]
    fn hits_are_those_of_brute_force(
        words in prop::collection::vec(0u32..3, 0..30),
        ngrams in prop::collection::btree_set(prop::collection::vec(0u32..3, 2..=5), 0..12),
    ) {
        let (hits, _) = hits_of(&words, &ngrams);
        prop_assert_eq!(hits, brute_force_hits(&words, &ngrams));
    }

    #[test]
    fn resolved_hits_follow_their_rule(
        words in prop::collection::vec(0u32..3, 0..14),
        ngrams in prop::collection::btree_set(prop::collection::vec(0u32..3, 2..=5), 1..12),
        document in any::<u64>(),
    ) {
        let (hits, finder) = hits_of(&words, &ngrams);
        prop_assume!(hits.len() <= 12);
        let floor = finder.floor();
        for rule in [Overlap::Random, Overlap::Longest, Overlap::Best] {
            let taken = resolved(&hits, rule, floor, document);
            prop_assert!(taken.windows(2).all(|pair| pair[0].end <= pair[1].start));
            let left_alone = |hit: &&Hit| !taken.contains(hit);
            if rule != Overlap::Best {
                // Nothing could be added.
                for hit in hits.iter().filter(left_alone) {
                    prop_assert!(taken.iter().any(|other| overlap(hit, other)));
                }
            }
            if rule == Overlap::Longest {
                // A hit gives way only to one that is longer, or as long and earlier.
                for hit in hits.iter().filter(left_alone) {
                    prop_assert!(taken.iter().any(|other| overlap(hit, other)
                        && (other.len(), hit.start) > (hit.len(), other.start)));
                }
            }
        }
        let value = |set: &[Hit]| -> (f64, u32) {
            let sum = set.iter().map(|hit| hit.score - floor).sum();
            (sum, set.iter().map(|hit| hit.len() - 1).sum())
        };
        let best = resolved(&hits, Overlap::Best, floor, document);
        let sets = independent_sets(&hits);
        for set in &sets {
            prop_assert!(value(set) <= value(&best), "{:?} {:?}", set, best);
            if value(set) == value(&best) {
                // The first difference: `best` takes the earlier hit.
                let difference = best.iter().zip(set).find(|(ours, theirs)| ours != theirs);
                prop_assert!(difference.is_none_or(|(ours, theirs)| ours.start < theirs.start));
            }
        }
    }
}

/// Three hits in a row, the middle one overlapping with both: it is drawn first with
/// chance 1/3, else the outer two are taken.
#[test]
fn random_draws_each_remaining_hit_with_equal_chance() {
    let hit = |start, end| Hit {
        start,
        end,
        score: 0.0,
    };
    let hits = [hit(0, 3), hit(2, 5), hit(4, 7)];
    let middle = (0..3000)
        .filter(|&document| resolved(&hits, Overlap::Random, 0.0, document).len() == 1)
        .count();
    // Standard deviation 26; five of them.
    assert!((870..=1130).contains(&middle), "{middle}");
}

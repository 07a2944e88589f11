//! Questions to n-gram counts and masking vocabularies, for `cloze inspect`: one n-gram
//! with all its segmentations, the best of a length, a random sample around a rank (the
//! appendix of Levine et al. 2021 looks at quality by rank), and how much two
//! vocabularies share. Counts are held in memory, 40 bytes an n-gram, and ranked anew;
//! a vocabulary is in order of rank as it is.

use crate::base::error::{Error, Result};
use crate::base::generator::{Key, Purpose};
use crate::config::{QueryConfig, Score, WordRules};
use crate::pipeline::stage::StageOptions;
use crate::pipeline::summary::grouped;
use crate::pipeline::vocabulary::load;
use crate::statistics::MaskingVocabulary;
use crate::statistics::dictionary::WordId;
use crate::statistics::ranking::{best_rows, quotas, score_name, scores_of};
use crate::statistics::scores::{score_against, segmentations};
use crate::statistics::tally::MAX_LENGTH;
use crate::statistics::trie::{Row, Trie};
use crate::storage::{Artefact, ArtefactKind};
use crate::tokenizer::words::of_ngram;
use std::collections::HashSet;
use std::fmt::Write;
use std::path::Path;

/// N-grams are drawn from ranks within a tenth of the one asked for.
const NEIGHBOURHOOD: u64 = 10;

/// Shares of the whole size at which vocabularies are compared.
const SIZES: [f64; 6] = [0.01, 0.03, 0.1, 0.3, 0.6, 1.0];

/// Answers everything that `config` asks of the artefact at `path`, as text.
pub fn query(path: &Path, config: &QueryConfig, options: &StageOptions) -> Result<String> {
    config.check()?;
    let artefact = Artefact::open_any(path)?;
    let ranked: Box<dyn Ranked> = match artefact.kind() {
        ArtefactKind::Counts => {
            let (trie, note) = load(&artefact, 0, options)?;
            Box::new(Counts {
                trie,
                rules: note.rules,
                min_count: note.min_count,
                windows: note.windows,
                score: config.score,
            })
        }
        ArtefactKind::Vocabulary => Box::new(MaskingVocabulary::read(path)?),
        other => {
            return Err(Error::mismatch(
                path.display().to_string(),
                other.name(),
                "n-gram counts or a masking vocabulary",
                "give what `cloze count` or `cloze vocabulary` wrote",
            ));
        }
    };
    let mut out = String::new();
    for ngram in &config.ngram {
        let words = words_of(ngram, ranked.rules())?;
        ranked.look_up(&words, &mut out);
    }
    let length = config.length as usize;
    if let Some(top) = config.top {
        let list = ranked.best(length, top);
        let _ = writeln!(out, "best of length {length} by {}", ranked.score());
        show(&list, 1.., &mut out);
    }
    if let Some(rank) = config.near {
        sample(&*ranked, rank, config, options.seed, &mut out);
    }
    if let Some(other) = &config.compare {
        let vocabulary = |path: &Path| {
            Artefact::open(path, ArtefactKind::Vocabulary)?;
            MaskingVocabulary::read(path)
        };
        compare(&vocabulary(path)?, &vocabulary(other)?, &mut out);
    }
    Ok(out)
}

/// The words of an n-gram as counting would see them.
fn words_of(ngram: &str, rules: WordRules) -> Result<Vec<String>> {
    let words = of_ngram(ngram, rules);
    if (1..=MAX_LENGTH).contains(&words.len()) {
        return Ok(words);
    }
    Err(Error::usage(
        "--ngram",
        format!("{ngram:?}, {} words", words.len()),
        "one to five words, parted by spaces",
        "name an n-gram such as \"new york city\"",
    ))
}

/// An n-gram with its count and score.
struct Listed {
    ngram: String,
    count: u64,
    score: f64,
}

/// N-grams in order of rank, by length.
trait Ranked {
    /// The rules of what a word is.
    fn rules(&self) -> WordRules;
    /// What they are ranked by.
    fn score(&self) -> String;
    /// The `most` best n-grams of `length` words, best first.
    fn best(&self, length: usize, most: u64) -> Vec<Listed>;
    /// What is known of one n-gram.
    fn look_up(&self, words: &[String], out: &mut String);
}

/// Counts in memory.
struct Counts {
    trie: Trie,
    rules: WordRules,
    min_count: u64,
    windows: Vec<u64>,
    score: Score,
}

impl Ranked for Counts {
    fn rules(&self) -> WordRules {
        self.rules
    }

    fn score(&self) -> String {
        score_name(self.score).to_owned()
    }

    fn best(&self, length: usize, most: u64) -> Vec<Listed> {
        if length > self.trie.lengths() {
            return Vec::new();
        }
        let scores = scores_of(&self.trie, self.score, length);
        best_rows(&self.trie, length, &scores, most)
            .into_iter()
            .map(|row| {
                let mut ngram = String::new();
                let words = self.trie.ngram(length, row);
                self.trie.words().join(&words[..length], &mut ngram);
                Listed {
                    ngram,
                    count: self.trie.level(length).count(row),
                    score: scores[row as usize],
                }
            })
            .collect()
    }

    fn look_up(&self, words: &[String], out: &mut String) {
        let _ = writeln!(out, "{}", words.join(" "));
        let ids: Option<Vec<WordId>> = words
            .iter()
            .map(|word| self.trie.words().find(word))
            .collect();
        let found = ids.and_then(|ids| self.trie.find(&ids).map(|row| (ids, row)));
        let Some((ids, row)) = found else {
            let _ = writeln!(out, "  occurs less than {} times", self.min_count);
            return;
        };
        let length = ids.len();
        let level = self.trie.level(length);
        let windows = self.windows[length - 1];
        let _ = writeln!(
            out,
            "  {} of {} windows of {length}, p = {:.4e}, log p = {:.4}",
            grouped(level.count(row)),
            grouped(windows),
            level.count(row) as f64 / windows as f64,
            level.log_p(row)
        );
        if length > 1 {
            self.look_up_scores(words, &ids, row, out);
        }
    }
}

impl Counts {
    /// Rank, score, and the score against every segmentation.
    fn look_up_scores(&self, words: &[String], ids: &[WordId], row: Row, out: &mut String) {
        let length = ids.len();
        let level = self.trie.level(length);
        let scores = scores_of(&self.trie, self.score, length);
        let own = (
            scores[row as usize],
            level.count(row),
            std::cmp::Reverse(row),
        );
        let better = (0..scores.len() as Row)
            .filter(|&other| {
                let that = (scores[other as usize], level.count(other));
                that.0 > own.0
                    || that.0 == own.0 && (that.1, std::cmp::Reverse(other)) > (own.1, own.2)
            })
            .count();
        let _ = writeln!(
            out,
            "  {} {:.4}, rank {} of {}",
            self.score(),
            own.0,
            grouped(better as u64 + 1),
            grouped(scores.len() as u64)
        );
        let log_p = level.log_p(row);
        for cut in segmentations(&self.trie, ids).unwrap_or_default() {
            let mut parted = String::new();
            for (place, word) in words.iter().enumerate() {
                if place > 0 {
                    let apart = cut.cuts >> (place - 1) & 1 == 1;
                    parted.push_str(if apart { " | " } else { " " });
                }
                parted.push_str(word);
            }
            let score = score_against(self.score, log_p, cut.log_p, level.count(row));
            let _ = writeln!(out, "  {score:>10.4}  {parted}");
        }
    }
}

impl Ranked for MaskingVocabulary {
    fn rules(&self) -> WordRules {
        self.provenance.rules
    }

    fn score(&self) -> String {
        self.provenance.score.clone()
    }

    fn best(&self, length: usize, most: u64) -> Vec<Listed> {
        self.iter()
            .filter(|entry| entry.length as usize == length)
            .take(usize::try_from(most).unwrap_or(usize::MAX))
            .map(|entry| Listed {
                ngram: entry.ngram.to_owned(),
                count: entry.count,
                score: entry.score,
            })
            .collect()
    }

    fn look_up(&self, words: &[String], out: &mut String) {
        let ngram = words.join(" ");
        let _ = writeln!(out, "{ngram}");
        let all = self.best(words.len(), u64::MAX);
        let _ = match all.iter().position(|entry| entry.ngram == ngram) {
            Some(place) => writeln!(
                out,
                "  count {}, {} {:.4}, rank {} of {}",
                grouped(all[place].count),
                Ranked::score(self),
                all[place].score,
                grouped(place as u64 + 1),
                grouped(all.len() as u64)
            ),
            None => writeln!(
                out,
                "  not among the {} n-grams of length {}",
                grouped(all.len() as u64),
                words.len()
            ),
        };
    }
}

fn show<'a>(
    list: impl IntoIterator<Item = &'a Listed>,
    ranks: impl IntoIterator<Item = u64>,
    out: &mut String,
) {
    for (rank, entry) in ranks.into_iter().zip(list) {
        let _ = writeln!(
            out,
            "  {:>9}  {:>10.4}  {:>11}  {}",
            grouped(rank),
            entry.score,
            grouped(entry.count),
            entry.ngram
        );
    }
}

/// Shows n-grams drawn at random from around `rank`, in order of rank.
fn sample(ranked: &dyn Ranked, rank: u64, config: &QueryConfig, seed: u64, out: &mut String) {
    let radius = (rank / NEIGHBOURHOOD).max(config.sample);
    let length = config.length as usize;
    let list = ranked.best(length, rank.saturating_add(radius));
    let first = (rank - 1).saturating_sub(radius).min(list.len() as u64);
    let mut ranks: Vec<u64> = (first..list.len() as u64).collect();
    let key = Key {
        seed,
        sample: rank,
        ..Key::default()
    };
    let count = ranks
        .len()
        .min(usize::try_from(config.sample).unwrap_or(usize::MAX));
    key.generator(Purpose::Select)
        .shuffle_prefix(&mut ranks, count);
    ranks.truncate(count);
    ranks.sort_unstable();
    let _ = writeln!(
        out,
        "{count} of length {length} drawn from ranks {} to {} by {}",
        grouped(first + 1),
        grouped(list.len() as u64),
        ranked.score()
    );
    let drawn = ranks.iter().map(|&at| &list[at as usize]);
    show(drawn, ranks.iter().map(|at| at + 1), out);
}

/// Shows how many n-grams two vocabularies share, cut to several sizes: to the best of
/// each length, in the shares that the lengths have in the first.
fn compare(one: &MaskingVocabulary, other: &MaskingVocabulary, out: &mut String) {
    let of_length = |vocabulary: &MaskingVocabulary| -> Vec<Vec<String>> {
        (2..=MAX_LENGTH)
            .map(|length| {
                let list = vocabulary.best(length, u64::MAX);
                list.into_iter().map(|entry| entry.ngram).collect()
            })
            .collect()
    };
    let (ones, others) = (of_length(one), of_length(other));
    let whole = one.len().max(1);
    let shares: Vec<f64> = ones
        .iter()
        .map(|list| list.len() as f64 / whole as f64)
        .collect();
    let _ = writeln!(
        out,
        "{} n-grams by {} against {} by {}\n{:>12}  {:>12}  share of the size, all and by length 2 to 5",
        grouped(one.len() as u64),
        Ranked::score(one),
        grouped(other.len() as u64),
        Ranked::score(other),
        "size",
        "in both"
    );
    for part in SIZES {
        let size = (part * one.len() as f64).round() as u64;
        let mut sums = (0, 0);
        let mut by_length = String::new();
        for ((quota, ones), others) in quotas(size, &shares).into_iter().zip(&ones).zip(&others) {
            let quota = usize::try_from(quota).unwrap_or(usize::MAX);
            let first: HashSet<&String> = ones.iter().take(quota).collect();
            let both = others
                .iter()
                .take(quota)
                .filter(|ngram| first.contains(ngram));
            let both = both.count();
            sums = (sums.0 + both, sums.1 + first.len());
            let _ = match first.len() {
                0 => write!(by_length, "       –"),
                all => write!(by_length, "  {:>5.1}%", 100.0 * both as f64 / all as f64),
            };
        }
        let _ = writeln!(
            out,
            "{:>12}  {:>12}  {:>5.1}%{by_length}",
            grouped(size),
            grouped(sums.0 as u64),
            100.0 * sums.0 as f64 / sums.1.max(1) as f64
        );
    }
}

//! Import of a published list: one n-gram a line, best first, as the PMI-Masking
//! lists are. Words are normalised as those of the corpus are, so that they are
//! found again; lines that can never be found are left out and counted.

use crate::base::error::{Error, Result};
use crate::config::{Punctuation, Unit, WordRules};
use crate::statistics::tally::MAX_LENGTH;
use crate::statistics::vocabulary::MaskingVocabulary;
use crate::tokenizer::words::normalized;
use std::collections::HashSet;
use std::io::BufRead;

/// The name of the score of an imported list.
pub const LIST: &str = "list";

/// What became of the lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lines {
    /// All lines.
    pub lines: u64,
    /// Lines without a word.
    pub blank: u64,
    /// Lines whose n-gram came before, the rules applied.
    pub duplicate: u64,
    /// Lines of one word, which is a unit anyhow.
    pub single: u64,
    /// Lines of more than five words.
    pub long: u64,
    /// Lines with punctuation that the rules keep out of n-grams.
    pub punctuation: u64,
    /// Good lines beyond the size.
    pub beyond: u64,
}

/// Reads the list; `place` names it in messages. The score of an n-gram is the
/// number of lines from its own to the end, so that earlier is better; its count is
/// not known and 0. Takes the first `size` n-grams.
pub fn import(
    list: impl BufRead,
    place: &str,
    rules: WordRules,
    size: u64,
) -> Result<(MaskingVocabulary, Lines)> {
    let mut report = Lines::default();
    let mut seen = HashSet::new();
    // By length less two: line and n-gram.
    let mut taken: Vec<Vec<(u64, String)>> = vec![Vec::new(); MAX_LENGTH - 1];
    for line in list.lines() {
        let line = line.map_err(|error| unreadable(place, report.lines + 1, error))?;
        report.lines += 1;
        let words = words(&line, rules);
        match words.len() {
            0 => report.blank += 1,
            1 => report.single += 1,
            n if n > MAX_LENGTH => report.long += 1,
            n => {
                let ngram = words.join(" ");
                if rules.unit == Unit::Word
                    && rules.punctuation != Punctuation::Word
                    && words.iter().any(|word| is_punctuation(word))
                {
                    report.punctuation += 1;
                } else if seen.contains(&ngram) {
                    report.duplicate += 1;
                } else if seen.len() as u64 == size {
                    report.beyond += 1;
                } else {
                    seen.insert(ngram.clone());
                    taken[n - 2].push((report.lines - 1, ngram));
                }
            }
        }
    }
    let mut vocabulary = MaskingVocabulary::default();
    for (line, ngram) in taken.into_iter().flatten() {
        vocabulary.push(&ngram, 0, (report.lines - line) as f64);
    }
    Ok((vocabulary, report))
}

/// The words of a line as counting would see them. Tokens are spelled as the
/// vocabulary has them.
fn words(line: &str, rules: WordRules) -> Vec<String> {
    line.split_whitespace()
        .map(|word| match rules.unit {
            Unit::Word => normalized(word, rules.cased),
            Unit::Token => word.to_owned(),
        })
        .filter(|word| !word.is_empty())
        .collect()
}

fn is_punctuation(word: &str) -> bool {
    !word.chars().any(char::is_alphanumeric)
}

fn unreadable(place: &str, line: u64, error: std::io::Error) -> Error {
    if error.kind() != std::io::ErrorKind::InvalidData {
        return Error::io("read", place, error);
    }
    Error::input(
        format!("{place}, line {line}"),
        "bytes that are not UTF-8",
        "one n-gram a line, in UTF-8",
        "convert the list, for example with iconv",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(list: &str, rules: WordRules, size: u64) -> (Vec<(String, f64)>, Lines) {
        let (vocabulary, lines) = import(list.as_bytes(), "list.txt", rules, size).unwrap();
        let entries = vocabulary
            .iter()
            .map(|entry| (entry.ngram.to_owned(), entry.score))
            .collect();
        (entries, lines)
    }

    #[test]
    fn earlier_lines_score_higher_and_odd_ones_are_reported() {
        let list = "editor in chief\nNew  York\n\nnew york\nalone\none two three four five six\n\
                    well , well\nair force\n";
        let (entries, lines) = imported(list, WordRules::default(), 100);
        let expected = [
            ("new york", 7.0),
            ("air force", 1.0),
            ("editor in chief", 8.0),
        ];
        assert!(entries.iter().map(|(n, s)| (n.as_str(), *s)).eq(expected));
        assert_eq!(
            lines,
            Lines {
                lines: 8,
                blank: 1,
                duplicate: 1,
                single: 1,
                long: 1,
                punctuation: 1,
                beyond: 0
            }
        );
    }

    #[test]
    fn cased_rules_keep_case_and_a_small_size_takes_the_first() {
        let rules = WordRules {
            cased: true,
            ..WordRules::default()
        };
        let (entries, lines) = imported("New York\nnew york\nair force\n", rules, 2);
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].0, "New York");
        assert_eq!(lines.beyond, 1);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_located() {
        let list: &[u8] = b"good line\n\xff\xfe bad\n";
        let message = import(list, "list.txt", WordRules::default(), 9)
            .unwrap_err()
            .to_string();
        assert!(message.starts_with("list.txt, line 2:"), "{message}");
    }
}

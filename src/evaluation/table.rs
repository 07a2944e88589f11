//! An evaluation as text: figures with half of their 95 % interval behind ±.

use super::Spread;
use super::report::{Bin, Evaluation, Masked, PairGroup, Pairs, Profile};
use crate::config::Strategy;
use std::fmt::{self, Display, Formatter};

/// Columns of a figure with its interval.
const FIGURE: usize = 16;

impl Display for Evaluation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (name, parameters) = (self.model.architecture.name(), self.model.parameters);
        writeln!(f, "{name}, {:.1} M parameters", parameters as f64 / 1e6)?;
        if let Some(rows) = &self.rows {
            writeln!(
                f,
                "{} of {} held-out rows of {} tokens; loss in nats a label, ± half of a 95 % \
                 interval over rows",
                rows.evaluated, rows.held_out, rows.length
            )?;
        }
        if !self.masked.is_empty() {
            masked(f, &self.masked)?;
        }
        for (title, bins) in STRATA {
            strata(f, title, &self.masked, bins)?;
        }
        for one in &self.masked {
            if let Some(profile) = &one.profile {
                writeln!(f, "\nuniform masks of {}", percent(one.rate))?;
                write_profile(f, profile)?;
            }
        }
        match &self.blimp {
            Some(found) => pairs(f, found),
            None => Ok(()),
        }
    }
}

type Bins = fn(&Masked) -> &[Bin];

const STRATA: [(&str, Bins); 4] = [
    ("words of the masking unit", |one| &one.by_unit_words),
    ("tokens of the word", |one| &one.by_word_tokens),
    ("frequency rank of the token", |one| &one.by_frequency_rank),
    ("tokens to the nearest visible one", |one| {
        one.profile
            .as_ref()
            .map_or(&[], |profile| &profile.by_distance)
    }),
];

fn masked(f: &mut Formatter<'_>, all: &[Masked]) -> fmt::Result {
    writeln!(
        f,
        "\n{:>16}  {:>8}  {:>9}  {:>FIGURE$}  {:>FIGURE$}  {:>FIGURE$}",
        "masked", "realised", "labels", "loss", "perplexity", "accuracy"
    )?;
    for one in all {
        writeln!(
            f,
            "{:>16}  {:>8}  {:>9}  {:>FIGURE$}  {:>FIGURE$}  {:>FIGURE$}",
            setting(one),
            percent(one.realised),
            one.labels,
            figure(&one.loss, 3),
            figure(&one.perplexity, 1),
            share(&one.accuracy),
        )?;
    }
    Ok(())
}

/// Loss and accuracy by bin, a column for each way to mask.
fn strata(f: &mut Formatter<'_>, title: &str, all: &[Masked], bins: Bins) -> fmt::Result {
    let all: Vec<&Masked> = all.iter().filter(|one| !bins(one).is_empty()).collect();
    if all.is_empty() {
        return Ok(());
    }
    writeln!(f, "\nloss and accuracy by {title}")?;
    write!(f, "{:>16}", "")?;
    for one in &all {
        write!(f, "  {:>32}", setting(one))?;
    }
    writeln!(f)?;
    let mut bounds: Vec<(u64, Option<u64>)> = all
        .iter()
        .flat_map(|one| bins(one))
        .map(|bin| (bin.from, bin.to))
        .collect();
    bounds.sort_unstable_by_key(|&(from, _)| from);
    bounds.dedup();
    for (from, to) in bounds {
        let name = match to {
            Some(to) if to == from => from.to_string(),
            Some(to) => format!("{from}–{to}"),
            None => format!("{from} and more"),
        };
        write!(f, "{name:>16}")?;
        for one in &all {
            let bin = bins(one).iter().find(|bin| bin.from == from);
            let text = bin.map_or("–".into(), |bin| {
                format!(
                    "{:>FIGURE$} {:>15}",
                    figure(&bin.loss, 3),
                    share(&bin.accuracy)
                )
            });
            write!(f, "  {text:>32}")?;
        }
        writeln!(f)?;
    }
    Ok(())
}

fn write_profile(f: &mut Formatter<'_>, profile: &Profile) -> fmt::Result {
    if !profile.hidden_whole.is_empty() {
        writeln!(
            f,
            "{:>16}  {:>9}  {:>FIGURE$}  {:>12}  {:>12}",
            "n-gram, words", "n-grams", "hidden whole", "m^words", "m^tokens"
        )?;
    }
    for length in &profile.hidden_whole {
        writeln!(
            f,
            "{:>16}  {:>9}  {:>FIGURE$}  {:>12}  {:>12}",
            length.words,
            length.ngrams,
            share(&length.counted),
            percent(length.by_words),
            percent(length.by_tokens),
        )?;
    }
    writeln!(
        f,
        "{:>16}  {:>9}  {:>FIGURE$}  {:>FIGURE$}",
        "confidence", "labels", "mean", "accuracy"
    )?;
    for bin in &profile.by_confidence {
        writeln!(
            f,
            "{:>16}  {:>9}  {:>FIGURE$}  {:>FIGURE$}",
            format!("{:.1}–{:.1}", bin.from, bin.to),
            bin.labels,
            share(&bin.confidence),
            share(&bin.accuracy),
        )?;
    }
    let error = percent(profile.calibration_error);
    writeln!(f, "{:>16}  {error}", "calibration error")
}

fn pairs(f: &mut Formatter<'_>, found: &Pairs) -> fmt::Result {
    writeln!(
        f,
        "\nminimal pairs whose good sentence is the likelier one: {} of {}, {} ties",
        share(&found.accuracy),
        found.accuracy.examples,
        found.ties
    )?;
    let mut group = |title: &str, groups: &[PairGroup]| {
        if !groups.is_empty() {
            writeln!(f, "by {title}")?;
        }
        for group in groups {
            let accuracy = share(&group.accuracy);
            writeln!(f, "{accuracy:>FIGURE$}  {}", group.name)?;
        }
        Ok(())
    };
    group("field", &found.by_field)?;
    group("phenomenon", &found.by_phenomenon)?;
    group("paradigm", &found.by_paradigm)
}

fn setting(one: &Masked) -> String {
    match one.strategy {
        Strategy::Uniform => percent(one.rate),
        strategy => format!("{} {}", strategy.name(), percent(one.rate)),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn half(spread: &Spread) -> f64 {
    (spread.high - spread.low) / 2.0
}

fn figure(spread: &Spread, digits: usize) -> String {
    format!("{:.digits$} ± {:.digits$}", spread.mean, half(spread))
}

fn share(spread: &Spread) -> String {
    format!("{:.1} ± {:.1} %", 100.0 * spread.mean, 100.0 * half(spread))
}

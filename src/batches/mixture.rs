//! Which source each row of an epoch comes from, where several are read together: by
//! arithmetic, so any row is found without going through those before it.
//!
//! Of the N rows of an epoch source s has n_s, and its j-th one is due at (j + ½) / n_s of
//! the epoch; rows are read in the order in which they are due, of those due together that
//! of the earlier source first. So before row n source s has been read n · n_s / N times,
//! give or take half the number of sources: every step has each source's share as nearly as
//! whole rows allow, and nothing is drawn. A source goes through its own epochs, each in a
//! new order with new masks, however often that is in an epoch of the whole.

use super::Position;
use crate::base::error::{Error, Result};
use std::ops::Range;

/// Rows of sources, spread evenly over an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mixture {
    /// Rows that each source has.
    sizes: Vec<u64>,
    /// Rows of each source in an epoch.
    counts: Vec<u64>,
    rows: u64,
}

/// A row of an epoch: of which source, and where in that source's epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Number of the source.
    pub source: usize,
    /// The row.
    pub position: Position,
}

impl Mixture {
    /// Every row of sources with `sizes` rows once in an epoch.
    pub fn whole(sizes: Vec<u64>) -> Result<Self> {
        let counts = sizes.clone();
        Self::new(sizes, counts)
    }

    /// As many rows in an epoch as sources of `sizes` rows have together, in shares
    /// proportional to `weights`, rounded by largest remainders. Refuses weights that are
    /// not above 0, or that leave a source without a row.
    pub fn weighted(sizes: Vec<u64>, weights: &[f64]) -> Result<Self> {
        let refuse = |source: usize, found: String| {
            Err(Error::usage(
                format!("weights[{source}]"),
                found,
                "a number above 0, enough for a row in each epoch",
                "a weight is the share of rows that come from its source; leave out a source \
                 that you do not want",
            ))
        };
        let all: f64 = weights.iter().sum();
        let rows: u64 = sizes.iter().sum();
        let mut counts = Vec::with_capacity(sizes.len());
        let mut rests = Vec::with_capacity(sizes.len());
        for (source, &weight) in weights.iter().enumerate() {
            if !(weight > 0.0 && weight.is_finite() && all.is_finite()) {
                return refuse(source, weight.to_string());
            }
            let due = rows as f64 * (weight / all);
            counts.push(due.floor() as u64);
            rests.push((due.fract(), source));
        }
        rests.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let left = rows.saturating_sub(counts.iter().sum());
        for &(_, source) in rests.iter().take(left as usize) {
            counts[source] += 1;
        }
        match counts.iter().position(|&count| count == 0) {
            Some(source) if rows > 0 => refuse(source, weights[source].to_string()),
            _ => Self::new(sizes, counts),
        }
    }

    fn new(sizes: Vec<u64>, counts: Vec<u64>) -> Result<Self> {
        let rows = counts.iter().sum();
        if rows == 0 || sizes.contains(&0) {
            return Err(Error::input(
                "shards",
                "no row to read",
                "at least one row of text",
                "give more text, or hold less of it out",
            ));
        }
        Ok(Self {
            sizes,
            counts,
            rows,
        })
    }

    /// Rows of an epoch.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows of each source in an epoch.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The rows `rows` of epoch `epoch`.
    pub fn rows_of(&self, epoch: u64, rows: Range<u64>) -> impl Iterator<Item = Due> + '_ {
        let mut read = self.read_before(rows.start);
        rows.map(move |_| {
            let source = self.next(&read);
            let turn = epoch * self.counts[source] + read[source];
            read[source] += 1;
            Due {
                source,
                position: Position {
                    epoch: turn / self.sizes[source],
                    row: turn % self.sizes[source],
                },
            }
        })
    }

    /// The source whose next row is due first, after `read` rows of each.
    fn next(&self, read: &[u64]) -> usize {
        let mut first = 0;
        for source in 1..read.len() {
            if self.due(source, read[source]) < self.due(first, read[first]) {
                first = source;
            }
        }
        first
    }

    /// When row `row` of a source is due: (2·row + 1) / n_s, in an order of fractions.
    fn due(&self, source: usize, row: u64) -> Fraction {
        match row < self.counts[source] {
            true => Fraction(2 * row + 1, self.counts[source]),
            // Never: all of them were read.
            false => Fraction(1, 0),
        }
    }

    /// How many rows of each source are read before row `row`: those due before row / N of
    /// the epoch, and then, as these may be too few or too many, the next or without the
    /// last ones.
    fn read_before(&self, row: u64) -> Vec<u64> {
        let before = self.counts.iter().map(|&count| {
            let (all, twice) = (u128::from(self.rows), 2 * u128::from(row));
            let past = (twice * u128::from(count)).saturating_sub(all);
            past.div_ceil(2 * all) as u64
        });
        let mut read: Vec<u64> = before.collect();
        let mut sum: u64 = read.iter().sum();
        while sum > row {
            let latest =
                (0..read.len())
                    .filter(|&source| read[source] > 0)
                    .reduce(
                        |a, b| match self.due(b, read[b] - 1) < self.due(a, read[a] - 1) {
                            true => a,
                            false => b,
                        },
                    );
            if let Some(latest) = latest {
                read[latest] -= 1;
            }
            sum -= 1;
        }
        while sum < row {
            let next = self.next(&read);
            read[next] += 1;
            sum += 1;
        }
        read
    }
}

/// A numerator and a denominator, compared across.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fraction(u64, u64);

impl PartialOrd for Fraction {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        let across = |a: u64, b: u64| u128::from(a) * u128::from(b);
        Some(across(self.0, other.1).cmp(&across(other.0, self.1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_source_is_read_as_it_is() {
        let one = Mixture::whole(vec![5]).unwrap();
        let found: Vec<Due> = one.rows_of(3, 1..4).collect();
        let expected = [1, 2, 3].map(|row| Due {
            source: 0,
            position: Position { epoch: 3, row },
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn three_to_one_is_every_fourth_row() {
        let mixture = Mixture::weighted(vec![6, 2], &[3.0, 1.0]).unwrap();
        assert_eq!(mixture.counts(), [6, 2]);
        let sources: Vec<usize> = mixture.rows_of(0, 0..8).map(|due| due.source).collect();
        assert_eq!(sources, [0, 0, 1, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn a_small_source_goes_through_more_epochs_of_its_own() {
        let mixture = Mixture::weighted(vec![10, 2], &[1.0, 1.0]).unwrap();
        assert_eq!(mixture.counts(), [6, 6]);
        let of_small: Vec<Position> = (0..2)
            .flat_map(|epoch| mixture.rows_of(epoch, 0..12).collect::<Vec<_>>())
            .filter(|due| due.source == 1)
            .map(|due| due.position)
            .collect();
        let expected = (0..12).map(|turn| Position {
            epoch: turn / 2,
            row: turn % 2,
        });
        assert!(of_small.into_iter().eq(expected));
    }

    #[test]
    fn weights_that_mean_nothing_are_refused() {
        for (weights, found) in [
            ([1.0, 0.0], "weights[1]: found 0,"),
            ([f64::NAN, 1.0], "weights[0]: found NaN"),
            ([-1.0, 2.0], "weights[0]: found -1"),
            ([1e9, 1.0], "weights[1]: found 1,"),
        ] {
            let error = Mixture::weighted(vec![5, 5], &weights).unwrap_err();
            assert!(error.to_string().starts_with(found), "{error}");
        }
        assert!(Mixture::whole(vec![0]).is_err());
    }

    proptest! {
        #[test]
        fn rows_are_found_as_if_all_before_them_had_been_read(
            sizes in prop::collection::vec(1u64..40, 1..6),
            weights in prop::collection::vec(0.5f64..4.0, 6),
            epoch in 0u64..3,
            (from, to) in (0.0f64..1.0, 0.0f64..1.0),
        ) {
            let mixture = Mixture::weighted(sizes.clone(), &weights[..sizes.len()]).unwrap();
            let all: Vec<Due> = mixture.rows_of(epoch, 0..mixture.rows()).collect();
            let place = |share: f64| (share * mixture.rows() as f64) as usize;
            let (from, to) = (place(from.min(to)), place(from.max(to)));
            let part: Vec<Due> = mixture.rows_of(epoch, from as u64..to as u64).collect();
            prop_assert_eq!(&part[..], &all[from..to]);
            for source in 0..sizes.len() {
                let count = mixture.counts()[source];
                let of_source: Vec<u64> = all
                    .iter()
                    .filter(|due| due.source == source)
                    .map(|due| due.position.epoch * sizes[source] + due.position.row)
                    .collect();
                // In order, each once, with none left out.
                let first = epoch * count;
                prop_assert_eq!(of_source, (first..first + count).collect::<Vec<_>>());
                for (read, row) in (0..=all.len()).map(|row| {
                    (all[..row].iter().filter(|due| due.source == source).count(), row)
                }) {
                    let due = row as f64 * count as f64 / all.len() as f64;
                    let bound = 0.5 + 0.5 * sizes.len() as f64;
                    prop_assert!((read as f64 - due).abs() <= bound, "{} for {}", read, due);
                }
            }
        }
    }
}

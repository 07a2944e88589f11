//! One process's share of an epoch, and one worker's of that, by arithmetic alone.
//!
//! A step of the training takes `ranks × batch_rows` rows of the epoch's order, whoever
//! reads them: rank r the r-th share of each step, worker w of a rank every `workers`-th
//! step, beginning with step w. So the rows of a step are the same for any number of
//! workers, their union is the same for any number of ranks, and where a training stands is
//! one number, the rows of the epoch that are behind it.

use crate::base::error::{Error, Result};
use std::ops::Range;

/// One process of a training, and one worker of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Rows of a batch, before copies.
    pub batch_rows: u64,
    /// This process.
    pub rank: u64,
    /// Processes that train together.
    pub ranks: u64,
    /// This worker of the process.
    pub worker: u64,
    /// Workers of each process.
    pub workers: u64,
    /// Rows at the end of an epoch that fill no step are left out; otherwise the ranks
    /// share them, if there is one for each.
    pub drop_last: bool,
}

impl Share {
    /// All of an epoch, in batches of `batch_rows`.
    pub fn whole(batch_rows: u64) -> Self {
        Self {
            batch_rows,
            rank: 0,
            ranks: 1,
            worker: 0,
            workers: 1,
            drop_last: false,
        }
    }

    /// Refuses what is no share.
    pub fn check(&self) -> Result<()> {
        let refuse = |key: &str, found: String, expected: String| {
            let remedy = "ranks and workers are numbered from 0";
            Err(Error::usage(key, found, expected, remedy))
        };
        if !(1..=1 << 24).contains(&self.batch_rows) {
            let expected = "1 to 16777216 rows".into();
            return refuse("batch_size", self.batch_rows.to_string(), expected);
        }
        if self.rank >= self.ranks {
            let below = format!("a rank below world_size = {}", self.ranks);
            return refuse("rank", self.rank.to_string(), below);
        }
        if self.worker >= self.workers {
            let below = format!("a worker below {}", self.workers);
            return refuse("worker", self.worker.to_string(), below);
        }
        // Where a step's rows are stamped, they are numbered with 32 bits.
        if self.ranks > u64::from(u32::MAX) / self.batch_rows {
            let expected = "fewer than 2³² rows in a step".into();
            return refuse("world_size", self.ranks.to_string(), expected);
        }
        Ok(())
    }

    /// Rows of a step, all ranks together.
    pub fn step_rows(&self) -> u64 {
        self.batch_rows * self.ranks
    }

    /// Steps that `rows` rows are enough for.
    pub fn steps(&self, rows: u64) -> u64 {
        let rest = rows % self.step_rows();
        rows / self.step_rows() + u64::from(!self.drop_last && rest >= self.ranks)
    }

    /// The rows of step `step` that are this rank's, of an epoch of `rows` rows whose
    /// first `from` were read before.
    pub fn rows(&self, from: u64, rows: u64, step: u64) -> Range<u64> {
        let start = from + step * self.step_rows();
        let here = self.step_rows().min(rows.saturating_sub(start));
        let part = |rank: u64| start + here * rank / self.ranks;
        part(self.rank)..part(self.rank + 1)
    }

    /// The first step from `step` on that is this worker's.
    pub fn own_step(&self, step: u64) -> u64 {
        step + (self.worker + self.workers - step % self.workers) % self.workers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rows of all steps of one share, step by step.
    fn taken(share: Share, from: u64, rows: u64) -> Vec<Range<u64>> {
        let mut step = share.own_step(0);
        let mut taken = Vec::new();
        while step < share.steps(rows - from) {
            taken.push(share.rows(from, rows, step));
            step = share.own_step(step + 1);
        }
        taken
    }

    proptest! {
        #[test]
        fn ranks_and_workers_read_each_row_once(
            (rows, from) in (0u64..500, 0u64..500),
            batch_rows in 1u64..20,
            (ranks, workers) in (1u64..6, 1u64..5),
            drop_last in any::<bool>(),
        ) {
            let rows = rows + from;
            let mut all = Vec::new();
            let mut batches = Vec::new();
            for rank in 0..ranks {
                let of = |worker, workers| Share {
                    batch_rows, rank, ranks, worker, workers, drop_last,
                };
                let alone = taken(of(0, 1), from, rows);
                prop_assert_eq!(alone.len() as u64, of(0, 1).steps(rows - from));
                let parts: Vec<_> =
                    (0..workers).map(|worker| taken(of(worker, workers), from, rows)).collect();
                // In turn, as a loader asks its workers.
                let in_turn: Vec<_> = (0..alone.len())
                    .map(|step| parts[step % workers as usize][step / workers as usize].clone())
                    .collect();
                prop_assert_eq!(&in_turn, &alone);
                prop_assert!(alone.iter().all(|rows| !rows.is_empty()));
                batches.push(alone.len());
                all.extend(alone.into_iter().flatten());
            }
            prop_assert!(batches.windows(2).all(|two| two[0] == two[1]));
            all.sort_unstable();
            let read = from + all.len() as u64;
            prop_assert_eq!(all, (from..read).collect::<Vec<_>>());
            let left = if drop_last { batch_rows * ranks } else { ranks };
            prop_assert!(rows - read < left);
        }

        #[test]
        fn after_a_step_another_number_of_ranks_reads_on(
            rows in 1u64..500, batch_rows in 1u64..9, step in 0u64..9, ranks in 1u64..5,
        ) {
            let one = Share::whole(batch_rows);
            let behind = (step * batch_rows).min(rows);
            let rest: Vec<u64> = (0..one.steps(rows - behind))
                .flat_map(|step| one.rows(behind, rows, step))
                .collect();
            let mut shared: Vec<u64> = (0..ranks)
                .map(|rank| Share { rank, ranks, ..one })
                .flat_map(|share| taken(share, behind, rows).into_iter().flatten())
                .collect();
            shared.sort_unstable();
            prop_assert_eq!(&shared[..], &rest[..shared.len()]);
            prop_assert!((rest.len() - shared.len()) < ranks as usize);
        }
    }

    #[test]
    fn what_is_no_share_is_refused_with_its_key() {
        let one = Share::whole(8);
        one.check().unwrap();
        for (share, key) in [
            (
                Share {
                    batch_rows: 0,
                    ..one
                },
                "batch_size: found 0",
            ),
            (
                Share { rank: 1, ..one },
                "rank: found 1, expected a rank below world_size = 1",
            ),
            (Share { worker: 2, ..one }, "worker: found 2"),
            (Share { ranks: 0, ..one }, "rank: found 0"),
            (
                Share {
                    ranks: 1 << 40,
                    ..one
                },
                "world_size: found 1099511627776",
            ),
        ] {
            let error = share.check().unwrap_err().to_string();
            assert!(error.starts_with(key), "{error}");
        }
    }
}

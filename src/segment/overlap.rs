//! Which of overlapping n-grams become units (spec 9). Hits that overlap, one with
//! the next, make a cluster; clusters are resolved one by one, in order. Since no hit
//! lies in another, both starts and ends ascend, and a hit of n words overlaps with
//! at most n − 1 on each side: all of this is linear.
//!
//! The rules, exactly:
//! * `random`: of the hits of a cluster that are left, one is drawn, each with equal
//!   chance, and those that overlap with it are dropped, until none is left. It is
//!   drawn as one shuffle of the cluster (`Generator::shuffle`, from the stream of
//!   seed, document and purpose `Resolve`), taken in that order where nothing taken
//!   overlaps, which has the same distribution. A cluster of one hit draws nothing.
//! * `longest`: as above in the order of more words, then of earlier start.
//! * `best`: the hits with the highest sum of scores; of equal sums the one with
//!   fewer units (single words count as units), then the one that takes the earlier
//!   hit at the first difference. Where the vocabulary has scores below zero (as
//!   `pmi2` does), all are raised by the lowest, or leaving words alone would win.

use crate::base::generator::Generator;
use crate::config::Overlap;
use crate::segment::hits::Hit;

/// Resolves clusters; keeps its buffers.
#[derive(Debug, Default)]
pub struct Resolver {
    order: Vec<u32>,
    taken: Vec<bool>,
    /// `best` of the rest of the cluster from each hit on: sum, words in hits less
    /// hits, whether the hit is taken.
    best: Vec<(f64, u32, bool)>,
}

impl Resolver {
    /// Leaves in `hits` those that become units. `draw` gives the document's stream;
    /// it is asked for only where something is drawn. `floor` is the lowest score,
    /// or 0.
    pub fn resolve(
        &mut self,
        hits: &mut Vec<Hit>,
        overlap: Overlap,
        floor: f64,
        draw: impl FnOnce() -> Generator,
    ) {
        let mut draw = Some(draw);
        let mut generator = None;
        let mut kept = 0;
        let mut start = 0;
        while start < hits.len() {
            let mut end = start + 1;
            while end < hits.len() && hits[end].start < hits[end - 1].end {
                end += 1;
            }
            let cluster = &hits[start..end];
            self.taken.clear();
            self.taken.resize(cluster.len(), cluster.len() == 1);
            if cluster.len() > 1 {
                match overlap {
                    Overlap::Random => {
                        if let Some(draw) = draw.take() {
                            generator = Some(draw());
                        }
                        self.order.clear();
                        self.order.extend(0..cluster.len() as u32);
                        if let Some(generator) = &mut generator {
                            generator.shuffle(&mut self.order);
                        }
                        self.take_in_order(cluster);
                    }
                    Overlap::Longest => {
                        self.order.clear();
                        self.order.extend(0..cluster.len() as u32);
                        self.order.sort_unstable_by_key(|&hit| {
                            (u32::MAX - cluster[hit as usize].len(), hit)
                        });
                        self.take_in_order(cluster);
                    }
                    Overlap::Best => self.take_best(cluster, floor),
                }
            }
            for hit in start..end {
                if self.taken[hit - start] {
                    hits[kept] = hits[hit];
                    kept += 1;
                }
            }
            start = end;
        }
        hits.truncate(kept);
    }

    fn take_in_order(&mut self, cluster: &[Hit]) {
        for &hit in &self.order {
            let hit = hit as usize;
            let mut before = (0..hit)
                .rev()
                .take_while(|&b| cluster[b].end > cluster[hit].start);
            let mut after =
                (hit + 1..cluster.len()).take_while(|&a| cluster[a].start < cluster[hit].end);
            let free = !before.any(|b| self.taken[b]) && !after.any(|a| self.taken[a]);
            self.taken[hit] = free;
        }
    }

    fn take_best(&mut self, cluster: &[Hit], floor: f64) {
        self.best.clear();
        self.best.resize(cluster.len() + 1, (0.0, 0, false));
        for hit in (0..cluster.len()).rev() {
            let next = behind(cluster, hit);
            let (sum, saved, _) = self.best[next];
            let with = (
                cluster[hit].score - floor + sum,
                cluster[hit].len() - 1 + saved,
            );
            let without = (self.best[hit + 1].0, self.best[hit + 1].1);
            let better = with.0 > without.0 || with.0 == without.0 && with.1 >= without.1;
            let (sum, saved) = if better { with } else { without };
            self.best[hit] = (sum, saved, better);
        }
        let mut hit = 0;
        while hit < cluster.len() {
            self.taken[hit] = self.best[hit].2;
            hit = if self.taken[hit] {
                behind(cluster, hit)
            } else {
                hit + 1
            };
        }
    }
}

/// The first hit that does not overlap with `hit` and comes after it.
fn behind(cluster: &[Hit], hit: usize) -> usize {
    let end = cluster[hit].end;
    (hit + 1..cluster.len())
        .find(|&next| cluster[next].start >= end)
        .unwrap_or(cluster.len())
}

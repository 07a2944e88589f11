//! A table from pairs of numbers to numbers, 8 bytes a slot and half of the slots free:
//! merges of symbols, children of a trie. A look-up reads one line of memory nearly
//! always and asks nothing on the way.

/// What a pair without a number has.
pub(super) const NONE: u32 = u32::MAX;

/// Bits of each of the three numbers.
const BITS: u32 = 21;

/// Numbers are below this.
pub(super) const LIMIT: usize = (1 << BITS) - 1;

/// A slot without a pair.
const FREE: u64 = u64::MAX;

/// Numbers of pairs.
pub(super) struct Pairs {
    /// Four slots to a bucket; a pair whose bucket is full is in the next one.
    buckets: Box<[[u64; 4]]>,
    shift: u32,
}

impl Pairs {
    /// Room for `count` pairs.
    pub(super) fn new(count: usize) -> Self {
        let buckets = count.max(8).next_power_of_two() / 2;
        Self {
            buckets: vec![[FREE; 4]; buckets].into(),
            shift: 64 - buckets.ilog2(),
        }
    }

    /// Gives a pair a number, in place of the one it had; all below [`LIMIT`].
    pub(super) fn set(&mut self, left: u32, right: u32, number: u32) {
        let pair = pair(left, right);
        let here = |slot: &u64| *slot == FREE || *slot >> BITS == pair;
        let mut at = self.bucket(pair);
        loop {
            if let Some(slot) = self.buckets[at].iter().position(here) {
                self.buckets[at][slot] = pair << BITS | u64::from(number);
                return;
            }
            at = (at + 1) % self.buckets.len();
        }
    }

    /// The number of a pair, [`NONE`] without one.
    #[inline]
    pub(super) fn get(&self, left: u32, right: u32) -> u32 {
        let pair = pair(left, right);
        let mut at = self.bucket(pair);
        loop {
            let bucket = &self.buckets[at];
            let mut number = NONE;
            for slot in bucket {
                let own = slot >> BITS == pair;
                number = if own {
                    *slot as u32 & LIMIT as u32
                } else {
                    number
                };
            }
            if number != NONE || bucket[3] == FREE {
                return number;
            }
            at = (at + 1) & (self.buckets.len() - 1);
        }
    }

    /// First bucket of a pair.
    #[inline]
    fn bucket(&self, pair: u64) -> usize {
        (pair.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }
}

#[inline]
fn pair(left: u32, right: u32) -> u64 {
    u64::from(left) << BITS | u64::from(right)
}

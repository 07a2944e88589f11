//! Where a document goes: a key drawn from (seed, document id) puts it into a shard
//! and orders it there, so the shards depend on the documents and the seed alone, not
//! on how tokenising was split.

use crate::base::generator::{Key, Purpose};

/// The 64-bit key that orders documents over all shards.
pub fn shuffle_key(seed: u64, document_id: u64) -> u64 {
    Key {
        seed,
        sample: document_id,
        ..Key::default()
    }
    .generator(Purpose::Shuffle)
    .next_u64()
}

/// The shard of `shards` that a key falls into: equal ranges of keys, in order.
pub fn shard_of(key: u64, shards: u32) -> u32 {
    ((u128::from(key) * u128::from(shards)) >> 64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_even_and_ordered_by_key() {
        let mut sizes = [0u32; 7];
        for document in 0..70_000 {
            sizes[shard_of(shuffle_key(1, document), 7) as usize] += 1;
        }
        // 10 000 expected in each, σ = 93.
        assert!(sizes.iter().all(|n| n.abs_diff(10_000) < 400), "{sizes:?}");
        assert_eq!(shard_of(0, 7), 0);
        assert_eq!(shard_of(u64::MAX, 7), 6);
    }
}

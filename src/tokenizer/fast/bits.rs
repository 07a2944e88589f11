//! Answers about 64 bytes as one word, a bit for each: written as a loop over bytes they
//! are found in wide registers, and gathered here.

/// The lowest bits of 64 bytes that are 0 or 1.
#[inline(always)]
pub(super) fn gathered(bytes: &[u8; 64]) -> u64 {
    let (eights, _) = bytes.as_chunks::<8>();
    let mut bits = 0;
    for (index, eight) in eights.iter().enumerate() {
        // Bit 8i times 2^(56 − 7i) is bit 56 + i.
        let eight = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080);
        bits |= eight >> 56 << (8 * index);
    }
    bits
}

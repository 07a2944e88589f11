//! Boundaries: one bit per token, set where a word or a masking unit starts.
//! Packed as Arrow packs booleans (least significant bit first), so a plane of a
//! shard is read in place. 0.125 bytes a token.

/// An owned, growing plane of bits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Boundaries {
    bytes: Vec<u8>,
    len: usize,
}

impl Boundaries {
    /// No bits.
    pub fn new() -> Self {
        Self::default()
    }

    /// `len` bits, all `value`.
    pub fn filled(len: usize, value: bool) -> Self {
        let mut bytes = vec![if value { u8::MAX } else { 0 }; len.div_ceil(8)];
        if let Some(last) = bytes.last_mut()
            && !len.is_multiple_of(8)
        {
            *last &= (1 << (len % 8)) - 1;
        }
        Self { bytes, len }
    }

    /// Number of bits.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends one bit.
    #[inline]
    pub fn push(&mut self, value: bool) {
        if self.len.is_multiple_of(8) {
            self.bytes.push(0);
        }
        if value {
            let last = self.bytes.len() - 1;
            self.bytes[last] |= 1 << (self.len % 8);
        }
        self.len += 1;
    }

    /// Sets bit `index`; panics beyond the end.
    #[inline]
    pub fn set(&mut self, index: usize, value: bool) {
        assert!(index < self.len, "bit {index} of {}", self.len);
        if value {
            self.bytes[index / 8] |= 1 << (index % 8);
        } else {
            self.bytes[index / 8] &= !(1 << (index % 8));
        }
    }

    /// Appends all bits of `other`, 64 at a time.
    pub fn extend(&mut self, other: BoundarySlice<'_>) {
        for index in 0..other.len().div_ceil(64) {
            self.push_word(other.word(index), (other.len() - 64 * index).min(64));
        }
    }

    /// Appends `count` times `value`.
    pub fn extend_filled(&mut self, count: usize, value: bool) {
        let word = if value { u64::MAX } else { 0 };
        for done in (0..count).step_by(64) {
            let len = (count - done).min(64);
            self.push_word(word & u64::MAX >> (64 - len), len);
        }
    }

    /// Appends the low `len` bits of `word`, 1 to 64; the others must be zero.
    pub fn push_word(&mut self, word: u64, len: usize) {
        let (byte, shift) = (self.len / 8, self.len % 8);
        self.len += len;
        self.bytes.resize(self.len.div_ceil(8), 0);
        let wide = u128::from(word) << shift;
        for (place, bits) in self.bytes[byte..].iter_mut().zip(wide.to_le_bytes()) {
            *place |= bits;
        }
    }

    /// Forgets the bits from `len` on.
    pub fn truncate(&mut self, len: usize) {
        if len >= self.len {
            return;
        }
        self.len = len;
        self.bytes.truncate(len.div_ceil(8));
        if let Some(last) = self.bytes.last_mut()
            && !len.is_multiple_of(8)
        {
            *last &= (1 << (len % 8)) - 1;
        }
    }

    /// Forgets all bits, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.len = 0;
    }

    /// All bits, borrowed.
    pub fn as_slice(&self) -> BoundarySlice<'_> {
        BoundarySlice {
            bytes: &self.bytes,
            offset: 0,
            len: self.len,
        }
    }

    /// The packed bytes; bits beyond the length are zero.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl FromIterator<bool> for Boundaries {
    fn from_iter<I: IntoIterator<Item = bool>>(bits: I) -> Self {
        let mut out = Self::new();
        bits.into_iter().for_each(|bit| out.push(bit));
        out
    }
}

/// A borrowed run of bits that may start inside a byte.
#[derive(Debug, Clone, Copy)]
pub struct BoundarySlice<'a> {
    bytes: &'a [u8],
    offset: usize,
    len: usize,
}

impl<'a> BoundarySlice<'a> {
    /// `len` bits of `bytes` from bit `offset` on; panics where the bytes end before.
    pub fn new(bytes: &'a [u8], offset: usize, len: usize) -> Self {
        assert!(
            offset + len <= bytes.len() * 8,
            "{offset} + {len} bits in {} bytes",
            bytes.len()
        );
        Self { bytes, offset, len }
    }

    /// Number of bits.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bit at `index`; panics beyond the end.
    #[inline]
    pub fn get(&self, index: usize) -> bool {
        assert!(index < self.len, "bit {index} of {}", self.len);
        let bit = self.offset + index;
        self.bytes[bit / 8] >> (bit % 8) & 1 == 1
    }

    /// The bits from 64·`index` on in one word, least significant first; zero
    /// beyond the end.
    #[inline]
    pub fn word(&self, index: usize) -> u64 {
        let from = 64 * index;
        if from >= self.len {
            return 0;
        }
        let len = (self.len - from).min(64);
        let (byte, shift) = ((self.offset + from) / 8, (self.offset + from) % 8);
        let tail = &self.bytes[byte..];
        let mut wide = [0; 16];
        match tail.first_chunk::<9>() {
            Some(bytes) => wide[..9].copy_from_slice(bytes),
            None => wide[..tail.len()].copy_from_slice(tail),
        }
        (u128::from_le_bytes(wide) >> shift) as u64 & u64::MAX >> (64 - len)
    }

    /// The bits `range`.
    pub fn slice(&self, range: std::ops::Range<usize>) -> BoundarySlice<'a> {
        assert!(range.start <= range.end && range.end <= self.len);
        Self {
            bytes: self.bytes,
            offset: self.offset + range.start,
            len: range.len(),
        }
    }

    /// All bits in order.
    pub fn iter(self) -> impl Iterator<Item = bool> + 'a {
        (0..self.len).map(move |index| {
            let bit = self.offset + index;
            self.bytes[bit / 8] >> (bit % 8) & 1 == 1
        })
    }

    /// Number of set bits.
    pub fn count(&self) -> usize {
        (0..self.len.div_ceil(64))
            .map(|index| self.word(index).count_ones() as usize)
            .sum()
    }

    /// Places of the set bits, in order, 64 bits looked at together.
    #[inline]
    pub fn set_bits(self) -> impl Iterator<Item = usize> + 'a {
        let mut block = 0;
        let mut bits = self.word(0);
        std::iter::from_fn(move || {
            while bits == 0 {
                block += 1;
                if 64 * block >= self.len {
                    return None;
                }
                bits = self.word(block);
            }
            let place = 64 * block + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            Some(place)
        })
    }

    /// The place of the first set bit from `from` on, the length where there is none.
    #[inline]
    pub fn next_set(&self, from: usize) -> usize {
        let rest = self.slice(from..self.len);
        let place = rest.set_bits().next();
        place.map_or(self.len, |place| from + place)
    }

    /// The runs that set bits open: each begins at a set bit (the first at 0, set
    /// or not) and ends before the next one. Together they cover all positions.
    #[inline]
    pub fn runs(self) -> impl Iterator<Item = std::ops::Range<usize>> + 'a {
        let mut bits = self.set_bits().skip_while(|&place| place == 0);
        let mut start = 0;
        std::iter::from_fn(move || {
            if start >= self.len {
                return None;
            }
            let end = bits.next().unwrap_or(self.len);
            let run = start..end;
            start = end;
            Some(run)
        })
    }

    /// Appends the packed bytes to `out`, from bit 0 on; bits beyond the length are zero.
    pub fn append_to(self, out: &mut Vec<u8>) {
        let end = out.len() + self.len.div_ceil(8);
        for index in 0..self.len.div_ceil(64) {
            out.extend_from_slice(&self.word(index).to_le_bytes());
        }
        out.truncate(end);
    }
}

impl PartialEq for BoundarySlice<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_come_back_and_runs_cover_all(bits in prop::collection::vec(any::<bool>(), 0..200), cut in 0usize..200) {
            let plane: Boundaries = bits.iter().copied().collect();
            prop_assert_eq!(plane.len(), bits.len());
            prop_assert!(plane.as_slice().iter().eq(bits.iter().copied()));
            let cut = cut.min(bits.len());
            let tail = plane.as_slice().slice(cut..bits.len());
            prop_assert!(tail.iter().eq(bits[cut..].iter().copied()));
            let words = (0..).map(|i| tail.word(i)).take(tail.len().div_ceil(64));
            let spread = words.flat_map(|word| (0..64).map(move |bit| word >> bit & 1 == 1));
            prop_assert!(spread.take(tail.len()).eq(bits[cut..].iter().copied()));
            prop_assert_eq!(tail.word(tail.len().div_ceil(64)), 0);
            let mut joined: Boundaries = bits[..cut].iter().copied().collect();
            joined.extend(tail);
            joined.extend_filled(cut, true);
            joined.extend_filled(1, false);
            let mut expected = bits.clone();
            expected.extend(std::iter::repeat_n(true, cut).chain([false]));
            prop_assert_eq!(&joined, &expected.iter().copied().collect::<Boundaries>());
            joined.truncate(cut);
            prop_assert_eq!(&joined, &bits[..cut].iter().copied().collect::<Boundaries>());
            let set: Vec<usize> = (0..tail.len()).filter(|&i| tail.get(i)).collect();
            prop_assert_eq!(tail.set_bits().collect::<Vec<_>>(), set.clone());
            for from in 0..=tail.len() {
                let next = set.iter().copied().find(|&place| place >= from);
                prop_assert_eq!(tail.next_set(from), next.unwrap_or(tail.len()));
            }
            let mut bytes = vec![7];
            tail.append_to(&mut bytes);
            prop_assert_eq!(bytes.len(), 1 + tail.len().div_ceil(8));
            prop_assert_eq!(BoundarySlice::new(&bytes[1..], 0, tail.len()), tail);
            prop_assert_eq!(tail.count(), bits[cut..].iter().filter(|&&b| b).count());
            let runs: Vec<_> = tail.runs().collect();
            let mut at = 0;
            for run in &runs {
                prop_assert_eq!(run.start, at);
                prop_assert!(run.start == 0 || tail.get(run.start));
                prop_assert!((run.start + 1..run.end).all(|i| !tail.get(i)));
                at = run.end;
            }
            prop_assert_eq!(at, tail.len());
        }
    }

    #[test]
    fn filled_has_no_stray_bits() {
        for len in 0..20 {
            let plane = Boundaries::filled(len, true);
            assert_eq!(plane.as_slice().count(), len);
            assert_eq!(plane, (0..len).map(|_| true).collect());
        }
    }
}

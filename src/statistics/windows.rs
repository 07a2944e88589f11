//! The second pass: every position of a document emits one window, the next words
//! up to the longest length, cut at barriers and at words that are not kept. A
//! window is packed into an integer that sorts as its words do, and goes to the
//! bucket of its first two words, so that buckets in order are sorted order.
//!
//! Cost: a copy and, every few KiB, a lock; ⌈length · bits / 8⌉ bytes, 11 for five
//! words out of 80 000.

use crate::base::error::Result;
use crate::statistics::dictionary::WordId;
use crate::statistics::plan::{Candidate, Pass, Placed, Plan};
use crate::statistics::sort;
use crate::statistics::tally::MAX_LENGTH;
use crate::statistics::words::BARRIER;
use crate::storage::Buckets;

/// A window of up to five words, ordered as its words are, a prefix before what it
/// begins. A place holds the word's id plus one; zero means no word.
pub trait Window: Copy + Ord + Send + Sync {
    /// A window without a word.
    const EMPTY: Self;

    /// Packs `words`.
    fn pack(words: &[WordId], shape: Shape) -> Self;
    /// A window of all of its places, the first `shape.length` of them.
    #[inline]
    fn of_places(places: [u32; MAX_LENGTH], shape: Shape) -> Self {
        let places = places[..shape.length].iter();
        places.fold(Self::EMPTY, |window, &place| window.rolled(place, shape))
    }
    /// Takes the first place off and appends a last one: a word's id plus one, or zero.
    fn rolled(self, place: u32, shape: Shape) -> Self;
    /// The word at `place`, `None` where the window has ended.
    fn word(self, place: usize, shape: Shape) -> Option<WordId>;
    /// How many words from the first on are the same; places without a word count
    /// as the same, so equal windows have all in common.
    fn common(self, other: Self, shape: Shape) -> usize;
    /// Writes `shape.width` bytes to the front of `out`, and anything up to
    /// [`ROOM`]: a copy of fixed length is an instruction, another one a call.
    fn write(self, out: &mut [u8; ROOM]);
    /// Reads the first `shape.width` of `bytes`.
    fn read(bytes: &[u8], shape: Shape) -> Self;

    /// Sorts `windows`, with `spare` as memory.
    fn sort(windows: &mut Vec<Self>, spare: &mut Vec<Self>) {
        let _ = spare;
        windows.sort_unstable();
    }

    /// Appends `shape.width` bytes.
    fn append(self, shape: Shape, out: &mut Vec<u8>) {
        let mut bytes = [0; ROOM];
        self.write(&mut bytes);
        out.extend_from_slice(&bytes[..shape.width]);
    }
}

/// Bytes of the widest window.
pub const ROOM: usize = 4 * MAX_LENGTH;

/// How windows are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Words in the longest window.
    pub length: usize,
    /// Bits of a place.
    pub bits: u32,
    /// Bytes of a window in scratch.
    pub width: usize,
    /// 2¹⁶ / `bits`, rounded up: a product is a fifth of the time of a division.
    part: u32,
}

impl Shape {
    /// For windows of up to `length` words out of `words`.
    pub fn new(length: usize, words: usize) -> Self {
        debug_assert!((1..=MAX_LENGTH).contains(&length));
        let bits = (usize::BITS - words.leading_zeros()).max(1);
        let packed = (length * bits as usize).div_ceil(8);
        Self {
            length,
            bits,
            width: if packed <= 16 { packed } else { 4 * length },
            part: (1 << 16) / bits + 1,
        }
    }

    /// Bytes of a window in memory.
    pub fn in_memory(&self) -> u64 {
        let size = if self.is_packed() {
            size_of::<u128>()
        } else {
            size_of::<[u32; MAX_LENGTH]>()
        };
        size as u64
    }

    /// Whether a window fits in 128 bits: up to 33 million words for five of them.
    pub fn is_packed(&self) -> bool {
        self.length * self.bits as usize <= 128
    }
}

impl Window for u128 {
    const EMPTY: Self = 0;

    fn sort(windows: &mut Vec<Self>, spare: &mut Vec<Self>) {
        sort::sort(windows, spare);
    }

    #[inline]
    fn of_places(places: [u32; MAX_LENGTH], shape: Shape) -> Self {
        let bits = shape.bits;
        let [a, b, c, d, e] = places.map(u64::from);
        if shape.length < MAX_LENGTH || bits > u64::BITS / 3 {
            let places = places[..shape.length].iter();
            return places.fold(0, |window, &place| window << bits | u128::from(place));
        }
        // Shifts of 128 bits are several instructions each.
        let (first, last) = (a << (2 * bits) | b << bits | c, d << bits | e);
        u128::from(first) << (2 * bits) | u128::from(last)
    }

    #[inline]
    fn rolled(self, place: u32, shape: Shape) -> Self {
        let used = shape.length as u32 * shape.bits;
        ((self << shape.bits) | Self::from(place)) & (Self::MAX >> (128 - used))
    }

    #[inline]
    fn pack(words: &[WordId], shape: Shape) -> Self {
        let mut packed = 0;
        for &word in words {
            packed = packed << shape.bits | u128::from(word + 1);
        }
        // A window of no place left is never shifted by all 128 bits.
        let empty = (shape.length - words.len()) as u32 * shape.bits;
        if empty < 128 { packed << empty } else { 0 }
    }

    #[inline]
    fn word(self, place: usize, shape: Shape) -> Option<WordId> {
        let shift = (shape.length - 1 - place) as u32 * shape.bits;
        let mask = (1u128 << shape.bits) - 1;
        ((self >> shift & mask) as u32).checked_sub(1)
    }

    #[inline]
    fn common(self, other: Self, shape: Shape) -> usize {
        let used = shape.length as u32 * shape.bits;
        let same = (self ^ other).leading_zeros().saturating_sub(128 - used);
        // The quotient by `bits`, exact up to 128.
        ((same * shape.part) >> 16) as usize
    }

    #[inline]
    fn write(self, out: &mut [u8; ROOM]) {
        out[..16].copy_from_slice(&self.to_le_bytes());
    }

    #[inline]
    fn read(bytes: &[u8], shape: Shape) -> Self {
        match bytes.first_chunk::<16>() {
            // What lies behind the window is cut off again.
            Some(whole) => Self::from_le_bytes(*whole) & (Self::MAX >> (128 - 8 * shape.width)),
            None => {
                let mut whole = [0; 16];
                whole[..shape.width].copy_from_slice(&bytes[..shape.width]);
                Self::from_le_bytes(whole)
            }
        }
    }
}

/// More words than 128 bits hold five of: 20 bytes a window.
impl Window for [u32; MAX_LENGTH] {
    const EMPTY: Self = [0; MAX_LENGTH];

    fn rolled(mut self, place: u32, shape: Shape) -> Self {
        self[..shape.length].rotate_left(1);
        self[shape.length - 1] = place;
        self
    }

    fn pack(words: &[WordId], _: Shape) -> Self {
        let mut places = [0; MAX_LENGTH];
        for (place, &word) in places.iter_mut().zip(words) {
            *place = word + 1;
        }
        places
    }

    fn word(self, place: usize, _: Shape) -> Option<WordId> {
        self[place].checked_sub(1)
    }

    fn common(self, other: Self, shape: Shape) -> usize {
        (0..shape.length)
            .find(|&place| self[place] != other[place])
            .unwrap_or(shape.length)
    }

    fn write(self, out: &mut [u8; ROOM]) {
        let (words, _) = out.as_chunks_mut::<4>();
        for (place, word) in self.iter().zip(words) {
            *word = place.to_le_bytes();
        }
    }

    fn read(bytes: &[u8], shape: Shape) -> Self {
        let mut places = [0; MAX_LENGTH];
        let (words, _) = bytes[..shape.width].as_chunks::<4>();
        for (place, word) in places.iter_mut().zip(words) {
            *place = u32::from_le_bytes(*word);
        }
        places
    }
}

/// A window whose places hold keys of [`join`](mod@crate::statistics::join): twice the
/// word's id plus two, or an odd number where the word was left out and the window
/// ends. Odd or even, keys sort as words do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Keys<W>(pub W);

impl<W: Window> Window for Keys<W> {
    const EMPTY: Self = Self(W::EMPTY);

    fn rolled(self, place: u32, shape: Shape) -> Self {
        Self(self.0.rolled(place, shape))
    }

    #[inline]
    fn pack(keys: &[WordId], shape: Shape) -> Self {
        Self(W::pack(keys, shape))
    }

    #[inline]
    fn word(self, place: usize, shape: Shape) -> Option<WordId> {
        let key = self.0.word(place, shape)? + 1;
        key.is_multiple_of(2).then(|| key / 2 - 1)
    }

    #[inline]
    fn common(self, other: Self, shape: Shape) -> usize {
        self.0.common(other.0, shape)
    }

    fn write(self, out: &mut [u8; ROOM]) {
        self.0.write(out);
    }

    fn read(bytes: &[u8], shape: Shape) -> Self {
        Self(W::read(bytes, shape))
    }
}

/// Scatters the windows of one thread. Must be given back with [`Scatter::finish`],
/// or the last of them are lost.
pub struct Scatter<'a> {
    shape: Shape,
    pass: &'a Pass,
    buckets: &'a Buckets,
    /// Windows on their way, `stride` bytes for each bucket.
    open: Vec<u8>,
    stride: usize,
    /// Bytes of them, by bucket.
    len: Vec<u32>,
}

impl<'a> Scatter<'a> {
    /// Hands the windows of a pass over to `buckets` in pieces of about `plan.piece`
    /// bytes; takes as many bytes a bucket.
    pub fn new(shape: Shape, plan: &Plan, pass: &'a Pass, buckets: &'a Buckets) -> Self {
        // A window is written with room behind it.
        let stride = plan.piece.max(shape.width) + ROOM;
        Self {
            shape,
            pass,
            open: vec![0; stride * buckets.buckets()],
            len: vec![0; buckets.buckets()],
            stride,
            buckets,
        }
    }

    /// Emits the windows of a document, in the only pass: words with barriers between
    /// runs. A window of one word is not needed: single words are counted already.
    pub fn document<W: Window>(&mut self, words: &[Placed]) -> Result<()> {
        debug_assert!(self.pass.is_all);
        words
            .split(|word| word.id == BARRIER)
            .filter(|run| run.len() > 1)
            .try_for_each(|run| self.run::<W>(run))
    }

    /// Emits the windows of words without a barrier: one begins at each but the last.
    fn run<W: Window>(&mut self, words: &[Placed]) -> Result<()> {
        let more = self.shape.length - 1;
        let mut window = W::EMPTY;
        for word in &words[..more.min(words.len())] {
            window = window.rolled(word.id + 1, self.shape);
        }
        for (&[first, second], last) in words
            .array_windows()
            .zip(words.get(more..).unwrap_or_default())
        {
            window = window.rolled(last.id + 1, self.shape);
            self.emit(window, first.bucket(second))?;
        }
        // Those that the end cuts short.
        let whole = words.len().saturating_sub(more);
        for _ in words.len()..more {
            window = window.rolled(0, self.shape);
        }
        for &[first, second] in words[whole..].array_windows() {
            window = window.rolled(0, self.shape);
            self.emit(window, first.bucket(second))?;
        }
        Ok(())
    }

    /// Emits a window, if it is of this pass.
    #[inline]
    pub fn window<W: Window>(&mut self, window: &Candidate) -> Result<()> {
        match self.pass.bucket(window) {
            Some(bucket) => self.emit(W::of_places(window.places, self.shape), bucket),
            None => Ok(()),
        }
    }

    #[inline]
    fn emit<W: Window>(&mut self, window: W, bucket: usize) -> Result<()> {
        let len = self.len[bucket] as usize;
        let at = bucket * self.stride + len;
        if let Some(room) = self.open[at..].first_chunk_mut::<ROOM>() {
            window.write(room);
        }
        let len = len + self.shape.width;
        self.len[bucket] = len as u32;
        if len + self.shape.width + ROOM > self.stride {
            self.hand_over(bucket)?;
        }
        Ok(())
    }

    fn hand_over(&mut self, bucket: usize) -> Result<()> {
        let at = bucket * self.stride;
        let len = std::mem::take(&mut self.len[bucket]) as usize;
        self.buckets.append(bucket, &self.open[at..at + len])
    }

    /// Hands over what is left.
    pub fn finish(mut self) -> Result<()> {
        (0..self.len.len()).try_for_each(|bucket| self.hand_over(bucket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn windows(shape: Shape, most: u32) -> impl Strategy<Value = (Vec<WordId>, Vec<WordId>)> {
        let window = move || prop::collection::vec(0..most, 1..=shape.length);
        (window(), window())
    }

    fn agrees<W: Window>(shape: Shape, a: &[WordId], b: &[WordId]) {
        let (x, y) = (W::pack(a, shape), W::pack(b, shape));
        assert_eq!(x.cmp(&y), a.cmp(b), "{a:?} {b:?}");
        let rolled = (0..shape.length).fold(W::pack(b, shape), |window, place| {
            window.rolled(a.get(place).map_or(0, |word| word + 1), shape)
        });
        assert!(rolled == x);
        let mut all = [0; MAX_LENGTH];
        for (place, &word) in all.iter_mut().zip(a) {
            *place = word + 1;
        }
        assert!(W::of_places(all, shape) == x);
        let places: Vec<_> = (0..shape.length).map(|p| x.word(p, shape)).collect();
        let expected: Vec<_> = (0..shape.length).map(|p| a.get(p).copied()).collect();
        assert_eq!(places, expected);
        let common = (0..shape.length)
            .find(|&p| a.get(p) != b.get(p))
            .unwrap_or(shape.length);
        assert_eq!(x.common(y, shape), common);
        let mut bytes = Vec::new();
        x.append(shape, &mut bytes);
        assert_eq!(bytes.len(), shape.width);
        assert!(W::read(&bytes, shape) == x);
        // Whatever lies behind it.
        bytes.extend([0xff; ROOM]);
        assert!(W::read(&bytes, shape) == x);
    }

    proptest! {
        #[test]
        fn packed_windows_sort_as_their_words((a, b) in windows(Shape::new(5, 3), 3)) {
            agrees::<u128>(Shape::new(5, 3), &a, &b);
        }

        #[test]
        fn full_128_bits_are_used((a, b) in windows(Shape::new(4, u32::MAX as usize), u32::MAX - 16)) {
            agrees::<u128>(Shape::new(4, u32::MAX as usize), &a, &b);
        }

        #[test]
        fn wide_windows_do_the_same((a, b) in windows(Shape::new(5, 1 << 30), 1 << 30)) {
            prop_assert!(!Shape::new(5, 1 << 30).is_packed());
            agrees::<[u32; MAX_LENGTH]>(Shape::new(5, 1 << 30), &a, &b);
        }
    }
}

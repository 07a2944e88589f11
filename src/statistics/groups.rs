//! Counts of all lengths from sorted windows: in sorted order the windows that begin
//! with the same n words stand together, so one scan counts every length at once. So are
//! sorted runs of other parts counted, and a bucket that does not fit in memory, which is
//! sorted in runs that go back to scratch and are merged.
//!
//! Cost: one scan.

use crate::base::error::Result;
use crate::base::size::ByteSize;
use crate::statistics::dictionary::WordId;
use crate::statistics::tally::MAX_LENGTH;
use crate::statistics::windows::{Shape, Window};
use crate::storage::Buckets;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;

/// Fewer windows are never a run, however little memory there is.
const SHORTEST_RUN: usize = 64;

/// Counts the n-grams of sorted windows.
pub struct Groups<W> {
    shape: Shape,
    min_count: u64,
    last: Option<W>,
    /// Windows so far.
    seen: u64,
    /// By length less one: how many were seen before those that begin as `last` does.
    starts: [u64; MAX_LENGTH],
}

impl<W: Window> Groups<W> {
    /// Keeps n-grams of two words or more with at least `min_count` occurrences.
    pub fn new(shape: Shape, min_count: u64) -> Self {
        Self {
            shape,
            min_count,
            last: None,
            seen: 0,
            starts: [0; MAX_LENGTH],
        }
    }

    /// Takes `count` windows that are equal, none of them before the last one in
    /// order; hands n-grams that are complete, and their counts, to `each`. N-grams
    /// of one length come in order.
    #[inline]
    pub fn push(
        &mut self,
        window: W,
        count: u64,
        each: &mut impl FnMut(&[WordId], u64) -> Result<()>,
    ) -> Result<()> {
        let common = match self.last {
            Some(last) => last.common(window, self.shape),
            None => 0,
        };
        if common < self.shape.length {
            self.close(common, each)?;
            for (place, start) in self.starts.iter_mut().enumerate() {
                if place >= common {
                    *start = self.seen;
                }
            }
            self.last = Some(window);
        }
        self.seen += count;
        Ok(())
    }

    /// Hands over what the last windows began.
    pub fn finish(self, each: &mut impl FnMut(&[WordId], u64) -> Result<()>) -> Result<()> {
        self.close(0, each)
    }

    /// By length less one: windows that begin as the last one does.
    fn counts(&self) -> [u64; MAX_LENGTH] {
        self.starts.map(|start| self.seen - start)
    }

    /// Hands over all groups of more than `common` words, and of two or more.
    #[inline]
    fn close(
        &self,
        common: usize,
        each: &mut impl FnMut(&[WordId], u64) -> Result<()>,
    ) -> Result<()> {
        // The shortest of them has most windows. Most groups are rare.
        let shortest = common.clamp(1, MAX_LENGTH - 1);
        if self.seen - self.starts[shortest] < self.min_count {
            return Ok(());
        }
        self.hand_over(shortest, each)
    }

    fn hand_over(
        &self,
        shortest: usize,
        each: &mut impl FnMut(&[WordId], u64) -> Result<()>,
    ) -> Result<()> {
        let Some(last) = self.last else { return Ok(()) };
        let counts = self.counts();
        let mut words = [0; MAX_LENGTH];
        for place in 0..self.shape.length {
            // A window that ends here counts for no longer n-gram.
            let Some(word) = last.word(place, self.shape) else {
                break;
            };
            words[place] = word;
            if place >= shortest && counts[place] >= self.min_count {
                each(&words[..=place], counts[place])?;
            }
        }
        Ok(())
    }
}

/// The n-grams of one bucket, by length, each length in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// By length less two: word ids, `length` for each n-gram.
    pub words: [Vec<WordId>; MAX_LENGTH - 1],
    /// By length less two: counts.
    pub counts: [Vec<u64>; MAX_LENGTH - 1],
}

impl Rows {
    /// Bytes that a window leaves in rows, at most: every length of it occurs `min_count`
    /// times. Vectors double as they grow.
    pub fn bytes(min_count: u64) -> u64 {
        let kept: u64 = (2..=MAX_LENGTH as u64).map(|n| 4 * n + 8).sum();
        2 * kept / min_count
    }

    /// Appends an n-gram of two words or more.
    #[inline]
    pub fn push(&mut self, words: &[WordId], count: u64) {
        self.words[words.len() - 2].extend_from_slice(words);
        self.counts[words.len() - 2].push(count);
    }

    /// The n-grams of one length.
    pub fn of_length(&self, length: usize) -> impl Iterator<Item = (&[WordId], u64)> {
        self.words[length - 2]
            .chunks_exact(length)
            .zip(self.counts[length - 2].iter().copied())
    }

    /// All n-grams, shorter lengths first.
    pub fn iter(&self) -> impl Iterator<Item = (&[WordId], u64)> {
        (2..=MAX_LENGTH).flat_map(|length| self.of_length(length))
    }
}

/// The n-grams of a piece of sorted windows. Those at its edges may go on in the
/// pieces beside it, so they are kept apart, whatever they count.
#[derive(Debug, Clone)]
pub struct Piece<W> {
    /// The first window and the last one.
    edges: (W, W),
    /// By length less one: how often the n-gram occurs that the first window begins
    /// with, where it is complete.
    left: [Option<u64>; MAX_LENGTH],
    /// By length less one: how often the n-gram occurs that the last window begins
    /// with.
    right: [u64; MAX_LENGTH],
    rows: Rows,
}

/// Counts the n-grams of a piece.
pub struct PieceGroups<W> {
    groups: Groups<W>,
    first: Option<W>,
    left: [Option<u64>; MAX_LENGTH],
    rows: Rows,
}

impl<W: Window> PieceGroups<W> {
    /// Keeps what [`Groups::new`] does, and the edges.
    pub fn new(shape: Shape, min_count: u64) -> Self {
        Self {
            groups: Groups::new(shape, min_count),
            first: None,
            left: [None; MAX_LENGTH],
            rows: Rows::default(),
        }
    }

    /// Takes `count` windows that are equal, none of them before the last one.
    #[inline]
    pub fn push(&mut self, window: W, count: u64) -> Result<()> {
        let Self {
            groups,
            first,
            left,
            rows,
        } = self;
        match groups.last {
            None => *first = Some(window),
            Some(last) => {
                let common = last.common(window, groups.shape);
                for (left, &start) in left.iter_mut().zip(&groups.starts).skip(common) {
                    left.get_or_insert(groups.seen - start);
                }
            }
        }
        let seen = groups.seen;
        groups.push(window, count, &mut |words, count| {
            // What began with the first window is at the edge.
            if count < seen {
                rows.push(words, count);
            }
            Ok(())
        })
    }

    /// The piece; `None` where there was no window.
    pub fn finish(self) -> Option<Piece<W>> {
        Some(Piece {
            edges: (self.first?, self.groups.last?),
            left: self.left,
            right: self.groups.counts(),
            rows: self.rows,
        })
    }
}

/// Bytes of memory that a window of a piece in work needs, at most: twice while windows of
/// several runs are put in order, packed, and what it leaves in rows.
pub fn bytes_in_work(shape: Shape, min_count: u64) -> u64 {
    shape.width as u64 + 2 * shape.in_memory() + Rows::bytes(min_count)
}

/// Joins pieces of sorted windows, in order, and hands over their n-grams.
pub struct Seam<W> {
    shape: Shape,
    min_count: u64,
    /// The last window of the pieces so far, and how often what it begins with occurs.
    open: Option<(W, [u64; MAX_LENGTH])>,
}

impl<W: Window> Seam<W> {
    /// Nothing joined yet.
    pub fn new(shape: Shape, min_count: u64) -> Self {
        Self {
            shape,
            min_count,
            open: None,
        }
    }

    /// Joins the next piece; n-grams of one length come in order.
    pub fn join(
        &mut self,
        piece: &Piece<W>,
        each: &mut impl FnMut(&[WordId], u64) -> Result<()>,
    ) -> Result<()> {
        let (first, last) = piece.edges;
        let common = match self.open {
            Some((open, _)) => open.common(first, self.shape),
            None => 0,
        };
        let mut right = piece.right;
        for place in 0..self.shape.length {
            let before = match self.open {
                Some((_, counts)) if place < common => counts[place],
                Some((open, counts)) => {
                    self.hand(open, place, counts[place], each)?;
                    0
                }
                None => 0,
            };
            match piece.left[place] {
                Some(count) => self.hand(first, place, before + count, each)?,
                None => right[place] += before,
            }
            if place > 0 {
                for (words, count) in piece.rows.of_length(place + 1) {
                    each(words, count)?;
                }
            }
        }
        self.open = Some((last, right));
        Ok(())
    }

    /// Hands over what the last piece ended with.
    pub fn finish(&mut self, each: &mut impl FnMut(&[WordId], u64) -> Result<()>) -> Result<()> {
        if let Some((window, counts)) = self.open.take() {
            for (place, &count) in counts[..self.shape.length].iter().enumerate() {
                self.hand(window, place, count, each)?;
            }
        }
        Ok(())
    }

    /// Hands over the n-gram that `window` begins with, up to `place`, if it is one of
    /// two words or more and occurs often enough.
    fn hand(
        &self,
        window: W,
        place: usize,
        count: u64,
        each: &mut impl FnMut(&[WordId], u64) -> Result<()>,
    ) -> Result<()> {
        let mut words = [0; MAX_LENGTH];
        for (at, word) in words[..=place].iter_mut().enumerate() {
            match window.word(at, self.shape) {
                Some(found) => *word = found,
                None => return Ok(()),
            }
        }
        if place > 0 && count >= self.min_count {
            each(&words[..=place], count)?;
        }
        Ok(())
    }
}

/// The windows of `bucket`, in any order, in place of what `windows` held.
pub fn unpacked_bucket<W: Window>(
    buckets: &Buckets,
    bucket: usize,
    shape: Shape,
    windows: &mut Vec<W>,
) -> Result<()> {
    windows.clear();
    windows.reserve_exact((buckets.len(bucket) / shape.width.max(1) as u64) as usize);
    for piece in buckets.drain(bucket) {
        let piece = piece?;
        windows.extend(unpack::<W>(&piece, shape));
        buckets.reuse(piece);
    }
    Ok(())
}

/// Counts the n-grams of sorted windows: what other ways of counting must come to.
#[cfg(test)]
pub fn count_sorted<W: Window>(windows: &[W], shape: Shape, min_count: u64) -> Result<Rows> {
    let mut rows = Rows::default();
    let mut keep = |words: &[WordId], count| {
        rows.push(words, count);
        Ok(())
    };
    let mut groups = Groups::new(shape, min_count);
    for &window in windows {
        groups.push(window, 1, &mut keep)?;
    }
    groups.finish(&mut keep)?;
    Ok(rows)
}

fn unpack<W: Window>(bytes: &[u8], shape: Shape) -> impl Iterator<Item = W> {
    let windows = bytes.len() / shape.width.max(1);
    (0..windows).map(move |at| W::read(&bytes[at * shape.width..], shape))
}

/// Hands the windows of a bucket of any size to `each` in order, equal ones with
/// their number, within `memory`: sorted runs go to a scratch file in `folder` and are
/// merged; a window that is in several runs comes several times. Scratch: at most 8
/// bytes a window more than the bucket took, compressed.
pub fn each_of_large_bucket<W: Window>(
    buckets: &Buckets,
    bucket: usize,
    shape: Shape,
    memory: ByteSize,
    folder: &Path,
    each: &mut impl FnMut(W, u64) -> Result<()>,
) -> Result<()> {
    let in_a_run = (memory.bytes() / 2 / size_of::<W>()).max(SHORTEST_RUN);
    let total = buckets.len(bucket) / shape.width as u64;
    let runs = Buckets::new(
        folder,
        total.div_ceil(in_a_run as u64) as usize,
        ByteSize(0),
    )?;
    // Half of the memory is for one block of every run at a time, unpacked from its
    // compressed form.
    let record = shape.width + 8;
    let block = (memory.bytes() / 4 / runs.buckets().max(1) / record).max(1) * record;
    let mut window: Vec<W> = Vec::with_capacity(in_a_run.min(total as usize));
    let mut written = 0;
    for piece in buckets.drain(bucket) {
        let piece = piece?;
        for next in unpack::<W>(&piece, shape) {
            window.push(next);
            if window.len() == in_a_run {
                write_run(&mut window, shape, block, &runs, written)?;
                written += 1;
            }
        }
        buckets.reuse(piece);
    }
    if !window.is_empty() {
        write_run(&mut window, shape, block, &runs, written)?;
    }
    drop(window);
    merge_runs::<W>(&runs, shape, each)
}

fn write_run<W: Window>(
    windows: &mut Vec<W>,
    shape: Shape,
    block: usize,
    runs: &Buckets,
    run: usize,
) -> Result<()> {
    windows.sort_unstable();
    let mut bytes = Vec::with_capacity(block);
    for equal in windows.chunk_by(|a, b| a == b) {
        equal[0].append(shape, &mut bytes);
        bytes.extend_from_slice(&(equal.len() as u64).to_le_bytes());
        if bytes.len() >= block {
            runs.append(run, &bytes)?;
            bytes.clear();
        }
    }
    windows.clear();
    runs.append(run, &bytes)
}

fn merge_runs<W: Window>(
    runs: &Buckets,
    shape: Shape,
    each: &mut impl FnMut(W, u64) -> Result<()>,
) -> Result<()> {
    let mut readers: Vec<_> = (0..runs.buckets())
        .map(|run| RunReader {
            blocks: runs.drain(run),
            block: Vec::new(),
            at: 0,
            shape,
        })
        .collect();
    let mut heads = BinaryHeap::with_capacity(readers.len());
    for (run, reader) in readers.iter_mut().enumerate() {
        if let Some((window, count)) = reader.next::<W>()? {
            heads.push(Reverse((window, run, count)));
        }
    }
    while let Some(Reverse((window, run, count))) = heads.pop() {
        each(window, count)?;
        if let Some((window, count)) = readers[run].next::<W>()? {
            heads.push(Reverse((window, run, count)));
        }
    }
    Ok(())
}

/// Reads one sorted run block by block.
struct RunReader<I> {
    blocks: I,
    block: Vec<u8>,
    at: usize,
    shape: Shape,
}

impl<I: Iterator<Item = Result<Vec<u8>>>> RunReader<I> {
    fn next<W: Window>(&mut self) -> Result<Option<(W, u64)>> {
        if self.at == self.block.len() {
            self.at = 0;
            self.block = match self.blocks.next() {
                Some(block) => block?,
                None => return Ok(None),
            };
        }
        let record = &self.block[self.at..];
        let (window, rest) = record.split_at(self.shape.width);
        let Some(count) = rest.first_chunk::<8>() else {
            return Ok(None);
        };
        self.at += self.shape.width + 8;
        Ok(Some((
            W::read(window, self.shape),
            u64::from_le_bytes(*count),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_joined_are_the_whole(
            windows in prop::collection::vec(prop::collection::vec(0u32..3, 2..=5), 0..60),
            cuts in prop::collection::vec(0usize..60, 0..6),
            min_count in 1u64..4,
        ) {
            let shape = Shape::new(5, 3);
            let mut windows: Vec<u128> = windows.iter().map(|words| u128::pack(words, shape)).collect();
            windows.sort_unstable();
            let expected = count_sorted(&windows, shape, min_count).unwrap();
            let mut cuts: Vec<usize> = cuts.iter().map(|&cut| cut.min(windows.len())).collect();
            cuts.extend([0, windows.len()]);
            cuts.sort_unstable();
            let mut found = Rows::default();
            let mut keep = |words: &[WordId], count| {
                found.push(words, count);
                Ok(())
            };
            let mut seam = Seam::new(shape, min_count);
            for cut in cuts.windows(2) {
                let mut groups = PieceGroups::new(shape, min_count);
                for &window in &windows[cut[0]..cut[1]] {
                    groups.push(window, 1).unwrap();
                }
                if let Some(piece) = groups.finish() {
                    seam.join(&piece, &mut keep).unwrap();
                }
            }
            seam.finish(&mut keep).unwrap();
            prop_assert_eq!(found, expected);
        }
    }
}

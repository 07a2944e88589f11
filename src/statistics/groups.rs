//! Counts of all lengths from sorted windows: in sorted order the windows that begin
//! with the same n words stand together, so one scan counts every length at once. A
//! bucket that fits in memory is sorted there; a larger one is sorted in runs, which
//! go back to scratch and are merged.
//!
//! Cost: one sort of 16 bytes a window, most of what counting takes, and one scan.

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
    /// By length less one: windows that begin as `last` does.
    counts: [u64; MAX_LENGTH],
}

impl<W: Window> Groups<W> {
    /// Keeps n-grams of two words or more with at least `min_count` occurrences.
    pub fn new(shape: Shape, min_count: u64) -> Self {
        Self {
            shape,
            min_count,
            last: None,
            counts: [0; MAX_LENGTH],
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
            self.last = Some(window);
        }
        for sum in &mut self.counts[..self.shape.length] {
            *sum += count;
        }
        Ok(())
    }

    /// Hands over what the last windows began.
    pub fn finish(mut self, each: &mut impl FnMut(&[WordId], u64) -> Result<()>) -> Result<()> {
        self.close(0, each)
    }

    /// Ends all groups of more than `common` words.
    fn close(
        &mut self,
        common: usize,
        each: &mut impl FnMut(&[WordId], u64) -> Result<()>,
    ) -> Result<()> {
        let Some(last) = self.last else { return Ok(()) };
        let mut words = [0; MAX_LENGTH];
        for place in 0..self.shape.length {
            // A window that ends here counts for no longer n-gram.
            let Some(word) = last.word(place, self.shape) else {
                break;
            };
            words[place] = word;
            let length = place + 1;
            if length > common && length > 1 && self.counts[place] >= self.min_count {
                each(&words[..length], self.counts[place])?;
            }
        }
        self.counts[common..].fill(0);
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
    /// Appends an n-gram of two words or more.
    #[inline]
    pub fn push(&mut self, words: &[WordId], count: u64) {
        self.words[words.len() - 2].extend_from_slice(words);
        self.counts[words.len() - 2].push(count);
    }

    /// All n-grams, shorter lengths first.
    pub fn iter(&self) -> impl Iterator<Item = (&[WordId], u64)> {
        (0..self.words.len()).flat_map(|index| {
            self.words[index]
                .chunks_exact(index + 2)
                .zip(self.counts[index].iter().copied())
        })
    }
}

/// Counts the n-grams of `bucket`, which must fit in memory unpacked.
pub fn count_bucket<W: Window>(
    buckets: &Buckets,
    bucket: usize,
    shape: Shape,
    min_count: u64,
) -> Result<Rows> {
    let mut windows: Vec<W> =
        Vec::with_capacity((buckets.len(bucket) / shape.width as u64) as usize);
    for piece in buckets.drain(bucket) {
        windows.extend(unpack::<W>(&piece?, shape));
    }
    windows.sort_unstable();
    let mut rows = Rows::default();
    let mut keep = |words: &[WordId], count| {
        rows.push(words, count);
        Ok(())
    };
    let mut groups = Groups::new(shape, min_count);
    for window in windows {
        groups.push(window, 1, &mut keep)?;
    }
    groups.finish(&mut keep)?;
    Ok(rows)
}

fn unpack<W: Window>(bytes: &[u8], shape: Shape) -> impl Iterator<Item = W> {
    bytes
        .chunks_exact(shape.width)
        .map(move |bytes| W::read(bytes, shape))
}

/// Counts the n-grams of a bucket of any size within `memory`: runs that are sorted,
/// with equal windows summed, go to a scratch file in `folder` and are merged.
/// Scratch: at most 8 bytes a window more than the bucket took, compressed.
pub fn count_large_bucket<W: Window>(
    buckets: &Buckets,
    bucket: usize,
    shape: Shape,
    min_count: u64,
    memory: ByteSize,
    folder: &Path,
    each: &mut impl FnMut(&[WordId], u64) -> Result<()>,
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
        for next in unpack::<W>(&piece?, shape) {
            window.push(next);
            if window.len() == in_a_run {
                write_run(&mut window, shape, block, &runs, written)?;
                written += 1;
            }
        }
    }
    if !window.is_empty() {
        write_run(&mut window, shape, block, &runs, written)?;
    }
    drop(window);
    merge_runs::<W>(&runs, shape, min_count, each)
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
        equal[0].write(shape, &mut bytes);
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
    min_count: u64,
    each: &mut impl FnMut(&[WordId], u64) -> Result<()>,
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
    let mut groups = Groups::new(shape, min_count);
    while let Some(Reverse((window, run, count))) = heads.pop() {
        groups.push(window, count, each)?;
        if let Some((window, count)) = readers[run].next::<W>()? {
            heads.push(Reverse((window, run, count)));
        }
    }
    groups.finish(each)
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

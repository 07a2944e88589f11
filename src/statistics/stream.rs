//! The words of a corpus between reading it and counting its windows, so that text is
//! read, cut and looked up once: a code of 16 bits a word, 48 for one that came late.
//! Until all words are known, a code is the token that a word is alone, or the word's
//! place in the table of the thread that met it. A table that was spilled begins anew,
//! and with it a *generation*: its texts are kept beside its codes, and tell what the
//! codes mean. Where windows are made in several passes, the words are written anew for
//! that ([`ranked`](mod@crate::statistics::ranked)).
//!
//! Cost: 2 bytes for most words, spilled over the bound on memory. It took 24 ns a word
//! off counting token files, which were read twice before (one thread, in turn).

use crate::base::error::Result;
use crate::base::size::ByteSize;
use crate::base::token::TokenId;
use crate::statistics::dictionary::{WordId, WordSet};
use crate::statistics::words::BARRIER;
use crate::storage::Buckets;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Stands for a barrier, or the end of a document.
const END: u16 = 0;
/// Stands before a code that does not fit.
const WIDE: u16 = u16::MAX;
/// Bytes gathered before they are handed over, at the end of a document.
const PIECE: usize = 1 << 14;

/// Words of all documents, one lane for each thread.
pub struct WordStream {
    /// Codes in bucket 2k, texts in bucket 2k + 1 of lane k.
    buckets: Buckets,
    lanes: Mutex<Vec<Vec<Generation>>>,
}

/// Bytes of codes and of texts of one generation.
#[derive(Debug, Clone, Copy)]
struct Generation {
    codes: u64,
    texts: u64,
}

impl WordStream {
    /// Room for `lanes` writers, who hold up to `memory` together.
    pub fn new(folder: &Path, lanes: usize, memory: ByteSize) -> Result<Self> {
        Ok(Self {
            buckets: Buckets::new(folder, 2 * lanes, memory)?,
            lanes: Mutex::default(),
        })
    }

    /// A writer with a lane of its own, for words of `tokens` tokens and others.
    pub fn writer(&self, tokens: usize) -> StreamWriter<'_> {
        let mut lanes = self.lanes();
        lanes.push(Vec::new());
        StreamWriter {
            stream: self,
            lane: lanes.len() - 1,
            others: tokens as u32 + 1,
            open: Vec::with_capacity(PIECE),
            codes: 0,
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<Vec<Generation>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of scratch disk written so far.
    pub fn spilled(&self) -> ByteSize {
        self.buckets.spilled()
    }

    /// Takes everything, documents whole: codes, and what they mean, given the ids of
    /// words that are tokens alone, all words, and what there is to know of a word or of
    /// [`BARRIER`].
    pub fn pieces<'a, T>(
        &'a self,
        alone: &'a [WordId],
        words: &'a WordSet,
        known: impl Fn(WordId) -> T + Send + 'a,
    ) -> Pieces<'a, T> {
        let lanes: Vec<Lane<'a, T>> = self
            .lanes()
            .iter()
            .enumerate()
            .map(|(lane, generations)| Lane {
                generations: generations.clone().into_iter(),
                open: None,
                codes: Bytes::of(&self.buckets, 2 * lane),
                texts: Bytes::of(&self.buckets, 2 * lane + 1),
            })
            .collect();
        Pieces {
            lanes: lanes.into_iter(),
            lane: None,
            alone,
            words,
            known: Box::new(known),
        }
    }
}

/// Writes the words of one thread.
pub struct StreamWriter<'a> {
    stream: &'a WordStream,
    lane: usize,
    /// Code of the first word of the thread's table.
    others: u32,
    open: Vec<u8>,
    /// Bytes of codes of this generation that were handed over.
    codes: u64,
}

impl StreamWriter<'_> {
    /// A word that is one token.
    #[inline]
    pub fn alone(&mut self, token: TokenId) {
        self.code(token + 1);
    }

    /// A word by its place in the thread's table.
    #[inline]
    pub fn other(&mut self, place: u32) {
        self.code(self.others + place);
    }

    #[inline]
    fn code(&mut self, code: u32) {
        match u16::try_from(code) {
            Ok(code) if code != WIDE => self.open.extend_from_slice(&code.to_le_bytes()),
            _ => {
                self.open.extend_from_slice(&WIDE.to_le_bytes());
                self.open.extend_from_slice(&code.to_le_bytes());
            }
        }
    }

    /// No n-gram goes on here.
    #[inline]
    pub fn barrier(&mut self) {
        self.open.extend_from_slice(&END.to_le_bytes());
    }

    /// A document ends.
    pub fn end_document(&mut self) -> Result<()> {
        self.barrier();
        if self.open.len() < PIECE {
            return Ok(());
        }
        self.hand_over()
    }

    fn hand_over(&mut self) -> Result<()> {
        self.codes += self.open.len() as u64;
        self.stream.buckets.append(2 * self.lane, &self.open)?;
        self.open.clear();
        Ok(())
    }

    /// The table begins anew: `texts` are its words by place.
    pub fn end_generation<'t>(&mut self, texts: impl Iterator<Item = &'t [u8]>) -> Result<()> {
        self.hand_over()?;
        let mut record = Vec::with_capacity(PIECE);
        let mut bytes = 0;
        let mut hand_over = |record: &mut Vec<u8>| {
            bytes += record.len() as u64;
            self.stream.buckets.append(2 * self.lane + 1, record)?;
            record.clear();
            Ok(())
        };
        for text in texts {
            record.extend_from_slice(&(text.len() as u32).to_le_bytes());
            record.extend_from_slice(text);
            if record.len() >= PIECE {
                hand_over(&mut record)?;
            }
        }
        hand_over(&mut record)?;
        let generation = Generation {
            codes: std::mem::take(&mut self.codes),
            texts: bytes,
        };
        self.stream.lanes()[self.lane].push(generation);
        Ok(())
    }
}

/// Walks over a stream. Memory: what is known of a token and of a word of the table at
/// hand, for each.
pub struct Pieces<'a, T> {
    lanes: std::vec::IntoIter<Lane<'a, T>>,
    lane: Option<Lane<'a, T>>,
    alone: &'a [WordId],
    words: &'a WordSet,
    known: Box<dyn Fn(WordId) -> T + Send + 'a>,
}

struct Lane<'a, T> {
    generations: std::vec::IntoIter<Generation>,
    /// The generation at hand: bytes of codes that are left, and words by code.
    open: Option<(u64, Arc<Vec<T>>)>,
    codes: Bytes<'a>,
    texts: Bytes<'a>,
}

/// Codes of whole documents, and what is known of the words that they stand for. By code,
/// which is by first occurrence: so those that are met often lie in few cache lines.
pub struct Codes<T> {
    bytes: Vec<u8>,
    /// Of a barrier first.
    known: Arc<Vec<T>>,
}

impl<T: Copy> Codes<T> {
    /// All words and barriers in order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = T> {
        let (codes, _) = self.bytes.as_chunks::<2>();
        let mut codes = codes.iter().map(|&code| u16::from_le_bytes(code));
        std::iter::from_fn(move || {
            let code = codes.next()?;
            let place = if code == WIDE {
                let low = codes.next().unwrap_or(END);
                u32::from(codes.next().unwrap_or(END)) << 16 | u32::from(low)
            } else {
                u32::from(code)
            };
            let known = self.known.get(place as usize);
            known.or(self.known.first()).copied()
        })
    }
}

impl<T> Iterator for Pieces<'_, T> {
    type Item = Result<Codes<T>>;

    fn next(&mut self) -> Option<Result<Codes<T>>> {
        loop {
            let lane = match &mut self.lane {
                Some(lane) => lane,
                empty => empty.insert(self.lanes.next()?),
            };
            match &mut lane.open {
                Some((0, _)) => lane.open = None,
                Some((left, known)) => {
                    let known = known.clone();
                    let bytes = lane.codes.next(left)?;
                    return Some(bytes.map(|bytes| Codes { bytes, known }));
                }
                None => match lane.generations.next() {
                    None => self.lane = None,
                    Some(Generation { codes, texts }) => {
                        let ids = (self.alone, self.words);
                        match by_code(texts, &mut lane.texts, ids, &self.known) {
                            Ok(known) => lane.open = Some((codes, Arc::new(known))),
                            Err(error) => return Some(Err(error)),
                        }
                    }
                },
            }
        }
    }
}

/// What is known, by code: of a barrier, the tokens alone, the texts of a table.
fn by_code<T>(
    mut left: u64,
    texts: &mut Bytes<'_>,
    (alone, words): (&[WordId], &WordSet),
    known: impl Fn(WordId) -> T,
) -> Result<Vec<T>> {
    let mut all = Vec::with_capacity(alone.len() + 1);
    all.push(known(BARRIER));
    all.extend(alone.iter().map(|&id| known(id)));
    while let Some(piece) = texts.next(&mut left) {
        let piece = piece?;
        let mut rest = &piece[..];
        while let Some((len, after)) = rest.split_first_chunk::<4>() {
            let (text, after) = after.split_at(u32::from_le_bytes(*len) as usize);
            let found = std::str::from_utf8(text)
                .ok()
                .and_then(|text| words.find(text));
            all.push(known(found.unwrap_or(BARRIER)));
            rest = after;
        }
    }
    Ok(all)
}

/// The bytes of a bucket, cut where a generation ends.
struct Bytes<'a> {
    pieces: Box<dyn Iterator<Item = Result<Vec<u8>>> + Send + 'a>,
    rest: Vec<u8>,
}

impl<'a> Bytes<'a> {
    fn of(buckets: &'a Buckets, bucket: usize) -> Self {
        Self {
            pieces: Box::new(buckets.drain(bucket)),
            rest: Vec::new(),
        }
    }

    /// Up to `left` bytes, of whole appends; `None` where none are left.
    fn next(&mut self, left: &mut u64) -> Option<Result<Vec<u8>>> {
        if *left == 0 {
            return None;
        }
        if self.rest.is_empty() {
            self.rest = match self.pieces.next()? {
                Ok(piece) => piece,
                Err(error) => return Some(Err(error)),
            };
        }
        let end = self
            .rest
            .len()
            .min(usize::try_from(*left).unwrap_or(usize::MAX));
        let behind = self.rest.split_off(end);
        *left -= end as u64;
        Some(Ok(std::mem::replace(&mut self.rest, behind)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_as_they_are_known_later() {
        let folder = tempfile::tempdir().unwrap();
        let stream = WordStream::new(folder.path(), 2, ByteSize(100)).unwrap();
        let words = WordSet::from_sorted(["b", "c", "d"].into_iter());
        // Tokens 0 and 1 are the words a, which is not kept, and c.
        let alone = [BARRIER, 1];
        let mut expected = Vec::new();
        for lane in 0..2 {
            let mut writer = stream.writer(alone.len());
            for generation in 0..3u32 {
                let texts: Vec<String> = (0..70_000u32)
                    .map(|n| match (n + generation) % 5 {
                        0 => "b".into(),
                        1 => "d".into(),
                        _ => format!("rare{n}"),
                    })
                    .collect();
                for n in (lane..70_000).step_by(997) {
                    writer.other(n);
                    expected.push(words.find(&texts[n as usize]).unwrap_or(BARRIER));
                    writer.alone(n % 2);
                    expected.push(alone[n as usize % 2]);
                    if n % 3 == 0 {
                        writer.end_document().unwrap();
                        expected.push(BARRIER);
                    }
                }
                let texts = texts.iter().map(|text| text.as_bytes());
                writer.end_generation(texts).unwrap();
            }
        }
        let mut found = Vec::new();
        for codes in stream.pieces(&alone, &words, |id| id) {
            found.extend(codes.unwrap().iter());
        }
        assert!(found == expected);
        assert!(stream.spilled().0 > 0);
    }
}

//! Decompression on threads of its own. A file is one stream, decompressed a few blocks
//! ahead by one thread; where it is made of many small frames (Zstandard, as pzstd writes
//! it) or members (gzip, as bgzip writes it) whose lengths stand in the file, they are
//! decompressed side by side. Memory: 2 MiB beside the decompressor, or up to three pieces
//! of 8 MiB a thread; neither grows with the file.

use super::compression::{Compression, zstd_frame};
use crate::base::error::{Error, Result};
use crate::parallel::{self, ahead::ahead};
use crate::storage::Input;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes handed on at a time.
const BLOCK: u64 = 256 << 10;

/// Blocks that wait.
const DEPTH: usize = 6;

/// Members are decompressed together until they have this many bytes, packed.
const PIECE: usize = 1 << 20;

/// A member with more bytes than this, packed or not, is read as a stream.
const MEMBER: usize = 8 << 20;

/// No more threads than this decompress: a few feed any number of tokenizers.
const THREADS: usize = 4;

/// Bytes of memory that [`reader`] takes beside one decompressor, about, for a file of
/// `length` bytes that begins with `head`.
pub(super) fn memory(compression: Compression, head: &[u8], length: u64) -> u64 {
    /// Hardly any text is packed better.
    const RATIO: u64 = 16;
    let blocks = BLOCK * (DEPTH as u64 + 2);
    match compression.member(head) {
        Member::Unknown => blocks,
        _ => blocks + (3 * threads() as u64 * MEMBER as u64).min(RATIO.saturating_mul(length)),
    }
}

fn threads() -> usize {
    parallel::threads(0).min(THREADS)
}

/// The bytes inside `file`, from its beginning; adds what was read of it to `read`.
pub(super) fn reader(
    compression: Compression,
    file: Input,
    read: Arc<AtomicU64>,
) -> io::Result<Box<dyn BufRead + Send>> {
    let mut pieces = Pieces {
        compression,
        file: Some(Counted { file, read }),
        bytes: Vec::new(),
    };
    let blocks = ahead(DEPTH, move |hand_on| {
        let first = match pieces.next() {
            Some(Ok(Piece::Rest(rest))) => return stream(compression, rest, hand_on),
            Some(first) => first,
            None => return,
        };
        let made = parallel::ordered(
            threads(),
            std::iter::once(first).chain(pieces),
            || move |piece| Ok(unpacked(compression, piece)),
            |plain| {
                let more = match plain {
                    Plain::Bytes(bytes, None) => hand_on(Ok(bytes)),
                    Plain::Bytes(bytes, Some(error)) => {
                        hand_on(Ok(bytes));
                        hand_on(Err(error));
                        false
                    }
                    Plain::Rest(rest) => {
                        stream(compression, rest, hand_on);
                        false
                    }
                };
                // The end, or nobody listens any more.
                if more {
                    Ok(())
                } else {
                    Err(Error::Interrupted)
                }
            },
        );
        if let Err(error @ Error::Io { .. }) = made {
            hand_on(Err(io::Error::other(error)));
        }
    })?;
    Ok(Box::new(Blocks {
        blocks,
        block: Cursor::default(),
        failed: false,
    }))
}

/// Decompresses `packed` as one stream.
fn stream(
    compression: Compression,
    packed: impl Read + Send + 'static,
    hand_on: &mut dyn FnMut(io::Result<Vec<u8>>) -> bool,
) {
    let packed = BufReader::with_capacity(BLOCK as usize, packed);
    let mut plain = match compression.decoder(packed) {
        Ok(plain) => plain,
        Err(error) => {
            hand_on(Err(error));
            return;
        }
    };
    loop {
        let mut block = Vec::with_capacity(BLOCK as usize);
        let outcome = plain.by_ref().take(BLOCK).read_to_end(&mut block);
        let is_last = block.is_empty();
        if !is_last && !hand_on(Ok(block)) {
            return;
        }
        match outcome {
            Err(error) => {
                hand_on(Err(error));
                return;
            }
            Ok(_) if is_last => return,
            Ok(_) => {}
        }
    }
}

fn unpacked(compression: Compression, piece: Piece) -> Plain {
    match piece {
        Piece::Rest(rest) => Plain::Rest(rest),
        Piece::Members(bytes) => {
            let mut plain = Vec::new();
            let outcome = compression
                .decoder(Cursor::new(bytes))
                .and_then(|mut decoder| decoder.read_to_end(&mut plain));
            Plain::Bytes(plain, outcome.err())
        }
    }
}

/// What is decompressed as one.
enum Piece {
    /// Whole members.
    Members(Vec<u8>),
    /// All of the file from a place on: a stream.
    Rest(Box<dyn Read + Send>),
}

/// A piece, decompressed.
enum Plain {
    /// Its bytes, and what ended it before its end.
    Bytes(Vec<u8>, Option<io::Error>),
    /// A stream, still packed.
    Rest(Box<dyn Read + Send>),
}

/// How long a member is, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Member {
    /// This long, packed.
    Whole(usize),
    /// It goes on behind the bytes at hand.
    More,
    /// Its length does not stand in the file, or it is long, or it is none.
    Unknown,
}

impl Compression {
    /// The member that begins `bytes`.
    fn member(self, bytes: &[u8]) -> Member {
        match self {
            Self::Gzip => blocked_gzip(bytes),
            Self::Zstd => zstd_frame(bytes, MEMBER as u64),
            Self::Bzip2 | Self::Xz => Member::Unknown,
        }
    }
}

/// The length of a gzip member that holds its length: of bgzip, whose extra field `BC`
/// is its length less one (SAM specification, 4.1).
fn blocked_gzip(bytes: &[u8]) -> Member {
    const EXTRA: u8 = 4;
    let Some(header) = bytes.first_chunk::<18>() else {
        return Member::More;
    };
    match *header {
        [
            0x1F,
            0x8B,
            8,
            EXTRA,
            _,
            _,
            _,
            _,
            _,
            _,
            6,
            0,
            b'B',
            b'C',
            2,
            0,
            low,
            high,
        ] => {
            let length = usize::from(u16::from_le_bytes([low, high])) + 1;
            match length {
                ..18 => Member::Unknown,
                _ if length > bytes.len() => Member::More,
                _ => Member::Whole(length),
            }
        }
        _ => Member::Unknown,
    }
}

/// Cuts a file into pieces, as long as it can be cut.
struct Pieces {
    compression: Compression,
    /// What is left of the file; `None` once it is handed on.
    file: Option<Counted>,
    /// Read and not yet handed on.
    bytes: Vec<u8>,
}

impl Iterator for Pieces {
    type Item = Result<Piece>;

    fn next(&mut self) -> Option<Result<Piece>> {
        let piece = self.piece()?;
        Some(piece.map_err(|error| Error::io("read", "a compressed input", error)))
    }
}

impl Pieces {
    fn piece(&mut self) -> Option<io::Result<Piece>> {
        let mut length = 0;
        while length < PIECE {
            match self.compression.member(&self.bytes[length..]) {
                Member::Whole(member) => {
                    length += member;
                    continue;
                }
                Member::More if self.bytes.len() - length < MEMBER => {}
                _ => break,
            }
            let file = self.file.as_mut()?;
            match file.take(PIECE as u64).read_to_end(&mut self.bytes) {
                Err(error) => return Some(Err(error)),
                // The end of a file without a member more.
                Ok(0) if self.bytes.is_empty() => return None,
                // In the middle of a member, or behind the last one.
                Ok(0) => break,
                Ok(_) => {}
            }
        }
        let rest = self.bytes.split_off(length);
        let bytes = std::mem::replace(&mut self.bytes, rest);
        if length > 0 {
            return Some(Ok(Piece::Members(bytes)));
        }
        let rest = Cursor::new(std::mem::take(&mut self.bytes)).chain(self.file.take()?);
        Some(Ok(Piece::Rest(Box::new(rest))))
    }
}

/// A file that counts the bytes read from it.
struct Counted {
    file: Input,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(out)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Blocks made ahead, as one stream. An error is its end.
struct Blocks<I> {
    blocks: I,
    block: Cursor<Vec<u8>>,
    failed: bool,
}

impl<I: Iterator<Item = io::Result<Vec<u8>>>> BufRead for Blocks<I> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while !self.failed && self.block.position() == self.block.get_ref().len() as u64 {
            match self.blocks.next() {
                Some(Ok(block)) => self.block = Cursor::new(block),
                Some(Err(error)) => {
                    self.failed = true;
                    return Err(error);
                }
                None => break,
            }
        }
        self.block.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        self.block.consume(length);
    }
}

impl<I: Iterator<Item = io::Result<Vec<u8>>>> Read for Blocks<I> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.fill_buf()?;
        self.block.read(out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::compression::compressed;
    use super::*;
    use crate::storage::Lost;
    use std::io::Write;

    const ALL: [Compression; 4] = [
        Compression::Gzip,
        Compression::Zstd,
        Compression::Bzip2,
        Compression::Xz,
    ];

    /// `text` as a member of bgzip.
    fn bgzip(text: &[u8]) -> Vec<u8> {
        let member = compressed(Compression::Gzip, text);
        // The header of a member without anything optional is ten bytes.
        let length = (member.len() + 8 - 1) as u16;
        let mut out = member[..10].to_vec();
        out[3] = 4;
        out.extend_from_slice(&[6, 0, b'B', b'C', 2, 0]);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&member[10..]);
        out
    }

    /// `text` as a Zstandard frame that does not say how long it is.
    fn streamed(text: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        for part in text.chunks(text.len() / 2 + 1) {
            encoder.write_all(part).unwrap();
            encoder.flush().unwrap();
        }
        encoder.finish().unwrap()
    }

    fn read_all(compression: Compression, packed: &[u8]) -> (Vec<u8>, Option<io::ErrorKind>, u64) {
        let mut written = tempfile::NamedTempFile::new().unwrap();
        written.write_all(packed).unwrap();
        let file = Input::open(written.path(), &Lost::default()).unwrap();
        let read = Arc::new(AtomicU64::new(0));
        let mut plain = Vec::new();
        let error = reader(compression, file, read.clone())
            .and_then(|mut reader| reader.read_to_end(&mut plain))
            .err();
        (
            plain,
            error.map(|error| error.kind()),
            read.load(Ordering::Relaxed),
        )
    }

    /// Text of 20 kB that is like no other.
    fn text(number: usize) -> Vec<u8> {
        let words = (0..2000).map(|n| format!("{} ", (n * n + number * 7919) % 99_991));
        words.collect::<String>().into_bytes()
    }

    /// Members with text, members without, and a skippable frame in between.
    fn members(compression: Compression, count: usize) -> (Vec<u8>, Vec<u8>) {
        let (mut packed, mut plain) = (Vec::new(), Vec::new());
        for number in 0..count {
            let text = text(number);
            plain.extend_from_slice(&text);
            match compression {
                Compression::Gzip => {
                    packed.extend(bgzip(&text));
                    packed.extend(bgzip(b""));
                }
                Compression::Zstd => {
                    packed.extend(zstd::bulk::compress(&text, 3).unwrap());
                    packed.extend([0x5A, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 1, 2, 3]);
                }
                _ => packed.extend(compressed(compression, &text)),
            }
        }
        (packed, plain)
    }

    #[test]
    fn members_are_found_by_their_lengths() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let (packed, _) = members(compression, 3);
            let mut at = 0;
            while at < packed.len() {
                let Member::Whole(length) = compression.member(&packed[at..]) else {
                    panic!("{compression:?} at {at} of {}", packed.len());
                };
                for cut in 0..length {
                    assert_eq!(compression.member(&packed[at..at + cut]), Member::More);
                }
                at += length;
            }
        }
        // One whose length does not stand in it.
        let streamed = streamed(&text(0));
        assert_eq!(Compression::Zstd.member(&streamed), Member::Unknown);
        let plain = compressed(Compression::Gzip, &text(0));
        assert_eq!(Compression::Gzip.member(&plain), Member::Unknown);
    }

    #[test]
    fn many_members_side_by_side_are_one_text() {
        for compression in ALL {
            let (packed, plain) = members(compression, 300);
            let length = packed.len() as u64;
            assert!(
                read_all(compression, &packed) == (plain, None, length),
                "{compression:?}"
            );
        }
    }

    #[test]
    fn members_before_and_behind_a_stream_are_one_text() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let (mut packed, mut plain) = members(compression, 200);
            let stream = text(1000).repeat(20);
            packed.extend(match compression {
                Compression::Zstd => streamed(&stream),
                _ => compressed(compression, &stream),
            });
            plain.extend(text(1000).repeat(20));
            let (more, behind) = members(compression, 3);
            packed.extend(more);
            plain.extend(behind);
            let length = packed.len() as u64;
            assert!(
                read_all(compression, &packed) == (plain, None, length),
                "{compression:?}"
            );
        }
    }

    #[test]
    fn a_cut_or_a_flipped_byte_ends_in_an_error_behind_what_was_right() {
        for compression in ALL {
            let (packed, plain) = members(compression, 12);
            for at in (100..packed.len()).step_by(packed.len() / 60) {
                let (found, error, _) = read_all(compression, &packed[..at]);
                // Between members a file just ends.
                let (all, none, _) = read_all(compression, &packed);
                assert!(all == plain && none.is_none());
                assert!(plain.starts_with(&found), "{compression:?} cut at {at}");
                assert!(error.is_some() || found.len() % text(0).len() < plain.len());
            }
            // Every member has a checksum but Zstandard's, where it was not asked for.
            if compression != Compression::Zstd {
                for at in (40..packed.len()).step_by(packed.len() / 60) {
                    let mut flipped = packed.clone();
                    flipped[at] ^= 0x10;
                    let (found, error, _) = read_all(compression, &flipped);
                    assert!(
                        error.is_some() || found == plain,
                        "{compression:?} flipped at {at}"
                    );
                }
            }
        }
    }
}

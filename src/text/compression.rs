//! Reads through gzip, Zstandard, bzip2 and xz, told apart by their first bytes.
//! The only place that names the decompressors. All take several members or frames
//! in a row; Zstandard windows may be up to 2 GiB long, and take that much memory.

use super::decompress::{self, Member};
use crate::storage::{Input, Lost};
use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

/// Buffer before and behind a decompressor.
const BUFFER: usize = 256 << 10;

/// Memory of a decompressor beside its window: its tables and the buffers.
const DECOMPRESSOR: u64 = 1 << 20;

/// Bytes that tell how large the window is; more than any header has.
const HEAD: usize = 64;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// bzip2.
    Bzip2,
    /// The .xz format.
    Xz,
}

impl Compression {
    /// By the first bytes of the file; `None` for a file that is not compressed.
    pub fn of(file: &mut (impl Read + Seek)) -> io::Result<Option<Self>> {
        let mut magic = Vec::with_capacity(6);
        file.take(6).read_to_end(&mut magic)?;
        file.rewind()?;
        Ok(match magic[..] {
            [0x1F, 0x8B, ..] => Some(Self::Gzip),
            [0x28, 0xB5, 0x2F, 0xFD, ..] => Some(Self::Zstd),
            // A skippable frame may come first.
            [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Some(Self::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41] => Some(Self::Bzip2),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72] => Some(Self::Bzip2),
            [0xFD, b'7', b'z', b'X', b'Z', 0] => Some(Self::Xz),
            _ => None,
        })
    }

    /// Bytes of memory that reading `file` takes, about, by how it begins: a file in
    /// several frames may say otherwise of a later one. Goes back to the beginning.
    pub fn memory(self, file: &mut Input) -> io::Result<u64> {
        let mut head = Vec::with_capacity(HEAD);
        file.take(HEAD as u64).read_to_end(&mut head)?;
        file.rewind()?;
        let length = file.length()?.unwrap_or(u64::MAX);
        let window = match self {
            Self::Gzip => 0,
            Self::Zstd => zstd_window(&head).unwrap_or(0),
            Self::Bzip2 => 4 << 20,
            Self::Xz => xz_dictionary(&head).unwrap_or(0),
        };
        Ok(window + DECOMPRESSOR + decompress::memory(self, &head, length))
    }

    /// The bytes inside `packed`.
    pub(super) fn decoder(
        self,
        packed: impl BufRead + Send + 'static,
    ) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(packed)),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
                decoder.window_log_max(31)?;
                Box::new(decoder)
            }
            Self::Bzip2 => Box::new(MultiBzDecoder::new(packed)),
            Self::Xz => Box::new(XzDecoder::new_multi_decoder(packed)),
        })
    }
}

/// The frame that begins `bytes`, where it says how long its content is and that is at
/// most `most` (RFC 8878, 3.1): its length follows from those of its blocks.
pub(super) fn zstd_frame(bytes: &[u8], most: u64) -> Member {
    // From the magic to the last block, and the checksum where there is one.
    let walk = || -> Option<Member> {
        let (&magic, rest) = bytes.split_first_chunk::<4>()?;
        if let [0x50..=0x5F, 0x2A, 0x4D, 0x18] = magic {
            let length = u64::from(u32::from_le_bytes(*rest.first_chunk()?)) + 8;
            return Some(match length {
                _ if length > most => Member::Unknown,
                _ if length > bytes.len() as u64 => return None,
                _ => Member::Whole(length as usize),
            });
        }
        if magic != [0x28, 0xB5, 0x2F, 0xFD] {
            return Some(Member::Unknown);
        }
        let &descriptor = rest.first()?;
        let single = descriptor & 0x20 != 0;
        let content_flag = descriptor >> 6;
        if !single && content_flag == 0 {
            return Some(Member::Unknown);
        }
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let content = 5 + usize::from(!single) + dictionary;
        let mut at = content + (1 << content_flag);
        let field = bytes.get(content..at)?;
        if little_endian(field) > most {
            return Some(Member::Unknown);
        }
        loop {
            let block = little_endian(bytes.get(at..at + 3)?);
            let length = match block >> 1 & 3 {
                // A block of one byte repeated.
                1 => 1,
                _ => (block >> 3) as usize,
            };
            at += 3 + length;
            if block & 1 == 1 {
                break;
            }
        }
        at += if descriptor & 4 != 0 { 4 } else { 0 };
        (at <= bytes.len()).then_some(Member::Whole(at))
    };
    walk().unwrap_or(Member::More)
}

fn little_endian(bytes: &[u8]) -> u64 {
    let places = bytes.iter().rev();
    places.fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// The window of a Zstandard frame, or the length of its content where that is one
/// segment (RFC 8878, 3.1.1.1). `None` for a skippable frame.
fn zstd_window(head: &[u8]) -> Option<u64> {
    let rest = head.strip_prefix(&[0x28, 0xB5, 0x2F, 0xFD])?;
    let (&descriptor, rest) = rest.split_first()?;
    if descriptor & 0x20 == 0 {
        let &window = rest.first()?;
        let base = 1u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    let dictionary_id = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let length = 1 << (descriptor >> 6);
    let field = rest.get(dictionary_id..dictionary_id + length)?;
    let content = little_endian(field);
    Some(if length == 2 { content + 256 } else { content })
}

/// The dictionary of the LZMA2 filter in an .xz file's first block. `None` where another
/// filter comes first.
fn xz_dictionary(head: &[u8]) -> Option<u64> {
    const STREAM_HEADER: usize = 12;
    let flags = *head.get(STREAM_HEADER + 1)?;
    let mut at = STREAM_HEADER + 2;
    // Lengths of the block, packed and not, where the flags say so: 7 bits a byte.
    for _ in 0..(flags >> 6).count_ones() {
        while *head.get(at)? & 0x80 != 0 {
            at += 1;
        }
        at += 1;
    }
    let [0x21, 1, size, ..] = *head.get(at..)? else {
        return None;
    };
    let bits = u32::from(size.min(39));
    Some((2 | u64::from(bits & 1)) << (bits / 2 + 11))
}

/// Opens the file at `path` from its beginning, decompressed if need be.
pub fn open(path: &Path) -> io::Result<(Option<Compression>, Box<dyn BufRead + Send>)> {
    let mut file = Input::open(path, &Lost::default())?;
    let compression = Compression::of(&mut file)?;
    let buffered = BufReader::with_capacity(BUFFER, file);
    let reader: Box<dyn BufRead + Send> = match compression {
        Some(compression) => Box::new(BufReader::with_capacity(
            BUFFER,
            compression.decoder(buffered)?,
        )),
        None => Box::new(buffered),
    };
    Ok((compression, reader))
}

/// A file name without the ending that a compressor gave it.
pub fn without_ending(name: &str) -> &str {
    [".gz", ".zst", ".zstd", ".bz2", ".xz"]
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(name)
}

/// `bytes` compressed, for tests of the readers.
#[cfg(test)]
pub(super) fn compressed(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match compression {
        Compression::Gzip => {
            let level = flate2::Compression::default();
            flate2::bufread::GzEncoder::new(bytes, level).read_to_end(&mut out)
        }
        Compression::Zstd => zstd::stream::copy_encode(bytes, &mut out, 3).map(|()| 0),
        Compression::Bzip2 => {
            let level = bzip2::Compression::default();
            bzip2::bufread::BzEncoder::new(bytes, level).read_to_end(&mut out)
        }
        Compression::Xz => liblzma::bufread::XzEncoder::new(bytes, 6).read_to_end(&mut out),
    }
    .unwrap();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const ALL: [Compression; 4] = [
        Compression::Gzip,
        Compression::Zstd,
        Compression::Bzip2,
        Compression::Xz,
    ];

    fn read(bytes: &[u8]) -> (Option<Compression>, Vec<u8>, Option<io::ErrorKind>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        let (compression, mut reader) = open(&path).unwrap();
        let mut out = Vec::new();
        let error = reader.read_to_end(&mut out).err();
        (compression, out, error.map(|error| error.kind()))
    }

    #[test]
    fn several_members_in_a_row_are_one_text() {
        for compression in ALL {
            let mut bytes = compressed(compression, b"the sea ");
            bytes.extend(compressed(compression, b""));
            bytes.extend(compressed(compression, b"and the sky"));
            let (seen, text, error) = read(&bytes);
            assert_eq!(seen, Some(compression));
            assert_eq!(text, b"the sea and the sky", "{compression:?}");
            assert_eq!(error, None);
        }
        assert_eq!(read(b"plain"), (None, b"plain".to_vec(), None));
        assert_eq!(read(b""), (None, Vec::new(), None));
    }

    #[test]
    fn a_file_cut_short_anywhere_ends_in_an_error_and_never_in_silence() {
        for compression in ALL {
            let bytes = compressed(compression, &b"the sea and the sky ".repeat(500));
            for cut in 6..bytes.len() {
                let (_, text, error) = read(&bytes[..cut]);
                assert!(error.is_some(), "{compression:?} cut at {cut}");
                assert!(text.len() <= 10_000);
            }
        }
    }

    #[test]
    fn windows_are_known_before_a_file_is_read() {
        let memory = |compression: Compression, bytes: &[u8]| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            let mut file = Input::open(file.path(), &Lost::default()).unwrap();
            let memory = compression.memory(&mut file).unwrap();
            assert_eq!(file.stream_position().unwrap(), 0);
            memory - DECOMPRESSOR - decompress::memory(compression, bytes, bytes.len() as u64)
        };
        let text = b"far and wide".repeat(1000);
        let mut out = Vec::new();
        let mut encoder = zstd::stream::write::Encoder::new(&mut out, 1).unwrap();
        encoder.window_log(27).unwrap();
        std::io::Write::write_all(&mut encoder, &text).unwrap();
        encoder.finish().unwrap();
        assert_eq!(memory(Compression::Zstd, &out), 1 << 27);
        // One segment, whose length the frame says.
        let whole = zstd::bulk::compress(&text, 1).unwrap();
        assert_eq!(memory(Compression::Zstd, &whole), text.len() as u64);
        // Preset 6 has a dictionary of 8 MiB.
        let xz = compressed(Compression::Xz, &text);
        assert_eq!(memory(Compression::Xz, &xz), 8 << 20);
        // Whatever is there, nothing breaks.
        for length in 0..20 {
            zstd_window(&whole[..length]);
            xz_dictionary(&xz[..length]);
        }
    }

    #[test]
    fn zstandard_windows_of_two_gibibytes_are_read() {
        let mut out = Vec::new();
        let mut encoder = zstd::stream::write::Encoder::new(&mut out, 1).unwrap();
        encoder.window_log(31).unwrap();
        encoder.long_distance_matching(true).unwrap();
        std::io::Write::write_all(&mut encoder, b"far and wide").unwrap();
        encoder.finish().unwrap();
        assert_eq!(read(&out).1, b"far and wide");
    }
}

//! TensorBoard's event files: TFRecord frames (length, masked CRC-32C, bytes, masked
//! CRC-32C) of `Event` messages with scalars (tensorflow/core/util/event.proto and
//! framework/summary.proto), about 50 bytes a number.
//!
//! A run has one such file. A resumed run writes a new one that begins with what the old
//! one had up to the checkpoint, and removes that: no reader finds a point twice. The name
//! of the new one is later in order and it opens with a `SessionLog` of a start, so that a
//! TensorBoard that is looking moves on to it and forgets the rest.

use super::metrics::Done;
use crate::base::error::{Error, Result};
use crate::storage::atomic;
use memchr::memmem;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What every name of ours begins and ends with; TensorBoard asks for the first.
const NAME: (&str, &str) = ("events.out.tfevents.", ".cloze");

/// What the tags of a validation begin with.
const VALIDATION: &str = "validation/";

/// The file, open at its end.
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Opens a new file in `folder` that begins with the events of what is done in the one
    /// that is there, and removes that.
    pub fn resume(folder: &Path, done: Done) -> Result<Self> {
        let old = ours(folder)?;
        let mut bytes = frame(&version_event());
        bytes.extend(frame(&start_event(done.steps)));
        if done.steps > 0 {
            for path in &old {
                let written = fs::read(path).map_err(|e| Error::io("read", path, e))?;
                bytes.extend(kept(&written, done));
            }
        }
        let last = old.iter().filter_map(|path| seconds_of(path)).max();
        let seconds = (wall_time() as u64).max(last.map_or(0, |last| last + 1));
        let path = folder.join(format!("{}{seconds:010}{}", NAME.0, NAME.1));
        atomic::write(&path, &bytes)?;
        for path in &old {
            fs::remove_file(path).map_err(|e| Error::io("remove", path, e))?;
        }
        let file = OpenOptions::new().append(true).open(&path);
        Ok(Self {
            file: file.map_err(|e| Error::io("write", &path, e))?,
            path,
        })
    }

    /// Appends an event of `scalars`, by their tags, after `step` steps.
    pub fn append(&mut self, step: u64, scalars: &[(&str, f64)]) -> Result<()> {
        let bytes = frame(&scalar_event(wall_time(), step, scalars));
        let written = self.file.write_all(&bytes);
        written.map_err(|e| Error::io("write", &self.path, e))
    }

    /// Makes all events survive a power cut.
    pub fn sync(&self) -> Result<()> {
        let synced = self.file.sync_data();
        synced.map_err(|e| Error::io("sync", &self.path, e))
    }
}

/// Our event files in `folder`, by name.
fn ours(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let read = |e| Error::io("read", folder, e);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if seconds_of(&path).is_some() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The number in the name of a file of ours.
fn seconds_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let number = name.strip_prefix(NAME.0)?.strip_suffix(NAME.1)?;
    number.parse().ok()
}

fn wall_time() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// The frames of `bytes` that hold scalars of what is done. What a kill cut short ends
/// them: it is younger than the checkpoint, before which the file is synced.
fn kept(bytes: &[u8], done: Done) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some((event, after)) = take_frame(rest) {
        let most = match memmem::find(event, VALIDATION.as_bytes()) {
            Some(_) => done.validated,
            None => done.steps,
        };
        if scalar_step(event).is_some_and(|of| of <= most) {
            out.extend_from_slice(&rest[..rest.len() - after.len()]);
        }
        rest = after;
    }
    out
}

/// The bytes of the first frame of `bytes`, and what follows it; none where it is not
/// whole.
fn take_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (check, rest) = rest.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*check) != masked(crc32c(length)) {
        return None;
    }
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (event, rest) = rest.split_at_checked(length)?;
    let (check, rest) = rest.split_first_chunk::<4>()?;
    (u32::from_le_bytes(*check) == masked(crc32c(event))).then_some((event, rest))
}

/// A TFRecord: what `bytes` are, framed.
fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let mut out = length.to_vec();
    out.extend(masked(crc32c(&length)).to_le_bytes());
    out.extend(bytes);
    out.extend(masked(crc32c(bytes)).to_le_bytes());
    out
}

/// CRC-32C (Castagnoli), bit by bit: an event is a hundred bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    let of_bit = |crc: u32, _| (crc >> 1) ^ (0x82F6_3B78 * (crc & 1));
    !bytes
        .iter()
        .fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), of_bit))
}

/// As TFRecord masks it, so that a check of bytes that hold one is no check of itself.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xA282_EAD8)
}

// Fields of `Event`: 1 wall_time, 2 step, 3 file_version, 5 summary, 7 session_log.
// Of `Summary`: 1 value; of its `Value`: 1 tag, 2 simple_value; of `SessionLog`: 1 status.
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

fn version_event() -> Vec<u8> {
    let mut event = timed(wall_time());
    bytes_field(3, b"brain.Event:2", &mut event);
    event
}

fn start_event(step: u64) -> Vec<u8> {
    let mut event = timed(wall_time());
    step_field(step, &mut event);
    // SessionLog with status START = 1.
    bytes_field(7, &[1 << 3, 1], &mut event);
    event
}

fn scalar_event(wall_time: f64, step: u64, scalars: &[(&str, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, number) in scalars {
        let mut value = Vec::new();
        bytes_field(1, tag.as_bytes(), &mut value);
        value.push(2 << 3 | FIXED32);
        value.extend((*number as f32).to_le_bytes());
        bytes_field(1, &value, &mut summary);
    }
    let mut event = timed(wall_time);
    step_field(step, &mut event);
    bytes_field(5, &summary, &mut event);
    event
}

/// An event that so far has its time.
fn timed(wall_time: f64) -> Vec<u8> {
    let mut event = vec![1 << 3 | FIXED64];
    event.extend(wall_time.to_le_bytes());
    event
}

fn step_field(step: u64, out: &mut Vec<u8>) {
    out.push(2 << 3);
    varint(step, out);
}

fn bytes_field(field: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(field << 3 | BYTES);
    varint(bytes.len() as u64, out);
    out.extend(bytes);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The step of an event of ours that has a summary.
fn scalar_step(event: &[u8]) -> Option<u64> {
    let rest = event.get(9..)?.strip_prefix(&[2 << 3])?;
    let end = rest.iter().position(|byte| byte & 0x80 == 0)?;
    let step = rest[..=end]
        .iter()
        .rev()
        .fold(0u64, |step, byte| step << 7 | u64::from(byte & 0x7F));
    (*rest.get(end + 1)? == (5 << 3 | BYTES)).then_some(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_rfc() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn an_event_is_framed_as_tensorboard_frames_it() {
        // Written by tensorboard 2.20's RecordWriter and Event protos.
        let event = scalar_event(1.5, 300, &[("a", 0.25)]);
        let expected = [
            0x09, 0, 0, 0, 0, 0, 0, 0xF8, 0x3F, 0x10, 0xAC, 0x02, 0x2A, 0x0A, 0x0A, 0x08, 0x0A,
            0x01, b'a', 0x15, 0, 0, 0x80, 0x3E,
        ];
        assert_eq!(event, expected);
        let framed = frame(&event);
        assert_eq!(framed.len(), event.len() + 16);
        assert_eq!(take_frame(&framed), Some((&event[..], &[][..])));
        for broken in 0..framed.len() {
            let mut other = framed.clone();
            other[broken] ^= 4;
            assert_eq!(take_frame(&other), None, "byte {broken}");
            assert_eq!(take_frame(&framed[..broken]), None);
        }
    }

    fn steps_in(folder: &Path) -> Vec<u64> {
        let files = ours(folder).unwrap();
        assert_eq!(files.len(), 1, "{files:?}");
        let bytes = fs::read(&files[0]).unwrap();
        let (mut rest, mut steps) = (&bytes[..], Vec::new());
        while let Some((event, after)) = take_frame(rest) {
            steps.extend(scalar_step(event));
            rest = after;
        }
        assert!(rest.is_empty());
        steps
    }

    #[test]
    fn a_resumed_file_has_every_point_once() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut file = EventFile::resume(folder, Done::default()).unwrap();
        for step in [1, 2, 200, 300] {
            file.append(step, &[("loss", 1.0), ("rate", 2.0)]).unwrap();
        }
        file.append(200, &[("validation/loss", 1.0)]).unwrap();
        // A kill in the middle of an event.
        file.file.write_all(&frame(b"cut short")[..9]).unwrap();
        let done = Done {
            steps: 200,
            validated: 2,
        };
        let mut file = EventFile::resume(folder, done).unwrap();
        file.append(300, &[("loss", 1.0)]).unwrap();
        file.sync().unwrap();
        assert_eq!(steps_in(folder), [1, 2, 200, 300]);
        EventFile::resume(folder, Done::default()).unwrap();
        assert_eq!(steps_in(folder), [0u64; 0]);
    }
}

//! An object read from some place on: parts of 4 MiB, several on their way ahead of who
//! reads. Memory: at most five parts. Going elsewhere drops what is ahead.

use super::{PART, Remote, fault, runtime};
use crate::base::error::{Error, Result};
use bytes::{Buf, Bytes};
use object_store::ObjectStoreExt;
use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom};
use tokio::task::JoinHandle;

/// Parts on their way ahead of the one being read.
const AHEAD: usize = 4;

/// A reader of one object.
pub struct Stream {
    remote: Remote,
    length: u64,
    /// Nothing beyond is asked for before it is needed.
    until: u64,
    /// Offset of the next byte that is read.
    at: u64,
    /// What is left of the part being read.
    part: Bytes,
    /// Parts on their way, behind `part`.
    ahead: VecDeque<JoinHandle<object_store::Result<Bytes>>>,
    /// Offset behind the last part on its way.
    asked: u64,
}

impl Stream {
    /// Reads the object of `length` bytes from its beginning.
    pub fn new(remote: Remote, length: u64) -> Self {
        Self {
            remote,
            length,
            until: length,
            at: 0,
            part: Bytes::new(),
            ahead: VecDeque::new(),
            asked: 0,
        }
    }

    /// Length of the object.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Says that reading will hardly go beyond `offset`.
    pub fn expect_until(&mut self, offset: u64) {
        self.until = offset.min(self.length);
    }

    /// The rest of the part at hand, or the next one; `None` behind the end.
    pub fn next_part(&mut self) -> Result<Option<Bytes>> {
        self.fill()?;
        let part = std::mem::take(&mut self.part);
        self.at += part.len() as u64;
        Ok((!part.is_empty()).then_some(part))
    }

    /// Bytes at `offset`, whatever is read otherwise.
    pub fn read_at(&self, offset: u64, length: u64) -> Result<Bytes> {
        self.remote.range(offset, length)
    }

    fn fill(&mut self) -> Result<()> {
        if !self.part.is_empty() || self.at >= self.length {
            return Ok(());
        }
        let runtime = runtime()?;
        // The first part after a jump comes alone: a look into the head of a file costs one.
        let ahead = match self.at {
            0 if self.ahead.is_empty() => 0,
            _ => AHEAD,
        };
        while self.ahead.len() <= ahead {
            let needed = self.ahead.is_empty();
            let end = if needed { self.length } else { self.until };
            if self.asked >= end {
                break;
            }
            let range = self.asked..end.min(self.asked + PART);
            self.asked = range.end;
            let (store, key) = (self.remote.store.clone(), self.remote.key.clone());
            let request = async move { store.get_range(&key, range).await };
            self.ahead.push_back(runtime.spawn(request));
        }
        let Some(next) = self.ahead.pop_front() else {
            return Ok(());
        };
        let url = &self.remote.url;
        self.part = runtime
            .block_on(next)
            .map_err(|error| Error::library(format!("reading {}", url.display()), error))?
            .map_err(|error| fault::fault("read", url, &error))?;
        if self.part.is_empty() {
            return Err(Error::input(
                url.display().to_string(),
                format!("an end at byte {}", self.at),
                format!("{} bytes, as the store says", self.length),
                "the object changed while it was read: run the same command again",
            ));
        }
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.fill().map_err(io::Error::other)?;
        let length = out.len().min(self.part.len());
        self.part.copy_to_slice(&mut out[..length]);
        self.at += length as u64;
        Ok(length)
    }
}

impl Seek for Stream {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        let target = target.ok_or(io::ErrorKind::InvalidInput)?;
        let forward = target.checked_sub(self.at).map(|by| by as usize);
        match forward.filter(|&by| by <= self.part.len()) {
            Some(by) => self.part.advance(by),
            None => {
                self.stop();
                self.part = Bytes::new();
                self.asked = target;
            }
        }
        self.at = target;
        Ok(target)
    }
}

impl Stream {
    fn stop(&mut self) {
        for request in self.ahead.drain(..) {
            request.abort();
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop();
    }
}

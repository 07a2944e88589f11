//! A thread around [`Reader`]: batches are read and masked ahead of the model, at
//! most [`AHEAD`] of them. One thread: it makes 50 to 90 million tokens a second
//! (`cargo bench --bench batches`), more than a model takes.

use super::corpus::Corpus;
use super::reader::{Order, Reader};
use super::{Batch, Position};
use crate::base::error::{Error, Result};
use crate::masking::Masker;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Batches that wait for the model at most.
pub const AHEAD: usize = 4;

/// Batches made ahead, in the form `B`. Dropping it ends its thread.
pub struct Stream<B = Batch> {
    /// `None` only while it is dropped.
    batches: Option<Receiver<Result<B>>>,
    thread: Option<JoinHandle<()>>,
}

impl Stream {
    /// Starts to read `corpus` at `position`; see [`Reader::new`] for what is
    /// refused.
    pub fn open(
        corpus: Arc<Corpus>,
        masker: Masker,
        order: Order,
        position: Position,
    ) -> Result<Self> {
        let mut reader = Reader::new(corpus, masker, order, position)?;
        Self::start(move || Some(reader.read()))
    }
}

impl<B: Send + 'static> Stream<B> {
    /// Starts to make what `next` gives, until it gives nothing or an error.
    pub(super) fn start(
        mut next: impl FnMut() -> Option<Result<B>> + Send + 'static,
    ) -> Result<Self> {
        let (sender, batches) = sync_channel(AHEAD);
        let thread = std::thread::Builder::new()
            .name("batches".into())
            .spawn(move || {
                while let Some(batch) = next() {
                    let failed = batch.is_err();
                    // A closed channel: the stream was dropped.
                    if sender.send(batch).is_err() || failed {
                        return;
                    }
                }
            })
            .map_err(|error| Error::library("starting the thread that reads batches", error))?;
        Ok(Self {
            batches: Some(batches),
            thread: Some(thread),
        })
    }

    /// The next batch of a stream without end; waits for it if need be. After an error
    /// there are no more.
    pub fn read(&mut self) -> Result<B> {
        self.next().unwrap_or_else(|| {
            Err(Error::library(
                "reading batches",
                "the reading thread has ended",
            ))
        })
    }

    /// The next batch, if it is there within `patience`.
    pub fn wait(&mut self, patience: Duration) -> Waited<B> {
        match self
            .batches
            .as_ref()
            .map(|batches| batches.recv_timeout(patience))
        {
            Some(Ok(batch)) => Waited::Batch(batch),
            Some(Err(RecvTimeoutError::Timeout)) => Waited::NotYet,
            Some(Err(RecvTimeoutError::Disconnected)) | None => Waited::Over,
        }
    }
}

impl<B> Iterator for Stream<B> {
    type Item = Result<B>;

    /// The next batch; waits for it if need be.
    fn next(&mut self) -> Option<Result<B>> {
        self.batches.as_ref()?.recv().ok()
    }
}

/// What there was within some time.
#[derive(Debug)]
pub enum Waited<B> {
    /// A batch, or why there are no more.
    Batch(Result<B>),
    /// Nothing: ask again.
    NotYet,
    /// All batches were taken.
    Over,
}

impl<B> Drop for Stream<B> {
    fn drop(&mut self) {
        // Closing the channel wakes a thread that waits to send.
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed when it happened.
            let _ = thread.join();
        }
    }
}

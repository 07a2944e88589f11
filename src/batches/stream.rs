//! A thread around [`Reader`]: batches are read and masked ahead of the model, at
//! most [`AHEAD`] of them. One thread: it makes 50 to 90 million tokens a second
//! (`cargo bench --bench batches`), more than a model takes.

use super::corpus::Corpus;
use super::reader::{Order, Reader};
use super::{Batch, Position};
use crate::base::error::{Error, Result};
use crate::masking::Masker;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

/// Batches that wait for the model at most.
pub const AHEAD: usize = 4;

/// Batches without end. Dropping it ends its thread.
pub struct Stream {
    /// `None` only while it is dropped.
    batches: Option<Receiver<Result<Batch>>>,
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
        let (sender, batches) = sync_channel(AHEAD);
        let thread = std::thread::Builder::new()
            .name("batches".into())
            .spawn(move || {
                loop {
                    let batch = reader.read();
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

    /// The next batch; waits for it if need be. After an error there are no more.
    pub fn read(&mut self) -> Result<Batch> {
        self.batches
            .as_ref()
            .and_then(|batches| batches.recv().ok())
            .unwrap_or_else(|| {
                Err(Error::library(
                    "reading batches",
                    "the reading thread has ended",
                ))
            })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Closing the channel wakes a thread that waits to send.
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed when it happened.
            let _ = thread.join();
        }
    }
}

//! Work done ahead of who needs it, on a thread of its own. What is made waits in a queue
//! of fixed length, so memory does not grow when the other side is slow.

use std::io;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle};

/// What a thread makes, in order. When this is dropped, the thread ends at its next
/// piece.
pub struct Ahead<T> {
    made: Receiver<T>,
    thread: Option<JoinHandle<()>>,
}

/// Has a thread `make` pieces and hand each to the function it is given, which says
/// whether more are wanted. At most `depth` wait.
pub fn ahead<T: Send + 'static>(
    depth: usize,
    make: impl FnOnce(&mut dyn FnMut(T) -> bool) + Send + 'static,
) -> io::Result<Ahead<T>> {
    let (queue, made) = sync_channel(depth);
    let thread = Builder::new().spawn(move || make(&mut |piece| queue.send(piece).is_ok()))?;
    Ok(Ahead {
        made,
        thread: Some(thread),
    })
}

impl<T> Iterator for Ahead<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let piece = self.made.recv().ok();
        // The end of a thread that panicked is no end of what it makes.
        if piece.is_none()
            && let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
        {
            std::panic::resume_unwind(panic);
        }
        piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn pieces_come_in_order_and_no_more_than_fit_wait() {
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let numbers = ahead(3, move |hand_on| {
            for number in 0..1000 {
                count.fetch_add(1, Ordering::SeqCst);
                if !hand_on(number) {
                    break;
                }
            }
        })
        .unwrap();
        for (taken, number) in numbers.enumerate() {
            assert_eq!(number, taken);
            // The queue, one being handed on, and one being made.
            assert!(made.load(Ordering::SeqCst) <= taken + 6);
        }
        assert_eq!(made.load(Ordering::SeqCst), 1000);
    }

    #[test]
    fn a_thread_that_nobody_listens_to_ends() {
        let (ended, end) = std::sync::mpsc::channel();
        let numbers = ahead(1, move |hand_on| {
            while hand_on(0) {}
            ended.send(()).unwrap();
        })
        .unwrap();
        drop(numbers);
        end.recv().unwrap();
    }

    #[test]
    #[should_panic = "made by the thread"]
    fn a_panic_of_the_thread_is_no_end() {
        let mut pieces = ahead::<u8>(1, |_| panic!("made by the thread")).unwrap();
        pieces.next();
    }
}

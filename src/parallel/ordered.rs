//! A streaming map in order: inputs are drawn one by one, worked on by several
//! threads, and handed to the sink in input order. At most `2 · threads` results
//! wait, so memory does not grow with the input.

use crate::base::error::Result;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Runs every input of `inputs` through a worker and hands the results to `sink` in
/// input order. Each thread makes its own worker with `make_worker`.
///
/// The first error by input order ends the run and is returned, so a failure is the
/// same whatever the number of threads; results before it have gone to the sink.
pub fn ordered<A, T, W>(
    threads: usize,
    inputs: impl Iterator<Item = Result<A>> + Send,
    make_worker: impl Fn() -> W + Sync,
    mut sink: impl FnMut(T) -> Result<()>,
) -> Result<()>
where
    A: Send,
    T: Send,
    W: FnMut(A) -> Result<T>,
{
    if threads <= 1 {
        let mut worker = make_worker();
        for input in inputs {
            sink(worker(input?)?)?;
        }
        return Ok(());
    }
    let queue = Mutex::new(Queue {
        inputs,
        drawn: 0,
        exhausted: false,
    });
    let line = Line::new(2 * threads as u64);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // Dropped last, also when the worker panics: the sink is never left
                // waiting for a thread that is gone.
                let _leaving = Leaving(&line, threads);
                let mut worker = make_worker();
                while let Some((number, input)) = draw(&queue, &line) {
                    let result = input.and_then(&mut worker);
                    line.put(number, result);
                }
            });
        }
        let mut next = 0;
        while let Some(result) = line.take(next) {
            if let Err(error) = result.and_then(&mut sink) {
                line.stop();
                return Err(error);
            }
            next += 1;
        }
        Ok(())
    })
}

struct Queue<I> {
    inputs: I,
    drawn: u64,
    exhausted: bool,
}

/// Draws the next input with its number. Drawing is under the lock: reading is
/// sequential, working on what was read is not.
fn draw<A, T>(
    queue: &Mutex<Queue<impl Iterator<Item = Result<A>>>>,
    line: &Line<T>,
) -> Option<(u64, Result<A>)> {
    let mut queue = lock(queue);
    if queue.exhausted || !line.wait_for_room(queue.drawn) {
        return None;
    }
    match queue.inputs.next() {
        Some(input) => {
            let number = queue.drawn;
            queue.drawn += 1;
            // After a failed read nothing further is drawn.
            queue.exhausted = input.is_err();
            Some((number, input))
        }
        None => {
            queue.exhausted = true;
            None
        }
    }
}

/// Results that wait for their turn.
struct Line<T> {
    state: Mutex<Waiting<T>>,
    changed: Condvar,
    room: u64,
}

struct Waiting<T> {
    results: BTreeMap<u64, Result<T>>,
    next: u64,
    gone: usize,
    all_gone: bool,
    stopped: bool,
}

impl<T> Line<T> {
    fn new(room: u64) -> Self {
        Self {
            state: Mutex::new(Waiting {
                results: BTreeMap::new(),
                next: 0,
                gone: 0,
                all_gone: false,
                stopped: false,
            }),
            changed: Condvar::new(),
            room,
        }
    }

    fn wait_for_room(&self, number: u64) -> bool {
        let mut state = lock(&self.state);
        while !state.stopped && number >= state.next + self.room {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        !state.stopped
    }

    fn put(&self, number: u64, result: Result<T>) {
        lock(&self.state).results.insert(number, result);
        self.changed.notify_all();
    }

    fn take(&self, number: u64) -> Option<Result<T>> {
        let mut state = lock(&self.state);
        loop {
            if let Some(result) = state.results.remove(&number) {
                state.next = number + 1;
                self.changed.notify_all();
                return Some(result);
            }
            if state.all_gone {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn stop(&self) {
        lock(&self.state).stopped = true;
        self.changed.notify_all();
    }
}

struct Leaving<'a, T>(&'a Line<T>, usize);

impl<T> Drop for Leaving<'_, T> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.gone += 1;
        state.all_gone = state.gone == self.1;
        drop(state);
        self.0.changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Error;

    fn squares(threads: usize, fail_at: Option<u64>) -> (Vec<u64>, Option<String>) {
        let mut seen = Vec::new();
        let outcome = ordered(
            threads,
            (0..500u64).map(Ok),
            || {
                |n: u64| {
                    if Some(n) == fail_at || Some(n) == fail_at.map(|f| f + 3) {
                        return Err(Error::input(n.to_string(), "x", "y", "z"));
                    }
                    if n.is_multiple_of(7) {
                        std::thread::yield_now();
                    }
                    Ok(n * n)
                }
            },
            |square| {
                seen.push(square);
                Ok(())
            },
        );
        (seen, outcome.err().map(|e| e.to_string()))
    }

    #[test]
    fn results_come_in_input_order_on_any_number_of_threads() {
        let expected: Vec<u64> = (0..500).map(|n| n * n).collect();
        for threads in [1, 2, 8] {
            assert_eq!(squares(threads, None), (expected.clone(), None));
        }
    }

    #[test]
    fn the_first_error_by_input_order_wins() {
        for threads in [1, 2, 8] {
            let (seen, error) = squares(threads, Some(100));
            assert_eq!(seen.len(), 100, "{threads} threads");
            assert!(error.unwrap().starts_with("100:"));
        }
    }

    #[test]
    fn a_failing_sink_ends_the_run() {
        let mut taken = 0;
        let outcome = ordered(
            4,
            (0..1_000_000u64).map(Ok),
            || Ok,
            |_| {
                taken += 1;
                if taken == 10 {
                    return Err(Error::Interrupted);
                }
                Ok(())
            },
        );
        assert!(matches!(outcome, Err(Error::Interrupted)));
        assert_eq!(taken, 10);
    }
}

//! Layer 1, parallel work. The worker is written once; threads go around it here,
//! and results come out in the order of the inputs, whatever the threads do.
//! The only place that names rayon.

pub mod ahead;
pub mod allowance;
pub mod chunks;
pub mod ordered;

pub use allowance::Allowance;
pub use ordered::ordered;

use crate::base::error::{Error, Result};
use rayon::prelude::*;

/// The number of threads to use: `asked`, or all cores for 0.
pub fn threads(asked: u32) -> usize {
    match asked {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n as usize,
    }
}

/// Applies `work` to every input on `threads` threads; results in input order, the
/// first error by input order. All inputs and results are in memory.
pub fn map<A: Send, T: Send>(
    threads: usize,
    inputs: Vec<A>,
    work: impl Fn(A) -> Result<T> + Sync + Send,
) -> Result<Vec<T>> {
    if threads <= 1 {
        return inputs.into_iter().map(work).collect();
    }
    let results: Vec<Result<T>> = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| Error::library("starting threads", error))?
        .install(|| inputs.into_par_iter().map(work).collect());
    results.into_iter().collect()
}

/// Runs `first` and `second`, side by side where there are `threads` for it. The error of
/// `first` counts before that of `second`.
pub fn both<A: Send, B>(
    threads: usize,
    first: impl FnOnce() -> Result<A> + Send,
    second: impl FnOnce() -> Result<B>,
) -> Result<(A, B)> {
    if threads <= 1 {
        return Ok((first()?, second()?));
    }
    std::thread::scope(|scope| {
        let beside = scope.spawn(first);
        let second = second();
        let first = beside
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((first, second?))
    })
}

//! Parallel loops over pieces that the caller has cut. The pieces never depend on
//! the number of threads, so neither do sums of their results: one thread and eight
//! give the same bits. They run on the current thread pool.

use rayon::prelude::*;

/// Threads of the current pool.
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// Runs `work` on every piece.
pub fn each<P: Send>(pieces: Vec<P>, work: impl Fn(P) + Sync + Send) {
    pieces.into_par_iter().for_each(work);
}

/// Runs `work` on every piece, with scratch that `make` makes and pieces that follow on
/// the same thread use again.
pub fn each_with<P: Send, S>(
    pieces: Vec<P>,
    make: impl Fn() -> S + Sync + Send,
    work: impl Fn(&mut S, P) + Sync + Send,
) {
    pieces.into_par_iter().for_each_init(make, work);
}

/// Results of `work` on every piece, in the order of the pieces.
pub fn collect<P: Send, R: Send>(pieces: Vec<P>, work: impl Fn(P) -> R + Sync + Send) -> Vec<R> {
    pieces.into_par_iter().map(work).collect()
}

/// Runs `work` with a pool of `threads` threads as the current one.
pub fn with_threads<R: Send>(
    threads: usize,
    work: impl FnOnce() -> R + Send,
) -> crate::base::error::Result<R> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map(|pool| pool.install(work))
        .map_err(|error| crate::base::error::Error::library("starting threads", error))
}

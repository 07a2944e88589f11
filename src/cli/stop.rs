//! Ctrl-C and SIGTERM: the first asks the stage to end at a safe place, the second
//! ends the process; what was finished is kept either way.

use crate::base::error::{Error, Result};
use crate::progress::Progress;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Installs the handler, which tells `progress` what it does, and returns the flag that it
/// sets.
pub fn on_signal(progress: Progress) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
        progress.note(
            "stop",
            "at the next place to go on from; once more ends it at once",
        );
    })
    .map_err(|error| Error::library("installing the signal handler", error))?;
    Ok(stop)
}

//! The process's own memory, as Linux tells it.

use std::fs;

/// The highest resident memory since the last [`reset_peak`], in bytes; `None` where
/// the system does not tell.
pub fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes << 10)
}

/// Begins a new peak, so that stages in one process are told apart. Where the system
/// refuses, the peak stays that of the whole process.
pub fn reset_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

//! The one error type of the library. Every message names the place, what was
//! found there, what was expected, and the way out.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Result with this library's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What is wrong, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// File and place in it (byte, line, row), or the configuration key.
    pub place: String,
    /// What was found there.
    pub found: String,
    /// What was expected instead.
    pub expected: String,
    /// What the user can do.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: found {}, expected {}; {}",
            self.place, self.found, self.expected, self.remedy
        )
    }
}

/// Anything that can go wrong in a stage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done: "read", "write", "rename".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's own words.
        source: io::Error,
    },
    /// Wrong use: an unknown key, a value out of range, options that contradict.
    #[error("{0}")]
    Usage(Box<Finding>),
    /// Input that cannot be used: no input, a broken tokenizer, too many rejects.
    #[error("{0}")]
    Input(Box<Finding>),
    /// A file or folder that is not there.
    #[error("{0}")]
    Missing(Box<Finding>),
    /// An artefact whose bytes are not what was written.
    #[error("{0}")]
    Corrupt(Box<Finding>),
    /// Artefacts that do not belong together.
    #[error("{0}")]
    Mismatch(Box<Finding>),
    /// Memory, disk or another resource does not suffice.
    #[error("{0}")]
    Resource(Box<Finding>),
    /// Training left the finite numbers.
    #[error("{0}")]
    Diverged(Box<Finding>),
    /// A library beneath failed in a way that no input explains.
    #[error("{what}: {source}")]
    Library {
        /// What was being done.
        what: String,
        /// The library's own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Stopped by a signal or by the caller; what was done is kept.
    #[error("interrupted; run the same command again to go on from here")]
    Interrupted,
}

impl Error {
    /// An operating-system error; a full disk says what to do about it.
    pub fn io(action: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        let path = path.as_ref().to_owned();
        if source.kind() == io::ErrorKind::StorageFull {
            return Self::Resource(Box::new(Finding {
                place: path.display().to_string(),
                found: "no space left on the disk".into(),
                expected: format!("room to {action} it"),
                remedy: "free some space or put --output and --scratch on another disk, then run \
                         the same command again: finished files are kept"
                    .into(),
            }));
        }
        Self::Io {
            action,
            path,
            source,
        }
    }

    /// Wrong use (exit code 2).
    pub fn usage(
        place: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Usage(finding(place, found, expected, remedy))
    }

    /// Unusable input.
    pub fn input(
        place: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Input(finding(place, found, expected, remedy))
    }

    /// Something that is not there.
    pub fn missing(
        place: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Missing(finding(place, found, expected, remedy))
    }

    /// A damaged artefact.
    pub fn corrupt(
        place: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Corrupt(finding(place, found, expected, remedy))
    }

    /// Artefacts that do not fit each other.
    pub fn mismatch(
        place: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Mismatch(finding(place, found, expected, remedy))
    }

    /// Too little memory or disk.
    pub fn resource(
        place: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Resource(finding(place, found, expected, remedy))
    }

    /// A loss that is not finite.
    pub fn diverged(
        place: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Diverged(finding(place, found, expected, remedy))
    }

    /// A failure inside a library.
    pub fn library(
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Library {
            what: what.into(),
            source: source.into(),
        }
    }

    /// The process exit code: 2 for wrong use, 1 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            _ => 1,
        }
    }
}

fn finding(
    place: impl Into<String>,
    found: impl Into<String>,
    expected: impl Into<String>,
    remedy: impl Into<String>,
) -> Box<Finding> {
    Box::new(Finding {
        place: place.into(),
        found: found.into(),
        expected: expected.into(),
        remedy: remedy.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_place_found_expected_and_remedy() {
        let error = Error::usage("masking.corruption_rate", "1.4", "0 to 1", "lower it");
        assert_eq!(
            error.to_string(),
            "masking.corruption_rate: found 1.4, expected 0 to 1; lower it"
        );
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_full_disk_is_told_apart() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = Error::io("write", "/scratch/x", full);
        assert!(matches!(error, Error::Resource(_)), "{error}");
        assert_eq!(error.exit_code(), 1);
    }
}

//! What a store answered, in our words: the URL, how often it was tried, the status, and
//! which settings to look at.

use crate::base::error::Error;
use object_store::Error as StoreError;
use std::path::Path;

/// Longest answer that is shown.
const SHOWN: usize = 400;

/// An error of the store about `url`.
pub(super) fn fault(action: &'static str, url: &Path, error: &StoreError) -> Error {
    let place = url.display().to_string();
    let said = said(error);
    if names_no_bucket(&said) {
        return Error::input(
            place,
            format!("no such bucket ({said})"),
            format!("a bucket to {action} in"),
            "check the bucket's name, the region and the endpoint (AWS_REGION, AWS_ENDPOINT_URL)",
        );
    }
    match error {
        StoreError::NotFound { .. } => Error::input(
            place,
            "nothing there (404)",
            format!("an object to {action}"),
            "check the URL",
        ),
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => Error::input(
            place,
            format!("access denied ({said})"),
            format!("credentials that may {action} it"),
            credentials(url),
        ),
        StoreError::NotSupported { .. } => Error::input(
            place,
            said,
            "a server that answers ranged reads",
            "download the file, or serve it by another server",
        ),
        _ => Error::resource(
            place,
            format!("a store that fails to {action} it: {said}"),
            "an answer",
            format!(
                "run the same command again, finished files are kept; else {}",
                credentials(url)
            ),
        ),
    }
}

/// Whether what was not found is the bucket itself.
pub(super) fn no_bucket(error: &StoreError) -> bool {
    names_no_bucket(&said(error))
}

fn names_no_bucket(said: &str) -> bool {
    said.contains("NoSuchBucket") || said.contains("ContainerNotFound")
}

/// The error and its causes in one line.
fn said(error: &StoreError) -> String {
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !said.contains(&text) {
            said += ": ";
            said += &text;
        }
        cause = inner.source();
    }
    let mut said: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
    if said.len() > SHOWN {
        let end = (0..=SHOWN).rev().find(|&at| said.is_char_boundary(at));
        said.truncate(end.unwrap_or(0));
        said.push('…');
    }
    said
}

/// Where a store looks for credentials.
fn credentials(url: &Path) -> &'static str {
    match super::scheme(url) {
        Some("gs") => "check GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT",
        Some("az" | "abfss") => {
            "check AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or \
             AZURE_STORAGE_SAS_KEY"
        }
        Some("http" | "https") => "check the URL and whether it needs a log-in",
        _ => {
            "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION and \
             AWS_ENDPOINT_URL; AWS_SKIP_SIGNATURE=true reads public buckets"
        }
    }
}

//! Object stores: `s3://`, `gs://`, `az://` and `http(s)://`. The only place that names
//! object_store, its TLS and its asynchronous runtime: two threads, started with the
//! first URL. What is handed out is bytes and our own errors.
//!
//! Every request is tried again on errors of the server and of the connection, with
//! growing pauses, for a minute; what is missing or forbidden is an error at once. Reads
//! are ranges of 4 MiB, several ahead of who reads; uploads are multipart, and an object
//! appears when its last part is there, so that a reader sees all of it or nothing.

mod fault;
mod stream;
mod upload;

pub use stream::Stream;
pub use upload::upload;

use crate::base::error::{Error, Result};
use crate::base::fingerprint;
use bytes::Bytes;
use fault::fault;
use futures_util::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path as Key;
use object_store::{
    Attribute, BackoffConfig, ClientOptions, GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt,
    RetryConfig,
};
use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Bytes of a ranged read.
pub const PART: u64 = 4 << 20;

/// A request is tried this often again, and no longer than this.
const RETRIES: usize = 8;
const RETRY_FOR: Duration = Duration::from_secs(60);

/// One request may take this long: 4 MiB at 70 kB/s.
const REQUEST: Duration = Duration::from_secs(60);

/// The name of our hash among an object's metadata.
const HASH: &str = "cloze-hash";

const SCHEMES: [&str; 7] = ["s3", "s3a", "gs", "az", "abfss", "http", "https"];

/// Whether `path` is a URL of an object store.
pub fn is_remote(path: &Path) -> bool {
    scheme(path).is_some()
}

fn scheme(path: &Path) -> Option<&str> {
    let (scheme, _) = path.to_str()?.split_once("://")?;
    SCHEMES.contains(&scheme).then_some(scheme)
}

/// What a store says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its URL.
    pub url: PathBuf,
    /// Length in bytes.
    pub bytes: u64,
    /// Changes with its content: a tag, or the time of its last change.
    pub version: String,
    /// The hash that was written with it, if cloze did.
    pub hash: Option<String>,
}

/// A place in an object store: an object, or what several begin with.
#[derive(Clone)]
pub struct Remote {
    url: PathBuf,
    /// `scheme://authority`.
    root: String,
    key: Key,
    store: Arc<dyn ObjectStore>,
}

/// The runtime that every request runs on.
fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    let started = RUNTIME.get_or_init(|| {
        // Another part of the process may have chosen a provider: then that one serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("cloze-store")
            .enable_all()
            .build()
    });
    match started {
        Ok(runtime) => Ok(runtime),
        Err(error) => Err(Error::library(
            "starting threads for object stores",
            error.to_string(),
        )),
    }
}

impl Remote {
    /// The place that the URL `path` names. Reads the environment for credentials, once
    /// for each bucket.
    pub fn new(path: &Path) -> Result<Self> {
        let unusable = |found: String| {
            Error::usage(
                path.display().to_string(),
                found,
                "a URL such as s3://bucket/folder/file, gs://…, az://… or https://…",
                "correct the URL",
            )
        };
        let text = path.to_str().unwrap_or_default();
        let (scheme, rest) = text
            .split_once("://")
            .filter(|_| is_remote(path))
            .ok_or_else(|| unusable("no URL".into()))?;
        let (authority, key) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.is_empty() {
            return Err(unusable("a URL without a bucket or host".into()));
        }
        let key = match scheme {
            "http" | "https" => Key::from_url_path(key),
            _ => Key::parse(key.trim_end_matches('/')).or_else(|_| Ok(Key::from(key))),
        };
        let root = format!("{scheme}://{authority}");
        Ok(Self {
            url: path.to_owned(),
            key: key.map_err(|error: object_store::path::Error| unusable(error.to_string()))?,
            store: store(&root, scheme)?,
            root,
        })
    }

    fn wait<T>(
        &self,
        action: &'static str,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T> {
        runtime()?
            .block_on(request)
            .map_err(|error| fault(action, &self.url, &error))
    }

    /// The object at this place; `None` where there is none.
    pub fn object(&self) -> Result<Option<Object>> {
        let head = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        let found = runtime()?.block_on(self.store.get_opts(&self.key, head));
        let found = match found {
            Ok(found) => found,
            Err(error @ object_store::Error::NotFound { .. }) if !fault::no_bucket(&error) => {
                return Ok(None);
            }
            Err(error) => return Err(fault("read", &self.url, &error)),
        };
        let name = Attribute::Metadata(HASH.into());
        Ok(Some(Object {
            url: self.url.clone(),
            bytes: found.meta.size,
            version: version(&found.meta),
            hash: found.attributes.get(&name).map(|hash| hash.to_string()),
        }))
    }

    /// All of the object's bytes.
    pub fn read(&self) -> Result<Bytes> {
        self.wait("read", async {
            self.store.get(&self.key).await?.bytes().await
        })
    }

    /// The bytes `offset .. offset + length`.
    pub fn range(&self, offset: u64, length: u64) -> Result<Bytes> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        self.wait(
            "read",
            self.store.get_range(&self.key, offset..offset + length),
        )
    }

    /// Several ranges, side by side.
    pub fn ranges(&self, ranges: &[std::ops::Range<u64>]) -> Result<Vec<Bytes>> {
        self.wait("read", self.store.get_ranges(&self.key, ranges))
    }

    /// Every object below this place, by URL.
    pub fn list(&self) -> Result<Vec<Object>> {
        if self.is_web() {
            return Err(Error::usage(
                self.url.display().to_string(),
                "a folder of a web server",
                "a file: web servers do not say what is in a folder",
                "name every file",
            ));
        }
        let found = self.store.list(self.prefix()).try_collect();
        Ok(self.objects(self.wait("list", found)?))
    }

    /// Whether it is a web server, which says what a file is and not what a folder has.
    pub fn is_web(&self) -> bool {
        self.root.starts_with("http")
    }

    /// Refuses to change what a web server has.
    fn check_writable(&self) -> Result<()> {
        match self.is_web() {
            false => Ok(()),
            true => Err(Error::usage(
                self.url.display().to_string(),
                "a web server",
                "a folder, or s3://, gs:// or az://",
                "write elsewhere: web servers are read only",
            )),
        }
    }

    /// The objects right in this folder; of a web server's, the manifest of a whole
    /// artefact.
    pub fn folder(&self) -> Result<Vec<Object>> {
        if self.is_web() {
            let manifest = Self::new(&self.url.join("manifest.json"))?;
            return Ok(manifest.object()?.into_iter().collect());
        }
        let found = self.store.list_with_delimiter(self.prefix());
        Ok(self.objects(self.wait("list", found)?.objects))
    }

    /// Whether this is a folder: something lies in it.
    pub fn is_folder(&self) -> Result<bool> {
        if self.is_web() {
            return Ok(!self.folder()?.is_empty());
        }
        let found = self.wait("list", self.store.list_with_delimiter(self.prefix()))?;
        Ok(!found.objects.is_empty() || !found.common_prefixes.is_empty())
    }

    fn prefix(&self) -> Option<&Key> {
        (!self.key.as_ref().is_empty()).then_some(&self.key)
    }

    fn objects(&self, found: Vec<ObjectMeta>) -> Vec<Object> {
        let mut objects: Vec<Object> = found
            .into_iter()
            .map(|meta| Object {
                url: format!("{}/{}", self.root, meta.location).into(),
                bytes: meta.size,
                version: version(&meta),
                hash: None,
            })
            .collect();
        objects.sort_by(|a, b| a.url.cmp(&b.url));
        objects
    }

    /// Removes the object; one that is not there is removed already.
    pub fn remove(&self) -> Result<()> {
        self.check_writable()?;
        match runtime()?.block_on(self.store.delete(&self.key)) {
            Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(fault("remove", &self.url, &error)),
        }
    }

    /// Fingerprint of the object's bytes: as it was written with it, or read.
    pub fn hash(&self, object: &Object) -> Result<String> {
        if let Some(hash) = &object.hash {
            return Ok(hash.clone());
        }
        let mut hasher = fingerprint::Hasher::new();
        let mut stream = Stream::new(self.clone(), object.bytes);
        while let Some(bytes) = stream.next_part()? {
            hasher.update(&bytes);
        }
        Ok(hasher.digest())
    }
}

/// What changes with an object's content.
fn version(meta: &ObjectMeta) -> String {
    match &meta.e_tag {
        Some(tag) => tag.clone(),
        None => meta.last_modified.to_rfc3339(),
    }
}

/// The store of a bucket or host; connections are kept.
fn store(root: &str, scheme: &str) -> Result<Arc<dyn ObjectStore>> {
    static STORES: Mutex<Option<HashMap<String, Arc<dyn ObjectStore>>>> = Mutex::new(None);
    runtime()?;
    let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
    let stores = stores.get_or_insert_default();
    if let Some(store) = stores.get(root) {
        return Ok(store.clone());
    }
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
        max_retries: RETRIES,
        retry_timeout: RETRY_FOR,
    };
    let client = ClientOptions::new()
        .with_timeout(REQUEST)
        .with_connect_timeout(Duration::from_secs(5));
    let built = match scheme {
        "s3" | "s3a" => {
            // A server on this machine or network that speaks no TLS is named as such.
            let plain = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]
                .iter()
                .find_map(|name| std::env::var(name).ok());
            let mut s3 = AmazonS3Builder::from_env()
                .with_url(root)
                .with_retry(retry)
                .with_client_options(client);
            if let Some(endpoint) = plain {
                let allow = endpoint.starts_with("http://");
                s3 = s3.with_endpoint(endpoint).with_allow_http(allow);
            }
            s3.build().map(|s3| Arc::new(s3) as Arc<dyn ObjectStore>)
        }
        "gs" => GoogleCloudStorageBuilder::from_env()
            .with_url(root)
            .with_retry(retry)
            .with_client_options(client)
            .build()
            .map(|gs| Arc::new(gs) as Arc<dyn ObjectStore>),
        "az" | "abfss" => MicrosoftAzureBuilder::from_env()
            .with_url(root)
            .with_retry(retry)
            .with_client_options(client)
            .build()
            .map(|az| Arc::new(az) as Arc<dyn ObjectStore>),
        _ => HttpBuilder::new()
            .with_url(root)
            .with_retry(retry)
            .with_client_options(client.with_allow_http(scheme == "http"))
            .build()
            .map(|web| Arc::new(web) as Arc<dyn ObjectStore>),
    };
    let store = built.map_err(|error| fault("open", Path::new(root), &error))?;
    stores.insert(root.to_owned(), store.clone());
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_stores_are_told_from_paths() {
        for url in [
            "s3://b/k",
            "gs://b",
            "az://c/x",
            "http://h/f",
            "https://h/f",
        ] {
            assert!(is_remote(Path::new(url)), "{url}");
        }
        for path in ["s3", "/s3:/x", "c:/x", "ftp://h/x", "a/b.txt"] {
            assert!(!is_remote(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn a_url_without_a_bucket_is_wrong_use() {
        let error = Remote::new(Path::new("s3:///key")).err().unwrap();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("s3:///key"), "{error}");
    }
}

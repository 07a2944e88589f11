//! A finished local file to an object: in one request, or in parts side by side. The
//! object carries the file's hash, so that a run that goes on need not read it back.
//! Memory: four parts of 8 MiB, larger only beyond 72 GB, since a store takes 10 000.

use super::{HASH, Remote, runtime};
use crate::base::error::{Error, Result};
use bytes::Bytes;
use object_store::{
    Attribute, Attributes, PutMultipartOptions, PutOptions, PutPayload, WriteMultipart,
};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const PART: u64 = 8 << 20;
const PARTS: u64 = 9000;

/// Parts on their way at once.
const AT_ONCE: usize = 4;

/// Puts the bytes of `file` at the URL `path`.
pub fn upload(file: &Path, path: &Path, hash: &str) -> Result<()> {
    let remote = Remote::new(path)?;
    remote.check_writable()?;
    let read = |error| Error::io("read", file, error);
    let source = File::open(file).map_err(read)?;
    let length = source.metadata().map_err(read)?.len();
    let mut attributes = Attributes::new();
    attributes.insert(Attribute::Metadata(HASH.into()), hash.to_owned().into());
    let part = |offset: u64, size: u64| -> Result<Bytes> {
        let mut bytes = vec![0; size.min(length - offset) as usize];
        source.read_exact_at(&mut bytes, offset).map_err(read)?;
        Ok(bytes.into())
    };
    if length <= PART {
        let options = PutOptions {
            attributes,
            ..PutOptions::default()
        };
        let payload = PutPayload::from_bytes(part(0, length)?);
        let request = remote.store.put_opts(&remote.key, payload, options);
        return remote.wait("write", request).map(drop);
    }
    let size = PART.max(length.div_ceil(PARTS));
    let options = PutMultipartOptions {
        attributes,
        ..PutMultipartOptions::default()
    };
    let begin = remote.store.put_multipart_opts(&remote.key, options);
    let mut writer =
        WriteMultipart::new_with_chunk_size(remote.wait("write", begin)?, size as usize);
    let mut offset = 0;
    let mut sent = Ok(());
    while offset < length && sent.is_ok() {
        sent = part(offset, size).and_then(|bytes| {
            offset += bytes.len() as u64;
            remote.wait("write", async {
                writer.wait_for_capacity(AT_ONCE).await?;
                writer.put(bytes);
                Ok(())
            })
        });
    }
    match sent {
        Ok(()) => remote.wait("write", writer.finish()).map(drop),
        Err(error) => {
            // What was sent counts for nothing, and a store drops it by its own rules if
            // it cannot be told.
            let _ = runtime()?.block_on(writer.abort());
            Err(error)
        }
    }
}

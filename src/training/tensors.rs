//! safetensors files: written as a stream, whole or not at all, and read with their
//! hash checked. All tensors of ours are 32-bit floats; those of others may be 16-bit.

use crate::base::error::{Error, Result};
use crate::base::fingerprint;
use crate::storage::atomic::{AtomicFile, Written};
use half::{bf16, f16};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

/// A tensor on its way to a file.
pub struct Tensor<'a> {
    /// Name in the file.
    pub name: String,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Numbers, row-major.
    pub values: Cow<'a, [f32]>,
}

/// Writes `tensors` to `path`, with the metadata that Hugging Face's loaders ask for.
pub fn write(path: &Path, tensors: &[Tensor<'_>]) -> Result<Written> {
    let broken = |error| Error::library(format!("header of {}", path.display()), error);
    let mut end = 0;
    let header = tensors.iter().map(|tensor| {
        let start = end;
        end += 4 * tensor.values.len();
        let description = TensorInfo {
            dtype: Dtype::F32,
            shape: tensor.shape.clone(),
            data_offsets: (start, end),
        };
        (tensor.name.clone(), description)
    });
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let header = Metadata::new(Some(format), header.collect()).map_err(broken)?;
    let mut header = serde_json::to_vec(&header)
        .map_err(|error| Error::library(format!("header of {}", path.display()), error))?;
    // Padded so that the numbers are aligned.
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = AtomicFile::create(path)?;
    file.append(&(header.len() as u64).to_le_bytes())?;
    file.append(&header)?;
    for tensor in tensors {
        for values in tensor.values.chunks(1 << 16) {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            file.append(&bytes)?;
        }
    }
    file.finish()
}

/// Reads `path`, refuses it unless its bytes are those of `written`, and hands each
/// tensor's name and numbers to `take`.
pub fn read(
    path: &Path,
    written: &Written,
    mut take: impl FnMut(&str, Vec<f32>) -> Result<()>,
) -> Result<()> {
    let bytes = read_whole(path, written)?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| damaged(path, error.to_string(), "a safetensors file".into()))?;
    for (name, view) in file.tensors() {
        let values = view.data().as_chunks::<4>().0.iter();
        take(&name, values.map(|&b| f32::from_le_bytes(b)).collect())?;
    }
    Ok(())
}

/// Reads the file of floats at `path`, whoever wrote it, and hands each tensor to
/// `take`, widened to 32 bits.
pub fn read_any(path: &Path, mut take: impl FnMut(Tensor<'_>) -> Result<()>) -> Result<()> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let broken = |found: String| {
        Error::input(
            path.display().to_string(),
            found,
            "a safetensors file of floats",
            "save the model again with transformers",
        )
    };
    let file = SafeTensors::deserialize(&bytes).map_err(|error| broken(error.to_string()))?;
    for (name, view) in file.tensors() {
        let bytes = view.data();
        let values: Vec<f32> = match view.dtype() {
            Dtype::F32 => {
                let numbers = bytes.as_chunks::<4>().0.iter();
                numbers.map(|&b| f32::from_le_bytes(b)).collect()
            }
            Dtype::F16 => {
                let numbers = bytes.as_chunks::<2>().0.iter();
                numbers.map(|&b| f16::from_le_bytes(b).to_f32()).collect()
            }
            Dtype::BF16 => {
                let numbers = bytes.as_chunks::<2>().0.iter();
                numbers.map(|&b| bf16::from_le_bytes(b).to_f32()).collect()
            }
            // Buffers such as position_ids.
            Dtype::I64 => continue,
            other => return Err(broken(format!("{name} of type {other:?}"))),
        };
        take(Tensor {
            name,
            shape: view.shape().to_vec(),
            values: values.into(),
        })?;
    }
    Ok(())
}

/// The bytes of `path`, refused unless they are those of `written`.
pub fn read_whole(path: &Path, written: &Written) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let hash = fingerprint::of_bytes(&bytes);
    if hash != written.hash || bytes.len() as u64 != written.bytes {
        return Err(damaged(
            path,
            format!("{} bytes with hash {hash}", bytes.len()),
            format!("{} bytes with hash {}", written.bytes, written.hash),
        ));
    }
    Ok(bytes)
}

/// The error for a checkpoint that cannot be read.
pub fn damaged(path: &Path, found: String, expected: String) -> Error {
    let folder = path.parent().unwrap_or(path);
    Error::corrupt(
        path.display().to_string(),
        found,
        expected,
        format!(
            "remove {} to resume from the checkpoint before it, or all checkpoints to begin anew",
            folder.display()
        ),
    )
}

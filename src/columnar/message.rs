//! Record batches as the messages of an Arrow IPC file: encoded, compressed and hashed
//! on any thread, then put one behind the other. Both of our IPC files are written
//! through it. Memory: one record batch, compressed.

use crate::base::error::{Error, Result};
use crate::base::fingerprint;
use crate::columnar::footer::KEY;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::convert::{IpcSchemaEncoder, metadata_to_fb};
use arrow_ipc::writer::{
    DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions, write_message,
};
use arrow_ipc::{Block, CompressionType, FooterBuilder, MetadataVersion};
use arrow_schema::{ArrowError, Metadata, Schema};
use std::io::Write;
use std::sync::Arc;

/// What an Arrow IPC file begins and ends with.
pub(super) const MAGIC: &[u8; 6] = b"ARROW1";

/// The magic at the beginning is filled up to the alignment of messages.
const HEAD: usize = 64;

/// Says that no message follows.
pub(super) const END: [u8; 8] = [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];

/// Makes messages of record batches; keeps its compressor.
pub(super) struct Encoder {
    schema: Arc<Schema>,
    options: IpcWriteOptions,
    context: IpcWriteContext,
    place: String,
}

/// An encoded record batch.
#[derive(Debug)]
pub(super) struct Message {
    bytes: Vec<u8>,
    /// Bytes of it before the buffers.
    header: i32,
    /// xxh3-64 of all bytes.
    pub(super) hash: u64,
}

impl Message {
    /// Number of bytes.
    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }
}

impl Encoder {
    /// Of batches with `schema`, every buffer compressed by zstd at `level`; `place`
    /// names the file in messages to the user.
    pub(super) fn new(schema: Arc<Schema>, level: i32, place: &str) -> Result<Self> {
        Ok(Self {
            schema,
            options: options(level).map_err(|error| written(place, error))?,
            context: IpcWriteContext::default(),
            place: place.to_owned(),
        })
    }

    /// The schema of its batches.
    pub(super) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// One record batch, as a message.
    pub(super) fn encode(&mut self, columns: Vec<ArrayRef>) -> Result<Message> {
        self.try_encode(columns)
            .map_err(|error| written(&self.place, error))
    }

    fn try_encode(&mut self, columns: Vec<ArrayRef>) -> Result<Message, ArrowError> {
        let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
        let mut no_dictionaries = DictionaryTracker::new(true);
        let (_, encoded) = IpcDataGenerator::default().encode(
            &batch,
            &mut no_dictionaries,
            &self.options,
            &mut self.context,
        )?;
        let mut bytes =
            Vec::with_capacity(encoded.ipc_message.len() + encoded.arrow_data.len() + 2 * HEAD);
        let (header, _) = write_message(&mut bytes, encoded, &self.options)?;
        Ok(Message {
            hash: fingerprint::of_batch(&bytes),
            header: header as i32,
            bytes,
        })
    }
}

/// An Arrow IPC file being written.
pub(super) struct MessageFile<W> {
    out: W,
    at: u64,
    schema: Arc<Schema>,
    blocks: Vec<Block>,
    place: String,
}

impl<W: Write> MessageFile<W> {
    /// Begins a file on `out`; `place` names it in messages to the user.
    pub(super) fn new(out: W, schema: Arc<Schema>, place: &str) -> Result<Self> {
        let mut file = Self {
            out,
            at: 0,
            schema,
            blocks: Vec::new(),
            place: place.to_owned(),
        };
        let mut head = [0; HEAD];
        head[..MAGIC.len()].copy_from_slice(MAGIC);
        let mut bytes = head.to_vec();
        // Neither level nor compression is in the schema's message.
        let options = IpcWriteOptions::default();
        let schema = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
            &file.schema,
            &mut DictionaryTracker::new(true),
            &options,
        );
        write_message(&mut bytes, schema, &options).map_err(|error| written(place, error))?;
        file.write(&bytes)?;
        Ok(file)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out
            .write_all(bytes)
            .map_err(|error| Error::io("write", &self.place, error))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Puts `message` behind what is there; its offset.
    pub(super) fn append(&mut self, message: &Message) -> Result<u64> {
        let offset = self.at;
        let body = message.bytes.len() as i64 - i64::from(message.header);
        self.blocks
            .push(Block::new(offset as i64, message.header, body));
        self.write(&message.bytes)?;
        Ok(offset)
    }

    /// Writes the footer with `json` under our key, and hands the sink back.
    pub(super) fn finish(mut self, json: String) -> Result<W> {
        // Arrow's own builder, so that no version of flatbuffers is named here.
        let mut builder = IpcSchemaEncoder::new().schema_to_fb(&self.schema);
        builder.reset();
        let dictionaries = builder.create_vector::<Block>(&[]);
        let blocks = builder.create_vector(&self.blocks);
        let schema = IpcSchemaEncoder::new().schema_to_fb_offset(&mut builder, &self.schema);
        let mut metadata = Metadata::default();
        metadata.insert(KEY, json);
        let metadata = metadata_to_fb(&mut builder, &metadata);
        let mut footer = FooterBuilder::new(&mut builder);
        footer.add_version(MetadataVersion::V5);
        footer.add_schema(schema);
        footer.add_dictionaries(dictionaries);
        footer.add_recordBatches(blocks);
        footer.add_custom_metadata(metadata);
        let root = footer.finish();
        builder.finish(root, None);
        let footer = builder.finished_data();
        let mut bytes = END.to_vec();
        bytes.extend_from_slice(footer);
        bytes.extend_from_slice(&(footer.len() as i32).to_le_bytes());
        bytes.extend_from_slice(MAGIC);
        self.write(&bytes)?;
        self.out
            .flush()
            .map_err(|error| Error::io("write", &self.place, error))?;
        Ok(self.out)
    }
}

fn options(level: i32) -> Result<IpcWriteOptions, ArrowError> {
    IpcWriteOptions::default()
        .try_with_compression(Some(CompressionType::ZSTD))
        .and_then(|options| options.try_with_compression_level(Some(level)))
}

/// A failure while `place` is written.
fn written(place: &str, error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, source) => Error::io("write", place, source),
        other => Error::library(format!("writing {place}"), other),
    }
}

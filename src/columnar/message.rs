//! Record batches as the messages of an Arrow IPC file: encoded, compressed and hashed
//! on any thread, then put one behind the other. Both of our IPC files are written
//! through it. Memory: one record batch, compressed, twice.

use crate::base::boundaries::Boundaries;
use crate::base::error::{Error, Result};
use crate::base::fingerprint;
use crate::columnar::footer::KEY;
use arrow_buffer::{ArrowNativeType, ToByteSlice};
use arrow_ipc::convert::{IpcSchemaEncoder, metadata_to_fb};
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, write_message};
use arrow_ipc::{
    Block, BodyCompressionBuilder, Buffer, CompressionType, FieldNode, FooterBuilder,
    MessageBuilder, MessageHeader, MetadataVersion, RecordBatchBuilder,
};
use arrow_schema::{ArrowError, Metadata, Schema};
use std::io::{self, Cursor, Write};
use std::sync::Arc;
use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, compress_bound};

/// What an Arrow IPC file begins and ends with.
pub(super) const MAGIC: &[u8; 6] = b"ARROW1";

/// The magic at the beginning is filled up to the alignment of messages.
const HEAD: usize = ALIGNMENT;

/// Of messages, their bodies and the buffers in these, as Arrow recommends.
const ALIGNMENT: usize = 64;

/// A message begins with these, and the length of its metadata.
const CONTINUATION: [u8; 4] = [0xFF; 4];

/// Bytes before the metadata.
const PREFIX: usize = 8;

/// In place of the length of a buffer: it is not compressed.
const RAW: i64 = -1;

/// Says that no message follows.
pub(super) const END: [u8; 8] = [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];

/// Makes messages of record batches; keeps its compressor and its buffer.
pub(super) struct Encoder {
    compressor: Compressor<'static>,
    /// The message's body.
    body: Vec<u8>,
    place: String,
}

/// A column of a record batch. It has no nulls.
#[derive(Clone, Copy)]
pub(super) enum Column<'a> {
    /// One value a row.
    Values(Values<'a>),
    /// A list a row, of the values between its offset and the next one.
    Lists(&'a [i32], Values<'a>),
}

/// Values as Arrow has them: low byte first, or packed bits.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    /// Number of values.
    pub(super) len: usize,
    /// Their bytes.
    pub(super) bytes: &'a [u8],
    /// The shortest match that zstd looks for, in bytes; without it, what goes with its level.
    pub(super) min_match: Option<u32>,
}

impl<'a> Values<'a> {
    /// Of numbers.
    pub(super) fn of<T: ArrowNativeType>(numbers: &'a [T]) -> Self {
        Self {
            len: numbers.len(),
            bytes: numbers.to_byte_slice(),
            min_match: None,
        }
    }

    /// Of bits.
    pub(super) fn of_bits(plane: &'a Boundaries) -> Self {
        Self {
            len: plane.as_slice().len(),
            bytes: plane.as_bytes(),
            min_match: None,
        }
    }
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
    /// Every buffer is compressed by zstd at `level`; `place` names the file in messages to
    /// the user.
    pub(super) fn new(level: i32, place: &str) -> Result<Self> {
        Ok(Self {
            compressor: Compressor::new(level).map_err(|error| packed(place, error))?,
            body: Vec::new(),
            place: place.to_owned(),
        })
    }

    /// One record batch of so many `rows`, as a message. `columns` are those of the file's
    /// schema, in order.
    ///
    /// Written here and not by arrow-ipc, which lets nobody but itself say how zstd is to
    /// look for matches and copies a body twice.
    pub(super) fn encode(&mut self, rows: usize, columns: &[Column<'_>]) -> Result<Message> {
        self.body.clear();
        let mut nodes = Vec::with_capacity(2 * columns.len());
        let mut buffers = Vec::with_capacity(4 * columns.len());
        let mut node = |len: usize| nodes.push(FieldNode::new(len as i64, 0));
        for column in columns {
            node(rows);
            if let Column::Lists(_, values) = column {
                node(values.len);
            }
            let (offsets, values) = match column {
                Column::Values(values) => (None, values),
                Column::Lists(offsets, values) => (Some(Values::of(offsets)), values),
            };
            for values in offsets.iter().chain([values]) {
                // Before each: which values are null.
                buffers.push(Buffer::new(self.body.len() as i64, 0));
                buffers.push(self.buffer(values)?);
            }
        }
        let mut bytes = header(rows, &nodes, &buffers, self.body.len());
        let header = bytes.len() as i32;
        bytes.reserve_exact(self.body.len());
        bytes.extend_from_slice(&self.body);
        Ok(Message {
            hash: fingerprint::of_batch(&bytes),
            header,
            bytes,
        })
    }

    /// Appends a buffer to the body: its length and a zstd frame, or [`RAW`] and itself
    /// where that is no longer. One without bytes is nothing.
    fn buffer(&mut self, values: &Values<'_>) -> Result<Buffer> {
        let start = self.body.len();
        let bytes = values.bytes;
        if bytes.is_empty() {
            return Ok(Buffer::new(start as i64, 0));
        }
        let min_match = CParameter::MinMatch(values.min_match.unwrap_or(0));
        let set = self.compressor.set_parameter(min_match);
        set.map_err(|error| packed(&self.place, error))?;
        self.body
            .extend_from_slice(&(bytes.len() as i64).to_le_bytes());
        let frame = self.body.len();
        self.body.reserve(compress_bound(bytes.len()) + ALIGNMENT);
        let mut behind = Cursor::new(&mut self.body);
        behind.set_position(frame as u64);
        let length = self
            .compressor
            .compress_to_buffer(bytes, &mut behind)
            .map_err(|error| packed(&self.place, error))?;
        if length >= bytes.len() {
            self.body.truncate(start);
            self.body.extend_from_slice(&RAW.to_le_bytes());
            self.body.extend_from_slice(bytes);
        }
        let buffer = Buffer::new(start as i64, (self.body.len() - start) as i64);
        let end = self.body.len().next_multiple_of(ALIGNMENT);
        self.body.resize(end, 0);
        Ok(buffer)
    }
}

/// What stands before a record batch's body of so many bytes.
fn header(rows: usize, nodes: &[FieldNode], buffers: &[Buffer], body: usize) -> Vec<u8> {
    // Arrow's own builder, so that no version of flatbuffers is named here.
    let mut builder = IpcSchemaEncoder::new().schema_to_fb(&Schema::empty());
    builder.reset();
    let nodes = builder.create_vector(nodes);
    let buffers = builder.create_vector(buffers);
    let mut compression = BodyCompressionBuilder::new(&mut builder);
    compression.add_codec(CompressionType::ZSTD);
    let compression = compression.finish();
    let mut batch = RecordBatchBuilder::new(&mut builder);
    batch.add_length(rows as i64);
    batch.add_nodes(nodes);
    batch.add_buffers(buffers);
    batch.add_compression(compression);
    let batch = batch.finish();
    let mut message = MessageBuilder::new(&mut builder);
    message.add_version(MetadataVersion::V5);
    message.add_header_type(MessageHeader::RecordBatch);
    message.add_header(batch.as_union_value());
    message.add_bodyLength(body as i64);
    let message = message.finish();
    builder.finish(message, None);
    let metadata = builder.finished_data();
    let length = (PREFIX + metadata.len()).next_multiple_of(ALIGNMENT);
    let mut bytes = CONTINUATION.to_vec();
    bytes.extend_from_slice(&((length - PREFIX) as i32).to_le_bytes());
    bytes.extend_from_slice(metadata);
    bytes.resize(length, 0);
    bytes
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

/// A failure of zstd while `place` is written.
fn packed(place: &str, error: io::Error) -> Error {
    Error::library(format!("compressing {place}"), error)
}

/// A failure while `place` is written.
fn written(place: &str, error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, source) => Error::io("write", place, source),
        other => Error::library(format!("writing {place}"), other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::ListArray;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{UInt16Type, UInt32Type};
    use arrow_ipc::reader::FileReader;
    use arrow_schema::{DataType, Field};
    use proptest::prelude::*;

    type Row = (u32, Vec<u16>, Vec<bool>);

    /// Three batches of the rows, read by Arrow's reader.
    fn read_back(rows: &[Row], level: i32, min_match: Option<u32>) -> Vec<Row> {
        let list = |name: &str, of| {
            let item = Field::new("item", of, false);
            Field::new(name, DataType::List(item.into()), false)
        };
        let schema = Arc::new(Schema::new(vec![
            Field::new("number", DataType::UInt32, false),
            list("ids", DataType::UInt16),
            list("bits", DataType::Boolean),
        ]));
        let mut file = MessageFile::new(Vec::new(), schema, "here").unwrap();
        let mut encoder = Encoder::new(level, "here").unwrap();
        for rows in rows.chunks(rows.len().div_ceil(3).max(1)) {
            let numbers: Vec<u32> = rows.iter().map(|(number, ..)| *number).collect();
            let ids: Vec<u16> = rows.iter().flat_map(|(_, ids, _)| ids).copied().collect();
            let bits: Boundaries = rows.iter().flat_map(|(.., bits)| bits).copied().collect();
            let ends = |length: fn(&Row) -> usize| {
                let mut ends = vec![0];
                ends.extend(rows.iter().scan(0, |end, row| {
                    *end += length(row) as i32;
                    Some(*end)
                }));
                ends
            };
            let ids = Values {
                min_match,
                ..Values::of(&ids)
            };
            let columns = [
                Column::Values(Values::of(&numbers)),
                Column::Lists(&ends(|row| row.1.len()), ids),
                Column::Lists(&ends(|row| row.2.len()), Values::of_bits(&bits)),
            ];
            let message = encoder.encode(rows.len(), &columns).unwrap();
            assert_eq!(message.len() % ALIGNMENT as u64, 0);
            let at = file.append(&message).unwrap();
            assert_eq!(at % ALIGNMENT as u64, 0);
        }
        let bytes = file.finish("{}".into()).unwrap();
        let mut found = Vec::new();
        for batch in FileReader::try_new(Cursor::new(bytes), None).unwrap() {
            let batch = batch.unwrap();
            let numbers = batch.column(0).as_primitive::<UInt32Type>();
            let (ids, bits) = (batch.column(1).as_list::<i32>(), batch.column(2).as_list());
            for row in 0..batch.num_rows() {
                let of_row = ids.value(row);
                let flags = ListArray::value(bits, row);
                found.push((
                    numbers.value(row),
                    of_row.as_primitive::<UInt16Type>().values().to_vec(),
                    flags.as_boolean().values().iter().collect(),
                ));
            }
        }
        found
    }

    proptest! {
        #[test]
        fn arrow_reads_what_was_written(
            rows in prop::collection::vec((
                any::<u32>(),
                prop_oneof![
                    prop::collection::vec(any::<u16>(), 0..300),
                    prop::collection::vec(0..3u16, 0..3000),
                ],
                prop::collection::vec(any::<bool>(), 0..300),
            ), 0..20),
            level in 1..=9,
            min_match in prop::option::of(3..=7u32),
        ) {
            prop_assert_eq!(read_back(&rows, level, min_match), rows);
        }
    }

    #[test]
    fn what_does_not_become_smaller_stands_as_it_is() {
        let mut encoder = Encoder::new(1, "here").unwrap();
        let noise: Vec<u32> = (1..9u32).map(|n| n.wrapping_mul(0x9E37_79B9)).collect();
        let buffer = encoder.buffer(&Values::of(&noise)).unwrap();
        assert_eq!(buffer.length(), 8 + 4 * noise.len() as i64);
        assert_eq!(encoder.body[..8], RAW.to_le_bytes());
        assert_eq!(encoder.body[8..40], *noise.to_byte_slice());
        let even = [7u32; 1000];
        let buffer = encoder.buffer(&Values::of(&even)).unwrap();
        assert_eq!(buffer.offset(), 64);
        assert!(buffer.length() < 40);
        assert_eq!(encoder.body[64..72], 4000i64.to_le_bytes());
        let nothing = encoder.buffer(&Values::of::<u32>(&[])).unwrap();
        assert_eq!((nothing.offset(), nothing.length()), (128, 0));
    }
}

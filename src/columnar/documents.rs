//! Reads token files and shards. Opening reads the footer only; a record batch is
//! reached in O(1), its hash is checked the first time it is touched, and planes
//! that are not asked for are never decompressed.

use crate::base::error::{Error, Result};
use crate::base::fingerprint;
use crate::columnar::batch::DocumentBatch;
use crate::columnar::footer::{BatchRecord, Footer, KEY};
use crate::columnar::schema;
use crate::storage::manifest::FORMAT;
use crate::storage::source::ByteSource;
use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::{Block, MetadataVersion, root_as_footer};
use arrow_schema::{Schema, SchemaRef};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Which planes are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Projection {
    /// Token ids.
    pub tokens: bool,
    /// Where words start.
    pub word_start: bool,
    /// Where masking units start.
    pub span_start: bool,
}

impl Projection {
    /// Everything that the file has.
    pub const ALL: Projection = Projection {
        tokens: true,
        word_start: true,
        span_start: true,
    };
}

/// An open token file or shard.
pub struct DocumentFile<S> {
    source: S,
    schema: SchemaRef,
    version: MetadataVersion,
    blocks: Vec<Block>,
    footer: Footer,
    checked: Vec<AtomicBool>,
}

impl<S: ByteSource> DocumentFile<S> {
    /// Reads the footer of `source`.
    pub fn open(source: S) -> Result<Self> {
        let place = source.path().display().to_string();
        let (index, json) = open_index(&source)?;
        let damaged = |found: String| {
            Error::corrupt(
                &place,
                found,
                "a document file of cloze (Arrow IPC with the key `cloze` in its footer)",
                "it is cut short or damaged: write it again with the stage that made it",
            )
        };
        let footer: Footer =
            serde_json::from_str(&json).map_err(|e| damaged(format!("a broken footer: {e}")))?;
        let places: Vec<(u64, u64)> = footer
            .batches
            .iter()
            .map(|batch| (batch.offset, batch.length))
            .collect();
        if !index_fits(&index.blocks, &places, index.footer_start) {
            return Err(damaged(
                "a batch index that does not fit the batches".into(),
            ));
        }
        let known = [(false, false), (true, false), (false, true), (true, true)]
            .iter()
            .any(|&(wide, spans)| index.schema.fields() == schema::documents(wide, spans).fields());
        if !known {
            return Err(damaged(format!(
                "columns {}",
                schema::as_json(&index.schema)
            )));
        }
        Ok(Self {
            version: index.version,
            checked: index
                .blocks
                .iter()
                .map(|_| AtomicBool::new(false))
                .collect(),
            schema: index.schema,
            blocks: index.blocks,
            footer,
            source,
        })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        self.source.path()
    }

    /// Record batches and the writing stage's note.
    pub fn footer(&self) -> &Footer {
        &self.footer
    }

    /// Whether ids take 32 bits.
    pub fn is_wide(&self) -> bool {
        self.schema.fields() == schema::documents(true, self.has_spans()).fields()
    }

    /// Whether there is a `span_start` plane.
    pub fn has_spans(&self) -> bool {
        self.schema.fields().len() == schema::DOCUMENT_COLUMNS.len()
    }

    /// Decodes record batch `index`; the first time, its hash is checked.
    pub fn batch(&self, index: usize, projection: Projection) -> Result<DocumentBatch> {
        let wanted = [
            true,
            projection.tokens,
            projection.word_start,
            projection.span_start,
        ];
        let columns: Vec<usize> = (0..self.schema.fields().len())
            .filter(|&column| wanted[column])
            .collect();
        let batch = self.decode(index, &columns)?;
        let record = &self.footer.batches[index];
        let broken = |found| self.broken(index, found);
        let batch = DocumentBatch::from_arrow(&batch).map_err(broken)?;
        let any_plane = projection.tokens || projection.word_start;
        if batch.len() as u64 != record.rows
            || any_plane && batch.token_count() as u64 != record.tokens
        {
            return Err(broken(format!(
                "{} documents with {} tokens",
                batch.len(),
                batch.token_count()
            )));
        }
        Ok(batch)
    }

    /// Columns `columns` of record batch `index`, as Arrow has them; the first time, its hash
    /// is checked.
    pub(super) fn decode(&self, index: usize, columns: &[usize]) -> Result<RecordBatch> {
        let record = &self.footer.batches[index];
        let bytes = self.source.read(record.offset, record.length as usize)?;
        if !self.checked[index].load(Ordering::Acquire) {
            self.check_hash(index, record, &bytes)?;
            self.checked[index].store(true, Ordering::Release);
        }
        FileDecoder::new(self.schema.clone(), self.version)
            .with_projection(columns.to_vec())
            .read_record_batch(&self.blocks[index], &Buffer::from(bytes))
            .map_err(|e| self.broken(index, e.to_string()))?
            .ok_or_else(|| self.broken(index, "no record batch".into()))
    }

    /// Refuses a file with other columns than `schema`'s.
    pub(super) fn check_columns(&self, schema: &Schema) -> Result<()> {
        if self.schema.fields() == schema.fields() {
            return Ok(());
        }
        Err(Error::mismatch(
            self.path().display().to_string(),
            format!("columns {}", schema::as_json(&self.schema)),
            schema::as_json(schema).to_string(),
            "manifest and file do not belong together: write them again",
        ))
    }

    fn broken(&self, index: usize, found: String) -> Error {
        Error::corrupt(
            self.place(index),
            found,
            "the record batch as it was written",
            "run `cloze verify` on the folder, then write it again",
        )
    }

    /// Checks the hash of every record batch and decodes it.
    pub fn verify(&self) -> Result<()> {
        for index in 0..self.blocks.len() {
            self.batch(index, Projection::ALL)?;
        }
        Ok(())
    }

    fn check_hash(&self, index: usize, record: &BatchRecord, bytes: &[u8]) -> Result<()> {
        let found = fingerprint::of_batch(bytes);
        if found == record.hash {
            return Ok(());
        }
        Err(Error::corrupt(
            self.place(index),
            format!("hash {found:016x}"),
            format!("hash {:016x}", record.hash),
            "the file is damaged: copy it again from a good copy, or write it again",
        ))
    }

    fn place(&self, index: usize) -> String {
        let record = &self.footer.batches[index];
        format!(
            "{}, record batch {index} (bytes {} to {})",
            self.source.path().display(),
            record.offset,
            record.offset + record.length
        )
    }
}

/// What Arrow's footer says of a file.
pub(super) struct Index {
    pub(super) schema: SchemaRef,
    pub(super) version: MetadataVersion,
    pub(super) blocks: Vec<Block>,
    /// Where the footer begins: no record batch reaches beyond it.
    pub(super) footer_start: u64,
}

/// Reads Arrow's footer of `source`, and our own of the metadata key `cloze` as JSON
/// of a format version that we know.
pub(super) fn open_index(source: &impl ByteSource) -> Result<(Index, String)> {
    #[derive(serde::Deserialize)]
    struct Version {
        format: u32,
    }
    let place = source.path().display().to_string();
    let damaged = |found: String| {
        Error::corrupt(
            &place,
            found,
            "an Arrow IPC file of cloze (with the key `cloze` in its footer)",
            "it is cut short or damaged: write it again with the stage that made it",
        )
    };
    let len = source.len();
    if len < 18 {
        return Err(damaged(format!("{len} bytes")));
    }
    let tail = source.read(len - 10, 10)?;
    let tail: [u8; 10] = tail[..]
        .try_into()
        .map_err(|_| damaged("a short read".into()))?;
    let footer_length = read_footer_length(tail).map_err(|e| damaged(e.to_string()))?;
    let footer_start = (len - 10)
        .checked_sub(footer_length as u64)
        .ok_or_else(|| damaged(format!("a footer of {footer_length} bytes")))?;
    let bytes = source.read(footer_start, footer_length)?;
    let arrow = root_as_footer(&bytes).map_err(|e| damaged(format!("a broken footer: {e}")))?;
    let json = arrow
        .custom_metadata()
        .into_iter()
        .flatten()
        .find(|pair| pair.key() == Some(KEY))
        .and_then(|pair| pair.value())
        .ok_or_else(|| damaged("no `cloze` in the footer's metadata".into()))?;
    let Version { format } =
        serde_json::from_str(json).map_err(|e| damaged(format!("a broken footer: {e}")))?;
    if format > FORMAT {
        return Err(Error::mismatch(
            &place,
            format!("format version {format}"),
            format!("version {FORMAT} or older"),
            "install a newer cloze, or write the file again with this one",
        ));
    }
    let schema = arrow
        .schema()
        .ok_or_else(|| damaged("no schema".into()))
        .and_then(|schema| {
            try_fb_to_schema(schema).map_err(|e| damaged(format!("a broken schema: {e}")))
        })?;
    let index = Index {
        schema: Arc::new(schema),
        version: arrow.version(),
        blocks: arrow
            .recordBatches()
            .into_iter()
            .flatten()
            .copied()
            .collect(),
        footer_start,
    };
    Ok((index, json.to_owned()))
}

/// Our index (offset and length of each batch) and Arrow's must say the same, and
/// every byte range must be inside.
pub(super) fn index_fits(blocks: &[Block], batches: &[(u64, u64)], end: u64) -> bool {
    blocks.len() == batches.len()
        && blocks
            .iter()
            .zip(batches)
            .all(|(block, &(offset, length))| {
                u64::try_from(block.offset()).ok() == Some(offset)
                    && i64::from(block.metaDataLength())
                        .checked_add(block.bodyLength())
                        .and_then(|length| u64::try_from(length).ok())
                        == Some(length)
                    && offset
                        .checked_add(length)
                        .is_some_and(|batch_end| batch_end <= end)
            })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::boundaries::Boundaries;
    use crate::columnar::writer::{DocumentWriter, Layout};
    use crate::storage::source::FileSource;
    use proptest::prelude::*;
    use std::fs;

    type Written = Vec<(u64, Vec<u32>, Boundaries)>;

    fn write(path: &Path, documents: &Written, layout: Layout) -> Footer {
        let out = fs::File::create(path).unwrap();
        let mut writer = DocumentWriter::new(out, "test", layout).unwrap();
        for (id, tokens, words) in documents {
            let spans = layout.spans.then(|| words.as_slice());
            writer.push(*id, tokens, words.as_slice(), spans).unwrap();
        }
        writer.finish(serde_json::json!({"next": 7})).unwrap().1
    }

    fn documents(max: u32) -> impl Strategy<Value = Written> {
        let token = (0..max, any::<bool>());
        let document = (any::<u64>(), prop::collection::vec(token, 0..40));
        prop::collection::vec(document, 0..30).prop_map(|documents| {
            documents
                .into_iter()
                .map(|(id, pairs)| {
                    let words = pairs.iter().map(|&(_, bit)| bit).collect();
                    (id, pairs.into_iter().map(|(t, _)| t).collect(), words)
                })
                .collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn documents_come_back_as_they_were(wide in any::<bool>(), spans in any::<bool>(),
                                            narrow in documents(1 << 16), large in documents(u32::MAX)) {
            let written = if wide { large } else { narrow };
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x.arrow");
            let footer = write(&path, &written, Layout { wide, spans, batch_tokens: 64, zstd_level: 1, short_matches: spans });
            let file = DocumentFile::open(FileSource::open(&path).unwrap()).unwrap();
            prop_assert_eq!(file.footer(), &footer);
            prop_assert_eq!(file.is_wide(), wide);
            prop_assert_eq!(file.has_spans(), spans);
            let mut read: Written = Vec::new();
            for index in 0..footer.batches.len() {
                let batch = file.batch(index, Projection::ALL).unwrap();
                for (at, document) in batch.documents().enumerate() {
                    let words = document.word_start.unwrap();
                    prop_assert_eq!(document.span_start.is_some(), spans);
                    prop_assert!(document.span_start.is_none_or(|plane| plane == words));
                    prop_assert_eq!(batch.document_length(at), document.tokens.len());
                    read.push((document.id, document.tokens.to_vec(), words.iter().collect()));
                }
            }
            prop_assert_eq!(read, written);
        }
    }

    fn sample(dir: &Path) -> std::path::PathBuf {
        let path = dir.join("x.arrow");
        let documents: Written = (0..50)
            .map(|id| {
                (
                    id,
                    (0..40).map(|t| t * 31 % 900).collect(),
                    Boundaries::filled(40, true),
                )
            })
            .collect();
        write(
            &path,
            &documents,
            Layout {
                wide: false,
                spans: true,
                batch_tokens: 256,
                zstd_level: 1,
                short_matches: true,
            },
        );
        path
    }

    #[test]
    fn every_flipped_byte_of_a_batch_is_noticed_and_located() {
        let dir = tempfile::tempdir().unwrap();
        let path = sample(dir.path());
        let bytes = fs::read(&path).unwrap();
        let footer = DocumentFile::open(FileSource::open(&path).unwrap())
            .unwrap()
            .footer()
            .clone();
        for (index, record) in footer.batches.iter().enumerate() {
            for at in (record.offset..record.offset + record.length).step_by(37) {
                let mut damaged = bytes.clone();
                damaged[at as usize] ^= 0x10;
                fs::write(&path, &damaged).unwrap();
                let file = DocumentFile::open(FileSource::open(&path).unwrap()).unwrap();
                let message = file.batch(index, Projection::ALL).unwrap_err().to_string();
                assert!(
                    message.contains(&format!("record batch {index} ")),
                    "{message}"
                );
            }
        }
    }

    #[test]
    fn a_file_cut_short_anywhere_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = sample(dir.path());
        let bytes = fs::read(&path).unwrap();
        for length in (0..bytes.len()).step_by(101) {
            fs::write(&path, &bytes[..length]).unwrap();
            let outcome = DocumentFile::open(FileSource::open(&path).unwrap());
            assert!(outcome.is_err(), "{length} of {} bytes", bytes.len());
        }
    }

    #[test]
    fn planes_that_are_not_asked_for_are_not_decoded() {
        let dir = tempfile::tempdir().unwrap();
        let file = DocumentFile::open(FileSource::open(sample(dir.path())).unwrap()).unwrap();
        let lengths = Projection {
            tokens: false,
            word_start: true,
            span_start: false,
        };
        let batch = file.batch(0, lengths).unwrap();
        let document = batch.document(0);
        assert!(document.tokens.is_empty() && document.span_start.is_none());
        assert_eq!(batch.document_length(0), 40);
    }

    #[test]
    fn an_id_beyond_16_bits_is_refused_in_a_narrow_file() {
        let layout = Layout {
            wide: false,
            spans: false,
            batch_tokens: 256,
            zstd_level: 1,
            short_matches: true,
        };
        let mut writer = DocumentWriter::new(Vec::new(), "tokens.arrow", layout).unwrap();
        let word = Boundaries::filled(1, true);
        let error = writer
            .push(3, &[65_536], word.as_slice(), None)
            .unwrap_err();
        assert!(error.to_string().contains("token id 65536"), "{error}");
    }
}

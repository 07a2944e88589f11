//! One decoded record batch: documents as slices into it, nothing copied.

use crate::base::boundaries::BoundarySlice;
use crate::base::token::TokenSlice;
use arrow_array::cast::AsArray;
use arrow_array::types::{UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ListArray, RecordBatch, UInt64Array};
use arrow_buffer::OffsetBuffer;
use arrow_schema::DataType;

/// One document as it lies in a record batch.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// File index · 2⁴⁰ + position in that file.
    pub id: u64,
    /// Its token ids; empty when the projection left them out.
    pub tokens: TokenSlice<'a>,
    /// One bit per token, where words start; `None` when the projection left it out.
    pub word_start: Option<BoundarySlice<'a>>,
    /// One bit per token, where masking units start; `None` when the projection left
    /// it out or the file has none.
    pub span_start: Option<BoundarySlice<'a>>,
}

/// The documents of one record batch.
#[derive(Debug, Clone)]
pub struct DocumentBatch {
    ids: Option<UInt64Array>,
    tokens: Option<ListArray>,
    word_start: Option<ListArray>,
    span_start: Option<ListArray>,
    rows: usize,
}

impl DocumentBatch {
    /// Takes a decoded batch apart; says what is wrong with it, if anything.
    pub(super) fn from_arrow(batch: &RecordBatch) -> Result<Self, String> {
        let list = |name: &str| {
            batch
                .column_by_name(name)
                .map(|column| detached(column.as_list::<i32>()))
        };
        // As in `detached`.
        let ids = batch.column_by_name("document_id").map(|column| {
            let ids = column.as_primitive::<UInt64Type>();
            UInt64Array::new(ids.values().to_vec().into(), ids.nulls().cloned())
        });
        let this = Self {
            ids,
            tokens: list("tokens"),
            word_start: list("word_start"),
            span_start: list("span_start"),
            rows: batch.num_rows(),
        };
        let lengths_agree = this
            .lists()
            .zip(this.lists().skip(1))
            .all(|(a, b)| a.offsets() == b.offsets());
        if !lengths_agree {
            return Err("planes of different lengths".into());
        }
        if this.lists().any(|list| list.null_count() > 0) {
            return Err("a missing value".into());
        }
        Ok(this)
    }

    fn lists(&self) -> impl Iterator<Item = &ListArray> {
        [&self.tokens, &self.word_start, &self.span_start]
            .into_iter()
            .flatten()
    }

    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        let offsets = self.lists().count() * 4 * (self.rows + 1);
        let values = self.lists().map(|list| match list.values().data_type() {
            DataType::UInt32 => 4 * list.values().len(),
            DataType::UInt16 => 2 * list.values().len(),
            _ => list.values().len().div_ceil(8),
        });
        8 * self.rows + offsets + values.sum::<usize>()
    }

    /// Number of documents.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Number of tokens; 0 when no plane was decoded.
    pub fn token_count(&self) -> usize {
        self.lists()
            .next()
            .map_or(0, |list| match list.offsets().as_ref() {
                [first, .., last] => (last - first) as usize,
                _ => 0,
            })
    }

    /// Number of tokens of document `index`, from whichever plane was decoded.
    pub fn document_length(&self, index: usize) -> usize {
        self.lists()
            .next()
            .map_or(0, |list| list.value_length(index) as usize)
    }

    /// Document `index`; panics beyond the last one.
    pub fn document(&self, index: usize) -> Document<'_> {
        assert!(index < self.rows, "document {index} of {}", self.rows);
        Document {
            id: self.ids.as_ref().map_or(0, |ids| ids.value(index)),
            tokens: self
                .tokens
                .as_ref()
                .map_or(TokenSlice::Narrow(&[]), |list| tokens_of(list, index)),
            word_start: self.word_start.as_ref().map(|list| bits_of(list, index)),
            span_start: self.span_start.as_ref().map(|list| bits_of(list, index)),
        }
    }

    /// All documents in order.
    pub fn documents(&self) -> impl Iterator<Item = Document<'_>> {
        (0..self.rows).map(|index| self.document(index))
    }
}

/// The same list with offsets of its own. Short buffers stand in a message as they are and
/// are slices of it, all of which would be held as long as they are.
fn detached(list: &ListArray) -> ListArray {
    let (item, offsets, values, nulls) = list.clone().into_parts();
    let offsets = OffsetBuffer::new(offsets.iter().copied().collect());
    ListArray::new(item, offsets, values, nulls)
}

fn range(list: &ListArray, index: usize) -> std::ops::Range<usize> {
    let offsets = list.value_offsets();
    offsets[index] as usize..offsets[index + 1] as usize
}

fn tokens_of(list: &ListArray, index: usize) -> TokenSlice<'_> {
    let range = range(list, index);
    match list.values().data_type() {
        DataType::UInt32 => {
            TokenSlice::Wide(&list.values().as_primitive::<UInt32Type>().values()[range])
        }
        _ => TokenSlice::Narrow(&list.values().as_primitive::<UInt16Type>().values()[range]),
    }
}

fn bits_of(list: &ListArray, index: usize) -> BoundarySlice<'_> {
    let range = range(list, index);
    let bits = list.values().as_boolean().values();
    BoundarySlice::new(bits.values(), bits.offset() + range.start, range.len())
}

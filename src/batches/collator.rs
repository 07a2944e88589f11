//! Rows that were cut elsewhere, masked: for loaders with ids, rows and an order of their
//! own. Where words start follows from the ids ([`WordRestorer`]), where units do from a
//! masking vocabulary; a special token ends both. One for each thread.
//!
//! Cost, beside the masks: nothing for strategies of single tokens; a look into a table for
//! each token where spellings tell words (WordPiece), tokenising the row again where they
//! do not; 20 ns a token for units. Memory: some megabytes of tables, and one batch.

use super::Batch;
use super::cut::RowBuffer;
use super::masks::BatchMasker;
use crate::base::boundaries::Boundaries;
use crate::base::error::{Error, Result};
use crate::base::generator::Key;
use crate::base::token::{TokenId, TokenSlice};
use crate::masking::{Masker, Stamp};
use crate::segment::{Segmenter, Units};
use crate::tokenizer::{Role, Tokenizer, WordRestorer};
use std::sync::Arc;

/// Masks rows of ids.
pub struct Collator {
    tokenizer: Arc<Tokenizer>,
    masks: BatchMasker,
    words: Option<WordRestorer<Arc<Tokenizer>>>,
    units: Option<Segmenter<Arc<Units>>>,
    /// By id: never masked.
    reserved: Vec<bool>,
    /// Stands in words although it is never masked.
    unknown: Option<TokenId>,
    planes: Planes,
    row: RowBuffer,
}

/// What is known of a row's tokens.
#[derive(Default)]
struct Planes {
    protected: Boundaries,
    word_start: Boundaries,
    unit_start: Boundaries,
    /// Of the stretch at hand.
    words: Boundaries,
    units: Boundaries,
}

impl Collator {
    /// The masks of `masker` on ids of `tokenizer`; `units` are those of a masking
    /// vocabulary, for strategies that mask them.
    ///
    /// # Errors
    /// Masks that need units where there are none, and a tokenizer without a token that
    /// short rows can be filled up with.
    pub fn new(
        tokenizer: Arc<Tokenizer>,
        masker: Masker,
        units: Option<Arc<Units>>,
    ) -> Result<Self> {
        if masker.needs_units() && units.is_none() {
            return Err(Error::usage(
                "masking.strategy",
                "PMI units without a masking vocabulary",
                "a masking vocabulary beside the tokenizer",
                "name one that `cloze vocabulary` wrote, or choose another strategy",
            ));
        }
        let special = tokenizer.special();
        let pad = match special.pad.or(special.sep) {
            Some(pad) => pad,
            None => tokenizer.require(Role::Pad)?,
        };
        let size = tokenizer.vocabulary_size() as TokenId;
        let reserved = (0..size).map(|id| special.is_reserved(id)).collect();
        let needs_words = masker.needs_words() || masker.needs_units();
        Ok(Self {
            words: needs_words.then(|| WordRestorer::new(Arc::clone(&tokenizer))),
            units: units.filter(|_| masker.needs_units()).map(Segmenter::new),
            masks: BatchMasker::of_rows(masker, 0, pad),
            reserved,
            unknown: special.unk,
            planes: Planes::default(),
            row: RowBuffer::default(),
            tokenizer,
        })
    }

    /// The token that fills up short rows.
    pub fn pad(&self) -> TokenId {
        self.masks.pad()
    }

    /// Masks `rows`, each with the key that its masks follow from, the special tokens that
    /// it begins and ends with included and no padding. Rows of the batch are as long as
    /// the longest, rounded up to a multiple of `multiple_of`. The same row and key give
    /// the same masks whatever is beside them. All rows belong to the step of `first`, and
    /// follow it in place.
    ///
    /// # Errors
    /// An id beyond the vocabulary.
    pub fn collate<'r>(
        &mut self,
        rows: impl ExactSizeIterator<Item = (&'r [TokenId], Key)> + Clone,
        multiple_of: usize,
        first: Stamp,
    ) -> Result<Batch> {
        let longest = rows.clone().map(|(ids, _)| ids.len()).max().unwrap_or(0);
        self.masks
            .set_row_length(longest.next_multiple_of(multiple_of.max(1)));
        let mut batch = self.masks.begin(rows.len());
        batch.step = first.step;
        for (index, (ids, key)) in rows.enumerate() {
            self.read(index, ids, key)?;
            let stamp = Stamp {
                place: (first.place + index as u32) % first.rows.max(1),
                ..first
            };
            self.masks.push(&self.row, key, stamp, &mut batch);
        }
        self.masks.finish(&mut batch);
        Ok(batch)
    }

    /// Puts a row and what is known of it into `self.row`.
    fn read(&mut self, index: usize, ids: &[TokenId], key: Key) -> Result<()> {
        let size = self.reserved.len();
        if let Some(at) = ids.iter().position(|&id| id as usize >= size) {
            return Err(Error::input(
                format!("row {index}, token {at}"),
                format!("id {}", ids[at]),
                format!("an id below {size}, the size of the tokenizer's vocabulary"),
                "use the tokenizer that wrote the ids",
            ));
        }
        let planes = &mut self.planes;
        for plane in [
            &mut planes.protected,
            &mut planes.word_start,
            &mut planes.unit_start,
        ] {
            plane.clear();
        }
        let is_reserved = |id: TokenId| self.reserved[id as usize];
        for &id in ids {
            planes.protected.push(is_reserved(id));
        }
        let is_special = |&id: &TokenId| is_reserved(id) && self.unknown != Some(id);
        for stretch in ids.chunk_by(|a, b| is_special(a) == is_special(b)) {
            let special = is_special(&stretch[0]);
            let words = self.words.as_mut().filter(|_| !special);
            let Some(words) = words else {
                planes.word_start.extend_filled(stretch.len(), true);
                planes.unit_start.extend_filled(stretch.len(), true);
                continue;
            };
            planes.words.clear();
            words.restore(stretch, &mut planes.words);
            let starts = planes.words.as_slice();
            planes.word_start.extend(starts);
            match &mut self.units {
                Some(units) => {
                    let tokens = TokenSlice::Wide(stretch);
                    units.segment(key.sample, tokens, starts, &mut planes.units);
                    planes.unit_start.extend(planes.units.as_slice());
                }
                None => planes.unit_start.extend(starts),
            }
        }
        let starts = (&planes.word_start, &planes.unit_start);
        self.row.take(ids, &planes.protected, starts);
        Ok(())
    }

    /// The tokenizer of the ids.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }
}

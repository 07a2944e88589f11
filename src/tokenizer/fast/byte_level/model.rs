//! The model: bytes of a word to ids.

use super::merges::{Merges, Scratch};
use crate::tokenizer::Unencodable;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

/// Ids of bytes.
pub(super) struct Model {
    pub(super) merges: Merges,
    /// Words that have an id whatever the merges make of them (`ignore_merges`).
    pub(super) whole: HashMap<Box<[u8]>, u32, FxBuildHasher>,
    /// Ids that must not come from text although a merge makes them or a word is
    /// spelled so, and their spellings.
    pub(super) barred: Vec<(u32, String)>,
}

impl Model {
    /// The ids of a word.
    #[cold]
    pub(super) fn word<'a>(
        &self,
        word: &[u8],
        scratch: &'a mut Scratch,
    ) -> Result<&'a [u32], Unencodable> {
        if !self.whole.is_empty()
            && let Some(&id) = self.whole.get(word)
        {
            scratch.ids.clear();
            scratch.ids.push(id);
        } else {
            self.merges.merge(word, scratch);
        }
        self.allow(&scratch.ids)?;
        Ok(&scratch.ids)
    }

    /// Whether all of `ids` may come from text.
    pub(super) fn allow(&self, ids: &[u32]) -> Result<(), Unencodable> {
        if self.barred.is_empty() {
            return Ok(());
        }
        let barred = |id: &u32| self.barred.iter().find(|(barred, _)| barred == id);
        match ids.iter().find_map(barred) {
            None => Ok(()),
            Some((id, spelling)) => Err(Unencodable::SpecialToken {
                id: *id,
                spelling: spelling.clone(),
            }),
        }
    }
}

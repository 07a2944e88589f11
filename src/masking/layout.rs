//! The layouts (spec 11): what a copy of a selected row looks like. All draw alike, but
//! that a row with more spans than there are sentinels has fewer tokens selected in the
//! layout `sentinel`.

use super::bits;
use super::masker::{Masker, Workspace};
use super::{Realised, Row};
use crate::base::generator::Key;
use crate::base::token::TokenId;
use crate::config::Layout;

/// Where a masked row goes: each list is appended to.
#[derive(Debug)]
pub struct Output<'a> {
    /// Ids after corruption: as many as the row has, without the removed ones, or with a
    /// sentinel for each run.
    pub input: &'a mut Vec<TokenId>,
    /// Layouts `removed` and `sentinel`: the place of each of them in the row as it was,
    /// of a sentinel that of the first token it stands for. In place: nothing.
    pub places: &'a mut Vec<u32>,
    /// Layout `sentinel`: sentinel, its tokens, sentinel, its tokens, …, and the token
    /// that closes a row; nothing where nothing was selected. Else nothing.
    pub target: &'a mut Vec<TokenId>,
    /// `base` and the place of each label, ascending: in the row as it was, or in the
    /// layout `sentinel` in the target, where all has a label but tokens of the text
    /// that m_pred below m_corr leaves without one.
    pub predicted: &'a mut Vec<u32>,
    /// The id to be predicted at each of them.
    pub labels: &'a mut Vec<TokenId>,
    /// What is added to places in `predicted`: row · length in a batch.
    pub base: u32,
}

/// One masked row by itself; see [`Output`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MaskedRow {
    /// Ids after corruption.
    pub input: Vec<TokenId>,
    /// Their places in the row as it was.
    pub places: Vec<u32>,
    /// What sentinels stand for.
    pub target: Vec<TokenId>,
    /// Where labels are.
    pub predicted: Vec<u32>,
    /// The labels.
    pub labels: Vec<TokenId>,
}

impl MaskedRow {
    /// Empties it, keeping its memory, for the next row.
    pub fn output(&mut self) -> Output<'_> {
        let Self {
            input,
            places,
            target,
            predicted,
            labels,
        } = self;
        for values in [
            &mut *input,
            &mut *places,
            &mut *target,
            &mut *predicted,
            &mut *labels,
        ] {
            values.clear();
        }
        Output {
            input,
            places,
            target,
            predicted,
            labels,
            base: 0,
        }
    }
}

impl Output<'_> {
    /// The labels of `row` at the set bits of `labelled`.
    fn push_labels(&mut self, row: &Row<'_>, labelled: &[u64]) {
        let first = self.predicted.len();
        bits::append_ones(labelled.iter().copied(), self.predicted);
        for position in &mut self.predicted[first..] {
            self.labels.push(row.ids[*position as usize]);
            *position += self.base;
        }
    }

    fn push_input(&mut self, id: TokenId, place: usize) {
        self.input.push(id);
        self.places.push(place as u32);
    }

    fn push_target(&mut self, id: TokenId, place: u32, labelled: bool) {
        if labelled {
            self.predicted.push(self.base + place);
            self.labels.push(id);
        }
        self.target.push(id);
    }
}

impl Masker {
    /// Writes copy `copy` of the row that was selected in `work` last, with the same
    /// `row` and `key`, in the layout of this masker.
    pub fn write(
        &self,
        row: &Row<'_>,
        key: Key,
        copy: u32,
        work: &mut Workspace,
        out: &mut Output<'_>,
    ) -> Realised {
        match self.layout() {
            Layout::InPlace => self.write_in_place(row, key, copy, work, out),
            Layout::Removed => self.write_removed(row, key, copy, work, out),
            Layout::Sentinel => self.write_sentinel(row, key, copy, work, out),
        }
    }

    fn write_in_place(
        &self,
        row: &Row<'_>,
        key: Key,
        copy: u32,
        work: &mut Workspace,
        out: &mut Output<'_>,
    ) -> Realised {
        let first = out.input.len();
        out.input.extend_from_slice(row.ids);
        let realised = self.corrupt(key, copy, work, &mut out.input[first..]);
        out.push_labels(row, &work.choice.labelled);
        realised
    }

    fn write_removed(
        &self,
        row: &Row<'_>,
        key: Key,
        copy: u32,
        work: &mut Workspace,
        out: &mut Output<'_>,
    ) -> Realised {
        let mut ids = work.take_ids(row);
        let realised = self.corrupt(key, copy, work, &mut ids);
        let mask = self.ways[work.way].replacement.mask();
        for (place, (&id, &original)) in ids.iter().zip(row.ids).enumerate() {
            if id != mask || original == mask {
                out.push_input(id, place);
            }
        }
        work.ids = ids;
        out.push_labels(row, &work.choice.labelled);
        realised
    }

    /// Spans beyond the number of sentinels, the last ones of the row, stay as they are.
    fn write_sentinel(
        &self,
        row: &Row<'_>,
        key: Key,
        copy: u32,
        work: &mut Workspace,
        out: &mut Output<'_>,
    ) -> Realised {
        let beyond = work.cut_runs(copy as usize, self.sentinels.len());
        // Sentinels stand for what is masked; the ids themselves are not asked for.
        let mut ids = work.take_ids(row);
        let mut realised = self.corrupt(key, copy, work, &mut ids);
        work.ids = ids;
        realised.without_sentinel += u64::from(beyond);

        let words = work.maskable.len();
        let selected = &work.selected[copy as usize * words..][..words];
        let is_set = |plane: &[u64], place: usize| plane[place / 64] >> (place % 64) & 1 == 1;
        let start = out.target.len();
        let mut sentinels = self.sentinels.iter();
        let mut inside = false;
        for (place, &id) in row.ids.iter().enumerate() {
            if !is_set(selected, place) {
                out.push_input(id, place);
                inside = false;
                continue;
            }
            if !inside && let Some(&sentinel) = sentinels.next() {
                out.push_input(sentinel, place);
                out.push_target(sentinel, (out.target.len() - start) as u32, true);
            }
            inside = true;
            let labelled = is_set(&work.choice.labelled, place);
            out.push_target(id, (out.target.len() - start) as u32, labelled);
        }
        if let Some(end) = self.end
            && out.target.len() > start
        {
            out.push_target(end, (out.target.len() - start) as u32, true);
        }
        realised
    }
}

impl Workspace {
    /// A copy of the ids of `row`, in memory that is used again.
    fn take_ids(&mut self, row: &Row<'_>) -> Vec<TokenId> {
        let mut ids = std::mem::take(&mut self.ids);
        ids.clear();
        ids.extend_from_slice(row.ids);
        ids
    }
}

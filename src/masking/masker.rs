//! The whole way of one row: select once, then write each copy.

use super::bits;
use super::budget::{Counts, Rates};
use super::predict::Choice;
use super::rules::Rules;
use super::spans::Spans;
use super::stamp::{Drawn, Stamp};
use super::tokens::TokenTable;
use super::units::Units;
use super::weights::Weighted;
use super::word_spans::WordSpans;
use super::{Realised, Row};
use crate::base::error::{Error, Result};
use crate::base::generator::{Key, Purpose};
use crate::base::token::TokenId;
use crate::config::{Layout, MaskingConfig};

/// The rules of masking, checked and ready; shared by all threads.
#[derive(Debug, Clone)]
pub struct Masker {
    /// The components of a mixture, or the whole.
    ways: Vec<Rules>,
    /// Share of rows that the first 1, 2, … components mask; empty without a mixture.
    up_to: Vec<f64>,
    weighted: bool,
    layout: Layout,
    sentinels: Vec<TokenId>,
    end: Option<TokenId>,
}

/// Buffers of one thread, and what was selected in the row at hand. About 60 bytes
/// a position of the longest row.
#[derive(Debug, Clone, Default)]
pub struct Workspace {
    /// The component that masks the row.
    way: usize,
    pub(super) rates: Rates,
    pub(super) maskable: Vec<u64>,
    pub(super) count: u32,
    pub(super) counts: Counts,
    pub(super) positions: Vec<u32>,
    /// One plane a copy.
    pub(super) selected: Vec<u64>,
    /// Where groups open: one plane for all copies, or for spans one a copy.
    pub(super) openings: Vec<u64>,
    /// Where words open, for replacement by words.
    pub(super) word_openings: Vec<u64>,
    /// What spans of earlier copies have left.
    pub(super) left: Vec<u64>,
    pub(super) units: Units,
    pub(super) spans: Spans,
    pub(super) word_spans: WordSpans,
    pub(super) weighted: Weighted,
    pub(super) choice: Choice,
    /// The ids of a row whose tokens do not stay in place.
    ids: Vec<TokenId>,
}

/// Where rows go in the layout that keeps tokens in place, with the labels as
/// positions and ids.
#[derive(Debug)]
pub struct InPlace<'a> {
    /// Ids after corruption.
    pub input: &'a mut Vec<TokenId>,
    /// Positions in `input` that carry a label, ascending.
    pub predicted: &'a mut Vec<u32>,
    /// The original id at each of them.
    pub labels: &'a mut Vec<TokenId>,
}

/// Where rows go whose masked tokens are taken out.
#[derive(Debug)]
pub struct Removed<'a> {
    /// Ids of the tokens that stay, corrupted where they are random ones.
    pub input: &'a mut Vec<TokenId>,
    /// The place of each of them in the row as it was.
    pub places: &'a mut Vec<u32>,
    /// What is added to the places in `predicted`: row · length in a batch.
    pub base: u32,
    /// `base` + place in the row as it was of each label, ascending.
    pub predicted: &'a mut Vec<u32>,
    /// The original id at each of them.
    pub labels: &'a mut Vec<TokenId>,
}

/// Where rows go whose masked runs become sentinels.
#[derive(Debug)]
pub struct Sentinels<'a> {
    /// Ids with one sentinel for each run.
    pub input: &'a mut Vec<TokenId>,
    /// The place of each of them in the row as it was, of a sentinel that of the first
    /// token it stands for.
    pub places: &'a mut Vec<u32>,
    /// Sentinel, its tokens, sentinel, its tokens, …, and the token that closes a row;
    /// nothing where nothing was selected.
    pub target: &'a mut Vec<TokenId>,
    /// Positions in `target` that carry a label, ascending: all but tokens of the text
    /// that m_pred below m_corr leaves without one.
    pub predicted: &'a mut Vec<u32>,
    /// The id at each of them.
    pub labels: &'a mut Vec<TokenId>,
}

impl Sentinels<'_> {
    fn push_target(&mut self, id: TokenId, labelled: bool) {
        if labelled {
            self.predicted.push(self.target.len() as u32);
            self.labels.push(id);
        }
        self.target.push(id);
    }
}

impl Masker {
    /// The rules of `config` for the tokens of `tokens`.
    ///
    /// # Errors
    /// What [`MaskingConfig::check`] and [`MaskingConfig::check_steps`] refuse; a
    /// tokenizer without a mask token where one is needed, without sentinels for the
    /// layout `sentinel`; unigram replacements without counts.
    pub fn new(config: &MaskingConfig, tokens: &TokenTable<'_>) -> Result<Self> {
        config.check()?;
        config.check_steps()?;
        if config.layout == Layout::Sentinel && tokens.special.sentinels.is_empty() {
            return Err(Error::mismatch(
                "tokenizer",
                "no sentinel tokens",
                "<extra_id_0>, <extra_id_1>, … for layout sentinel",
                "have them appended with --sentinels 100 when tokenising, as many as a row may \
                 have spans, or set layout = \"removed\"",
            ));
        }
        let ways = config
            .components()
            .map(|one| Rules::new(one, tokens))
            .collect::<Result<Vec<_>>>()?;
        let all: f64 = config.mixture.iter().map(|one| one.weight).sum();
        let mut sum = 0.0;
        Ok(Self {
            up_to: config
                .mixture
                .iter()
                .map(|one| {
                    sum += one.weight;
                    sum / all
                })
                .collect(),
            weighted: ways.iter().any(Rules::is_weighted),
            ways,
            layout: config.layout,
            sentinels: tokens.special.sentinels.clone(),
            end: tokens.special.sep,
        })
    }

    /// What becomes of the selected tokens, and so which of the writers is to be used.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Whether labels carry weights in the loss (see [`Drawn::weight`]).
    pub fn is_weighted(&self) -> bool {
        self.weighted
    }

    /// Whether it looks at `word_start` of a row; if not, that plane may say anything.
    pub fn needs_words(&self) -> bool {
        self.ways.iter().any(Rules::needs_words)
    }

    /// Whether it looks at `unit_start` of a row.
    pub fn needs_units(&self) -> bool {
        self.ways.iter().any(Rules::needs_units)
    }

    /// Draws how `row` is masked and what each of its copies corrupts, and keeps it in
    /// `work` for the writers.
    pub fn select(&self, row: &Row<'_>, key: Key, stamp: Stamp, work: &mut Workspace) -> Drawn {
        let mut draws = Key { copy: 0, ..key }.generator(Purpose::Rate);
        work.way = match self.up_to.len() {
            0 | 1 => 0,
            ways => {
                let u = draws.unit();
                let before = self.up_to.iter().take_while(|&&up_to| up_to <= u).count();
                before.min(ways - 1)
            }
        };
        let way = &self.ways[work.way];
        work.rates = way.rates(stamp, &mut draws);
        work.begin(row);
        if work.count > 0 {
            way.select(row, key, work);
        }
        Drawn::new(work.way, &work.rates, self.weighted)
    }

    /// Writes copy `copy` of the row that was selected in `work` last, with the same
    /// `row` and `key`: appends the corrupted ids, the positions that carry a label
    /// (as indices into `out.input`) and the labels.
    pub fn write(
        &self,
        row: &Row<'_>,
        key: Key,
        copy: u32,
        work: &mut Workspace,
        out: &mut InPlace<'_>,
    ) -> Realised {
        let base = out.input.len();
        out.input.extend_from_slice(row.ids);
        let realised = self.corrupt(key, copy, work, &mut out.input[base..]);
        let first = out.predicted.len();
        bits::append_ones(work.choice.labelled.iter().copied(), out.predicted);
        for position in &mut out.predicted[first..] {
            out.labels.push(row.ids[*position as usize]);
            *position += base as u32;
        }
        realised
    }

    /// As [`Masker::write`], for the layout `removed`.
    pub fn write_removed(
        &self,
        row: &Row<'_>,
        key: Key,
        copy: u32,
        work: &mut Workspace,
        out: &mut Removed<'_>,
    ) -> Realised {
        let mut ids = std::mem::take(&mut work.ids);
        ids.clear();
        ids.extend_from_slice(row.ids);
        let realised = self.corrupt(key, copy, work, &mut ids);
        let mask = self.ways[work.way].replacement.mask();
        for (place, (&id, &original)) in (0..).zip(ids.iter().zip(row.ids)) {
            if id != mask || original == mask {
                out.input.push(id);
                out.places.push(place);
            }
        }
        work.ids = ids;
        let first = out.predicted.len();
        bits::append_ones(work.choice.labelled.iter().copied(), out.predicted);
        for position in &mut out.predicted[first..] {
            out.labels.push(row.ids[*position as usize]);
            *position += out.base;
        }
        realised
    }

    /// As [`Masker::write`], for the layout `sentinel`. Spans beyond the number of
    /// sentinels, the last ones of the row, stay as they are.
    pub fn write_sentinel(
        &self,
        row: &Row<'_>,
        key: Key,
        copy: u32,
        work: &mut Workspace,
        out: &mut Sentinels<'_>,
    ) -> Realised {
        let beyond = work.cut_runs(copy as usize, self.sentinels.len());
        let mut ids = std::mem::take(&mut work.ids);
        ids.clear();
        ids.extend_from_slice(row.ids);
        let mut realised = self.corrupt(key, copy, work, &mut ids);
        work.ids = ids;
        realised.without_sentinel += u64::from(beyond);

        if work.count == 0 {
            out.input.extend_from_slice(row.ids);
            out.places.extend(0..row.len() as u32);
            return realised;
        }
        let words = work.maskable.len();
        let is_set = |plane: &[u64], place: usize| plane[place / 64] >> (place % 64) & 1 == 1;
        let selected = &work.selected[copy as usize * words..][..words];
        let mut sentinels = self.sentinels.iter();
        let mut inside = false;
        for (place, &id) in row.ids.iter().enumerate() {
            if !is_set(selected, place) {
                out.input.push(id);
                out.places.push(place as u32);
                inside = false;
                continue;
            }
            if !inside && let Some(&sentinel) = sentinels.next() {
                out.input.push(sentinel);
                out.places.push(place as u32);
                out.push_target(sentinel, true);
            }
            inside = true;
            out.push_target(id, is_set(&work.choice.labelled, place));
        }
        if let Some(end) = self.end
            && bits::count(selected) > 0
        {
            out.push_target(end, true);
        }
        realised
    }

    /// Replaces what `copy` selected in `input` and chooses its labels.
    fn corrupt(
        &self,
        key: Key,
        copy: u32,
        work: &mut Workspace,
        input: &mut [TokenId],
    ) -> Realised {
        let mut realised = Realised {
            maskable: work.count.into(),
            ..Realised::default()
        };
        work.choice.labelled.clear();
        if work.count > 0 {
            let key = Key { copy, ..key };
            self.ways[work.way].apply(key, copy as usize, work, input, &mut realised);
        }
        realised
    }
}

impl Workspace {
    /// Buffers that have not grown yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn begin(&mut self, row: &Row<'_>) {
        let words = bits::words(row.len());
        assert!(
            [row.protected, row.word_start, row.unit_start]
                .iter()
                .all(|plane| plane.len() == row.len()),
            "every plane of a row has one bit a token"
        );
        self.maskable.clear();
        self.maskable.extend((0..words).map(|index| {
            let len = (row.len() - 64 * index).min(64);
            !row.protected.word(index) & u64::MAX >> (64 - len)
        }));
        self.count = bits::count(&self.maskable);
        bits::reset(&mut self.selected, words * self.rates.copies);
    }

    /// Takes what follows the first `runs` runs out of what `copy` selected; how many
    /// tokens that were.
    fn cut_runs(&mut self, copy: usize, runs: usize) -> u32 {
        let words = self.maskable.len();
        let plane = &mut self.selected[copy * words..][..words];
        let (mut seen, mut before) = (0, 0);
        for index in 0..words {
            let word = plane[index];
            let mut starts = word & !(word << 1 | before);
            before = word >> 63;
            let here = starts.count_ones() as usize;
            if seen + here > runs {
                (0..runs - seen).for_each(|_| starts &= starts - 1);
                let kept = (1u64 << starts.trailing_zeros()) - 1;
                let beyond = (word & !kept).count_ones() + bits::count(&plane[index + 1..]);
                plane[index] &= kept;
                plane[index + 1..].fill(0);
                return beyond;
            }
            seen += here;
        }
        0
    }
}

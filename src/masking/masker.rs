//! The way of one row: its rates and what its copies corrupt are drawn once, for
//! [`super::layout`] to write each copy.

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
    pub(super) ways: Vec<Rules>,
    /// Share of rows that the first 1, 2, … components mask; empty without a mixture.
    up_to: Vec<f64>,
    weighted: bool,
    layout: Layout,
    pub(super) sentinels: Vec<TokenId>,
    /// Closes a target.
    pub(super) end: Option<TokenId>,
}

/// Buffers of one thread, and what was selected in the row at hand. About 60 bytes
/// a position of the longest row.
#[derive(Debug, Clone, Default)]
pub struct Workspace {
    /// The component that masks the row.
    pub(super) way: usize,
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
    pub(super) ids: Vec<TokenId>,
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

    /// What becomes of the selected tokens.
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
    /// `work` for [`Masker::write`].
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

    /// Replaces what `copy` selected in `input` and chooses its labels.
    pub(super) fn corrupt(
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
    pub(super) fn cut_runs(&mut self, copy: usize, runs: usize) -> u32 {
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

//! Layer 4, masking: token ids, boundaries and a key in; a corrupted row, the
//! positions to predict and their labels out (spec 1 to 6 and 11). Knows no file, no
//! tokenizer and no thread. Nothing is allocated per row once the buffers of a
//! [`Workspace`] have grown (`tests/allocation.rs` counts).
//!
//! [`Masker::select`] draws a row's rates and what each copy of it corrupts; then
//! [`Masker::write`] puts each copy into the layout asked for (`layout.rs`). All layouts draw alike, so
//! the layout changes nothing of what is masked, unless the sentinels run out.
//!
//! # From key to mask, draw by draw
//! Written down so that another implementation gives the same masks; a table of
//! known answers is in `tests/known.rs`, and `tests/python/reference.py` is a second
//! implementation, from these pages alone, that is held against this one.
//!
//! The streams, and the draws `unit`, `below(n)` and `shuffle_prefix(list, c)`, are
//! those of [`crate::base::generator`]: one stream for each (seed, epoch, sample, copy,
//! purpose). *Copies* are numbered from 0 here: copy 0 is the first one, and the only
//! one of a row that is emitted once. Reals are 64-bit floats, computed from left to
//! right as written.
//!
//! **Units.** A position is maskable if it is not protected. A word, or a PMI unit, is
//! a run of adjacent maskable positions: one opens where `word_start` (`unit_start`) is
//! set, at the start of the row, and behind a protected position.
//!
//! **Rate**, one stream a row, the one of copy 0; only what is needed is drawn, in
//! this order:
//! 1. Of a mixture of several components, one `unit` u: the first whose weight and
//!    those before it, as a share of all, are above u.
//! 2. m_corr, then m_pred if it is set by itself, each with one `unit` u if it is drawn
//!    for the row: a + (b − a)·u for `uniform(a, b)`, ε + (1 − ε)·u for `diffusion(ε)`,
//!    ε + (1 − ε)·(i + u)/n for `antithetic(ε)`, where the row is the i-th of the n of
//!    its step, from 0. The other laws are functions of the step; with d the step over
//!    `schedule_steps`, at most 1, a + (b − a)·d for `linear(a, b)` and
//!    b + (a − b)·(1 + cos πd)/2 for `cosine(a, b)`. Where m_corr or m_pred is under
//!    `diffusion` or `antithetic`, labels weigh 1/m_pred, else 1.
//!
//! B is the number of maskable positions, m and p are the row's m_corr and m_pred,
//! k = ⌈p/m − 10⁻⁹⌉, which is 1 where p ≤ m or m = 0. A row with B = 0 draws nothing
//! more.
//!
//! **Select**, one stream for all copies, the one of copy 0:
//! 1. Counts. `fair`: one `unit` U; the first j copies together select
//!    N_j = ⌊j·m·B + U⌋ and all copies together label P = ⌊p·B + U⌋, each at most B.
//!    So each copy has ⌊mB⌋ or ⌈mB⌉, exactly mB in expectation, and
//!    N_{k−1} ≤ P ≤ N_k. `ceil` and `round` do the same without a draw:
//!    N_j = ⌈j·m·B − 10⁻⁹⌉, or j·m·B rounded half to even and at least 1 (0 at a rate
//!    of 0), and P from p likewise. Then copy j, from 0, selects
//!    n_j = N_{j+1} − N_j, of which l_j = min(N_{j+1}, max(P, N_j)) − N_j carry a label.
//!    `max_predictions` then bounds each l_j, and each n_j where p ≥ m, that is, where
//!    all that is selected is labelled; the N_j stay as they were.
//! 2. Which. See [`uniform`], [`units`], [`spans`] and [`word_spans`], each for its
//!    strategy, and [`weights`] where tokens have weights.
//!
//! What a copy selected falls into *groups*: single positions for `uniform` (weights or
//! not), words, PMI units (of one that was cut, what was selected), or spans. They go
//! in ascending order wherever they are gone through below.
//!
//! In the layout `sentinel`, the runs of adjacent selected positions of a copy that come
//! after the last sentinel are now taken out of what it selected.
//!
//! **Predict**, one stream a copy:
//! 1. Of the A positions that the copy selected, l_j / n_j carry a label: all where
//!    l_j ≥ n_j, else ⌊A·l_j / n_j⌋, and one more if `below(n_j)` < (A·l_j mod n_j)
//!    (drawn only if the remainder is not 0). Where the selection meets its budget
//!    exactly, A = n_j and this is l_j.
//! 2. Unless l_j ≥ n_j: `shuffle_prefix` of the selected positions, ascending; or with
//!    `predict_whole_units`, but for `uniform`, the copy's groups as in [`units`], by
//!    the same overshoot, with this one count.
//! 3. More than `max_predictions` (an overshoot): `shuffle_prefix` of what carries a
//!    label, ascending, keeps so many.
//! 4. `extra_same` e > 0: a count of e·(B − A) by the budget rule (`fair`: one
//!    `unit`), at most what `max_predictions` leaves, then `shuffle_prefix` of the
//!    maskable positions that the copy did not select, ascending. Each copy has its
//!    own, whatever the other copies selected.
//!
//! **Replace**, one stream a copy: for each group with a selected token, in ascending
//! order, one `unit` c: c < mask is the mask token, c < mask + random is random, else
//! same (without `same_share` all that is not mask is random, without `random_share`
//! all that is not same is mask, however the shares round). `replacement_level` says
//! what is a group: `token` each position, `word` the words of the row, `unit` the
//! groups above. After a random, one `below` for each selected token of the group,
//! counting the ordinary (not reserved) ids in ascending order; with
//! `random_ids = "unigram"` one `unit` u, which is the first ordinary id whose count
//! and those of the ordinary ids below it together are above ⌊u · all of them⌋.
//!
//! **Layouts** draw nothing. `removed` leaves out what became the mask token.
//! `sentinel` puts the i-th sentinel in place of the i-th run of adjacent selected
//! positions; the target is each sentinel and the tokens that it stands for, then the
//! token that closes a row; sentinels and that token carry labels, and of the tokens
//! those that Predict chose. A copy that selected nothing has no target.
//!
//! With the budget `bernoulli` there are no counts. Each position (each unit, for
//! words and PMI units) draws one `unit` u in ascending order and belongs to copy
//! j where j·m ≤ u < (j+1)·m. For spans B `unit`s are drawn first, N_j is the number of
//! them below j·m, and n_j = N_{j+1} − N_j, bounded by `max_predictions` as above. Of
//! Predict, steps 1 and 2 become: l = (min((j+1)·m, p) − j·m) / m, or 1 where p = m;
//! where l < 1, each selected position (with `predict_whole_units` each group) draws one
//! `unit` and is labelled below l. In step 4 each position not selected draws one
//! `unit` and is an extra one below e; then `shuffle_prefix` of these keeps as many as
//! `max_predictions` leaves.

mod bits;
mod budget;
mod layout;
mod masker;
mod predict;
mod realised;
mod replace;
mod row;
mod rules;
pub mod spans;
mod stamp;
#[cfg(test)]
mod tests;
mod tokens;
pub mod uniform;
pub mod units;
pub mod weights;
pub mod word_spans;

pub use layout::{MaskedRow, Output};
pub use masker::{Masker, Workspace};
pub use realised::Realised;
pub use row::Row;
pub use stamp::{Drawn, Stamp};
pub use tokens::TokenTable;

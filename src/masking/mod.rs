//! Layer 4, masking: token ids, boundaries and a key in; a corrupted row, the
//! positions to predict and their labels out (spec 1 to 6 and 11). Knows no file, no
//! tokenizer and no thread. Nothing is allocated per row once the buffers of a
//! [`Workspace`] have grown (`tests/allocation.rs` counts).
//!
//! [`Masker::select`] draws a row's rates and what each copy of it corrupts; then a
//! writer puts each copy into its layout: [`Masker::write`] in place,
//! [`Masker::write_removed`], [`Masker::write_sentinel`]. All three draw alike, so the
//! layout changes nothing of what is masked.
//!
//! # From key to mask, draw by draw
//! Written down so that another implementation gives the same masks; a table of
//! known answers is in `tests/known.rs`, and `tests/python/test_masks.py` draws masks
//! again with NumPy, from this page alone.
//!
//! The streams are those of [`crate::base::generator`]: one for each (seed, epoch,
//! sample, copy, purpose). `unit` is 53 bits of a fresh 64-bit word, `below(n)`
//! Lemire's method on 32-bit halves, `shuffle_prefix(list, c)` the first c steps
//! of Fisher–Yates from the front. *Copies* are numbered from 0 here: copy 0 is
//! the first one, and the only one of a row that is emitted once.
//!
//! **Rate**, one stream a row, the one of copy 0; only what is needed is drawn, in
//! this order:
//! 1. Of a mixture of several components, one `unit` u: the first whose weight and
//!    those before it, as a share of all, are above u.
//! 2. m_corr, then m_pred if it is set by itself, each with one `unit` u if it is drawn
//!    for the row: a + (b − a)·u for `uniform(a, b)`, ε + (1 − ε)·u for `diffusion(ε)`,
//!    ε + (1 − ε)·(i + u)/n for `antithetic(ε)`, where the row is the i-th of the n of
//!    its step, from 0. The other laws are functions of the step. Under `diffusion` and
//!    `antithetic` labels weigh 1/m_pred.
//!
//! B is the number of maskable positions, m and p are the row's m_corr and m_pred,
//! k = ⌈p / m⌉ (at least 1). A row with B = 0 draws nothing more.
//!
//! **Select**, one stream for all copies, the one of copy 0:
//! 1. Counts. `fair`: one `unit` U; the first j copies together select
//!    N_j = ⌊j·m·B + U⌋ and all copies together label P = ⌊p·B + U⌋. So each copy
//!    has ⌊mB⌋ or ⌈mB⌉, exactly mB in expectation, N_{k−1} ≤ P ≤ N_k, and N_k ≤ B.
//!    `ceil` and `round` do the same without a draw: N_j = ⌈j·m·B⌉, or j·m·B
//!    rounded half to even and at least 1. Then n_j = N_j − N_{j−1}. With
//!    `max_predictions`, labels are at most that many in each copy, and so is n_j
//!    where p ≥ m, that is, where all that is selected is labelled.
//! 2. Which. See [`uniform`], [`units`], [`spans`] and [`word_spans`], each for its
//!    strategy, and [`weights`] where tokens have weights.
//!
//! **Predict**, one stream a copy:
//! 1. Of the A positions that the copy selected, l_j / n_j carry a label, where
//!    l_j = min(N_j, P) − N_{j−1}: ⌊A·l_j / n_j⌋, and one more if
//!    `below(n_j)` < (A·l_j mod n_j) (drawn only if the remainder is not 0).
//!    Where the selection meets its budget exactly, A = n_j and this is l_j.
//! 2. If that is not all of them: `shuffle_prefix` of the selected positions,
//!    ascending; or, by option, whole units as in [`units`].
//! 3. More than `max_predictions` (an overshoot): `shuffle_prefix` of what carries a
//!    label, ascending, keeps so many.
//! 4. `extra_same` e > 0: a count of e·(B − A) by the budget rule (`fair`: one
//!    `unit`), at most what `max_predictions` leaves, then `shuffle_prefix` of the
//!    maskable positions that the copy did not select, ascending. Each copy has its
//!    own, whatever the other copies selected.
//!
//! **Replace**, one stream a copy: for each group (token, word or unit, by
//! `replacement_level`) with a selected token, in ascending order, one `unit` c:
//! c < mask is the mask token, c < mask + random is random, else same; after a
//! random, one `below` for each selected token of the group, counting the ordinary
//! (not reserved) ids in ascending order; with `random_ids = "unigram"` one `unit` u,
//! which is the first ordinary id whose count and those of the ordinary ids below it
//! together are above ⌊u · all of them⌋.
//!
//! With the budget `bernoulli` there are no counts. Each position (each unit, for
//! words and PMI units) draws one `unit` u in ascending order and belongs to copy
//! j where j·m ≤ u < (j+1)·m; for spans, N_j is the number of B draws below j·m.
//! In Predict each selected position (or unit) draws one `unit` and is labelled
//! below l = (min((j+1)·m, p) − j·m) / m, then each position not selected is an
//! extra one below e.

mod bits;
mod budget;
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

pub use masker::{InPlace, Masker, Removed, Sentinels, Workspace};
pub use realised::Realised;
pub use row::Row;
pub use stamp::{Drawn, Stamp};
pub use tokens::TokenTable;

//! Layer 5, batches: rows from documents, their order, masks on them, prefetch and
//! resume. Nothing here is random but the order and the masks, and both are
//! functions of (seed, epoch, row).
//!
//! * [`corpus`]: a set of shards as one list of *canonical rows*, counted from footers
//!   and documents' lengths. The number of a row in that list is its sample id,
//!   so its mask depends on (seed, epoch, row) only.
//! * [`cut`]: documents of one record batch cut into rows (spec 10); [`best_fit`]: which
//!   of them share a row in the layout of that name.
//! * [`order`]: the order of an epoch, computed and not stored.
//! * [`masks`]: masked rows put into batches, in each layout.
//! * [`cursor`]: rows of one corpus in that order.
//! * [`reader`]: these, masked, in batches; [`stream`] puts a thread around it.
//! * [`loader`]: an epoch for trainings elsewhere: shared between processes and their
//!   workers ([`share`]), of several sources ([`mixture`]), in [`columns`].
//! * [`random`]: rows by number, for loaders with an order of their own.
//! * [`collator`]: rows that were cut elsewhere.
//! * [`held_out`]: the rows held out, one by one; [`one_hidden`]: rows of which one token
//!   each is asked for.
//! * [`mod@validation`]: the rows held out, with masks of their own.
//! * [`mod@unigram`]: the entropy that a validation loss has to beat.

pub mod batch;
pub mod best_fit;
pub mod collator;
pub mod columns;
pub mod corpus;
pub mod cursor;
pub mod cut;
pub mod held_out;
pub mod loader;
pub mod masks;
pub mod mixture;
pub mod one_hidden;
pub mod order;
pub mod random;
pub mod reader;
pub mod share;
pub mod stream;
#[cfg(test)]
mod tests;
pub mod unigram;
pub mod validation;

pub use crate::masking::Realised;
pub use batch::{Batch, Position};
pub use collator::Collator;
pub use columns::{Columns, LabelForm, Labels};
pub use corpus::{Corpus, Split};
pub use held_out::HeldOut;
pub use loader::{Draws, Loader};
pub use mixture::Mixture;
pub use one_hidden::OneHidden;
pub use random::RandomRows;
pub use reader::{Order, Reader};
pub use share::Share;
pub use stream::Stream;
pub use unigram::{Unigram, unigram};
pub use validation::validation;

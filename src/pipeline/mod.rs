//! Layer 7, pipeline: stages put together. Each stage is one function from paths and
//! a configuration to an artefact; `run` calls them in order.

mod chart;
pub mod collator;
pub mod count;
pub mod evaluate;
pub mod experiment;
pub mod export;
pub mod finetune;
pub mod import;
pub mod inspect;
pub mod loader;
pub mod lookup;
pub mod masks;
pub mod merge;
pub mod plot;
pub mod plot_runs;
pub mod preview;
pub mod query;
pub mod run;
pub mod runs;
pub mod shard;
pub mod spiked;
pub mod stage;
mod start;
pub mod summary;
mod text_memory;
mod text_words;
pub mod tokenize;
mod tokenizer_files;
pub mod train;
pub mod units;
pub mod verify;
pub mod vocabulary;

//! Layer 0, configuration: one structure per stage. The same keys are a stage's
//! flags (`--min-count 11`), its table in a pipeline's TOML (`min_count = 11`) and
//! its JSON Schema in `schemas/`; the doc comment of a key is its `--help`.
//!
//! Nothing here opens a file. `check` of a structure refuses what cannot work.

pub mod collator;
pub mod count;
pub mod device;
pub mod evaluate;
pub mod exchange;
pub mod experiment;
pub mod finetune;
pub mod keys;
pub mod loader;
pub mod masking;
pub mod model;
pub mod optimizer;
pub mod pipeline;
pub mod preset;
pub mod rate;
pub mod rows;
pub mod shard;
pub mod tokenize;
pub mod train;
pub mod vocabulary;

pub use collator::CollatorConfig;
pub use count::{CountConfig, Punctuation, Unit, Unknown, WordRules};
pub use device::{Device, Precision};
pub use evaluate::EvaluateConfig;
pub use exchange::{DocumentEnd, ExportConfig, ExportFormat, IdFormat, IdType, ImportConfig};
pub use experiment::{ExperimentConfig, GridConfig, PlotConfig, Setting, TableConfig};
pub use finetune::{FinetuneConfig, Metric, Task};
pub use loader::LoaderConfig;
pub use masking::{Budget, Layout, Level, MaskingConfig, Overshoot, RandomIds, Strategy};
pub use model::{
    Architecture, DecoderConfig, InitialAttention, InitialBias, ModelConfig, ModelShape,
    RotaryShape, Size, StackShape,
};
pub use optimizer::{DecayShape, OptimizerConfig, ParameterGroup, Schedule};
pub use pipeline::PipelineConfig;
pub use preset::Preset;
pub use rate::Rate;
pub use rows::{RowLayout, RowsConfig};
pub use shard::{Overlap, ShardConfig};
pub use tokenize::{DocumentRule, TextFormat, TokenizeConfig, TokenizerPath};
pub use train::{BatchCounts, ShardRead, SpikePolicy, SpikesConfig, TrainConfig};
pub use vocabulary::{QueryConfig, Score, VocabularyConfig};

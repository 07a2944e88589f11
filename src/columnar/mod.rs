//! Layer 1, columnar files: Arrow IPC for documents, Parquet for n-grams, both
//! readable by pyarrow, polars and duckdb. The only place that names arrow and
//! parquet; everything handed out is our own slices or plain values.

pub mod batch;
pub mod cells;
pub mod column;
pub mod counts;
pub mod documents;
pub mod export;
pub mod footer;
pub mod ids;
mod message;
mod parquet_file;
pub mod runs;
pub mod schema;
pub mod stream;
pub mod text;
pub mod vocabulary;
pub mod writer;

pub use batch::{Document, DocumentBatch};
pub use counts::{CountsFile, CountsWriter};
pub use documents::{DocumentFile, Projection};
pub use footer::{BatchRecord, Footer};
pub use runs::{RunFile, RunWriter};
pub use vocabulary::{VocabularyFile, write_vocabulary};
pub use writer::{BatchBuilder, DocumentWriter, EncodedBatch};

//! Models as Hugging Face folders: `config.json` and `model.safetensors`. What
//! [`export`] writes, `transformers` loads with no parameter missing or left over, and
//! what `transformers` saved, [`import`] reads. `names.rs` says once where each of our
//! parameters lies in a file, for both ways. [`encoder`] reads what is to be fine-tuned, and
//! [`export_classifier`] writes what became of it. Of a model with a decoder the folder is the
//! encoder's, and `beside.rs` keeps the rest.

mod beside;
mod classifier;
mod encoder;
mod export;
mod import;
mod names;
mod published;

pub use classifier::export_classifier;
pub use encoder::encoder;
pub use export::export;
pub use import::{files, import};

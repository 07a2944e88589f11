//! Layer 7, the command line: one subcommand a stage. It turns what was typed into a
//! configuration, calls the stage and prints its summary. The only place that names
//! clap.

pub mod flags;

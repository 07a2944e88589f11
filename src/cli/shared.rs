//! The flags that every stage takes.

use crate::base::error::Result;
use crate::base::part::Part;
use crate::base::size::ByteSize;
use crate::cli::stop;
use crate::pipeline::stage::StageOptions;
use crate::progress::{LogFormat, Progress};
use crate::storage::cache;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::path::PathBuf;

/// Adds the flags that every command takes.
pub fn add(command: Command) -> Command {
    let own = [
        Arg::new("memory")
            .long("memory")
            .help("Bound on memory, for example 512MiB [default: 4GiB]"),
        Arg::new("seed")
            .long("seed")
            .help("Seed of everything random [default: 1]")
            .value_parser(value_parser!(u64)),
        Arg::new("scratch")
            .long("scratch")
            .help("Folder for temporary files; without it, beside the output")
            .value_parser(value_parser!(PathBuf)),
    ];
    add_reading(command).args(own)
}

/// Adds those of them that say how files are read, for commands that only do that.
pub fn add_reading(command: Command) -> Command {
    command
        .next_help_heading("Every stage")
        .arg(
            Arg::new("threads")
                .long("threads")
                .help("Threads; 0 takes all cores [default: 0]")
                .value_parser(value_parser!(u32)),
        )
        .arg(
            Arg::new("cache")
                .long("cache")
                .help("Folder for copies of objects (s3://, gs://, az://, http://) [default: CLOZE_CACHE, or ~/.cache/cloze/objects]")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            Arg::new("cache_size")
                .long("cache-size")
                .help("Bound on that folder, for example 200GiB [default: CLOZE_CACHE_SIZE, or 64GiB]"),
        )
        .arg(
            Arg::new("log_format")
                .long("log-format")
                .help("How progress is told on standard error")
                .value_parser(["text", "json", "silent"])
                .default_value("text"),
        )
}

/// Adds the flags of a stage that may be done in parts.
pub fn add_all(command: Command) -> Command {
    add(add_parts(add_overwrite(command)))
}

/// Adds `--overwrite`, for commands that write.
pub fn add_overwrite(command: Command) -> Command {
    command.arg(
        Arg::new("overwrite")
            .long("overwrite")
            .help("Redo work that was made with another configuration or other inputs")
            .action(ArgAction::SetTrue),
    )
}

/// Adds `--part I --of N`, for stages that many machines share.
pub fn add_parts(command: Command) -> Command {
    command
        .arg(
            Arg::new("part")
                .long("part")
                .help("Do this part only, numbered from 0; with --of")
                .requires("of")
                .value_parser(value_parser!(u32)),
        )
        .arg(
            Arg::new("of")
                .long("of")
                .help("How many parts there are; with --part")
                .requires("part")
                .value_parser(value_parser!(u32)),
        )
}

/// What was typed of them; `defaults` stand for what was not.
pub fn options(matches: &ArgMatches, defaults: StageOptions) -> Result<StageOptions> {
    let format = match matches
        .get_one::<String>("log_format")
        .map_or("text", String::as_str)
    {
        "json" => LogFormat::Json,
        "silent" => LogFormat::Silent,
        _ => LogFormat::Text,
    };
    let cache_size = typed::<String>(matches, "cache_size")
        .map(|text| text.parse::<ByteSize>())
        .transpose()?;
    cache::configure(typed::<PathBuf>(matches, "cache"), cache_size)?;
    let part = match (typed::<u32>(matches, "part"), typed::<u32>(matches, "of")) {
        (Some(index), Some(of)) => Part::new(index, of)?,
        _ => defaults.part,
    };
    let progress = Progress::new(format);
    Ok(StageOptions {
        part,
        threads: typed::<u32>(matches, "threads")
            .map_or(defaults.threads, crate::parallel::threads),
        memory: match typed::<String>(matches, "memory") {
            Some(text) => text.parse::<ByteSize>()?,
            None => defaults.memory,
        },
        scratch: typed::<PathBuf>(matches, "scratch").or(defaults.scratch),
        seed: typed::<u64>(matches, "seed").unwrap_or(defaults.seed),
        overwrite: matches
            .try_get_one::<bool>("overwrite")
            .ok()
            .flatten()
            .copied()
            .unwrap_or(false),
        stop: stop::on_signal(progress.clone())?,
        progress,
    })
}

/// The value of a flag, `None` where it was not typed or the command has no such one.
pub fn typed<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Option<T> {
    matches.try_get_one::<T>(name).ok().flatten().cloned()
}

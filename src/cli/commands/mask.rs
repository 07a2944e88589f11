//! `cloze mask`: the same rows masked in several ways at several rates.

use super::{given, path};
use crate::base::error::{Error, Result};
use crate::base::part::Part;
use crate::cli::{flags, shared};
use crate::config::{MaskingConfig, Preset, Rate, ShardConfig, Strategy, TokenizeConfig, keys};
use crate::pipeline::preview::render::Look;
use crate::pipeline::preview::{
    Preview, Rates, RawText, Request, Way, html, of_shards, of_texts, spelled,
};
use crate::pipeline::stage::StageOptions;
use crate::pipeline::units;
use crate::storage::atomic;
use crate::storage::place;
use crate::text::{Corpus, Cursor};
use crate::tokenizer::Tokenizer;
use clap::builder::PossibleValue;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde::Serialize;
use std::io::IsTerminal;
use std::path::PathBuf;

/// Shown where nothing says at which rates: BERT's, the paper's, and far beyond.
const RATES: [f64; 3] = [0.15, 0.4, 0.8];

pub fn command() -> Result<Command> {
    let command = Command::new("mask")
        .about("Shows masked text: the same rows in several ways at several rates")
        .arg(
            path(
                "input",
                "Folder of shards or token files; or raw text, with --tokenizer",
            )
            .required(false)
            .required_unless_present("text"),
        )
        .arg(
            Arg::new("text")
                .long("text")
                .help("Show this text, with --tokenizer")
                .value_name("TEXT")
                .requires("tokenizer")
                .conflicts_with("input"),
        )
        .arg(file(
            "tokenizer",
            "Tokenizer of raw text: a vocab.txt, a tokenizer.json or a folder",
        ))
        .arg(
            Arg::new("mask_token")
                .long("mask-token")
                .help("Mask token for --tokenizer; appended if its vocabulary lacks it")
                .value_name("SPELLING")
                .requires("tokenizer"),
        )
        .arg(
            Arg::new("sentinels")
                .long("sentinels")
                .help("Sentinels for --tokenizer; appended where its vocabulary lacks them")
                .value_name("COUNT")
                .requires("tokenizer")
                .value_parser(value_parser!(u32).range(..=1 << 16)),
        )
        .arg(
            file(
                "vocabulary",
                "Masking vocabulary that cuts raw text into PMI units, with --tokenizer",
            )
            .requires("tokenizer"),
        )
        .arg(number("rows", "Rows to show [default: 3]"))
        .arg(
            Arg::new("first_row")
                .long("first-row")
                .help("First row to show; without it, rows from all over the text")
                .value_name("ROW")
                .value_parser(value_parser!(u64)),
        )
        .arg(number(
            "length",
            "Tokens in a row, special tokens included [default: 48, more where spans need it]",
        ))
        .arg(
            list(
                "rates",
                "Corruption rates or laws, one under the other [default: 0.15,0.4,0.8, or a \
                 preset's own]",
            )
            .conflicts_with("corruption_rate"),
        )
        .arg(
            list(
                "strategies",
                "Strategies side by side [default: uniform, span, and pmi or word]",
            )
            .value_delimiter(',')
            .conflicts_with_all(["strategy", "mixture"])
            .value_parser(choices(&Strategy::ALL)),
        )
        .arg(
            list(
                "presets",
                "Presets side by side, each at its own rates unless --rates says others; keys \
                 typed beside override each",
            )
            .value_delimiter(',')
            .conflicts_with_all(["preset", "strategies", "mixture"])
            .value_parser(choices(&Preset::ALL)),
        )
        .arg(
            Arg::new("epoch")
                .long("epoch")
                .help("Epoch of the masks [default: 0]")
                .value_name("EPOCH")
                .value_parser(value_parser!(u64)),
        )
        .arg(
            Arg::new("step")
                .long("step")
                .help("Optimiser step that schedules are shown at [default: 0]")
                .value_name("STEP")
                .value_parser(value_parser!(u64)),
        )
        .arg(
            Arg::new("format")
                .long("format")
                .help("Text for people, or JSON for programs")
                .value_parser(["text", "json"])
                .default_value("text"),
        )
        .arg(file(
            "html",
            "Also write the comparison as one page that can be sent",
        ))
        .arg(
            Arg::new("color")
                .long("color")
                .help("Whether to use colour; auto asks the terminal")
                .value_parser(["auto", "always", "never"])
                .default_value("auto"),
        )
        .arg(
            Arg::new("width")
                .long("width")
                .help("Columns to fill; without it, those of the terminal")
                .value_name("COLUMNS")
                .value_parser(value_parser!(u16)),
        );
    Ok(shared::add(flags::add::<MaskingConfig>(command, &[])?))
}

pub fn run(matches: &ArgMatches) -> Result<()> {
    let options = shared::options(matches, StageOptions::new())?;
    let request = request(matches, options.seed)?;
    let preview = preview(matches, &request)?;
    let page = shared::typed::<PathBuf>(matches, "html");
    if let Some(page) = &page {
        atomic::write(page, html::page(&preview).as_bytes())?;
    }
    if matches.get_one::<String>("format").map(String::as_str) == Some("json") {
        let json = serde_json::to_string(&preview)
            .map_err(|error| Error::library("writing JSON", error))?;
        println!("{json}");
    } else {
        print!("{}", preview.render(look(matches)));
        if let Some(page) = &page {
            println!("\nThe same as a page: {}", page.display());
        }
    }
    Ok(())
}

fn request(matches: &ArgMatches, seed: u64) -> Result<Request> {
    let typed = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
    let masking: MaskingConfig = flags::config(matches)?;
    let names = |name: &str| matches.get_many::<String>(name).into_iter().flatten();
    let mut ways = names("presets")
        .map(|preset| of_preset(matches, preset))
        .collect::<Result<Vec<_>>>()?;
    let strategy = |name: &String| {
        let mut all = Strategy::ALL.into_iter();
        all.find(|strategy| *name == spelled(strategy))
    };
    for strategy in names("strategies").filter_map(strategy) {
        ways.push(Way::of_strategy(strategy, &masking));
    }
    let own = typed("presets") || typed("preset") || typed("mixture");
    if ways.is_empty() && (own || typed("strategy")) {
        ways = vec![Way::configured(masking.clone())];
    }
    let rates = match rates(matches)? {
        Some(rates) => rates,
        None if own || typed("corruption_rate") => Vec::new(),
        None => RATES.map(Rate::from).map(Rates::corrupting).to_vec(),
    };
    let request = Request {
        rows: shared::typed(matches, "rows").unwrap_or(3),
        first_row: shared::typed(matches, "first_row"),
        length: shared::typed::<u64>(matches, "length").map(|length| length as u32),
        ways,
        masking,
        rates,
        seed,
        epoch: shared::typed(matches, "epoch").unwrap_or(0),
        step: shared::typed(matches, "step").unwrap_or(0),
    };
    // Before anything is read; ways by default differ in what they select only.
    for (_, config) in request.configurations(&request.ways(false)) {
        config.check()?;
    }
    Ok(request)
}

/// The preset of this name, with the keys typed beside it.
fn of_preset(matches: &ArgMatches, preset: &str) -> Result<Way> {
    let mut table = toml::Table::new();
    flags::fill::<MaskingConfig>(matches, &mut table)?;
    flags::set(&mut table, "preset", preset.into())?;
    keys::from_table("the command line", table).map(Way::configured)
}

/// What `--rates` says: numbers and laws, separated by commas outside of brackets.
fn rates(matches: &ArgMatches) -> Result<Option<Vec<Rates>>> {
    let Some(typed) = matches.get_many::<String>("rates") else {
        return Ok(None);
    };
    let mut rates = Vec::new();
    for text in typed {
        let mut depth = 0;
        let outside = |c: char| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            c == ',' && depth == 0
        };
        for text in text.split(outside) {
            let rate: Rate = text.parse().map_err(|wrong: String| {
                let expected = wrong
                    .split_once(": write ")
                    .map_or("a rate", |(_, rest)| rest);
                Error::usage(
                    "--rates",
                    format!("{:?}", text.trim()),
                    expected,
                    "separate several by commas",
                )
            })?;
            rate.check("--rates")?;
            rates.push(Rates::corrupting(rate));
        }
    }
    Ok(Some(rates))
}

fn preview(matches: &ArgMatches, request: &Request) -> Result<Preview> {
    let Some(tokenizer) = shared::typed::<PathBuf>(matches, "tokenizer") else {
        let input = given(matches, "input");
        if !place::is_folder(&input)? {
            return Err(Error::usage(
                input.display().to_string(),
                "no folder, and no --tokenizer",
                "shards or token files; or raw text with a tokenizer",
                "give --tokenizer FILE to show raw text",
            ));
        }
        return of_shards(request, &input);
    };
    let tokenizer_name = tokenizer.display().to_string();
    let config = TokenizeConfig {
        inputs: vec![given(matches, "input").display().to_string()],
        tokenizer,
        mask_token: shared::typed(matches, "mask_token"),
        // For this look alone: nothing is written.
        add_special_tokens: true,
        sentinels: shared::typed(matches, "sentinels").unwrap_or(0),
        ..TokenizeConfig::default()
    };
    let (source, texts) = match shared::typed::<String>(matches, "text") {
        Some(text) => ("--text".to_owned(), vec![text]),
        None => (
            config.inputs.join(", "),
            first_texts(&config, request.rows)?,
        ),
    };
    let tokenizer = Tokenizer::load(&config)?;
    let overlap = ShardConfig::default().overlap;
    let units = shared::typed::<PathBuf>(matches, "vocabulary")
        .map(|vocabulary| units::of(&vocabulary, &tokenizer, overlap, request.seed))
        .transpose()?;
    let raw = RawText {
        source,
        texts,
        tokenizer: &tokenizer,
        tokenizer_name,
        units: units.as_ref(),
    };
    of_texts(request, &raw)
}

/// The first `count` usable documents of the inputs.
fn first_texts(config: &TokenizeConfig, count: u64) -> Result<Vec<String>> {
    let corpus = Corpus::open(config)?;
    let mut texts = Vec::new();
    for chunk in corpus.chunks(Part::WHOLE, Cursor::default()) {
        if texts.len() as u64 >= count {
            break;
        }
        corpus.read(chunk?, |outcome| {
            if let Ok(text) = outcome.text
                && (texts.len() as u64) < count
            {
                texts.push(text.into_owned());
            }
            Ok(())
        })?;
    }
    if texts.is_empty() {
        return Err(Error::input(
            config.inputs.join(", "),
            "no document with text",
            "at least one",
            "`cloze tokenize` says in rejected.jsonl what is wrong with each",
        ));
    }
    Ok(texts)
}

fn look(matches: &ArgMatches) -> Look {
    let terminal = look_of_terminal();
    Look {
        width: shared::typed::<u16>(matches, "width").map_or(terminal.width, usize::from),
        colour: match matches.get_one::<String>("color").map(String::as_str) {
            Some("always") => true,
            Some("never") => false,
            _ => terminal.colour,
        },
    }
}

/// What masked rows look like on this terminal, for `cloze run`.
pub fn look_of_terminal() -> Look {
    Look {
        width: terminal_size::terminal_size().map_or(120, |(width, _)| width.0.into()),
        colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    }
}

fn number(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .value_name(name.to_uppercase())
        .value_parser(value_parser!(u64).range(1..=1 << 20))
}

fn file(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
}

fn list(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .value_name(name.to_uppercase())
        .action(ArgAction::Append)
}

fn choices<T: Serialize>(all: &[T]) -> Vec<PossibleValue> {
    all.iter()
        .map(|one| PossibleValue::new(spelled(one)))
        .collect()
}

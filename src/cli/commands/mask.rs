//! `cloze mask`: the same rows masked at several rates with several strategies.

use super::{given, path};
use crate::base::error::{Error, Result};
use crate::base::part::Part;
use crate::cli::{flags, shared};
use crate::config::{MaskingConfig, Rate, Strategy, TokenizeConfig};
use crate::pipeline::preview::render::Look;
use crate::pipeline::preview::{Preview, Request, of_shards, of_texts};
use crate::pipeline::stage::StageOptions;
use crate::text::{Corpus, Cursor};
use crate::tokenizer::Tokenizer;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::io::IsTerminal;
use std::path::PathBuf;

pub fn command() -> Result<Command> {
    let command = Command::new("mask")
        .about("Shows masked text: the same rows at several rates and strategies")
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
        .arg(
            Arg::new("tokenizer")
                .long("tokenizer")
                .help("Tokenizer of raw text: a vocab.txt, a tokenizer.json or a folder")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(number("rows", "Rows to show", "3"))
        .arg(
            Arg::new("first_row")
                .long("first-row")
                .help("First row to show; without it, rows from all over the text")
                .value_name("ROW")
                .value_parser(value_parser!(u64)),
        )
        .arg(number(
            "length",
            "Tokens in a row, special tokens included",
            "48",
        ))
        .arg(
            Arg::new("rates")
                .long("rates")
                .help("Corruption rates, one under the other [default: 0.15,0.4,0.8]")
                .value_name("RATES")
                .value_delimiter(',')
                .action(ArgAction::Append)
                .conflicts_with("corruption_rate")
                .value_parser(value_parser!(Rate)),
        )
        .arg(
            Arg::new("strategies")
                .long("strategies")
                .help("Strategies side by side [default: uniform, span, and pmi or word]")
                .value_name("STRATEGIES")
                .value_delimiter(',')
                .action(ArgAction::Append)
                .conflicts_with("strategy")
                .value_parser(["uniform", "word", "pmi", "span"]),
        )
        .arg(
            Arg::new("mask_token")
                .long("mask-token")
                .help("Mask token for --tokenizer; appended if its vocabulary lacks it")
                .value_name("SPELLING")
                .requires("tokenizer"),
        )
        .arg(
            Arg::new("epoch")
                .long("epoch")
                .help("Epoch of the masks [default: 0]")
                .value_name("EPOCH")
                .value_parser(value_parser!(u64)),
        )
        .arg(
            Arg::new("format")
                .long("format")
                .help("Text for people, or JSON for programs")
                .value_parser(["text", "json"])
                .default_value("text"),
        )
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
    let masking: MaskingConfig = flags::config(matches)?;
    masking.check()?;
    let options = shared::options(matches, StageOptions::new())?;
    let request = request(matches, masking, options.seed)?;
    let preview = preview(matches, &request)?;
    if matches.get_one::<String>("format").map(String::as_str) == Some("json") {
        let json = serde_json::to_string(&preview)
            .map_err(|error| Error::library("writing JSON", error))?;
        println!("{json}");
    } else {
        print!("{}", preview.render(look(matches)));
    }
    Ok(())
}

fn request(matches: &ArgMatches, masking: MaskingConfig, seed: u64) -> Result<Request> {
    let typed =
        |name: &str| matches.value_source(name) == Some(clap::parser::ValueSource::CommandLine);
    let prediction = masking.prediction_rate.clone();
    let rates: Vec<Rate> = match matches.get_many::<Rate>("rates") {
        Some(rates) => rates.cloned().collect(),
        None if typed("corruption_rate") => vec![masking.corruption_rate.clone()],
        None => [0.15, 0.4, 0.8].map(Rate::from).to_vec(),
    };
    for rate in &rates {
        rate.check("--rates")?;
        MaskingConfig {
            corruption_rate: rate.clone(),
            ..masking.clone()
        }
        .check()?;
    }
    let strategies = match matches.get_many::<String>("strategies") {
        Some(names) => names.map(|name| named(name)).collect(),
        None if typed("strategy") => vec![masking.strategy],
        None => Vec::new(),
    };
    Ok(Request {
        rows: shared::typed(matches, "rows").unwrap_or(3),
        first_row: shared::typed(matches, "first_row"),
        length: shared::typed::<u64>(matches, "length").unwrap_or(48) as u32,
        rates: rates
            .into_iter()
            .map(|rate| (rate, prediction.clone()))
            .collect(),
        strategies,
        masking,
        seed,
        epoch: shared::typed(matches, "epoch").unwrap_or(0),
    })
}

fn preview(matches: &ArgMatches, request: &Request) -> Result<Preview> {
    let Some(tokenizer) = shared::typed::<PathBuf>(matches, "tokenizer") else {
        let input = given(matches, "input");
        if !input.is_dir() {
            return Err(Error::usage(
                input.display().to_string(),
                "no folder, and no --tokenizer",
                "shards or token files; or raw text with a tokenizer",
                "give --tokenizer FILE to show raw text",
            ));
        }
        return of_shards(request, &input);
    };
    let config = TokenizeConfig {
        inputs: vec![given(matches, "input").display().to_string()],
        tokenizer,
        mask_token: shared::typed(matches, "mask_token"),
        // For this look alone: nothing is written.
        add_special_tokens: true,
        ..TokenizeConfig::default()
    };
    let texts = match shared::typed::<String>(matches, "text") {
        Some(text) => vec![text],
        None => first_texts(&config, request.rows)?,
    };
    of_texts(request, &Tokenizer::load(&config)?, &texts)
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

fn named(name: &str) -> Strategy {
    match name {
        "word" => Strategy::Word,
        "pmi" => Strategy::Pmi,
        "span" => Strategy::Span,
        _ => Strategy::Uniform,
    }
}

fn number(name: &'static str, help: &'static str, default: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .value_name(name.to_uppercase())
        .value_parser(value_parser!(u64).range(1..=1 << 20))
        .default_value(default)
}

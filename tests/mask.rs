//! `cloze mask` as people run it: ways to mask side by side, the page, JSON for
//! programs, and what it says about requests that cannot work.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const NOVEL: &str = "tests/data/quickstart/Doyle_Hound_1902.txt";
const BERT: &str = "tests/data/tokenizers/bert-base-uncased/vocab.txt";
/// Has three sentinels and no mask token.
const T5: &str = "tests/data/tokenizers/unigram/tokenizer.json";

fn cloze(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cloze"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn done(arguments: &[&str]) -> String {
    let output = cloze(arguments);
    assert!(
        output.status.success(),
        "cloze {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The novel masked with these flags.
fn mask(flags: &[&str]) -> String {
    done(&[&["mask", NOVEL, "--tokenizer", BERT], flags].concat())
}

fn json(flags: &[&str]) -> Value {
    serde_json::from_str(&mask(&[&["--format", "json"], flags].concat())).unwrap()
}

/// What a request to `cloze mask` that cannot work is told, with this exit code.
fn refused(code: i32, arguments: &[&str]) -> String {
    fails(code, &[&["mask"], arguments].concat())
}

fn fails(code: i32, arguments: &[&str]) -> String {
    let output = cloze(arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    let flags = arguments.join(" ");
    assert_eq!(output.status.code(), Some(code), "{flags}: {message}");
    assert!(output.stdout.is_empty(), "{flags}");
    message
}

#[track_caller]
fn assert_told(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn presets_stand_side_by_side_each_at_its_own_rates() {
    let preview = json(&["--presets", "bert,wettig-20-40,ankner", "--rows", "1"]);
    let masks = preview["rows"][0]["masks"].as_array().unwrap();
    let found: Vec<_> = masks
        .iter()
        .map(|mask| {
            let rate = |name: &str| mask[name].as_f64().unwrap();
            let copies = mask["copies"].as_array().unwrap().len();
            let way = mask["way"].as_str().unwrap();
            (
                way,
                rate("corruption_rate"),
                rate("prediction_rate"),
                copies,
            )
        })
        .collect();
    let expected = [
        ("bert", 0.15, 0.15, 1),
        ("wettig-20-40", 0.2, 0.4, 2),
        ("ankner", 0.3, 0.3, 1),
    ];
    assert_eq!(found, expected);
    assert_eq!(masks[2]["corruption_law"], "linear(0.3, 0.15)");

    // Keys beside override each, and rates are put on top of all.
    let flags = ["--presets", "bert,spanbert", "--random-share", "0.2"];
    let preview = json(&[&flags[..], &["--same-share", "0", "--rates", "0.3,0.5"]].concat());
    let masks = preview["rows"][0]["masks"].as_array().unwrap();
    let rates: Vec<f64> = masks
        .iter()
        .map(|mask| mask["corruption_rate"].as_f64().unwrap())
        .collect();
    assert_eq!(rates, [0.3, 0.3, 0.5, 0.5]);
    for way in preview["ways"].as_array().unwrap() {
        assert_eq!(way["masking"]["random_share"], 0.2);
    }
}

#[test]
fn strategies_stand_in_the_order_they_were_named_in() {
    let text = mask(&["--strategies", "ngram,word,uniform", "--width", "160"]);
    let header = text.lines().find(|line| line.contains("whole words"));
    let names: Vec<&str> = header.unwrap().split("   ").map(str::trim).collect();
    let named: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
    assert_eq!(named, ["n-gram spans", "whole words", "uniform"]);
}

#[test]
fn rates_may_be_laws_shown_at_any_step() {
    let laws = "0.2,uniform(0.3, 0.5),piecewise(0: 0.4, 10: 0.1)";
    let flags = ["--strategies", "uniform", "--rates", laws, "--rows", "2"];
    let at = |step: &str| {
        let preview = json(&[&flags[..], &["--step", step]].concat());
        let masks = preview["rows"][0]["masks"].as_array().unwrap().clone();
        masks
            .iter()
            .map(|mask| mask["corruption_rate"].as_f64().unwrap())
            .collect::<Vec<_>>()
    };
    let (first, later) = (at("0"), at("10"));
    assert_eq!(first[0], 0.2);
    assert!((0.3..0.5).contains(&first[1]), "{first:?}");
    assert_eq!((first[2], later[2]), (0.4, 0.1));
    assert_eq!(first[1], later[1]);
}

#[test]
fn shown_rows_take_the_strata_of_one_step() {
    let preview = json(&["--presets", "mdlm", "--rows", "4"]);
    let rows = preview["rows"].as_array().unwrap();
    for (place, row) in (0..).zip(rows) {
        let rate = row["masks"][0]["corruption_rate"].as_f64().unwrap();
        let stratum = (rate - 0.001) / 0.999 * 4.0;
        assert_eq!(stratum.floor(), f64::from(place), "{rate}");
    }
}

#[test]
fn pmi_units_of_raw_text_come_from_a_masking_vocabulary() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("list.txt"), "the united states air force\nby the way\n").unwrap();
    let vocabulary = at("vocabulary.parquet");
    done(&["vocabulary", "--import", &at("list.txt"), "-o", &vocabulary]);
    let text = "By the way, the United States Air Force is on the way.";
    let raw = ["mask", "--text", text, "--tokenizer", BERT];
    let with = [&raw[..], &["--vocabulary", &vocabulary]].concat();
    let shown = done(&[&with[..], &["--rates", "0.5"]].concat());
    assert_told(
        &shown,
        &[
            "by‿the‿way , the‿united‿states‿air‿force is on the way .",
            "PMI units",
        ],
    );
    let shown = done(&[&with[..], &["--format", "json"]].concat());
    let preview: Value = serde_json::from_str(&shown).unwrap();
    // [CLS] by the way , the united states air force is on the way . [SEP]
    let starts = serde_json::json!([0, 1, 4, 5, 10, 11, 12, 13, 14, 15]);
    assert_eq!(preview["rows"][0]["unit_start"], starts);

    let message = refused(2, &[&raw[1..], &["--strategies", "pmi"]].concat());
    assert_told(&message, &["PMI units of raw text", "--vocabulary FILE"]);
    let message = refused(2, &["shards", "--vocabulary", &vocabulary]);
    assert_told(&message, &["--tokenizer"]);
}

#[test]
fn layouts_without_masks_show_gaps_and_sentinels() {
    let removed = mask(&["--strategies", "word", "--layout", "removed", "--rows", "1"]);
    assert_told(&removed, &["whole words, removed", "[…1]", "; input "]);
    let raw = ["mask", NOVEL, "--tokenizer", T5, "--first-row", "4"];
    let flags = ["--presets", "t5", "--rows", "1", "--length", "48"];
    let sentinels = done(&[&raw[..], &flags].concat());
    assert_told(
        &sentinels,
        &[
            "t5, sentinels",
            "⟨0⟩",
            "target: ⟨0⟩",
            "⟨/s⟩",
            "<extra_id_0>",
        ],
    );

    // A tokenizer without sentinels gets some for the look.
    let flags = ["--presets", "bert,t5", "--sentinels", "9", "--width", "120"];
    assert_told(
        &mask(&flags),
        &["bert", "t5, sentinels", "⟨0⟩", "target: ⟨0⟩"],
    );

    // Three sentinels are too few for the spans of a longer row, which is told.
    let flags = ["--presets", "t5", "--rows", "1", "--length", "512"];
    let few = done(&[&raw[..], &flags].concat());
    assert_told(
        &few,
        &["selected tokens were left as they are", "warning: t5"],
    );
    let capped = mask(&["--rates", "0.8", "--max-predictions", "5", "--rows", "1"]);
    assert_told(&capped, &["max_predictions took", "predicted 5 of 46"]);
}

#[test]
fn a_page_is_written_whole_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("pages/masked.html");
    let flags = ["--presets", "bert,wettig-40", "--html"];
    let text = mask(&[&flags[..], &[page.to_str().unwrap()]].concat());
    assert_told(&text, &[&format!("The same as a page: {}", page.display())]);
    let written = fs::read_to_string(&page).unwrap();
    assert_told(
        &written,
        &["<!DOCTYPE html>", NOVEL, BERT, "wettig-40", "</html>\n"],
    );
    let files = fs::read_dir(page.parent().unwrap()).unwrap().count();
    assert_eq!(files, 1, "nothing half-written is left");

    // The same request writes the same bytes, beside JSON, too.
    let again = folder.path().join("again.html");
    let flags = [&flags[..], &[again.to_str().unwrap()]].concat();
    json(&flags);
    assert_eq!(fs::read_to_string(&again).unwrap(), written);
    let nowhere = Path::new("/dev/null/page.html").display().to_string();
    let message = refused(1, &[NOVEL, "--tokenizer", BERT, "--html", &nowhere]);
    assert_told(&message, &["/dev/null"]);
}

#[test]
fn wrong_requests_are_told_what_is_wrong_and_the_way_out() {
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["--corruption-rate", "0.6", "--prediction-rate", "0.8"],
            &["masking.prediction_rate", "120 %", "lower prediction_rate"],
        ),
        (
            &["--mask-share", "0.8"],
            &["mask_share + random_share + same_share", "found 0.8"],
        ),
        (&["--corruption-rate", "1.4"], &["write 40 % as 0.4"]),
        (
            &["--rates", "0.15,1.4"],
            &["--rates: found 1.4", "write 40 % as 0.4"],
        ),
        (
            &["--rates", "0.15,linear(0.3"],
            &["--rates: found \"linear(0.3\"", "linear(0.3, 0.15)"],
        ),
        (&["--strategies", "pmi"], &["--vocabulary FILE"]),
        (
            &[
                "--strategy",
                "span",
                "--mean-span-length",
                "60",
                "--length",
                "48",
            ],
            &[
                "masking.mean_span_length: found 60",
                "48 tokens",
                "lengthen the rows",
            ],
        ),
        (&["--presets", "robrta"], &["possible values", "'roberta'"]),
        (
            &["--strategies", "unifrom"],
            &["possible values", "'uniform'"],
        ),
        (
            &["--presets", "bert", "--strategies", "word"],
            &["cannot be used with"],
        ),
        (
            &["--mixture", "{ wieght = 2 }"],
            &["mixture[0].wieght", "did you mean weight?"],
        ),
        (
            &["--mixture", "{ strategy = \"wrd\" }"],
            &["mixture[0]", "unknown variant `wrd`", "`word`"],
        ),
        (
            &["--mixture", "{ weight = 0 }"],
            &["masking.mixture[0].weight: found 0"],
        ),
        (
            &["--mixture", "{ preset = \"ul2\" }"],
            &["mixture[0]: preset: a mixture itself"],
        ),
        (
            &["--preset", "bert", "--layout", "sentinel"],
            &["masking.layout: found sentinel with random", "removed"],
        ),
        (
            &["--presets", "ankner", "--step", "5"],
            &["masking.schedule_steps", "schedule_steps = 100000"],
        ),
    ];
    for (flags, parts) in cases {
        let message = refused(2, &[&[NOVEL, "--tokenizer", BERT], *flags].concat());
        assert_told(&message, parts);
    }
    assert_told(&refused(2, &[NOVEL]), &["--tokenizer FILE"]);
}

#[test]
fn what_a_tokenizer_or_shards_lack_is_named() {
    let message = refused(1, &[NOVEL, "--tokenizer", BERT, "--presets", "t5"]);
    assert_told(
        &message,
        &["no sentinel tokens", "--sentinels 100", "removed"],
    );
    let message = refused(1, &[NOVEL, "--tokenizer", T5]);
    assert_told(&message, &["no mask token", "--mask-token"]);

    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    done(&["tokenize", NOVEL, "--tokenizer", BERT, "-o", &at("tokens")]);
    done(&["shard", &at("tokens"), "-o", &at("shards")]);
    let message = refused(1, &[&at("shards"), "--presets", "pmi"]);
    assert_told(&message, &["shards without masking units", "cloze shard"]);

    // Unigram counts are those of all shards.
    let shards = at("shards");
    let unigram = ["--random-ids", "unigram", "--mask-share", "0.5"];
    let flags = [&["mask", &shards, "--random-share", "0.5"], &unigram[..]].concat();
    assert_told(&done(&flags), &["~", "random"]);
}

#[test]
fn a_pipeline_shows_its_own_masking_as_text_and_page() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let toml = format!(
        "name = \"shown\"\n[tokenize]\ninputs = [{:?}]\ntokenizer = {:?}\n\
         [preview]\nrows = 2\nrates = [0.15, \"uniform(0.2, 0.3)\"]\n\
         strategies = [\"word\", \"ngram\"]\n\
         [train.masking]\nstrategy = \"word\"\ncorruption_rate = \"linear(0.5, 0.1)\"\n",
        root.join(NOVEL),
        root.join(BERT)
    );
    let file = folder.path().join("shown.toml");
    fs::write(&file, toml).unwrap();
    let work = folder.path().join("work").display().to_string();
    let run = [
        &["run", file.to_str().unwrap(), "--work", &work][..],
        &["--only", "tokenize,shard,mask"],
    ]
    .concat();
    let text = done(&run);
    assert_told(
        &text,
        &[
            "whole words",
            "n-gram spans",
            "of uniform(0.2, 0.3)",
            "50 %",
            "of linear(0.5, 0.1)",
            "preview.html",
        ],
    );
    let page = fs::read_to_string(Path::new(&work).join("preview.html")).unwrap();
    assert_told(&page, &["n-gram spans", "of linear(0.5, 0.1)", "</html>"]);

    let wrong = [&run[..], &["--set", "preview.rates=[1.5]"]].concat();
    let output = cloze(&wrong);
    assert_eq!(output.status.code(), Some(2));
    let wrong = [&run[..], &["--set", "preview.strategies=[\"pmi\"]"]].concat();
    let output = cloze(&wrong);
    assert_told(
        &String::from_utf8_lossy(&output.stderr),
        &["preview.strategies", "[vocabulary]"],
    );
}

#[test]
fn weights_of_tokens_leave_spans_out_of_what_is_shown_by_default() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights.tsv");
    std::fs::write(&weights, "the\t0\nhound\t4\n").unwrap();
    let weights = weights.to_str().unwrap();
    let shown = json(&["--token-weights", weights, "--rates", "0.5"]);
    let ways: Vec<&str> = shown["ways"]
        .as_array()
        .unwrap()
        .iter()
        .map(|way| way["name"].as_str().unwrap())
        .collect();
    assert_eq!(ways, ["uniform", "word"]);
}

#[test]
fn a_file_of_weights_that_says_nothing_or_something_else_is_named_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights.tsv");
    let cases: &[(&[u8], &[&str])] = &[
        (b"the\t0\nxyzzyq\t1\n", &["weights.tsv, line 2", "xyzzyq"]),
        (b"the\t0\nhound 4\n", &["weights.tsv, line 2", "tab"]),
        (b"the\t-1\n", &["weights.tsv, line 1", "-1"]),
        (
            b"the\t2\n\nthe\t3\n",
            &["weights.tsv, line 3", "second time"],
        ),
        (
            b"the\t2\nh\xf6und\t3\n",
            &["weights.tsv, line 2", "0xF6", "UTF-8"],
        ),
        (
            b"",
            &["weights.tsv", "no weight", "leave `token_weights` out"],
        ),
        (b"\n\n", &["weights.tsv", "no weight"]),
    ];
    for (bytes, parts) in cases {
        fs::write(&file, bytes).unwrap();
        let weights = ["--token-weights", file.to_str().unwrap()];
        let message = refused(1, &[&[NOVEL, "--tokenizer", BERT][..], &weights].concat());
        assert_told(&message, parts);
    }
    fs::remove_file(&file).unwrap();
    let weights = ["--token-weights", file.to_str().unwrap()];
    let message = refused(1, &[&[NOVEL, "--tokenizer", BERT][..], &weights].concat());
    assert_told(&message, &["weights.tsv", "No such file"]);
}

#[test]
fn a_mixture_with_weights_and_unigram_replacements_trains_and_knows_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let [tokens, shards, model, weights] = ["tokens", "shards", "model", "weights.tsv"].map(at);
    let tokenize = ["tokenize", NOVEL, "--tokenizer", BERT, "-o", &tokens];
    done(&[&tokenize[..], &["--document", "paragraph"]].concat());
    done(&["shard", &tokens, "-o", &shards]);
    fs::write(&weights, "the\t0.25\nhound\t4\n").unwrap();
    let train = [
        &["train", &shards, "-o", &model, "--steps", "4"][..],
        &["--rows.length", "48", "--batch-size", "4"],
        &["--model.layers", "1", "--model.hidden", "32"],
        &["--model.heads", "2", "--model.feed-forward", "64"],
        &["--model.positions", "48", "--log-format", "silent"],
        &["--masking.random-ids", "unigram"],
        &["--masking.mask-share", "0.8", "--masking.random-share"],
        &["0.2", "--masking.mixture"],
        &["{ weight = 2, corruption_rate = 0.3 }"],
        &[
            "--masking.mixture",
            "{ strategy = \"word\", corruption_rate = 0.2, prediction_rate = 0.4 }",
        ],
        &["--masking.token-weights", &weights],
    ]
    .concat();
    done(&train);
    let manifest: Value =
        serde_json::from_slice(&fs::read(Path::new(&model).join("manifest.json")).unwrap())
            .unwrap();
    let inputs = manifest["inputs"].to_string();
    assert!(inputs.contains("weights.tsv"), "{manifest}");
    // Four steps of four rows, some of them emitted twice: exactly as many as were trained on.
    let trained = manifest["totals"]["tokens_trained"].as_u64().unwrap();
    let metrics = fs::read_to_string(Path::new(&model).join("metrics.jsonl")).unwrap();
    assert!(
        trained > 4 * 4 * 24 && trained <= 4 * 8 * 48,
        "{trained}\n{metrics}"
    );

    fs::write(&weights, "the\t0.5\nhound\t4\n").unwrap();
    let message = fails(1, &train);
    assert_told(&message, &["weights.tsv", "--overwrite"]);
}

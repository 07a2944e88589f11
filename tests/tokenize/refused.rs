//! Documents that cannot be used are rejected with place and reason, and too many of them, or none at all, end the stage.

use super::*;

#[test]
fn each_kind_of_bad_input_is_rejected_with_its_place_and_reason() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("input");
    fs::create_dir(&input).unwrap();
    let good = "{\"text\": \"a good line\"}\n";
    let mut long = good.to_owned() + "{\"text\": \"";
    long.push_str(&"x".repeat(100_000_000));
    long.push_str("\"}\n");
    long.push_str(good);
    fs::write(input.join("a-long.jsonl"), long).unwrap();
    let lines = [
        good.as_bytes(),
        b"not json\n",
        b"{\"body\": 1}\n",
        b"{\"text\": 7}\n",
        b"{\"text\": \" \\n\"}\n",
        b"{\"text\": \"a\\u0000b\"}\n",
        b"{\"text\": \"caf\xE9\"}\n",
        good.as_bytes(),
    ]
    .concat();
    fs::write(input.join("b-lines.jsonl"), lines).unwrap();
    fs::write(input.join("c-latin1.txt"), b"caf\xE9").unwrap();
    fs::write(input.join("d-empty.txt"), "").unwrap();
    let many = good.repeat(20_000);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, many.as_bytes()).unwrap();
    let gz = gz.finish().unwrap();
    fs::write(input.join("e-cut.jsonl.gz"), &gz[..gz.len() / 2]).unwrap();
    // Zstandard decodes by blocks of 128 KiB: enough of them to lose only the last.
    let mixed: String = (0..20_000u32)
        .map(|n| format!("{{\"text\": \"line {}\"}}\n", n.wrapping_mul(2_654_435_761)))
        .collect();
    let zst = zstd::encode_all(mixed.as_bytes(), 1).unwrap();
    fs::write(input.join("f-cut.jsonl.zst"), &zst[..zst.len() * 3 / 4]).unwrap();
    parquet(&input.join("g-column.parquet"), "body", vec![Some("x")]);
    parquet(
        &input.join("h-null.parquet"),
        "text",
        vec![Some("x"), None, Some("y")],
    );
    fs::write(input.join("i-broken.parquet"), "PAR1 nothing PAR1").unwrap();
    std::os::unix::fs::symlink("nowhere", input.join("j-gone.txt")).unwrap();

    let config = TokenizeConfig {
        max_rejected: 0.9,
        document: DocumentRule::File,
        ..config(&[input])
    };
    let out = dir.path().join("out");
    let manifest = tokenize(&config, &out, &options(2)).unwrap();
    let found: Vec<(String, String, String)> = rejected(&out)
        .iter()
        .map(|line| {
            let text = |key: &str| line[key].as_str().unwrap().to_owned();
            let file = text("file").rsplit_once('/').unwrap().1[..1].to_owned();
            (file, text("place"), text("reason"))
        })
        .collect();
    let expected = [
        ("a", "byte 24", "longer than 50331648 bytes"),
        ("b", "byte 24", "no JSON object"),
        ("b", "byte 33", "no field \"text\""),
        ("b", "byte 45", "is a number"),
        ("b", "byte 57", "an empty document"),
        ("b", "byte 73", "a NUL"),
        ("b", "byte 94", "no UTF-8 at its byte 13"),
        ("c", "byte 0", "no UTF-8 at its byte 3"),
        ("d", "byte 0", "an empty document"),
        ("e", "byte ", "cut short"),
        ("f", "byte ", "cut short"),
        ("g", "file", "columns body"),
        ("h", "row 1", "a missing value"),
        ("i", "file", "Parquet"),
        ("j", "file", "cannot be read"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((file, place, reason), expected) in found.iter().zip(expected) {
        assert_eq!(file, expected.0, "{found:#?}");
        assert!(place.starts_with(expected.1), "{place}, not {}", expected.1);
        assert!(reason.contains(expected.2), "{reason}, not {}", expected.2);
    }
    assert_eq!(manifest.total("rejected"), expected.len() as u64);
    // What lies before a cut is kept: 20 000 lines were in each file.
    let kept = |file: u64| {
        documents(&out)
            .keys()
            .filter(|id| *id >> 40 == file)
            .count()
    };
    assert_eq!((kept(0), kept(1), kept(7)), (2, 2, 2));
    assert!(kept(4) > 5_000, "{}", kept(4));
    assert!(kept(5) > 2_000, "{}", kept(5));
}

#[test]
fn too_many_rejections_fail_the_stage_and_keep_its_work() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("a.jsonl");
    let lines = "{\"text\": \"sea\"}\n".repeat(97) + "x\n{}\n[]\n";
    fs::write(&input, lines).unwrap();
    let strict = config(&[input]);
    let out = dir.path().join("out");
    let error = tokenize(&strict, &out, &options(2)).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    let message = error.to_string();
    for part in [
        "3 of 100 documents",
        "3.000 %",
        "at most 1 %",
        "no JSON object",
        "byte 1552",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
    assert_eq!(rejected(&out).len(), 3);
    assert!(!out.join("manifest.json").exists());

    let made = fs::metadata(out.join("tokens-00000.arrow"))
        .unwrap()
        .modified()
        .unwrap();
    let lenient = TokenizeConfig {
        max_rejected: 0.03,
        ..strict.clone()
    };
    let manifest = tokenize(&lenient, &out, &options(2)).unwrap();
    assert_eq!(manifest.total("documents"), 97);
    let now = fs::metadata(out.join("tokens-00000.arrow"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(now, made, "nothing is tokenised again");
    assert!(tokenize(&strict, &out, &options(2)).is_err());
}

#[test]
fn no_document_and_no_input_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let blank = dir.path().join("blank.jsonl");
    fs::write(&blank, "\n\n").unwrap();
    let out = dir.path().join("out");
    let error = tokenize(&config(&[blank]), &out, &options(1)).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(error.to_string().contains("no document"), "{error}");
    let error = tokenize(&config(&[dir.path().join("*.txt")]), &out, &options(1)).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("*.txt"), "{error}");
}

#[test]
fn a_document_that_cannot_be_tokenised_within_the_memory_is_not_begun() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&[corpus(dir.path())]);
    let by_library = TokenizeConfig {
        tokenizer_path: TokenizerPath::Library,
        ..config.clone()
    };
    let within = |config: &TokenizeConfig, mib| {
        let memory = ByteSize::mib(mib);
        let options = StageOptions {
            memory,
            ..options(2)
        };
        tokenize(config, &dir.path().join("out"), &options)
    };
    for (config, mib) in [(&config, 128), (&by_library, 256)] {
        let error = within(config, mib).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("max_document"), "{error}");
    }
    assert!(within(&config, 256).is_ok());
}

"""Stages as functions: what the command does, with the same bytes."""

import json
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
from conftest import ROOT, TEXT, TOKENIZERS, cloze

import cloze as package
from cloze import keys

VOCABULARY = TOKENIZERS / "wordpiece-4096/vocab.txt"


def contents(path):
    """Every file below, by name."""
    path = Path(path)
    files = path.rglob("*") if path.is_dir() else [path, path.with_name(path.name + ".manifest.json")]
    return {file.name: file.read_bytes() for file in files if file.is_file()}


def test_every_stage_writes_the_bytes_of_the_command(tmp_path):
    """Inputs are named alike, since manifests say what an artefact was made from."""
    ours, theirs = tmp_path / "python", tmp_path / "command"
    text = {"tokenizer": VOCABULARY, "document": "paragraph", "batch_tokens": 4096}
    made = package.tokenize(TEXT, output=ours / "tokens", seed=9, memory="1GiB", **text)
    flags = ["--document", "paragraph", "--batch-tokens", "4096", "--seed", "9", "--memory", "1GiB"]
    cloze("tokenize", TEXT, "--tokenizer", VOCABULARY, "--output", theirs / "tokens", *flags)
    assert contents(made) == contents(theirs / "tokens")

    counts = package.count(made, output=ours / "counts", min_count=5, punctuation="skip")
    flags = ["--min-count", "5", "--punctuation", "skip"]
    cloze("count", made, "--output", theirs / "counts", *flags)
    assert contents(counts) == contents(theirs / "counts")

    of_text = package.count(input=[TEXT], output=ours / "text", min_count=5, document="paragraph")
    flags = ["--min-count", "5", "--document", "paragraph"]
    cloze("count", "--input", TEXT, "--output", theirs / "text", *flags)
    assert contents(of_text) == contents(theirs / "text")

    vocabulary = package.vocabulary(counts, output=ours / "v.parquet", tokens=made, size=300)
    flags = ["--tokens", made, "--size", "300"]
    cloze("vocabulary", counts, "--output", theirs / "v.parquet", *flags)
    assert contents(vocabulary) == contents(theirs / "v.parquet")

    shards = package.shard(made, vocabulary=vocabulary, output=ours / "shards", overlap="best")
    flags = ["--vocabulary", vocabulary, "--overlap", "best"]
    cloze("shard", made, "--output", theirs / "shards", *flags)
    assert contents(shards) == contents(theirs / "shards")

    model = {"layers": 1, "hidden": 16, "heads": 1, "feed_forward": 16}
    run = package.train(
        shards, output=ours / "run", steps=3, batch_size=4, rows={"length": 32}, model=model
    )
    flags = ["--steps", "3", "--batch-size", "4", "--rows.length", "32", "--model.layers", "1"]
    flags += ["--model.hidden", "16", "--model.heads", "1", "--model.feed-forward", "16"]
    cloze("train", shards, "--output", theirs / "run", *flags)
    weights = "export/model.safetensors"
    assert Path(run, weights).read_bytes() == (theirs / "run" / weights).read_bytes()

    found = package.evaluate(run, shards=shards, output=ours / "found", max_rows=8)
    cloze("evaluate", run, "--shards", shards, "--output", theirs / "found", "--max-rows", "8")
    assert contents(found) == contents(theirs / "found")
    assert found.report["rows"]["evaluated"] == 8

    task = tmp_path / "task.tsv"
    rows = [f"a {word} day {n}\t{word}" for n in range(12) for word in ("good", "bad")]
    task.write_text("\n".join(["sentence\tlabel", *rows]))
    grid = {"learning_rates": [1e-3], "batch_sizes": [8], "seeds": [1], "epochs": 1, "max_length": 16}
    tuned = package.finetune(run, train=task, output=ours / "tuned", **grid)
    flags = [f"--{key.replace('_', '-')}={str(value).strip('[]')}" for key, value in grid.items()]
    cloze("finetune", run, "--train", task, "--output", theirs / "tuned", *flags)
    assert contents(tuned) == contents(theirs / "tuned")
    assert len(tuned.report["settings"]) == 1

    flags = ["--top", "3", "--length", "3"]
    shown = package.inspect(vocabulary, top=3, length=3)
    assert shown == cloze("inspect", vocabulary, *flags).stdout
    assert package.inspect(shards) == cloze("inspect", shards).stdout


def test_parts_are_joined_as_the_command_joins_them(tokens, tmp_path):
    runs = [
        package.count(tokens, output=tmp_path / "runs", part=part, of=2, min_count=5)
        for part in (0, 1)
    ]
    assert [type(run) for run in runs] == [package.Runs, package.Runs]
    joined = package.count(merge=[tmp_path / "runs"], output=tmp_path / "joined", min_count=5)
    whole = package.count(tokens, output=tmp_path / "whole", min_count=5)
    texts = [
        sorted(row["text"] for row in rows(counts)) for counts in (joined, whole)
    ]
    assert texts[0] == texts[1]
    first = package.tokenize(
        TEXT, tokenizer=VOCABULARY, output=tmp_path / "part", part=0, of=3, document="line"
    )
    assert "1 of 3 parts" in repr(first)
    with pytest.raises(package.InputError, match="for --part 1, 2"):
        len(first)


def rows(table):
    import pyarrow

    return pyarrow.table(table).to_pylist()


def test_what_is_done_is_not_done_again_and_what_differs_is_refused(tokens, tmp_path):
    first = package.shard(tokens, output=tmp_path / "shards", seed=1)
    stamps = {file: file.stat().st_mtime_ns for file in Path(first).iterdir()}
    again = package.shard(tokens, output=tmp_path / "shards", seed=1)
    assert {file: file.stat().st_mtime_ns for file in Path(again).iterdir()} == stamps
    with pytest.raises(package.MismatchError, match="seed"):
        package.shard(tokens, output=tmp_path / "shards", seed=2)
    other = package.shard(tokens, output=tmp_path / "shards", seed=2, overwrite=True)
    assert other.content_fingerprint != first.content_fingerprint


@pytest.mark.parametrize(
    "call, place, remedy",
    [
        (lambda: package.tokenize("a", output="b", tokeniser="c"), "tokenize, key tokeniser", "tokenizer"),
        (lambda: package.count("a", output="b", min_cuont=3), "count, key min_cuont", "min_count"),
        (lambda: package.count("a", output="b", text_feild="t"), "count, key text_feild", "text_field"),
        (lambda: package.shard("a", output="b", thread=2), "shard, key thread", "threads"),
        (lambda: package.vocabulary("a", output="b", part=2, of=3), "vocabulary, key of", None),
        (lambda: package.train("a", output="b", masking={"straregy": "word"}), "train, key masking.straregy", "strategy"),
        (lambda: package.count("a", output="b", text_field="t"), "count, key text_field", None),
        (lambda: package.count(output="b"), "count", None),
        (lambda: package.shard("a", output="b", part=1), "part", None),
    ],
)  # fmt: skip
def test_wrong_use_names_the_place_and_the_way_out(call, place, remedy):
    with pytest.raises(package.UsageError) as wrong:
        call()
    assert wrong.value.place == place
    if remedy:
        assert wrong.value.remedy == f"did you mean {remedy}?"


def test_a_value_of_the_wrong_kind_is_refused_with_its_key(tokens):
    with pytest.raises(package.UsageError, match="count, key min_count: found "):
        package.count(tokens, output="b", min_count="many")


def test_editors_know_every_key_of_the_configuration():
    schema = json.loads((ROOT / "schemas/pipeline.schema.json").read_text())["$defs"]
    parts = keys.PartOptions.__annotations__.keys()
    for name in ("Tokenize", "Vocabulary", "Shard", "Train", "Evaluate"):
        known = getattr(keys, f"{name}Keys").__annotations__.keys() - parts
        expected = schema[f"{name}Config"]["properties"].keys() - {"inputs"}
        assert {key.removesuffix("_") for key in known} == expected, name
    counting = keys.CountKeys.__annotations__.keys() - keys.TextKeys.__annotations__.keys() - parts
    assert counting == schema["CountConfig"]["properties"].keys()
    with pytest.raises(package.UsageError) as wrong:
        package.count("a", output="b", nothing=1)
    known = set(wrong.value.expected.removeprefix("one of ").split(", "))
    assert known == keys.CountKeys.__annotations__.keys() - {"progress"}
    schema = json.loads((ROOT / "schemas/experiment.schema.json").read_text())["$defs"]
    known = keys.FinetuneKeys.__annotations__.keys() - parts
    assert known == schema["FinetuneConfig"]["properties"].keys()


def test_an_experiment_gives_the_results_of_the_command(shards, tmp_path):
    toml = tmp_path / "small.toml"
    toml.write_text(
        f"""
        shards = "{shards}"
        seeds = [1]
        evaluate.max_rows = 8
        [train]
        steps = 2
        batch_size = 4
        rows.length = 16
        model = {{ layers = 1, hidden = 16, heads = 1, feed_forward = 16, positions = 16 }}
        [[grid]]
        name = "rates"
        train.masking.corruption_rate = [0.15, 0.4]
        """
    )
    found = package.experiment(toml, work=tmp_path / "work")
    assert [one["setting"] for one in found["settings"]] == ["rates-0.15", "rates-0.4"]
    assert found["settings"][0]["measures"]["loss@0.15"]["runs"] == 1
    cloze("experiment", toml, "--work", tmp_path / "theirs")
    for name in ("results.json", "results.md"):
        theirs = (tmp_path / "theirs/report" / name).read_text()
        assert (tmp_path / "work/report" / name).read_text() == theirs
    assert package.experiment(toml, work=tmp_path / "work", report=True) == found


def test_a_pipeline_makes_what_the_command_makes(tmp_path, monkeypatch):
    for folder in ("ours", "theirs"):
        (tmp_path / folder).mkdir()
    toml = tmp_path / "small.toml"
    toml.write_text(
        f"""
        name = "small"
        seed = 3
        [tokenize]
        inputs = ["{TEXT}"]
        tokenizer = "{VOCABULARY}"
        document = "paragraph"
        [count]
        min_count = 5
        [vocabulary]
        size = 300
        [train]
        steps = 9
        batch_size = 4
        rows.length = 16
        model = {{ layers = 1, hidden = 16, heads = 1, feed_forward = 16, positions = 16 }}
        """
    )
    monkeypatch.chdir(tmp_path / "theirs")
    cloze("run", toml, "--set", "train.steps=2")
    monkeypatch.chdir(tmp_path / "ours")
    made = package.run(toml, train={"steps": 2}, threads=1)
    assert made.path == "runs/small"
    for name in ("tokens", "counts", "vocabulary", "shards"):
        ours = Path(getattr(made, name))
        assert contents(ours) == contents(tmp_path / "theirs" / ours), name
    assert made.model.configuration["steps"] == 2
    assert "tokenize" in made.summary and "train" in repr(made)
    only = package.run(toml, work="other", only=["tokenize"], seed=4)
    assert contents(only.tokens) == contents(made.tokens)
    with pytest.raises(package.MissingError):
        only.shards
    with pytest.raises(package.UsageError) as wrong:
        package.run(toml, work="other", trian={})
    assert "did you mean train?" in str(wrong.value)
    known = wrong.value.expected.removeprefix("one of ").split(", ")
    assert len(known) == len(set(known))
    with pytest.raises(FileNotFoundError) as missing:
        package.run("none.toml")
    words = "cannot read: No such file or directory"
    assert str(missing.value) == f"[Errno 2] {words}: 'none.toml'"
    assert (missing.value.errno, missing.value.strerror) == (2, words)
    known = keys.RunKeys.__annotations__.keys() - keys.Options.__annotations__.keys()
    schema = json.loads((ROOT / "schemas/pipeline.schema.json").read_text())
    assert known == schema["properties"].keys() - {"work", "seed", "memory", "threads"}


def test_a_stage_leaves_the_lock_to_other_threads(tmp_path):
    """What the interpreter does meanwhile, it does."""
    text = tmp_path / "text.txt"
    text.write_text(TEXT.read_text(encoding="utf-8") * 4, encoding="utf-8")
    ticks, over = [], threading.Event()

    def tick():
        while not over.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.005)

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.perf_counter()
    package.tokenize(text, tokenizer=VOCABULARY, tokenizer_path="library", output=tmp_path / "out", document="line")  # fmt: skip
    ended = time.perf_counter()
    over.set()
    thread.join()
    during = sum(began < tick < ended for tick in ticks)
    assert during > (ended - began) / 0.1


# Started in the background of a shell, a test run ignores Ctrl-C, and so would what it starts.
INTERRUPTED = """
import signal, sys, cloze
signal.signal(signal.SIGINT, signal.default_int_handler)
text, tokenizer, output = sys.argv[1:]
try:
    cloze.tokenize(text, tokenizer=tokenizer, tokenizer_path="library", output=output,
                   document="line", file_bytes="128KiB", progress=True)
except KeyboardInterrupt:
    print("interrupted")
    sys.exit(3)
"""


def test_ctrl_c_ends_a_stage_which_goes_on_to_the_same_bytes(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text(TEXT.read_text(encoding="utf-8") * 20, encoding="utf-8")
    command = [sys.executable, "-c", INTERRUPTED, str(text), str(VOCABULARY), str(tmp_path / "out")]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("out/*.arrow")) and running.poll() is None:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    began = time.monotonic()
    out, progress = running.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert (running.returncode, out) == (3, "interrupted\n"), progress
    with pytest.raises(package.InputError):
        package.Tokens(tmp_path / "out")
    made = {"tokenizer": VOCABULARY, "tokenizer_path": "library", "document": "line"}
    made["file_bytes"] = "128KiB"
    resumed = package.tokenize(text, output=tmp_path / "out", **made)
    whole = package.tokenize(text, output=tmp_path / "whole", **made)
    assert contents(resumed) == contents(whole)


def test_progress_is_shown_where_it_is_asked_for_and_facts_are_logged(tokens, tmp_path, capsys, caplog):
    caplog.set_level("INFO", logger="cloze")
    package.count(tokens, output=tmp_path / "silent", min_count=5)
    assert capsys.readouterr().err == ""
    assert any(record.message.startswith("count: ") for record in caplog.records)
    package.count(tokens, output=tmp_path / "shown", min_count=5, progress=True)
    assert "count" in capsys.readouterr().err


def test_a_warning_of_a_stage_is_a_warning(tmp_path):
    text = tmp_path / "text.jsonl"
    text.write_text('{"text": "good"}\n{"no": 1}\n' + '{"text": "fine"}\n' * 20)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        package.tokenize(text, tokenizer=VOCABULARY, output=tmp_path / "out", max_rejected=0.5)
    assert [one for one in caught if "rejected" in str(one.message)], caught


def test_verify_says_what_it_read_and_finds_a_flipped_bit(shards, tmp_path):
    verified = package.verify(shards)
    opened = package.Shards(shards)
    assert verified == opened.verify()
    assert verified.rows == len(opened)
    for file in shards.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    shard = sorted(tmp_path.glob("*.arrow"))[0]
    content = bytearray(shard.read_bytes())
    content[len(content) // 3] ^= 1
    shard.write_bytes(content)
    with pytest.raises(package.CorruptError, match="record batch"):
        package.verify(tmp_path)

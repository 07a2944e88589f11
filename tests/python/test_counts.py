"""Counts and vocabularies of the `cloze` binary, against duckdb on the same words.

CLOZE_BIN names the binary; without it, target/release/cloze.
"""

import json
import math
import os
import subprocess
from itertools import combinations
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BINARY = os.environ.get("CLOZE_BIN", str(TARGET / "release" / "cloze"))
DATA = ROOT / "tests" / "data"
MIN_COUNT = 3
LENGTHS = range(1, 6)


def cloze(*arguments):
    done = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("counts")
    cloze(
        "tokenize",
        DATA / "quickstart" / "Doyle_Hound_1902.txt",
        "--tokenizer",
        DATA / "tokenizers" / "bert-base-uncased" / "vocab.txt",
        "--output",
        folder / "tokens",
    )
    return folder


def token_runs(folder):
    """Spellings of each document's tokens, read with pyarrow."""
    vocabulary = (DATA / "tokenizers" / "bert-base-uncased" / "vocab.txt").read_text().split("\n")
    for path in sorted((folder / "tokens").glob("*.arrow")):
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
        words = table["word_start"].to_pylist()
        for tokens, starts in zip(table["tokens"].to_pylist(), words):
            yield [vocabulary[token] for token in tokens], starts


def word_runs(folder):
    """Runs of words between punctuation and unknown words, by the rules of spec 7."""
    for spellings, starts in token_runs(folder):
        words = []
        for spelling, start in zip(spellings, starts):
            if start or not words:
                words.append([])
            words[-1].append(spelling)
        run = []
        for pieces in words:
            text = "".join(piece.removeprefix("##") for piece in pieces)
            if "[UNK]" in pieces or not any(map(str.isalnum, text)):
                yield run
                run = []
            else:
                run.append(text)
        yield run


def counted_by_duckdb(runs, length):
    """Every window of `length` words and its count; and the number of windows."""
    connection = duckdb.connect()
    windows = [
        " ".join(run[at : at + length]) for run in runs for at in range(len(run) - length + 1)
    ]
    table = pa.table({"ngram": pa.array(windows, pa.string())})
    connection.register("windows", table)
    rows = connection.execute(
        "select ngram, count(*) from windows group by ngram having count(*) >= ?", [MIN_COUNT]
    ).fetchall()
    return dict(rows), len(windows)


def kept(folder, length):
    table = pq.read_table(folder / f"counts-{length}.parquet")
    return dict(zip(table["text"].to_pylist(), table["count"].to_pylist()))


@pytest.mark.parametrize("unit", ["word", "token"])
def test_every_count_equals_that_of_duckdb(folder, unit):
    output = folder / f"counts-{unit}"
    arguments = ["--min-count", MIN_COUNT, "--unit", unit]
    if unit == "token":
        arguments += ["--punctuation", "word", "--unknown", "word"]
        runs = [spellings for spellings, _ in token_runs(folder)]
    else:
        runs = list(word_runs(folder))
    cloze("count", folder / "tokens", "--output", output, *arguments)
    for length in LENGTHS:
        expected, windows = counted_by_duckdb(runs, length)
        found = kept(output, length)
        assert len(found) > (0 if length == 5 else 20)
        assert found == expected, f"length {length}"
        assert note(output, length)["windows"][length - 1] == windows


def test_parts_of_tokens_and_of_text_are_merged_to_the_counts_of_duckdb(folder):
    novel = DATA / "quickstart" / "Doyle_Hound_1902.txt"
    vocabulary = DATA / "tokenizers" / "bert-base-uncased" / "vocab.txt"
    text = ["--document", "paragraph"]
    cloze("tokenize", novel, "--tokenizer", vocabulary, "-o", folder / "short" / "tokens", *text)
    sources = {
        "tokens": [folder / "short" / "tokens"],
        "text": ["--input", novel, "--tokenizer", vocabulary, *text],
    }
    runs = list(word_runs(folder / "short"))
    for name, source in sources.items():
        parts = folder / f"runs-{name}"
        for part in range(3):
            cloze("count", *source, "-o", parts, "--part", part, "--of", 3)
        output = folder / f"counts-merged-{name}"
        cloze("count", "--merge", parts, "-o", output, "--min-count", MIN_COUNT)
        for length in LENGTHS:
            expected, windows = counted_by_duckdb(runs, length)
            assert kept(output, length) == expected, f"{name}, length {length}"
            assert note(output, length)["windows"][length - 1] == windows


def test_a_run_is_read_by_duckdb(folder):
    """All windows are in it: the counts of two words are sums over those that begin so."""
    run = folder / "run"
    cloze("count", folder / "tokens", "-o", run, "--runs")
    with pa.memory_map(str(run / "windows.arrow")) as source:
        windows = pa.ipc.open_file(source).read_all()
    words = pq.read_table(run / "words.parquet")
    connection = duckdb.connect()
    connection.register("windows", windows)
    connection.register("words", words)
    rows = connection.execute(
        """
        select a.text || ' ' || b.text, sum(w.count)
        from windows w
        join words a on a.ngram[1] = w.word_1 - 1
        join words b on b.ngram[1] = w.word_2 - 1
        group by all
        """
    ).fetchall()
    expected, _ = counted_by_duckdb(list(word_runs(folder)), 2)
    assert {ngram: count for ngram, count in rows if count >= MIN_COUNT} == expected


def note(folder, length):
    """What a file of counts says of itself."""
    metadata = pq.read_metadata(folder / f"counts-{length}.parquet").metadata
    return json.loads(metadata[b"cloze"])


def test_scores_are_the_minimum_over_all_segmentations(folder):
    counts = folder / "counts-scored"
    cloze("count", folder / "tokens", "--output", counts, "--min-count", MIN_COUNT)
    windows = note(counts, 1)["windows"]
    log_p = {}
    for length in LENGTHS:
        for ngram, count in kept(counts, length).items():
            log_p[ngram] = math.log(count / windows[length - 1])
    output = folder / "vocabulary.parquet"
    cloze("vocabulary", counts, "--output", output, "--size", 400, "--tokens", folder / "tokens")
    table = pq.read_table(output)
    assert table.num_rows > 100
    columns = (table[name].to_pylist() for name in ["ngram", "length", "score"])
    for ngram, length, score in zip(*columns):
        words = ngram.split(" ")
        assert len(words) == length
        sums = []
        for parts in range(2, length + 1):
            for cuts in combinations(range(1, length), parts - 1):
                edges = [0, *cuts, length]
                pieces = [" ".join(words[a:b]) for a, b in zip(edges, edges[1:])]
                sums.append(sum(log_p[piece] for piece in pieces))
        assert len(sums) == 2 ** (length - 1) - 1
        assert score == pytest.approx(log_p[ngram] - max(sums), abs=1e-9)

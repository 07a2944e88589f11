"""Every artefact opens in pyarrow, polars and duckdb, and a trained model in transformers."""

import json
import os
import pathlib
import subprocess

import duckdb
import polars
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLOZE = os.environ.get("CLOZE_BIN", str(ROOT / "target/release/cloze"))


def cloze(*arguments):
    subprocess.run([CLOZE, *map(str, arguments)], cwd=ROOT, check=True, capture_output=True)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    work = tmp_path_factory.mktemp("work")
    novel = ROOT / "tests/data/quickstart/Doyle_Hound_1902.txt"
    cloze(
        "run", "pipelines/quickstart.toml", "--work", work,
        "--set", f'tokenize.inputs=["{novel}"]', "--set", 'tokenize.document="paragraph"',
        "--set", "shard.batch_tokens=4096", "--set", "train.steps=20",
        "--set", "train.validation.every=10",
    )
    return work


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def test_token_files_and_shards_open_everywhere(work):
    for name, planes in [("tokens", 3), ("shards", 4)]:
        total = manifest(work / name)["totals"]["tokens"]
        rows = tokens = 0
        for file in manifest(work / name)["files"]:
            path = work / name / file["name"]
            documents = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            assert documents.num_columns == planes
            assert not any(field.nullable for field in documents.schema)
            frame = polars.read_ipc(path)
            assert frame.height == documents.num_rows == file["rows"]
            counted = frame["tokens"].list.len().sum()
            assert counted == file["tokens"]
            connection = duckdb.connect()
            connection.register("documents", documents)
            query = "select sum(len(tokens)), sum(len(word_start)) from documents"
            by_duckdb = connection.execute(query).fetchall()[0]
            assert by_duckdb == (counted, counted)
            rows += documents.num_rows
            tokens += counted
        assert tokens == total
        assert rows == manifest(work / name)["totals"]["documents"]


def test_every_unit_starts_where_a_word_does(work):
    for file in manifest(work / "shards")["files"]:
        table = pa.ipc.open_file(work / "shards" / file["name"]).read_all()
        for words, units in zip(table["word_start"].to_pylist(), table["span_start"].to_pylist()):
            assert units[0] and words[0]
            assert all(word or not unit for word, unit in zip(words, units))


def test_counts_and_vocabulary_open_everywhere(work):
    for length in range(1, 6):
        path = work / f"counts/counts-{length}.parquet"
        rows = pyarrow.parquet.read_table(path).num_rows
        assert rows == polars.read_parquet(path).height
        query = f"select count(*), min(len(ngram)), max(len(ngram)), min(count) from '{path}'"
        count, shortest, longest, least = duckdb.connect().execute(query).fetchall()[0]
        assert count == rows
        assert rows == 0 or (shortest, longest) == (length, length)
        assert rows == 0 or least >= 5
    path = work / "vocabulary.parquet"
    frame = polars.read_parquet(path)
    assert frame.columns == ["ngram", "length", "count", "score"]
    assert (frame["ngram"].str.split(" ").list.len() == frame["length"]).all()
    assert duckdb.connect().execute(f"select count(*) from '{path}'").fetchall()[0][0] == frame.height
    kept = json.loads(pyarrow.parquet.read_metadata(path).metadata[b"cloze"])
    assert kept["score"] == "pmi" and kept["rules"]["unit"] == "word"


def test_a_trained_folder_loads_in_transformers(work):
    export = work / "model/export"
    model, info = transformers.AutoModelForMaskedLM.from_pretrained(export, output_loading_info=True)
    assert type(model).__name__ == "RobertaPreLayerNormForMaskedLM"
    assert not info["missing_keys"] and not info["unexpected_keys"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(export)
    assert tokenizer.mask_token == "[MASK]"
    ids = tokenizer("the hound of the [MASK]", return_tensors="pt")["input_ids"]
    assert tokenizer.mask_token_id in ids
    logits = model(ids).logits
    assert logits.shape == (1, ids.shape[1], 4096) and torch.isfinite(logits).all()

"""Docstrings say what is there: their examples run, and the types hold."""

import doctest
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TEXT, TOKENIZERS

import cloze

PYTHON = Path(__file__).resolve().parents[1]
MODULES = sorted(
    file.stem for file in (PYTHON / "cloze").glob("*.py") if file.stem not in ("__init__",)
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, shards, tokens, vocabulary, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(f"cloze.{name}")
    names = {
        "shards": shards,
        "tokens": tokens,
        "vocabulary": vocabulary,
        "text": TEXT,
        "tokenizer": TOKENIZERS / "bert-base-uncased/vocab.txt",
    }
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testmod(module, extraglobs=names, optionflags=flags).failed == 0


@pytest.mark.parametrize("name", cloze.__all__)
def test_everything_public_is_described(name):
    value = getattr(cloze, name)
    if not callable(value):
        return
    assert value.__doc__
    for method, member in vars(value).items() if inspect.isclass(value) else ():
        if not method.startswith("_") and callable(member):
            assert member.__doc__, f"{name}.{method}"


USE = """
from collections.abc import Iterator
import cloze

def train(folder: str) -> int:
    loader = cloze.Loader(folder, masking={"strategy": "word"}, length=128, rank=0, world_size=2)
    loader.load_state_dict(loader.state_dict(batches=3))
    batches: Iterator[cloze.Batch] = iter(loader)
    collator = cloze.DataCollator("tokenizer.json", "bert", seed=3)
    one: cloze.Batch = collator([{"input_ids": [1, 2, 3]}])
    return len(loader) + sum(len(batch) for batch in batches) + len(one)

def stages(text: str) -> float:
    tokens = cloze.tokenize(text, tokenizer="vocab.txt", document="line", output="tokens")
    counts: cloze.Counts = cloze.count(tokens, min_count=5, memory="1GiB", output="counts")
    vocabulary = cloze.vocabulary(counts, size=100, output="pmi.parquet")
    shards = cloze.shard(tokens, vocabulary=vocabulary, threads=2, output="shards")
    units = [unit.ngram.rank for unit in vocabulary.find("new york", "vocab.txt")]
    return vocabulary["new york"].score + len(cloze.Loader(shards)) + sum(units)

try:
    train("shards")
except cloze.UsageError as error:
    place: str = error.place
"""


@pytest.mark.parametrize("checker", [["mypy", "--strict"], ["pyright", "--pythonpath", sys.executable]])
def test_types_hold(checker, tmp_path):
    (tmp_path / "use.py").write_text(USE)
    command = [sys.executable, "-m", *checker, str(tmp_path / "use.py"), str(PYTHON / "cloze")]
    ran = subprocess.run(command, cwd=PYTHON, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_type_that_does_not_hold_is_found(tmp_path):
    (tmp_path / "use.py").write_text("import cloze\ncloze.Loader('shards', length='long')\n")
    command = [sys.executable, "-m", "mypy", "--strict", str(tmp_path / "use.py")]
    ran = subprocess.run(command, cwd=PYTHON, capture_output=True, text=True)
    assert ran.returncode == 1 and 'expected "int"' in ran.stdout

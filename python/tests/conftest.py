"""Shards for the tests, made once by the command that the wheel brings."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = ROOT / "tests/data/quickstart/Doyle_Hound_1902.txt"
TOKENIZERS = ROOT / "tests/data/tokenizers"


def cloze(*arguments, check=True):
    """Runs `cloze` as users do, from the package."""
    command = [sys.executable, "-m", "cloze.command", *map(os.fspath, arguments)]
    return subprocess.run(command, check=check, capture_output=True, text=True)


@pytest.fixture(scope="session")
def tokens(tmp_path_factory):
    """A novel as tokens of BERT's tokenizer."""
    folder = tmp_path_factory.mktemp("tokens")
    vocabulary = TOKENIZERS / "bert-base-uncased/vocab.txt"
    flags = ["--batch-tokens", "4096", "--document", "paragraph"]
    cloze("tokenize", TEXT, "--tokenizer", vocabulary, "--output", folder, *flags)
    return folder


@pytest.fixture(scope="session")
def vocabulary(tokens, tmp_path_factory):
    """A masking vocabulary of the novel."""
    folder = tmp_path_factory.mktemp("vocabulary")
    cloze("count", tokens, "--output", folder / "counts", "--min-count", "5")
    path = folder / "pmi.parquet"
    cloze("vocabulary", folder / "counts", "--output", path, "--size", "500")
    return path


@pytest.fixture(scope="session")
def shards(tokens, vocabulary, tmp_path_factory):
    """The novel as shards with units."""
    folder = tmp_path_factory.mktemp("shards")
    flags = ["--vocabulary", vocabulary, "--batch-tokens", "4096", "--shard-tokens", "32768"]
    cloze("shard", tokens, "--output", folder, *flags)
    return folder

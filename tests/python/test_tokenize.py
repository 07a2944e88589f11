"""The token files that `cargo test --test tokenize` wrote, against `tokenizers`.

Ids and word starts of every document are those of the package for Python, whose
word ids say where a word starts.
"""

import json
import os
from pathlib import Path

import pyarrow.ipc
import pytest
from tokenizers import BertWordPieceTokenizer, Tokenizer, models, pre_tokenizers

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data" / "tokenizers"
TOKENS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "tmp" / "tokens"
NAMES = ["bert-base-uncased", "wordpiece-cased", "byte-level-bpe", "unigram", "gpt2-style"]


def reference(name):
    folder = DATA / name
    if (folder / "tokenizer.json").exists():
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    elif (folder / "vocab.txt").exists():
        tokenizer = BertWordPieceTokenizer(
            str(folder / "vocab.txt"), lowercase=name.endswith("uncased"), strip_accents=None
        )._tokenizer
    else:
        tokenizer = Tokenizer(
            models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
        )
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    # Text that spells a special token is ordinary text.
    tokenizer.encode_special_tokens = True
    return tokenizer


def texts():
    """Text by its offset in the input: the id of its document, since file 0 is all."""
    position, found = 0, {}
    for line in (TOKENS / "texts.jsonl").read_bytes().splitlines(keepends=True):
        found[position] = json.loads(line)["text"]
        position += len(line)
    return found


def documents(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    for file in manifest["files"]:
        yield from pyarrow.ipc.open_file(folder / file["name"]).read_all().to_pylist()


@pytest.mark.parametrize("name", NAMES)
def test_ids_and_word_starts_are_those_of_tokenizers(name):
    assert TOKENS.exists(), f"{TOKENS} is written by `cargo test --test tokenize`"
    tokenizer, left = reference(name), texts()
    for document in documents(TOKENS / name):
        text = left.pop(document["document_id"])
        expected = tokenizer.encode(text, add_special_tokens=False)
        assert document["tokens"] == expected.ids, text
        words = expected.word_ids
        starts = [i == 0 or word != words[i - 1] for i, word in enumerate(words)]
        assert document["word_start"] == starts, text
    assert not left


@pytest.mark.parametrize("name", NAMES)
def test_the_written_tokenizer_loads_and_is_the_same(name):
    written = Tokenizer.from_file(str(TOKENS / name / "tokenizer.json"))
    written.encode_special_tokens = True
    assert written.truncation is None and written.padding is None
    tokenizer = reference(name)
    for text in texts().values():
        assert (
            written.encode(text, add_special_tokens=False).ids
            == tokenizer.encode(text, add_special_tokens=False).ids
        )

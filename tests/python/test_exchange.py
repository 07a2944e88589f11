"""Corpora that the libraries themselves wrote, imported; what was exported, read by them.

Every file here is written or read by the real library: megatron-core, mosaicml-streaming,
datatrove, datasets, pyarrow. Word starts are those of `tokenizers` on the text behind the
ids. CLOZE_BIN names the binary; without it, target/release/cloze.
"""

import json
import os
import struct
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest
from tokenizers import BertWordPieceTokenizer, Tokenizer, models, pre_tokenizers

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
CLOZE = os.environ.get("CLOZE_BIN", str(TARGET / "release" / "cloze"))
DATA = ROOT / "tests" / "data" / "tokenizers"
WORDPIECE, BYTES, UNIGRAM = "bert-base-uncased", "gpt2-style", "unigram"

TEXTS = [
    "Call me Ishmael. Some years ago, never mind how long precisely, having little money.",
    "It's 1851: Ahab’s (white) whale sank 3 ships off Nantucket!",
    "Cafés, naïve façades\nand a second line;  two spaces, 3.14 and 2,718.",
    "The sea, the sea! Thalassa, θάλασσα, 海.",
    "x",
] + [f"Document {n} speaks of ships, whales and the {n}th sea." for n in range(200)]


def cloze(*arguments, code=0):
    command = [CLOZE, *map(str, arguments)]
    if arguments[0] != "verify":
        command += ["--log-format", "silent"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    return done.stderr


def reference(name):
    folder = DATA / name
    if (folder / "tokenizer.json").exists():
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    elif (folder / "vocab.txt").exists():
        vocabulary = str(folder / "vocab.txt")
        tokenizer = BertWordPieceTokenizer(vocabulary, lowercase=True)._tokenizer
    else:
        tokenizer = Tokenizer(
            models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
        )
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def encoded(name, texts=TEXTS):
    """Ids and word starts of every text."""
    tokenizer, out = reference(name), []
    for text in texts:
        found = tokenizer.encode(text, add_special_tokens=False)
        words = found.word_ids
        starts = [i == 0 or word != words[i - 1] for i, word in enumerate(words)]
        out.append((found.ids, starts))
    return out


def documents(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    rows = []
    for file in manifest["files"]:
        rows += pa.ipc.open_file(folder / file["name"]).read_all().to_pylist()
    return [(row["tokens"], row["word_start"]) for row in rows]


def totals(folder):
    return json.loads((folder / "manifest.json").read_text())["totals"]


def imported(tmp_path, *arguments, tokenizer=WORDPIECE, name="tokens"):
    out = tmp_path / name
    cloze("import", *arguments, "--tokenizer", DATA / tokenizer, "--output", out)
    cloze("verify", out)
    return documents(out)


def special(tokenizer, spelling):
    return reference(tokenizer).token_to_id(spelling)


# Megatron


def megatron(prefix, rows, dtype, sequences=1):
    """Writes an indexed dataset; every document in `sequences` pieces."""
    import torch
    from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

    builder = IndexedDatasetBuilder(f"{prefix}.bin", dtype=dtype)
    for row in rows:
        cuts = [len(row) * i // sequences for i in range(sequences + 1)]
        for begin, end in zip(cuts, cuts[1:]):
            builder.add_item(torch.tensor(row[begin:end], dtype=torch.int64))
        builder.end_document()
    builder.finalize(f"{prefix}.idx")


@pytest.mark.parametrize("dtype", ["uint16", "int32", "int64"])
@pytest.mark.parametrize("name", [WORDPIECE, BYTES, UNIGRAM])
def test_megatron_datasets_come_in_with_their_words(tmp_path, name, dtype):
    pytest.importorskip("megatron.core")
    expected = encoded(name)
    prefix = tmp_path / "corpus_text_document"
    megatron(prefix, [ids for ids, _ in expected], getattr(np, dtype), sequences=2)
    found = imported(tmp_path, prefix, tokenizer=name)
    assert [ids for ids, _ in found] == [ids for ids, _ in expected]
    wrong = sum(a != b for a, b in zip(found, expected))
    # Unigram's normaliser folds characters, so its ids spell other text than they came from.
    assert wrong <= (2 if name == UNIGRAM else 0)


@pytest.mark.parametrize("flags", [[], ["--append-separator"], ["--file-tokens", "500"]])
def test_megatron_reads_what_is_exported(tmp_path, flags):
    pytest.importorskip("megatron.core")
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    (tmp_path / "text.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in TEXTS))
    cloze("tokenize", tmp_path / "text.jsonl", "--tokenizer", DATA / WORDPIECE, "-o", tmp_path / "t")
    out = tmp_path / "out"
    cloze("export", tmp_path / "t", "--format", "megatron", "-o", out, *flags)
    cloze("verify", out)
    end = [special(WORDPIECE, "[SEP]")] if "--append-separator" in flags else []
    rows = []
    prefixes = sorted(path.with_suffix("") for path in out.glob("*.bin"))
    assert (len(prefixes) > 1) == ("--file-tokens" in flags)
    for prefix in prefixes:
        dataset = IndexedDataset(str(prefix))
        assert dataset.index.dtype == np.uint16
        assert len(dataset.document_indices) == len(dataset) + 1
        rows += [dataset[i].tolist() for i in range(len(dataset))]
    assert rows == [ids + end for ids, _ in documents(tmp_path / "t")]
    # And back again.
    assert imported(tmp_path, out) == documents(tmp_path / "t")


def test_a_damaged_megatron_index_is_refused_with_its_place(tmp_path):
    pytest.importorskip("megatron.core")
    prefix = tmp_path / "x"
    megatron(prefix, [[1000, 1001], [1002]], np.uint16)
    whole = (tmp_path / "x.idx").read_bytes()
    for damaged, expected in [
        (whole[:-1], "document ends"),
        (b"TNTIDX" + whole[6:], "the older TNTIDX index"),
        (whole[:9] + struct.pack("<Q", 2) + whole[17:], "version 2"),
        (whole[:17] + b"\x07" + whole[18:], "type 7"),
        (whole[:34] + struct.pack("<i", 900) + whole[38:], "document 0"),
    ]:
        (tmp_path / "x.idx").write_bytes(damaged)
        arguments = ["import", prefix, "--tokenizer", DATA / WORDPIECE, "-o", tmp_path / "o"]
        message = cloze(*arguments, code=1)
        assert "x.idx" in message and expected in message, message
    (tmp_path / "x.idx").unlink()
    assert "no " in cloze(*arguments, code=1)


# MosaicML


def mds(folder, columns, samples, **options):
    writer = pytest.importorskip("streaming").MDSWriter
    with writer(out=str(folder), columns=columns, **options) as out:
        for sample in samples:
            out.write(sample)


@pytest.mark.parametrize("compression", [None, "zstd", "gz"])
@pytest.mark.parametrize(
    "encoding, dtype",
    [
        ("ndarray:uint16", "uint16"),
        ("ndarray", "int32"),
        ("bytes", "int64"),
        ("bytes", "int32"),
        ("bytes", "uint16"),
    ],
)
def test_mds_shards_come_in(tmp_path, encoding, dtype, compression):
    expected = encoded(BYTES)
    rows = [np.array(ids, dtype) for ids, _ in expected]
    samples = [
        {"n": i, "tokens": row.tobytes() if encoding == "bytes" else row, "source": f"s{i}"}
        for i, row in enumerate(rows)
    ]
    columns = {"n": "int", "tokens": encoding, "source": "str"}
    mds(tmp_path / "mds", columns, samples, compression=compression, size_limit=1 << 12)
    assert len(list((tmp_path / "mds").glob("shard.*"))) > 2
    assert imported(tmp_path, tmp_path / "mds", tokenizer=BYTES) == expected


def test_rows_of_equal_length_are_cut_at_separators(tmp_path):
    """LLM Foundry's ConcatTokensDataset: documents joined, cut into rows of fixed length."""
    expected = encoded(WORDPIECE)
    cls, sep = special(WORDPIECE, "[CLS]"), special(WORDPIECE, "[SEP]")
    joined = [id for ids, _ in expected for id in [cls, *ids, sep]]
    rows = [joined[i : i + 128] for i in range(0, len(joined), 128)]
    rows[-1] += [special(WORDPIECE, "[PAD]")] * (128 - len(rows[-1]))
    samples = [{"tokens": np.array(row, np.uint16)} for row in rows]
    mds(tmp_path / "mds", {"tokens": "ndarray:uint16:128"}, samples, size_limit=1 << 12)
    separated = ["--document-end", "separator"]
    found = imported(tmp_path, tmp_path / "mds", *separated)
    files = len(list((tmp_path / "mds").glob("shard.*")))
    # A document that goes over into the next file is two.
    assert len(expected) <= len(found) <= len(expected) + files
    assert [id for ids, _ in found for id in ids] == [id for ids, _ in expected for id in ids]
    stored = imported(tmp_path, tmp_path / "mds", name="stored")
    assert len(stored) == len(rows)


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_mds_text_is_tokenised(tmp_path, compression):
    samples = [{"text": text, "n": i} for i, text in enumerate(TEXTS)]
    columns = {"text": "str", "n": "int"}
    mds(tmp_path / "mds", columns, samples, compression=compression, size_limit=1 << 12)
    out = tmp_path / "tokens"
    cloze("tokenize", tmp_path / "mds", "--tokenizer", DATA / WORDPIECE, "-o", out)
    assert documents(out) == encoded(WORDPIECE)


def test_an_mds_shard_cut_short_is_refused(tmp_path):
    samples = [{"tokens": np.arange(1000, 1100, dtype=np.uint16)} for _ in range(5)]
    mds(tmp_path / "mds", {"tokens": "ndarray:uint16"}, samples)
    shard = tmp_path / "mds" / "shard.00000.mds"
    shard.write_bytes(shard.read_bytes()[:-7])
    arguments = ["import", tmp_path / "mds", "--tokenizer", DATA / WORDPIECE, "-o", tmp_path / "o"]
    message = cloze(*arguments, code=1)
    assert "sample 4" in message and "cut short" in message, message


# datatrove


def datatrove(folder, rows, size, **options):
    module = pytest.importorskip("datatrove.pipeline.tokens.tokenizer")
    file = module.TokenizedFile(str(folder), "00000_x.ds", token_size=size, **options)
    for row in rows:
        file.write(row, None)
    file.close()


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("metadata", [False, True])
def test_datatrove_files_come_in(tmp_path, size, metadata):
    expected = encoded(BYTES)
    end = special(BYTES, "<|endoftext|>")
    tail = [] if end is None else [end]
    rows = [ids + tail for ids, _ in expected]
    datatrove(tmp_path / "ds", rows, size, save_final_metadata=metadata)
    assert imported(tmp_path, tmp_path / "ds", tokenizer=BYTES) == expected


def test_a_ds_without_index_is_cut_at_separators(tmp_path):
    expected = encoded(WORDPIECE)
    sep = special(WORDPIECE, "[SEP]")
    datatrove(tmp_path / "ds", [ids + [sep] for ids, _ in expected], 4, save_index=False)
    arguments = ["import", tmp_path / "ds", "--tokenizer", DATA / WORDPIECE, "-o", tmp_path / "o"]
    assert "--document-end separator" in cloze(*arguments, code=2)
    assert imported(tmp_path, tmp_path / "ds", "--document-end", "separator") == expected


# Hugging Face datasets


def dataset(**columns):
    return pytest.importorskip("datasets").Dataset.from_dict(columns)


def test_saved_datasets_come_in_as_ids_and_as_text(tmp_path):
    expected = encoded(WORDPIECE)
    cls, sep = special(WORDPIECE, "[CLS]"), special(WORDPIECE, "[SEP]")
    rows = [[cls, *ids, sep] for ids, _ in expected]
    saved = dataset(text=TEXTS, input_ids=rows, attention_mask=[[1] * len(row) for row in rows])
    saved.save_to_disk(str(tmp_path / "saved"), num_shards=3)
    assert imported(tmp_path, tmp_path / "saved") == expected
    out = tmp_path / "text"
    cloze("tokenize", tmp_path / "saved", "--tokenizer", DATA / WORDPIECE, "-o", out)
    assert documents(out) == expected


def test_a_dataset_of_splits_wants_one_named(tmp_path):
    datasets = pytest.importorskip("datasets")
    expected = encoded(WORDPIECE)
    one = dataset(input_ids=[ids for ids, _ in expected])
    splits = datasets.DatasetDict(train=one, test=one)
    splits.save_to_disk(str(tmp_path / "saved"))
    arguments = ["--tokenizer", DATA / WORDPIECE, "-o", tmp_path / "o"]
    assert "train, test" in cloze("import", tmp_path / "saved", *arguments, code=2)
    assert imported(tmp_path, tmp_path / "saved" / "train") == expected


def test_cache_files_of_datasets_come_in(tmp_path):
    expected = encoded(WORDPIECE)
    cached = dataset(text=TEXTS).map(
        lambda row: {"input_ids": reference(WORDPIECE).encode(row["text"]).ids},
        cache_file_name=str(tmp_path / "cache-1.arrow"),
    )
    assert len(cached) == len(TEXTS)
    assert imported(tmp_path, tmp_path / "cache-1.arrow") == expected


# Parquet


@pytest.mark.parametrize(
    "of", [pa.list_(pa.int32()), pa.large_list(pa.uint16()), pa.list_(pa.int64(), 4)]
)
def test_parquet_lists_come_in(tmp_path, of):
    rows = [[1000 + 4 * i + j for j in range(4)] for i in range(50)]
    table = pa.table({"other": range(50), "input_ids": pa.array(rows, of)})
    pa.parquet.write_table(table, tmp_path / "x.parquet")
    found = imported(tmp_path, tmp_path / "x.parquet")
    assert [ids for ids, _ in found] == rows


def test_exported_parquet_is_what_the_token_files_hold(tmp_path):
    (tmp_path / "text.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in TEXTS))
    cloze("tokenize", tmp_path / "text.jsonl", "--tokenizer", DATA / BYTES, "-o", tmp_path / "t")
    cloze("export", tmp_path / "t", "-o", tmp_path / "out")
    cloze("verify", tmp_path / "out")
    (file,) = (tmp_path / "out").glob("*.parquet")
    table = pa.parquet.read_table(file)
    assert table.schema.field("input_ids").type == pa.list_(pa.field("item", pa.uint16(), False))
    rows = list(zip(table["input_ids"].to_pylist(), table["word_start"].to_pylist()))
    assert rows == documents(tmp_path / "t") == encoded(BYTES)


def test_any_threads_and_parts_give_the_same_documents(tmp_path):
    expected = encoded(BYTES)
    pa.parquet.write_table(
        pa.table({"tokens": [ids for ids, _ in expected]}), tmp_path / "x.parquet"
    )
    arguments = ["import", tmp_path / "x.parquet", "--tokenizer", DATA / BYTES]
    small = ["--file-bytes", "2KiB"]
    for threads in (1, 2, 5):
        cloze(*arguments, *small, "-o", tmp_path / f"t{threads}", "--threads", threads)
        for file in (tmp_path / "t1").iterdir():
            assert file.read_bytes() == (tmp_path / f"t{threads}" / file.name).read_bytes()
    for part in range(3):
        cloze(*arguments, *small, "-o", tmp_path / "p", "--part", part, "--of", 3)
    rows = []
    for file in (tmp_path / "p").glob("*.arrow"):
        rows += pa.ipc.open_file(file).read_all().to_pylist()
    rows.sort(key=lambda row: row["document_id"])
    assert [(row["tokens"], row["word_start"]) for row in rows] == expected


def test_a_run_whose_last_files_are_gone_goes_on_to_the_same_bytes(tmp_path):
    table = pa.table({"tokens": [ids for ids, _ in encoded(BYTES)]})
    pa.parquet.write_table(table, tmp_path / "x.parquet")
    out = tmp_path / "t"
    arguments = ["import", tmp_path / "x.parquet", "--tokenizer", DATA / BYTES, "-o", out]
    arguments += ["--file-bytes", "2KiB"]
    cloze(*arguments)
    files = sorted(out.iterdir())
    before = {file: file.read_bytes() for file in files}
    arrows = [file for file in files if file.suffix == ".arrow"]
    assert len(arrows) > 3
    kept = arrows[0].stat().st_mtime_ns
    for file in [*arrows[2:], out / "manifest.json"]:
        file.unlink()
    cloze(*arguments)
    assert {file: file.read_bytes() for file in sorted(out.iterdir())} == before
    assert arrows[0].stat().st_mtime_ns == kept


# What is refused, and what is counted


def test_ids_of_another_tokenizer_end_the_import(tmp_path):
    pa.parquet.write_table(pa.table({"tokens": [[5, 40000]]}), tmp_path / "x.parquet")
    arguments = ["import", tmp_path / "x.parquet", "--tokenizer", DATA / WORDPIECE]
    message = cloze(*arguments, "-o", tmp_path / "o", code=1)
    assert "token id 40000" in message and "row 0" in message, message


def test_text_is_sent_to_tokenize_and_rows_without_ids_are_rejected(tmp_path):
    pa.parquet.write_table(pa.table({"text": ["a"]}), tmp_path / "text.parquet")
    arguments = ["--tokenizer", DATA / WORDPIECE, "--max-rejected", "1"]
    message = cloze("import", tmp_path / "text.parquet", *arguments, "-o", tmp_path / "o", code=1)
    assert "cloze tokenize" in message, message
    mask = special(WORDPIECE, "[MASK]")
    rows = [[1000, 1001], None, [], [1000, mask]]
    pa.parquet.write_table(pa.table({"tokens": rows}), tmp_path / "x.parquet")
    cloze("import", tmp_path / "x.parquet", *arguments, "-o", tmp_path / "t")
    reasons = [json.loads(line)["reason"] for line in (tmp_path / "t/rejected.jsonl").open()]
    assert reasons == [
        "a missing value",
        "no token but special ones",
        f"token {mask}, which masks: its text was masked before",
    ]


def test_tokens_by_spelling_are_counted(tmp_path):
    rows = [ids for ids, _ in encoded(BYTES)]
    whole, drawn = tmp_path / "whole", tmp_path / "drawn"
    pa.parquet.write_table(pa.table({"tokens": rows}), tmp_path / "x.parquet")
    cloze("import", tmp_path / "x.parquet", "--tokenizer", DATA / BYTES, "-o", whole)
    assert totals(whole)["tokens_by_spelling"] == 0
    configuration = json.loads((whole / "manifest.json").read_text())["configuration"]
    assert configuration["word_starts"] == "encoding"
    # Single bytes, which no text of this tokenizer gives.
    spelled = [[id for text in TEXTS[:3] for id in bytes_of(text)]]
    pa.parquet.write_table(pa.table({"tokens": spelled}), tmp_path / "y.parquet")
    cloze("import", tmp_path / "y.parquet", "--tokenizer", DATA / BYTES, "-o", drawn)
    assert totals(drawn)["tokens_by_spelling"] > 100
    found = documents(drawn)[0][1]
    assert sum(found) > 40


def bytes_of(text):
    tokenizer = reference(BYTES)
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for piece, _ in pieces.pre_tokenize_str(text):
        yield from (tokenizer.token_to_id(character) for character in piece)

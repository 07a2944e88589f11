"""Tokens per second of `cloze.Loader` and `cloze.DataCollator` as torch tensors, beside the collator
of transformers in the same run. One process; rows of 128 tokens, batches of 256.

python benches/loader.py [TEXT…]

Shards are made of TEXT (the Wikipedia of the quickstart without one) with bert-base-uncased, in a
temporary folder. Every hash is checked, as always. What is measured is a pass over the loader: a
look at each batch and no model.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import transformers

import cloze

ROOT = Path(__file__).resolve().parents[1]
TEXT = ROOT / "tests/data/quickstart/wikipedia-en.jsonl.zst"
VOCABULARY = ROOT / "tests/data/tokenizers/bert-base-uncased/vocab.txt"
LENGTH, ROWS = 128, 256


def command(*arguments):
    subprocess.run([sys.executable, "-m", "cloze.command", *map(str, arguments)], check=True,
                   capture_output=True)


def shards(folder, texts):
    command("tokenize", *texts, "--tokenizer", VOCABULARY, "--output", folder / "tokens")
    command("count", folder / "tokens", "--output", folder / "counts", "--min-count", 10)
    command("vocabulary", folder / "counts", "--output", folder / "pmi.parquet", "--size", 100_000)
    command("shard", folder / "tokens", "--vocabulary", folder / "pmi.parquet", "--output",
            folder / "shards")
    return folder / "shards", folder / "pmi.parquet"


def passes(loader, seconds=3.0):
    """Million tokens a second of the fastest of some passes, and of the slowest."""
    rates, start = [], time.perf_counter()
    while len(rates) < 3 or time.perf_counter() - start < seconds:
        begun, tokens = time.perf_counter(), 0
        for batch in loader:
            tokens += batch["input_ids"].numel()
        rates.append(tokens / (time.perf_counter() - begun) / 1e6)
    assert tokens >= loader.rows * LENGTH
    return max(rates), min(rates)


def best(work, tokens, rounds=5):
    """Million tokens per second of the fastest of some rounds of at least 0.3 s."""
    times = []
    for _ in range(rounds):
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < 0.3:
            work()
            count += 1
        times.append((time.perf_counter() - start) / count)
    return tokens / min(times) / 1e6


def main():
    torch.set_num_threads(1)
    texts = sys.argv[1:] or [TEXT]
    with tempfile.TemporaryDirectory() as folder:
        folder, vocabulary = shards(Path(folder), texts)
        for name, masking in {
            "uniform 40 %": "wettig-40",
            "80-10-10 at 15 %": "roberta",
            "whole words 40 %": {"strategy": "word"},
            "PMI units 40 %": {"strategy": "pmi"},
        }.items():
            loader = cloze.Loader(folder, masking, length=LENGTH, batch_size=ROWS)
            fastest, slowest = passes(loader)
            print(f"loader, {name}: {fastest:.1f} (slowest pass {slowest:.1f})", flush=True)
        loader = cloze.Loader(folder, {"corruption_rate": 0}, length=LENGTH, batch_size=ROWS)
        rows = next(iter(loader))["input_ids"]
        tokenizer = transformers.BertTokenizer(vocab=str(VOCABULARY))
        theirs = transformers.DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.4)
        examples = [{"input_ids": row.tolist()} for row in rows]
        peer = best(lambda: theirs(examples), rows.numel())
        print(f"collator of transformers: {peer:.2f}", flush=True)
        for name, masking in {
            "uniform": "wettig-40",
            "whole words": {"strategy": "word"},
            "PMI units": {"strategy": "pmi"},
        }.items():
            ours = cloze.DataCollator(tokenizer, masking, vocabulary=vocabulary, seed=1)
            share = (ours(examples)["labels"] != -100).float().mean()
            assert abs(share - 0.4 * (LENGTH - 2) / LENGTH) < 0.02
            rate = best(lambda: ours(examples), rows.numel())
            print(f"collator on lists, {name}: {rate:.1f}, {rate / peer:.1f} times", flush=True)


if __name__ == "__main__":
    main()

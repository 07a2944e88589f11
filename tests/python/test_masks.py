"""Uniform masks drawn again with NumPy's Philox, from the derivation in the
documentation of the masking engine (src/masking/mod.rs) alone, and held against
what `cloze mask --format json` says.

CLOZE_BIN names the binary; without it target/release/cloze.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
CLOZE = os.environ.get("CLOZE_BIN", str(ROOT / "target/release/cloze"))
TEXT = ROOT / "tests/data/quickstart/Doyle_Hound_1902.txt"
VOCABULARY = ROOT / "tests/data/tokenizers/bert-base-uncased/vocab.txt"

SELECT, PREDICT, REPLACE = 1, 2, 3


class Stream:
    """The draws of one (seed, epoch, sample, copy, purpose)."""

    def __init__(self, key, purpose, copy):
        self.philox = np.random.Philox(
            key=np.array([key["seed"], key["epoch"]], dtype=np.uint64),
            counter=np.array([0, key["sample"], (copy << 32) | purpose, 0], dtype=np.uint64),
        )
        self.half = None

    def word(self):
        self.half = None
        return int(self.philox.random_raw())

    def unit(self):
        return (self.word() >> 11) * 2.0**-53

    def half_word(self):
        if self.half is not None:
            high, self.half = self.half, None
            return high
        word = int(self.philox.random_raw())
        self.half = word >> 32
        return word & 0xFFFFFFFF

    def below(self, n):
        product = self.half_word() * n
        if product & 0xFFFFFFFF < n:
            threshold = (2**32 - n) % n
            while product & 0xFFFFFFFF < threshold:
                product = self.half_word() * n
        return product >> 32

    def shuffle_prefix(self, items, count):
        for index in range(min(count, len(items) - 1)):
            other = index + self.below(len(items) - index)
            items[index], items[other] = items[other], items[index]


def uniform(row, mask):
    """Selected and labelled positions of every copy, as the documentation says."""
    key = mask["copies"][0]["key"]
    corruption, prediction = mask["corruption_rate"], mask["prediction_rate"]
    protected = set(row["protected"])
    positions = [i for i in range(len(row["ids"])) if i not in protected]
    count = len(positions)
    copies = max(1, int(np.ceil(prediction / corruption - 1e-9)))

    select = Stream(key, SELECT, 0)
    lift = select.unit()
    together = [int(min(j * corruption * count + lift, count)) for j in range(copies + 1)]
    labels = int(min(prediction * count + lift, count))
    select.shuffle_prefix(positions, together[-1])

    drawn = []
    for copy in range(copies):
        begin, end = together[copy], together[copy + 1]
        selected = sorted(positions[begin:end])
        labelled = min(max(labels, begin), end) - begin
        if labelled < end - begin:
            # A = n_j: the count is l_j exactly, and nothing is drawn for it.
            chosen = list(selected)
            Stream(key, PREDICT, copy).shuffle_prefix(chosen, labelled)
            drawn.append((selected, sorted(chosen[:labelled])))
        else:
            drawn.append((selected, selected))
    return drawn


def shown(*flags):
    command = [CLOZE, "mask", str(TEXT), "--tokenizer", str(VOCABULARY)]
    command += ["--format", "json", "--strategy", "uniform", *flags]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


@pytest.mark.parametrize(
    "rates",
    [
        ["--corruption-rate", "0.15"],
        ["--corruption-rate", "0.4"],
        ["--corruption-rate", "0.8"],
        ["--corruption-rate", "0.2", "--prediction-rate", "0.4"],
        ["--corruption-rate", "0.05", "--prediction-rate", "0.4"],
        ["--corruption-rate", "0.4", "--prediction-rate", "0.2"],
    ],
)
@pytest.mark.parametrize("key", [["--seed", "7"], ["--seed", "12345678901234", "--epoch", "3"]])
def test_numpy_draws_the_same_masks(rates, key):
    preview = shown(*rates, *key, "--rows", "4", "--first-row", "2", "--length", "128")
    assert [row["row"] for row in preview["rows"]] == [2, 3, 4, 5]
    for row in preview["rows"]:
        (mask,) = row["masks"]
        drawn = uniform(row, mask)
        assert len(drawn) == len(mask["copies"])
        for copy, (selected, labelled) in zip(mask["copies"], drawn):
            corrupted = [i for i, id in enumerate(copy["input"]) if id != row["ids"][i]]
            assert corrupted == selected
            assert copy["predicted"] == labelled
            assert copy["labels"] == [row["ids"][i] for i in labelled]


def test_numpy_draws_the_same_replacements():
    policy = ["--mask-share", "0.8", "--random-share", "0.1", "--same-share", "0.1"]
    preview = shown("--corruption-rate", "0.4", *policy, "--rows", "4", "--length", "128")
    # [PAD], [UNK], [CLS], [SEP], [MASK] of this vocabulary.
    reserved = [0, 100, 101, 102, 103]
    ordinary = [i for i in range(30522) if i not in reserved]
    for row in preview["rows"]:
        (mask,) = row["masks"]
        ((selected, _),) = uniform(row, mask)
        (copy,) = mask["copies"]
        stream = Stream(copy["key"], REPLACE, 0)
        expected = list(row["ids"])
        for position in selected:
            category = stream.unit()
            if category < 0.8:
                expected[position] = 103
            elif category < 0.9:
                expected[position] = ordinary[stream.below(len(ordinary))]
        assert copy["input"] == expected

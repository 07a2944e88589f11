"""Masks against the collators of transformers: agreement in distribution.

Both mask the same rows, many times. What is compared, and what the test would find:

* Labels per row (mean and variance), labels per position, and the shares of mask,
  random and same among them, as two-sample tests at 4 sigma and chi-squares at
  p = 1e-4, so that a right implementation fails less than once in a thousand.
* Power: with 57 000 labels at 15 % on each side (more at other rates), a rate that is
  off by 0.8 points of 100, or a share that is off by 1.5 points, is 6 sigma away and
  found with probability above 0.97; both are computed and asserted below.
"""

import json
import math
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ROOT = Path(__file__).resolve().parents[2]
CLOZE = os.environ.get("CLOZE_BIN", str(ROOT / "target/release/cloze"))
TEXT = ROOT / "tests/data/quickstart/Doyle_Hound_1902.txt"
VOCABULARY = ROOT / "tests/data/tokenizers/bert-base-uncased/vocab.txt"
MASK, LENGTH, ROWS, EPOCHS = 103, 128, 300, 10
BERT = ["--mask-share", "0.8", "--random-share", "0.1", "--same-share", "0.1"]


def ours(*flags):
    """Ids and labels (-100 where there is none) of rows × epochs, and the rows."""
    inputs, labels, rows = [], [], None
    for epoch in range(EPOCHS):
        command = [CLOZE, "mask", str(TEXT), "--tokenizer", str(VOCABULARY), "--format", "json"]
        command += ["--rows", str(ROWS), "--first-row", "5", "--length", str(LENGTH)]
        command += ["--epoch", str(epoch), "--seed", "11", *flags]
        shown = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        rows = [row["ids"] for row in shown["rows"]]
        for row in shown["rows"]:
            (mask,) = row["masks"]
            (copy,) = mask["copies"]
            label = [-100] * len(row["ids"])
            for place, id in zip(copy["predicted"], copy["labels"]):
                label[place] = id
            inputs.append(copy["input"])
            labels.append(label)
    full = [i for i, row in enumerate(rows) if len(row) == LENGTH]
    keep = [e * len(rows) + i for e in range(EPOCHS) for i in full]
    return (
        np.array([inputs[i] for i in keep]),
        np.array([labels[i] for i in keep]),
        np.array([rows[i] for i in full]),
    )


def tokenizer():
    return transformers.BertTokenizer(vocab=str(VOCABULARY))


def word_starts(rows):
    """True where a word starts: WordPiece spells what continues one with ##. A word cut
    by the row's edge is a shorter word."""
    continues = np.array([line.startswith("##") for line in VOCABULARY.read_text().splitlines()])
    starts = ~continues[rows]
    starts[..., 1] = True
    return starts


def offsets(row):
    """Offsets that tell the collator where our words start: by a gap."""
    found, end = [], 0
    for start in word_starts(row):
        begin = end + 1 if start else end
        end = begin + 1
        found.append((begin, end))
    return found


def theirs(rows, **options):
    collator = transformers.DataCollatorForLanguageModeling(tokenizer(), **options)
    torch.manual_seed(3)
    inputs, labels = [], []
    for _ in range(EPOCHS):
        examples = [{"input_ids": row.tolist()} for row in rows]
        if options.get("whole_word_mask"):
            for example, row in zip(examples, rows):
                example["offset_mapping"] = offsets(row)
                example["special_tokens_mask"] = [int(id in (101, 102)) for id in row]
        batch = collator(examples)
        inputs.append(batch["input_ids"].numpy())
        labels.append(batch["labels"].numpy())
    return np.concatenate(inputs), np.concatenate(labels)


def fates(inputs, labels, rows):
    """Labels that are masked, random, same."""
    original = np.tile(rows, (EPOCHS, 1))
    labelled = labels != -100
    masked = labelled & (inputs == MASK)
    same = labelled & (inputs == original)
    return np.array([masked.sum(), (labelled & ~masked & ~same).sum(), same.sum()])


def chi_square(a, b):
    """Two-sample chi-square of counts, and the value passed with p = 1e-4
    (Wilson and Hilferty)."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    keep = a + b > 0
    a, b = a[keep], b[keep]
    ratio = math.sqrt(b.sum() / a.sum())
    value = (((ratio * a - b / ratio) ** 2) / (a + b)).sum()
    k = keep.sum() - 1
    limit = k * (1 - 2 / (9 * k) + 3.719 * math.sqrt(2 / (9 * k))) ** 3
    return value, limit


def agree(a, b):
    """Means of two samples within 4 standard errors."""
    error = math.sqrt(a.var() / len(a) + b.var() / len(b))
    assert abs(a.mean() - b.mean()) < 4 * error, (a.mean(), b.mean(), error)
    return error


@pytest.mark.parametrize("rate", [0.15, 0.4, 0.8])
def test_uniform_masks_agree_with_the_collator(rate):
    flags = ["--strategy", "uniform", "--budget", "bernoulli", "--replacement-level", "token"]
    mine = ours("--corruption-rate", str(rate), *flags, *BERT)
    inputs, labels = theirs(mine[2], mlm_probability=rate)

    per_row = [(x != -100).sum(1).astype(float) for x in (mine[1], labels)]
    error = agree(*per_row)
    # Power: 0.8 points of 126 maskable tokens are 6 standard errors at least.
    assert 0.008 * (LENGTH - 2) > 6 * error
    # Binomial on both sides: variances agree within 4 standard errors of theirs.
    spread = [x.var() for x in per_row]
    assert abs(spread[0] - spread[1]) < 4 * spread[1] * math.sqrt(2 * 2 / len(per_row[0]))

    places = [(x != -100).sum(0) for x in (mine[1], labels)]
    assert places[0][0] == places[1][0] == places[0][-1] == places[1][-1] == 0
    value, limit = chi_square(*places)
    assert value < limit, (value, limit)

    found = [fates(mine[0], mine[1], mine[2]), fates(inputs, labels, mine[2])]
    value, limit = chi_square(*found)
    assert value < limit, (found, value, limit)
    # Power: 1.5 points of the share of masks are 4 + 2 standard errors at least.
    assert 0.015 > 6 * math.sqrt(0.8 * 0.2 * 2 / found[1].sum())


def test_fair_counts_agree_in_the_mean_and_vary_less():
    mine = ours("--strategy", "uniform", "--corruption-rate", "0.15", *BERT)
    _, labels = theirs(mine[2], mlm_probability=0.15)
    per_row = [(x != -100).sum(1).astype(float) for x in (mine[1], labels)]
    agree(*per_row)
    # 18.9 tokens are 18 or 19, against a variance of 16 of single draws.
    assert set(per_row[0]) == {18.0, 19.0}
    assert per_row[1].var() > 10


def test_random_tokens_come_from_the_ordinary_vocabulary_where_theirs_do_not():
    flags = ["--strategy", "uniform", "--budget", "bernoulli", "--corruption-rate", "0.8"]
    inputs, labels, _ = ours(*flags, "--mask-share", "0", "--random-share", "1")
    drawn = inputs[labels != -100]
    assert not set(drawn.tolist()) & {0, 100, 101, 102, 103}
    # Flat over the vocabulary: in 100 equal cells.
    value, limit = chi_square(
        np.histogram(drawn, 100, (0, 30522))[0],
        np.histogram(np.arange(30522).repeat(10), 100, (0, 30522))[0],
    )
    assert value < limit, (value, limit)


def test_whole_words_agree_for_every_length_of_word():
    flags = ["--strategy", "word", "--budget", "bernoulli", "--corruption-rate", "0.4"]
    mine = ours(*flags)
    _, labels = theirs(mine[2], mlm_probability=0.4, whole_word_mask=True, random_replace_prob=0)
    agree(*[(x != -100).sum(1).astype(float) for x in (mine[1], labels)])

    starts = word_starts(mine[2])
    word = np.cumsum(starts, axis=1)
    lengths = np.array([np.bincount(row, minlength=LENGTH + 1)[row] for row in word])
    words = np.tile(word, (EPOCHS, 1))
    for x in (mine[1], labels):
        labelled = x != -100
        inside = (words[:, 1:] == words[:, :-1]) & (labelled[:, 1:] != labelled[:, :-1])
        assert not inside.any(), "a word is labelled in part"
    # Words of each length, by their first tokens; the row's edges are special.
    first = np.tile(starts & ~np.isin(mine[2], (101, 102)), (EPOCHS, 1))
    length = np.minimum(np.tile(lengths, (EPOCHS, 1)), 4)
    for n in range(1, 5):
        here = first & (length == n)
        counts = [(x != -100)[here].sum() for x in (mine[1], labels)]
        error = math.sqrt(2 * 0.4 * 0.6 * here.sum())
        assert abs(counts[0] - counts[1]) < 4 * error, (n, counts)
        assert abs(counts[0] - 0.4 * here.sum()) < 4 * error, (n, counts, here.sum())

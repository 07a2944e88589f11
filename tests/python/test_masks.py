"""Every mask drawn a second time, by `reference.py`, which was written from the
documentation alone, and held against what `cloze mask --format json` says: so the
documentation is complete, and another implementation can give the same masks.

CLOZE_BIN names the binary; without it target/release/cloze.
"""

import json
import os
import random
import subprocess
from collections import Counter
from pathlib import Path

import pytest

import reference

ROOT = Path(__file__).resolve().parents[2]
CLOZE = os.environ.get("CLOZE_BIN", str(ROOT / "target/release/cloze"))
TEXT = ROOT / "tests/data/quickstart/Doyle_Hound_1902.txt"
VOCABULARY = ROOT / "tests/data/tokenizers/bert-base-uncased/vocab.txt"
PIECES = VOCABULARY.read_text(encoding="utf-8").split("\n")[:30522]

# [PAD], [UNK], [CLS], [SEP], [MASK] of this vocabulary; sentinels are appended to it.
RESERVED, SEP, MASK = {0, 100, 101, 102, 103}, 102, 103
WEIGHTS = {"the": 0.0, "of": 0.1, ",": 0.25, "holmes": 7.5, "hound": 40.0, "##s": 3.0}


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """The text, with words that no vocabulary spells, so that protected positions lie
    within rows; token weights; and a masking vocabulary of the text's own n-grams."""
    folder = tmp_path_factory.mktemp("masks")
    words = TEXT.read_text(encoding="utf-8").split()[:600]
    words[::29] = ["\N{ALCHEMICAL SYMBOL FOR GOLD}"] * len(words[::29])
    (folder / "text.txt").write_text(" ".join(words), encoding="utf-8")
    lines = (f"{token}\t{weight}\n" for token, weight in WEIGHTS.items())
    (folder / "weights.tsv").write_text("".join(lines), encoding="utf-8")
    plain = [word.lower() for word in words]
    grams = Counter(
        " ".join(plain[i : i + n])
        for n in (2, 3)
        for i in range(len(plain) - n)
        if all(word.isalpha() and word.isascii() for word in plain[i : i + n])
    )
    often = [gram for gram, count in grams.most_common() if count > 1]
    assert len(often) > 20
    (folder / "list.txt").write_text("\n".join(often) + "\n", encoding="utf-8")
    command = [CLOZE, "vocabulary", "--import", str(folder / "list.txt")]
    command += ["-o", str(folder / "units.parquet"), "--log-format", "silent"]
    subprocess.run(command, check=True)
    return folder


def show(files, keys):
    """What `cloze mask` says of `strategy=word length=8`; `~` is a space in a value."""
    command = [CLOZE, "mask", str(files / "text.txt"), "--tokenizer", str(VOCABULARY)]
    command += ["--vocabulary", str(files / "units.parquet"), "--format", "json"]
    command += ["--rows", "1000", "--length", "64"]
    keys = keys.replace("weights.tsv", str(files / "weights.tsv"))
    command += ["--" + key.replace("~", " ") for key in keys.split()]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def same_masks(files, keys):
    """Asserts that every row is masked as the reference says; the masks."""
    shown = show(files, keys)
    rows, ways = shown["rows"], [way["masking"] for way in shown["ways"]]
    entries = shown["tokenizer"]["entries"]
    assert len(rows) > 10
    sentinels = list(range(len(PIECES), entries))
    reserved = RESERVED | set(sentinels)
    counts = Counter(id for row in rows for id in row["ids"] if id not in reserved)
    weights = {}
    if "token_weights" in ways[0]:
        weights = {PIECES.index(token): weight for token, weight in WEIGHTS.items()}
    tokens = reference.Tokens(entries, reserved, MASK, SEP, sentinels, counts, weights)
    for place, row in enumerate(rows):
        stamp = reference.Stamp(shown["step"], place, len(rows))
        for index, said in enumerate(row["masks"]):
            way = ways[index % len(ways)]
            if "mixture" not in way:
                way = way | {"corruption_rate": said["corruption_law"]}
            drawn = reference.mask(row, way, tokens, stamp, said["copies"][0]["key"])
            assert_same(said, drawn, (said["way"], said["corruption_law"], row["row"]))
    return [mask for row in rows for mask in row["masks"]]


def assert_same(said, drawn, place):
    for name in ("corruption_rate", "prediction_rate"):
        assert said[name] == drawn[name], (place, name)
    assert said["weight"] == pytest.approx(drawn["weight"], rel=1e-6), place
    assert said.get("component") == drawn["component"], place
    assert len(said["copies"]) == len(drawn["copies"]), place
    for ours, theirs in zip(said["copies"], drawn["copies"]):
        for name, value in theirs.items():
            found = ours[name]
            if name == "realised":
                found = {count: found[count] for count in value}
            assert found == value, (place, ours["key"], name)


BERT = "mask-share=0.8 random-share=0.1 same-share=0.1"
ONCE = "corruption-rate=0.4"
MORE = "corruption-rate=0.2 prediction-rate=0.6"
LESS = "corruption-rate=0.4 prediction-rate=0.15"
ALL = "strategies=uniform,word,pmi,span,geometric,ngram"
OF_UNITS = "strategies=word,pmi,geometric,ngram"

once_in_copies_and_in_part = pytest.mark.parametrize(
    "rates", [ONCE, MORE, LESS], ids=["once", "copies", "part"]
)


@once_in_copies_and_in_part
@pytest.mark.parametrize("budget", ["fair", "bernoulli", "round", "ceil"])
def test_each_strategy_at_each_budget(files, budget, rates):
    masks = same_masks(files, f"{ALL} budget={budget} {rates} {BERT}")
    assert {len(mask["copies"]) for mask in masks} == {3 if rates == MORE else 1}


@once_in_copies_and_in_part
@pytest.mark.parametrize("overshoot", ["skip", "take", "truncate"])
def test_each_overshoot(files, overshoot, rates):
    same_masks(files, f"{OF_UNITS} overshoot={overshoot} {rates} {BERT}")


@pytest.mark.parametrize("budget", ["fair", "bernoulli"])
@pytest.mark.parametrize("overshoot", ["fair", "skip", "take", "truncate"])
def test_labels_of_whole_units(files, overshoot, budget):
    keys = f"{ALL} overshoot={overshoot} budget={budget} {LESS} predict-whole-units"
    same_masks(files, keys)


@pytest.mark.parametrize("level", ["token", "word", "unit"])
def test_each_level_of_replacement(files, level):
    keys = f"{ALL} replacement-level={level} {ONCE}"
    same_masks(files, f"{keys} mask-share=0.4 random-share=0.4 same-share=0.2")


LAWS = (
    "linear(0.3,~0.15),cosine(0.3,~0.15),piecewise(0:~0.4,~300:~0.2,~900:~0.1),"
    "uniform(0.1,~0.5),diffusion(0.001),antithetic(0.001)"
)


@pytest.mark.parametrize("step", [0, 300, 5000])
def test_each_law(files, step):
    masks = same_masks(files, f"strategies=uniform rates={LAWS} step={step} schedule-steps=1000")
    for law in range(6):
        rates = {mask["corruption_rate"] for mask in masks[law::6]}
        assert len(rates) == (1 if law < 3 else len(masks) // 6)


@once_in_copies_and_in_part
@pytest.mark.parametrize("budget", ["fair", "bernoulli", "round", "ceil"])
def test_weights_of_tokens(files, budget, rates):
    keys = f"strategies=uniform,word,pmi budget={budget} {rates} {BERT}"
    same_masks(files, f"{keys} token-weights=weights.tsv")


@once_in_copies_and_in_part
@pytest.mark.parametrize("whole_units", ["true", "false"])
@pytest.mark.parametrize("layout", ["removed", "sentinel sentinels=99", "sentinel sentinels=4"])
def test_each_layout(files, layout, rates, whole_units):
    keys = f"{ALL} {rates} predict-whole-units={whole_units} layout={layout}"
    masks = same_masks(files, keys)
    lost = [copy["realised"]["without_sentinel"] for mask in masks for copy in mask["copies"]]
    assert (max(lost) > 0) == layout.endswith("=4")


@pytest.mark.parametrize("random_ids", ["uniform", "unigram"])
def test_layout_removed_keeps_what_is_not_masked(files, random_ids):
    shares = "mask-share=0.5 random-share=0.4 same-share=0.1"
    same_masks(files, f"{ALL} {ONCE} {shares} layout=removed random-ids={random_ids}")


OTHER = {
    "both rates drawn": "strategy=word corruption-rate=uniform(0.1,~0.3) "
    "prediction-rate=uniform(0.05,~0.6)",
    "eight copies": f"{ALL} corruption-rate=0.05 prediction-rate=0.4",
    "everything": f"{ALL} corruption-rate=1",
    "nothing": f"{ALL} corruption-rate=0",
    "rolled spans": f"strategy=span roll-spans {ONCE} {BERT}",
    "rolled spans in copies": f"strategy=span roll-spans {MORE} {BERT}",
    "many spans": "strategy=span corruption-rate=0.9 mean-span-length=1.5",
    "one span": "strategy=span span-count=1 corruption-rate=0.25",
    "five spans": "strategy=span span-count=5 corruption-rate=0.25",
    "long geometric spans": f"strategy=geometric span-p=0.05 max-span-words=20 {ONCE}",
    "long n-grams": f"strategy=ngram max-span-words=7 {MORE}",
    "extra same": f"{ALL} extra-same=0.1 {ONCE}",
    "extra same in copies": f"{ALL} extra-same=0.1 {MORE}",
    "extra same, bernoulli": f"{ALL} budget=bernoulli extra-same=0.1 {LESS}",
    "extra same, rounded": f"{ALL} budget=round extra-same=0.1 {ONCE}",
    "extra same, up": f"{ALL} budget=ceil extra-same=0.1 {ONCE}",
    "few labels": f"{ALL} max-predictions=7 {ONCE}",
    "few labels in copies": f"{ALL} max-predictions=7 {MORE}",
    "few labels of many": f"{ALL} max-predictions=7 {LESS} extra-same=0.1",
    "few labels, bernoulli": f"{ALL} budget=bernoulli max-predictions=7 {LESS} extra-same=0.2",
    "few labels, overshot": f"{OF_UNITS} overshoot=take max-predictions=7 {ONCE}",
    "few labels by weight": "strategies=uniform,word,pmi max-predictions=7 "
    f"{MORE} token-weights=weights.tsv",
    "unigram": f"{ALL} random-ids=unigram mask-share=0.2 random-share=0.8 {ONCE}",
    "all random": f"strategy=word mask-share=0 random-share=1 {ONCE}",
    "mixture": "corruption-rate=0.2 "
    'mixture={~weight~=~2,~strategy~=~"word"~} '
    'mixture={~strategy~=~"span",~corruption_rate~=~"uniform(0.1,~0.5)"~} '
    'mixture={~weight~=~0.5,~strategy~=~"pmi",~prediction_rate~=~0.4~}',
    "mixture of one": 'mixture={~strategy~=~"span",~corruption_rate~=~"diffusion(0.1)"~}',
}


@pytest.mark.parametrize("keys", OTHER.values(), ids=OTHER)
def test_the_other_keys(files, keys):
    masks = same_masks(files, f"{keys} seed=12345678901234 epoch=3")
    if keys.count("mixture=") > 1:
        assert {mask["component"] for mask in masks} == {0, 1, 2}


def drawn_keys(number):
    """Any keys that go together."""
    draw = random.Random(number)
    keys = {"seed": draw.randrange(2**63), "epoch": draw.randrange(2**32)}
    strategies = ["uniform", "word", "pmi", "span", "geometric", "ngram"]
    keys["strategy"] = draw.choice(strategies)
    corruption = draw.choice([0.03, 0.15, 0.4, 0.7, 1 / 3, "uniform(0.05,~0.3)"])
    keys["corruption-rate"] = corruption
    if draw.random() < 0.6:
        most = 0.7 if isinstance(corruption, float) else 0.3
        keys["prediction-rate"] = draw.choice([0.02, 0.1, most / 2, most])
    keys["budget"] = draw.choice(["fair", "bernoulli", "round", "ceil"])
    weighted = keys["strategy"] in strategies[:3] and draw.random() < 0.3
    if weighted:
        keys["token-weights"] = "weights.tsv"
    else:
        keys["overshoot"] = draw.choice(["fair", "skip", "take", "truncate"])
    keys["predict-whole-units"] = draw.choice(["true", "false"])
    keys["roll-spans"] = draw.choice(["true", "false"])
    keys["mean-span-length"] = draw.choice([1, 2.5, 3, 8])
    keys["span-p"] = draw.choice([0.1, 0.2, 0.9])
    keys["layout"] = draw.choice(["in_place", "in_place", "removed", "sentinel"])
    if keys["layout"] == "sentinel":
        keys["sentinels"] = draw.choice([3, 50])
    else:
        keys["extra-same"] = draw.choice([0, 0, 0.1])
        random_share, same_share = draw.choice([(0, 0), (0.1, 0.1), (0.5, 0), (0, 0.3)])
        keys["random-ids"] = draw.choice(["uniform", "unigram"]) if random_share else "uniform"
        keys["random-share"], keys["same-share"] = random_share, same_share
        keys["mask-share"] = 1 - random_share - same_share
        keys["replacement-level"] = draw.choice(["token", "word", "unit"])
    if draw.random() < 0.3:
        keys["max-predictions"] = draw.choice([1, 5, 12])
    return " ".join(f"{key}={value}" for key, value in keys.items())


@pytest.mark.parametrize("number", range(40))
def test_any_keys(files, number):
    same_masks(files, drawn_keys(number))

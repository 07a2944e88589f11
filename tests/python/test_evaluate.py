"""Minimal pairs of `cloze evaluate --blimp`: their pseudo-log-likelihoods are those of the same
weights in transformers."""

import json

import pytest
import torch
from test_import import KINDS, TOKENIZER, cloze, random_model
from transformers import BertTokenizerFast

PAIRS = [
    ("agreement", "The hounds on the moor were barking.", "The hounds on the moor was barking."),
    ("agreement", "She sees him.", "She see him."),
    ("ever", "No detective has ever solved it.", "Some detective has ever solved it."),
    ("words", "Antidisestablishmentarianism, he said!", "Antidisestablishmentarianism, him said!"),
    ("length", "Who is it?", "Who is it that the old man with the dog saw in the garden?"),
]


def likelihood(model, tokenizer, sentence):
    """Salazar et al. 2020, equation 1, a row for each token of the sentence."""
    ids = tokenizer(sentence, return_tensors="pt").input_ids[0]
    places = torch.arange(1, len(ids) - 1)
    rows = ids.repeat(len(places), 1)
    rows[torch.arange(len(places)), places] = tokenizer.mask_token_id
    with torch.no_grad():
        logits = model(input_ids=rows).logits
    likely = logits[torch.arange(len(places)), places].double().log_softmax(-1)
    return likely[torch.arange(len(places)), ids[places]].sum().item()


@pytest.mark.parametrize("kind", KINDS)
def test_sentences_are_as_likely_as_transformers_has_it(kind, tmp_path):
    model = random_model(kind).eval()
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "model/vocab.txt").write_text(TOKENIZER.read_text(encoding="utf-8"), encoding="utf-8")
    tokenizer = BertTokenizerFast.from_pretrained(tmp_path / "model")
    lines = [
        json.dumps({"UID": paradigm, "sentence_good": good, "sentence_bad": bad, "pairID": 1})
        for paradigm, good, bad in PAIRS
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    found = tmp_path / "found"
    cloze("evaluate", tmp_path / "model", "--blimp", tmp_path / "pairs.jsonl", "-o", found)

    right = []
    judged = (found / "blimp.jsonl").read_text().splitlines()
    for (paradigm, good, bad), line in zip(PAIRS, judged, strict=True):
        line = json.loads(line)
        theirs = [likelihood(model, tokenizer, sentence) for sentence in (good, bad)]
        assert line["paradigm"] == paradigm
        assert abs(line["good"] - theirs[0]) < 1e-4, (line, theirs)
        assert abs(line["bad"] - theirs[1]) < 1e-4, (line, theirs)
        right.append(theirs[0] > theirs[1])
    report = json.loads((found / "evaluation.json").read_text())["blimp"]
    assert report["accuracy"]["mean"] == pytest.approx(sum(right) / len(right))
    examples = json.loads((found / "examples.json").read_text())
    assert examples["blimp"]["values"] == right

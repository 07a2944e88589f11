"""What notebooks show."""

import copy
import html
import pickle
import re

import pytest
import torch
from conftest import TOKENIZERS
from torch.utils.data import DataLoader

import cloze

VOCABULARY = TOKENIZERS / "wordpiece-4096/vocab.txt"


def page(batch):
    """The page inside a frame, whose marks are closed and which runs nothing."""
    shown = batch._repr_html_()
    frame = re.fullmatch(r'<iframe sandbox srcdoc="([^"]*)" style="[^"]*"></iframe>', shown)
    text = html.unescape(frame[1])
    assert "<script" not in text and "http" not in text.replace("http-equiv", "")
    return text


def test_a_batch_shows_masked_text_and_realised_rates(shards):
    loader = cloze.Loader(shards, masking="bert", length=64, batch_size=8, seed=2)
    batch = next(iter(loader))
    text = page(batch)
    labels, ids = batch["labels"], batch["input_ids"]
    shown = (labels[:4] != -100) & (ids[:4] == 4)
    assert text.count('<span class="t m p') >= int(shown.sum())
    special = (ids == 2) | (ids == 3)
    maskable = int(((labels != -100) | ~special).sum())
    masked = 100 * int(((labels != -100) & (ids == 4)).sum()) / maskable
    predicted = 100 * int((labels != -100).sum()) / maskable
    assert batch.shares().startswith(f"masked {masked:.1f} %, random ")
    assert batch.shares().endswith(f", predicted {predicted:.1f} %")
    assert batch.shares() in text and "4 of 8 rows" in text


def test_sparse_labels_and_arrays_show_the_same(shards):
    arguments = {"masking": "wettig-40", "length": 64, "batch_size": 8, "seed": 2}
    dense = next(iter(cloze.Loader(shards, **arguments)))
    sparse = next(iter(cloze.Loader(shards, sparse_labels=True, return_tensors="np", **arguments)))
    assert page(dense) == page(sparse)


def test_padding_is_not_shown_and_decoupled_rates_are(shards):
    masking = {"corruption_rate": 0.4, "prediction_rate": 0.2}
    loader = cloze.Loader(shards, masking=masking, length=64, batch_size=8, layout="document")
    batch = next(iter(loader))
    assert int(batch["attention_mask"].sum()) < batch["input_ids"].numel()
    text = page(batch)
    assert "⟨PAD⟩" not in text and 'class="t m c' in text and 'class="t m p' in text


def test_a_batch_is_a_dictionary_that_goes_between_processes(shards):
    loader = cloze.Loader(shards, length=64, batch_size=8, seed=2)
    batch = next(iter(loader))
    assert isinstance(batch, dict) and type(batch) is cloze.Batch
    for other in (copy.copy(batch), pickle.loads(pickle.dumps(batch))):
        assert page(other) == page(batch)
    # The second pass over the loader.
    through = next(iter(DataLoader(loader, batch_size=None, num_workers=1)))
    loader.set_epoch(1)
    assert torch.equal(through["input_ids"], next(iter(loader))["input_ids"])
    assert page(through)
    assert cloze.Batch(labels=batch["labels"])._repr_html_() is None
    with pytest.raises(ValueError, match="no tokenizer"):
        cloze.Batch().shares()


def test_a_collator_shows_its_batches(tmp_path):
    import transformers

    bert = transformers.BertTokenizerFast(vocab=str(VOCABULARY))
    rows = [bert(text) for text in ("the <b>ship</b> sank", "a captain & his dog on the island")]
    collator = cloze.DataCollator(bert, {"strategy": "word", "corruption_rate": 0.3}, seed=1)
    text = page(collator(rows))
    assert "<b>ship" not in text and "&lt;" in text and "2 rows" in text


def test_artefacts_and_vocabularies_show_what_they_hold(shards, tokens, vocabulary):
    for path in (shards, tokens):
        opened = cloze.open(path)
        text = opened._repr_html_()
        assert f"{opened.totals['tokens']:,}" in text and "batch tokens" not in text
    opened = cloze.MaskingVocabulary(vocabulary)
    text = opened._repr_html_()
    for length in (2, 3):
        assert f">{len(opened.best(length, 10**9))}<" in text
        assert opened.best(length, 1)[0].ngram in text
    assert f"{len(opened)} n-grams by pmi" in text
    report = cloze.inspect(vocabulary)
    assert repr(report) == str(report) and report._repr_html_().startswith("<pre>")

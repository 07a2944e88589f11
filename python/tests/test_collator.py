"""A collator's masks: those of the loader, on rows that came as ids, and a drop-in for the one of
transformers."""

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from conftest import TOKENIZERS
from torch.utils.data import DataLoader

import cloze

BERT = TOKENIZERS / "bert-base-uncased/vocab.txt"
TEXTS = [
    "The whale sank three ships off Nantucket in 1851.",
    "Unaffordable!",
    "A new york minute in new york is no minute anywhere else in the state of new york.",
]


@pytest.fixture(scope="module")
def bert():
    return transformers.BertTokenizerFast(vocab=str(BERT))


def fast(name):
    """Each kind of fast tokenizer as transformers has it."""
    if name == "wordpiece":
        return transformers.BertTokenizerFast(vocab=str(BERT))
    file = TOKENIZERS / name
    backend = tokenizers.Tokenizer.from_file(str(file / "tokenizer.json"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend)
    tokenizer.add_special_tokens({"mask_token": "<mask>", "pad_token": "<pad>"})
    return tokenizer


def examples(tokenizer, **columns):
    rows = [tokenizer(text)["input_ids"] for text in TEXTS]
    return [
        {"input_ids": ids, **{name: values[at] for name, values in columns.items()}}
        for at, ids in enumerate(rows)
    ]


def words(tokenizer, example, text):
    """The word of each token, by transformers' own account; None for special tokens."""
    encoded = tokenizer(text)
    assert encoded["input_ids"] == example["input_ids"]
    return encoded.word_ids()


def test_the_columns_are_those_of_the_collator_of_transformers(bert):
    theirs = transformers.DataCollatorForLanguageModeling(bert, mlm_probability=0.4)
    given = [bert(text, return_special_tokens_mask=True) for text in TEXTS]
    expected = theirs([dict(one) for one in given])
    batch = cloze.DataCollator(bert)([dict(one) for one in given])
    assert batch.keys() == set(expected.keys())
    for name, column in expected.items():
        assert batch[name].dtype == column.dtype, name
        assert batch[name].shape == column.shape, name
    assert torch.equal(batch["attention_mask"], expected["attention_mask"])
    masked = batch["labels"] != -100
    original = theirs.tokenizer.pad([{"input_ids": one["input_ids"]} for one in given],
                                    return_tensors="pt")["input_ids"]
    assert torch.equal(torch.where(masked, batch["labels"], batch["input_ids"]), original)


@pytest.mark.parametrize("name", ["wordpiece", "byte-level-bpe", "unigram"])
def test_words_are_masked_whole_for_every_kind_of_tokenizer(name):
    tokenizer = fast(name)
    collator = cloze.DataCollator(tokenizer, masking={"strategy": "word"}, seed=1)
    given = examples(tokenizer)
    whole, split = 0, 0
    for _ in range(30):
        labels = collator(given)["labels"]
        for row, example, text in zip(labels, given, TEXTS):
            by_word = {}
            for label, word in zip(row.tolist(), words(tokenizer, example, text)):
                if word is not None:
                    by_word.setdefault(word, set()).add(label != -100)
            split += sum(len(masked) > 1 for masked in by_word.values())
            whole += sum(masked == {True} for masked in by_word.values())
    assert whole > 100
    # A budget that a word does not fit is a chance to take it, never a part of it.
    assert split == 0


def test_units_of_a_masking_vocabulary_are_masked_whole(bert, tmp_path):
    from conftest import cloze as command

    ngrams = tmp_path / "list.txt"
    ngrams.write_text("new york\n")
    path = tmp_path / "list.parquet"
    command("vocabulary", "--import", ngrams, "--output", path)
    collator = cloze.DataCollator(bert, "pmi", vocabulary=path, seed=1)
    given = examples(bert)[2:]
    ids = given[0]["input_ids"]
    places = [at for at, (a, b) in enumerate(zip(ids, ids[1:])) if (a, b) == tuple(
        bert.convert_tokens_to_ids(["new", "york"]))]
    assert len(places) == 3
    taken = 0
    for _ in range(100):
        masked = (collator(given)["labels"][0] != -100).tolist()
        for place in places:
            assert masked[place] == masked[place + 1]
            taken += masked[place]
    assert taken > 20
    with pytest.raises(cloze.UsageError, match="without a masking vocabulary"):
        cloze.DataCollator(bert, "pmi")


def test_with_an_index_a_mask_depends_on_seed_epoch_and_index_alone(bert):
    collator = cloze.DataCollator(bert, seed=3)
    given = examples(bert, index=[7, 8, 9])
    batch = collator(given)
    again = collator(given[::-1])
    for at in range(3):
        assert torch.equal(batch["labels"][at], again["labels"][2 - at])
    alone = collator(given[1:2])["labels"][0]
    assert torch.equal(batch["labels"][1][: len(alone)], alone)
    collator.set_epoch(1)
    assert not torch.equal(collator(given)["labels"], batch["labels"])
    collator.set_epoch(0)
    assert torch.equal(collator(given)["labels"], batch["labels"])
    other = cloze.DataCollator(bert, seed=4)(given)
    assert not torch.equal(other["labels"], batch["labels"])


def test_workers_mask_alike_and_hear_of_an_epoch(bert):
    given = [dict(one, index=at) for at, one in enumerate(examples(bert) * 8)]
    collator = cloze.DataCollator(bert, seed=3)

    def labels(workers):
        data = DataLoader(given, batch_size=4, collate_fn=collator, num_workers=workers)
        return [batch["labels"] for batch in data]

    for epoch in (0, 5):
        collator.set_epoch(epoch)
        alone, shared = labels(0), labels(2)
        assert all(torch.equal(a, b) for a, b in zip(alone, shared, strict=True))


def test_without_an_index_masks_are_new_each_time_as_torch_draws(bert):
    collator = cloze.DataCollator(bert)
    given = examples(bert)
    torch.manual_seed(1)
    first, second = collator(given)["labels"], collator(given)["labels"]
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(collator(given)["labels"], first)
    seeded = [cloze.DataCollator(bert, seed=1) for _ in range(2)]
    assert torch.equal(seeded[0](given)["labels"], seeded[1](given)["labels"])
    assert not torch.equal(seeded[0](given)["labels"], collator(given)["labels"])


def test_lists_arrays_and_tensors_are_the_same_rows(bert):
    given = examples(bert, index=[0, 1, 2])
    collator = cloze.DataCollator(bert, seed=1, return_tensors="np")
    expected = collator(given)
    for kind in (np.array, torch.tensor, tuple, lambda ids: np.array(ids, np.int32),
                 lambda ids: np.array(ids, np.uint16)):
        batch = collator([{**one, "input_ids": kind(one["input_ids"])} for one in given])
        assert all(np.array_equal(batch[name], expected[name]) for name in expected)
    padded = bert.pad([{"input_ids": one["input_ids"]} for one in given], return_tensors="pt")
    rows = zip(padded["input_ids"], padded["attention_mask"])
    batch = collator([
        {"input_ids": ids, "attention_mask": mask, "index": at}
        for at, (ids, mask) in enumerate(rows)
    ])
    assert all(np.array_equal(batch[name], expected[name]) for name in expected)


def test_rows_are_as_long_as_a_multiple_and_other_columns_come_along(bert):
    given = examples(bert, token_type_ids=[[0, 1], [1], [0, 1, 1]], weight=[0.5, 1.0, 2.0])
    batch = cloze.DataCollator(bert, "wettig-20-40", pad_to_multiple_of=16)(given)
    assert batch["input_ids"].shape == (6, 32)
    assert batch["token_type_ids"].shape == (6, 32)
    assert batch["token_type_ids"][4].tolist() == [0, 1, 1] + [0] * 29
    assert batch["weight"].tolist() == [0.5, 0.5, 1.0, 1.0, 2.0, 2.0]
    decoupled = cloze.DataCollator(bert, "wettig-40-20", seed=1)
    batch = decoupled([examples(bert)[2]] * 64)
    corrupted = (batch["input_ids"] == 103).sum()
    assert 1.8 < corrupted / (batch["labels"] != -100).sum() < 2.2


def test_a_rate_follows_its_schedule_call_by_call(bert):
    masking = {"corruption_rate": "linear(1.0, 0.0)", "schedule_steps": 4}
    collator = cloze.DataCollator(bert, masking, seed=1, accumulation=2)
    given = examples(bert)[2:]
    tokens = len(given[0]["input_ids"]) - 2
    counts = [int((collator(given)["labels"] != -100).sum()) for _ in range(10)]
    for call, count in enumerate(counts):
        assert abs(count - max(0, 1 - call // 2 / 4) * tokens) <= 1


def test_what_cannot_be_masked_is_refused_with_its_row(bert):
    collator = cloze.DataCollator(bert)
    with pytest.raises(cloze.InputError, match=r"row 1, token 1: found id 40000"):
        collator([{"input_ids": [101, 102]}, {"input_ids": [101, 40000]}])
    with pytest.raises(ValueError, match="row 0"):
        collator([{"input_ids": [-1]}])
    with pytest.raises(TypeError, match="row 0"):
        collator([{"input_ids": ["a"]}])
    with pytest.raises(TypeError, match="expected a fast tokenizer"):
        cloze.DataCollator(object())
    with pytest.raises(cloze.UsageError, match="did you mean corruption_rate"):
        cloze.DataCollator(bert, {"corruption_rat": 0.1})
    assert collator([])["input_ids"].shape == (0, 0)

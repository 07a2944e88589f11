"""Models that `cloze finetune` exported, loaded with transformers as sequence classifiers.

They give the scores that `predictions.jsonl` has to 1e-4, with no parameter missing or left
over, on what the exported tokenizer makes of the sentences: special tokens, token types of
pairs and class names included. The encoders are models that transformers saved.
"""

import json
import shutil

import pytest
import torch
from test_import import KINDS, TOKENIZER, cloze, random_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

CLASSES = {
    "bert": "BertForSequenceClassification",
    "roberta": "RobertaForSequenceClassification",
    "roberta-prelayernorm": "RobertaPreLayerNormForSequenceClassification",
    "modernbert": "ModernBertForSequenceClassification",
}
WORDS = ("the old house was in water", "a man of the light", "night and time", "her hands, again!")


def examples():
    """Pairs of sentences with a class and a number."""
    for number in range(24):
        first, second = WORDS[number % 4], WORDS[(number // 4 + 1) % 4]
        yield {
            "id": number,
            "sentence": f"{first} {number}",
            "second": second,
            "class": ["no", "yes", "perhaps"][number % 3],
            "score": number % 5 / 2,
        }


def finetune(kind, folder, *more):
    model = folder / "model"
    random_model(kind).save_pretrained(model)
    shutil.copy(TOKENIZER, model / "vocab.txt")
    data = folder / "task.jsonl"
    data.write_text("".join(json.dumps(example) + "\n" for example in examples()))
    cloze(
        *("finetune", model, "--train", data, "--dev", data, "-o", folder / "out"),
        *("--learning-rates", 1e-3, "--batch-sizes", 8, "--seeds", 7, "--epochs", 2),
        *("--max-length", 32, *more),
    )
    lines = (folder / "out/predictions.jsonl").read_text().splitlines()
    return folder / "out/export", [json.loads(line) for line in lines]


def outputs_of_transformers(export, pairs):
    model, loading = AutoModelForSequenceClassification.from_pretrained(
        export, output_loading_info=True
    )
    assert not any(loading.values()), loading
    tokenizer = AutoTokenizer.from_pretrained(export)
    rows = []
    for example in examples():
        texts = (example["sentence"], example["second"]) if pairs else (example["sentence"],)
        inputs = tokenizer(*texts, return_tensors="pt")
        if model.config.model_type == "modernbert":
            inputs.pop("token_type_ids", None)
        with torch.no_grad():
            rows.append(model.eval()(**inputs).logits[0])
    return model, torch.stack(rows)


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_the_logits_of_transformers(kind, pairs, tmp_path):
    second = ("--sentence2", "second") if pairs else ()
    export, predictions = finetune(kind, tmp_path, "--label", "class", *second)
    model, theirs = outputs_of_transformers(export, pairs)
    assert type(model).__name__ == CLASSES[kind]
    assert model.config.id2label == {0: "no", 1: "perhaps", 2: "yes"}
    assert [line["id"] for line in predictions] == list(range(24))
    ours = torch.tensor([line["scores"] for line in predictions])
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    said = [model.config.id2label[row.argmax().item()] for row in theirs]
    assert [line["predicted"] for line in predictions] == said
    assert [line["label"] for line in predictions] == [each["class"] for each in examples()]


def test_a_number_is_the_output_of_transformers(tmp_path):
    more = ("--label", "score", "--task", "regression", "--sentence2", "second")
    export, predictions = finetune("bert", tmp_path, *more)
    model, theirs = outputs_of_transformers(export, pairs=True)
    assert (model.config.num_labels, model.config.problem_type) == (1, "regression")
    ours = torch.tensor([[line["predicted"]] for line in predictions])
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    assert [line["label"] for line in predictions] == [each["score"] for each in examples()]


def test_what_was_trained_before_is_taken_over_and_other_heads_are_left(tmp_path):
    """BERT's pooler and ModernBERT's head begin as they were, RoBERTa's head anew; an encoder
    alone, or one that was fine-tuned before, is read as well."""
    still = ("--learning-rates", 1e-12, "--weight-decay", 0, "--epochs", 1)
    for kind, name in [("modernbert", "head.dense.weight"), ("bert", "bert.pooler.dense.weight")]:
        folder = tmp_path / kind
        folder.mkdir()
        model = random_model(kind)
        export, _ = finetune(kind, folder, "--label", "class")
        again = AutoModelForSequenceClassification.from_pretrained(export)
        trained = dict(again.named_parameters())[name].detach()
        # A fine-tuned model, fine-tuned on.
        data = folder / "task.jsonl"
        out = folder / "again"
        cloze(
            *("finetune", export, "--train", data, "--dev", data, "-o", out, "--label", "class"),
            *("--batch-sizes", 8, "--seeds", 1, "--max-length", 32, *still),
        )
        on = AutoModelForSequenceClassification.from_pretrained(out / "export")
        found = dict(on.named_parameters())[name].detach()
        torch.testing.assert_close(found, trained, atol=1e-6, rtol=0)
        # Its encoder alone.
        alone = folder / "alone"
        model.base_model.save_pretrained(alone)
        shutil.copy(TOKENIZER, alone / "vocab.txt")
        cloze(
            *("finetune", alone, "--train", data, "--dev", data, "-o", folder / "third"),
            *("--label", "class", "--batch-sizes", 8, "--seeds", 1, "--max-length", 32, *still),
        )
        third = AutoModelForSequenceClassification.from_pretrained(folder / "third/export")
        encoder = dict(third.base_model.named_parameters())
        for parameter, tensor in model.base_model.named_parameters():
            torch.testing.assert_close(encoder[parameter].detach(), tensor.detach(), atol=1e-6, rtol=0)

"""The models that `cargo test --test training` exported, loaded with transformers.

They give our loss and logits, with no parameter missing or left over.
"""

import json
import os
from pathlib import Path

import pytest
import torch
from removed import RemovedModel
from safetensors import safe_open
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification

ROOT = Path(__file__).resolve().parents[2]
EXPORTS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "tmp" / "export"


@pytest.mark.parametrize(
    "name, architecture",
    [
        ("roberta-prelayernorm", "RobertaPreLayerNormForMaskedLM"),
        ("without-padding", "RobertaPreLayerNormForMaskedLM"),
        ("bert", "BertForMaskedLM"),
        ("roberta", "RobertaForMaskedLM"),
        ("modernbert", "ModernBertForMaskedLM"),
    ],
)
def test_transformers_gives_our_loss_and_logits(name, architecture):
    folder = EXPORTS / name
    assert folder.exists(), f"{folder} is written by `cargo test --test training`"
    expected = json.loads((folder / "expected.json").read_text())
    model, loading = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    model.eval()
    assert type(model).__name__ == architecture
    assert not any(loading.values()), loading

    rows, length = expected["rows"], expected["length"]
    ids = torch.tensor(expected["input"]).reshape(rows, length)
    lengths = torch.tensor(expected["lengths"])
    mask = (torch.arange(length)[None, :] < lengths[:, None]).long()
    labels = torch.full((rows * length,), -100)
    predicted = torch.tensor(expected["predicted"])
    labels[predicted] = torch.tensor(expected["labels"])
    with torch.no_grad():
        out = model(input_ids=ids, attention_mask=mask, labels=labels.reshape(rows, length))
    assert abs(out.loss.item() - expected["loss"]) < 1e-4

    vocabulary = len(expected["logits"]) // len(predicted)
    ours = torch.tensor(expected["logits"]).reshape(-1, vocabulary)
    theirs = out.logits.reshape(rows * length, -1)[predicted]
    torch.testing.assert_close(theirs[:, :vocabulary], ours, atol=1e-4, rtol=0)
    accuracy = (theirs.argmax(-1) == torch.tensor(expected["labels"])).float().mean()
    assert abs(accuracy.item() - expected["accuracy"]) < 1e-6


@pytest.mark.parametrize("name", ["roberta-prelayernorm", "bert", "roberta", "modernbert"])
def test_the_file_holds_each_parameter_once(name):
    with safe_open(EXPORTS / name / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
        names = set(file.keys())
        stored = sum(file.get_tensor(name).numel() for name in names)
    model = AutoModelForMaskedLM.from_pretrained(EXPORTS / name)
    parameters = dict(model.named_parameters())
    assert names == set(parameters)
    assert stored == sum(parameter.numel() for parameter in parameters.values())


ENCODERS = {
    "roberta-prelayernorm-removed": "RobertaPreLayerNormModel",
    "without-padding-removed": "RobertaPreLayerNormModel",
    "bert-removed": "BertModel",
    "roberta-removed": "RobertaModel",
    "modernbert-removed": "ModernBertModel",
}


@pytest.mark.parametrize("name, architecture", ENCODERS.items())
def test_a_model_with_a_decoder_is_an_encoder_for_transformers(name, architecture):
    folder = EXPORTS / name
    expected = json.loads((folder / "expected.json").read_text())
    model = RemovedModel(folder).eval()
    assert type(model.encoder).__name__ == architecture
    with torch.no_grad():
        theirs = model(expected)
    labels = torch.tensor(expected["labels"])
    ours = torch.tensor(expected["logits"]).reshape(len(labels), -1)
    torch.testing.assert_close(theirs[:, : ours.shape[1]], ours, atol=1e-4, rtol=0)
    loss = torch.nn.functional.cross_entropy(theirs, labels)
    assert abs(loss.item() - expected["loss"]) < 1e-4

    # Nothing of the encoder is missing or left over: with or without a head in front.
    for kind in (AutoModel, AutoModelForSequenceClassification):
        _, loading = kind.from_pretrained(folder, output_loading_info=True)
        new = {"pooler", "classifier", "score", "head"}
        missing = loading.pop("missing_keys")
        assert all(new & set(name.split(".")) for name in missing), missing
        assert not any(loading.values()), loading

"""The same 200 steps in PyTorch: transformers' models, torch's AdamW and clipping, from
the weights and batches that `cargo test --test training` left; of models for rows that lost
their masked tokens, the decoder of `removed.py` behind transformers' encoder.

Gradients of every parameter agree on the first batch, and losses all the way.
"""

import json
import os
from pathlib import Path

import pytest
import torch
from removed import RemovedModel
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM

ROOT = Path(__file__).resolve().parents[2]
RUNS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "tmp" / "pytorch"
ARCHITECTURES = ["roberta-prelayernorm", "bert", "roberta", "modernbert"]
KINDS = ARCHITECTURES + [f"{name}-removed" for name in ARCHITECTURES]


@pytest.fixture(autouse=True)
def two_threads():
    torch.set_num_threads(2)


class InPlaceModel(torch.nn.Module):
    """A masked language model of transformers, on rows with masks in place."""

    def __init__(self, folder):
        super().__init__()
        self.model = AutoModelForMaskedLM.from_pretrained(folder)

    def named(self):
        for name, parameter in self.model.named_parameters():
            yield "model.safetensors", name, parameter

    def forward(self, batch):
        rows, length = len(batch["lengths"]), batch["length"]
        ids = torch.tensor(batch["input"]).reshape(rows, length)
        mask = (torch.arange(length)[None, :] < torch.tensor(batch["lengths"])[:, None]).long()
        logits = self.model(input_ids=ids, attention_mask=mask).logits
        return logits.reshape(rows * length, -1)[torch.tensor(batch["predicted"])]


def opened(kind):
    folder = RUNS / kind
    assert folder.exists(), f"{folder} is written by `cargo test --test training`"
    model = (RemovedModel if kind.endswith("removed") else InPlaceModel)(folder / "start")
    for _, name, parameter in model.named():
        # A model that begins with cloze has none, and writes zeros.
        parameter.requires_grad_("token_type" not in name)
    return model.train(), json.loads((folder / "run.json").read_text()), folder


def summed_loss(model, batch):
    labels = torch.tensor(batch["labels"])
    return torch.nn.functional.cross_entropy(model(batch), labels, reduction="sum")


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_every_parameter_are_pytorchs(kind):
    model, run, folder = opened(kind)
    summed_loss(model, run["batches"][0]).backward()
    files = {file: load_file(folder / "gradients" / file) for file, _, _ in model.named()}
    compared = 0
    for file, name, parameter in model.named():
        theirs, mine = parameter.grad, files[file].pop(name)
        if theirs is None:
            assert "token_type" in name and not mine.any(), name
            continue
        assert theirs.shape == mine.shape, name
        if name.endswith("position_embeddings.weight") or name.endswith("word_embeddings.weight"):
            # PyTorch gives the padding id's row no gradient from the embedding.
            theirs, mine = theirs[1:], mine[1:]
        apart = (theirs - mine).norm() / theirs.norm().clamp(min=1e-3)
        # The bias of the keys shifts all scores of a query alike: rounding alone.
        assert apart < 1e-5 or name.endswith("key.bias"), (name, apart)
        compared += 1
    assert compared > 15 and not any(files.values()), files


@pytest.mark.parametrize("kind", KINDS)
def test_losses_agree_for_two_hundred_steps(kind):
    model, run, _ = opened(kind)
    config = run["config"]["optimizer"]
    plain, decayed = [], []
    for _, name, parameter in model.named():
        (plain if name.endswith("bias") or "norm" in name.lower() else decayed).append(parameter)
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": config["weight_decay"]},
            {"params": plain, "weight_decay": 0.0},
        ],
        betas=(config["beta1"], config["beta2"]),
        eps=config["epsilon"],
    )
    lines = [line for line in run["lines"] if "learning_rate" in line]
    assert len(lines) == 200 and config["clip"] == 1.0
    first = None
    for step, line in enumerate(lines):
        loss, labels = 0.0, 0
        for batch in run["batches"][2 * step : 2 * step + 2]:
            loss = loss + summed_loss(model, batch)
            labels += len(batch["labels"])
        loss = loss / labels
        assert abs(loss.item() - line["loss"]) < 1e-3, (step, loss.item(), line["loss"])
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config["clip"])
        assert abs(norm.item() / line["gradient_norm"] - 1) < 1e-2, step
        for group in optimizer.param_groups:
            group["lr"] = line["learning_rate"]
        optimizer.step()
    assert loss.item() < first - 0.8, "a run that learns nothing would agree as well"

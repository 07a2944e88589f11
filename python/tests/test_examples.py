"""The examples run, and do what they say."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import transformers
from conftest import TEXT, TOKENIZERS

import cloze as package

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(name, *arguments, processes=None):
    command = [sys.executable]
    if processes:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += [str(EXAMPLES / name), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def losses(output):
    lines = (Path(output) / "losses.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in lines]
    assert [one["step"] for one in steps] == list(range(1, len(steps) + 1))
    return np.array([one["loss"] for one in steps])


def test_losses_of_two_processes_are_those_of_one(shards, tmp_path):
    flags = [shards, "--length", 32, "--batch-size", 8, "--layers", 1, "--hidden", 32]
    flags += ["--learning-rate", "3e-3"]
    run("distributed.py", *flags, "--steps", 14, "--output", tmp_path / "one")
    run("distributed.py", *flags, "--steps", 8, "--output", tmp_path / "two", processes=2)
    one = losses(tmp_path / "one")
    assert one[-1] < one[0] - 0.5
    two = losses(tmp_path / "two")
    assert abs(two[0] - one[0]) < 1e-6 * one[0]
    np.testing.assert_allclose(two, one[:8], rtol=1e-4)
    # Goes on where it stood, on another number of processes.
    run("distributed.py", *flags, "--steps", 14, "--output", tmp_path / "two")
    np.testing.assert_allclose(losses(tmp_path / "two"), one, rtol=1e-4)


def before_and_after(text):
    return [float(loss) for loss in re.search(r"(\d+\.\d+) before, (\d+\.\d+) after", text).groups()]


def test_a_trainer_improves_as_the_trainer_in_rust_does(tmp_path):
    """The same shards, masks, sizes, optimiser and held out rows."""
    tokens = package.tokenize(
        TEXT, tokenizer=TOKENIZERS / "wordpiece-4096/vocab.txt", output=tmp_path / "tokens"
    )
    shards = package.shard(tokens, output=tmp_path / "shards")
    steps = 120
    flags = ["--length", 32, "--layers", 1, "--hidden", 64, "--heads", 2, "--steps", steps]
    text = run("pretrain.py", shards.path, *flags, "--output", tmp_path / "trainer")
    before, after = before_and_after(text)
    ours = package.train(
        shards,
        steps=steps,
        batch_size=16,
        rows={"length": 32},
        masking={"preset": "wettig-40"},
        model={
            "layers": 1, "hidden": 64, "heads": 2, "feed_forward": 256, "positions": 32,
            "dropout": 0.0, "attention_dropout": 0.0,
        },
        validation={"every": steps, "share": 0.01},
        output=tmp_path / "rust",
    )  # fmt: skip
    metrics = [json.loads(line) for line in Path(ours, "metrics.jsonl").read_text().splitlines()]
    validated = [one["loss"] for one in metrics if one["kind"] == "validation"]
    assert abs(before - np.log(4096)) < 0.2
    assert after < before - 1.5
    assert abs(after - validated[-1]) < 0.1
    # Both are loaded by their class, and the Trainer's was saved whole.
    for folder in (tmp_path / "trainer/model", Path(ours, "export")):
        model, loading = transformers.AutoModelForMaskedLM.from_pretrained(
            folder, output_loading_info=True
        )
        assert type(model).__name__ == "RobertaPreLayerNormForMaskedLM"
        assert not any(loading.values()), loading


def test_a_checkpoint_is_adapted_with_the_units_of_its_new_domain(tmp_path):
    base = tmp_path / "base"
    bert = transformers.BertTokenizerFast(vocab=str(TOKENIZERS / "wordpiece-4096/vocab.txt"))
    bert.save_pretrained(base)
    config = transformers.BertConfig(
        vocab_size=len(bert), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64,
    )  # fmt: skip
    transformers.set_seed(0)
    transformers.BertForMaskedLM(config).save_pretrained(base)
    flags = ["--model", base, "--text", TEXT, "--document", "paragraph", "--min-count", 5]
    flags += ["--size", 500, "--length", 32, "--batch-size", 16, "--steps", 60]
    flags += ["--learning-rate", "3e-3", "--work", tmp_path / "work"]
    text = run("adapt.py", *flags)
    before, after = before_and_after(text)
    assert after < before - 1
    assert "charing cross" in text.splitlines()[0]
    shards = package.Shards(tmp_path / "work/shards")
    assert shards.manifests[0]["vocabulary"]
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "work/model").mask_token_id == 4
    transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "work/model")


@pytest.mark.parametrize("name", sorted(file.name for file in EXAMPLES.glob("*.py")))
def test_examples_say_how_they_are_used(name):
    assert "usage" in run(name, "--help")

"""A loader and a collator in the loops that people have: torchdata, transformers, accelerate and
Lightning."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers
from conftest import TOKENIZERS
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

import cloze

# An epoch of a dozen steps or two.
ARGUMENTS = {"length": 32, "batch_size": 16, "seed": 5, "held_out": 0.9}


def same(a, b):
    return all(np.array_equal(x[name], y[name]) for x, y in zip(a, b, strict=True) for name in x)


def model(vocabulary=4096):
    torch.manual_seed(0)
    return transformers.BertForMaskedLM(
        transformers.BertConfig(
            vocab_size=vocabulary,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=32,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_stateful_data_loader_goes_on_where_it_stood(shards, workers):
    one = cloze.Loader(shards, **ARGUMENTS)
    epochs = [list(one) for _ in range(3)]
    for stop in (1, 4):
        data = StatefulDataLoader(
            cloze.Loader(shards, **ARGUMENTS), batch_size=None, num_workers=workers
        )
        assert same(list(data), epochs[0])
        batches = iter(data)
        head = [next(batches) for _ in range(stop)]
        state = data.state_dict()
        del batches
        again = StatefulDataLoader(
            cloze.Loader(shards, **ARGUMENTS), batch_size=None, num_workers=workers
        )
        again.load_state_dict(state)
        assert same(head + list(again), epochs[1])
        assert same(list(again), epochs[2])


def arguments(folder, **given):
    return transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=1,
        learning_rate=1e-2,
        lr_scheduler_type="constant",
        logging_steps=1,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=False,
        **given,
    )


class Seen(transformers.Trainer):
    """Keeps the ids that it trained on."""

    def training_step(self, model, inputs, *rest, **options):
        self.seen = [*getattr(self, "seen", []), inputs["input_ids"].clone()]
        return super().training_step(model, inputs, *rest, **options)


def losses(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("workers", [0, 2])
def test_trainer_takes_a_loader_as_its_data_set_and_resumes(shards, tmp_path, workers):
    def train(steps, resume=None):
        trainer = Seen(
            model=model(),
            args=arguments(
                tmp_path, max_steps=steps, save_steps=steps, dataloader_num_workers=workers
            ),
            train_dataset=cloze.Loader(shards, **ARGUMENTS),
            data_collator=cloze.stack,
        )
        trainer.train(resume_from_checkpoint=resume)
        return trainer

    one = cloze.Loader(shards, **ARGUMENTS)
    epoch = len(one)
    expected = [batch["input_ids"] for _ in range(2) for batch in one]
    whole = train(epoch + 6)
    assert all(torch.equal(a, b) for a, b in zip(whole.seen, expected))
    assert np.mean(losses(whole)[-3:]) < losses(whole)[0] - 0.5
    train(epoch + 3)
    resumed = train(epoch + 6, resume=str(tmp_path / f"checkpoint-{epoch + 3}"))
    assert len(resumed.seen) == 3
    assert all(torch.equal(a, b) for a, b in zip(resumed.seen, expected[epoch + 3 :]))
    assert np.allclose(losses(resumed)[-3:], losses(whole)[-3:], atol=1e-4)


def test_trainer_masks_an_existing_data_set_with_the_collator(tmp_path):
    bert = transformers.BertTokenizerFast(vocab=str(TOKENIZERS / "bert-base-uncased/vocab.txt"))
    rows = [bert(f"the ship of captain number {at} sank off the coast") for at in range(64)]
    trainer = transformers.Trainer(
        model=model(len(bert)),
        args=arguments(tmp_path, max_steps=30, save_strategy="no"),
        train_dataset=[dict(row, index=at) for at, row in enumerate(rows)],
        data_collator=cloze.DataCollator(bert, {"strategy": "word"}, seed=1),
    )
    trainer.train()
    assert np.mean(losses(trainer)[-5:]) < losses(trainer)[0] - 1


SHARED = """
import sys, torch, accelerate, cloze
from torch.utils.data import DataLoader
shards, dispatch = sys.argv[1:]
configuration = accelerate.DataLoaderConfiguration(dispatch_batches=dispatch == "True")
accelerator = accelerate.Accelerator(cpu=True, dataloader_config=configuration)
loader = cloze.Loader(shards, length=32, batch_size=16, seed=5, held_out=0.9)
data = accelerator.prepare(DataLoader(loader, batch_size=1, collate_fn=cloze.stack))
ids = [batch["input_ids"] for batch in data]
torch.save(ids, f"{sys.argv[0]}.{accelerator.process_index}")
# Or gloo's threads may still hold tensors when the interpreter is gone, and abort.
accelerator.end_training()
"""


@pytest.mark.parametrize("dispatch", [True, False])
def test_accelerate_shares_batches_out_between_two_processes(shards, tmp_path, dispatch):
    script = tmp_path / "shared.py"
    script.write_text(SHARED)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [*command, str(script), str(shards), str(dispatch)],
        capture_output=True, text=True, env=environment,
    )
    assert ran.returncode == 0, ran.stderr
    parts = [torch.load(f"{script}.{rank}") for rank in range(2)]
    expected = [batch["input_ids"] for batch in cloze.Loader(shards, **ARGUMENTS)]
    if dispatch:
        # Each gets its half of two batches, put together.
        assert all(len(left) == len(right) for left, right in zip(*parts))
        joined = torch.cat([ids for pair in zip(*parts) for ids in pair])
        whole = torch.cat(expected)
        assert torch.equal(joined[: len(whole)], whole)
    else:
        for at, ids in enumerate(expected):
            assert torch.equal(parts[at % 2][at // 2], ids)


def test_accelerate_skips_what_was_trained_on(shards):
    import accelerate

    data = DataLoader(cloze.Loader(shards, **ARGUMENTS), batch_size=None)
    expected = list(cloze.Loader(shards, **ARGUMENTS))
    rest = accelerate.skip_first_batches(data, 3)
    assert same(list(rest), expected[3:])


def test_lightning_trains_epoch_after_epoch(shards):
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = model()
            self.seen = []
            self.losses = []

        def training_step(self, batch, _):
            self.seen.append(batch["input_ids"].clone())
            loss = self.model(**batch).loss
            self.losses.append(float(loss))
            return loss

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters(), lr=1e-2)

    one = cloze.Loader(shards, **ARGUMENTS)
    expected = [batch["input_ids"] for _ in range(2) for batch in one]
    module = Module()
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )
    trainer.fit(module, cloze.Loader(shards, **ARGUMENTS))
    assert len(module.seen) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(module.seen, expected))
    assert np.mean(module.losses[-3:]) < module.losses[0] - 0.5

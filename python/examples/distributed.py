"""Trains in plain PyTorch, on as many processes as torchrun starts.

    torchrun --nproc-per-node 2 python/examples/distributed.py shards --output run

Each process has its part of every global batch, so that the losses are those of one process with
the same global batch. A checkpoint holds where the loader stands; a run that is started again goes
on there, on any number of processes that divides the batch.
"""

import argparse
import json
import os
from pathlib import Path

import torch
import transformers
from torch import distributed
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

import cloze


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("shards", help="what `cloze shard` wrote")
    parser.add_argument("--output", required=True, type=Path, help="checkpoint and losses")
    parser.add_argument("--masking", default="wettig-40")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32, help="rows of a global batch")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--save-every", type=int, default=200)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def model_for(shards: cloze.Shards, flags: argparse.Namespace) -> torch.nn.Module:
    config = transformers.BertConfig(
        vocab_size=shards.tokenizer["vocabulary_size"],
        hidden_size=flags.hidden,
        num_hidden_layers=flags.layers,
        num_attention_heads=max(1, flags.hidden // 32),
        intermediate_size=4 * flags.hidden,
        max_position_embeddings=flags.length,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return transformers.BertForMaskedLM(config)


def total(value: float, device: torch.device) -> float:
    """The sum over all processes."""
    sum_ = torch.tensor(value, dtype=torch.float64, device=device)
    if distributed.is_initialized():
        distributed.all_reduce(sum_)
    return float(sum_)


def main() -> None:
    flags = arguments()
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    if processes > 1:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")

    torch.manual_seed(flags.seed)
    shards = cloze.Shards(flags.shards)
    model = model_for(shards, flags).to(device)
    parallel = DistributedDataParallel(model) if processes > 1 else model
    optimizer = torch.optim.AdamW(model.parameters(), flags.learning_rate, betas=(0.9, 0.98))
    loader = cloze.Loader(
        shards,
        masking=flags.masking,
        length=flags.length,
        batch_size=flags.batch_size // processes,
        rank=rank,
        world_size=processes,
        seed=flags.seed,
        drop_last=True,
    )

    step = 0
    flags.output.mkdir(parents=True, exist_ok=True)
    checkpoint = flags.output / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        loader.load_state_dict(state["loader"])
        step = state["step"]

    while step < flags.steps:
        for batch in loader:  # one pass is one epoch
            batch = {name: tensor.to(device) for name, tensor in batch.items()}
            labels = batch.pop("labels")
            logits = parallel(**batch).logits
            loss = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
            # Of all labels of the global batch; the processes' gradients are averaged.
            count = total(int((labels != -100).sum()), device)
            (loss * processes / count).backward()
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            mean = total(float(loss.detach()), device) / count
            if rank == 0:
                with open(flags.output / "losses.jsonl", "a") as file:
                    print(json.dumps({"step": step, "loss": mean}), file=file)
                if step % flags.save_every == 0 or step == flags.steps:
                    state = {
                        "model": model.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "loader": loader.state_dict(),
                        "step": step,
                    }
                    torch.save(state, checkpoint.with_suffix(".partial"))
                    checkpoint.with_suffix(".partial").replace(checkpoint)
            if step == flags.steps:
                break
    if rank == 0:
        print(f"loss {mean:.4f} after {step} steps of {flags.batch_size} rows")
    if processes > 1:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
